"""Stretches of time and the intensity in each: laid over each other, cut, looked through for holes, held on.

Pure. A span without a bound holds for all time that way. What comes out is in order of time and does not overlap.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING

from greenrun.intensity import uncertainty

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenrun.intensity.model import Intensity

_HOUR = timedelta(hours=1)
_FIRST = datetime.min.replace(tzinfo=timezone.utc)
_LAST = datetime.max.replace(tzinfo=timezone.utc)


def merge(old: Iterable[Intensity], new: Iterable[Intensity]) -> list[Intensity]:
    """Lay `new` over `old`: at each moment the span that was fetched last counts, of two at once the one in `new`.

    Spans are cut where another one counts; a span that was never fetched gives way to every one that was.
    """
    spans = [span for span in (*old, *new) if _begin(span) < _end(span)]
    ranks = [(span.fetched_utc or _FIRST, at) for at, span in enumerate(spans)]
    best = {at: rank for rank, at in enumerate(sorted(range(len(spans)), key=ranks.__getitem__, reverse=True))}
    by_begin = sorted(range(len(spans)), key=lambda at: _begin(spans[at]), reverse=True)
    edges = sorted({edge for span in spans for edge in (_begin(span), _end(span))})
    open_spans: list[tuple[int, int]] = []  # rank, place in `spans`; the best on top
    pieces: list[tuple[int, datetime, datetime]] = []
    for begin, end in pairwise(edges):
        while by_begin and _begin(spans[by_begin[-1]]) <= begin:
            at = by_begin.pop()
            heapq.heappush(open_spans, (best[at], at))
        while open_spans and _end(spans[open_spans[0][1]]) <= begin:
            heapq.heappop(open_spans)
        if not open_spans:
            continue
        at = open_spans[0][1]
        if pieces and pieces[-1][0] == at and pieces[-1][2] == begin:
            pieces[-1] = (at, pieces[-1][1], end)
        else:
            pieces.append((at, begin, end))
    return [_cut(spans[at], begin, end) for at, begin, end in pieces]


def clip(spans: Iterable[Intensity], from_utc: datetime, to_utc: datetime) -> list[Intensity]:
    """Give what the spans say of the time from `from_utc` to `to_utc`."""
    return [
        _cut(span, max(_begin(span), from_utc), min(_end(span), to_utc))
        for span in merge((), spans)
        if max(_begin(span), from_utc) < min(_end(span), to_utc)
    ]


def gaps(spans: Iterable[Intensity], from_utc: datetime, to_utc: datetime) -> list[tuple[datetime, datetime]]:
    """Give the stretches from `from_utc` to `to_utc` of which the spans say nothing."""
    found = []
    known_to = from_utc
    for span in clip(spans, from_utc, to_utc):
        if _begin(span) > known_to:
            found.append((known_to, _begin(span)))
        known_to = _end(span)
    if known_to < to_utc:
        found.append((known_to, to_utc))
    return found


def hold(spans: Iterable[Intensity], to_utc: datetime, most: timedelta) -> list[Intensity]:
    """Fill the holes, and the time from the last span to `to_utc`, with the value that was there before.

    A value is held on for `most` at most; what is before the first span, or beyond that, stays a hole. What is held is
    estimated, hour by hour with the uncertainty that its age at the hour's end makes of it.
    """
    known = merge((), spans)
    out: list[Intensity] = []
    for at, span in enumerate(known):
        out.append(span)
        end = _end(span)
        until = _begin(known[at + 1]) if at + 1 < len(known) else to_utc
        if until > end:
            out += _held(span, end, until, most)
    return out


def _held(span: Intensity, end: datetime, until: datetime, most: timedelta) -> Iterable[Intensity]:
    end = end.astimezone(timezone.utc)
    if until - end > most:
        until = end + most
    note = "; ".join(filter(None, (span.note, f"held on from {end:%H:%M} UTC")))
    begin = end
    while begin < until:
        stop = min(begin.replace(minute=0, second=0, microsecond=0) + _HOUR, until)
        age_hours = (stop - end) / _HOUR
        yield span._replace(
            from_utc=begin,
            to_utc=stop,
            estimated=True,
            uncertainty_percent=uncertainty.held(span.uncertainty_percent, age_hours),
            note=note,
        )
        begin = stop


def _begin(span: Intensity) -> datetime:
    return span.from_utc or _FIRST


def _end(span: Intensity) -> datetime:
    return span.to_utc or _LAST


def _cut(span: Intensity, begin: datetime, end: datetime) -> Intensity:
    """Give the span from `begin` to `end`; where that is no bound, none is made up."""
    return span._replace(from_utc=None if begin == _FIRST else begin, to_utc=None if end == _LAST else end)
