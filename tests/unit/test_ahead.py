"""Costs told before a job runs: their values, and how wide the ranges are."""

from __future__ import annotations

import math

import pytest

from greenrun.intensity.model import Intensity
from greenrun.reports import ahead
from greenrun.sampler.accelerators import Part, Parts
from greenrun.sampler.prediction import Cost, Interval, predict

NOTHING = Cost(0.0, 0.0)


def of(*seconds: float, watts: float | None = 10.0) -> list[Cost]:
    """Give epochs at constant power."""
    return [Cost(length, None if watts is None else length * watts) for length in seconds]


def model(watts: float) -> Part:
    """Give an accelerator."""
    return Part(f"{watts:g}", watts, "TDP", "fact", "a test")


def intensity(grams_per_kwh: float, percent: float) -> Intensity:
    """Give an intensity, sure to so many per cent."""
    return Intensity(grams_per_kwh, "country table", "a test", None, "DK", 2025, "lifecycle", percent)


def test_as_many_epochs_or_fewer_take_what_they_took() -> None:
    """Warm-up, drift and all; the range is that of another run, and of the energy's measurement at 90 %."""
    setup, done = Cost(4.0, 40.0), of(9.0, 5.0, 6.0, 7.0)
    seconds, joules, rule = ahead.again(setup, done, 2, uncertainty_percent=10.0)
    assert (seconds.value, seconds.low, seconds.high) == pytest.approx((18.0, 18.0 * 0.9, 18.0 * 1.1))
    assert joules is not None
    half = 180.0 * math.hypot(0.1, 0.1 * 1.6449 / 1.96)
    assert (joules.value, joules.low, joules.high) == pytest.approx((180.0, 180.0 - half, 180.0 + half))
    assert rule is None
    assert ahead.again(setup, done, 4, None).duration_seconds.value == pytest.approx(31.0)


def test_more_epochs_are_predicted_as_if_the_run_had_gone_on() -> None:
    """The estimator's value, and its range widened by that of another run."""
    setup, done = Cost(4.0, 40.0), of(9.0, 5.0, 6.0, 7.0, 5.5)
    predicted = predict(setup, done, 100).duration_seconds
    seconds, joules, rule = ahead.again(setup, done, 100, None)
    assert seconds.value == predicted.value
    assert rule == predict(setup, done, 100).rule
    assert seconds.value - seconds.low == pytest.approx(
        math.hypot(predicted.value - predicted.low, 0.1 * seconds.value)
    )
    assert seconds.high - seconds.value == pytest.approx(
        math.hypot(predicted.high - predicted.value, 0.1 * seconds.value)
    )
    assert joules is not None
    assert joules.value == pytest.approx(10.0 * seconds.value)


def test_energy_that_is_not_known_stays_unknown() -> None:
    """Of the epochs or of the set-up."""
    assert ahead.again(NOTHING, of(1.0, 1.0, watts=None), 9, None).energy_joules is None
    assert ahead.again(Cost(1.0, None), of(1.0, 1.0), 9, None).energy_joules is None
    assert ahead.repeated(Cost(1.0, None), None).energy_joules is None
    assert ahead.co2e(None, 1.0, intensity(100.0, 10.0)) is None
    assert ahead.co2e(Interval(1.0, 1.0, 1.0), 1.0, None) is None


def test_a_run_as_a_whole() -> None:
    """It takes what it took, more or less."""
    seconds, joules, rule = ahead.repeated(Cost(100.0, 1000.0), 50.0)
    assert seconds == pytest.approx((100.0, 90.0, 110.0))
    assert rule is None
    assert joules is not None
    assert joules.high - 1000.0 == pytest.approx(1000.0 * math.hypot(0.1, 0.5 * 1.6449 / 1.96))


def test_hardware_with_a_host_of_which_nothing_is_known() -> None:
    """75 % of the accelerators' power, and a quarter of that for the host; the ranges add in quadrature."""
    seconds, joules, rule = ahead.from_hardware(3600.0, [Parts(4, (model(400.0),))], [])
    assert (seconds, rule) == ((3600.0, 3600.0, 3600.0), None)
    assert joules is not None
    watts = Interval(*(value / 3600.0 for value in joules))
    assert watts.value == pytest.approx(1200.0 * 1.25)
    assert watts.value - watts.low == pytest.approx(math.hypot(1200.0 - 640.0, 300.0 - 120.0))
    assert watts.high - watts.value == pytest.approx(math.hypot(1600.0 - 1200.0, 600.0 - 300.0))


def test_a_name_of_several_models_has_the_range_of_all() -> None:
    """From the least that the smallest draws to the most that the largest does; the value lies between them."""
    wide = ahead.from_hardware(1.0, [Parts(1, (model(250.0), model(300.0), model(400.0)))], []).energy_joules
    small = ahead.from_hardware(1.0, [Parts(1, (model(250.0),))], []).energy_joules
    large = ahead.from_hardware(1.0, [Parts(1, (model(400.0),))], []).energy_joules
    assert wide is not None
    assert small is not None
    assert large is not None
    assert wide == pytest.approx(((small.value + large.value) / 2.0, small.low, large.high))


def test_hardware_with_its_cpu_told() -> None:
    """Beside accelerators it draws less than alone; memory goes by its design power."""
    cpu = [Parts(2, (model(200.0),))]
    beside = ahead.from_hardware(1.0, [Parts(1, (model(100.0),))], cpu).energy_joules
    assert beside is not None
    assert beside.value == pytest.approx(75.0 + 0.5 * 400.0 + 0.25 * 400.0)
    alone = ahead.from_hardware(1.0, [], cpu).energy_joules
    assert alone is not None
    assert alone.value == pytest.approx(0.85 * 400.0 + 0.25 * 400.0)
    assert alone.value - alone.low == pytest.approx(math.hypot(0.25 * 400.0, 0.15 * 400.0))
    assert alone.high - alone.value == pytest.approx(math.hypot(0.17 * 400.0, 0.35 * 400.0))


def test_grams() -> None:
    """1 kWh at PUE 1.5 and 200 g/kWh; the intensity's 95 % become 90 %, and nothing falls below 0."""
    kwh = Interval(3.6e6, 3.6e6 * 0.7, 3.6e6 * 1.4)
    grams = ahead.co2e(kwh, 1.5, intensity(200.0, 50.0))
    assert grams is not None
    doubt = 0.5 * 1.6449 / 1.96
    assert grams.value == pytest.approx(300.0)
    assert grams.low == pytest.approx(300.0 * (1.0 - math.hypot(0.3, doubt)))
    assert grams.high == pytest.approx(300.0 * (1.0 + math.hypot(0.4, doubt)))
    unsure = ahead.co2e(Interval(3.6e6, 0.0, 1e9), 1.0, intensity(200.0, 100.0))
    assert unsure is not None
    assert unsure.low == 0.0
