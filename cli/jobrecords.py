"""Where the records of a scheduler's job lie: in the site's spool, and in the log directories of its user.

What cannot be read is told and left out, for one bad directory must not hide the others.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from greenrun.cli.slurm.spool import LIVE, LIVE_NAME, RUNS
from greenrun.reports import accounting
from greenrun.reports.account import SCHEMA, account
from greenrun.reports.job import job
from greenrun.reports.merged import Run
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from greenrun.reports.account import WhatIf
    from greenrun.reports.accounting import Accounted
    from greenrun.reports.job import Job
    from greenrun.reports.record import Event

ACCOUNTED_NAME = "sacct.json"  # beside the run directories of a job
_LARGEST_FILE_BYTES = 64 << 20
_JOB_ID = re.compile(r"[^\W_][\w.\[\]-]{0,63}")  # 1234, 1234_7; other schedulers have 1234.server and 1234[7]

DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""How JSON that is no log or record of ours fails, once it is used: in as many ways as there are fields."""


class Stored(NamedTuple):
    """One run directory whose log begins with a job's start."""

    run_dir: str
    job: Job


class Trouble(NamedTuple):
    """Something that was left out, as a sentence; `forbidden`: it is not for us to read."""

    path: str
    sentence: str
    forbidden: bool = False


class SpoolJob(NamedTuple):
    """A job of the spool: its id there, what can be read of it and what cannot."""

    raw_id: str
    runs: list[Run]
    troubles: list[Trouble]


class Looked(NamedTuple):
    """What was found, and what was left out."""

    stored: list[Stored]
    troubles: list[Trouble]


def is_job_id(text: str) -> bool:
    """Tell whether it has the form of a scheduler's id of a job, or of a task of an array."""
    return _JOB_ID.fullmatch(text) is not None


def is_of(found: Job, job_id: str) -> bool:
    """Tell whether a record is of the job, of the array, or of the array's task with this id."""
    return job_id in (found["JobIDRaw"], found["JobID"], found["ArrayJobID"])


def in_folder(folder: str) -> Looked:
    """Look through the run directories in a folder, or through the folder itself where it is one."""
    stored: list[Stored] = []
    troubles: list[Trouble] = []
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return Looked([], [])
    except OSError as error:
        return Looked([], [_trouble(folder, error)])
    run_dirs = [folder] if runlog.LOG_NAME in names else [os.path.join(folder, name) for name in names]
    for run_dir in run_dirs:
        try:
            start = runlog.read_start(run_dir)
        except runlog.Unreadable as error:
            if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                continue  # a folder of something else; or one that is being made
            forbidden = isinstance(error.__cause__, PermissionError)
            troubles.append(Trouble(run_dir, str(error), forbidden))
            continue
        of = _job_of(start)
        if of is not None and of["JobIDRaw"] is not None:
            stored.append(Stored(run_dir, of))
    return Looked(stored, troubles)


def _job_of(start: Event) -> Job | None:
    user = None if start.get("kind") == "job" else start.get("user")
    return job(start.get("environment") or {}, user)


def raw_ids(spool: str, job_id: str) -> list[str]:
    """Give the ids under which the spool has the job, or the tasks of the array, as far as sacct has told of arrays.

    The site's own records know of no arrays: SLURM's Prolog is not told. Raises PermissionError.
    """
    whole = job_id.isdigit()
    known = jobs(spool)
    ids = [job_id] if job_id in known else []
    ids += (raw_id for raw_id in known if any(_is_row_of(row, job_id, whole) for row in accounted(spool, raw_id)))
    return list(dict.fromkeys(ids))


def _is_row_of(row: Accounted, job_id: str, whole: bool) -> bool:
    return row["JobID"] == job_id or (whole and row["JobID"].startswith(f"{job_id}_"))


def jobs(spool: str) -> list[str]:
    """Give the ids of all jobs that the spool has, none where there is no spool. Raises PermissionError."""
    try:
        names = os.listdir(os.path.join(spool, RUNS))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((name for name in names if name.isascii() and name.isdigit()), key=int)


def accounted(spool: str, raw_id: str) -> list[Accounted]:
    """Give what sacct has told of a job when the site last asked it; nothing where it has not, or it is damaged."""
    try:
        document = json.loads(_bytes(os.path.join(spool, RUNS, raw_id, ACCOUNTED_NAME)))
        rows: list[Accounted] = document["rows"]
        whole = all(isinstance(row[name], str) for row in rows for name in accounting.FIELDS)  # type: ignore[literal-required]
    except (OSError, RecursionError, *DAMAGED):
        return []
    return rows if whole else []


def running(spool: str, raw_id: str) -> list[str]:
    """Give the nodes on which the job is still measured, or has been left by a node that died."""
    try:
        names = os.listdir(os.path.join(spool, LIVE))
    except OSError:
        return []
    told = [found for found in map(LIVE_NAME.fullmatch, names) if found]
    return sorted({found["node"] for found in told if found["job"] == raw_id})


def load(run_dir: str, what_if: Callable[[list[Event]], WhatIf | None]) -> Run:
    """Read a run from its log. Raises Unreadable, and one of DAMAGED."""
    events = runlog.read(run_dir)
    asked = what_if(events)
    return Run(account(events, asked), events, asked)


def load_summary(run_dir: str) -> Run:
    """Read a run from its summary, which is quicker, or where there is none in form from its log. Raises as `load`."""
    from greenrun.reports.recordcheck import flaw

    try:
        record = json.loads(_bytes(os.path.join(run_dir, "summary.json")))
    except (OSError, RecursionError, ValueError):
        return load(run_dir, lambda _events: None)
    if flaw(record) is None and record["schema"] == SCHEMA:
        return Run(record)
    return load(run_dir, lambda _events: None)


def loaded(run_dir: str, how: Callable[[str], Run]) -> Run | Trouble:
    """Read a run as `how` does, or tell why it cannot be read."""
    try:
        return how(run_dir)
    except (runlog.Unreadable, *DAMAGED) as error:
        return _trouble(run_dir, error)


def each_job(spool: str, since_unix: float) -> Iterator[SpoolJob]:
    """Give the jobs of the spool with a record that was written since then. OSError where it cannot be listed."""
    for raw_id in jobs(spool):
        found = _spool_job(raw_id, os.path.join(spool, RUNS, raw_id), since_unix)
        if found.runs or found.troubles:
            yield found


def _spool_job(raw_id: str, folder: str, since_unix: float) -> SpoolJob:
    try:
        entries = sorted((entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)), key=_name)
        recent = any(entry.stat(follow_symlinks=False).st_mtime >= since_unix for entry in entries)
    except OSError as error:
        return SpoolJob(raw_id, [], [_trouble(folder, error)])
    read = [loaded(entry.path, load_summary) for entry in entries] if recent else []
    return SpoolJob(
        raw_id,
        [one for one in read if isinstance(one, Run)],
        [one for one in read if isinstance(one, Trouble)],
    )


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _trouble(path: str, error: Exception) -> Trouble:
    if isinstance(error, OSError):
        forbidden = isinstance(error, PermissionError)
        return Trouble(path, f"{path} cannot be read: {os.strerror(error.errno or 0)}.", forbidden)
    if isinstance(error, runlog.Unreadable):
        return Trouble(path, str(error), isinstance(error.__cause__, PermissionError))
    return Trouble(path, f"{path} is damaged: it lacks what a record has ({type(error).__name__}: {error}).")


def _bytes(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(file, "rb") as reader:
        return reader.read(_LARGEST_FILE_BYTES)
