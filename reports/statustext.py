"""What is being measured now, as a table for people and as a document for programs. Pure."""

from __future__ import annotations

import json
import shlex
import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.reports import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greenrun.reports.live import State

_LEAST_NAME = 8
_GAP = "  "
_INDENT = "  "
_HEADER = ("power", "energy", "epoch", "runs for", "to go")
_UNKNOWN = "-"


class Seen(NamedTuple):
    """A run whose sampler is alive. `state` is None where its log cannot be read, for this `reason`."""

    pid: int  # the sampler's
    user: str | None
    run_dir: str | None
    state: State | None
    reason: str | None = None


def render(runs: Sequence[Seen], width: int = 80, *, users: bool = False, paths: bool = True) -> str:
    """Give the table in lines of at most `width` columns; only the paths of run directories are never cut.

    `users`: say whose each run is. `paths`: give each run's directory below its line.
    """
    if not runs:
        return "greenrun: nothing is being measured on this host\n"
    many = f"{len(runs)} runs are" if len(runs) > 1 else "one run is"
    lines = [f"greenrun: {many} being measured on this host"]
    cells = [("run", *(["user"] * users), *_HEADER)]
    cells += [(_name(run.state), *([run.user or _UNKNOWN] * users), *_figures(run.state)) for run in runs if run.state]
    table = iter(_aligned(cells, width) if len(cells) > 1 else [""])
    header = next(table)
    lines += [header] * bool(header)
    for run in runs:
        lines += [next(table)] if run.state else _unread(run, width)
        if run.state and run.state.is_late and run.state.reading_age_seconds is not None:
            lines.append(f"    the newest reading is {_plain(units.duration(run.state.reading_age_seconds))} old")
        if paths and run.state and run.run_dir:
            lines.append(f"    {_clean(run.run_dir)}")
    if any(run.state and run.state.estimated != "no" for run in runs):
        lines.append("  * estimated in whole or in part, not measured")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def line(run: Seen) -> str:
    """Give one run's figures as one line, for where nothing can be redrawn."""
    if run.state is None:
        return f"sampler {run.pid}: {_clean(run.reason or '')}"
    parts = zip(_HEADER, _figures(run.state), strict=True)
    return f"{_name(run.state)}: " + ", ".join(f"{what} {text}" for what, text in parts if text != _UNKNOWN)


def document(runs: Iterable[Seen], *, indent: int | None = 2) -> str:
    """Give the runs as JSON with a newline at its end; unknown is null."""
    told = [_fields(run) for run in runs]
    return json.dumps({"runs": told}, indent=indent, ensure_ascii=True, allow_nan=False) + "\n"


def _fields(run: Seen) -> dict[str, Any]:
    fields: dict[str, Any] = {"sampler_pid": run.pid, "user": run.user, "run_dir": run.run_dir, "reason": run.reason}
    if run.state is not None:
        state = run.state._asdict() | {"left_seconds": run.state.left_seconds and run.state.left_seconds._asdict()}
        prediction = run.state.prediction
        if prediction is not None:
            kept = ("after_epoch", "epochs", "duration_seconds", "energy_joules", "co2e_grams")
            state["prediction"] = {name: prediction.get(name) for name in kept}
        fields |= {name: value for name, value in state.items() if name != "user"}
    return fields


def _name(state: State) -> str:
    """Name a run by the word that it was given, and a scheduler's job by its number too."""
    name = state.name or (shlex.join(state.command) if state.command else state.run_id)
    return _clean(f"{name} ({state.job})" if state.job else name)


def _figures(state: State) -> tuple[str, ...]:
    mark = "" if state.estimated == "no" else "*"
    power = _UNKNOWN if state.power_watts is None else units.power(state.power_watts) + mark
    energy = _UNKNOWN if state.energy_joules is None else units.energy(state.energy_joules) + mark
    predicted = state.prediction or {}
    whole = predicted.get("energy_joules") if (predicted.get("scope") or "node") == state.scope else None
    if whole is not None and state.energy_joules is not None:
        energy += f" of {units.energy(whole['value'])}"
    epochs = _UNKNOWN
    if state.epochs_done is not None:
        epochs = f"{state.epochs_done}/{state.epochs_planned or '?'}"
    elapsed = _UNKNOWN if state.elapsed_seconds is None else _whole(state.elapsed_seconds)
    left = _UNKNOWN if state.left_seconds is None else _whole(state.left_seconds.value)
    if state.phase != "running":
        left = state.phase
    return tuple(map(_plain, (power, energy, epochs, elapsed, left)))


def _whole(seconds: float) -> str:
    """Write a duration in whole seconds: what changes each second has no use for a fraction of one."""
    return f"{seconds:.0f}{units.NO_BREAK}s" if seconds < 100.0 else units.duration(seconds)


def _aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Give the rows with their columns below each other; the first column gives way where there is too little room."""
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    rest = sum(widths[1:]) + len(_GAP) * (len(widths) - 1) + len(_INDENT)
    widths[0] = min(widths[0], max(_LEAST_NAME, width - rest))
    lines = []
    for row in rows:
        first = _cut(row[0], widths[0])
        cells = [first + " " * (widths[0] - _columns(first))]
        cells += [text.rjust(columns) for text, columns in zip(row[1:], widths[1:], strict=True)]
        lines.append(_cut((_INDENT + _GAP.join(cells)).rstrip(), width))
    return lines


def _cut(text: str, columns: int) -> str:
    if _columns(text) <= columns:
        return text
    kept: list[str] = []
    room = columns - 2
    for letter in text:  # as far as there is room: a command line may have megabytes
        room -= _columns(letter)
        if room < 0:
            return "".join(kept) + ".."
        kept.append(letter)
    return text


def _columns(text: str) -> int:
    """Give how many columns a text takes on a terminal: letters of East Asia take two, accents of their own none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _unread(run: Seen, width: int) -> list[str]:
    import textwrap

    whose = f" of {run.user}" if run.user else ""
    text = f"sampler {run.pid}{whose}: {run.reason}"
    return textwrap.wrap(_clean(text), width, initial_indent=_INDENT, subsequent_indent="    ")


def _plain(text: str) -> str:
    return text.replace(units.NO_BREAK, " ")


def _clean(text: str) -> str:
    """Replace what would move the cursor: names, paths and users come from outside."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
