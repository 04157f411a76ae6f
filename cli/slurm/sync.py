"""`greenrun slurm sync`: what sacct knows of the jobs in the spool goes beside their records, and back if asked.

The records stay as they are: sacct's rows go into a file of their own, which the reports read with them.
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

import click

from greenrun.cli import jobrecords, output, parse
from greenrun.cli.errors import UserError
from greenrun.cli.run import say
from greenrun.cli.slurm import sacct, spool
from greenrun.cli.slurm.top import seconds, site, spool_jobs
from greenrun.reports import accounting, jsonfile
from greenrun.reports.life import format_utc, parse_utc
from greenrun.reports.merged import merge
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.cli.config import Config
    from greenrun.cli.jobrecords import SpoolJob
    from greenrun.reports.accounting import Accounted


class _Comments(NamedTuple):
    """What became of the jobs' comments: how many each."""

    written: int = 0
    others: int = 0  # somebody else has written one
    failed: int = 0


def main(argv: list[str]) -> int:
    """Join the records with sacct; 1, and a sentence on stderr, where it has no answer. Raises UserError."""
    return 1 if parse.invoke(command, argv, "greenrun slurm sync") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.option("--since", metavar="TIME", default="7d", help="jobs of this last stretch of time; default: 7d")
@click.option("--comment", is_flag=True, help="put energy and CO2e into the AdminComment of jobs that are over")
def command(since: str, comment: bool) -> int:
    """Ask sacct for state, account, name and times of the jobs in the spool, and keep them beside their records.

    With --comment each job's energy and CO2e go into its AdminComment, but never over what somebody else wrote there.
    """
    settings = site()
    found = spool_jobs(settings, time.time() - seconds("--since", since))
    for trouble in (trouble for job in found for trouble in job.troubles):
        say(f"greenrun: {trouble.sentence}")
    try:
        rows = sacct.ask([job.raw_id for job in found]) if found else []
        by_id: dict[str, list[Accounted]] = {}
        for row in rows:
            by_id.setdefault(row["JobIDRaw"], []).append(row)
        for job in found:
            if job.raw_id in by_id:
                _keep(settings, job.raw_id, by_id[job.raw_id])
        comments = _comment(settings, found, by_id) if comment else None
    except sacct.NoAccounting as reason:
        say(f"greenrun: nothing is joined, for {reason}.")
        return 1
    unknown = sum(job.raw_id not in by_id for job in found)
    output.show(_words(len(found) - unknown, unknown, comments))
    return 1 if comments and comments.failed else 0


def _keep(settings: Config, raw_id: str, rows: Sequence[Accounted]) -> None:
    """Write sacct's rows of a job beside its run directories. Raises UserError."""
    folder = os.path.join(settings.spool, spool.RUNS, raw_id)
    if jobrecords.accounted(settings.spool, raw_id) == rows:
        return
    document = {"schema": 1, "asked_at": format_utc(datetime.now(timezone.utc)), "rows": rows}
    try:
        spool.check(folder)
        data = jsonfile.document(document).encode("utf-8", "replace")
        runlog.replace(os.path.join(folder, jobrecords.ACCOUNTED_NAME), data)
    except OSError as error:
        raise UserError(f"{folder}: sacct's rows cannot be kept: {error.strerror or error}") from None


def _comment(settings: Config, found: Sequence[SpoolJob], by_id: dict[str, list[Accounted]]) -> _Comments:
    """Tell SLURM the energy of each job that is over, where nobody else has written a comment."""
    written = others = failed = 0
    for job in found:
        told = _wanted(settings, job, by_id.get(job.raw_id, ()))
        if told is None:
            continue
        text, there = told
        if not accounting.is_ours(there):
            others += 1
        elif text != there:
            try:
                sacct.comment(job.raw_id, text)
                written += 1
            except sacct.NoAccounting as reason:
                say(f"greenrun: the comment of job {job.raw_id} is not written, for {reason}.")
                failed += 1
    return _Comments(written, others, failed)


def _wanted(settings: Config, job: SpoolJob, rows: Sequence[Accounted]) -> tuple[str, str] | None:
    """Give the comment that a job is to have and the one that it has; None while it is not over, or not known.

    sacctmgr takes an id for the newest job that has it, so a record of an older one is left alone.
    """
    if not rows or not job.runs or jobrecords.running(settings.spool, job.raw_id):
        return None
    newest = max(rows, key=lambda row: row["Submit"])
    try:
        record = merge(job.runs, rows)
    except jobrecords.DAMAGED as error:
        say(f"greenrun: the records of job {job.raw_id} are damaged ({type(error).__name__}: {error}).")
        return None
    last = record["attempts"][-1]
    row = accounting.nearest(parse_utc(last["started_at"]), parse_utc(last["ended_at"]), rows)
    if row is not newest or not accounting.is_over(newest) or record["energy_kwh"] is None:
        return None
    return accounting.comment(record), newest["AdminComment"]


def _words(joined: int, unknown: int, comments: _Comments | None) -> str:
    told = [f"{_jobs(joined)} joined with sacct"]
    if unknown:
        told.append(f"{_jobs(unknown)} not known to it")
    if comments is not None:
        told.append(f"{comments.written} comments written")
        if comments.others:
            told.append(f"{comments.others} left as somebody else had written them")
        if comments.failed:
            told.append(f"{comments.failed} could not be written")
    return ", ".join(told) + "."


def _jobs(number: int) -> str:
    return f"{number} job{'s' * (number != 1)}"
