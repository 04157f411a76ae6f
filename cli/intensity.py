"""The verb `intensity`: what a kilowatt-hour stands for now, and in the next 24 hours where there is a forecast."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta, timezone

import click

from greenrun.cli import config, fetching, options, output, parse
from greenrun.cli.errors import UserError
from greenrun.cli.run import say
from greenrun.reports import forecast


def main(argv: list[str]) -> int:
    """Print the intensity of a place; 0 if a figure of any kind was found, else 1. Raises UserError."""
    return 1 if parse.invoke(command, argv, "greenrun intensity") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.argument("zone", metavar="[ZONE]", required=False)
@click.option("--country", metavar="COUNTRY", help=options.BY_KEY["country"].help)
@click.option("--zone", "zone_told", metavar="ZONE", help=options.BY_KEY["zone"].help)
@click.option("--basis", metavar="lifecycle|direct", help=options.BY_KEY["basis"].help)
@click.option("--offline", is_flag=True, flag_value=True, default=None, help=options.BY_KEY["offline"].help)
@click.option("--json", "as_json", is_flag=True, help="print what was found as one JSON document")
def command(zone: str | None, as_json: bool, zone_told: str | None, **told: str | bool | None) -> int:
    """Show the carbon intensity now, and of the next 24 hours where there is a forecast.

    ZONE is a grid zone such as DK-DK1, or a country (DK, Denmark); without it, the place of this machine. The exit
    status is 0 if there is a figure of any kind, else 1.
    """
    flags = {key: value for key, value in {**told, "zone": zone_told}.items() if value is not None}
    if zone is not None:
        if flags.keys() & {"country", "zone"}:
            raise UserError(f"the place must be told once, either as {zone} or by --country and --zone")
        flags |= _place(zone)
    settings = config.load(flags, os.environ, cwd="")
    if zone is not None:
        settings = settings._replace(place_from="as asked")
    for warning in settings.warnings:
        say(f"greenrun: {warning}")
    now = datetime.now(timezone.utc)
    found = _ask(settings, now)
    if as_json:
        import json

        output.show(json.dumps(forecast.outlook_document(found), indent=2))
    else:
        output.show(forecast.outlook(found, now, None, blocks=can_show_blocks(), width=output.columns(1)))
    return 0 if found.now or found.forecast else 1


def _place(text: str) -> dict[str, str | bool]:
    """Tell whether a country or a grid zone is meant."""
    for key in ("country", "zone"):
        try:
            options.BY_KEY[key].check(text)
        except ValueError:
            continue
        return {key: text}
    near = options.near_zone(text)
    raise UserError(f"ZONE must be a grid zone such as DK-DK1, or a country (DK, DNK or Denmark), not {text!r}{near}")


def _ask(settings: config.Config, now: datetime) -> forecast.Outlook:
    until = now + timedelta(hours=forecast.CHART_HOURS)
    place, present = fetching.ask(settings, "now", now_utc=now, from_utc=now, to_utc=now, insist=True)
    _, coming = fetching.ask(settings, "forecast", now_utc=now, to_utc=until, insist=True)
    holds = next((span for span in reversed(present.spans) if span.from_utc is None or span.from_utc <= now), None)
    return forecast.Outlook(place, holds, present.passed, coming.spans, coming.passed)


def can_show_blocks() -> bool:
    """Whether block characters arrive on stdout: its encoding has them, and so has the locale.

    Both are asked, because Python writes UTF-8 in the locale C too, where a terminal may show anything.
    """
    import codecs
    import locale

    try:
        "▁█".encode(sys.stdout.encoding)
        return codecs.lookup(locale.nl_langinfo(locale.CODESET)).name == "utf-8"
    except (UnicodeError, LookupError, AttributeError):  # AttributeError: stdout is closed
        return False
