"""Predicting the whole job from its first epochs."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.sampler.prediction import Cost, extrapolate, predict, student_t_quantile

COSTS = st.floats(1e-3, 1e6)


@given(COSTS, COSTS, st.integers(1, 30), st.integers(0, 500))
def test_constant_epochs_are_exact(setup: float, each: float, done: int, remaining: int) -> None:
    """Where every epoch costs the same, the prediction is exact."""
    found = extrapolate(setup, [each] * done, done + remaining)
    assert found.value == pytest.approx(setup + each * (done + remaining))
    assert found.low <= found.value <= found.high


@given(COSTS, st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.integers(0, 500))
def test_never_less_than_is_spent(setup: float, done: list[float], total: int) -> None:
    """Whatever the epochs were, the interval holds the value and nothing below what is spent."""
    found = extrapolate(setup, done, total)
    spent = setup + math.fsum(done)
    assert 0 <= spent <= found.low <= found.value <= found.high
    assert all(math.isfinite(x) for x in (found.low, found.value, found.high))


@given(COSTS, st.lists(COSTS, min_size=1, max_size=30))
def test_last_epoch_done(setup: float, done: list[float]) -> None:
    """When all epochs are done, the prediction is their sum and certain."""
    found = extrapolate(setup, done, len(done))
    assert found.low == found.value == found.high == setup + math.fsum(done)


def test_first_epoch() -> None:
    """After one epoch the interval is the prior's: 10 % with three degrees of freedom."""
    found = extrapolate(5, [10], 10)
    assert found.value == 105
    assert found.high - found.value == pytest.approx(3.1824 * 1.0 * math.sqrt(9 + 81))


def test_warm_up_is_left_out() -> None:
    """The first epoch counts no more once there is another; then the median, then the trimmed mean."""
    assert extrapolate(0, [30, 10], 10).value == 30 + 10 + 8 * 10
    assert extrapolate(0, [30, 10, 11, 20], 10).value == 71 + 6 * 11
    assert extrapolate(0, [30, 9, 10, 11, 50], 10).value == pytest.approx(110 + 5 * 10)


def test_energy_unknown() -> None:
    """One epoch without energy: the duration is predicted, the energy is not known."""
    found = predict(Cost(1, 5), [Cost(10, 100), Cost(10, None)], 10)
    assert found.energy_joules is None
    assert found.duration_seconds.value == 101
    assert (found.after_epoch, found.epochs) == (2, 10)
    known = predict(Cost(1, 5), [Cost(10, 100), Cost(10, 100)], 10)
    assert known.energy_joules is not None
    assert known.energy_joules.value == 1005


def test_no_epoch_yet() -> None:
    """Without a finished epoch there is nothing to predict from."""
    with pytest.raises(ValueError, match="one finished epoch"):
        predict(Cost(1, 5), [], 10)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (3, 3.1824), (7, 2.3646), (10, 2.2281), (30, 2.0423), (1000, 1.9623)]
)
def test_student_quantiles(degrees: int, expected: float) -> None:
    """The quantiles are those of the printed tables."""
    assert student_t_quantile(degrees) == pytest.approx(expected, abs=0.001)


def coverage(epochs: list[list[float]], known: int) -> float:
    """Give the share of jobs whose true total lies in the interval predicted after `known` epochs."""
    hits = 0
    for costs in epochs:
        found = extrapolate(0, costs[:known], len(costs))
        hits += found.low <= math.fsum(costs) <= found.high
    return hits / len(epochs)


@pytest.mark.parametrize("known", [1, 2, 4, 6, 10])
def test_interval_covers_independent_noise(known: int) -> None:
    """Epochs that vary by 5 % at random lie in the 95 % interval."""
    chance = random.Random(1)  # noqa: S311  noise, no secret
    jobs = [[10 * (1 + 0.05 * chance.gauss(0, 1)) for _ in range(50)] for _ in range(300)]
    assert coverage(jobs, known) >= 0.93


def test_interval_covers_contention_and_drift() -> None:
    """Slow contention (AR(1), 0.9) and epochs that grow by half a per cent each widen the interval."""
    chance = random.Random(2)  # noqa: S311  noise, no secret
    contended, drifting = [], []
    for _ in range(300):
        state, slow = 0.0, []
        for _ in range(50):
            state = 0.9 * state + 0.05 * math.sqrt(1 - 0.81) * chance.gauss(0, 1)
            slow.append(10 * (1 + state))
        contended.append(slow)
        drifting.append([10 * (1 + 0.005 * i) * (1 + 0.01 * chance.gauss(0, 1)) for i in range(50)])
    assert coverage(contended, 10) >= 0.85
    assert coverage(drifting, 15) >= 0.85
