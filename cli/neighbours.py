"""Other greenruns on this machine: whether one of them follows the same file as this one.

A greenrun inside a greenrun is no neighbour: what it prints is a part of what the outer one prints.
"""

from __future__ import annotations

import contextlib
import os
import time

from greenrun.cli import procstat

DAEMON_NAME = "greenrun-daemon"  # the kernel keeps 15 bytes
# Looking through /proc takes processor time: so much is free, for most runs have few epochs, beyond that it is one part
# in so many of the time.
_FREE_SECONDS = 0.2
_SPARING = 1000


class Neighbours:
    """Looks for other daemons that have the file at `path` open; `file` is its device and inode.

    `owner` is the greenrun whose output goes there, by its process id.
    """

    def __init__(self, path: str, file: tuple[int, int], owner: int) -> None:
        self.path = path
        self._file = file
        self._owner = owner
        self._since = time.monotonic()
        self._spent_seconds = 0.0

    def follow_it_too(self) -> bool:
        """Whether there is one now; False as well where it is too soon to look again."""
        if self._spent_seconds > _FREE_SECONDS + (time.monotonic() - self._since) / _SPARING:
            return False
        began = time.thread_time()
        found = any(self._is_open_in(process) and not self._is_related(process) for process in _other_daemons())
        self._spent_seconds += time.thread_time() - began
        return found

    def _is_open_in(self, process: str) -> bool:
        folder = f"/proc/{process}/fd"
        try:
            descriptors = os.listdir(folder)
        except OSError:  # somebody else's, or gone meanwhile
            return False
        for number in descriptors:
            link = f"{folder}/{number}"
            with contextlib.suppress(OSError):  # closed meanwhile: the others are still to be looked at
                # The name first: another file may lie on a file system that hangs.
                if os.readlink(link) == self.path:
                    status = os.stat(link)
                    return (status.st_dev, status.st_ino) == self._file
        return False

    def _is_related(self, process: str) -> bool:
        """Whether that daemon's greenrun, its parent, runs inside of ours, or ours inside of it."""
        told = procstat.fields(int(process))
        other = int(told[procstat.PARENT]) if told else 0
        return other > 1 and (procstat.descends(other, self._owner) or procstat.descends(self._owner, other))


def _other_daemons() -> list[str]:
    found = []
    for process in os.listdir("/proc"):
        if process.isdigit() and int(process) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{process}/comm") as file:
                if file.read().rstrip("\n") == DAEMON_NAME:
                    found.append(process)
    return found
