"""Look for epochs in bytes that have been forwarded already, and tell the daemon."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from greenrun.sampler.epochs import Scanner, Skipped, format_marker

if TYPE_CHECKING:
    from greenrun.sampler.epochs import Pattern

BYTES_PER_SECOND = 50_000_000  # looking must not slow down the output: beyond this it is forwarded unseen, and counted
_MOST_UNSENT = 1000  # lines kept while the daemon does not read


class Sought(NamedTuple):
    """What to look for: epochs as the user says that they look, else those of the known formats; how many, if told."""

    pattern: Pattern | None = None
    epochs: int | None = None


class Watcher:
    """Scans one stream within the budget. `marks` is the writing end of a non-blocking pipe."""

    def __init__(self, marks: int, sought: Sought) -> None:
        self._marks = marks
        self._scanner = Scanner(None, sought.pattern, sought.epochs)
        # greenrun blocks all signals; by this one the scanner breaks off a pattern that takes too long.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGVTALRM})
        self._allowance = float(BYTES_PER_SECOND)
        self._seen_at = time.monotonic()
        self._skipped_bytes = 0
        self._unsent: deque[bytes] = deque(maxlen=_MOST_UNSENT)

    def has_room(self, size: int) -> bool:
        """Whether the budget allows to look at so many bytes now."""
        now = time.monotonic()
        refilled = self._allowance + (now - self._seen_at) * BYTES_PER_SECOND
        self._allowance = min(float(BYTES_PER_SECOND), refilled)
        self._seen_at = now
        return size <= self._allowance

    def see(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if not self.has_room(len(data)):
            self.skip(len(data))
            return
        self._allowance -= len(data)
        self._unsent += [format_marker(mark._replace(at=self._seen_at)) for mark in self._scanner.feed(data)]
        self._send()

    def skip(self, size: int) -> None:
        """Take note of so many bytes that nobody looks at."""
        self._skipped_bytes += size
        self._scanner.skip()

    def finish(self) -> None:
        """Take the last line too, now that the stream is over, and tell how much was not looked at."""
        now = time.monotonic()
        self._unsent += [format_marker(mark._replace(at=now)) for mark in self._scanner.finish()]
        skipped_bytes = self._skipped_bytes + self._scanner.skipped_bytes
        if skipped_bytes:
            self._unsent.append(format_marker(Skipped(skipped_bytes)))
        self._send()

    def _send(self) -> None:
        while self._unsent:
            try:
                os.write(self._marks, self._unsent[0])
            except BlockingIOError:
                return
            except OSError:  # the daemon is gone: nobody wants to know
                self._unsent.clear()
                return
            self._unsent.popleft()
