"""A long run's intensity, hour by hour: a clock that the test moves, services that answer, real processes that ask."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from machine.services import Services

from greenrun.cli.config import Config
from greenrun.cli.hourly import Hourly

HOUR = timedelta(hours=1)
# The clock that the test moves starts now: what lies further back than a day is asked for in another way.
BEGIN = datetime.now(timezone.utc).replace(minute=20, second=0, microsecond=0)


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, event: str, at: float | None = None, /, **fields: object) -> None:
        """Keep an event."""
        self.events.append({"event": event, **fields})

    def warn(self, code: str, message: str) -> None:
        """Keep a warning."""
        self.events.append({"event": "warning", "code": code, "message": message})

    @property
    def warnings(self) -> list[str]:
        """The sentences."""
        return [event["message"] for event in self.events if event["event"] == "warning"]

    def grams_at(self, moment: datetime) -> float:
        """Give what counts for a moment: the last event that covers it."""
        found = None
        for event in self.events:
            if event["event"] == "intensity":
                low, high = event["from_utc"], event["to_utc"]
                if (low is None or datetime.fromisoformat(low) <= moment) and (
                    high is None or moment < datetime.fromisoformat(high)
                ):
                    found = event["grams_per_kwh"]
        assert found is not None
        return float(found)


class Run:
    """One run's Hourly, with the clock and the services that it sees."""

    def __init__(self, services: Services, **settings: Any) -> None:
        self.services = services
        self.log = Log()
        self.poll = select.poll()
        self.now = BEGIN
        config = Config(
            electricitymaps_url=services.url, zone="DK-DK1", place_from="--zone", cloud_metadata=False, **settings
        )
        self.hourly = Hourly(self.log, config, BEGIN.timestamp(), now=lambda: self.now)
        services.now = BEGIN
        self.hourly.prepare()
        self.hourly.look_in_cache()
        self.hourly.begin(self.poll)

    def at(self, moment: datetime) -> None:
        """Move the clock there, and let what is asked then be answered."""
        self.now = self.services.now = moment
        self.hourly.tick()
        deadline = time.monotonic() + 20
        while self.hourly.descriptor is not None:
            assert time.monotonic() < deadline
            self.poll.poll(1000)
            self.hourly.look()

    def end(self, moment: datetime) -> None:
        """Let the run end."""
        self.now = self.services.now = moment
        self.hourly.finish(time.monotonic() + 10)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Services]:
    """Give services whose figure tells its hour, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Services(lambda hour: 100.0 + 24.0 * hour.day + hour.hour) as running:
        monkeypatch.setenv("GREENRUN_ELECTRICITYMAPS_TOKEN", running.token)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running


def truth(services: Services, moment: datetime) -> float:
    """Give the figure of the hour that holds `moment`."""
    grams = services.grams(moment.replace(minute=0))
    assert grams is not None
    return grams


def test_a_day_and_two_hours_have_each_their_own_figure(services: Services) -> None:
    """One request an hour; each hour's figure is logged once."""
    run = Run(services)
    for minute in range(0, 26 * 60, 2):
        run.at(BEGIN + timedelta(minutes=minute))
    end = BEGIN + 26 * HOUR
    run.end(end)
    moment = BEGIN
    while moment < end:
        assert run.log.grams_at(moment) == truth(services, moment), moment
        moment += timedelta(minutes=7)
    assert 26 <= len(services.requests) <= 27
    assert not run.log.warnings
    of_hours = [event["from_utc"] for event in run.log.events if event.get("link") == "electricitymaps"]
    assert len(of_hours) <= 2 * 27 + 24


def test_an_hour_that_is_revised_counts_as_revised(services: Services) -> None:
    """First estimated, then measured: the newer value wins, and no longer passes for an estimate."""
    services.estimated = lambda hour: hour >= BEGIN - HOUR
    run = Run(services)
    run.at(BEGIN)
    services.estimated = lambda hour: False
    services.grams = lambda hour: 777.0
    run.at(BEGIN + HOUR)
    assert run.log.grams_at(BEGIN + timedelta(minutes=5)) == 777.0
    of_the_first = [event for event in run.log.events if event["grams_per_kwh"] == 777.0]
    assert not any(event["estimated"] for event in of_the_first)


def test_a_service_that_dies_in_between_is_held_on_and_told_once(services: Services) -> None:
    """The hours that nobody told have the last known figure, as an estimate; it is asked again, ever less often."""
    run = Run(services)
    run.at(BEGIN)
    services.misbehave("", "503")
    for minute in range(0, 5 * 60, 2):
        run.at(BEGIN + timedelta(minutes=minute))
    asked = len(services.requests)
    assert 2 <= asked <= 12
    run.end(BEGIN + 5 * HOUR)
    assert len(run.log.warnings) == 1
    assert "503" in run.log.warnings[0]
    for minute in range(60, 5 * 60, 7):
        assert run.log.grams_at(BEGIN + timedelta(minutes=minute)) == truth(services, BEGIN)
    last = [event for event in run.log.events if event["event"] == "intensity"][-1]
    assert last["estimated"] is True
    assert last["uncertainty_percent"] > 15


def test_a_service_that_comes_back_fills_what_was_missing(services: Services) -> None:
    """Its history reaches back over the hours in which it was gone."""
    services.misbehave("", "503")
    run = Run(services)
    run.at(BEGIN)
    run.at(BEGIN + HOUR)
    services.behave()
    for minute in range(60, 4 * 60, 5):
        run.at(BEGIN + timedelta(minutes=minute))
    run.end(BEGIN + 4 * HOUR)
    for minute in range(0, 4 * 60, 7):
        moment = BEGIN + timedelta(minutes=minute)
        assert run.log.grams_at(moment) == truth(services, moment)


def test_an_end_just_after_the_hour_asks_once_more(services: Services) -> None:
    """The new hour has not been asked for yet when the run ends in its first minute: it is, then."""
    run = Run(services)
    run.at(BEGIN)
    end = BEGIN.replace(minute=0) + HOUR + timedelta(seconds=20)
    run.at(end)
    assert len(services.requests) == 1
    run.end(end)
    assert len(services.requests) == 2
    moment = end - timedelta(seconds=1)
    assert run.log.grams_at(moment) == truth(services, moment)


def test_runs_within_an_hour_share_its_answer(services: Services) -> None:
    """The second finds it in the cache, without a process that asks."""
    Run(services).at(BEGIN)
    second = Run(services)
    second.hourly.tick()
    assert second.hourly.descriptor is None
    assert second.hourly.grams_per_kwh == truth(services, BEGIN)
    assert len(services.requests) == 1


def test_a_day_offline_uses_what_the_cache_has_and_asks_nobody(services: Services) -> None:
    """A figure fetched a moment ago by another run is better than a table; hours later it is only held on."""
    Run(services).at(BEGIN)
    run = Run(services, offline=True)
    run.at(BEGIN)
    run.end(BEGIN + HOUR)
    assert run.log.grams_at(BEGIN + timedelta(minutes=1)) == truth(services, BEGIN)
    assert len(services.requests) == 1
