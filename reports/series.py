"""What happened between a run's begin and its end, for plots: power by device, intensity and CO2e over time.

A pure function of a record and the events that it was made from. A week of samples is thinned to some 2,000 stretches;
the power of a stretch is its energy over its time, so that thinning loses peaks and never energy.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports import doubts, scopes
from greenrun.reports.carbon import JOULES_PER_KWH
from greenrun.reports.energy import Measured, sum_joules
from greenrun.reports.life import Clock, Life, life, parse_utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.record import Event, Gap, Record, Span

MOST_POINTS = 2000
"""More than a screen has columns for."""

_SMALLEST_SHARE = 0.5
"""A device must have been measured for so much of a stretch that its power is told; and a stretch is at least so much
of the usual distance of two samples, because between samples that lie milliseconds apart (at a marker, at the exit) a
counter that moves in steps shows no power or a wild one."""

_SAME_SECONDS = 0.002  # the record's times are cut to the millisecond


class Line(NamedTuple):
    """A device's mean power in each stretch, in watts; None where it was not measured."""

    device: str
    watts: list[float | None]


class Step(NamedTuple):
    """An intensity from one moment to another, in seconds since the spawn; None where nobody knows it."""

    from_t: float
    to_t: float
    grams_per_kwh: float | None


class Series(NamedTuple):
    """A run over time. `t` are the edges of the stretches, in seconds since the spawn: one more than stretches.

    `grams` is the CO2e of the facility up to each edge, None from where on the intensity is not known.
    """

    t: list[float]
    lines: list[Line]
    grams: list[float | None]
    intensity: list[Step]


def series(record: Record, events: Sequence[Event], most_points: int = MOST_POINTS) -> Series | None:
    """Give what happened over time; None for a run that did not last, or of which nothing was measured."""
    lived = life(events)
    devices = scopes.charged(events, lived, record)
    if lived is None or lived.duration_seconds <= 0.0 or not any(device.curve for device in devices):
        return None
    samples = [float(event["t"]) for event in events if event["event"] == "sample"]
    edges = _edges(lived, samples, most_points)
    gaps = doubts.gaps(events, lived, devices)
    steps = _steps(lived, Clock(events), record["intensity"]["spans"])
    return Series(
        t=[edge - lived.begin for edge in edges],
        lines=[Line(device.entry["id"], _watts(device, edges, gaps, lived)) for device in devices],
        grams=list(_grams(edges, devices, steps, record["pue"])),
        intensity=[Step(step.from_t - lived.begin, step.to_t - lived.begin, step.grams_per_kwh) for step in steps],
    )


def _edges(lived: Life, samples: Sequence[float], most_points: int) -> list[float]:
    """Give the ends of the stretches: moments of samples, and the begin and the end of the run."""
    inside = sorted({t for t in samples if lived.begin < t < lived.end})
    usual = median(b - a for a, b in pairwise(inside)) if len(inside) > 1 else 0.0
    shortest = max(lived.duration_seconds / most_points, _SMALLEST_SHARE * usual)
    edges = [lived.begin]
    for t in inside:
        if t - edges[-1] >= shortest:
            edges.append(t)
    if len(edges) > 1 and lived.end - edges[-1] < shortest:
        edges.pop()
    return [*edges, lived.end]


def _watts(device: Measured, edges: Sequence[float], gaps: Sequence[Gap], lived: Life) -> list[float | None]:
    """Give the mean power of each stretch over that part of it in which the device was measured."""
    curve = device.curve
    if curve is None:
        return [None] * (len(edges) - 1)
    covered = [max(0.0, min(b, curve.last_t) - max(a, curve.first_t)) for a, b in pairwise(edges)]
    for gap in gaps:
        if gap["device"] in (None, device.entry["id"]):
            from_t = lived.begin + gap["from"]
            to_t = from_t + gap["duration_seconds"]
            first = max(0, bisect_right(edges, from_t) - 1)
            for index in range(first, min(bisect_left(edges, to_t), len(covered))):
                covered[index] -= max(0.0, min(edges[index + 1], to_t) - max(edges[index], from_t))
    return [
        curve.between(a, b) / seconds if seconds >= _SMALLEST_SHARE * (b - a) and seconds > 0.0 else None
        for (a, b), seconds in zip(pairwise(edges), covered, strict=True)
    ]


def _steps(lived: Life, clock: Clock, spans: Sequence[Span]) -> list[Step]:
    """Give the record's spans on the log's clock. UTC may have been set, or the machine may have slept, in between."""
    cuts = clock.cuts(lived.begin, lived.end, [parse_utc(span["from"]) for span in spans[1:]])
    steps: list[Step] = []
    from_t = lived.begin
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        to_t = lived.end if following is None else _moment(clock, cuts, from_t, following)
        if to_t is None:  # no record of this log
            return [*steps, Step(from_t, lived.end, None)]
        steps.append(Step(from_t, to_t, span["grams_per_kwh"]))
        from_t = to_t
    return steps


def _moment(clock: Clock, cuts: Sequence[float], after: float, span: Span) -> float | None:
    """Find the first moment after `after` at which the clock showed the span's beginning."""
    begins = parse_utc(span["from"])
    for t in cuts[bisect_right(cuts, after) :]:
        if abs((clock.utc(t) - begins).total_seconds()) <= _SAME_SECONDS:
            return t
    return None


def _grams(
    edges: Sequence[float], devices: Sequence[Measured], steps: Sequence[Step], pue: float
) -> Iterator[float | None]:
    grams: float | None = 0.0 if steps else None
    index = 0
    yield grams
    for from_t, to_t in pairwise(edges):
        t = from_t
        while grams is not None and t < to_t and index < len(steps):
            step = steps[index]
            until = min(to_t, step.to_t)
            joules = sum_joules(devices, t, until)
            known = joules is not None and step.grams_per_kwh is not None
            grams = grams + pue * (joules or 0.0) / JOULES_PER_KWH * (step.grams_per_kwh or 0.0) if known else None
            t = until
            if step.to_t <= to_t:
                index += 1
        yield grams
