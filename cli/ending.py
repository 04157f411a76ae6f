"""The last act: from the run log to the record, its files and its text."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from greenrun.reports import jsonfile, terminal
from greenrun.reports.account import account
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from greenrun.reports.record import Record


def conclude(run_dir: str | None, unwritten: list[runlog.Event]) -> str:
    """Make the record of a run that has ended, write summary.json and summary.txt, and give the summary's text.

    `unwritten` are the events that did not get into the log of `run_dir`; None: there is no log, they are all. Raises
    runlog.Unreadable where neither tells of a run.
    """
    events = [*(runlog.read(run_dir) if run_dir is not None else ()), *unwritten]
    record = account(events)
    text = terminal.render(record, run_dir=run_dir)
    if run_dir is not None:
        _write(run_dir, record, text)
    return text


def _write(run_dir: str, record: Record, text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: the log was told of in the text already
        runlog.replace(os.path.join(run_dir, "summary.json"), jsonfile.render(record).encode("utf-8", "replace"))
        runlog.replace(os.path.join(run_dir, "summary.txt"), text.encode("utf-8", "replace"))
