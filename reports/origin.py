"""Where a run's intensity came from, in words: one hour or many, of a service or of a table, sure or held over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from greenrun.reports import units
from greenrun.reports.life import parse_utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from greenrun.reports.record import IntensityUsed, Span

_SWING = 1.25
"""The largest figure over the smallest from which on both are told beside the mean."""

_MOST_NOTES = 3
"""More of them fill the screen; the record has them all."""

YEARLY = ("region table", "country table", "world")
"""The links that give yearly averages, and need no network."""

_HOUR = timedelta(hours=1)


def words(used: IntensityUsed) -> str:
    """Tell the mean, how sure it is, what it is made of and whom to credit; "" where it is unknown."""
    if used["grams_per_kwh"] is None:
        return ""
    return ", ".join(filter(None, _parts(used, used["grams_per_kwh"])))


def is_sure(span: Span) -> bool:
    """Tell whether a service gave the figure, and as measured."""
    return span["fetched_at"] is not None and not span["estimated"]


def hours(spans: Sequence[Span]) -> set[datetime]:
    """Give the hours of UTC that the spans touch, by their beginnings."""
    touched = set()
    for span in spans:
        moment, end = parse_utc(span["from"]), parse_utc(span["to"])
        while True:
            touched.add(moment.replace(minute=0, second=0, microsecond=0))
            moment = moment.replace(minute=0, second=0, microsecond=0) + _HOUR
            if moment >= end:
                break
    return touched


def _parts(used: IntensityUsed, grams_per_kwh: float) -> Iterator[str | None]:
    spans, told = used["spans"], used["link"] == "told"
    doubt = None if told else used["uncertainty_percent"]
    yield f"{units.digits(grams_per_kwh, 3)}{units.NO_BREAK}g/kWh" + (
        "" if doubt is None else f"{units.NO_BREAK}+-{units.percent(doubt)}"
    )
    if told:
        yield used["source"]
        yield used["note"]
        return
    yield _made_of(used)
    yield _notes(spans)
    if used["link"] == "world":
        yield next((passed["reason"] for passed in used["passed_over"] if passed["link"] == "country table"), None)
    basis = None if used["basis"] is None else f"{used['basis']} emissions"
    year = None if used["year"] is None else str(used["year"])
    yield " of ".join(filter(None, (basis, year)))
    yield used["source"]


def _made_of(used: IntensityUsed) -> str:
    """Tell how many hours a service has told of, and what stands in for the rest, where, and how the place is known."""
    asked = [span for span in used["spans"] if span["fetched_at"]]
    rest = [span for span in used["spans"] if not span["fetched_at"]]
    mean = _mean(used["spans"])
    how = f" ({used['how']})" if used["country"] else ""
    if not asked:
        place = used["zone"] or used["country"]
        average = f"yearly average of {place}" if place and used["link"] in YEARLY else place
        return ", ".join(filter(None, (mean and f"{mean} over the run", average and f"{average}{how}")))
    touched = hours(asked)
    parts = [f"{mean}{' over ' if mean else ''}{_count(len(touched))} of {_place(asked)}{how}"]
    estimated = len(hours([span for span in asked if span["estimated"]]))
    if estimated:
        parts.append("estimated" if estimated == len(touched) else f"{estimated} of them estimated")
    if rest:
        seconds = sum((parse_utc(span["to"]) - parse_utc(span["from"])).total_seconds() for span in rest)
        parts.append(f"and for {units.duration(seconds)} the yearly average of {_place(rest)}")
    return ", ".join(parts)


def _mean(spans: Sequence[Span]) -> str:
    """Name the mean, with the smallest and the largest figure where they are far apart; "" where there is but one."""
    figures = [span["grams_per_kwh"] for span in spans if span["grams_per_kwh"] is not None]
    low, high = min(figures), max(figures)
    if high <= _SWING * low:
        return "the mean" if len(figures) > 1 else ""
    return f"the mean of {_short(low)} to {_short(high)}{units.NO_BREAK}g/kWh"


def _short(grams_per_kwh: float) -> str:
    return units.digits(grams_per_kwh, 3 if grams_per_kwh >= 100.0 else 2)


def _count(number: int) -> str:
    return f"{number}{units.NO_BREAK}hour{'s' * (number != 1)}"


def _place(spans: Sequence[Span]) -> str:
    places = dict.fromkeys(span["zone"] or span["country"] or "the world" for span in spans)
    return " and ".join(places)


def _notes(spans: Sequence[Span]) -> str:
    notes = list(dict.fromkeys(span["note"] for span in spans if span["note"]))
    more = len(notes) - _MOST_NOTES
    return "; ".join(notes[:_MOST_NOTES]) + (f"; and {more} more notes in the record" if more > 0 else "")
