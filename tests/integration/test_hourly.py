"""A long run's intensity, hour by hour: a clock that the test moves, services that answer, real processes that ask."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
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

    def __init__(
        self,
        services: Services,
        *,
        earlier: list[dict[str, Any]] | None = None,
        patience_seconds: float = 21.0,
        now: datetime = BEGIN,
        keep: bool = True,
        **settings: Any,
    ) -> None:
        """`earlier`: the log of a sampler before it; `keep`: whether there is a cache."""
        self.services = services
        self.log = Log()
        self.poll = select.poll()
        self.now = now
        if not keep:
            os.environ["XDG_CACHE_HOME"] = "/proc/none"
        urls = dict.fromkeys(("electricitymaps_url", "energycharts_url"), services.url)
        told = {"zone": "DK-DK1", "place_from": "--zone", "cloud_metadata": False, **urls, **settings}
        self.hourly = Hourly(self.log, Config(**told), BEGIN.timestamp(), lambda: self.now, patience_seconds)
        services.now = BEGIN
        self.hourly.prepare()
        self.hourly.look_around()
        self.hourly.begin(self.poll, earlier or ())

    def at(self, moment: datetime) -> None:
        """Move the clock there, and let what is asked then be answered."""
        self.now = self.services.now = moment
        self.hourly.tick()
        deadline = time.monotonic() + 20
        while self.hourly.descriptor is not None:
            assert time.monotonic() < deadline
            self.poll.poll(1000)
            self.hourly.look()

    def present(self) -> float | None:
        """Give the figure of now."""
        present = self.hourly.present
        return None if present is None else present.grams_per_kwh

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


def test_a_service_that_failed_is_asked_again_before_the_hour_is_over(services: Services) -> None:
    """A run of half an hour is not to go without because of one bad moment."""
    services.misbehave("", "503")
    run = Run(services)
    run.at(BEGIN)
    services.behave()
    run.at(BEGIN + timedelta(minutes=6))
    assert run.log.grams_at(BEGIN) == truth(services, BEGIN)


def test_a_run_offline_takes_an_old_answer_before_a_table(services: Services) -> None:
    """Fetched two hours before it began: held on, as an estimate, and nobody complains of what was asked for."""
    Run(services).at(BEGIN)
    later = BEGIN + 2 * HOUR
    run = Run(services, offline=True, now=later)
    run.hourly.tick()
    assert run.hourly.descriptor is None
    assert run.log.grams_at(later) == truth(services, BEGIN)
    assert run.log.events[-1]["link"] == "stale cache"
    assert not run.log.warnings


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
    assert second.present() == truth(services, BEGIN)
    assert len(services.requests) == 1


def test_a_day_offline_uses_what_the_cache_has_and_asks_nobody(services: Services) -> None:
    """A figure fetched a moment ago by another run is better than a table; hours later it is only held on."""
    Run(services).at(BEGIN)
    run = Run(services, offline=True)
    run.at(BEGIN)
    run.end(BEGIN + HOUR)
    assert run.log.grams_at(BEGIN + timedelta(minutes=1)) == truth(services, BEGIN)
    assert len(services.requests) == 1


def children() -> set[int]:
    """Give the children of this process; another test may have left one that is just going."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return set(map(int, file.read().split()))


def test_a_process_that_asks_and_hangs_is_given_up(services: Services) -> None:
    """Stopped, it hears no alarm: it is killed and told of, and the next one answers."""
    run = Run(services, patience_seconds=2.0)  # the next one has as long, on a machine that may be busy
    before, others = os.listdir("/proc/self/fd"), children()
    run.hourly.tick()
    (stopped,) = children() - others
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(2.1)
    run.hourly.tick()
    assert run.hourly.descriptor is None
    assert not os.path.exists(f"/proc/{stopped}")
    assert "the process that asks hangs" in run.log.warnings[0]
    run.at(BEGIN + HOUR)
    assert run.log.grams_at(BEGIN) == truth(services, BEGIN)
    assert os.listdir("/proc/self/fd") == before  # a run of a week asks 170 times


def test_a_service_that_comes_back_counts_again(services: Services) -> None:
    """Another stood in for it and told the same hour otherwise: the first one's figure is logged once more."""
    run = Run(services, zone=None, country="DE")
    run.at(BEGIN)
    assert run.log.grams_at(BEGIN) == truth(services, BEGIN)
    first = services.grams
    services.misbehave("carbon-intensity", "503")
    services.grams = lambda hour: 9.0
    run.at(BEGIN + HOUR)
    assert run.log.grams_at(BEGIN) == 9.0
    services.behave()
    services.grams = first
    run.at(BEGIN + 2 * HOUR)
    assert run.log.grams_at(BEGIN) == truth(services, BEGIN)


def test_a_clock_that_is_set_back_does_not_stop_the_asking(services: Services) -> None:
    """What was due tomorrow is due now; the run seems to have begun in the future, and the present has its figure."""
    run = Run(services)
    run.at(BEGIN)
    before = BEGIN - 20 * HOUR
    run.at(before)
    assert len(services.requests) == 2
    assert run.present() == truth(services, before)


def test_a_second_sampler_knows_what_the_first_one_logged(services: Services) -> None:
    """It goes on from there where nobody answers any more, and complains no second time."""
    run = Run(services, keep=False)
    run.at(BEGIN)
    services.misbehave("", "503")
    run.at(BEGIN + HOUR)
    assert len(run.log.warnings) == 1
    second = Run(services, earlier=run.log.events, keep=False)
    assert second.present() == truth(services, BEGIN)
    second.end(BEGIN + 3 * HOUR)
    assert second.log.grams_at(BEGIN + 2 * HOUR) == truth(services, BEGIN)
    assert second.log.warnings == []


def test_a_second_sampler_lives_where_no_table_has_a_figure(services: Services) -> None:
    """The first one has logged an intensity that is none."""
    direct = {"zone": None, "country": "BR", "basis": "direct", "offline": True}
    run = Run(services, **direct)
    assert [event["grams_per_kwh"] for event in run.log.events] == [None] * len(run.log.events)
    second = Run(services, earlier=run.log.events, **direct)
    second.end(BEGIN + HOUR)
    assert second.present() is None


def test_a_service_that_is_left_alone_needs_no_process(services: Services) -> None:
    """Another run was refused a moment ago: that is read in the cache, and told."""
    services.misbehave("", "503")
    Run(services).at(BEGIN)
    second = Run(services)
    second.hourly.tick()
    assert second.hourly.descriptor is None
    assert "503" in second.log.warnings[0]
    assert len(services.requests) == 1


def test_a_run_that_is_killed_before_any_answer_has_left_the_reasons(services: Services) -> None:
    """They are in the log as soon as somebody is asked."""
    services.misbehave("", "hang")
    run = Run(services)
    run.hourly.tick()
    reasons = {one["link"]: one["reason"] for one in run.log.events[-1]["passed"]}
    assert reasons["electricitymaps"] == "has not answered yet"
    run.hourly.finish(time.monotonic())


def test_a_run_that_can_ask_nobody_starts_nothing(tmp_path: Path) -> None:
    """No token, and no service without one for the place: no process, and no library for requests."""
    code = (
        "import os, select, sys\n"
        "from greenrun.cli.config import Config\n"
        "from greenrun.cli.hourly import Hourly\n"
        "class Log:\n"
        "    def write(self, *_, **fields): pass\n"
        "    def warn(self, code, message): print(message)\n"
        "hourly = Hourly(Log(), Config(country='US', place_from='--country'), 0.0)\n"
        "hourly.prepare(); hourly.look_around(); hourly.begin(select.poll()); hourly.tick()\n"
        "assert hourly.descriptor is None\n"
        "assert hourly.present\n"
        "print('httpx' in sys.modules, open(f'/proc/self/task/{os.getpid()}/children').read())\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["False"], "")
