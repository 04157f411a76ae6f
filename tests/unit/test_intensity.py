"""The chain of providers: told, then the country's average, then the world's."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from greenrun.intensity import chain
from greenrun.intensity.model import Intensity, Place

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
DENMARK = Place("DK", None, "--country")


def find(told: chain.Told | None, place: Place) -> Intensity:
    """Give the only intensity that the chain finds."""
    (found,) = chain.find(told, place, NOW, NOW)
    return found


def test_a_told_figure_goes_first() -> None:
    """It is taken as exact, and says who told it."""
    found = find(chain.Told(12.5, "--intensity"), DENMARK)
    assert (found.grams_per_kwh, found.uncertainty_percent, found.basis, found.country) == (12.5, 0.0, None, "DK")
    assert "--intensity" in found.source


def test_a_told_figure_may_be_nothing() -> None:
    """0 g/kWh is a figure, not the lack of one."""
    assert find(chain.Told(0.0, "--intensity"), DENMARK).grams_per_kwh == 0.0


def test_the_country_s_average_follows() -> None:
    """With a country known nothing is passed over, and nothing noted."""
    found = find(None, DENMARK)
    assert (found.country, found.grams_per_kwh, found.note) == ("DK", 114.41, "")


def test_a_link_passed_over_leaves_its_reason() -> None:
    """The world's average is never taken in silence."""
    unknown = find(None, Place(None, None, "unknown"))
    assert (unknown.country, unknown.grams_per_kwh) == (None, 458.29)
    assert "the country is unknown" in unknown.note
    assert "no figure for Palau" in find(None, Place("PW", None, "--country")).note


def test_the_event_is_json_and_says_how_the_place_is_known() -> None:
    """All that the account needs goes into the run log."""
    event = chain.event_fields(find(None, DENMARK), DENMARK)
    assert json.loads(json.dumps(event)) == event
    assert (event["how"], event["grams_per_kwh"], event["from_utc"], event["to_utc"]) == (
        "--country",
        114.41,
        None,
        None,
    )
    hour = Intensity(1.0, "s", None, "DK", None, None, 5.0, from_utc=NOW, to_utc=NOW.replace(hour=13))
    assert chain.event_fields(hour, DENMARK)["to_utc"] == "2026-01-01T13:00:00+00:00"
