"""What a run that was measured says about another one like it: its set-up, its epochs, its whole cost. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports import scopes
from greenrun.reports.account import account
from greenrun.reports.energy import sum_joules
from greenrun.reports.epochs import has_failed
from greenrun.reports.life import life
from greenrun.sampler.prediction import Cost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.record import Event, Record


class Likeness(NamedTuple):
    """A run as a model for the next.

    `once` is what comes once a run: before the first epoch and, where the run came to its end, after the last. What
    lies between two epochs counts for the one before. `whole` is None for a run that did not come to its end: that
    nobody saw end or, where it has epochs, that failed.
    """

    record: Record
    once: Cost
    epochs: list[Cost]
    whole: Cost | None


def likeness(events: Sequence[Event]) -> Likeness | None:
    """Read a run log's events; None where no command ran."""
    record = account(events)
    lived = life(events)
    if lived is None:
        return None
    devices = scopes.charged(events, lived, record)

    def cost(from_t: float, to_t: float) -> Cost:
        return Cost(to_t - from_t, sum_joules(devices, from_t, to_t))

    whole = cost(lived.begin, lived.end) if lived.ended else None
    found = record["epochs"]
    if not found:
        return Likeness(record, Cost(0.0, 0.0), [], whole)
    begins = [lived.begin + epoch["from"] for epoch in found]
    last_end = begins[-1] + found[-1]["duration_seconds"]
    costs = [cost(from_t, to_t) for from_t, to_t in pairwise([*begins, last_end])]
    once = cost(lived.begin, begins[0])
    if has_failed(events):
        whole = None
    if whole is not None:
        once = _sum(once, cost(last_end, lived.end))
    numbers = [_first_number(events, found[0]["marker"]) - 1, *(epoch["n"] for epoch in found)]
    epochs = [_part(one, count) for one, count in zip(costs, _steps(numbers), strict=True) for _ in range(count)]
    return Likeness(record, once, epochs, whole)


def _first_number(events: Sequence[Event], marker: str) -> int:
    """Give the number of the first mark: a job that marks only some of its epochs may begin with it and end another."""
    marks = [event for event in events if event["event"] == "epoch" and event["from"] == marker]
    return int(min(marks, key=lambda mark: float(mark["t"]))["n"])


def _steps(numbers: Sequence[int]) -> list[int]:
    return [max(1, after - before) for before, after in pairwise(numbers)]


def _part(cost: Cost, count: int) -> Cost:
    joules = cost.energy_joules
    return Cost(cost.duration_seconds / count, None if joules is None else joules / count)


def _sum(one: Cost, other: Cost) -> Cost:
    known = one.energy_joules is not None and other.energy_joules is not None
    joules = (one.energy_joules or 0.0) + (other.energy_joules or 0.0) if known else None
    return Cost(one.duration_seconds + other.duration_seconds, joules)
