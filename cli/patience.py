"""How long to wait for greenrun's own processes: longer where it is the machine that is late."""

from __future__ import annotations

import time

from greenrun.cli import procstat

LOOK_SECONDS = 0.02
_LOOKS = 3  # it may be at the disk in one of them


class Busy:
    """Whether a process has done nothing but wait for a processor, at each of the last looks, for so many seconds."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._deadline = time.monotonic() + seconds
        self._idle = 0

    def goes_on(self) -> bool:
        """Look once more."""
        self._idle = 0 if procstat.is_runnable(self._pid) else self._idle + 1
        return self._idle <= _LOOKS and time.monotonic() < self._deadline
