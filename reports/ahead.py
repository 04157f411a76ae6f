"""What a job will cost, told before it runs: from a run like it, or from what its hardware may draw. Pure.

All intervals here are to hold the actual value in 90 % of the cases. A record's uncertainties are half-widths of 95 %
intervals; they are narrowed to 90 % as those of a normal error. What has nothing to do with each other adds in
quadrature, on either side of the value for itself.

The constants say what is assumed of a job that nobody has measured. Where no finding stands beside one it is our
judgement, and each is told to the user with the result.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from greenrun.reports.carbon import JOULES_PER_KWH
from greenrun.sampler.prediction import Cost, Interval, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from greenrun.intensity.model import Intensity, Passed, Place
    from greenrun.sampler.accelerators import Part, Parts

COVERAGE_PERCENT = 90
_FROM_95_TO_90 = 1.6449 / 1.9600  # the quantiles of a normal error

ANOTHER_RUN_PERCENT = 10.0
"""How far a second run of one job on one machine may lie from the first: temperature, clock, neighbours, the page
cache. Our judgement."""

AVERAGE_PUE = 1.54
AVERAGE_PUE_SOURCE = "Uptime Institute survey 2025"
"""The weighted average of data centres, as reported of the Global Data Center Survey 2025."""


PueFrom = Literal["told", "assumed", "run"]
"""run: it was told to the run that the new one is like."""


class Share(NamedTuple):
    """A part of something, between the ends of a 90 % interval."""

    usual: float
    least: float
    most: float


DRAWN = Share(0.75, 0.40, 1.0)
"""What a job draws of its accelerators' design power, in the mean. Eight-GPU H100 nodes that train draw 76 % of their
rating at most (Newkirk et al. 2025, arXiv:2506.14551); a job that waits for its data draws much less (ResNet takes four
times the energy with small batches on such a node, Latif et al. 2024, arXiv:2412.08602)."""

HOST = Share(0.25, 0.10, 0.50)
"""What CPU and memory draw beside accelerators, as a share of these. Clouds give a GPU 8 to 26 threads at 1 to 4 W
(data/README.md of the sampler) and 30 to 240 GB at 0.37 W: 20 to 190 W beside a draw of 50 to 525 W."""

CPU_BESIDE = Share(0.50, 0.30, 0.80)
"""What a CPU draws of its design power while it feeds accelerators: 0.32 at 10 % load, 0.75 at 50 % (the estimate's
curve)."""

CPU_ALONE = Share(0.85, 0.60, 1.02)
"""The same where the CPU itself does the work: 0.75 at 50 % load, 1.02 at full load."""

MEMORY = Share(0.25, 0.10, 0.60)
"""What memory draws, as a share of the CPU's design power: 16 GB beside a small CPU, 512 GB beside a large one."""


class Costs(NamedTuple):
    """Time and energy of a job; energy is what its machine draws, before PUE. None where it is not known.

    `rule` says what epochs that have never run were told from; None where there are none.
    """

    duration_seconds: Interval
    energy_joules: Interval | None
    rule: str | None = None


class Assumed(NamedTuple):
    """One thing that was assumed, as a phrase; `about` names it in a word, for programs."""

    about: str
    phrase: str


class Grid(NamedTuple):
    """The intensity that the job is charged with, None if unknown; what was passed over for it; where it will run."""

    intensity: Intensity | None
    passed: Sequence[Passed]
    place: Place


class Ahead(NamedTuple):
    """The whole answer. `headline` tells what was asked for and from what it was told."""

    told_from: Literal["run", "hardware", "carbontracker"]
    headline: str
    epochs: int | None
    costs: Costs
    co2e_grams: Interval | None
    pue: float
    pue_source: PueFrom
    grid: Grid
    assumed: Sequence[Assumed]


def widen(interval: Interval, *percents: float) -> Interval:
    """Add errors of so many per cent of the value (half-widths at 90 %), of which none knows of another."""
    value = interval.value
    own = [value * percent / 100.0 for percent in percents]
    low, high = math.hypot(value - interval.low, *own), math.hypot(interval.high - value, *own)
    return Interval(value, max(0.0, value - low), value + high)


def at_90(percent_at_95: float | None) -> float:
    """Give the half-width of a 90 % interval for that of a 95 % one; where none is known, nothing."""
    return _FROM_95_TO_90 * (percent_at_95 or 0.0)


def again(setup: Cost, done: Sequence[Cost], epochs: int, uncertainty_percent: float | None) -> Costs:
    """Predict a second run of a job, with `epochs` epochs, from one with the epochs `done`, of which there is one.

    As far as the first run came the second takes the same; from there on it is as if the first had gone on.
    `uncertainty_percent` is that of the first run's energy, at 95 %.
    """
    predicted = predict(setup, done[:epochs], epochs)
    energy = predicted.energy_joules
    return Costs(
        widen(predicted.duration_seconds, ANOTHER_RUN_PERCENT),
        energy and widen(energy, ANOTHER_RUN_PERCENT, at_90(uncertainty_percent)),
        predicted.rule if epochs > len(done) else None,
    )


def repeated(whole: Cost, uncertainty_percent: float | None) -> Costs:
    """Predict a second run of a job without epochs: it takes what the first took."""
    joules = whole.energy_joules
    return Costs(
        widen(_exactly(whole.duration_seconds), ANOTHER_RUN_PERCENT),
        None if joules is None else widen(_exactly(joules), ANOTHER_RUN_PERCENT, at_90(uncertainty_percent)),
    )


def from_hardware(seconds: float, accelerators: Sequence[Parts], processors: Sequence[Parts]) -> Costs:
    """Estimate a job of so many seconds on hardware of which only the design power is known.

    Where a name means several models the range reaches over all of them, and the value lies half-way.
    """
    low, high = (_watts(accelerators, processors, choose) for choose in (min, max))
    watts = Interval((low.value + high.value) / 2.0, low.low, high.high)
    return Costs(_exactly(seconds), _scaled(watts, seconds))


def co2e(energy_joules: Interval | None, pue: float, intensity: Intensity | None) -> Interval | None:
    """Give the grams of CO2e, None where energy or intensity is unknown."""
    if energy_joules is None or intensity is None:
        return None
    grams = _scaled(energy_joules, pue * intensity.grams_per_kwh / JOULES_PER_KWH)
    return widen(grams, at_90(intensity.uncertainty_percent))


def watts_range(models: Sequence[Part]) -> tuple[float, float]:
    """Give the lowest and the highest power of the models that a name may mean."""
    return min(model.watts for model in models), max(model.watts for model in models)


def _watts(
    accelerators: Sequence[Parts], processors: Sequence[Parts], choose: Callable[[Iterable[float]], float]
) -> Interval:
    """Give what the hardware draws, with that of the models that may be meant whose power is chosen."""
    gpu_watts, cpu_watts = (
        math.fsum(parts.number * choose(model.watts for model in parts.models) for parts in several)
        for several in (accelerators, processors)
    )
    if not processors:
        return _sum([_share(gpu_watts, DRAWN), _share(gpu_watts * DRAWN.usual, HOST)])
    cpu = CPU_BESIDE if accelerators else CPU_ALONE
    return _sum([_share(gpu_watts, DRAWN), _share(cpu_watts, cpu), _share(cpu_watts, MEMORY)])


def _share(watts: float, share: Share) -> Interval:
    return Interval(watts * share.usual, watts * share.least, watts * share.most)


def _sum(terms: Sequence[Interval]) -> Interval:
    value = math.fsum(term.value for term in terms)
    low = math.hypot(*(term.value - term.low for term in terms))
    high = math.hypot(*(term.high - term.value for term in terms))
    return Interval(value, max(0.0, value - low), value + high)


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(interval.value * factor, interval.low * factor, interval.high * factor)


def _exactly(value: float) -> Interval:
    return Interval(value, value, value)
