"""How sure a service's figure is for the use that is made of it: half-widths of 95 % intervals, in per cent.

Nobody publishes such an interval for an hour of a grid, so each constant is our judgement of the finding beside it.
All are narrower than what a yearly average of the right country gets, or a service would not be worth asking.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenrun.intensity.model import Basis

MEASURED_LIFECYCLE_PERCENT = 15.0
"""An hour's metered generation times life-cycle factors. What a plant of one kind emits over its life varies: coal 740
to 910 around 820 g/kWh, gas 410 to 650 around 490 (IPCC AR5 WG III, Annex III, table A.III.2), that is -10 to +33 %;
part of it evens out over many plants."""

MEASURED_DIRECT_PERCENT = 10.0
"""The same with what leaves the chimney: fuel and efficiency are known better than supply chains (the lower halves of
the ranges above)."""

ESTIMATED_PERCENT = 25.0
"""An hour that the service itself marks as estimated: a model stands in for meters that have not reported yet. Between
a measured hour and a forecast."""

FORECAST_PERCENT = 30.0
"""An hour to come. NESO's national forecast was off by 7.1 % in the mean over 2017 to 2023 (nickmp.com, a study of the
public data); a normal error of that mean is within 2.5 times as much, 17 %, in 95 % of the hours, and 23 % with the
uncertainty of the measured value it is compared with. Grids with more wind or smaller ones are harder."""

UNSTATED_BASIS_PERCENT = 20.0
"""Added in quadrature where a service does not say which basis its figures have, and we infer it. As much as the two
differ in a grid of mostly fossil plants; in a clean one they differ by more, and the inference is surer."""

_DRIFT_PERCENT = 10.0
"""How far a grid moves in an hour; from there on a random walk. Solar and evening peaks move some grids faster."""

MOST_HELD_PERCENT = 45.0
"""A value that is held on gets no worse than this: day follows day, and a yearly average has 50 %."""


def measured(basis: Basis) -> float:
    """Give the uncertainty of an hour that was metered."""
    return MEASURED_DIRECT_PERCENT if basis == "direct" else MEASURED_LIFECYCLE_PERCENT


def unstated(percent: float) -> float:
    """Give the uncertainty of a figure whose basis the service does not state."""
    return math.hypot(percent, UNSTATED_BASIS_PERCENT)


def held(percent: float, age_hours: float) -> float:
    """Give the uncertainty of a value that is used `age_hours` after the time for which it was told."""
    grown = math.hypot(percent, _DRIFT_PERCENT * math.sqrt(max(age_hours, 0.0)))
    return max(percent, min(grown, MOST_HELD_PERCENT))
