"""What a stretch of time stands for of which not all is known."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from greenrun.intensity import outlook
from greenrun.intensity.model import Intensity

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def figure(grams: float, link: str, percent: float, from_hour: float | None = None, hours: float = 1.0) -> Intensity:
    """Give an intensity from so many hours after noon; None: for all time."""
    begin = None if from_hour is None else NOON + from_hour * HOUR
    end = None if begin is None else begin + hours * HOUR
    return Intensity(grams, link, "somebody", "XX", None, None, "lifecycle", percent, from_utc=begin, to_utc=end)


YEAR = figure(300.0, "country table", 50.0)
NOW = figure(120.0, "electricitymaps", 15.0, -1.0)
FORECAST = [figure(100.0, "electricitymaps", 30.0, 0.0), figure(200.0, "electricitymaps", 30.0, 1.0)]


def test_all_is_forecast() -> None:
    """Each part with its share of the time."""
    told = outlook.over(FORECAST, NOW, YEAR, NOON + 0.5 * HOUR, NOON + 2 * HOUR)
    assert told is not None
    assert told.grams_per_kwh == pytest.approx((0.5 * 100 + 200) / 1.5)
    assert told[1:] == (pytest.approx(30.0), pytest.approx(100.0), ["electricitymaps"])


def test_forecast_too_short() -> None:
    """Beyond its end the yearly average counts, and how sure the whole is follows from the grams of the parts."""
    told = outlook.over(FORECAST, NOW, YEAR, NOON, NOON + 5 * HOUR)
    assert told is not None
    assert told.grams_per_kwh == pytest.approx((100 + 200 + 3 * 300) / 5)
    assert told.uncertainty_percent == pytest.approx((300 * 30 + 900 * 50) / 1200)
    assert told.told_percent == pytest.approx(40.0)
    assert told.links == ["country table", "electricitymaps"]


def test_no_forecast() -> None:
    """For an hour the figure of now, then the yearly average; the one alone where the other is not known."""
    until = NOON + 4 * HOUR
    both = outlook.over((), NOW, YEAR, NOON, until)
    assert both is not None
    assert (both.grams_per_kwh, both.told_percent) == (pytest.approx((120 + 3 * 300) / 4), 0.0)
    soon = outlook.over((), NOW, YEAR, NOON, NOON + 0.5 * HOUR)
    assert soon is not None
    assert (soon.grams_per_kwh, soon.links) == (120.0, ["electricitymaps"])
    assert [one and one.grams_per_kwh for one in (
        outlook.over((), NOW, None, NOON, until),
        outlook.over((), None, YEAR, NOON, until),
        outlook.over((), None, None, NOON, until),
        outlook.over(FORECAST, None, None, NOON, until),
    )] == [120.0, 300.0, None, None]  # fmt: skip


def test_a_hole_in_the_forecast() -> None:
    """A hole within the first hour is filled with the figure of now, a later one with the yearly average."""
    spans = [figure(100.0, "neso", 30.0, 0.5, 1.0), figure(100.0, "neso", 30.0, 2.5, 1.5)]
    told = outlook.over(spans, NOW, YEAR, NOON, NOON + 4 * HOUR)
    assert told is not None
    assert told.grams_per_kwh == pytest.approx((0.5 * 120 + 1 * 100 + 1 * 300 + 1.5 * 100) / 4)
    assert told.told_percent == pytest.approx(62.5)


def test_clean_grid() -> None:
    """No grams at all: nothing is divided by them."""
    assert outlook.over([figure(0.0, "neso", 30.0, 0.0)], None, None, NOON, NOON + HOUR) == (0.0, 0.0, 100.0, ["neso"])


def test_no_time() -> None:
    """There is no mean over no time."""
    with pytest.raises(ValueError, match="no mean"):
        outlook.over(FORECAST, NOW, YEAR, NOON, NOON)
