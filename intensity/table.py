"""Yearly averages by zone, by country and of the world: the figures that are there without a network.

Where they come from, of which year and under which licence is told in data/README.md. Each figure has its basis, and
answers for no other. The tables are read when they are first asked for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from greenrun.intensity.countries import Row, country_code, country_name, direct_rows, tables
from greenrun.intensity.datafiles import lines
from greenrun.intensity.model import Basis, Intensity, Place, Unavailable

__all__ = ["cloud_region", "country", "country_code", "country_name", "region", "world", "zone_names"]

ZONE_UNCERTAINTY_PERCENT = 50.0
"""A year's average of the zone used for some hours: as for a country. Knowing the place better takes nothing off what
the hours do, and they do more in a small grid than in a large one (our judgement, data/README.md)."""

COUNTRY_UNCERTAINTY_PERCENT = 50.0
"""A year's average used for some hours. Two good tables differ by 49 % at the 90th percentile (data/README.md)."""

STAND_IN_UNCERTAINTY_PERCENT = 100.0
"""A figure of somewhere else, or of long ago. A zone lies 85 % off its country's average at the 80th percentile, and an
intensity below 0 does not exist (data/README.md)."""

UNKNOWN_UNCERTAINTY_PERCENT = 100.0
"""The world's average for an unknown place. 95 % of the countries lie within 97 % of the world's figure; with the 50 %
of a yearly average in quadrature that is 109 %, cut where the intensity would fall below 0 (data/README.md)."""

OLD_YEARS = 10
"""A figure that is older than the world's by more is said to be old, and is no surer than a stranger's."""

_ZONE_FILES = (  # the first that has a zone on the basis asked for; what is under the ODbL keeps a file of its own
    "region_intensity.csv",
    "electricitymaps/zone_intensity.csv",
)

_CLOUDS = {"aws": "AWS", "azure": "Azure", "gcp": "Google Cloud"}


class _Zone(NamedTuple):
    country: str
    year: int
    grams_per_kwh: float
    source: str
    note: str


class _CloudRegion(NamedTuple):
    country: str
    zone: str | None


@lru_cache(maxsize=1)
def _zones() -> dict[str, dict[str, _Zone]]:
    """Read the tables of zones, once a process: by zone and basis."""
    found: dict[str, dict[str, _Zone]] = {}
    for file_name in _ZONE_FILES:
        for zone, country_, year, grams, basis, _, licence, source, note, _ in lines(file_name, 10):
            row = _Zone(country_, int(year), float(grams), f"{source}, {licence}", note)
            found.setdefault(zone, {}).setdefault(basis, row)
    return found


@lru_cache(maxsize=1)
def _cloud_regions() -> dict[tuple[str, str], _CloudRegion]:
    """Read the regions of the clouds, once a process, by provider and region."""
    return {
        (provider, name): _CloudRegion(country_, zone or None)
        for provider, name, country_, zone, _ in lines("cloud_regions.csv", 5)
    }


def region(place: Place, basis: Basis) -> Intensity | Unavailable:
    """Give the yearly average of the place's zone: a state, a province, a bidding zone or a zone of Electricity Maps.

    A country's own code is its whole grid: the country table answers for it where it can.
    """
    zone = place.zone.upper() if place.zone else place.country
    if zone is None:
        return Unavailable("the place is unknown")
    if zone in tables().rows:
        if place.zone is None:
            return Unavailable("no zone is known, only the country")
        return Unavailable(f"zone {zone} is the whole of {country_name(zone)}")
    rows = _zones().get(zone)
    if rows is None:
        if place.zone is None:
            return Unavailable("no zone is known, only the country")
        return Unavailable(f"the region table has no zone {place.zone}")
    row = rows.get(basis)
    if row is None:
        return _other_basis(f"the region table's figure for {zone}", next(iter(rows)), basis)
    return Intensity(
        grams_per_kwh=row.grams_per_kwh,
        link="region table",
        source=row.source,
        zone=zone,
        country=row.country,
        year=row.year,
        basis=basis,
        uncertainty_percent=ZONE_UNCERTAINTY_PERCENT,
        note=row.note,
    )


def zone_names() -> list[str]:
    """Give the names of all zones that have a figure."""
    return sorted(_zones())


def country(place: Place, basis: Basis) -> Intensity | Unavailable:
    """Give the country's yearly average, or its parent's for a territory without one."""
    if place.country is None:
        return Unavailable("the country is unknown (--country or --zone tells it)")
    known = tables()
    rows, others = known.rows, direct_rows()
    if basis == "direct":
        rows, others = others, rows
    row = rows.get(place.country)
    territory = known.territories.get(place.country)
    stand_in = None
    if row is None and territory and territory.parent:
        row = stand_in = rows.get(territory.parent)
    if row is None:
        name = country_name(place.country) or place.country
        other = others.get(place.country)
        if other is not None:
            return _other_basis(f"the country table's figure for {name}", other.basis, basis)
        return Unavailable(f"the country table has no figure for {name}")
    notes = []
    if place.zone and place.zone.upper() != place.country:
        notes.append(f"a yearly average of the whole country, not of zone {place.zone}")
    if territory and stand_in:
        notes.append(f"there is no figure for {territory.name}, that of {stand_in.name} stands in")
    if row.year < known.world.year - OLD_YEARS:
        notes.append(f"the newest figure is of {row.year}")
    uncertainty_percent = STAND_IN_UNCERTAINTY_PERCENT if notes else COUNTRY_UNCERTAINTY_PERCENT
    return _intensity("country table", row, place.country, basis, uncertainty_percent, "; ".join(notes))


def world(basis: Basis) -> Intensity | Unavailable:
    """Give the world's yearly average; there is none of direct emissions."""
    row = tables().world
    if row.basis != basis:
        return _other_basis("the world's figure", row.basis, basis)
    return _intensity("world", row, None, basis, UNKNOWN_UNCERTAINTY_PERCENT, "the world average")


def cloud_region(provider: str, region_name: str) -> Place | None:
    """Give the place of a cloud's region; `provider` is aws, azure or gcp. None for a region that the table lacks.

    The zone is None where the region's place leaves open which grid feeds it.
    """
    found = _cloud_regions().get((provider, region_name.lower()))
    if found is None:
        return None
    return Place(found.country, found.zone, f"cloud metadata: {_CLOUDS[provider]} {region_name.lower()}")


def _other_basis(figure: str, has: str, wanted: Basis) -> Unavailable:
    return Unavailable(f"{figure} is of {has} emissions, not {wanted}")


def _intensity(
    link: str, row: Row, country_: str | None, basis: Basis, uncertainty_percent: float, note: str
) -> Intensity:
    return Intensity(
        grams_per_kwh=row.grams_per_kwh,
        link=link,
        source=row.source,
        zone=None,
        country=country_,
        year=row.year,
        basis=basis,
        uncertainty_percent=uncertainty_percent,
        note=note,
    )
