"""The formats of a record: each is a module with `render(record) -> str` and one line here."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from greenrun.reports.record import Record


class Format(NamedTuple):
    """`module` is imported when the format is used; `file_name` is what it is called in a run directory."""

    module: str
    file_name: str


FORMATS = {
    "terminal": Format("greenrun.reports.terminal", "summary.txt"),
    "json": Format("greenrun.reports.jsonfile", "summary.json"),
}


def render(name: str, record: Record) -> str:
    """Give the record in the format of this name."""
    text: str = import_module(FORMATS[name].module).render(record)
    return text


def write(record: Record, run_dir: str) -> None:
    """Write the record into its run directory in every format, each file at once or not at all. Raises OSError."""
    from greenrun.sampler import runlog

    for name, described in FORMATS.items():
        data = render(name, record).encode("utf-8", "replace")
        runlog.replace(os.path.join(run_dir, described.file_name), data)
