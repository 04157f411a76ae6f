"""Durations as people type them: 3h, 1h30m, 90m, 45s, 2d."""

from __future__ import annotations

import re

LONGEST_SECONDS = 365 * 86400.0
"""A year: no forecast and no queue reaches so far, and moments stay within the calendar."""

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(min|[dhms]) ?", re.ASCII)


def seconds(text: str) -> float:
    """Read a duration of more than nothing; ValueError carries the end of a sentence: "must be ...".

    A number without its unit is refused: 90 may be minutes to one and seconds to another.
    """
    total, at, left = 0.0, 0, list(_UNITS.values())
    words = text.strip().lower()
    while at < len(words):
        part = _PART.match(words, at)
        if part is None or _UNITS[part[2]] not in left:
            raise ValueError(_must_be(words))
        size = _UNITS[part[2]]
        left = [smaller for smaller in left if smaller < size]  # 30m1h and 1h1h are slips of the hand
        total += float(part[1]) * size
        at = part.end()
    if not 0.0 < total <= LONGEST_SECONDS:
        raise ValueError(_must_be(words))
    return total


def _must_be(words: str) -> str:
    unit = ", with its unit" if words.replace(".", "", 1).isdigit() else ""
    return f"must be a duration{unit}, such as 3h, 1h30m, 90m, 45s or 2d, and at most 365d"
