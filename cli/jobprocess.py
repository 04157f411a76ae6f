"""The command as the daemon sees it: not its child, so it can be followed, but not waited for."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time

from greenrun.cli import procstat

_POLL_SECONDS = 0.05  # before Linux 5.3, where there is no pidfd
_STATUS_WAIT_SECONDS = 0.1
_FIND_SECONDS = 0.05
# linux/pidfd.h: _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info); exit_code is the last field of the first version.
_PIDFD_INFO_SIZE = 64
_PIDFD_GET_INFO = (3 << 30) | (_PIDFD_INFO_SIZE << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3


class JobProcess:
    """Follows one process to its end, by pidfd, or by id and start time where the kernel has no pidfd.

    Raises ProcessLookupError where the process is over and reaped already.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.descriptor: int | None = None
        self._start = procstat.fields(pid)[procstat.START : procstat.START + 1]
        try:
            self.descriptor = os.pidfd_open(pid)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EMFILE):
                raise
        self.poll_seconds = None if self.descriptor is not None else _POLL_SECONDS

    def has_ended(self) -> bool:
        """Whether the process is over; only needed where there is no `descriptor` to poll."""
        fields = procstat.fields(self.pid)
        return not fields or fields[procstat.STATE] == "Z" or fields[procstat.START : procstat.START + 1] != self._start

    def status(self) -> int | None:
        """Find out the wait status of a process that has ended and whose parent is gone; None if nobody can tell.

        The kernel (6.15 and later) keeps it with the pidfd once the process is reaped; until then the zombie's line
        in /proc shows it, to its own user.
        """
        deadline = time.monotonic() + _STATUS_WAIT_SECONDS
        while True:
            fields = procstat.fields(self.pid)
            if fields and fields[procstat.STATE] == "Z" and _is_mine(self.pid):
                return int(fields[procstat.EXIT_CODE])
            status = self._status_by_pidfd()
            if status is not None or time.monotonic() > deadline:
                return status
            time.sleep(_STATUS_WAIT_SECONDS / 20)

    def _status_by_pidfd(self) -> int | None:
        if self.descriptor is None:
            return None
        info = bytearray(struct.pack("=Q", _PIDFD_INFO_EXIT).ljust(_PIDFD_INFO_SIZE, b"\0"))
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.descriptor, _PIDFD_GET_INFO, info)
            (mask,) = struct.unpack_from("=Q", info)
            if mask & _PIDFD_INFO_EXIT:
                return int(struct.unpack_from("=i", info, _PIDFD_INFO_SIZE - 4)[0])
        return None


def find(run_id: str) -> int | None:
    """Find the command of a run whose greenrun is gone without telling: the oldest process that was told the run's id.

    A process that is just becoming another program shows no environment, so it is looked for a few times.
    """
    deadline = time.monotonic() + _FIND_SECONDS
    while (pid := _oldest_with(b"GREENRUN_RUN_ID=" + run_id.encode())) is None and time.monotonic() < deadline:
        time.sleep(_FIND_SECONDS / 10)
    return pid


def _oldest_with(mark: bytes) -> int | None:
    found: list[tuple[int, int]] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0") and (fields := procstat.fields(int(name))):
                    found.append((int(fields[procstat.START]), int(name)))
    return min(found)[1] if found else None


def _is_mine(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False
