"""A run as carbontracker's output log: its sums, with PUE, which its own parser adds up over a directory of logs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from greenrun.reports.formats import CannotTell
from greenrun.reports.life import parse_utc

if TYPE_CHECKING:
    from greenrun.reports.record import Record


def render(record: Record) -> str:
    """Give the log of one run. Raises CannotTell where a sum is unknown: the parser has no word for that."""
    seconds, kwh, grams = record["duration_seconds"], record["facility_energy_kwh"], record["co2e_grams"]
    if seconds is None or kwh is None or grams is None:
        unknown = "energy" if kwh is None else "CO2e"
        raise CannotTell(
            f"the format carbontracker-output needs the sums of a run, and of this one no {unknown} is known"
        )
    end = (parse_utc(record["started_at"]) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
    whole_seconds = round(seconds)
    time = f"{whole_seconds // 3600}:{whole_seconds // 60 % 60:02d}:{whole_seconds % 60:02d}"
    return (
        f"{end} - CarbonTracker: \n"
        f"Actual consumption for {max(1, len(record['epochs']))} epoch(s):\n"
        f"\tTime:\t{time}\n"
        f"\tEnergy:\t{kwh:.12f} kWh\n"
        f"\tCO2eq:\t{grams:.12f} g\n"
        "\tThis is equivalent to:\n"  # nothing; but without this line the parser does not take the figures
        f"{end} - CarbonTracker: Finished monitoring.\n"
    )
