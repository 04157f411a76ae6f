"""The greenest time for a job: the window of a forecast in which the mean intensity is lowest.

A forecast is a step function of any step, or of several. The mean over a window of fixed length is then piecewise
linear in the window's start, with corners only where the start or the end lies on the edge of a step; so the minimum is
found among those moments, and nothing is sampled. All is counted exactly, in fractions and whole microseconds: what is
a tie is told as one, and the earliest start wins.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greenrun.intensity.model import Intensity

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_FOREVER = 1 << 62  # microseconds: 146,000 years


class Window(NamedTuple):
    """A stretch of time for a job, and the mean intensity that is forecast for it, in grams of CO2e per kWh."""

    start_utc: datetime
    end_utc: datetime
    grams_per_kwh: float


class Plan(NamedTuple):
    """What a forecast says about when to start.

    `now_grams_per_kwh` is the mean if the job started at once, None where the forecast leaves a part of that open.
    `until_utc` is how far was looked: to the deadline, or to the forecast's end before it.
    """

    best: Window
    now_grams_per_kwh: float | None
    until_utc: datetime

    @property
    def saving(self) -> float | None:
        """Give the share of emissions that waiting saves: 1 - best / now; None where now is unknown.

        The job's energy is taken to be the same at both times, so the share of grams per kWh is the share of grams.
        """
        if self.now_grams_per_kwh is None:
            return None
        return 1.0 - self.best.grams_per_kwh / self.now_grams_per_kwh if self.now_grams_per_kwh else 0.0


def plan(spans: Sequence[Intensity], now: datetime, duration_seconds: float, deadline: datetime) -> Plan | None:
    """Give when to start and what that saves, None where no window fits; the arguments are those of `greenest`."""
    best = greenest(spans, now, duration_seconds, deadline)
    if best is None:
        return None
    at_once = mean(spans, now, now + (best.end_utc - best.start_utc))
    return Plan(best, at_once, min(deadline, end(spans) or deadline))


def greenest(spans: Iterable[Intensity], now: datetime, duration_seconds: float, deadline: datetime) -> Window | None:
    """Give the window of `duration_seconds` from `now` to `deadline` with the lowest mean, the earliest on a tie.

    None where no window fits: the forecast is too short, or a gap in it touches every one. Of spans that overlap, the
    one that begins later counts from its beginning on. Raises ValueError for a duration of nothing.
    """
    begin, length, stop = _microseconds(now), round(duration_seconds * 1e6), _microseconds(deadline)
    if length <= 0:
        raise ValueError(f"a window of {duration_seconds} s has no mean")
    best: tuple[Fraction, int] | None = None
    for run in _runs(spans, begin, stop):
        corners = {corner for edge in run.edges for corner in (edge, edge - length)}
        starts = (start for start in corners if run.covers(start, start + length))
        found = min(((run.mean(start, start + length), start) for start in starts), default=best)
        best = found if best is None or found is None else min(best, found)
    if best is None:
        return None
    return Window(_moment(best[1]), _moment(best[1] + length), float(best[0]))


def mean(spans: Iterable[Intensity], from_utc: datetime, to_utc: datetime) -> float | None:
    """Give the mean from `from_utc` to `to_utc`, None where the spans leave a part of it open.

    Raises ValueError where there is no time between the two.
    """
    begin, stop = _microseconds(from_utc), _microseconds(to_utc)
    if begin >= stop:
        raise ValueError(f"from {from_utc} to {to_utc} there is no mean")
    for run in _runs(spans, begin, stop):
        if run.covers(begin, stop):
            return float(run.mean(begin, stop))
    return None


def end(spans: Iterable[Intensity]) -> datetime | None:
    """Give where the last of the spans ends, None where one has no end or there is none."""
    ends = [span.to_utc for span in spans]
    known = [moment for moment in ends if moment is not None]
    return max(known) if known and len(known) == len(ends) else None


class _Run:
    """Steps that touch each other: their edges in microseconds, and what is summed up to each edge."""

    def __init__(self, start: int) -> None:
        self.edges = [start]
        self._sums = [Fraction(0)]
        self._levels: list[Fraction] = []

    def add(self, stop: int, grams_per_kwh: float) -> None:
        level = Fraction(grams_per_kwh)
        self._sums.append(self._sums[-1] + level * (stop - self.edges[-1]))
        self._levels.append(level)
        self.edges.append(stop)

    def covers(self, begin: int, stop: int) -> bool:
        return self.edges[0] <= begin and stop <= self.edges[-1]

    def mean(self, begin: int, stop: int) -> Fraction:
        return (self._sum_until(stop) - self._sum_until(begin)) / (stop - begin)

    def _sum_until(self, moment: int) -> Fraction:
        at = min(bisect_right(self.edges, moment) - 1, len(self._levels) - 1)
        return self._sums[at] + self._levels[at] * (moment - self.edges[at])


def _runs(spans: Iterable[Intensity], begin: int, stop: int) -> list[_Run]:
    """Give the steps from `begin` to `stop`, those that touch each other together."""
    steps = sorted(step for step in map(_step, spans) if step[0] < step[1])  # one of no length must not cut another
    runs: list[_Run] = []
    for at, (from_, to, level) in enumerate(steps):
        first = max(from_, begin)
        last = min(to, stop, *(following for following, _, _ in steps[at + 1 : at + 2]))
        if first >= last:
            continue
        if not runs or runs[-1].edges[-1] != first:
            runs.append(_Run(first))
        runs[-1].add(last, level)
    return runs


def _step(span: Intensity) -> tuple[int, int, float]:
    return (
        -_FOREVER if span.from_utc is None else _microseconds(span.from_utc),
        _FOREVER if span.to_utc is None else _microseconds(span.to_utc),
        span.grams_per_kwh,
    )


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
