"""The grams that a job under way will have caused: a clock that the test moves, services that answer."""

from __future__ import annotations

import select
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from machine.services import Services

from greenrun.cli.config import Config
from greenrun.cli.foresight import Foreseen, Foresight
from greenrun.cli.hourly import Hourly
from greenrun.intensity.model import Intensity
from greenrun.sampler.prediction import Interval
from greenrun.sampler.progress import Point

HOUR = timedelta(hours=1)
BEGIN = datetime.now(timezone.utc).replace(minute=20, second=0, microsecond=0)
WATTS = 1000.0


def figure(grams: float, from_utc: datetime, to_utc: datetime) -> Intensity:
    """Give an intensity as a service has told it."""
    told = Intensity(grams, "electricitymaps", "somebody", "XX", None, None, "lifecycle", 15.0)
    return told._replace(from_utc=from_utc, to_utc=to_utc, fetched_utc=to_utc)


class _Log:
    def write(self, event: str, at: float | None = None, /, **fields: object) -> None:
        pass

    def warn(self, code: str, message: str) -> None:
        pass


class Run:
    """A run of 1 kW in Denmark; its clock stands where the test puts it."""

    def __init__(self, services: Services, **settings: Any) -> None:
        self.services = services
        self.now = services.now = BEGIN
        urls = dict.fromkeys(("electricitymaps_url", "energidata_url"), services.url)
        told = {"zone": "DK-DK1", "place_from": "--zone", "cloud_metadata": False, "epochs": "auto", **urls, **settings}
        config, self.poll = Config(**told), select.poll()
        self.hourly = Hourly(_Log(), config, BEGIN.timestamp(), lambda: self.now)
        self.hourly.prepare()
        self.hourly.look_around()
        self.hourly.begin(self.poll)
        self.foresight = Foresight(config, self.hourly, self.poll, lambda: self.now)

    def at(self, hours: float) -> None:
        """Move the clock, and let what is asked then be answered."""
        self.now = self.services.now = BEGIN + hours * HOUR
        self.hourly.tick()
        self.foresight.tick(hours * 3600.0)
        deadline = time.monotonic() + 20
        while self.hourly.descriptor is not None or self.foresight.descriptor is not None:
            assert time.monotonic() < deadline
            self.poll.poll(100)
            self.hourly.look()
            self.foresight.look()

    def foresee(self, hours: float) -> Foreseen:
        """Predict that it takes so long in all."""
        done = (self.now - BEGIN).total_seconds()
        joules = 3600.0 * hours * WATTS
        energy = Interval(joules, 0.9 * joules, 1.2 * joules)
        foreseen = self.foresight.foresee(Point(5.0, 0.0), Point(5.0 + done, done * WATTS), energy, 3600.0 * hours)
        assert foreseen is not None
        return foreseen

    def asked(self) -> int:
        """Count the forecasts that were asked for."""
        return sum("forecast" in request.path for request in self.services.requests)

    def truth(self, hours: float) -> float:
        """Give the grams of so many hours, minute by minute."""
        minutes = round(60 * hours)
        moments = (BEGIN + timedelta(minutes=minute) for minute in range(minutes))
        return sum(self.services.grams(moment.replace(minute=0)) or 0.0 for moment in moments) / 60


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Services]:
    """Give services whose figures swing, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Services(lambda hour: 50.0 + 40.0 * (hour.hour % 12)) as running:
        monkeypatch.setenv("GREENRUN_ELECTRICITYMAPS_TOKEN", running.token)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield running


def test_the_hours_to_come(services: Services) -> None:
    """With its forecast a job of 20 h is charged, from its second minute to its end, with what its hours are."""
    run = Run(services)
    truth = run.truth(20.0)
    for hours in (0.02, 0.5, 1.0, 5.3, 12.0, 19.9):
        run.at(hours)
        grams, ahead = run.foresee(20.0)
        assert grams.value == pytest.approx(truth, rel=0.01), hours
        assert (ahead.told_percent, ahead.links) == (pytest.approx(100.0), ["electricitymaps"])
        assert grams.low < grams.value < grams.high
    assert run.asked() == len({int(20 / 60 + hours) for hours in (0.02, 0.5, 1.0, 5.3, 12.0, 19.9)})


def test_what_is_past_is_as_it_was(services: Services) -> None:
    """What the interval is wide by is what comes: the forecast's doubt widens it, in quadrature."""
    run = Run(services)
    run.at(10.0)
    grams, ahead = run.foresee(11.0)
    past = run.truth(10.0)
    to_come = grams.value - past
    assert to_come == pytest.approx(ahead.grams_per_kwh, rel=0.01)
    energy_spread, doubt = 0.2 * 11.0 * ahead.grams_per_kwh, to_come * 0.30 * 1.645 / 1.96
    assert grams.high - grams.value == pytest.approx((energy_spread**2 + doubt**2) ** 0.5, rel=0.03)
    assert grams.low == pytest.approx(past, rel=0.01)


def test_what_a_forecast_that_is_wrong_makes_of_it(services: Services) -> None:
    """Where the energy is sure, the interval is the forecast's own at 90 %, of grams with PUE."""
    run = Run(services, pue=1.5)
    run.at(0.02)
    joules = 20 * 3.6e6
    foreseen = run.foresight.foresee(Point(0.0, 0.0), Point(72.0, 0.0), Interval(joules, joules, joules), 20 * 3600.0)
    assert foreseen is not None
    grams, ahead = foreseen
    assert grams.value == pytest.approx(1.5 * 20 * ahead.grams_per_kwh)
    doubt = ahead.uncertainty_percent / 100.0 * 1.645 / 1.96
    assert [grams.low, grams.high] == pytest.approx([grams.value * (1 - doubt), grams.value * (1 + doubt)])


def test_nobody_is_asked_for_what_needs_no_forecast(services: Services) -> None:
    """Not for a job that nobody counts on a prediction of, and not within its first minute if it ends this hour."""
    run = Run(services, epochs=None)
    run.at(0.5)
    assert run.asked() == 0
    run.foresight.expect()  # it tells its epochs
    run.at(0.51)
    assert run.asked() == 1
    quick = Run(services)
    quick.at(0.01)
    quick.foresee(0.5)
    quick.at(0.015)
    assert run.asked() == 1


def test_a_job_that_is_predicted_to_last(services: Services) -> None:
    """Beyond this hour: then the forecast is asked for in the first minute."""
    run = Run(services)
    run.at(0.001)
    assert run.foresee(3.0).ahead.told_percent == 0.0
    run.at(0.002)
    assert run.asked() == 1
    assert run.foresee(3.0).ahead.told_percent == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("settings", "grams_per_kwh"), [({"offline": True}, None), ({"intensity": 77.0, "intensity_from": "test"}, 77.0)]
)
def test_no_service(services: Services, settings: dict[str, Any], grams_per_kwh: float | None) -> None:
    """Offline, or with a figure that was told, nobody is asked; the figure holds for all hours."""
    run = Run(services, **settings)
    run.at(0.5)
    grams, ahead = run.foresee(10.0)
    assert services.requests == []
    table = run.hourly.table
    assert table is not None
    assert ahead.grams_per_kwh == (grams_per_kwh or table.grams_per_kwh)
    assert grams == pytest.approx([10.0 * share * ahead.grams_per_kwh for share in (1.0, 0.9, 1.2)])


@pytest.mark.parametrize("trouble", ["503", "429", "html"])
def test_no_forecast_to_be_had(services: Services, trouble: str) -> None:
    """The last one counts as far as it reaches; beyond it the yearly average. Nobody is asked again before the hour."""
    run = Run(services)
    run.at(0.1)
    services.misbehave("", trouble)
    run.at(1.0)
    run.at(1.1)
    assert run.foresee(10.0).ahead.told_percent == pytest.approx(100.0)
    run.at(20.1)
    ahead = run.foresee(200.0).ahead
    assert 2.0 < ahead.told_percent < 16.0  # 24 or 48 h were told 20 h ago
    assert ahead.links == ["region table", "stale cache"]


class Known:
    """What services have told by now: each hour has its own figure. Counts how often it is asked for the yearly one."""

    place = present = None

    def __init__(self) -> None:
        self.spans: list[Intensity] = []
        self.asked = 0

    @property
    def table(self) -> Intensity:
        """The yearly average."""
        self.asked += 1
        return Intensity(300.0, "country table", "somebody", "XX", None, None, "lifecycle", 50.0)


def test_a_job_of_days() -> None:
    """Its past is charged hour by hour, and a prediction is no more work on the fourth day than on the second."""
    known, now = Known(), BEGIN
    foresight = Foresight(Config(epochs="auto", offline=True), cast("Hourly", known), select.poll(), lambda: now)
    work = []
    joules = truth = 0.0
    for hour in range(1, 4 * 24 + 1):
        begun = BEGIN + (hour - 1) * HOUR
        grams = 100.0 + 7 * (hour % 13)
        known.spans.append(figure(grams, begun, begun + HOUR))
        watts = WATTS * (1 + hour % 5)  # where it is steady a mean of the figures would do
        truth += grams * watts / 1000.0
        for half in (1, 2):
            now = begun + half * HOUR / 2
            known.asked = 0
            seconds = (now - BEGIN).total_seconds()
            joules += 1800.0 * watts
            foreseen = foresight.foresee(
                Point(0.0, 0.0), Point(seconds, joules), Interval(joules, joules, joules), seconds
            )
        work.append(known.asked)
        assert foreseen is not None
        assert foreseen.grams.value == pytest.approx(truth, rel=1e-9)
    assert max(work) <= work[30] + 2


def test_a_figure_that_is_old_is_not_that_of_now(services: Services) -> None:
    """It is held on for a day, what was held on by the cache for one more; then the yearly average counts at once."""
    run = Run(services, epochs=None)
    run.at(0.0)
    services.misbehave("", "503")
    run.at(20.0)
    assert run.foresee(20.5).ahead.links == ["stale cache"]
    run.at(46.0)
    assert run.foresee(46.5).ahead.links == ["region table"]


def test_an_answer_without_a_forecast(services: Services, tmp_path: Path) -> None:
    """Where the cache has none either, the one that was told before still counts."""
    run = Run(services)
    run.at(0.1)
    services.misbehave("", "503")
    shutil.rmtree(tmp_path / "cache")
    run.at(1.1)
    assert run.asked() == 2
    assert run.foresee(10.0).ahead.told_percent == pytest.approx(100.0)


def test_at_its_end(services: Services) -> None:
    """A job that has outlived its prediction, to the last joule: its grams are what it has caused."""
    run = Run(services)
    for hours in (0.1, 1.0, 2.0, 3.0):
        run.at(hours)
        run.foresee(3.0)
    grams, _ = run.foresee(2.5)
    assert grams.value == grams.low == pytest.approx(run.truth(3.0), rel=0.01)
