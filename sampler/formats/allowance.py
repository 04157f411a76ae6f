"""How much time a kind of work may take, so that it never keeps the job's output waiting for long.

By the clock, not by processor time: it is what the job waits, and asking for it costs next to nothing.
"""

from __future__ import annotations

import time


class Allowance:
    """`most_seconds` at a stretch, and for each second of rest `share` of one more; what was too much is owed."""

    def __init__(self, share: float, most_seconds: float) -> None:
        self._share = share
        self._most_seconds = most_seconds
        self._seconds = most_seconds
        self._at = time.monotonic()
        self._started = 0.0

    def start(self) -> float:
        """Begin to work; give the seconds that there are for it, 0 or less where some are owed."""
        now = time.monotonic()
        self._seconds = min(self._seconds + (now - self._at) * self._share, self._most_seconds)
        self._at = now
        self._started = now
        return self._seconds

    def is_used_up(self) -> bool:
        """Tell, while at work, whether it has to end."""
        return time.monotonic() - self._started > self._seconds

    def stop(self) -> None:
        """End the work; where nobody says so it was none."""
        now = time.monotonic()
        self._seconds = max(self._seconds - (now - self._started), -self._most_seconds)
        self._at = now
