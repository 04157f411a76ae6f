"""`greenrun slurm top`: which users, accounts or partitions used how much, for the site's owner."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, cast

import click

from greenrun.cli import config, durations, jobrecords, output, parse
from greenrun.cli.errors import UserError
from greenrun.cli.run import say
from greenrun.cli.slurm import spool
from greenrun.reports import jsonfile, top
from greenrun.reports.life import format_utc, parse_utc
from greenrun.reports.merged import by_job, merge

if TYPE_CHECKING:
    from greenrun.cli.config import Config
    from greenrun.cli.jobrecords import SpoolJob, Trouble
    from greenrun.reports.jobrecord import JobRecord


def main(argv: list[str]) -> int:
    """Print the table; 0. Raises UserError."""
    parse.invoke(command, argv, "greenrun slurm top")
    return 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.option("--since", metavar="TIME", default="7d", help="jobs that began no longer ago than this; default: 7d")
@click.option("--by", type=click.Choice(["user", "account", "partition"]), default="user", help="default: user")
@click.option("--json", "as_json", is_flag=True, help="print the table as one JSON document")
def command(since: str, by: str, as_json: bool) -> None:
    """Tell which users, accounts or partitions used how much energy on this cluster, from the records in the spool.

    Accounts are known where `greenrun slurm sync` has asked sacct for them.
    """
    settings = site()
    until_unix = time.time()
    since_unix = until_unix - seconds("--since", since)
    records: list[JobRecord] = []
    left_out: list[Trouble] = []
    for found in spool_jobs(settings, since_unix):
        left_out += found.troubles
        records += _records(settings, found, since_unix, left_out)
    chosen = cast("top.By", by)
    rows, of_all = top.rank(records, chosen), top.total(records)
    if as_json:
        document = {
            "schema": 1,
            "kind": "top",
            "by": by,
            "since": _utc(since_unix),
            "until": _utc(until_unix),
            "rows": rows,
            "total": of_all,
            "left_out": [{"path": trouble.path, "reason": trouble.sentence} for trouble in left_out],
        }
        output.show(jsonfile.document(document))
        return
    lines = [f"left out: {trouble.sentence}" for trouble in left_out]
    table = (
        top.render(rows, of_all, chosen) if records else f"There is no job of the last {since} in {settings.spool}.\n"
    )
    output.show(table + "\n".join(lines))


def site() -> Config:
    """Give what the site has set. Raises UserError where its spool is not there, or is no spool to be trusted."""
    settings = config.load_site(os.environ)
    for warning in settings.warnings:
        say(f"greenrun: {warning}")
    try:
        spool.check(settings.spool)
    except FileNotFoundError:
        raise UserError(
            f"there is no spool at {settings.spool}; `spool` in {config.SITE_FILE} or GREENRUN_SPOOL tells where the "
            "prolog keeps the records"
        ) from None
    except OSError as error:
        raise UserError(str(error.strerror or error)) from None
    return settings


def seconds(option: str, text: str) -> float:
    """Read a duration that an option tells. Raises UserError."""
    try:
        return durations.seconds(text)
    except ValueError as error:
        raise UserError(f"{option} {error}, not {text!r}") from None


def spool_jobs(settings: Config, since_unix: float) -> list[SpoolJob]:
    """Give the jobs of the spool with a record that was written since then. Raises UserError."""
    try:
        found = list(jobrecords.each_job(settings.spool, since_unix))
    except OSError as error:
        raise UserError(f"{settings.spool} cannot be read: {error.strerror}") from None
    if any(trouble.forbidden for job in found for trouble in job.troubles):
        raise UserError(f"the records in {settings.spool} are for root alone to read")
    return found


def _records(settings: Config, found: SpoolJob, since_unix: float, left_out: list[Trouble]) -> list[JobRecord]:
    """Merge what there is of a job, and of others that had its id before it; what is damaged goes to `left_out`."""
    rows = jobrecords.accounted(settings.spool, found.raw_id)
    running = jobrecords.running(settings.spool, found.raw_id)
    sentences = [trouble.sentence for trouble in found.troubles]
    out: list[JobRecord] = []
    try:
        for number, runs in enumerate(by_job(found.runs)):
            newest = number == 0
            record = merge(runs, rows, running if newest else (), sentences if newest else ())
            if parse_utc(record["started_at"]).timestamp() >= since_unix:
                out.append(record)
    except jobrecords.DAMAGED as error:
        path = os.path.join(settings.spool, spool.RUNS, found.raw_id)
        sentence = f"{path} is damaged: its records lack what a record has ({type(error).__name__}: {error})."
        left_out.append(jobrecords.Trouble(path, sentence))
    return out


def _utc(unix: float) -> str:
    return format_utc(datetime.fromtimestamp(unix, timezone.utc))
