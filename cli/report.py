"""The verb `report`: tell a run again from its log, complete or killed, or what if it had run elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from greenrun.cli import options, output, parse
from greenrun.cli.errors import UserError
from greenrun.reports import account, jsonfile, terminal
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from greenrun.intensity.model import Place
    from greenrun.reports.record import Event, Record


_TOLD_BY = "the options of this report"


def main(argv: list[str]) -> int:
    """Print the summary of a run; 0 unless there is nothing to tell, or --settle got no answer. Raises UserError."""
    return 1 if parse.invoke(command, argv, "greenrun report") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.argument("paths", metavar="RUN_DIR", nargs=-1, type=click.Path())
@click.option("--job", "job_id", metavar="JOBID", help="all of a SLURM job as one: 1234, or 1234_7 of an array")
@click.option("--spool", metavar="DIR", help="with --job: where the site keeps its records; default: as it has set")
@click.option("--pue", metavar="NUMBER", help="what if the building's power usage effectiveness were this")
@click.option("--country", metavar="COUNTRY", help="what if the machine stood in this country")
@click.option("--zone", metavar="ZONE", help="what if it stood in this grid zone, such as DK-DK1")
@click.option("--intensity", metavar="G_PER_KWH", help="what if a kWh stood for so many grams of CO2e")
@click.option("--basis", metavar="lifecycle|direct", help="what if emissions were counted on this basis")
@click.option("--settle", is_flag=True, help="ask the services for hours that were missing or estimated")
@click.option("--json", "as_json", is_flag=True, help="print the record as JSON, as in summary.json")
def command(
    paths: tuple[str, ...], job_id: str | None, spool: str | None, as_json: bool, settle: bool, **told: str | None
) -> int:
    """Tell a run again from the log in RUN_DIR, complete or killed, or ask what if.

    With --job it is all nodes, requeues and steps of a job, from the site's spool and from the directories in which
    runs are kept; those may be told in the place of RUN_DIR.

    Nothing is measured, and the energy stays what it was. Nothing is written but with --settle: it asks the services
    for the hours of the run that they had not told or only estimated, adds the answers to the log and renews the
    summary. --zone and --country then say where the run took place.
    """
    asked = {key: _checked(key, text) for key, text in told.items() if text is not None}
    if job_id is not None:
        if settle:
            raise UserError("--settle does not go with --job: it is told with the directory of one run")
        from greenrun.cli import jobreport

        jobreport.report(job_id, spool, paths, lambda events: _what_if(asked, events) if asked else None, as_json)
        return 0
    run_dir = _only(paths, spool)
    try:
        events = runlog.read(run_dir)
    except runlog.Unreadable as error:
        raise UserError(str(error).rstrip(".")) from None
    try:
        if settle:
            return _settle(run_dir, events, asked, as_json)
        output.show(_text(account.account(events, _what_if(asked, events)), run_dir, as_json))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        # JSON that is no run log of ours fails in as many ways as there are fields.
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"the run log in {run_dir} is damaged: its events lack what a run log has ({reason})") from None
    return 0


def _only(paths: tuple[str, ...], spool: str | None) -> str:
    """Give the one run directory that was told."""
    if spool is not None:
        raise UserError("--spool goes with --job JOBID alone")
    if len(paths) == 1:
        return paths[0]
    if paths:
        raise UserError(f"one RUN_DIR must be told, not {len(paths)}; --job JOBID takes several directories")
    raise UserError("RUN_DIR must be told, or --job JOBID (greenrun report --help tells more)")


def _text(record: Record, run_dir: str, as_json: bool) -> str:
    return jsonfile.render(record) if as_json else terminal.render(record, run_dir)


def _checked(key: str, text: str) -> options.Value:
    """Give the value of an option of the table; a mistake is told as it is for `run`."""
    try:
        return options.BY_KEY[key].check(text)
    except ValueError as error:
        raise UserError(f"--{key} {error}, not {text!r}") from None


def _settle(run_dir: str, events: list[Event], asked: dict[str, Any], as_json: bool) -> int:
    from greenrun.cli import config, settle
    from greenrun.cli.run import say

    for key in ("pue", "intensity", "basis"):
        if key in asked:
            raise UserError(f"--{key} asks what if, and --settle writes what was: tell one of them")
    place = _place(asked) if asked else None
    try:
        settled = settle.settle(run_dir, events, config.load({}, os.environ, ""), place)
    except settle.NotSettled as reason:
        say(f"greenrun: {reason}")
        return 1
    text = _text(settled.record, run_dir, as_json)
    output.show(text if as_json else text + terminal.entry("settled", settled.words))
    return 0


def _what_if(asked: dict[str, Any], events: list[Event]) -> account.WhatIf:
    """Give what the account is to use instead of what the log says."""
    return account.WhatIf(asked.get("pue"), _intensities(asked, events) if asked.keys() - {"pue"} else None)


def _intensities(asked: dict[str, Any], events: list[Event]) -> list[Event]:
    from greenrun.cli import settle
    from greenrun.intensity import chain

    told = chain.Told(asked["intensity"], _TOLD_BY) if "intensity" in asked else None
    place = _place(asked) if asked.keys() - {"pue", "basis"} else settle.logged_place(events)
    spans, passed = chain.known(told, place, asked.get("basis") or settle.logged_basis(events))
    if spans:
        return [chain.event_fields(span, place, passed) for span in spans]
    return [{"grams_per_kwh": None, "how": place.how, "passed": [one._asdict() for one in passed]}]


def _place(asked: dict[str, Any]) -> Place:
    from greenrun.intensity import location

    country, zone = asked.get("country"), asked.get("zone")
    if country and zone and location.zone_country(zone) != country:
        raise UserError(f"--zone: the zone {zone} must lie in the country {country}")
    return location.find(country, zone, _TOLD_BY, {}, etc_localtime="", etc_timezone="")
