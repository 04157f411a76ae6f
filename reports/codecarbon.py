"""Runs with the columns of codecarbon's emissions.csv, for scripts that read those: kWh, kg of CO2e and watts.

The columns are those of version 3.3.2, in its order, with its meanings: energies, powers and emissions are with PUE,
powers are means over the run, and the energies of CPU, GPU and memory need not add up to `energy_consumed` (a device
of another kind is in that alone). A cell of something that greenrun does not know is empty, never 0, and
`codecarbon_version` says that it was greenrun.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from greenrun.intensity import countries
from greenrun.reports import csvtable, scopes, tables
from greenrun.reports.carbon import JOULES_PER_KWH
from greenrun.reports.life import parse_utc
from greenrun.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenrun.reports.formats import Told
    from greenrun.reports.record import Record

VERSION = "3.3.2"
"""The version of codecarbon whose columns these are."""

COLUMNS = (
    "timestamp",
    "project_name",
    "run_id",
    "experiment_id",
    "duration",
    "emissions",
    "emissions_rate",
    "cpu_power",
    "gpu_power",
    "ram_power",
    "cpu_energy",
    "gpu_energy",
    "ram_energy",
    "energy_consumed",
    "water_consumed",
    "country_name",
    "country_iso_code",
    "region",
    "cloud_provider",
    "cloud_region",
    "os",
    "python_version",
    "codecarbon_version",
    "cpu_count",
    "cpu_model",
    "gpu_count",
    "gpu_model",
    "longitude",
    "latitude",
    "ram_total_size",
    "tracking_mode",
    "cpu_utilization_percent",
    "gpu_utilization_percent",
    "ram_utilization_percent",
    "ram_used_gb",
    "on_cloud",
    "pue",
    "wue",
)


def render_runs(runs: Sequence[Told]) -> str:
    """Give a row for each run."""
    return "".join(of_records(run.record for run in runs))


def of_records(records: Iterable[Record]) -> Iterator[str]:
    """Give a row for each run, one after the other; codecarbon ends its lines with LF alone."""
    columns = tuple(Column(name, "text") for name in COLUMNS)
    table = Table(columns, (tuple(_cells(record).get(name) for name in COLUMNS) for record in records))
    return (line.removesuffix("\r\n") + "\n" for line in csvtable.pieces(table))


def _cells(record: Record) -> dict[str, Cell]:
    grams, seconds = record["co2e_grams"], record["duration_seconds"]
    kilograms = None if grams is None else grams / 1000.0
    joules, models = scopes.energy_of(record), tables.gpu_models(record)
    country = record["intensity"]["country"]
    cells: dict[str, Cell] = {
        "timestamp": _end(record),
        "project_name": record["name"],
        "run_id": record["run_id"],
        "duration": seconds,
        "emissions": kilograms,
        "emissions_rate": None if kilograms is None or not seconds else kilograms / seconds,
        "energy_consumed": record["facility_energy_kwh"],
        "country_name": country and countries.country_name(country),
        "country_iso_code": country and _alpha_3(country),
        "codecarbon_version": f"greenrun {record['greenrun']}",
        "gpu_count": sum(models.values()) or None,
        "gpu_model": " + ".join(f"{count} x {name}" for name, count in models.items()) or None,
        "tracking_mode": "machine",
        "pue": record["pue"],
    }
    for name, amount in (("cpu", joules["cpu"]), ("gpu", joules["gpu"]), ("ram", joules["dram"])):
        if amount is not None:
            cells[f"{name}_energy"] = record["pue"] * amount / JOULES_PER_KWH
            cells[f"{name}_power"] = record["pue"] * amount / seconds if seconds else None
    return cells


def _end(record: Record) -> str:
    """Give the moment of the end as codecarbon writes it, to the second; it has the local time there, this is UTC."""
    lasted = timedelta(seconds=(record["duration_seconds"] or 0.0) + record["suspended_seconds"])
    return (parse_utc(record["started_at"]) + lasted).strftime("%Y-%m-%dT%H:%M:%S")


def _alpha_3(code: str) -> str | None:
    """Give the ISO 3166-1 alpha-3 code of a country, which is what codecarbon writes."""
    return next((long for long, short in countries.tables().codes.items() if short == code and len(long) == 3), None)
