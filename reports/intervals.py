"""What each device used in each interval of a run: a pure function from the record and its events.

The intervals are of one length, from the spawn on; the last one is shorter. Their energies add up to the record's.
Where a device was not read, its energy is unknown: what was filled in at the beginning counts as read.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports import scopes
from greenrun.reports.carbon import JOULES_PER_KWH
from greenrun.reports.formats import CannotTell
from greenrun.reports.life import Clock, format_utc, life, parse_utc
from greenrun.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from greenrun.reports.energy import Measured
    from greenrun.reports.formats import Told
    from greenrun.reports.record import Event, Span

MOST_ROWS = 1_000_000
"""More than a table program opens; they would also be held in memory at once."""


class Interval(NamedTuple):
    """What one device used from one moment to another, in seconds since the spawn.

    `energy_joules` is None where the device was not read at all, `power_watts` also where it was not read all the time.
    """

    device: Event
    from_seconds: float
    to_seconds: float
    from_utc: datetime
    to_utc: datetime
    energy_joules: float | None
    power_watts: float | None
    grams_per_kwh: float | None
    co2e_grams: float | None


_COLUMNS = (
    Column("run_id", "text"),
    Column("device", "text"),
    Column("kind", "text"),
    Column("name", "text"),
    Column("method", "text"),
    Column("counted", "flag"),
    Column("from_utc", "moment"),
    Column("to_utc", "moment"),
    Column("from_seconds", "number"),
    Column("to_seconds", "number"),
    Column("energy_joules", "number"),
    Column("power_watts", "number"),
    Column("grams_per_kwh", "number"),
    Column("co2e_grams", "number"),
)


def table(runs: Sequence[Told], seconds: float) -> Table:
    """Give a row for each device and interval of all runs. Raises CannotTell where they would be too many."""
    refuse_too_many(runs, seconds)
    return Table(_COLUMNS, (_row(run, interval) for run in runs for interval in intervals(run, seconds)))


def intervals(run: Told, seconds: float) -> Iterator[Interval]:
    """Give what each device used in each interval, interval by interval; nothing for a command that never ran."""
    lived = life(run.events)
    if lived is None:
        return
    clock = Clock(run.events)
    spans = _Spans(run.record["intensity"]["spans"], clock, lived.begin, lived.end)
    devices = [device for device in scopes.charged(run.events, lived, run.record) if device.curve]
    for from_seconds, to_seconds in pairwise(_edges(lived.duration_seconds, seconds)):
        from_t, to_t = lived.begin + from_seconds, min(lived.begin + to_seconds, lived.end)
        from_utc, to_utc = clock.utc(from_t), clock.utc_until(to_t)
        pieces = spans.within(from_t, to_t)
        for device in devices:
            joules, watts = used(device, from_t, to_t, lived.begin)
            grams = None if joules is None else _grams(device, pieces, run.record["pue"])
            per_kwh = _mean_intensity(pieces, joules, grams, run.record["pue"])
            yield Interval(device.entry, from_seconds, to_seconds, from_utc, to_utc, joules, watts, per_kwh, grams)


def refuse_too_many(runs: Sequence[Told], seconds: float) -> None:
    """Raise CannotTell where the intervals of all runs would be more than MOST_ROWS."""
    rows = math.fsum(
        len(run.record["devices"]) * math.ceil((run.record["duration_seconds"] or 0.0) / seconds) for run in runs
    )
    if rows > MOST_ROWS:
        raise CannotTell(
            f"intervals of {seconds:g} s make {rows:.0f} rows, and {MOST_ROWS} are the most: tell longer ones"
        )


def _edges(duration_seconds: float, seconds: float) -> list[float]:
    whole = math.ceil(duration_seconds / seconds)
    return [*(at * seconds for at in range(whole)), duration_seconds]


def used(device: Measured, from_t: float, to_t: float, begin: float) -> tuple[float | None, float | None]:
    """Give joules and watts between two moments of the run log's clock; the command began at `begin`.

    The curve is constant where nothing was read, and that is no 0: joules are None where the device was not read at
    all, watts where it was not read all the time.
    """
    curve = device.curve
    first_t = begin if curve and curve.first_t <= begin else curve.first_t if curve else to_t
    last_t = device.until_t if device.until_t is not None else math.inf
    if curve is None or to_t <= first_t or from_t >= last_t:
        return None, None
    joules = curve.between(from_t, to_t)
    covered = from_t >= first_t and to_t <= last_t and to_t > from_t
    return joules, joules / (to_t - from_t) if covered else None


class _Piece(NamedTuple):
    from_t: float
    to_t: float
    grams_per_kwh: float | None


class _Spans:
    """The record's spans of intensity on the run log's clock."""

    def __init__(self, spans: Sequence[Span], clock: Clock, begin: float, end: float) -> None:
        starts = [parse_utc(span["from"]) for span in spans]
        cuts = clock.cuts(begin, end, starts)
        self._pieces = []
        for from_t, to_t in pairwise(cuts):
            at = bisect_right(starts, clock.utc((from_t + to_t) / 2.0)) - 1
            self._pieces.append(_Piece(from_t, to_t, spans[max(0, at)]["grams_per_kwh"] if spans else None))
        self._ends = [piece.to_t for piece in self._pieces]

    def within(self, from_t: float, to_t: float) -> list[_Piece]:
        """Give the pieces of a stretch, cut at its ends."""
        found = []
        for piece in self._pieces[bisect_right(self._ends, from_t) :]:
            if piece.from_t >= to_t:
                break
            found.append(_Piece(max(from_t, piece.from_t), min(to_t, piece.to_t), piece.grams_per_kwh))
        return found


def _grams(device: Measured, pieces: Sequence[_Piece], pue: float) -> float | None:
    grams = []
    for from_t, to_t, grams_per_kwh in pieces:
        if device.curve is None or grams_per_kwh is None:
            return None
        grams.append(pue * device.curve.between(from_t, to_t) / JOULES_PER_KWH * grams_per_kwh)
    return math.fsum(grams) if grams else None


def _mean_intensity(pieces: Sequence[_Piece], joules: float | None, grams: float | None, pue: float) -> float | None:
    """Give the one figure, or the mean by this device's energy, or where it used none by time."""
    figures = [piece.grams_per_kwh for piece in pieces]
    known = [figure for figure in figures if figure is not None]
    if not known or len(known) < len(figures):
        return None
    if min(known) == max(known):
        return known[0]
    if joules and grams is not None:
        return grams / (pue * joules / JOULES_PER_KWH)
    weights = [piece.to_t - piece.from_t for piece in pieces]
    return math.fsum(figure * weight for figure, weight in zip(known, weights, strict=True)) / math.fsum(weights)


def _row(run: Told, interval: Interval) -> tuple[Cell, ...]:
    device = interval.device
    return (
        run.record["run_id"],
        device["id"],
        device["kind"],
        device["name"],
        device["method"],
        device["counted"],
        format_utc(interval.from_utc),
        format_utc(interval.to_utc),
        *interval[1:3],
        *interval[5:],
    )
