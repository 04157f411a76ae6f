"""Predict what the whole job will cost from the epochs that are done. Pure: no clock, no files.

    total = setup + done + what the remaining epochs cost

Four things are looked for in the epochs that are done, in this order:

- Warm-up: the first epochs, while each stands out above the ones behind it. They are left out of all that follows.
- A period: every so many-th epoch costs more (validation, a checkpoint). It is seen once it came twice; its surplus is
  then taken out and put back where it comes again.
- The level: the mean of what is left. An epoch above three times the median counts as three medians.
- Drift: a straight line, believed as far as the noise about it allows, weighed against the belief that there is none.

The interval is a 90 % prediction interval for the sum of the r remaining epochs, when the level comes from n:

    t level sqrt(s^2 f (1 / n + 1 / r) r^2 + drift)

s is the relative spread about the line, blended with a prior, so that one epoch has an interval too; f widens it where
neighbours resemble each other (AR(1)); `drift` is what is not known about the slope. Jobs become slower more often than
faster, so it reaches further up; after the first epoch alone it reaches down to what is left if that was warm-up. How
often it covers the actual value: docs/prediction.md.

What it cannot see: early stopping (the prediction is then an upper bound), work that comes for the first time later,
and a warm-up that lasts for longer than has been seen.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# All were set on the tuning half of benchmarks/prediction, to round figures: none of them is sharp.
_RECENT = 200  # epochs that are looked at: a job that has changed is what it is now, and a prediction stays cheap

_MOST_WARM_UP = 5  # epochs; what decays for longer is drift
_WARM_UP_SHARE = 0.12  # of the later epochs' median, by which a warm-up epoch lies above it at least
_OUTLIER_SPREADS = 3  # robust standard deviations
_MEDIAN_DEVIATIONS = 1.4826  # median absolute deviations in a standard deviation, for normal noise

_MOST_PERIOD = 25  # epochs; what is rarer costs little in all
_LEAST_SURPLUS = 0.08  # of a periodic epoch, as a logarithm
_SURPLUS_T = 5.0  # hundreds of periods and phases are tried: by chance the best has a t of 3 to 4
_FEW_EPOCHS_T = 6.0  # with at most eight epochs
_PERIOD_SPREAD, _PERIOD_WEIGHT = 0.03, 3  # prior of the noise, so that two equal epochs prove nothing

_FREAK = 3.0  # medians: a stopped job or a hung file system is no measure of the next epoch

_PRIOR_SPREAD = 0.08  # relative standard deviation of epochs that nothing is known about
_PRIOR_WEIGHT = 3  # in epochs
_PRIOR_CORRELATION = 0.3  # with as much weight
_MOST_CORRELATION = 0.95
_DRIFT_CHANCE = 0.15  # that a job drifts
_DRIFT_DOUBT = 0.3  # the least chance that the interval allows for: slow drift hides in the noise for long
_DRIFT_SIZE = 0.6  # standard deviation of what it drifts by from first to last epoch, as a share of its level
_MOST_FALL, _MOST_RISE = -0.9, 1.5  # of the whole drift that is carried on: no epoch becomes free
_DRIFT_TOLD = 0.02  # of what remains, by which drift must change it to be spoken of
_FIRST_MAY_BE = 5  # times as costly as the later ones: nobody has seen yet how much of the first epoch is warm-up
_UPWARD = 1.25  # times as far up as down


class Cost(NamedTuple):
    """What a stretch of the job took: seconds, and joules where they are known."""

    duration_seconds: float
    energy_joules: float | None


class Interval(NamedTuple):
    """A value with the bounds of its 90 % interval."""

    value: float
    low: float
    high: float


class Prediction(NamedTuple):
    """What the whole job will have cost, told after `after_epoch` of `epochs`; energy None where it is not known.

    `rule` says in words what the duration was told from: "the first epoch alone", "without the first epoch".
    """

    after_epoch: int
    epochs: int
    duration_seconds: Interval
    energy_joules: Interval | None
    rule: str


class _Period(NamedTuple):
    """Epoch i costs `factor` times as much where i % every == at; i counts from 0."""

    every: int
    at: int
    factor: float

    def of(self, index: int) -> float:
        return self.factor if index % self.every == self.at else 1.0


class _Trend(NamedTuple):
    """Where epochs go: their level in the middle of those that say so, and all else as shares of it.

    `drift` is from the first to the last epoch of the job, `drift_variance` what is not known of it; `variance` is that
    of one epoch about the line, neighbours that resemble each other counted in.
    """

    level: float
    drift: float
    drift_variance: float
    variance: float


def predict(setup: Cost, done: Sequence[Cost], total: int) -> Prediction:
    """Predict the whole job: `setup` came before the first epoch, `done` are the finished epochs, `total` the plan.

    Raises ValueError where no epoch is done yet.
    """
    if not done:
        raise ValueError("a prediction needs one finished epoch")
    joules = [epoch.energy_joules for epoch in done if epoch.energy_joules is not None]
    energy = None
    if setup.energy_joules is not None and len(joules) == len(done):
        energy, _ = extrapolate(setup.energy_joules, joules, total)
    duration, rule = extrapolate(setup.duration_seconds, [epoch.duration_seconds for epoch in done], total)
    return Prediction(len(done), total, duration, energy, rule)


def extrapolate(setup: float, done: Sequence[float], total: int) -> tuple[Interval, str]:
    """Give setup + done + remaining epochs, in the unit of the arguments, and by what rule.

    It is never less than what is already spent.
    """
    spent = setup + math.fsum(done)
    remaining = total - len(done)
    if remaining <= 0:
        return Interval(spent, spent, spent), "all epochs done"
    before = max(0, len(done) - _RECENT)
    recent = done[before:]
    warm_up = 0 if before else _warm_up(recent)
    period = _period(recent, warm_up) or (_period(recent, 0) if warm_up else None)
    if period is not None:
        recent = [cost / period.of(at) for at, cost in enumerate(recent)]
        warm_up = 0 if before else _warm_up(recent)
    used = recent[warm_up:]
    trend = _trend(used, total)
    ahead = (len(used) + remaining) / 2 / total  # from the middle of the used epochs to that of the remaining ones
    periodic = math.fsum(period.of(at) for at in range(len(recent), len(recent) + remaining)) if period else remaining
    value = periodic * trend.level * (1 + trend.drift * ahead)
    variance = trend.variance * (1 / len(used) + 1 / remaining) + trend.drift_variance * ahead**2
    half_width = periodic * trend.level * student_t_quantile(len(used) + _PRIOR_WEIGHT - 1) * math.sqrt(variance)
    least = max(0.0, value - half_width)
    if len(done) == 1:
        least = min(least, value / _FIRST_MAY_BE)
    interval = Interval(spent + value, spent + least, spent + value + _UPWARD * half_width)
    return interval, _rule(len(done), warm_up, period, drifts=abs(trend.drift * ahead) > _DRIFT_TOLD)


def _warm_up(done: Sequence[float]) -> int:
    """Give how many epochs at the beginning cost clearly more than those behind them; one is left at least."""
    for count in range(min(_MOST_WARM_UP, len(done) - 1)):
        later = done[count + 1 :]
        middle = _median(later)
        if done[count] <= middle + max(_WARM_UP_SHARE * middle, _OUTLIER_SPREADS * _deviation(later, middle)):
            return count
    return min(_MOST_WARM_UP, len(done) - 1)


def _period(done: Sequence[float], start: int) -> _Period | None:
    """Find the period that tells the epochs from `start` on best apart; None where it may well be noise."""
    # An epoch that cost nothing has no logarithm, and next to nothing is nothing.
    least = max(_median(done) / 100, math.fsum(done) / len(done) / 1e6)
    if least == 0:
        return None
    logs = [math.log(max(cost, least)) for cost in done[start:]]
    n = len(logs)
    total, squares = math.fsum(logs), math.fsum(x * x for x in logs)
    found: tuple[float, int, int, float] | None = None
    for every in range(2, min(n // 2, _MOST_PERIOD) + 1):
        for at in range(every):
            on = logs[at::every]
            count = len(on)
            if count < 2:
                break
            on_total = math.fsum(on)
            off_total = total - on_total
            surplus = on_total / count - off_total / (n - count)
            if surplus < _LEAST_SURPLUS:
                continue
            about = max(0.0, squares - on_total**2 / count - off_total**2 / (n - count))
            variance = (about + _PERIOD_WEIGHT * _PERIOD_SPREAD**2) / (n - 2 + _PERIOD_WEIGHT)
            t = surplus / math.sqrt(variance * (1 / count + 1 / (n - count)))
            if found is None or t > found[0]:
                found = t, every, at, surplus
    if found is None:
        return None
    t, every, at, surplus = found
    off = _median([x for index, x in enumerate(logs) if index % every != at])
    if t < (_SURPLUS_T if n > 8 else _FEW_EPOCHS_T) or min(logs[at::every]) < off + surplus / 2:
        return None
    return _Period(every, (at + start) % every, math.exp(surplus))


def _trend(used: Sequence[float], total: int) -> _Trend:
    """Give level and drift of the used epochs of a job with `total` epochs."""
    n = len(used)
    middle = _median(used)
    counted = [min(cost, _FREAK * middle) for cost in used] if middle else used
    level = math.fsum(counted) / n
    if level == 0:
        return _Trend(0.0, 0.0, 0.0, 0.0)
    centre = (n - 1) / 2
    across = math.fsum((at - centre) ** 2 for at in range(n))
    slope = 0.0
    if n > 2:
        # One costly epoch at either end must not tilt the line.
        margin = _OUTLIER_SPREADS * max(_deviation(used, middle), 0.02 * middle)
        held = [min(max(cost, middle - margin), middle + margin) for cost in used]
        slope = math.fsum((at - centre) * cost for at, cost in enumerate(held)) / across / level
    about = [cost / level - 1 - slope * (at - centre) for at, cost in enumerate(counted)]
    squares = math.fsum(x * x for x in about)
    spread_squared = (_PRIOR_WEIGHT * _PRIOR_SPREAD**2 + squares) / (_PRIOR_WEIGHT + n - (2 if n > 2 else 1))
    variance = spread_squared * _correlation_factor(about, squares)
    if n <= 2:
        return _Trend(level, 0.0, _DRIFT_DOUBT * _DRIFT_SIZE**2, variance)
    return _Trend(level, *_drift(slope * total, variance / across * total**2), variance)


def _correlation_factor(about: Sequence[float], squares: float) -> float:
    """Give by how much neighbours that resemble each other raise the variance of a mean: (1 + rho) / (1 - rho)."""
    n = len(about)
    rounding = n * 1e-18  # shares of the level: what is left of equal epochs says nothing
    found = math.fsum(a * b for a, b in pairwise(about)) / squares if squares > rounding else -1 / n
    # In short series the estimate is low by about 1 / n (Kendall 1954), which is put back.
    rho = (_PRIOR_WEIGHT * _PRIOR_CORRELATION + n * found + 1) / (_PRIOR_WEIGHT + n)
    rho = min(_MOST_CORRELATION, max(0.0, rho))
    return (1 + rho) / (1 - rho)


def _drift(seen: float, variance: float) -> tuple[float, float]:
    """Give the drift to reckon with and its variance, for one that was seen with a variance.

    Two beliefs are weighed by Bayes's rule: that there is none, and that it is normal about none with _DRIFT_SIZE.
    """
    prior = _DRIFT_SIZE**2
    exponent = seen**2 / variance * prior / (prior + variance) / 2
    odds = (1 - _DRIFT_CHANCE) / _DRIFT_CHANCE * math.sqrt(1 + prior / variance) * math.exp(-min(exponent, 700.0))
    chance = 1 / (1 + odds)
    drift = min(max(seen * prior / (prior + variance), _MOST_FALL), _MOST_RISE)
    doubt = max(chance, _DRIFT_DOUBT)
    return chance * drift, doubt * (prior * variance / (prior + variance) + (1 - doubt) * drift**2)


def _rule(done: int, warm_up: int, period: _Period | None, *, drifts: bool) -> str:
    if done == 1:
        return "the first epoch alone"
    words = ["all epochs so far"]
    if warm_up:
        words = ["without the first epoch" if warm_up == 1 else f"without the first {warm_up} epochs"]
    if period is not None:
        words.append(f"with every {_ordinal(period.every)} epoch apart")
    if drifts:
        words.append("with drift")
    return ", ".join(words)


def _ordinal(number: int) -> str:
    return f"{number}{'th' if number % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _deviation(values: Sequence[float], middle: float) -> float:
    """Give the standard deviation about `middle` that the middle half of the values tells of."""
    return _MEDIAN_DEVIATIONS * _median([abs(value - middle) for value in values])


_NORMAL_95 = 1.6448536269514722
_SMALL_STUDENT_95 = {1: 6.3138, 2: 2.9200, 3: 2.3534, 4: 2.1318, 5: 2.0150, 6: 1.9432}


def student_t_quantile(degrees_of_freedom: int) -> float:
    """Give the 95 % quantile of Student's t: from the usual table up to 6, then by expansion, right to 0.001.

    The expansion in powers of 1 / degrees of freedom is Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.5.
    """
    if degrees_of_freedom in _SMALL_STUDENT_95:
        return _SMALL_STUDENT_95[degrees_of_freedom]
    z = _NORMAL_95
    nu = degrees_of_freedom
    return (
        z
        + (z**3 + z) / (4 * nu)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
    )
