"""When the command lived, on the run log's clock and in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.record import Event, RunKind


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
        moved = [event for event in events if event["event"] == "clock"]
        self._steps = [(0.0, 0.0, 0.0)]  # from this t on: UTC's step and time suspended, in seconds since the start
        self._steps += [(event["t"], event["utc_step_seconds"], event["suspended_seconds"]) for event in moved]

    def utc(self, t: float) -> datetime:
        """Give the UTC at `t`."""
        return self._start + timedelta(seconds=t + self._step_at(t)[1])

    def utc_until(self, t: float) -> datetime:
        """Give the UTC just before `t`: where it jumps at `t`, what it had come to."""
        step = next((step for step in reversed(self._steps) if step[0] < t), self._steps[0])
        return self._start + timedelta(seconds=t + step[1])

    def suspended_seconds(self, begin: float, end: float) -> float:
        """Give how long the machine slept between two moments."""
        slept: float = self._step_at(end)[2] - self._step_at(begin)[2]
        return max(0.0, slept)

    def cuts(self, begin: float, end: float, moments: Sequence[datetime]) -> list[float]:
        """Give `begin`, `end` and between them every t where UTC jumps or passes one of `moments`, in order.

        UTC runs evenly between two cuts. A moment that a forward jump skips is cut at the jump; one that a backward
        jump repeats is cut twice.
        """
        inside = {begin, end}
        steps = [*self._steps, (end, 0.0, 0.0)]
        for (from_t, step, _), (to_t, _, _) in pairwise(steps):
            inside.add(from_t)
            for moment in moments:
                t = (moment - self._start).total_seconds() - step
                if from_t < t < to_t:
                    inside.add(t)
        return sorted(t for t in inside if begin <= t <= end)

    def _step_at(self, t: float) -> tuple[float, float, float]:
        return next(step for step in reversed(self._steps) if step[0] <= t or step is self._steps[0])


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
