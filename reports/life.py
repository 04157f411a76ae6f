"""When the command lived, on the run log's clock and in UTC."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.record import Event, RunKind


_SLACK_SECONDS = 1e-3  # more than sums of times lose to rounding


class Life(NamedTuple):
    """From `begin` to `end` on the run log's clock, in seconds; `ended` is False if nobody saw the command end."""

    begin: float
    end: float
    ended: bool

    @property
    def duration_seconds(self) -> float:
        """How long it lived, without the time in which the machine was suspended."""
        return self.end - self.begin


def life(events: Sequence[Event]) -> Life | None:
    """Give the command's life, None if it was never started. A killed run lives until its last sample."""
    spawned = first(events, "spawned")
    if spawned is None or first(events, "not-started"):
        return None
    begin = float(spawned["t"])
    exited = first(events, "exited")
    if exited:
        return Life(begin, max(begin, float(exited["t"])), ended=True)
    last_sample_t = max((float(event["t"]) for event in events if event["event"] == "sample"), default=begin)
    return Life(begin, max(begin, last_sample_t), ended=False)


def kind(events: Sequence[Event]) -> RunKind:
    """Tell what lived: a command, a block of a process that goes on, or a scheduler's job."""
    told: RunKind = events[0].get("kind") or "command"
    return told


def was_cut_short(events: Sequence[Event]) -> bool:
    """Tell whether a block or a job came to no end of its own: the process that it was in ended first."""
    exited = first(events, "exited")
    return kind(events) != "command" and exited is not None and exited.get("how") != "told"


def first(events: Sequence[Event], kind: str) -> Event | None:
    """Give the first event of a kind, None if there is none."""
    return next((event for event in events if event["event"] == kind), None)


class Clock:
    """UTC of the moments in a run log: it starts with `start` and moves with each `clock` event."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._start = parse_utc(events[0]["utc"])
        moved = sorted((event for event in events if event["event"] == "clock"), key=lambda event: float(event["t"]))
        # From a t on: UTC's step and the time suspended, in seconds since the start. What comes first holds before it.
        self._from = [-math.inf, *(float(event["t"]) for event in moved)]
        self._steps = [0.0, *(float(event["utc_step_seconds"]) for event in moved)]
        self._suspended = [0.0, *(float(event["suspended_seconds"]) for event in moved)]

    def utc(self, t: float) -> datetime:
        """Give the UTC at `t`."""
        return self._start + timedelta(seconds=t + self._steps[bisect_right(self._from, t) - 1])

    def utc_until(self, t: float) -> datetime:
        """Give the UTC just before `t`: where it jumps at `t`, what it had come to."""
        return self._start + timedelta(seconds=t + self._steps[bisect_left(self._from, t) - 1])

    def suspended_seconds(self, begin: float, end: float) -> float:
        """Give how long the machine slept between two moments."""
        slept = (
            self._suspended[bisect_right(self._from, end) - 1] - self._suspended[bisect_right(self._from, begin) - 1]
        )
        return max(0.0, slept)

    def cuts(self, begin: float, end: float, moments: Sequence[datetime]) -> list[float]:
        """Give `begin`, `end` and between them every t where UTC jumps or passes one of `moments`, in order.

        UTC runs evenly between two cuts. A moment that a forward jump skips is cut at the jump; one that a backward
        jump repeats is cut twice.
        """
        inside = {begin, end}
        passed = sorted((moment - self._start).total_seconds() for moment in moments)
        for step, from_t, to_t in zip(self._steps, self._from, [*self._from[1:], end], strict=True):
            inside.add(from_t)
            first = bisect_left(passed, max(from_t, begin) + step - _SLACK_SECONDS)
            for seconds in passed[first : bisect_right(passed, min(to_t, end) + step + _SLACK_SECONDS)]:
                if from_t < seconds - step < to_t:
                    inside.add(seconds - step)
        return sorted(t for t in inside if begin <= t <= end)


def parse_utc(text: str) -> datetime:
    """Read an ISO 8601 time; one without an offset is UTC."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not know Z
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def format_utc(moment: datetime) -> str:
    """Write a time as ISO 8601 in UTC, to the millisecond."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_number(value: Any) -> bool:
    """Tell whether a value from JSON is a number (true and false are none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
