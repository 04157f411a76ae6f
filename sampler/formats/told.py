"""What the user says that a line looks like: a regular expression, searched in every line.

It is somebody's own and may take a line exponentially long. So it gets a quarter of a second at a stretch, and as much
again for each second of rest: then the search is broken off, and what was not searched is counted. The regular
expressions of Python look for signals as they go, which is how a timer of processor time can stop one.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Literal

from greenrun.sampler.formats.allowance import Allowance
from greenrun.sampler.formats.sighting import Sighting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

_SHARE = 0.25
_MOST_SECONDS = 0.25  # the most that the job's output may wait for it
_LEAST_SECONDS = 0.01
_NUMBER = re.compile(rb"\s*([0-9]{1,9})\s*")


class _OutOfTimeError(Exception):
    """The time for this stretch is used up."""


class Told:
    """Searches for the user's expression; `skipped_bytes` counts what there was no time for."""

    def __init__(self, regex: re.Pattern[bytes], tells: Literal["opens", "closes"]) -> None:
        self._regex = regex
        self._tells: Literal["opens", "closes"] = tells
        self._number: int | str = "n" if "n" in regex.groupindex else 1
        self._has_total = "of" in regex.groupindex
        self._allowance = Allowance(_SHARE, _MOST_SECONDS)
        self._is_searching = False
        self._is_over = False
        self.skipped_bytes = 0

    def search(self, lines: Sequence[bytes], found: Callable[[Sighting], None]) -> None:
        """Hand each sighting in `lines` to `found`, as far as there is time."""
        waiting = iter(lines)
        seconds = self._allowance.start()
        if seconds >= _LEAST_SECONDS:
            self._search_within(seconds, waiting, found)
            self._allowance.stop()
        self.skipped_bytes += sum(len(line) + 1 for line in waiting)

    def _search_within(self, seconds: float, waiting: Iterator[bytes], found: Callable[[Sighting], None]) -> None:
        """Search line by line until the time is over; what is left stays in `waiting`."""
        try:
            handler = signal.signal(signal.SIGVTALRM, self._interrupt)
        except ValueError:  # not in the main thread: no timer, no search
            return
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGVTALRM})
        line = b""
        self._is_over = False
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            for line in waiting:
                self._is_searching = True
                sighting = self._sight(line)
                self._is_searching = False
                if sighting is not None:
                    found(sighting)
                if self._is_over:
                    break
        except _OutOfTimeError:
            self.skipped_bytes += len(line) + 1
        finally:
            self._is_searching = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            signal.signal(signal.SIGVTALRM, handler)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._is_over = True
        if self._is_searching:  # not while a sighting is being handed on
            raise _OutOfTimeError

    def _sight(self, line: bytes) -> Sighting | None:
        found = self._regex.search(line)
        if found is None:
            return None
        number = _NUMBER.fullmatch(found[self._number] or b"")
        total = _NUMBER.fullmatch(found["of"] or b"") if self._has_total else None
        if number is None:
            return None
        return Sighting("told", int(number[1]), None if total is None else int(total[1]), self._tells)
