"""Whether the tables in intensity/data/ are plausible: what the update script and the tests hold them to.

Read with the csv module, not with greenrun's own reader, so that an error in either shows.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTRIES = "country_intensity.csv"
DIRECT = "direct_intensity.csv"
REGIONS = "region_intensity.csv"
ELECTRICITYMAPS = "electricitymaps/zone_intensity.csv"
TERRITORIES = "territories.csv"
CLOUDS = "cloud_regions.csv"
FIGURES = (COUNTRIES, DIRECT, REGIONS, ELECTRICITYMAPS)

MOST_GRAMS_PER_KWH = 1500.0
"""The worst of the coal plants in IPCC's table have 910 g/kWh (AR5 WG III, annex III). There are dirtier ones, but no
grid is fed by those alone: a figure above is of another unit."""

WORLD_GRAMS_PER_KWH = (400.0, 520.0)
"""The world is at 458 in 2025 and moves slowly: a figure outside is of another unit, basis or region."""

BASES = {COUNTRIES: {"lifecycle"}, DIRECT: {"direct"}, REGIONS: {"lifecycle", "direct"}, ELECTRICITYMAPS: {"lifecycle"}}
LEAST_ROWS = {COUNTRIES: 200, REGIONS: 90, ELECTRICITYMAPS: 300}
LEAST_CLOUD_REGIONS = {"aws": 33, "azure": 60, "gcp": 42}

LEAST_SPREAD = 0.1
"""Three sources that agree by chance do not bind a fourth closer than a tenth of their median: two good tables differ
by 12 % in the median (intensity/data/README.md)."""

MOST_DIRECT = 1.25
"""What leaves the chimney is part of the life cycle; it may exceed it by as much as years and accounts differ."""

CROSSCHECK_SOURCES = ("electricitymaps_2025", "carbontracker_2.4.7", "codecarbon_3.3.2")

Cells = dict[str, str]


def complaints(data: Path, crosscheck: Path) -> list[str]:
    """Give what is implausible in the tables of a folder, as sentences; nothing if all is well."""
    tables = {name: _read(data / name) for name in (*FIGURES, TERRITORIES, CLOUDS)}
    return [
        *_rows_are_whole(tables),
        *_world(tables),
        *_countries(tables),
        *_zones(tables),
        *_licences(tables),
        *_clouds(tables),
        *_direct(tables),
        *_crosscheck(tables, _read(crosscheck)),
    ]


def _read(path: Path) -> list[Cells]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _key(name: str, row: Cells) -> str:
    if name == CLOUDS:
        return f"{row['provider']} {row['region']}"
    place = row.get("zone") or row["iso2"] or row["iso3"]
    return f"{place} ({row['basis']})" if "basis" in row else place


def _rows_are_whole(tables: dict[str, list[Cells]]) -> Iterator[str]:
    for name, rows in tables.items():
        for key, count in Counter(_key(name, row) for row in rows).items():
            if count > 1:
                yield f"{name}: {key} is there {count} times"
    for name in FIGURES:
        rows = tables[name]
        if len(rows) < LEAST_ROWS.get(name, 1):
            yield f"{name}: {len(rows)} rows, fewer than {LEAST_ROWS.get(name, 1)}"
        for row in rows:
            key = _key(name, row)
            missing = [column for column in ("year", "basis", "accounting", "licence", "source") if not row[column]]
            if missing:
                yield f"{name}: {key} has no {' and no '.join(missing)}"
            elif row["basis"] not in BASES[name]:
                yield f"{name}: {key} is of the basis {row['basis']}"
            elif not 2000 <= int(row["year"]) <= 2100:
                yield f"{name}: {key} is of the year {row['year']}"
            grams = float(row["gco2e_per_kwh"])
            if not 0.0 <= grams <= MOST_GRAMS_PER_KWH:  # nor is what is no number
                yield f"{name}: {key} has {grams:g} g/kWh, which is not between 0 and {MOST_GRAMS_PER_KWH:g}"


def _world(tables: dict[str, list[Cells]]) -> Iterator[str]:
    world = [float(row["gco2e_per_kwh"]) for row in tables[COUNTRIES] if row["iso3"] == "WLD"]
    low, high = WORLD_GRAMS_PER_KWH
    if len(world) != 1 or not low <= world[0] <= high:
        yield f"{COUNTRIES}: the world has {world} g/kWh, not one figure between {low:g} and {high:g}"


def _countries(tables: dict[str, list[Cells]]) -> Iterator[str]:
    own = {row["iso2"] for row in tables[COUNTRIES] if row["iso3"] != "WLD"}
    for name in (COUNTRIES, DIRECT):
        for row in tables[name]:
            if row["iso3"] != "WLD" and not (len(row["iso2"]) == 2 and len(row["iso3"]) == 3):
                yield f"{name}: {row['iso3']} and {row['iso2']} are no codes of a country"
    for row in tables[DIRECT]:
        if row["iso2"] not in own:
            yield f"{DIRECT}: {row['iso2']} is not in {COUNTRIES}"
    for row in tables[TERRITORIES]:
        if row["iso2"] in own:
            yield f"{TERRITORIES}: {row['iso2']} has a row of its own in {COUNTRIES} now"
        if row["parent"] and row["parent"] not in own:
            yield f"{TERRITORIES}: {row['parent']}, which stands in for {row['iso2']}, is not in {COUNTRIES}"


def _zones(tables: dict[str, list[Cells]]) -> Iterator[str]:
    countries = {row["iso2"] for row in tables[COUNTRIES] + tables[TERRITORIES]} - {""}
    for name in (REGIONS, ELECTRICITYMAPS):
        for row in tables[name]:
            if row["country"] not in countries:
                yield f"{name}: {row['zone']} is in {row['country']}, which no table knows"
            elif row["zone"].split("-")[0] != row["country"]:
                yield f"{name}: {row['zone']} does not begin with its country, {row['country']}"


def _licences(tables: dict[str, list[Cells]]) -> Iterator[str]:
    for name in FIGURES:
        for row in tables[name]:
            if ("ODbL" in row["licence"]) != (name == ELECTRICITYMAPS):
                yield f"{name}: {_key(name, row)} is under {row['licence']}; what is under the ODbL has its own file"


def _clouds(tables: dict[str, list[Cells]]) -> Iterator[str]:
    countries = {row["iso2"] for row in tables[COUNTRIES] + tables[TERRITORIES]} - {""}
    country_of = {row["zone"]: row["country"] for row in tables[ELECTRICITYMAPS]}
    counts = Counter(row["provider"] for row in tables[CLOUDS])
    for provider in set(counts) | set(LEAST_CLOUD_REGIONS):
        if counts[provider] < LEAST_CLOUD_REGIONS.get(provider, math.inf):
            yield f"{CLOUDS}: {counts[provider]} regions of {provider}"
    for row in tables[CLOUDS]:
        key = _key(CLOUDS, row)
        if row["country"] not in countries:
            yield f"{CLOUDS}: {key} is in {row['country']}, which no table knows"
        if row["zone"] and country_of.get(row["zone"]) != row["country"]:
            yield f"{CLOUDS}: {key} is in {row['zone']}, which is no zone of {row['country']} in {ELECTRICITYMAPS}"
        if not row["place"]:
            yield f"{CLOUDS}: {key} has no place"


def _direct(tables: dict[str, list[Cells]]) -> Iterator[str]:
    lifecycle = {row["iso2"]: float(row["gco2e_per_kwh"]) for row in tables[COUNTRIES]}
    for row in tables[DIRECT]:
        grams, most = float(row["gco2e_per_kwh"]), MOST_DIRECT * lifecycle.get(row["iso2"], math.inf)
        if grams > most:
            yield f"{DIRECT}: {row['iso2']} has {grams:g} g/kWh, more than its life cycle allows, {most:.0f}"


def _crosscheck(tables: dict[str, list[Cells]], others: list[Cells]) -> Iterator[str]:
    """Hold countries against other sources: between their least and most, moved outwards by the span between them.

    The span is taken as a tenth of their median at least.
    """
    ours = {row["iso2"]: float(row["gco2e_per_kwh"]) for row in tables[COUNTRIES]}
    for row in others:
        code = row["iso2"]
        figures = sorted(float(row[name]) for name in CROSSCHECK_SOURCES)
        span = max(figures[-1] - figures[0], LEAST_SPREAD * figures[1])
        low, high = figures[0] - span, figures[-1] + span
        if code not in ours or not low <= ours[code] <= high:
            yield f"{COUNTRIES}: {code} has {ours.get(code)} g/kWh; others say {low:.0f} to {high:.0f}"
