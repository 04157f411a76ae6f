"""Countries: their codes and names, their own yearly figures, and whose figure stands in for those that have none."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from greenrun.intensity.datafiles import lines

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
    """A country's average over one year, in grams of CO2e per kWh; `source` ends in its licence."""

    name: str
    year: int
    grams_per_kwh: float
    basis: str
    source: str


class Territory(NamedTuple):
    """A place without a row: its name, and the country whose row stands in, None where none does."""

    name: str
    parent: str | None


class Tables(NamedTuple):
    """The tables of countries."""

    rows: dict[str, Row]  # of the life cycle, by iso2
    world: Row
    territories: dict[str, Territory]  # by iso2
    codes: dict[str, str]  # iso2, iso3 and name, upper case -> iso2


def _rows(file_name: str) -> dict[str, tuple[str, Row]]:
    """Read a table of countries: iso2 and row by iso3."""
    found = {}
    for iso3, iso2, name, year, grams, basis, _, licence, source in lines(file_name, 9):
        found[iso3] = (iso2, Row(name, int(year), float(grams), basis, f"{source}, {licence}"))
    return found


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Read the tables, once a process."""
    by_iso3 = _rows("country_intensity.csv")
    _, world = by_iso3.pop(_WORLD)
    territories = {}
    codes = dict(_OTHER_NAMES)
    for iso3, iso2, name, parent in lines("territories.csv", 4):
        territories[iso2] = Territory(name, parent or None)
        codes |= {iso2: iso2, iso3: iso2, name.upper(): iso2}
    for iso3, (iso2, row) in by_iso3.items():
        codes |= {iso2: iso2, iso3: iso2, row.name.upper(): iso2}
    return Tables(dict(by_iso3.values()), world, territories, codes)


@lru_cache(maxsize=1)
def direct_rows() -> dict[str, Row]:
    """Read the countries' figures of direct emissions, by iso2, once a process; few countries have one."""
    return dict(_rows("direct_intensity.csv").values())


def country_code(text: str) -> str | None:
    """Give the ISO 3166-1 alpha-2 code that `text` names, None if it names no country.

    `text` may be an alpha-2 or alpha-3 code or an English name, in any case. UK is GB and EL is GR.
    """
    return tables().codes.get(" ".join(text.upper().split()))


def country_name(code: str) -> str | None:
    """Give the English name of the country with this alpha-2 code, None if there is none."""
    known = tables()
    place = known.rows.get(code) or known.territories.get(code)
    return place.name if place else None
