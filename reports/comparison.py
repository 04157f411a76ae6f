"""Runs set side by side: what has changed from one to the other, or which is worth its energy. Pure.

Only runs that are complete and did not fail are compared with others of their kind: a part of a run, or one that ended
in the middle, would look like a saving.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from greenrun.reports import noise, pareto, scopes, tables, units
from greenrun.reports.life import is_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greenrun.reports.noise import Change
    from greenrun.reports.record import Record

Quantity = Literal["energy", "co2e", "duration"]
QUANTITIES: tuple[Quantity, ...] = ("energy", "co2e", "duration")
"""What a change may be judged by."""

NOISE_PERCENT_OF = 90
"""The intervals are of so many per cent: a rise that is none lies above their lower end once in twenty times."""

_LARGEST_NUMBER = 1e18  # as in a run log: beyond any energy or time of a computer

TITLES: dict[Quantity, str] = {"energy": "energy", "co2e": "CO2e", "duration": "time"}


class Damaged(Exception):  # noqa: N818  the name is the sentence's predicate
    """A document that is no record of a run: what is wrong with it."""


class CannotJudge(Exception):  # noqa: N818  the name is the sentence's predicate
    """A change that is not known: one sentence that says why."""


class Run(NamedTuple):
    """What of a record is compared; None where it is unknown. `flaw`: why it is not held against others, or ""."""

    path: str
    name: str
    flaw: str
    estimated: bool
    machine: tuple[str, ...]
    amounts: Mapping[Quantity, float | None]
    gpu_hours: float | None
    metrics: Mapping[str, float]


class Verdict(NamedTuple):
    """What came of a limit: `failed` if the change is above it and no noise."""

    failed: bool
    words: str


class Side(NamedTuple):
    """The runs of one side of a change, and the words that it was told by."""

    told: str
    runs: list[Run]
    left_out: list[Run]

    def amounts(self, quantity: Quantity) -> list[float]:
        """Give the amounts that are known."""
        return [value for run in self.runs if (value := run.amounts[quantity]) is not None]


def run_of(record: Record, path: str) -> Run:
    """Give what of a record is compared. Raises Damaged."""
    try:
        return _run_of(record, path)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Damaged(f"it lacks what a record has ({type(error).__name__}: {error})") from None


def _run_of(record: Record, path: str) -> Run:
    seconds = _amount(record["duration_seconds"])
    gpus = tables.gpu_models(record).total()
    return Run(
        path,
        str(record["name"] or path),
        _flaw(record),
        tables.is_estimated(record),
        tuple(sorted(_devices(record))),
        {
            "energy": _amount(scopes.energy_of(record)["total"]),
            "co2e": _amount(record["co2e_grams"]),
            "duration": seconds,
        },
        gpus * seconds / 3600.0 if gpus and seconds is not None else None,
        {str(name): _number(value) for name, value in record["metrics"].items() if value is not None},
    )


def _devices(record: Record) -> Iterator[str]:
    """Name what the energy is of: a job's part of a machine is another thing than the machine."""
    part = "the job's part of " if scopes.is_of_job(record) else ""
    for device in scopes.devices_in(record):
        if device["counted"]:
            yield f"{part}{device['name']} ({device['method']})"


def _flaw(record: Record) -> str:
    if record["status"] != "complete":
        return "partial" if record["status"] == "partial" else "not started"
    if record["signal"] is not None:
        return "ended by a signal"
    return f"failed with {record['exit_code']}" if record["exit_code"] else ""


def _amount(value: Any) -> float | None:
    if value is None:
        return None
    if _number(value) < 0:
        raise ValueError(f"{value!r} is no amount")
    return float(value)


def _number(value: Any) -> float:
    if not is_number(value) or not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER:
        raise ValueError(f"{value!r} is no number")
    return float(value)


def side(told: str, runs: Sequence[Run]) -> Side:
    """Keep those runs of a side that can be compared."""
    return Side(told, [run for run in runs if not run.flaw], [run for run in runs if run.flaw])


# --- a change


def change(base: Side, new: Side, quantity: Quantity) -> Change | None:
    """Give the change of one quantity, None where a side does not know it or it is 0."""
    try:
        return noise.change(base.amounts(quantity), new.amounts(quantity))
    except ValueError:
        return None


def verdict(base: Side, new: Side, quantity: Quantity, limit_percent: float) -> Verdict:
    """Hold the change of a quantity against a limit: above it, and not by noise.

    With repeats it is no noise when the whole interval lies above 0. Without any nothing is known of noise, so that the
    change itself decides. Raises CannotJudge.
    """
    found, what, limit = change(base, new, quantity), TITLES[quantity], units.percent(limit_percent)
    if found is None:
        raise CannotJudge(f"the {what} of both sides must be known, and above 0, to hold a change against {limit}")
    shown = f"The {what} has changed by {signed(found.percent)}"
    if found.percent <= limit_percent:
        return Verdict(False, f"{shown}, which is not above {limit}.")
    if found.low_percent is None:
        return Verdict(
            True,
            f"{shown}, above {limit}. One run on each side tells nothing of noise, and how sure a meter is does not "
            "either: several runs of each would tell.",
        )
    if found.low_percent <= 0.0:
        return Verdict(False, f"{shown}, above {limit}, but noise explains it: the interval reaches below 0.")
    return Verdict(True, f"{shown}, above {limit}, and noise does not explain it.")


# --- a ranking


class Ranked(NamedTuple):
    """A run with what its metric is worth; None where energy or metric is unknown."""

    run: Run
    metric: float | None
    score: float | None
    on_front: bool | None


def ranked(runs: Sequence[Run], metric: str | None, *, lower_is_better: bool = False) -> list[Ranked]:
    """Rank runs by a metric and their energy, in their order; without a metric nothing is ranked.

    A run that is partial or failed is told, and not ranked. Where a lower metric is better there is no score: it wants
    a performance that grows.
    """
    points: dict[int, tuple[float, float]] = {}
    for at, run in enumerate(runs):
        joules, value = run.amounts["energy"], run.metrics.get(metric or "")
        if metric is not None and joules is not None and value is not None and not run.flaw:
            points[at] = joules, -value if lower_is_better else value
    front = dict(zip(points, pareto.front(list(points.values())), strict=True))
    scores = {} if lower_is_better else dict(zip(points, pareto.scores(list(points.values())), strict=True))
    return [
        Ranked(run, run.metrics.get(metric) if metric else None, scores.get(at), front.get(at))
        for at, run in enumerate(runs)
    ]


def signed(percent: float) -> str:
    """Write a change in per cent."""
    shown = units.digits(abs(percent), 3 if abs(percent) >= 100.0 else 2)
    return f"{'-' if percent < 0 else '+'}{shown}{units.NO_BREAK}%"
