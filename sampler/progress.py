"""From marks to finished epochs. Pure: what was measured at a mark comes with it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from greenrun.sampler.prediction import Cost


class Point(NamedTuple):
    """A moment of the run: seconds since its start, and the joules of all counted devices until then, if known."""

    t: float
    joules: float | None


class Epoch(NamedTuple):
    """A finished epoch: `n` counts from 1, `from_t` is seconds since the start of the run.

    Where a job marks only some of its epochs, one entry stands for all `epochs` of them since the mark before.
    """

    n: int
    from_t: float
    duration_seconds: float
    energy_joules: float | None
    epochs: int


class Progress:
    """Takes the marks of one job in their order and keeps the epochs that they finish.

    An epoch lasts from its own start mark, or else from the end of the one before it, to its end mark, or else to the
    start of the next one. `first` is where the first epoch began: what lies before it is the job's set-up.

    `costs` is what a prediction goes by: one entry an epoch, where several share a mark each its part of them. What lay
    between an epoch and the one before it (a checkpoint) is in none of `finished`, but comes again: here it is counted.
    Seconds are of a clock that stands still while the machine is suspended.
    """

    def __init__(self, spawned: Point) -> None:
        self.spawned = spawned
        self.first = spawned
        self.finished: list[Epoch] = []
        self.costs: list[Cost] = []
        self._begun: int | None = None
        self._boundary = spawned
        self._ended: Point | None = None  # the last epoch that was finished
        self._last_n: int | None = None
        self._first_is_bare = False  # the first finished epoch has no start mark

    def mark(self, n: int, kind: Literal["start", "end"], at: Point) -> None:
        """Take one mark; its number is above those before it, and it is not earlier: it counts as no earlier."""
        at = at._replace(t=max(at.t, self._boundary.t))
        if kind == "end":
            self._finish(n, at)
            return
        if self._begun == n:  # told twice
            return
        if self._begun is not None:
            self._finish(n - 1, at)
        elif self._last_n is None:
            self.first = at
        self._begun, self._boundary = n, at

    def end(self, at: Point) -> None:
        """Take the end of the command: it ends an epoch that only its start was told of."""
        if self._begun is not None:
            self._finish(self._begun, at)

    def _finish(self, n: int, at: Point) -> None:
        begin = self._boundary
        if not self.finished:
            self._first_is_bare = self._begun is None
        # A job whose first mark has a high number was resumed: it has not done all those epochs itself.
        first = n if self._last_n is None else self._last_n + 1
        if self._begun is not None:
            first = self._begun
        count = max(n - first + 1, 1)
        if self.is_unclear and count > 1 and self.finished[0].n <= count:
            self._tells_only_some()
        self.finished.append(Epoch(n, begin.t, at.t - begin.t, _joules(begin, at), count))
        since = self._ended or begin
        joules = _joules(since, at)
        self.costs += [Cost((at.t - since.t) / count, None if joules is None else joules / count)] * count
        self._begun, self._boundary, self._last_n, self._ended = None, at, n, at

    def _tells_only_some(self) -> None:
        """Have the first mark stand for all epochs before it, as the second does."""
        told = self.finished[0]
        self.finished[0] = told._replace(epochs=told.n)
        joules = None if told.energy_joules is None else told.energy_joules / told.n
        self.costs[:] = [Cost(told.duration_seconds / told.n, joules)] * told.n

    @property
    def is_unclear(self) -> bool:
        """Whether the only mark so far ended a later epoch than the first: resumed there, or each tenth is told."""
        return len(self.finished) == 1 and self.finished[0].n > 1 and self._first_is_bare

    @property
    def setup(self) -> Cost:
        """What the job cost before its first epoch."""
        return Cost(self.first.t - self.spawned.t, _joules(self.spawned, self.first))

    @property
    def newest(self) -> Point:
        """Where the last finished epoch ended; the start of the command before there is one."""
        return self._ended or self.spawned

    def planned(self, of: int) -> int:
        """Give how many of `of` epochs this run will have done itself: one that was resumed does not do the first ones.

        At least one epoch must be finished.
        """
        return of - self.finished[0].n + self.finished[0].epochs


def _joules(begin: Point, end: Point) -> float | None:
    if begin.joules is None or end.joules is None or end.joules < begin.joules:  # meters were counted anew in between
        return None
    return end.joules - begin.joules
