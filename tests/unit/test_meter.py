"""The meter against known power curves: the true joules or a warning, never a wrong number in silence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.sampler.meter import LONGEST_POWER_GAP_SECONDS, Meter, Trouble
from greenrun.sampler.model import Counter, Device, Power

SPAN = 65_532_610_987  # of a server's dram: 65.5 kJ
MAX_WATTS = 1000.0
COUNTER = Device("a", "cpu", "package-0", "test", "counter", 5.0, MAX_WATTS, span_microjoules=SPAN)
ENDLESS = COUNTER._replace(span_microjoules=None)
POWER = Device("b", "gpu", "GPU 0", "test", "power", 5.0, MAX_WATTS)


@dataclass(frozen=True)
class Step:
    """What happens until the next reading, and what that reading is like.

    "failed" gives nothing, "still" the value before again, "reset" a counter that has begun again at `shown`.
    """

    seconds: float
    watts: float
    reading: Literal["good", "failed", "still", "reset"] = "good"
    shown: int = 0


def steps(*readings: str) -> st.SearchStrategy[list[Step]]:
    """Make courses of readings, some of them after a gap in which the counter may wrap more than once."""
    seconds = st.floats(0.001, 3.0) | st.floats(3.0, 400.0)
    return st.lists(
        # Below the highest power: at it, the rounding of a difference of times would decide.
        st.builds(Step, seconds, st.floats(0.0, MAX_WATTS * 0.999), st.sampled_from(readings), st.integers(0, SPAN)),
        max_size=30,
    )


@dataclass
class Course:
    """What came of a course: the meter, all its troubles, and the truth in each interval that it accounted for."""

    meter: Meter
    troubles: list[Trouble]
    intervals: list[tuple[float, float, int, bool]]  # from, to, true microjoules, was there a reset in it
    end_t: float


def play(device: Device, start: int, course: list[Step]) -> Course:
    """Feed the meter with a counter that follows the course."""
    meter = Meter(device)
    size = (device.span_microjoules or 2**200) + 1
    t, true, base, shown = 100.0, 0, start, start
    meter.update(Counter(t, start))
    out = Course(meter, [], [], t)
    known_true, has_reset = 0, False
    for step in course:
        t += step.seconds
        true += int(step.watts * step.seconds * 1e6)
        if step.reading == "reset":
            base, has_reset = step.shown - true, True
        if step.reading == "failed":
            meter.update(None)
            continue
        if step.reading != "still":
            shown = (base + true) % size
        since = meter.known_at
        assert since is not None
        meter.update(Counter(t, shown))
        if meter.known_at != since:
            out.intervals.append((since, t, true - known_true, has_reset))
            known_true, has_reset = true, False
    out.end_t = t
    meter.end(t)
    out.troubles = meter.troubles()
    return out


def told_microjoules(meter: Meter) -> int:
    """Give what the meter tells, in whole microjoules."""
    assert meter.joules is not None
    return round(meter.joules * 1e6)


@given(st.integers(0, SPAN), steps("good", "good", "failed", "still"))
def test_a_counter_that_only_wraps_is_exact_or_said_to_be_ambiguous(start: int, course: list[Step]) -> None:
    """Wraps, gaps, failed readings and a counter that stands still: exact to the microjoule where nothing is said."""
    played = play(COUNTER, start, course)
    ambiguous = [(trouble.from_t, trouble.to_t) for trouble in played.troubles if trouble.code == "ambiguous"]
    expected = 0
    for from_t, to_t, true, _ in played.intervals:
        assert (from_t, to_t) in ambiguous or true <= SPAN
        expected += true % (SPAN + 1) if (from_t, to_t) in ambiguous else true
    assert told_microjoules(played.meter) == expected
    assert not [trouble for trouble in played.troubles if trouble.code == "reset"]


@given(st.integers(0, SPAN), steps("good", "good", "failed", "still", "reset"), st.sampled_from([COUNTER, ENDLESS]))
def test_a_reset_is_dropped_and_told_or_bounded(start: int, course: list[Step], device: Device) -> None:
    """A reset is told, or looks like a wrap: then each can cost at most the highest power over its interval."""
    played = play(device, start, course)
    resets = {(trouble.from_t, trouble.to_t) for trouble in played.troubles if trouble.code == "reset"}
    ambiguous = {(trouble.from_t, trouble.to_t) for trouble in played.troubles if trouble.code == "ambiguous"}
    expected, unseen, wraps = 0, 0.0, 0
    for from_t, to_t, true, has_reset in played.intervals:
        if (from_t, to_t) in resets:
            assert has_reset, "a counter that was not reset is not accused of it"
            continue
        expected += true
        if has_reset:
            unseen += MAX_WATTS * max(to_t - from_t, 0.1) * 1e6
        elif (from_t, to_t) in ambiguous:
            wraps += true // (SPAN + 1)
    error = told_microjoules(played.meter) - (expected - wraps * (SPAN + 1))
    assert abs(error) <= unseen + 1e-6


@given(st.integers(0, SPAN), steps("good", "failed", "still"))
def test_a_device_silent_at_the_end_is_told(start: int, course: list[Step]) -> None:
    """What was used after the last good reading is missing, so its stretch is told unless it is less than a second."""
    played = play(COUNTER, start, course)
    known_at = played.meter.known_at
    assert known_at is not None
    gaps = [(trouble.from_t, trouble.to_t) for trouble in played.troubles if trouble.code == "gap"]
    assert gaps == ([(known_at, played.end_t)] if played.end_t - known_at > 0.5 else [])


def test_a_counter_that_stood_still_has_the_whole_stretch_to_its_name() -> None:
    """Half a minute without a move and then 6 kJ at once is no reset: 200 W over thirty seconds."""
    course = [Step(1.0, 200.0, "still")] * 29 + [Step(1.0, 200.0)]
    played = play(COUNTER, 0, course)
    assert played.meter.joules == 6000.0
    assert played.troubles == []


def test_a_reset_near_the_end_of_the_span_cannot_be_told_from_a_wrap() -> None:
    """The stated limit of the method: 500 J before the wrap a reset passes for 500 J, within 1 kW for one second."""
    played = play(COUNTER, SPAN + 1 - 500_000_000, [Step(1.0, 100.0, "reset", 0)])
    assert played.meter.joules == 500.0
    assert played.troubles == []


def test_a_reset_is_a_sentence_with_both_values() -> None:
    """What a user reads of a reset: the device, both values, and that the interval is dropped."""
    (trouble,) = play(COUNTER, 30_000_000_000, [Step(2.0, 100.0, "reset", 7_000_000)]).troubles
    assert (trouble.code, trouble.from_t, trouble.to_t) == ("reset", 100.0, 102.0)
    assert "package-0 went from 30000.0 J to 7.0 J within 2.0 s" in trouble.sentence
    assert "not counted" in trouble.sentence


def test_a_long_gap_is_the_smallest_possible_energy_and_said_to_be() -> None:
    """An hour at 100 W passes 65.5 kJ five times: nobody can know how often, so what is left over is counted."""
    played = play(COUNTER, 0, [Step(3600.0, 100.0)])
    assert told_microjoules(played.meter) == 360_000_000_000 % (SPAN + 1)
    assert [trouble.code for trouble in played.troubles] == ["ambiguous"]


def test_a_week_of_samples_is_exact() -> None:
    """604,800 readings with more than 1,800 wraps lose no microjoule."""
    meter = Meter(COUNTER)
    each = 199_999_937
    for second in range(604_801):
        meter.update(Counter(float(second), (12_345 + second * each) % (SPAN + 1)))
    assert told_microjoules(meter) == 604_800 * each
    assert meter.troubles() == []


@given(st.integers(0, SPAN), steps("good", "failed"), steps("good", "failed"), st.floats(0.01, 60.0))
def test_a_counter_bridges_a_dead_sampler(start: int, before: list[Step], after: list[Step], gone: float) -> None:
    """A meter that goes on from what the log kept ends where one that had never stopped would."""
    away = Step(gone, 150.0)
    whole = play(COUNTER, start, [*before, away, *after])
    first = play(COUNTER, start, before).meter
    second = Meter(COUNTER)
    assert first.joules is not None
    assert first.known_at is not None
    second.resume(first.known_at, first.joules, first.raw_microjoules)
    t, shown = 100.0, start
    for index, step in enumerate([*before, away, *after]):
        t += step.seconds
        shown = (shown + int(step.watts * step.seconds * 1e6)) % (SPAN + 1)
        if index >= len(before) and step.reading == "good":
            second.update(Counter(t, shown))
    assert told_microjoules(second) == told_microjoules(whole.meter)


@pytest.mark.parametrize("method", ["power", "estimate"])
def test_only_hardware_counters_bridge(method: Literal["power", "estimate"]) -> None:
    """An estimate's own counter begins again with its sampler, and a power has none: the gap is not counted."""
    meter = Meter(COUNTER._replace(method=method, span_microjoules=None))
    meter.resume(10.0, 500.0, 7_000_000)
    if method == "power":
        meter.update(Power(13.0, 100.0))
        meter.update(Power(14.0, 100.0))
    else:
        meter.update(Counter(13.0, 0))
        meter.update(Counter(14.0, 100_000_000))
    assert meter.joules == 600.0
    assert meter.troubles() == []


def test_a_device_that_never_comes_back_is_told() -> None:
    """A new sampler that finds a device gone keeps its joules and says from when on it is missing."""
    meter = Meter(POWER)
    meter.resume(10.0, 500.0, None)
    meter.end(70.0)
    assert meter.joules == 500.0
    assert [(trouble.code, trouble.from_t, trouble.to_t) for trouble in meter.troubles()] == [("gap", 10.0, 70.0)]


knots = st.lists(
    st.tuples(st.floats(0.01, LONGEST_POWER_GAP_SECONDS * 0.99), st.floats(0.0, MAX_WATTS)), min_size=1, max_size=20
)
spoilt = st.sampled_from([None, math.nan, math.inf, -1.0, MAX_WATTS * 1.001, "true"])


@given(st.floats(0.0, MAX_WATTS), knots, st.lists(spoilt, min_size=20, max_size=20))
def test_the_trapezoid_is_exact_on_straight_lines(
    first: float, lines: list[tuple[float, float]], between: list[float | str | None]
) -> None:
    """Power read at each bend is integrated exactly; failed and impossible readings in between change nothing."""
    meter = Meter(POWER)
    meter.update(Power(0.0, first))
    t, watts, joules = 0.0, first, 0.0
    for (seconds, next_watts), middle in zip(lines, between, strict=False):
        if middle == "true":
            meter.update(Power(t + seconds / 2, (watts + next_watts) / 2))
        elif isinstance(middle, float):
            meter.update(Power(t + seconds / 2, middle))
        else:
            meter.update(None)
        t += seconds
        joules += (watts + next_watts) / 2 * seconds
        watts = next_watts
        meter.update(Power(t, watts))
    assert meter.joules == pytest.approx(joules, rel=1e-9, abs=1e-9)
    assert meter.troubles() == []


def test_a_long_silence_of_a_power_is_told_and_not_counted() -> None:
    """Six seconds without a reading: a straight line through them would be a guess."""
    meter = Meter(POWER)
    for t in (0.0, 1.0, 7.0, 8.0):
        meter.update(Power(t, 100.0))
    assert meter.joules == 200.0
    (trouble,) = meter.troubles()
    assert (trouble.code, trouble.from_t, trouble.to_t) == ("gap", 1.0, 7.0)
    assert "GPU 0" in trouble.sentence
    assert meter.troubles() == [], "told once"


def test_a_power_that_turns_to_nonsense_is_told() -> None:
    """Impossible powers to the end are not energy, and not silence either."""
    meter = Meter(POWER)
    for t, watts in ((0.0, 100.0), (1.0, 100.0), (2.0, 1e9), (3.0, 1e9)):
        meter.update(Power(t, watts))
    meter.end(3.0)
    assert meter.joules == 100.0
    assert [(trouble.code, trouble.from_t, trouble.to_t) for trouble in meter.troubles()] == [("gap", 1.0, 3.0)]


def test_a_reading_from_the_past_is_passed_over() -> None:
    """Time runs forward: an older reading counts nothing and takes nothing back."""
    power, counter = Meter(POWER), Meter(COUNTER)
    for t in (0.0, 2.0, 1.0, 3.0):
        power.update(Power(t, 100.0))
        counter.update(Counter(t, int(t * 100e6)))
    assert (power.joules, counter.joules) == (300.0, 300.0)
    assert power.troubles() == counter.troubles() == []


def test_nothing_is_known_before_the_first_reading() -> None:
    """A device that was never read has no joules: unknown is not 0."""
    meter = Meter(COUNTER)
    meter.update(None)
    meter.end(60.0)
    assert meter.joules is None
    assert meter.troubles() == []
