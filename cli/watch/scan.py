"""Look for epochs in bytes that have been forwarded already, and tell the daemon."""

from __future__ import annotations

import os
import time
from collections import deque

from greenrun.sampler.epochs import Scanner, Skipped, format_marker

BYTES_PER_SECOND = 50_000_000  # looking must not slow down the output: beyond this it is forwarded unseen, and counted
_MOST_UNSENT = 1000  # lines kept while the daemon does not read


class Watcher:
    """Scans one stream within the budget. `marks` is the writing end of a non-blocking pipe."""

    def __init__(self, marks: int) -> None:
        self._marks = marks
        self._scanner = Scanner()
        self._allowance = float(BYTES_PER_SECOND)
        self._seen_at = time.monotonic()
        self._skipped_bytes = 0
        self._unsent: deque[bytes] = deque(maxlen=_MOST_UNSENT)

    def see(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        now = time.monotonic()
        refilled = self._allowance + (now - self._seen_at) * BYTES_PER_SECOND
        self._allowance = min(float(BYTES_PER_SECOND), refilled)
        self._seen_at = now
        if len(data) > self._allowance:
            self._skipped_bytes += len(data)
            self._scanner.skip()
            return
        self._allowance -= len(data)
        self._unsent += [format_marker(mark._replace(at=now)) for mark in self._scanner.feed(data)]
        self._send()

    def finish(self) -> None:
        """Take the last line too, now that the stream is over, and tell how much was not looked at."""
        now = time.monotonic()
        self._unsent += [format_marker(mark._replace(at=now)) for mark in self._scanner.finish()]
        if self._skipped_bytes:
            self._unsent.append(format_marker(Skipped(self._skipped_bytes)))
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
