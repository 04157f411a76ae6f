"""The verb `when`: the greenest start for a job of some length before a deadline."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from math import ceil
from typing import TYPE_CHECKING

import click

from greenrun.cli import config, durations, fetching, options, output, parse
from greenrun.cli.errors import UserError
from greenrun.cli.run import say
from greenrun.intensity import window
from greenrun.reports import forecast

if TYPE_CHECKING:
    from datetime import tzinfo


def main(argv: list[str]) -> int:
    """Print the greenest start; 1, and one sentence on stderr, where nobody forecasts one. Raises UserError."""
    return 1 if parse.invoke(command, argv, "greenrun when") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.option("--duration", metavar="TIME", required=True, help="how long the job will take: 3h, 1h30m, 90m")
@click.option("--deadline", metavar="TIME", required=True, help="when it must be over, counted from now: 18h, 2d")
@click.option("--country", metavar="COUNTRY", help=options.BY_KEY["country"].help)
@click.option("--zone", metavar="ZONE", help=options.BY_KEY["zone"].help)
@click.option("--basis", metavar="lifecycle|direct", help=options.BY_KEY["basis"].help)
@click.option("--offline", is_flag=True, flag_value=True, default=None, help=options.BY_KEY["offline"].help)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "slurm"]),
    default="text",
    help="text (default), json, or slurm: only what sbatch --begin= takes",
)
def command(duration: str, deadline: str, form: str, **told: str | bool | None) -> int:
    """Find the start before the deadline at which a job causes the least CO2e, by the forecast for a place.

    The exit status is 1 where there is no forecast.
    """
    length, within = _seconds("--duration", duration), _seconds("--deadline", deadline)
    if length > within:
        raise UserError(f"--duration must be no longer than --deadline, which is {deadline}, not {duration!r}")
    settings = config.load({key: value for key, value in told.items() if value is not None}, os.environ, cwd="")
    for warning in settings.warnings:
        say(f"greenrun: {warning}")
    now = datetime.now(timezone.utc).replace(microsecond=0)  # of whole seconds only whole ones come
    until = now + timedelta(seconds=within)
    place, answer = fetching.ask(settings, "forecast", now_utc=now, to_utc=until, insist=True)
    plan = window.plan(answer.spans, now, length, until)
    if plan is None:
        say(f"greenrun: {forecast.no_plan(place, answer.spans, answer.passed, now, length, None)}.")
        return 1
    job = forecast.Job(plan, place, answer.spans[0], now, until)
    if form == "json":
        import json

        output.show(json.dumps(forecast.job_document(job), indent=2))
    elif form == "slurm":
        output.show(slurm_begin(plan.best.start_utc, datetime.now(timezone.utc), None))
    else:
        output.show(forecast.job(job, None, width=output.columns(1)))
    return 0


def slurm_begin(start: datetime, now: datetime, zone: tzinfo | None) -> str:
    """Write a start as sbatch --begin= reads it: in local time, never earlier than `start`.

    Local time is ambiguous in the hour that the end of summer time repeats: a start there is told as seconds from now.
    """
    seconds = ceil((start - now).total_seconds())
    if seconds <= 0:
        return "now"
    whole = start.replace(microsecond=0)
    local = (whole if whole == start else whole + timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None)
    readings = {local.replace(fold=fold, tzinfo=zone).astimezone(timezone.utc) for fold in (0, 1)}
    return f"now+{seconds}" if len(readings) > 1 else local.isoformat(timespec="seconds")


def _seconds(option: str, text: str) -> int:
    """Read a duration; SLURM knows no part of a second, so none is kept."""
    try:
        return ceil(durations.seconds(text))
    except ValueError as error:
        raise UserError(f"{option} {error}, not {text!r}") from None
