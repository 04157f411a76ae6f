"""Phases of a job, told by marker lines: which of them begins and ends when.

Pure. A phase of one name may lie within another of that name (a function that calls itself), and several processes may
be in it: it lasts from the first start to the last end. Only those two go into the log.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greenrun.sampler.events import Event

MOST_STRETCHES = 10_000
"""The record is made within two seconds; more would cost it, and the disk."""

MOST_NAMES = 100

_MARKER = re.compile(r"phase (\S{1,100}) (start|end)(?: at=([0-9]{1,12}(?:\.[0-9]{1,12})?))?")


class PhaseMark(NamedTuple):
    """The phase `name` begins or ends; `at` is CLOCK_MONOTONIC seconds, None if not told."""

    name: str
    mark: Literal["start", "end"]
    at: float | None = None


def parse_marker(line: str) -> PhaseMark | None:
    """Understand `phase NAME start|end [at=SECONDS]`, one line of the marks file; None for anything else."""
    found = _MARKER.fullmatch(" ".join(line.split()))
    if found is None:
        return None
    name, mark, at = found.groups()
    return PhaseMark(name, "start" if mark == "start" else "end", None if at is None else float(at))


class OpenPhases:
    """The phases that a job is in; `is_full` once some were left out because there were too many."""

    def __init__(self) -> None:
        self.is_full = False
        self._depths: dict[str, int] = {}
        self._names: set[str] = set()
        self._stretches = 0

    def accept(self, mark: PhaseMark) -> bool:
        """Take a mark; whether the phase really begins or ends with it. An end without a start tells nothing."""
        depth = self._depths.get(mark.name, 0)
        if mark.mark == "end":
            if depth > 1:
                self._depths[mark.name] = depth - 1
            elif depth == 1:
                del self._depths[mark.name]
            return depth == 1
        if depth == 0:
            if self._stretches >= MOST_STRETCHES or (mark.name not in self._names and len(self._names) >= MOST_NAMES):
                self.is_full = True
                return False
            self._stretches += 1
            self._names.add(mark.name)
        self._depths[mark.name] = depth + 1
        return depth == 0

    def restore(self, events: Iterable[Event]) -> None:
        """Take over what the log of an earlier sampler tells."""
        for event in events:
            if event["event"] == "phase":
                self.accept(PhaseMark(event["name"], event["mark"]))
