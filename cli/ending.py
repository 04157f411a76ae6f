"""The last act: from the run log to the record, its files and its text."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenrun.reports import formats, terminal
from greenrun.reports.account import account
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from greenrun.reports.record import Record
    from greenrun.sampler.events import Event


def tell(record: Record, shown_dir: str | None) -> str:
    """Give the summary's text; `shown_dir` is how it names the run directory, None: there is none to name."""
    return terminal.render(record, run_dir=shown_dir)


def make(run_dir: str | None, unwritten: list[Event]) -> Record:
    """Make the record of a run that has ended, and write summary.json and summary.txt.

    `unwritten` are the events that did not get into the log of `run_dir`; None: there is no log. Raises
    runlog.Unreadable where neither tells of a run.
    """
    all_unwritten = bool(unwritten) and unwritten[0]["event"] == "start"
    events = unwritten if run_dir is None or all_unwritten else [*runlog.read(run_dir), *unwritten]
    record = account(events)
    if run_dir is not None:
        try:
            formats.write(record, run_dir)
        except OSError as error:
            if not any(warned["code"] == "log" for warned in record["warnings"]):
                sentence = f"The summary could not be written into {run_dir} ({os.strerror(error.errno or 0)})."
                record["warnings"].append({"code": "log", "message": sentence})
    return record
