"""Yearly averages by country: the figures that are there without a network.

The figures, their years and licences are told in data/README.md. Read when first asked for, with plain string
methods: the command line checks a country's name before the command starts, and the csv module costs milliseconds.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from greenrun.intensity.model import Intensity, Place, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

COUNTRY_UNCERTAINTY_PERCENT = 50.0
"""A year's average used for some hours. Two good tables differ by 49 % at the 90th percentile (data/README.md)."""

UNKNOWN_UNCERTAINTY_PERCENT = 100.0
"""An average of somewhere else. 95 % of the table's countries lie within 97 % of the world's figure; with the 50 % of
a yearly average in quadrature that is 109 %, cut where the intensity would fall below 0 (data/README.md)."""

_WORLD = "WLD"  # the world's iso3 in the table; it has no iso2

# Names in use that are not the table's own, and the two codes that the European Union writes in its own way.
_OTHER_NAMES = {
    "UK": "GB",
    "EL": "GR",
    "GREAT BRITAIN": "GB",
    "BRITAIN": "GB",
    "ENGLAND": "GB",
    "SCOTLAND": "GB",
    "WALES": "GB",
    "NORTHERN IRELAND": "GB",
    "AMERICA": "US",
    "UNITED STATES OF AMERICA": "US",
    "THE NETHERLANDS": "NL",
    "HOLLAND": "NL",
    "CZECH REPUBLIC": "CZ",
    "TÜRKIYE": "TR",
    "KOREA": "KR",
    "REPUBLIC OF KOREA": "KR",
    "RUSSIAN FEDERATION": "RU",
    "VIET NAM": "VN",
    "CÔTE D'IVOIRE": "CI",
    "IVORY COAST": "CI",
    "DR CONGO": "CD",
    "DEMOCRATIC REPUBLIC OF THE CONGO": "CD",
    "CABO VERDE": "CV",
    "TIMOR-LESTE": "TL",
    "MACAU": "MO",
    "BURMA": "MM",
    "SWAZILAND": "SZ",
    "MACEDONIA": "MK",
    "THE BAHAMAS": "BS",
    "THE GAMBIA": "GM",
    "RÉUNION": "RE",
    "SÃO TOMÉ AND PRÍNCIPE": "ST",
    "CURAÇAO": "CW",
    "ÅLAND ISLANDS": "AX",
    "SAINT BARTHÉLEMY": "BL",
}


class Row(NamedTuple):
    """One country's average over one year, in grams of CO2e per kWh produced, over the plants' life cycle."""

    name: str
    year: int
    grams_per_kwh: float
    source: str


class Territory(NamedTuple):
    """A place without a row: its name, and the country whose row stands in, None where none does."""

    name: str
    parent: str | None


class _Tables(NamedTuple):
    rows: dict[str, Row]  # by iso2
    world: Row
    territories: dict[str, Territory]  # by iso2
    codes: dict[str, str]  # iso2, iso3 and name, upper case -> iso2


def _lines(file_name: str, columns: int) -> Iterator[list[str]]:
    """Give the rows of a table beside this module, without its header; only the last column may hold commas."""
    path = os.path.join(os.path.dirname(__file__), "data", file_name)
    with open(path, encoding="utf-8") as file:
        next(file)
        for line in file:
            yield [cell.strip('"') for cell in line.rstrip("\n").split(",", columns - 1)]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    """Read the tables, once a process."""
    by_iso3: dict[str, Row] = {}
    territories: dict[str, Territory] = {}
    codes = dict(_OTHER_NAMES)
    iso2_of = {}
    for iso3, iso2, name, year, grams, source in _lines("country_intensity.csv", 6):
        by_iso3[iso3] = Row(name, int(year), float(grams), source)
        iso2_of[iso3] = iso2
    for iso3, iso2, name, parent in _lines("territories.csv", 4):
        territories[iso2] = Territory(name, parent or None)
        codes |= {iso2: iso2, iso3: iso2, name.upper(): iso2}
    world = by_iso3.pop(_WORLD)
    for iso3, row in by_iso3.items():
        iso2 = iso2_of[iso3]
        codes |= {iso2: iso2, iso3: iso2, row.name.upper(): iso2}
    return _Tables({iso2_of[iso3]: row for iso3, row in by_iso3.items()}, world, territories, codes)


def country_code(text: str) -> str | None:
    """Give the ISO 3166-1 alpha-2 code that `text` names, None if it names no country.

    `text` may be an alpha-2 or alpha-3 code or an English name, in any case. UK is GB and EL is GR.
    """
    return _tables().codes.get(" ".join(text.upper().split()))


def country_name(code: str) -> str | None:
    """Give the English name of the country with this alpha-2 code, None if there is none."""
    tables = _tables()
    place = tables.rows.get(code) or tables.territories.get(code)
    return place.name if place else None


class CountryTable:
    """A country's yearly average. Knows no zones and no hours: it says so in the note."""

    name = "country table"

    def spans(self, place: Place, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:  # noqa: ARG002  one figure holds for all time
        """Give the country's row, or its parent's for a territory without one."""
        if place.country is None:
            return Unavailable("the country is unknown (--country tells it)")
        tables = _tables()
        row = tables.rows.get(place.country)
        notes = [f"a yearly average of the whole country, not of zone {place.zone}"] if place.zone else []
        uncertainty_percent = COUNTRY_UNCERTAINTY_PERCENT
        if row is None:
            territory = tables.territories.get(place.country)
            if territory is None or territory.parent is None:
                return Unavailable(f"the table has no figure for {country_name(place.country) or place.country}")
            row = tables.rows[territory.parent]
            notes.append(f"there is no figure for {territory.name}, that of {row.name} stands in")
            uncertainty_percent = UNKNOWN_UNCERTAINTY_PERCENT
        return [_intensity(row, place.country, uncertainty_percent, "; ".join(notes))]


class WorldAverage:
    """The world's yearly average: the last link, which always has a figure."""

    name = "world average"

    def spans(self, place: Place, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:  # noqa: ARG002  one figure holds everywhere and for all time
        """Give the world's row."""
        return [_intensity(_tables().world, None, UNKNOWN_UNCERTAINTY_PERCENT, "the world average")]


def _intensity(row: Row, country: str | None, uncertainty_percent: float, note: str) -> Intensity:
    return Intensity(
        grams_per_kwh=row.grams_per_kwh,
        source=row.source,
        zone=None,
        country=country,
        year=row.year,
        basis="lifecycle",
        uncertainty_percent=uncertainty_percent,
        note=note,
    )
