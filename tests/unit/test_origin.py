"""Where the intensity came from, as the summary tells it: word for word, for each kind of origin."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from unit.data.logs import device, end, exited, hour, intensity, sample, spawned, start, yearly

from greenrun.reports import origin, terminal, units
from greenrun.reports.account import account

BEGIN = datetime(2026, 1, 1, 10, tzinfo=timezone.utc)


def run(hours: float, *intensities: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the log of a run at constant power that begins at 10:30."""
    seconds = hours * 3600.0
    joined = [spawned(0.0), sample(0.0, 0.0), sample(seconds, 100.0 * seconds), exited(seconds), end(seconds)]
    return [start(device("cpu0"), utc="2026-01-01T10:30:00.000Z"), *intensities, *joined]


def told(hours: float, *intensities: dict[str, Any]) -> str:
    """Give the words for a run."""
    return origin.words(account(run(hours, *intensities))["intensity"]).replace(units.NO_BREAK, " ")


def hourly(count: int, estimated: int = 0, first: float = 200.0, step: float = 0.0) -> list[dict[str, Any]]:
    """Give an intensity for each hour from 10:00 on, the last ones estimated."""
    times = [(BEGIN + timedelta(hours=index)).isoformat() for index in range(count + 1)]
    return [
        hour(first + step * index, times[index], times[index + 1], estimated=index >= count - estimated)
        for index in range(count)
    ]


TABLE = yearly(142.0)
TOLD = intensity(120.0, link="told", source="told by --intensity", basis=None, year=None, note="taken as exact")


@pytest.mark.parametrize(
    ("hours", "intensities", "words"),
    [
        (2.0, [TOLD], "120 g/kWh, told by --intensity, taken as exact"),
        (2.0, [TABLE], "142 g/kWh +-50 %, yearly average of DK (--country), lifecycle emissions of 2025, Ember"),
        (
            2.0,
            [yearly(112.0, link="region table", zone="DK-DK1")],
            "112 g/kWh +-50 %, yearly average of DK-DK1 (--country), lifecycle emissions of 2025, Ember",
        ),
        (
            0.4,
            [TABLE, *hourly(1)],
            "200 g/kWh +-15 %, 1 hour of DK-DK1 (--zone), lifecycle emissions, Electricity Maps",
        ),
        (
            0.4,
            [TABLE, *hourly(1, estimated=1)],
            "200 g/kWh +-15 %, 1 hour of DK-DK1 (--zone), estimated, lifecycle emissions, Electricity Maps",
        ),
        (
            25.5,
            [TABLE, *hourly(26, estimated=3)],
            "200 g/kWh +-15 %, the mean over 26 hours of DK-DK1 (--zone), 3 of them estimated, lifecycle emissions, "
            "Electricity Maps",
        ),
        (
            1.5,
            hourly(2, first=9.6, step=402.0),
            "278 g/kWh +-15 %, the mean of 9.6 to 412 g/kWh over 2 hours of DK-DK1 (--zone), lifecycle emissions, "
            "Electricity Maps",
        ),
        (
            3.0,
            [*hourly(2), yearly(190.0)],
            "195 g/kWh +-32 %, the mean over 2 hours of DK-DK1 (--country), and for 1 h 30 min the yearly "
            "average of DK, lifecycle emissions, Electricity Maps; Ember",
        ),
        (2.0, [intensity(360.0)], "360 g/kWh +-0 %, DK (--country), lifecycle emissions of 2025, a test"),
    ],
)
def test_in_words(hours: float, intensities: list[dict[str, Any]], words: str) -> None:
    """Told, yearly, one hour, many, a swing, a mixture, and a log from before there were links."""
    assert told(hours, *intensities) == words


def test_a_mixture_names_the_place_of_each_part() -> None:
    """The zone of the hours, and the country of the average that fills the rest."""
    words = told(2.0, *hourly(1), yearly(200.0, link="world", country=None, how="unknown"))
    assert "the mean over 1 hour of DK-DK1, and for 1 h 30 min the yearly average of the world, " in words


def test_the_world_says_why() -> None:
    """The reason for which the country's figure was passed over stands beside the world's."""
    reason = "the country is unknown (--country tells it)"
    over = [{"link": "country table", "cause": "absent", "reason": reason}]
    world = yearly(475.0, link="world", country=None, how="unknown", note="the world average", passed=over)
    assert told(2.0, world) == (f"475 g/kWh +-50 %, the world average, {reason}, lifecycle emissions of 2025, Ember")


def test_many_notes_are_counted() -> None:
    """Three stand in the summary, the record has all."""
    events = [event | {"note": f"note {index}"} for index, event in enumerate(hourly(6))]
    assert "note 0; note 1; note 2; and 3 more notes in the record" in told(5.5, *events)
    assert account(run(5.5, *events))["intensity"]["note"].endswith("note 5")


def test_half_hours_are_counted_as_hours() -> None:
    """Two half-hours of one hour are one, and estimated if one of them is."""
    halves = [
        hour(100.0, "2026-01-01T10:30:00Z", "2026-01-01T11:00:00Z"),
        hour(100.0, "2026-01-01T11:00:00Z", "2026-01-01T11:30:00Z", estimated=True),
        hour(100.0, "2026-01-01T11:30:00Z", "2026-01-01T12:00:00Z"),
    ]
    assert "the mean over 2 hours of DK-DK1 (--zone), 1 of them estimated" in told(1.5, *halves)


def test_unknown_has_no_words() -> None:
    """The summary says that CO2e is unknown, and a warning says why."""
    text = terminal.render(account(run(1.0)))
    assert "  CO2e        unknown\n" in text
    assert "intensity" not in text.partition("warning")[0]
