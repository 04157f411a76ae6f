"""How long to wait for greenrun's own processes: longer where it is the machine that is late."""

from __future__ import annotations

import time

from greenrun.cli import procstat

_LOOK_SECONDS = 0.02


class Patience:
    """A wait of so many seconds for a process; of `busy_seconds` more where the machine is late, and not the process.

    That is so where it was found waiting for a processor, or at work, within the last `hang_seconds`: it may be at the
    disk in between. One that hangs or stands still has its `seconds` and no more.
    """

    def __init__(self, seconds: float, busy_seconds: float, hang_seconds: float) -> None:
        began = time.monotonic()
        self._hang_seconds = hang_seconds
        self._first_look = began + max(seconds - hang_seconds, 0.0)
        self._most = began + seconds + busy_seconds
        self._worked = self._first_look

    def left(self, pid: int | None) -> float:
        """Give how many seconds to wait before the next call; 0.0: it is over. `pid` is who is waited for now."""
        now = time.monotonic()
        if now < self._first_look:
            return self._first_look - now
        if pid is not None and procstat.is_runnable(pid):
            self._worked = now
        return _LOOK_SECONDS if now < min(self._worked + self._hang_seconds, self._most) else 0.0
