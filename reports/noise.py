"""A change told apart from noise: the ratio of two means of repeated runs, with its interval.

Runs of one program differ by a factor rather than by an amount, so it is the logarithms that are compared: Welch's t
interval of their means' difference, by Welch (Biometrika 34, 1947), with the degrees of freedom of Welch and
Satterthwaite rounded down. Where only one side has repeats, their scatter is taken for the other side's, too.
"""

from __future__ import annotations

import math
from statistics import fmean, variance
from typing import TYPE_CHECKING, NamedTuple

from greenrun.sampler.prediction import student_t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence


class Change(NamedTuple):
    """By how many per cent the new runs differ from the old, with the ends of its 90 % interval.

    These are None where nothing tells the noise: one run on each side. Of changes that are nothing but noise, one in
    twenty has its whole interval above 0.
    """

    percent: float
    low_percent: float | None
    high_percent: float | None


def change(old: Sequence[float], new: Sequence[float]) -> Change:
    """Give the change from the mean of the old amounts to that of the new. ValueError for one that is not above 0."""
    if not old or not new or min(*old, *new, math.inf) <= 0.0:
        raise ValueError("a ratio wants amounts above 0")
    before, after = [math.log(value) for value in old], [math.log(value) for value in new]
    difference = fmean(after) - fmean(before)
    half_width = _half_width(before, after)
    if half_width is None:
        return Change(_percent(difference), None, None)
    return Change(_percent(difference), _percent(difference - half_width), _percent(difference + half_width))


def _half_width(before: Sequence[float], after: Sequence[float]) -> float | None:
    repeated = [values for values in (before, after) if len(values) > 1]
    if not repeated:
        return None
    if len(repeated) == 1:
        (scattered,) = repeated
        error = math.sqrt(variance(scattered) * (1.0 / len(before) + 1.0 / len(after)))
        return student_t_quantile(len(scattered) - 1) * error
    terms = [variance(values) / len(values) for values in repeated]
    if not any(terms):
        return 0.0
    freedom = sum(terms) ** 2 / sum(term**2 / (len(values) - 1) for term, values in zip(terms, repeated, strict=True))
    return student_t_quantile(max(1, math.floor(freedom + 1e-9))) * math.sqrt(sum(terms))


def _percent(difference: float) -> float:
    return 100.0 * math.expm1(difference)
