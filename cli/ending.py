"""The last act: from the run log to the record, its files and its text."""

from __future__ import annotations

import contextlib

from greenrun.reports import formats, terminal
from greenrun.reports.account import account
from greenrun.sampler import runlog


def conclude(run_dir: str | None, unwritten: list[runlog.Event]) -> str:
    """Make the record of a run that has ended, write summary.json and summary.txt, and give the summary's text.

    `unwritten` are the events that did not get into the log of `run_dir`; None: there is no log, they are all. Raises
    runlog.Unreadable where neither tells of a run.
    """
    events = [*(runlog.read(run_dir) if run_dir is not None else ()), *unwritten]
    record = account(events)
    if run_dir is not None:
        with contextlib.suppress(OSError):  # a full disk: the text that follows tells of it
            formats.write(record, run_dir)
    return terminal.render(record, run_dir=run_dir)
