"""The verb `report`: tell a run again from its log, complete or killed, or what if it had run elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from greenrun.cli import options, output, parse
from greenrun.cli.errors import UserError
from greenrun.reports import account, jsonfile, terminal
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from greenrun.reports.record import Event, Record


def main(argv: list[str]) -> int:
    """Print the summary of a run; 0 unless there is nothing to tell. Raises UserError."""
    parse.invoke(command, argv, "greenrun report")
    return 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.argument("run_dir", metavar="RUN_DIR", type=click.Path())
@click.option("--pue", metavar="NUMBER", help="what if the building's power usage effectiveness were this")
@click.option("--country", metavar="COUNTRY", help="what if the machine stood in this country")
@click.option("--zone", metavar="ZONE", help="what if it stood in this grid zone, such as DK-DK1")
@click.option("--intensity", metavar="G_PER_KWH", help="what if a kWh stood for so many grams of CO2e")
@click.option("--json", "as_json", is_flag=True, help="print the record as JSON, as in summary.json")
def command(run_dir: str, as_json: bool, **told: str | None) -> None:
    """Tell a run again from the log in RUN_DIR, complete or killed, or ask what if.

    Nothing is measured and nothing is written; the energy stays what it was.
    """
    asked = {key: _checked(key, text) for key, text in told.items() if text is not None}
    try:
        events = runlog.read(run_dir)
    except runlog.Unreadable as error:
        raise UserError(str(error).rstrip(".")) from None
    try:
        record = account.account(events, _what_if(asked, events))
        text = jsonfile.render(record) if as_json else terminal.render(record, run_dir)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        # JSON that is no run log of ours fails in as many ways as there are fields.
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"the run log in {run_dir} is damaged: its events lack what a run log has ({reason})") from None
    output.show(text)


def _checked(key: str, text: str) -> options.Value:
    """Give the value of an option of the table; a mistake is told as it is for `run`."""
    try:
        return options.BY_KEY[key].check(text)
    except ValueError as error:
        raise UserError(f"--{key} {error}, not {text!r}") from None


def _what_if(asked: dict[str, Any], events: list[Event]) -> account.WhatIf:
    """Give what the account is to use instead of what the log says."""
    intensities = None
    if asked.keys() - {"pue"}:
        intensities = _intensities(asked, account.account(events))
    return account.WhatIf(asked.get("pue"), intensities)


def _intensities(asked: dict[str, Any], record: Record) -> list[Event]:
    from greenrun.intensity import chain, location
    from greenrun.reports.life import parse_utc

    told_by = "the options of this report"
    told = chain.Told(asked["intensity"], told_by) if "intensity" in asked else None
    country, zone = asked.get("country"), asked.get("zone")
    if country and zone and location.zone_country(zone) != country:
        raise UserError(f"--zone: the zone {zone} must lie in the country {country}")
    place = location.find(country, zone, told_by, {}, etc_localtime="", etc_timezone="")
    started = parse_utc(record["started_at"])
    return [chain.event_fields(intensity, place) for intensity in chain.find(told, place, started, started)]
