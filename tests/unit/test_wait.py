"""Waiting for the greenest time, by clocks that the test moves: plans, revisions, deadlines, steps, suspend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest

from greenrun.cli.config import Config
from greenrun.cli.errors import UserError
from greenrun.cli.fetching import Reply
from greenrun.cli.wait import Waiting, until_greenest
from greenrun.intensity.model import Answer, Intensity, Passed, Place
from greenrun.sampler.clock import Clock

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
HOUR = 3600.0
DEAD = Reply(Place("DK", None, "--country"), Answer([], [Passed("electricitymaps", "broken", "no answer within 5 s")]))


def hourly(*levels: float) -> Reply:
    """Give an hourly forecast from noon on."""
    spans = [
        Intensity(
            grams_per_kwh=level,
            link="electricitymaps",
            source="Electricity Maps",
            zone="DK",
            country="DK",
            year=None,
            basis="lifecycle",
            uncertainty_percent=30.0,
            estimated=True,
            from_utc=NOON + timedelta(hours=hour),
            to_utc=NOON + timedelta(hours=hour + 1),
        )
        for hour, level in enumerate(levels)
    ]
    return Reply(Place("DK", None, "--country"), Answer(spans, []))


class World(Clock):
    """Clocks that only sleeping moves, a screen that remembers, a service that answers by the hour."""

    tick_seconds = 30.0
    hint = "; leave so"

    def __init__(self, replies: Callable[[float], Reply], asking_seconds: float = 0.0) -> None:
        self.seconds = 0.0  # since noon, by the clock that nobody sets
        self.step_seconds = 0.0  # of the clock on the wall
        self.said: list[str] = []
        self.shown: list[str] = []
        self.asked: list[tuple[float, float, bool]] = []  # when, up to when, insisting
        self.before_sleep: Callable[[], None] = lambda: None
        self._replies = replies
        self._asking_seconds = asking_seconds

    def utc(self) -> float:
        """Give the time on the wall."""
        return NOON.timestamp() + self.seconds + self.step_seconds

    def boottime(self) -> float:
        """Give the time that nobody sets."""
        return 1000.0 + self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        assert 0.0 < seconds <= 30.0
        self.before_sleep()
        self.seconds += seconds

    def ask(self, until: datetime, insist: bool) -> Reply:
        """Answer for the service."""
        self.asked.append((self.seconds, (until - NOON).total_seconds(), insist))
        self.seconds += self._asking_seconds
        return self._replies(self.asked[-1][0])

    def tell(self, sentence: str) -> None:
        """Remember a sentence."""
        self.said.append(sentence.replace("\u00a0", " "))

    def show(self, text: str) -> None:
        """Remember what was shown."""
        self.shown.append(text.replace("\u00a0", " "))

    def clear(self) -> None:
        """Remember that the screen is empty."""
        self.shown.append("")

    def wait(self, duration_seconds: float = HOUR, deadline_seconds: float = 12 * HOUR, assumed: bool = False) -> float:
        """Wait, and give the seconds since noon at which the command starts."""
        Waiting(
            duration_seconds,
            deadline_seconds,
            assumed=assumed,
            ask=self.ask,
            screen=self,
            clock=self,
            sleep=self.sleep,
        ).wait()
        return self.seconds


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let local time be UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_the_command_starts_at_the_greenest_time() -> None:
    """To the second, after one sentence, with the time that is left on the screen, and a screen that is empty then."""
    world = World(lambda _: hourly(400, 300, 100, 200, 300, 300))
    assert world.wait() == 2 * HOUR
    assert world.said == [
        "the command starts at 14:00 UTC, in 2 h, which by the forecast saves 75 % of its CO2e "
        "(Electricity Maps for DK, which ends at 18:00); leave so."
    ]
    assert (world.shown[0], world.shown[-2:]) == ("starts in 2 h", ["starts in 30 s", ""])


def test_it_is_asked_again_every_hour() -> None:
    """Up to the deadline as it was told, insisting only at first: later nobody sits and waits for it."""
    world = World(lambda _: hourly(9, 9, 9, 9, 1, 9, 9))
    assert world.wait(deadline_seconds=6 * HOUR) == 4 * HOUR
    assert world.asked == [(hour * HOUR, 6 * HOUR, hour == 0) for hour in range(4)]
    assert len(world.said) == 1


@pytest.mark.parametrize("hour", [3, 8])
def test_a_better_plan_is_followed_and_told(hour: int) -> None:
    """The new forecast counts, be its start earlier or later."""
    levels = [400.0] * 12
    levels[hour] = 100.0
    world = World(lambda at: hourly(9, 9, 9, 9, 9, 1, 9, 9, 9, 9) if at < HOUR else hourly(*levels))
    assert world.wait() == hour * HOUR
    assert world.said[1].startswith(f"the forecast has changed: the command starts at {12 + hour}:00 UTC, in ")
    assert len(world.said) == 2


def test_the_newest_forecast_may_say_now() -> None:
    """Then the command starts, and it is said why."""
    world = World(lambda at: hourly(9, 9, 9, 1, 9) if at < HOUR else hourly(9, 1, 9, 9, 9))
    assert world.wait() == HOUR
    assert world.said[1].startswith("by the newest forecast now is the greenest time (Electricity Maps for DK")


def test_the_last_plan_stands_when_the_provider_dies() -> None:
    """It is told once, and the deadline is kept."""
    world = World(lambda at: hourly(9, 9, 9, 9, 1, 9) if at < HOUR else DEAD)
    assert world.wait() == 4 * HOUR
    assert len(world.asked) == 4
    assert world.said[1:] == [
        "the forecast could not be renewed (there is no forecast for DK (--country): Electricity Maps: "
        "no answer within 5 s); the plan stands."
    ]


def test_without_any_forecast_the_command_starts_at_once() -> None:
    """One sentence says why."""
    world = World(lambda _: DEAD)
    assert world.wait() == 0.0
    assert world.said == [
        "the command starts at once: there is no forecast for DK (--country): Electricity Maps: no answer within 5 s."
    ]


def test_now_may_be_the_greenest_time() -> None:
    """No wait, and a word about it; an assumed duration is said to be assumed."""
    world = World(lambda _: hourly(1, 9, 9))
    assert world.wait(assumed=True) == 0.0
    assert world.said == [
        "now is the greenest time (Electricity Maps for DK, which ends at 15:00, for an assumed 1 h: "
        "--duration tells better); the command starts."
    ]


def test_the_deadline_bounds_the_start() -> None:
    """A falling intensity is followed to the last moment that leaves time for the job, and no further."""
    world = World(lambda _: hourly(*range(99, 0, -1)))
    assert world.wait(duration_seconds=1.5 * HOUR, deadline_seconds=5 * HOUR) == pytest.approx(3.5 * HOUR, abs=1e-3)
    assert "ends at" not in world.said[0]


def test_time_that_asking_takes_is_not_the_deadline_s() -> None:
    """What is left after a slow answer counts; where nothing is left the command starts."""
    world = World(lambda _: hourly(*range(99, 0, -1)), asking_seconds=20.0)
    assert world.wait(deadline_seconds=2 * HOUR) == pytest.approx(HOUR, abs=1e-3)
    world = World(lambda _: hourly(*range(99, 0, -1)), asking_seconds=20.0)
    assert world.wait(deadline_seconds=HOUR + 10.0) == 20.0
    assert world.said == ["the deadline leaves no time to wait; the command starts."]


def test_a_clock_that_is_set_forward_brings_the_start_nearer() -> None:
    """The plan is a moment of UTC: if it is half past one already, it is half an hour until two."""
    world = World(lambda _: hourly(9, 9, 1, 9, 9))

    def step() -> None:
        world.step_seconds = 0.5 * HOUR if world.seconds > 0.25 * HOUR else 0.0

    world.before_sleep = step
    assert world.wait() == 1.5 * HOUR


def test_a_clock_that_is_set_back_does_not_break_the_deadline() -> None:
    """The plan moves away with the clock; the deadline is of real time and stays."""
    world = World(lambda _: hourly(9, 9, 1, 9, 9, 9, 9, 9))

    def step() -> None:
        world.step_seconds = -5 * HOUR if world.seconds > 0.25 * HOUR else 0.0

    world.before_sleep = step
    assert world.wait(deadline_seconds=4 * HOUR) == 3 * HOUR


def test_a_start_that_was_slept_through_is_looked_for_again() -> None:
    """A machine suspended from one to four: the next best of what is left."""
    world = World(lambda _: hourly(9, 9, 1, 9, 9, 9, 2, 9, 9, 9))

    def suspend() -> None:
        world.seconds = 4 * HOUR if HOUR < world.seconds < 1.1 * HOUR else world.seconds

    world.before_sleep = suspend
    assert world.wait() == pytest.approx(6 * HOUR, abs=1e-3)
    assert "the forecast has changed: the command starts at 18:00" in world.said[1]


def test_a_deadline_that_was_slept_through_starts_the_command() -> None:
    """Late is better than never, and nobody is asked any more."""
    world = World(lambda _: hourly(9, 9, 1, 9))

    def suspend() -> None:
        world.seconds = 40 * HOUR if HOUR < world.seconds < 1.1 * HOUR else world.seconds

    world.before_sleep = suspend
    assert world.wait() == pytest.approx(40 * HOUR, abs=60.0)
    assert len(world.asked) == 2


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (Config(deadline=HOUR), "--deadline must come with --start greenest"),
        (Config(duration=HOUR), "--duration must come with --start greenest"),
        (Config(start="greenest"), "--start greenest must come with --deadline"),
        (
            Config(start="greenest", deadline=1800.0),
            "--deadline must leave time for the command's 1 h, which is assumed where --duration does not tell it",
        ),
        (Config(start="greenest", deadline=HOUR, duration=5400.0), "must leave time for the command's 1 h 30 min$"),
    ],
)
def test_options_that_make_no_sense_together(config: Config, sentence: str) -> None:
    """A mistake, before anything is asked."""
    with pytest.raises(UserError, match=sentence):
        until_greenest(config)


@pytest.mark.parametrize("deadline", [None, HOUR])
def test_starting_now_waits_for_nothing(deadline: float | None) -> None:
    """So that a script may switch."""
    until_greenest(Config(start="now", deadline=deadline))
