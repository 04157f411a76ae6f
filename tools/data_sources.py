"""What the sources publish, read into the rows of our tables.

Each function takes the text (or the workbook) of a source's own file. A file of another shape than expected is a
ValueError with a sentence, never a guess: the tables stay as they are then.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from data_tables import CountryRow, ZoneRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

OWID_WORLD = "OWID_WRL"
OWID_KOSOVO = "OWID_KOS"

POUND_GRAMS = 453.59237
"""One avoirdupois pound in grams, exact by definition (NIST Handbook 44, appendix C)."""

LEAST_COVERAGE_PERCENT = 90.0
"""Zones of which CodeCarbon has a factor for less of the generation are left out: the rest is counted as 0."""

NORDIC_NAMES = {
    "SE-SE1": "Northern Sweden (Lulea)",
    "SE-SE2": "North-central Sweden (Sundsvall)",
    "SE-SE3": "South-central Sweden (Stockholm)",
    "SE-SE4": "Southern Sweden (Malmo)",
    "NO-NO1": "South-eastern Norway (Oslo)",
    "NO-NO2": "South-western Norway (Kristiansand)",
    "NO-NO3": "Central Norway (Trondheim)",
    "NO-NO4": "Northern Norway (Tromso)",
    "NO-NO5": "Western Norway (Bergen)",
}


class Transcribed(NamedTuple):
    """A row that was typed in: a zone such as AU-NSW or a country's two letters, and its direct emissions."""

    code: str
    year: int
    gco2e_per_kwh: float
    name: str


def ember(text: str, iso2_of: Mapping[str, str]) -> tuple[list[CountryRow], list[str]]:
    """Give the newest year of each country in Our World in Data's chart, and the codes that `iso2_of` does not know.

    The chart's file has the columns entity, code and year, the intensity under a name that has changed over the years,
    and at times the world region.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    columns = {name.strip().lower(): name for name in reader.fieldnames or ()}
    figures = [name for lower, name in columns.items() if "intensity" in lower]
    if not {"entity", "code", "year"} <= set(columns) or len(figures) != 1:
        raise ValueError(f"the file of Our World in Data has the columns {list(columns.values())}, not those expected")
    newest: dict[str, dict[str, str]] = {}
    for cells in reader:
        code = cells[columns["code"]]
        if not (code and cells[figures[0]]):
            continue  # a group of countries without a code, or a year without a figure
        if code not in newest or int(cells[columns["year"]]) > int(newest[code][columns["year"]]):
            newest[code] = cells
    rows, unknown = [], []
    for code, cells in newest.items():
        iso3 = {OWID_WORLD: "WLD", OWID_KOSOVO: "XKX"}.get(code, code)
        if iso3 not in iso2_of:
            if not code.startswith("OWID_"):  # the European Union and the like
                unknown.append(code)
            continue
        rows.append(
            CountryRow(
                iso3=iso3,
                iso2=iso2_of[iso3],
                name=cells[columns["entity"]],
                year=int(cells[columns["year"]]),
                gco2e_per_kwh=round(float(cells[figures[0]]), 2),
                basis="lifecycle",
                accounting="generation",
                licence="CC BY 4.0",
                source="Ember (2026) via Our World in Data",
            )
        )
    return rows, sorted(unknown)


def egrid(workbook: Path, names: Mapping[str, str]) -> tuple[list[ZoneRow], CountryRow]:
    """Give the states' and the nation's total output rate of CO2e in EPA's eGRID workbook; `names` are the states'.

    The sheets ST23 and US23 (of the year) have a row of descriptions, a row of field names, then the data in lb/MWh.
    """
    import openpyxl  # type: ignore[import-untyped]

    book = openpyxl.load_workbook(workbook, read_only=True, data_only=True)
    years = [match[1] for title in book.sheetnames if (match := re.fullmatch(r"ST(\d\d)", title))]
    if len(years) != 1:
        raise ValueError(f"the eGRID workbook has the sheets {book.sheetnames}, not one such as ST23")
    year = 2000 + int(years[0])
    states = []
    for cells in _sheet(book, f"ST{years[0]}", "PSTATABB"):
        zone = f"US-{cells['PSTATABB']}"
        if zone in names:
            states.append(
                ZoneRow(
                    zone=zone,
                    country="US",
                    year=year,
                    gco2e_per_kwh=_grams(cells["STC2ERTA"]),
                    basis="direct",
                    accounting="generation",
                    licence="US public domain",
                    source=f"EPA eGRID{year}",
                    note="",
                    name=names[zone],
                )
            )
    (nation,) = _sheet(book, f"US{years[0]}", "USC2ERTA")
    national = CountryRow(
        iso3="USA",
        iso2="US",
        name="United States",
        year=year,
        gco2e_per_kwh=_grams(nation["USC2ERTA"]),
        basis="direct",
        accounting="generation",
        licence="US public domain",
        source=f"EPA eGRID{year}",
    )
    return states, national


def _sheet(book: Any, title: str, field: str) -> list[dict[str, Any]]:
    """Give the rows below the row of field names, which is the one that holds `field`."""
    header: tuple[Any, ...] | None = None
    found = []
    for cells in book[title].iter_rows(values_only=True):
        if header is None:
            header = cells if field in cells else None
        elif any(cell is not None for cell in cells):
            found.append(dict(zip(header, cells, strict=True)))
    if header is None:
        raise ValueError(f"the sheet {title} of the eGRID workbook has no field {field}")
    return found


def _grams(pounds_per_mwh: float) -> float:
    return round(float(pounds_per_mwh) * POUND_GRAMS / 1000.0, 1)


def china(text: str) -> list[ZoneRow]:
    """Give the provinces' factors in CodeCarbon's china_provincial_emissions.json: CO2 alone, in g/kWh."""
    rows = []
    for zone, fields in json.loads(text)["data"].items():
        if not re.fullmatch(r"CN-[A-Z]{2}", zone):
            continue
        if fields["unit"] != "gCO2/kWh":
            raise ValueError(f"{zone} is in {fields['unit']}, not in gCO2/kWh")
        rows.append(
            ZoneRow(
                zone=zone,
                country="CN",
                year=int(fields["year"]),
                gco2e_per_kwh=float(fields["emission_factor"]),
                basis="direct",
                accounting="consumption",
                licence="MIT",
                source="MEE and NBS of China (Announcement 2025 No. 47) via CodeCarbon",
                note="CO2 alone without other greenhouse gases",
                name=fields["description"],
            )
        )
    return rows


def nordic(text: str) -> list[ZoneRow]:
    """Give the bidding zones in CodeCarbon's nordic_emissions.json that are covered well enough."""
    rows = []
    for short, fields in json.loads(text)["data"].items():
        coverage = re.match(r"(\d+(?:\.\d+)?)%", fields.get("coverage", ""))
        if coverage is None or float(coverage[1]) < LEAST_COVERAGE_PERCENT:
            continue
        zone = f"{short[:2]}-{short}"
        if fields["unit"] != "gCO2eq/kWh":
            raise ValueError(f"{zone} is in {fields['unit']}, not in gCO2eq/kWh")
        rows.append(
            ZoneRow(
                zone=zone,
                country=short[:2],
                year=int(fields["year"]),
                gco2e_per_kwh=float(fields["emission_factor"]),
                basis="lifecycle",
                accounting="generation",
                licence="MIT",
                source="CodeCarbon from ENTSO-E generation",
                note="",
                name=NORDIC_NAMES.get(zone, zone),
            )
        )
    return rows


def electricitymaps(text: str) -> list[ZoneRow]:
    """Give the zones and years in a yearly file of Electricity Maps' data portal, which has one file a zone and year.

    The names of the columns have changed in their capitals and in what is in brackets: the zone's id and name, the
    time, and the carbon intensity of the life cycle are found by their words.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    time, zone, name, figure = (
        _column(reader.fieldnames or (), *words)
        for words in (("datetime",), ("zone", "id"), ("zone", "name"), ("carbon intensity", "life cycle"))
    )
    return [
        ZoneRow(
            zone=cells[zone],
            country=cells[zone][:2],
            year=int(cells[time][:4]),
            gco2e_per_kwh=float(f"{float(cells[figure]):.0f}"),  # whole grams, as the portal shows them
            basis="lifecycle",
            accounting="consumption",
            licence="ODbL 1.0",
            source="Electricity Maps data portal",
            note="",
            name=cells[name].replace('"', ""),
        )
        for cells in reader
        if cells[figure]
    ]


def newest(rows: Iterable[ZoneRow]) -> list[ZoneRow]:
    """Give the newest year of each zone."""
    return list({row.zone: row for row in sorted(rows, key=lambda row: row.year)}.values())


def _column(names: Iterable[str], *words: str) -> str:
    """Give the one column whose name has all the words."""
    found = [name for name in names if all(word in name.lower() for word in words)]
    if len(found) != 1:
        raise ValueError(f"a file of Electricity Maps has the columns {list(names)}, and not one of {' '.join(words)}")
    return found[0]


def transcribed(text: str) -> list[Transcribed]:
    """Give the rows of a file in sources/; its comments say where it is from."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    reader = csv.DictReader(lines)
    if reader.fieldnames != ["code", "year", "gco2e_per_kwh", "name"]:
        raise ValueError(f"the columns are {reader.fieldnames}, not code, year, gco2e_per_kwh, name")
    return [Transcribed(row["code"], int(row["year"]), float(row["gco2e_per_kwh"]), row["name"]) for row in reader]
