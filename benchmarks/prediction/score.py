"""Judge the estimator by the corpus, against the plain rule: so many epochs, each like the first.

    python score.py              print the tables of the held-out half, and write them into docs/prediction.md
    python score.py --tuning     print those of the other half
    python score.py --check      print only which limits the held-out half does not keep

For each trace the whole duration is predicted after 1, 2, 5 and 10 per cent of its epochs (rounded up; at least one,
from 5 per cent on at least two). The error is |predicted - actual| / actual. Both rules are given the set-up as it was
and add it to what they predict, so that it favours neither. The interval is judged once a trace, after 5 per cent.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from _trace import CLASSES, FROZEN, HELD_OUT, HERE, TUNING, Trace, read

from greenrun.sampler.prediction import Cost, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "prediction.md"
RESULTS = ROOT / "benchmarks" / "results" / "prediction.json"
BELOW = "<!-- From here on written by benchmarks/prediction/score.py (make prediction); do not edit. -->"
PER_CENT = (1, 2, 5, 10)
JUDGED = 5  # per cent of the epochs done, where the interval is judged and the limits hold
RESAMPLES = 2000
MOST_RATIO = {"warm-up": 0.5, "stationary": 1.05, "drift": 1.0, "periodic": 1.0, "contention": 1.0}
COVERAGE = (0.85, 0.97)


class Judged(NamedTuple):
    """One prediction: its error and that of the plain rule, as shares; how the interval did."""

    kind: str
    origin: str
    error: float
    plain: float
    covered: bool
    half_width: float  # of the interval, as a share of the actual value


def known(epochs: int, per_cent: int) -> int:
    """Give how many epochs are done when so many per cent are."""
    return max(1 if per_cent < JUDGED else 2, math.ceil(epochs * per_cent / 100))


def judge(trace: Trace, done: int) -> Judged:
    """Predict the duration of a trace after some epochs, and hold it against what it was."""
    seconds = trace.epoch_seconds
    actual = trace.setup_seconds + math.fsum(seconds)
    setup = Cost(trace.setup_seconds, None)
    found = predict(setup, [Cost(each, None) for each in seconds[:done]], len(seconds)).duration_seconds
    plain = trace.setup_seconds + len(seconds) * seconds[0]
    return Judged(
        trace.kind,
        trace.origin,
        abs(found.value - actual) / actual,
        abs(plain - actual) / actual,
        found.low <= actual <= found.high,
        (found.high - found.low) / 2 / actual,
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Give a quantile, between neighbours in proportion."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (at - low)


def bootstrap(traces: Sequence[Judged], figure: Callable[[Sequence[Judged]], float]) -> tuple[float, float]:
    """Give the bounds within which a figure of the traces lies in 95 % of resamples of them."""
    chance = random.Random(1)  # noqa: S311  resampling, no secret
    found = [figure(chance.choices(traces, k=len(traces))) for _ in range(RESAMPLES)]
    return quantile(found, 0.025), quantile(found, 0.975)


def median_error(traces: Sequence[Judged]) -> float:
    """Give the median error of the estimator."""
    return statistics.median(each.error for each in traces)


def median_plain(traces: Sequence[Judged]) -> float:
    """Give the median error of the plain rule."""
    return statistics.median(each.plain for each in traces)


def ratio(traces: Sequence[Judged]) -> float:
    """Give the estimator's median error over that of the plain rule."""
    return median_error(traces) / median_plain(traces)


def coverage(traces: Sequence[Judged]) -> float:
    """Give the share of traces whose actual value lay in the interval."""
    return sum(each.covered for each in traces) / len(traces)


def groups(traces: Sequence[Judged]) -> Iterator[tuple[str, list[Judged]]]:
    """Give each class, then all, then all by their origin."""
    for kind in CLASSES:
        yield kind, [each for each in traces if each.kind == kind]
    yield "all", list(traces)
    for origin in ("real", "simulated"):
        yield f"all {origin}", [each for each in traces if each.origin == origin]


def figures_of(traces: Sequence[Judged]) -> dict[str, Any]:
    """Give all figures of a group of traces."""
    errors, plain = [each.error for each in traces], [each.plain for each in traces]
    return {
        "traces": len(traces),
        "median": median_error(traces),
        "median_bounds": bootstrap(traces, median_error),
        "p90": quantile(errors, 0.9),
        "p90_bounds": bootstrap(traces, lambda some: quantile([each.error for each in some], 0.9)),
        "plain_median": median_plain(traces),
        "plain_median_bounds": bootstrap(traces, median_plain),
        "plain_p90": quantile(plain, 0.9),
        "plain_p90_bounds": bootstrap(traces, lambda some: quantile([each.plain for each in some], 0.9)),
        "ratio": ratio(traces),
        "ratio_bounds": bootstrap(traces, ratio),
        "coverage": coverage(traces),
        "coverage_bounds": bootstrap(traces, coverage),
        "half_width_median": statistics.median(each.half_width for each in traces),
    }


def score(corpus: Sequence[Trace]) -> dict[str, dict[str, dict[str, Any]]]:
    """Give the figures after each share of the epochs, by group."""
    return {
        str(per_cent): {
            name: figures_of(group)
            for name, group in groups([judge(trace, known(len(trace.epoch_seconds), per_cent)) for trace in corpus])
        }
        for per_cent in PER_CENT
    }


def missed(corpus: Sequence[Trace]) -> list[str]:
    """Tell which of the limits are not kept."""
    found = dict(groups([judge(trace, known(len(trace.epoch_seconds), JUDGED)) for trace in corpus]))
    told = [
        f"{kind}: {ratio(found[kind]):.2f} of the plain rule's error, at most {most} is wanted"
        for kind, most in MOST_RATIO.items()
        if ratio(found[kind]) > most
    ]
    low, high = COVERAGE
    if not low <= coverage(found["all"]) <= high:
        told.append(f"the intervals cover {coverage(found['all']):.1%}, wanted are {low:.0%} to {high:.0%}")
    return told


def _share(value: float, bounds: Sequence[float]) -> str:
    return f"{100 * value:.1f} ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"


def error_table(figures: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Give the table of the errors at one share of the epochs."""
    yield "| class | traces | median, % | 90th perc., % | plain: median, % | plain: 90th perc., % | ratio of medians |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for name, found in figures.items():
        low, high = found["ratio_bounds"]
        yield (
            f"| {name} | {found['traces']} | {_share(found['median'], found['median_bounds'])} "
            f"| {_share(found['p90'], found['p90_bounds'])} "
            f"| {_share(found['plain_median'], found['plain_median_bounds'])} "
            f"| {_share(found['plain_p90'], found['plain_p90_bounds'])} "
            f"| {found['ratio']:.2f} ({low:.2f} to {high:.2f}) |"
        )


def coverage_table(figures: dict[str, dict[str, dict[str, Any]]]) -> Iterator[str]:
    """Give the table of what the intervals cover after each share of the epochs, and how wide they are where judged."""
    columns = [f"covered after {per_cent} %" for per_cent in PER_CENT]
    yield f"| class | {' | '.join(columns)} | half-width after {JUDGED} % |"
    yield f"|---|{'--:|' * (len(PER_CENT) + 1)}"
    for name, judged in figures[str(JUDGED)].items():
        covered = (
            _share(found["coverage"], found["coverage_bounds"])
            for found in (figures[str(per_cent)][name] for per_cent in PER_CENT)
        )
        yield f"| {name} | {' | '.join(covered)} | {100 * judged['half_width_median']:.1f} |"


def report(figures: dict[str, dict[str, dict[str, Any]]], broken: Sequence[str]) -> Iterator[str]:
    """Give the lines of all tables."""
    for per_cent in PER_CENT:
        least = "at least 1 epoch" if per_cent < JUDGED else "at least 2 epochs"
        yield from ("", f"### Error after {per_cent} % of the epochs ({least})", "")
        yield from error_table(figures[str(per_cent)])
    yield from ("", "### Coverage of the 90 % interval, in per cent of the traces", "")
    yield f"What counts is the coverage after {JUDGED} %, one judgement a trace. The half-width is that of the median"
    yield from ("trace, in per cent of the actual value.", "")
    yield from coverage_table(figures)
    yield from ("", "Every limit is kept." if not broken else "Not kept: " + "; ".join(broken) + ".")


def main() -> None:
    """Print the tables; those of the held-out half are also written down."""
    tuning = "--tuning" in sys.argv[1:]
    corpus = read(TUNING if tuning else HELD_OUT)
    broken = missed(corpus)
    if "--check" in sys.argv[1:]:
        sys.exit("\n".join(broken) or 0)
    figures = score(corpus)
    lines = list(report(figures, broken))
    print("\n".join(lines))
    if tuning:
        return
    frozen = FROZEN.read_text().split()[0]
    date = datetime.now(timezone.utc).date().isoformat()
    RESULTS.write_text(json.dumps({"date": date, "held_out_sha256": frozen, "figures": figures}, indent=1) + "\n")
    head, _, _ = PAGE.read_text().partition(BELOW)
    told = ["", f"Scored on {date}; SHA-256 of the held-out half `{frozen}`.", *lines]
    PAGE.write_text(head + BELOW + "\n" + "\n".join(told) + "\n")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
