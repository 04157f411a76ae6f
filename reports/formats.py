"""The formats: each is a module and one line here.

A format of one run has `render(record) -> str`. One that can tell several runs at once, or draws what happened in
between, has `render_runs(runs) -> str` and `takes="runs"`. One that is no text gives bytes instead.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.record import Event, Record


class CannotTell(Exception):  # noqa: N818  the name is the sentence's predicate
    """A format cannot tell these runs, or not here: one sentence that says why and what would be right."""


class Told(NamedTuple):
    """A run that is to be told: its record, and the events that this was made from."""

    record: Record
    events: Sequence[Event]


class Format(NamedTuple):
    """`module` is imported when the format is used.

    `file_name` is what it is called in a run directory; None for a format that is only made on request. With
    `intervals` it has `render_intervals(runs, seconds)` too: what each device used in each stretch of so many seconds.
    """

    module: str
    file_name: str | None = None
    takes: Literal["record", "runs"] = "record"
    intervals: bool = False


FORMATS = {
    "terminal": Format("greenrun.reports.terminal", "summary.txt"),
    "json": Format("greenrun.reports.jsonfile", "summary.json"),
    "html": Format("greenrun.reports.htmlpage", takes="runs"),
    "csv": Format("greenrun.reports.csvtable", takes="runs", intervals=True),
    "jsonl": Format("greenrun.reports.jsonl", takes="runs", intervals=True),
    "parquet": Format("greenrun.reports.parquet", takes="runs", intervals=True),
    "openmetrics": Format("greenrun.reports.openmetrics", takes="runs", intervals=True),
    "codecarbon": Format("greenrun.reports.codecarbon", takes="runs"),
    "carbontracker": Format("greenrun.reports.carbontracker_log", takes="runs"),
    "carbontracker-output": Format("greenrun.reports.carbontracker_output"),
    "markdown": Format("greenrun.reports.markdown"),
    "statement": Format("greenrun.reports.statement"),
    "latex": Format("greenrun.reports.latex"),
    "bibtex": Format("greenrun.reports.bibtex"),
    "huggingface": Format("greenrun.reports.huggingface"),
}


def render(name: str, record: Record) -> str:
    """Give the record in the format of this name, which takes one record and is text."""
    text: str = import_module(FORMATS[name].module).render(record)
    return text


def render_runs(name: str, runs: Sequence[Told]) -> str | bytes:
    """Give runs, one at least, in the format of this name. Raises CannotTell."""
    described = FORMATS[name]
    module = import_module(described.module)
    if described.takes == "record" and len(runs) > 1:
        raise CannotTell(f"the format {name} tells one run at a time, not {len(runs)}")
    data: str | bytes = module.render_runs(runs) if described.takes == "runs" else module.render(runs[0].record)
    return data


def render_intervals(name: str, runs: Sequence[Told], seconds: float) -> str | bytes:
    """Give what each device used in each interval of so many seconds, in the format of this name. Raises CannotTell."""
    if not FORMATS[name].intervals:
        able = ", ".join(known for known, described in FORMATS.items() if described.intervals)
        raise CannotTell(f"the format {name} knows no intervals: those that do are {able}")
    data: str | bytes = import_module(FORMATS[name].module).render_intervals(runs, seconds)
    return data


def write(record: Record, run_dir: str) -> None:
    """Write the record into its run directory in every format that belongs there, each file at once or not at all.

    Raises OSError.
    """
    from greenrun.sampler import runlog

    for name, described in FORMATS.items():
        if described.file_name is not None:
            data = render(name, record).encode("utf-8", "replace")
            runlog.replace(os.path.join(run_dir, described.file_name), data)
