"""What services write in their rows, read with distrust: numbers, times, and short steps made into hours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from greenrun.intensity.model import Unavailable

HOUR = timedelta(hours=1)

MOST_GRAMS_PER_KWH = 5000.0
"""More no grid emits: the worst lignite plants come to 1,500."""

_YEARS = range(1970, 9000)  # of times that one may still reckon with


class Row(NamedTuple):
    """A figure that holds from `begin_utc` for the service's own step."""

    begin_utc: datetime
    grams_per_kwh: float
    estimated: bool


def grams_per_kwh(value: object) -> float | None:
    """Give a plausible intensity, None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= MOST_GRAMS_PER_KWH else None  # NaN is not


def utc(value: object) -> datetime | None:
    """Read an ISO 8601 time; one without an offset is UTC. None for what is none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))  # before Python 3.11 it knows no Z
        moment = moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year in _YEARS else None


def unix(value: object) -> datetime | None:
    """Read Unix seconds, None for what are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        moment = datetime.fromtimestamp(value, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment.year in _YEARS else None


def no_figure(zone: str, values: Iterable[object]) -> Unavailable:
    """Say that an answer has no figure for a zone; what stands in place of one is a form that we do not know."""
    if any(value is not None for value in values):
        return Unavailable(f"answered with figures or times for {zone} that make no sense", "broken")
    return Unavailable(f"answered without a figure for {zone}", "absent")


def items(document: object, *names: str) -> list[dict[str, object]] | None:
    """Give the objects in the list that a document holds under the first of `names` that it has; None without one."""
    if not isinstance(document, dict):
        return None
    for name in names:
        listed = document.get(name)
        if isinstance(listed, list):
            return [one for one in listed if isinstance(one, dict)]
    return None


def floor(moment: datetime, step: timedelta = HOUR) -> datetime:
    """Give the last whole `step` of the day in UTC that `moment` lies in or on."""
    midnight = moment.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step


def ceiling(moment: datetime, step: timedelta = HOUR) -> datetime:
    """Give the first whole `step` of the day in UTC that is not before `moment`."""
    whole = floor(moment, step)
    return whole if whole == moment else whole + step


def hours(rows: Iterable[Row], step: timedelta) -> list[Row]:
    """Put rows of `step` (a whole part of an hour) together to rows of an hour, in order of time.

    Each is the mean of what is there; estimated if one of its rows is, or if rows are missing.
    """
    by_hour: dict[datetime, dict[datetime, Row]] = {}
    for row in rows:
        by_hour.setdefault(floor(row.begin_utc), {})[row.begin_utc] = row
    complete = HOUR // step
    found = []
    for begin, parts in sorted(by_hour.items()):
        mean = math.fsum(row.grams_per_kwh for row in parts.values()) / len(parts)
        missing = len(parts) < complete
        found.append(Row(begin, mean, missing or any(row.estimated for row in parts.values())))
    return found


def chunks(from_utc: datetime, to_utc: datetime, most: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Cut a stretch of time into such of `most` at most."""
    begin = from_utc
    while begin < to_utc:
        end = min(begin + most, to_utc)
        yield begin, end
        begin = end
