"""From marks to finished epochs. Pure: what was measured at a mark comes with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


class Point(NamedTuple):
    """A moment of the run: seconds since its start, and the joules of all counted devices until then, if known."""

    t: float
    joules: float | None


@dataclass(frozen=True, slots=True)
class Epoch:
    """A finished epoch: `n` counts from 1, `from_t` is seconds since the start of the run."""

    n: int
    from_t: float
    duration_seconds: float
    energy_joules: float | None


class Progress:
    """Takes the marks of one job in their order and keeps the epochs that they finish.

    An epoch lasts from its own start mark, or else from the end of the one before it, to its end mark, or else to the
    start of the next one. Where a job marks only some of its epochs (every fifth), those between share the time and
    the energy equally. `first` is where the first epoch began: what lies before it is the job's set-up.
    """

    def __init__(self, spawned: Point) -> None:
        self.spawned = spawned
        self.first = spawned
        self.finished: list[Epoch] = []
        self._begun: tuple[int, Point] | None = None
        self._last_end = spawned
        self._last_n: int | None = None

    def mark(self, n: int, kind: Literal["start", "end"], at: Point) -> None:
        """Take one mark; numbers must rise."""
        if kind == "end":
            self._finish(n, at)
            return
        if self._begun is not None:
            self._finish(n - 1, at)
        elif self._last_n is None:
            self.first = at
        self._begun = (n, at)

    def end(self, at: Point) -> None:
        """Take the end of the command: it ends an epoch that only its start was told of."""
        if self._begun is not None:
            self._finish(self._begun[0], at)

    def _finish(self, n: int, at: Point) -> None:
        begin, first_n = self._last_end, n if self._last_n is None else self._last_n + 1
        if self._begun is not None:
            first_n, begin = self._begun
        count = max(n - first_n + 1, 1)
        joules = None if at.joules is None or begin.joules is None else (at.joules - begin.joules) / count
        seconds = (at.t - begin.t) / count
        self.finished.extend(
            Epoch(n - count + 1 + i, begin.t + i * seconds, seconds, joules) for i in range(count)
        )
        self._begun, self._last_end, self._last_n = None, at, n
