"""A comparison of runs as text of at most 80 columns, and as JSON."""

from __future__ import annotations

import json
import math
import textwrap
from typing import TYPE_CHECKING, Any

from greenrun.reports import comparison, jsonfile, units
from greenrun.reports.comparison import QUANTITIES, TITLES, signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.comparison import Quantity, Ranked, Run, Side, Verdict
    from greenrun.reports.noise import Change

SCHEMA = 1
"""The number of the JSON documents' schema; additions keep it."""

NOISE_PERCENT_OF = 90
"""The intervals of changes are of so many per cent."""

_FIELDS: dict[Quantity, str] = {"energy": "energy_joules", "co2e": "co2e_grams", "duration": "duration_seconds"}
_NAME_COLUMNS = 24
_MOST_SHOWN = 200


def render_change(base: Side, new: Side, told: Verdict | None) -> str:
    """Give the change of each quantity as a table."""
    lines = [_row(("", f"base ({len(base.runs)})", f"new ({len(new.runs)})", "change", "90 % interval"))]
    for quantity in QUANTITIES:
        found = comparison.change(base, new, quantity)
        lines.append(
            _row(
                (
                    TITLES[quantity],
                    _mean(base, quantity),
                    _mean(new, quantity),
                    "?" if found is None else signed(found.percent),
                    _interval(found),
                )
            )
        )
    for words in (*_doubts(base, new), *(() if told is None else (told.words,))):
        lines += ["", *_wrapped(words)]
    return _joined(lines)


def render_change_json(base: Side, new: Side, told: Verdict | None, limit: tuple[Quantity, float] | None) -> str:
    """Give the same as JSON, unrounded."""
    return _json(
        {
            "schema": SCHEMA,
            "base": _side(base),
            "new": _side(new),
            "changes": {
                _FIELDS[quantity]: None
                if (found := comparison.change(base, new, quantity)) is None
                else found._asdict()
                for quantity in QUANTITIES
            },
            "interval_percent": NOISE_PERCENT_OF,
            "limit": None if limit is None else {"quantity": _FIELDS[limit[0]], "percent": limit[1]},
            "failed": None if told is None else told.failed,
            "notes": [words.replace(units.NO_BREAK, " ") for words in _doubts(base, new)],
            "words": None if told is None else told.words.replace(units.NO_BREAK, " "),
        }
    )


def _side(one: Side) -> dict[str, Any]:
    means = {_FIELDS[quantity]: _geometric_mean(one.amounts(quantity)) for quantity in QUANTITIES}
    return {
        "told": one.told,
        "mean": means,
        "runs": [_document(run) for run in one.runs],
        "left_out": [{"path": run.path, "reason": run.flaw} for run in one.left_out],
    }


def _document(run: Run) -> dict[str, Any]:
    amounts = {_FIELDS[quantity]: run.amounts[quantity] for quantity in QUANTITIES}
    return {"path": run.path, "name": run.name, **amounts, "estimated": run.estimated, "gpu_hours": run.gpu_hours}


def _geometric_mean(values: Sequence[float]) -> float | None:
    if not values:
        return None
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if min(values) > 0.0 else 0.0


def _mean(one: Side, quantity: Quantity) -> str:
    return _written(quantity, _geometric_mean(one.amounts(quantity)))


def _interval(found: Change | None) -> str:
    if found is None or found.low_percent is None or found.high_percent is None:
        return "unknown"
    return f"{signed(found.low_percent)} to {signed(found.high_percent)}"


def _doubts(base: Side, new: Side) -> Iterator[str]:
    for one, name in ((base, "base"), (new, "new")):
        if one.left_out:
            reasons = ", ".join(dict.fromkeys(run.flaw for run in one.left_out))
            yield f"Left out of {name}: {_count(len(one.left_out), 'run')} ({reasons})."
    if len(base.runs) == len(new.runs) == 1:
        yield "With one run on each side nothing tells a change from noise."
    elif 1 in (len(base.runs), len(new.runs)):
        yield "One side has a single run: it is taken to scatter as the other side does."
    machines = {run.machine for run in (*base.runs, *new.runs)}
    if len(machines) > 1:
        yield "The runs were measured on different devices, or in different ways: a part of the change is theirs."
    if any(run.estimated for run in (*base.runs, *new.runs)):
        yield "Energy is estimated from load here, at least in part: that sees less than a meter does."


def render_ranked(rows: Sequence[Ranked], metric: str | None, *, lower_is_better: bool = False) -> str:
    """Give the table of the runs, the front and the scores, and the resource pyramid of each run."""
    shown = rows[:_MOST_SHOWN]
    value, score, on_front = ("", "", "") if metric is None else (metric, "PePR", "front")
    lines = [_row(("run", "energy", "CO2e", "time", value, score, on_front))]
    lines += [_row(_cells(row)) for row in shown]
    if len(rows) > _MOST_SHOWN:
        lines.append(f"and {len(rows) - _MOST_SHOWN:,} more (--json has them all)")
    if metric is not None:
        better = "lower" if lower_is_better else "higher"
        words = f"front: no other run has {'a lower' if lower_is_better else 'a higher'} {metric} for as little energy"
        words += f" ({better} is better)."
        if not lower_is_better:
            words += " PePR: the metric over 1 plus the energy, which goes from 0 to 1 over these runs."
        lines += ["", *_wrapped(words)]
    lines += ["", _row(("run", "parameters", "FLOP", "GPU hours", "energy", "CO2e"))]
    lines += [_row(_pyramid(row.run)) for row in shown]
    flaws = dict.fromkeys(row.run.flaw for row in rows if row.run.flaw)
    if flaws:
        lines += ["", *_wrapped(f"* not ranked: {', '.join(flaws)}")]
    return _joined(lines)


def render_ranked_json(rows: Sequence[Ranked], metric: str | None, *, lower_is_better: bool = False) -> str:
    """Give the same as JSON, unrounded."""
    return _json(
        {
            "schema": SCHEMA,
            "metric": metric,
            "lower_is_better": lower_is_better,
            "runs": [
                {
                    **_document(row.run),
                    "left_out": row.run.flaw or None,
                    "metric": row.metric,
                    "pepr": row.score,
                    "on_front": row.on_front,
                    "parameters": row.run.metrics.get("parameters"),
                    "flop": row.run.metrics.get("flop"),
                }
                for row in rows
            ],
        }
    )


def _cells(row: Ranked) -> tuple[str, ...]:
    return (
        f"{row.run.name}{' *' if row.run.flaw else ''}",
        *(_written(quantity, row.run.amounts[quantity]) for quantity in QUANTITIES),
        "" if row.metric is None else _short(row.metric),
        "" if row.score is None else f"{row.score:.3f}",
        "yes" if row.on_front else "",
    )


def _pyramid(run: Run) -> tuple[str, ...]:
    """Give what a model is made of, from its size to what it did to the air."""
    hours = run.gpu_hours
    return (
        run.name,
        _large(run.metrics.get("parameters")),
        _large(run.metrics.get("flop")),
        "?" if hours is None else units.digits(hours, 3),
        _written("energy", run.amounts["energy"]),
        _written("co2e", run.amounts["co2e"]),
    )


# --- words


def _written(quantity: Quantity, value: float | None) -> str:
    if value is None:
        return "?"
    if quantity == "energy":
        return units.energy(value)
    return units.mass(value) if quantity == "co2e" else units.duration(value)


def _short(value: float) -> str:
    return f"{value:.4g}"


def _large(value: float | None) -> str:
    if value is None:
        return "?"
    size, prefix = next(((s, p) for s, p in ((1e9, "e9"), (1e6, "e6")) if s <= abs(value) < 1e3 * s), (1.0, ""))
    return f"{value / size:.3g}{prefix}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _row(cells: Sequence[str]) -> str:
    name, *others = cells
    clean = _clean(name)
    marked = clean.endswith(" *") and len(clean) > _NAME_COLUMNS
    cut = clean if len(clean) <= _NAME_COLUMNS else f"{clean[: _NAME_COLUMNS - 5]}...{' *' if marked else ''}"
    width = 18 if len(others) == 4 else 11 if len(others) == 5 else 9
    name_width = 8 if len(others) == 4 else _NAME_COLUMNS
    return f"{cut:<{name_width}}{''.join(f'{_cut(_clean(cell), width):>{width}}' for cell in others)}".rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) < width else f"{text[: width - 3]}.."


def _wrapped(words: str) -> list[str]:
    return textwrap.wrap(_clean(words), 80, break_on_hyphens=False)


def _clean(text: str) -> str:
    """Replace what would move the cursor: names and paths come from outside."""
    return "".join(letter if letter.isprintable() or letter == units.NO_BREAK else "?" for letter in text)


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines).replace(units.NO_BREAK, " ") + "\n"


def _json(document: Any) -> str:
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return text.translate(jsonfile.ESCAPED) + "\n"
