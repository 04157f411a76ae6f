"""The sums over many runs as text for a terminal and as JSON."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports import collection, jsonfile, units
from greenrun.reports.life import format_utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.collection import By, Quality, Run, Summed, Sums

MOST_DAMAGED = 1000
"""So many damaged runs are kept with their reasons; of more the number is told."""

_SHOWN_GROUPS = 5  # of each kind, where none was asked for
_SHOWN_DAMAGED = 10
_NAME_COLUMNS = 24
_QUALITIES: dict[Quality, str] = {
    "measured": "measured",
    "estimated": "estimated, at least in part",
    "partial": "partial: lower bounds",
}
_TITLES: dict[By, str] = {
    "user": "user",
    "project": "project",
    "command": "command",
    "host": "host",
    "gpu": "GPU model",
    "job": "job",
    "month": "month (UTC)",
}


class Skipped(NamedTuple):
    """The run directories that could not be read: how many, and the first ones with the reason."""

    number: int
    first: list[tuple[str, str]]


def render(summed: Summed, skipped: Skipped, log_dir: str, shown: int | None = None) -> str:
    """Give the text in 80 columns; of each kind of group the largest `shown`, None for as many as fit on a screen."""
    lines = [f"greenrun: {_count(summed.total.runs, 'run')} in {_clean(log_dir)}{_when(summed)}"]
    if summed.total.runs:
        lines += [f"  {label:<12}{text}" for label, text in _entries(summed)]
    lines += [f"  {label:<12}{text}" for label, text in _doubts(summed)]
    for by, groups in summed.groups.items():
        if groups:
            lines += ["", *_groups(by, collection.largest_first(groups), shown)]
    if summed.top:
        lines += ["", *_top(summed.top)]
    lines += _damaged(skipped)
    return "\n".join(lines).replace(units.NO_BREAK, " ") + "\n"


def render_json(summed: Summed, skipped: Skipped) -> str:
    """Give all of it as JSON; amounts are named as the columns of the tables are."""
    document = {
        "schema": collection.SCHEMA,
        "total": collection.amounts(summed.total),
        "from": _utc(summed.begin),
        "to": _utc(summed.end),
        "left_out": summed.left_out._asdict(),
        "overlapping_runs": summed.overlapping,
        "runs_of_job_scope": summed.parts,
        "by": {
            by: [{"group": name, **collection.amounts(sums)} for name, sums in collection.largest_first(groups)]
            for by, groups in summed.groups.items()
        },
        "top": [
            {
                "run_id": run.run_id,
                "path": run.path,
                "name": run.label,
                "quality": run.quality,
                "duration_seconds": run.seconds,
                "energy_joules": run.joules,
                "co2e_grams": run.grams,
            }
            for run in summed.top
        ],
        "damaged": skipped.number,
        "damaged_runs": [{"path": path, "reason": reason} for path, reason in skipped.first],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return text.translate(jsonfile.ESCAPED) + "\n"


def _utc(seconds: float | None) -> str | None:
    return None if seconds is None else format_utc(datetime.fromtimestamp(seconds, timezone.utc))


def _when(summed: Summed) -> str:
    first, last = _utc(summed.begin), _utc(summed.end)
    return "" if first is None or last is None else f", {first[:10]} to {last[:10]}"


def _entries(summed: Summed) -> Iterator[tuple[str, str]]:
    total = summed.total
    yield "time", units.duration(total.seconds)
    if total.known_joules is None:
        yield "energy", "unknown"
    else:
        percent = 100.0 * total.half_width_joules / total.joules if total.joules else 0.0
        sure = f" +-{units.percent(percent)}" if percent else ""
        yield "energy", f"{units.energy(total.joules)}{sure}"
        for quality, words in _QUALITIES.items():
            count = total.runs_of[quality]
            if count:
                joules = units.energy(total.joules_of[quality], total.joules or None)
                yield "", f"{joules} in {_count(count, 'run')}, {words}"
    if total.known_grams is None:
        yield "CO2e", "unknown"
    else:
        low, high = units.mass(total.low_grams), units.mass(total.high_grams)
        yield "CO2e", f"{units.mass(total.grams)} ({units.interval(low, high)} at 95{units.NO_BREAK}%)"


def _doubts(summed: Summed) -> Iterator[tuple[str, str]]:
    total, left_out = summed.total, summed.left_out
    if total.without_energy:
        yield "unknown", f"{_count(total.without_energy, 'run')} without energy, in no sum of it"
    if total.without_grams > total.without_energy:
        yield "unknown", f"{_count(total.without_grams, 'run')} without CO2e, in no sum of it"
    if left_out.nested:
        yield "left out", f"{_count(left_out.nested, 'run')} inside another one, which has their energy"
    if left_out.in_jobs:
        yield "left out", f"{_count(left_out.in_jobs, 'run')} inside a job that was measured on their node"
    if left_out.copies:
        yield "left out", f"{_count(left_out.copies, 'copy', 'copies')} of a run that is counted"
    if summed.parts:
        whole = summed.total.runs - summed.parts
        rest = f"; {_count(whole, 'run')} with all that the machine used" if whole else ""
        yield "scope", f"{_count(summed.parts, 'run')} with the job's part of its machine{rest}"
    if summed.overlapping:
        yield "overlap", f"{_count(summed.overlapping, 'run')} at the same time as another one on the same host:"
        yield "", "each has the machine's whole energy, so sums have it twice or more"


def _groups(by: By, groups: Sequence[tuple[str, Sums]], shown: int | None) -> Iterator[str]:
    limit = _SHOWN_GROUPS if shown is None else shown
    yield _line((f"by {_TITLES[by]}", "runs", "time", "energy", "CO2e", "est.", "part."))
    for name, sums in groups[:limit]:
        yield _line((_clean(name), f"{sums.runs:,}", _short_duration(sums.seconds), *_amounts(sums)))
    if len(groups) > limit:
        yield f"  and {len(groups) - limit:,} more (--by {by} shows more, --format csv all)"


def _amounts(sums: Sums) -> tuple[str, ...]:
    joules, grams = sums.known_joules, sums.known_grams
    return (
        "?" if joules is None else units.energy(joules),
        "?" if grams is None else units.mass(grams),
        *(f"{sums.runs_of[quality]:,}" if sums.runs_of[quality] else "" for quality in ("estimated", "partial")),
    )


def _top(top: Sequence[Run]) -> Iterator[str]:
    yield _line(("the largest runs", "", "time", "energy", "CO2e", "", ""))
    for run in top:
        grams = "?" if run.grams is None else units.mass(run.grams)
        energy = "?" if run.joules is None else units.energy(run.joules)
        time = "?" if run.seconds is None else _short_duration(run.seconds)
        mark = "" if run.quality == "measured" else {"estimated": "est.", "partial": "part."}[run.quality]
        yield _line((_clean(run.label), "", time, energy, grams, mark, ""))
        yield f"    {_clean(run.path)}"


def _damaged(skipped: Skipped) -> Iterator[str]:
    if skipped.number:
        yield ""
        yield f"{_count(skipped.number, 'run directory', 'run directories')} could not be read:"
        for path, reason in skipped.first[:_SHOWN_DAMAGED]:
            yield f"  {_clean(path)}: {_clean(reason)}"
        if skipped.number > _SHOWN_DAMAGED:
            yield f"  and {skipped.number - _SHOWN_DAMAGED:,} more (--json has {len(skipped.first):,} of them)"


def _line(cells: Sequence[str]) -> str:
    name, runs, time, energy, grams, estimated, partial = cells
    cut = name if len(name) <= _NAME_COLUMNS else f"{name[: _NAME_COLUMNS - 3]}..."
    return f"{cut:<{_NAME_COLUMNS}} {runs:>8} {time:>8} {energy:>9} {grams:>8} {estimated:>7} {partial:>7}".rstrip()


def _short_duration(seconds: float) -> str:
    """Write a duration in one unit of time: a column has no room for two."""
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{units.digits(seconds / size, 3)}{units.NO_BREAK}{name}"
    return units.duration(seconds)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _clean(text: str) -> str:
    """Replace what would move the cursor: names and paths come from outside."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
