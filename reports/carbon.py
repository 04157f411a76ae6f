"""From energy to CO2e: which intensity held when, and what that makes of the joules."""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import datetime, timezone
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.reports.energy import Measured, sum_joules
from greenrun.reports.life import Clock, Life, format_utc, parse_utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.record import Event, IntensityUsed, PassedOver, Span

JOULES_PER_KWH = 3.6e6

_EARLIEST = datetime.min.replace(tzinfo=timezone.utc)
_LATEST = datetime.max.replace(tzinfo=timezone.utc)


class Timeline:
    """Which of several intensities holds when. Where two cover a moment, it is the later in the list: the newer one.

    One that holds for all time gives way to those that do not, wherever it stands: a year's average that is logged when
    a service fails says nothing about the hours that the service has told before.

    `moments` are all times at which one begins or ends, in order. Between two of them one holds, or none. A week of
    half-hours that were all asked for again each hour are 16,000 intensities, so each is looked at only once.
    """

    def __init__(self, intensities: Sequence[Event]) -> None:
        intensities = sorted(intensities, key=lambda event: _bounds(event) != (_EARLIEST, _LATEST))
        bounds = [_bounds(event) for event in intensities]
        self.moments = sorted({moment for pair in bounds for moment in pair} - {_EARLIEST, _LATEST})
        self._holding = [None if index is None else intensities[index] for index in self._newest(bounds)]

    def _newest(self, bounds: Sequence[tuple[datetime, datetime]]) -> Iterator[int | None]:
        """Give the place in the list of what holds before the first moment, and then from each moment on."""
        to_begin = sorted(range(len(bounds)), key=lambda index: bounds[index][0], reverse=True)
        begun: list[int] = []  # a heap of negative numbers: the last of the list comes first
        for moment in (_EARLIEST, *self.moments):
            while to_begin and bounds[to_begin[-1]][0] <= moment:
                heappush(begun, -to_begin.pop())
            while begun and bounds[-begun[0]][1] <= moment:
                heappop(begun)
            yield -begun[0] if begun else None

    def at(self, moment: datetime) -> Event | None:
        """Give what holds at `moment`, None if nothing does."""
        return self._holding[bisect_right(self.moments, moment)]


class _Piece(NamedTuple):
    """A stretch of the command's life in which one intensity holds, None where none is known."""

    from_t: float
    to_t: float
    intensity: Event | None


def intensity_used(
    life: Life, clock: Clock, intensities: Sequence[Event], devices: Sequence[Measured], pue: float
) -> IntensityUsed:
    """Give the intensity over the command's life, span by span, with the emissions in each.

    Where two intensities cover a moment, the `Timeline` tells which of them counts.
    """
    pieces = _pieces(life, clock, intensities)
    spans = [_span(piece, clock, devices, pue) for piece in pieces]
    weights = [span["facility_energy_kwh"] or 0.0 for span in spans]
    if not any(weights):  # nothing was measured: every moment counts the same
        weights = [piece.to_t - piece.from_t for piece in pieces]
    weights_in_grams = [weight * (span["grams_per_kwh"] or 0.0) for weight, span in zip(weights, spans, strict=True)]
    return {
        "grams_per_kwh": _mean([span["grams_per_kwh"] for span in spans], weights),
        "basis": _common([span["basis"] for span in spans]),
        "source": "; ".join(dict.fromkeys(span["source"] for span in spans if span["source"])) or None,
        "zone": _common([span["zone"] for span in spans]),
        "country": _common([span["country"] for span in spans]),
        "year": _common([span["year"] for span in spans]),
        "link": _common([span["link"] for span in spans]),
        # The spans' errors have one cause (one grid, the same factors of its plants), so they do not average out: the
        # half-widths add, in grams.
        "uncertainty_percent": _mean(
            [span["uncertainty_percent"] for span in spans], weights_in_grams if any(weights_in_grams) else weights
        ),
        "note": "; ".join(dict.fromkeys(span["note"] for span in spans if span["note"])),
        "how": intensities[-1]["how"] if intensities else None,
        "passed_over": _passed_over(intensities, pieces),
        "spans": spans,
    }


def no_intensity() -> IntensityUsed:
    """Give the intensity of a command that never ran."""
    return {
        "grams_per_kwh": None,
        "basis": None,
        "source": None,
        "zone": None,
        "country": None,
        "year": None,
        "link": None,
        "uncertainty_percent": None,
        "note": "",
        "how": None,
        "passed_over": [],
        "spans": [],
    }


def co2e_grams(used: IntensityUsed) -> float | None:
    """Give the grams over all spans, None if one of them is unknown: half a sum would pass for a whole one."""
    grams = [span["co2e_grams"] for span in used["spans"]]
    known = [value for value in grams if value is not None]
    return math.fsum(known) if known and len(known) == len(grams) else None


def _pieces(life: Life, clock: Clock, intensities: Sequence[Event]) -> list[_Piece]:
    """Cut the command's life where the intensity changes; neighbours with the same one are one piece."""
    timeline = Timeline(intensities)
    cuts = clock.cuts(life.begin, life.end, timeline.moments)
    pieces: list[_Piece] = []
    for from_t, to_t in zip(cuts, cuts[1:] or cuts, strict=False):
        intensity = timeline.at(clock.utc((from_t + to_t) / 2.0))
        if pieces and pieces[-1].intensity is intensity:
            pieces[-1] = _Piece(pieces[-1].from_t, to_t, intensity)
        else:
            pieces.append(_Piece(from_t, to_t, intensity))
    return pieces


def _bounds(event: Event) -> tuple[datetime, datetime]:
    from_utc, to_utc = event.get("from_utc"), event.get("to_utc")
    return parse_utc(from_utc) if from_utc else _EARLIEST, parse_utc(to_utc) if to_utc else _LATEST


def _passed_over(intensities: Sequence[Event], pieces: Sequence[_Piece]) -> list[PassedOver]:
    """Give the links that were passed over for what is in use, each with the last reason, without those in use."""
    holding = {id(piece.intensity) for piece in pieces}
    counting = [event for event in intensities if id(event) in holding]
    reasons: dict[str, PassedOver] = {}
    for event in counting:
        for passed in event.get("passed") or ():
            reasons[passed["link"]] = {"link": passed["link"], "cause": passed["cause"], "reason": passed["reason"]}
    in_use = {event.get("link") for event in counting}
    return [passed for link, passed in reasons.items() if link not in in_use]


def _span(piece: _Piece, clock: Clock, devices: Sequence[Measured], pue: float) -> Span:
    joules = sum_joules(devices, piece.from_t, piece.to_t)
    kwh = None if joules is None else pue * joules / JOULES_PER_KWH
    intensity = piece.intensity or {}
    grams_per_kwh = intensity.get("grams_per_kwh")
    fetched_at = intensity.get("fetched_at")
    return {
        "from": format_utc(clock.utc(piece.from_t)),
        "to": format_utc(clock.utc_until(piece.to_t)),
        "grams_per_kwh": grams_per_kwh,
        "basis": intensity.get("basis"),
        "source": intensity.get("source"),
        "zone": intensity.get("zone"),
        "country": intensity.get("country"),
        "year": intensity.get("year"),
        "uncertainty_percent": intensity.get("uncertainty_percent"),
        "estimated": bool(intensity.get("estimated")),
        "fetched_at": format_utc(parse_utc(fetched_at)) if fetched_at else None,
        "link": intensity.get("link"),
        "note": intensity.get("note") or "",
        "facility_energy_kwh": kwh,
        "co2e_grams": None if kwh is None or grams_per_kwh is None else kwh * grams_per_kwh,
    }


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """Give the weighted mean, None if a value is unknown."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    if min(known) == max(known):  # exactly, not to fifteen digits
        return known[0]
    return math.fsum(value * weight for value, weight in zip(known, weights, strict=True)) / math.fsum(weights)


def _common(values: Sequence[Any]) -> Any:
    """Give the value that all share, None if they differ."""
    return values[0] if values and all(value == values[0] for value in values) else None
