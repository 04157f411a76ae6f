"""From energy to CO2e: which intensity held when, and what that makes of the joules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.reports.energy import Measured, sum_joules
from greenrun.reports.life import Clock, Life, format_utc, parse_utc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from greenrun.reports.record import Event, IntensityUsed, Span

JOULES_PER_KWH = 3.6e6


class _Piece(NamedTuple):
    """A stretch of the command's life in which one intensity holds, None where none is known."""

    from_t: float
    to_t: float
    intensity: Event | None


def intensity_used(
    life: Life, clock: Clock, intensities: Sequence[Event], devices: Sequence[Measured], pue: float
) -> IntensityUsed:
    """Give the intensity over the command's life, span by span, with the emissions in each.

    Where two intensities cover a moment, the one that was logged later counts: it is the newer value.
    """
    spans = [_span(piece, clock, devices, pue) for piece in _pieces(life, clock, intensities)]
    weights = [span["facility_energy_kwh"] or 0.0 for span in spans]
    if not any(weights):  # nothing was measured: every moment counts the same
        weights = [1.0] * len(spans)
    return {
        "grams_per_kwh": _mean([span["grams_per_kwh"] for span in spans], weights),
        "basis": _common([span["basis"] for span in spans]),
        "source": "; ".join(dict.fromkeys(span["source"] for span in spans if span["source"])) or None,
        "zone": _common([span["zone"] for span in spans]),
        "country": _common([span["country"] for span in spans]),
        "year": _common([span["year"] for span in spans]),
        # The spans' errors have one cause (one table, one grid), so they do not average out.
        "uncertainty_percent": _mean([span["uncertainty_percent"] for span in spans], weights),
        "note": "; ".join(dict.fromkeys(span["note"] for span in spans if span["note"])),
        "how": intensities[-1]["how"] if intensities else None,
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
        "uncertainty_percent": None,
        "note": "",
        "how": None,
        "spans": [],
    }


def co2e_grams(used: IntensityUsed) -> float | None:
    """Give the grams over all spans, None if one of them is unknown: half a sum would pass for a whole one."""
    grams = [span["co2e_grams"] for span in used["spans"]]
    known = [value for value in grams if value is not None]
    return math.fsum(known) if known and len(known) == len(grams) else None


def _pieces(life: Life, clock: Clock, intensities: Sequence[Event]) -> list[_Piece]:
    """Cut the command's life where the intensity changes; neighbours with the same one are one piece."""
    ends = [_bounds(event) for event in intensities]
    cuts = clock.cuts(life.begin, life.end, [moment for pair in ends for moment in pair if moment])
    pieces: list[_Piece] = []
    for from_t, to_t in zip(cuts, cuts[1:] or cuts, strict=False):
        middle = clock.utc((from_t + to_t) / 2.0)
        intensity = None
        for event, (from_utc, to_utc) in zip(intensities, ends, strict=True):
            if (from_utc is None or from_utc <= middle) and (to_utc is None or middle < to_utc):
                intensity = event
        if pieces and pieces[-1].intensity is intensity:
            pieces[-1] = _Piece(pieces[-1].from_t, to_t, intensity)
        else:
            pieces.append(_Piece(from_t, to_t, intensity))
    return pieces


def _bounds(event: Event) -> tuple[datetime | None, datetime | None]:
    from_utc, to_utc = event.get("from_utc"), event.get("to_utc")
    return parse_utc(from_utc) if from_utc else None, parse_utc(to_utc) if to_utc else None


def _span(piece: _Piece, clock: Clock, devices: Sequence[Measured], pue: float) -> Span:
    joules = sum_joules(devices, piece.from_t, piece.to_t)
    kwh = None if joules is None else pue * joules / JOULES_PER_KWH
    intensity = piece.intensity or {}
    grams_per_kwh = intensity.get("grams_per_kwh")
    return {
        "from_utc": format_utc(clock.utc(piece.from_t)),
        "to_utc": format_utc(clock.utc(piece.to_t)),
        "grams_per_kwh": grams_per_kwh,
        "basis": intensity.get("basis"),
        "source": intensity.get("source"),
        "zone": intensity.get("zone"),
        "country": intensity.get("country"),
        "year": intensity.get("year"),
        "uncertainty_percent": intensity.get("uncertainty_percent"),
        "estimated": bool(intensity.get("estimated")),
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
