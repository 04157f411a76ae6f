"""The country table: names, codes, stand-ins and the uncertainties that it states."""

from __future__ import annotations

import math
from datetime import datetime, timezone

import pytest

from greenrun.intensity import table
from greenrun.intensity.model import Intensity, Place, Unavailable

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def one(provider: table.CountryTable | table.WorldAverage, country: str | None, zone: str | None = None) -> Intensity:
    """Give the only intensity that a table has for a place."""
    spans = provider.spans(Place(country, zone, "a test"), NOW, NOW)
    assert not isinstance(spans, Unavailable)
    assert len(spans) == 1
    return spans[0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DK", "DK"),
        ("dnk", "DK"),
        ("denmark", "DK"),
        ("  united   KINGDOM ", "GB"),
        ("UK", "GB"),
        ("el", "GR"),
        ("Czech Republic", "CZ"),
        ("Türkiye", "TR"),
        ("NA", "NA"),
        ("jersey", "JE"),
        ("MCO", "MC"),
        ("AQ", "AQ"),
        ("World", None),
        ("WLD", None),
        ("", None),
        ("XX", None),
        ("Denmark,", None),
    ],
)
def test_a_country_by_code_or_name(text: str, code: str | None) -> None:
    """Two letters, three letters or the English name, in any case; all else is no country."""
    assert table.country_code(text) == code


def test_the_row_of_a_country() -> None:
    """The figure comes with its year, source, basis and uncertainty."""
    found = one(table.CountryTable(), "DK")
    assert (found.grams_per_kwh, found.year, found.basis, found.country) == (114.41, 2025, "lifecycle", "DK")
    assert found.uncertainty_percent == 50.0
    assert "CC BY 4.0" in found.source
    assert found.note == ""


def test_a_zone_gets_its_country_s_average_and_is_told() -> None:
    """The table knows no zones, and does not pretend to."""
    found = one(table.CountryTable(), "DK", "DK-DK1")
    assert found.zone is None
    assert "DK-DK1" in found.note


def test_a_territory_takes_its_parent_s_row_and_says_so() -> None:
    """Jersey has no row: the United Kingdom's stands in, with the doubt of a stranger's figure."""
    found = one(table.CountryTable(), "JE")
    assert found.grams_per_kwh == one(table.CountryTable(), "GB").grams_per_kwh
    assert found.country == "JE"
    assert "United Kingdom" in found.note
    assert found.uncertainty_percent == 100.0


@pytest.mark.parametrize(("country", "reason"), [(None, "unknown"), ("FM", "Micronesia")])
def test_what_the_table_does_not_know(country: str | None, reason: str) -> None:
    """No country and a country without a row are no figures, and not the world's in silence."""
    found = table.CountryTable().spans(Place(country, None, "a test"), NOW, NOW)
    assert isinstance(found, Unavailable)
    assert reason in found.reason


def test_the_world_average() -> None:
    """The last link has a figure for any place, and belongs to no country."""
    found = one(table.WorldAverage(), None)
    assert (found.grams_per_kwh, found.country, found.uncertainty_percent) == (458.29, None, 100.0)


def test_every_row_makes_sense() -> None:
    """Codes are two letters, figures positive and no stand-in leads nowhere."""
    tables = table._tables()
    assert len(tables.rows) == 213
    for code, row in tables.rows.items():
        assert len(code) == 2
        assert code.isupper()
        assert 0.0 < row.grams_per_kwh < 1400.0
        assert 2009 <= row.year <= 2026
        assert table.country_code(row.name) == code
    for code, territory in tables.territories.items():
        assert code not in tables.rows
        assert territory.parent is None or territory.parent in tables.rows
        assert table.country_name(code) == territory.name


def test_the_uncertainty_of_an_unknown_place_follows_from_the_table() -> None:
    """95 % of the countries lie within 97 % of the world's figure; with a country's own 50 % that is over 100 %."""
    tables = table._tables()
    world = tables.world.grams_per_kwh
    grams = sorted(row.grams_per_kwh for row in tables.rows.values())
    low, high = grams[int(0.025 * len(grams))], grams[int(0.975 * len(grams))]
    spread_percent = 100.0 * max(world - low, high - world) / world
    assert spread_percent == pytest.approx(97.0, abs=0.5)
    both = math.hypot(spread_percent, table.COUNTRY_UNCERTAINTY_PERCENT)
    assert min(100.0, both) == table.UNKNOWN_UNCERTAINTY_PERCENT
