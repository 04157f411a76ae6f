"""Intensities as JSON and back: for the cache, and between the process that asks services and the one that waits."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, get_args

from greenrun.intensity.model import Answer, Basis, Cause, Intensity, Passed, Place

_TIMES = ("from_utc", "to_utc", "fetched_utc")


def intensity_to_json(intensity: Intensity) -> dict[str, Any]:
    """Give an object of JSON's own types; times are ISO 8601."""
    fields = intensity._asdict()
    for name in _TIMES:
        fields[name] = None if fields[name] is None else fields[name].isoformat()
    return fields


def intensity_from_json(fields: Any) -> Intensity:
    """Read it back; ValueError for what `intensity_to_json` does not write."""
    try:
        values = dict(fields)
        for name in _TIMES:
            values[name] = None if values[name] is None else _utc(values[name])
        read = Intensity(**values)
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"no intensity: {error}") from None
    numbers = (read.grams_per_kwh, read.uncertainty_percent)
    if not all(isinstance(number, (int, float)) and 0.0 <= number < 1e6 for number in numbers):
        raise ValueError("no intensity: a number is out of range")
    texts = (read.link, read.source, read.zone or "", read.country or "", read.note)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("no intensity: a text is none")
    if read.basis not in (None, *get_args(Basis)) or not isinstance(read.estimated, bool):
        raise ValueError("no intensity: unknown basis, or estimated is neither true nor false")
    if not (read.year is None or isinstance(read.year, int)):
        raise ValueError("no intensity: the year is no number")
    return read


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """Give an object of JSON's own types."""
    return {
        "spans": [intensity_to_json(span) for span in answer.spans],
        "passed": [passed._asdict() for passed in answer.passed],
    }


def answer_from_json(fields: Any) -> Answer:
    """Read it back; ValueError for what `answer_to_json` does not write."""
    try:
        passed = [Passed(str(one["link"]), one["cause"], str(one["reason"])) for one in fields["passed"]]
        spans = [intensity_from_json(span) for span in fields["spans"]]
    except (TypeError, KeyError) as error:
        raise ValueError(f"no answer: {error}") from None
    if any(one.cause not in get_args(Cause) for one in passed):
        raise ValueError("no answer: unknown cause")
    return Answer(spans, passed)


def place_from_json(fields: Any) -> Place:
    """Read a place back from its `_asdict()`; ValueError for anything else."""
    try:
        place = Place(**fields)
    except TypeError as error:
        raise ValueError(f"no place: {error}") from None
    if not all(value is None or isinstance(value, str) for value in place) or place.how is None:
        raise ValueError("no place: its parts are texts")
    return place


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no intensity: {text} has no offset from UTC")
    return moment.astimezone(timezone.utc)
