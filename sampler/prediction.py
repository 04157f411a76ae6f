"""Predict what the whole job will cost from the epochs that are done. Pure: no clock, no files.

    total = setup + done + r x m        r = epochs that remain, m = what one of them is expected to cost

m is epoch 1 while there is no other; then the first epoch counts as warm-up and m is the median of the others; from
the fifth epoch on it is the mean of those within three median absolute deviations of the median.

The interval is a 95 % prediction interval for the sum of r epochs when m is a mean of n:

    +- t s sqrt(r + r^2 / n)            t: Student's, n + 2 degrees of freedom

s blends the spread seen with a prior of 10 % that weighs as much as three epochs, so that one epoch has an interval
too. That alone takes the epochs for independent. So s grows with the correlation of neighbours, by the factor of an
AR(1) process, and where the epochs clearly drift, the drift carried on to the end is added to the half-width.

What it cannot see: early stopping (the prediction is then an upper bound), and work done only every few epochs before
the first time that it comes.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_PRIOR_SPREAD = 0.1  # relative standard deviation of epochs that nothing is known about
_PRIOR_WEIGHT = 3  # in epochs
_MEAN_FROM_EPOCH = 5
_OUTLIER_DEVIATIONS = 3  # median absolute deviations
_CORRELATION_FROM = 4  # used epochs; with fewer the estimate is noise
_MOST_CORRELATION = 0.9


class Cost(NamedTuple):
    """What a stretch of the job took: seconds, and joules where they are known."""

    duration_seconds: float
    energy_joules: float | None


class Interval(NamedTuple):
    """A value with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


class Prediction(NamedTuple):
    """What the whole job will have cost, told after `after_epoch` of `epochs`; energy None where it is not known."""

    after_epoch: int
    epochs: int
    duration_seconds: Interval
    energy_joules: Interval | None


def predict(setup: Cost, done: Sequence[Cost], total: int) -> Prediction:
    """Predict the whole job: `setup` came before the first epoch, `done` are the finished epochs, `total` the plan.

    Raises ValueError where no epoch is done yet.
    """
    if not done:
        raise ValueError("a prediction needs one finished epoch")
    joules = [epoch.energy_joules for epoch in done if epoch.energy_joules is not None]
    energy = None
    if setup.energy_joules is not None and len(joules) == len(done):
        energy = extrapolate(setup.energy_joules, joules, total)
    duration = extrapolate(setup.duration_seconds, [epoch.duration_seconds for epoch in done], total)
    return Prediction(len(done), total, duration, energy)


def extrapolate(setup: float, done: Sequence[float], total: int) -> Interval:
    """Give setup + done + remaining epochs, in the unit of the arguments; never less than what is already spent."""
    spent = setup + math.fsum(done)
    remaining = max(0, total - len(done))
    if remaining == 0:
        return Interval(spent, spent, spent)
    typical, used = _typical(done)
    n = len(used)
    warm = done[1:] or done  # an outlier is left out of the mean, but it may come again: it counts in the spread
    spread = math.sqrt(
        (_PRIOR_WEIGHT * (_PRIOR_SPREAD * typical) ** 2 + math.fsum((x - typical) ** 2 for x in warm))
        / (len(warm) + _PRIOR_WEIGHT - 1)
    )
    quantile = student_t_quantile(len(warm) + _PRIOR_WEIGHT - 1)
    independent = spread * math.sqrt(remaining + remaining**2 / n)
    half_width = quantile * independent * _correlation_factor(used) + _drift(used, remaining)
    value = spent + remaining * typical
    return Interval(value, max(spent, value - half_width), value + half_width)


def _typical(done: Sequence[float]) -> tuple[float, list[float]]:
    """Give what one more epoch is expected to cost, and the epochs that say so, in their order."""
    if len(done) == 1:
        return done[0], [done[0]]
    warm = list(done[1:])
    middle = _median(warm)
    if len(done) < _MEAN_FROM_EPOCH:
        return middle, warm
    deviation = _median([abs(x - middle) for x in warm])
    used = [x for x in warm if abs(x - middle) <= _OUTLIER_DEVIATIONS * deviation]
    return math.fsum(used) / len(used), used


def _correlation_factor(used: Sequence[float]) -> float:
    """Give the factor by which neighbours that resemble each other widen the interval: sqrt((1 + rho) / (1 - rho))."""
    mean = math.fsum(used) / len(used)
    squares = math.fsum((x - mean) ** 2 for x in used)
    if len(used) < _CORRELATION_FROM or squares == 0:
        return 1.0
    products = math.fsum((a - mean) * (b - mean) for a, b in pairwise(used))
    # The estimate is low by about (1 + 4 rho) / n in short series (Kendall 1954): put back what it lacks.
    found = products / squares
    rho = min(_MOST_CORRELATION, max(0.0, found + (1 + 4 * found) / len(used)))
    return math.sqrt((1 + rho) / (1 - rho))


def _drift(used: Sequence[float], remaining: int) -> float:
    """Give what a trend in the used epochs adds up to over the remaining ones; 0 where it may well be noise."""
    n = len(used)
    if n < _CORRELATION_FROM:
        return 0.0
    centre = (n - 1) / 2
    mean = math.fsum(used) / n
    across = math.fsum((i - centre) ** 2 for i in range(n))
    slope = math.fsum((i - centre) * x for i, x in enumerate(used)) / across
    residual = math.fsum((x - mean - slope * (i - centre)) ** 2 for i, x in enumerate(used)) / (n - 2)
    if abs(slope) <= student_t_quantile(n - 2) * math.sqrt(residual / across):
        return 0.0
    # The middle of the remaining epochs lies (n + r) / 2 epochs behind the middle of the used ones.
    return abs(slope) * remaining * (n + remaining) / 2


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


_NORMAL_975 = 1.959963984540054
_SMALL_STUDENT_975 = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469}


def student_t_quantile(degrees_of_freedom: int) -> float:
    """Give the 97.5 % quantile of Student's t: from the usual table up to 6, then by expansion, right to 0.001.

    The expansion in powers of 1 / degrees of freedom is Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.5.
    """
    if degrees_of_freedom in _SMALL_STUDENT_975:
        return _SMALL_STUDENT_975[degrees_of_freedom]
    z = _NORMAL_975
    nu = degrees_of_freedom
    return (
        z
        + (z**3 + z) / (4 * nu)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
    )
