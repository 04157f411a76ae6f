"""Whose a GPU is, told by who was seen on it: pure.

Lists of the processes on a GPU are asked for seldom, for they take a lock that the job's own calls need. So the first
list is asked for when the GPU is first used, which is when its processes are there, and at the latest when a list
would be due anyway. Where the job and others are on one GPU at the same time, the part of each in the use of it is told
by the driver's utilisation per process: how long something of theirs ran on it, an estimate of their energy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

FIRST_LOOK_SECONDS = 1.0  # after the job's start: until then it is only starting
LOOK_SECONDS = 10.0
"""A list takes the driver's lock for up to 4.5 ms: at this rate less than one part in two thousand of the time."""

_LONGEST_LOOK_SECONDS = 60.0
_LOOKS_BEFORE_THINNING = 360  # an hour of them; then they thin out as the log's lines do

Verdict = Literal["job", "shared", "not-job", "unknown"]


class Use(NamedTuple):
    """What one process used of a GPU: the per cent of a stretch of time in which something of it ran there."""

    pid: int
    percent: float


class Tenancy:
    """One GPU's tenants over a run. `given`: the job was told to use it, so that it is the job's but for others on it.

    `share` is the job's part of the use that is made of the GPU now, 0..1, None while that is not known.
    """

    def __init__(self, given: bool) -> None:
        self.share: float | None = None
        self._given = given
        self._next_look = LOOK_SECONDS
        self._has_asked = False
        self._looks = 0
        self._seen = False  # a process of the job's
        self._others_seen = False
        self._mine: frozenset[int] = frozenset()  # as of the last look
        self._others: frozenset[int] = frozenset()
        self._was_shared = False
        self._is_quiet: bool | None = None  # nothing ran since the last look; None: nothing is known of that

    @property
    def is_shared(self) -> bool:
        """Whether the job and others were on it when it was last looked at."""
        return bool(self._mine and self._others)

    @property
    def verdict(self) -> Verdict:
        """Whose it is by what was seen so far; while the job runs it may still come."""
        if self._given or self._seen:
            return "shared" if self._others_seen else "job"
        return "unknown"

    @property
    def was_looked_at(self) -> bool:
        """Whether there was a list of its processes."""
        return self._looks > 0

    def run(self, seconds: float, utilisation: float | None) -> None:
        """Take how busy the GPU is, 0..1, `seconds` after the job's start."""
        if utilisation is not None and seconds >= FIRST_LOOK_SECONDS:
            self._is_quiet = self._is_quiet is not False and utilisation == 0.0

    def is_due(self, seconds: float) -> bool:
        """Tell whether to look: when something first runs on it, and seldom from then on."""
        return seconds >= self._next_look or (not self._has_asked and self._is_quiet is False)

    def look(self, seconds: float, mine: Collection[int], others: Collection[int]) -> None:
        """Take a list of the processes on it: those of the job, and those of others."""
        self._plan(seconds)
        self._looks += 1
        self._is_quiet = self._is_quiet or None  # what ran before is explained by those who are there
        self._mine, self._others = frozenset(mine), frozenset(others)
        self._seen = self._seen or bool(mine)
        self._others_seen = self._others_seen or bool(others)
        if not self.is_shared:
            self.share = 1.0 if mine or (self._given and not others) else 0.0
        elif not self._was_shared:
            self.share = None
        self._was_shared = self.is_shared

    def miss(self, seconds: float) -> None:
        """Take it that there was no list."""
        self._plan(seconds)
        self.share = None

    def use(self, uses: Sequence[Use], mine: Collection[int], others: Collection[int]) -> None:
        """Take what the processes used since the last time, while it is shared, and whose they are.

        Of those that have gone meanwhile the last list tells it. Where nothing ran the share stands.
        """
        self._mine, self._others = self._mine | frozenset(mine), self._others | frozenset(others)
        of_job = sum(use.percent for use in uses if use.pid in self._mine)
        of_others = sum(use.percent for use in uses if use.pid in self._others)
        if of_job + of_others > 0.0:
            self.share = of_job / (of_job + of_others)

    def end(self) -> Verdict:
        """Give the verdict when the job is over.

        A GPU on which no process of the job was ever seen is not the job's, unless something ran on it when nobody
        looked: since the last list, and not by those who were in it.
        """
        if self.verdict != "unknown":
            return self.verdict
        by_those_seen = self._looks > 1 and (bool(self._others) or self._is_quiet is None)
        return "not-job" if self._is_quiet or by_those_seen else "unknown"

    def _plan(self, seconds: float) -> None:
        self._has_asked = True
        gap = min(max(LOOK_SECONDS, seconds / _LOOKS_BEFORE_THINNING), _LONGEST_LOOK_SECONDS)
        self._next_look = seconds + gap
