"""Which of a service's figures are surer than what a run log has."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from unit.data.logs import hour, start, yearly

from greenrun.cli.settle import better
from greenrun.intensity.model import Answer, Intensity

TEN = datetime(2026, 1, 1, 10, tzinfo=timezone.utc)


def at(hours: float) -> datetime:
    """Give the time so many hours after ten."""
    return TEN + timedelta(hours=hours)


def answered(from_hours: float, to_hours: float, **more: Any) -> Intensity:
    """Give a service's figure of 200 g/kWh, measured."""
    figure = Intensity(
        grams_per_kwh=200.0,
        link="electricitymaps",
        source="Electricity Maps",
        zone="DK-DK1",
        country="DK",
        year=None,
        basis="lifecycle",
        uncertainty_percent=15.0,
        from_utc=at(from_hours),
        to_utc=at(to_hours),
        fetched_utc=at(50),
    )
    return figure._replace(**more)


def logged(from_hours: float, to_hours: float, **more: Any) -> dict[str, Any]:
    """Give an hour that the log has as measured."""
    return hour(100.0, at(from_hours).isoformat(), at(to_hours).isoformat(), **more)


def parts(spans: list[Intensity], *events: dict[str, Any], begin: float = 0.5, stop: float = 3.5) -> list[Any]:
    """Give what is better for a run from half past ten to half past one: begin and end in hours after ten."""
    found = better(Answer(spans, []), [start(), *events], "lifecycle", at(begin), at(stop))
    return [((span.from_utc - TEN) / timedelta(hours=1), (span.to_utc - TEN) / timedelta(hours=1)) for span in found]  # type: ignore[operator]


def test_only_what_touches_the_run() -> None:
    """Hours before and after it are of no use; the first and the last are taken whole."""
    assert parts([answered(index, index + 1) for index in range(-2, 6)], yearly(142.0)) == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
    ]
    assert parts([answered(index, index + 1) for index in range(-1, 3)], begin=0.0, stop=1.0) == [(0, 1)]


@pytest.mark.parametrize(
    "useless",
    [
        {"basis": "direct"},
        {"basis": None},
        {"link": "stale cache"},
        {"fetched_utc": None},
        {"from_utc": None},
        {"to_utc": None},
    ],
)
def test_what_is_no_figure_of_a_service_on_this_basis(useless: dict[str, Any]) -> None:
    """Another basis, an old answer held on, a table: none is written over anything, nor into a hole."""
    assert parts([answered(1, 2, **useless)], yearly(142.0)) == []
    assert parts([answered(1, 2, **useless)]) == []
    assert parts([answered(1, 2)]) == [(1, 2)]


ESTIMATE = {"estimated": True, "uncertainty_percent": 25.0}


@pytest.mark.parametrize(
    ("old", "new", "is_better"),
    [
        (logged(1, 2), {}, False),
        (logged(1, 2), {"uncertainty_percent": 1.0}, False),
        (logged(1, 2, **ESTIMATE), {}, True),
        (logged(1, 2, **ESTIMATE), {"uncertainty_percent": 25.0}, True),
        (logged(1, 2, **ESTIMATE), ESTIMATE, False),
        (logged(1, 2, **(ESTIMATE | {"uncertainty_percent": 45.0})), ESTIMATE, True),
        (logged(1, 2, **(ESTIMATE | {"uncertainty_percent": None})), ESTIMATE, True),
        (logged(1, 2, link="stale cache", **ESTIMATE), ESTIMATE, True),
        (logged(1, 2) | {"grams_per_kwh": None}, ESTIMATE, True),
        (yearly(142.0, uncertainty_percent=10.0), ESTIMATE, True),
    ],
)
def test_measured_before_estimated_before_held_before_a_table(
    old: dict[str, Any], new: dict[str, Any], is_better: bool
) -> None:
    """And what was measured stays, so that asking again changes nothing."""
    assert parts([answered(1, 2, **new)], old) == ([(1, 2)] if is_better else [])


def test_a_part_of_an_hour() -> None:
    """Where half-hours are there already the rest alone is taken; neighbouring holes make one stretch."""
    assert parts([answered(0, 3)], yearly(142.0), logged(1, 1.5)) == [(0, 1), (1.5, 3)]
    assert parts([answered(0, 2)], yearly(142.0), logged(0.5, 1, **ESTIMATE), logged(1.5, 3)) == [(0, 1.5)]
