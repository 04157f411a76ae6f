"""A memory limit of the kernel's own, behind which it kills: a cgroup of version 1 or 2.

    with MemoryLimit(64 << 20) as limit:
        subprocess.run(limit.command(["greenrun", ...]))
        assert limit.kills() == 1

Only root can make one; where no memory controller can be had, `missing` says why.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from types import TracebackType

_TOP = "/sys/fs/cgroup"
_V1 = os.path.join(_TOP, "memory")


def missing() -> str | None:
    """Say why there can be no limit here; None if there can."""
    try:
        with MemoryLimit(64 << 20):
            return None
    except OSError as error:
        return f"no memory cgroup can be made: {error}"


class MemoryLimit:
    """At most so many bytes for all processes that `command` starts, and for theirs."""

    def __init__(self, limit_bytes: int) -> None:
        self._bytes = limit_bytes
        self._is_v1 = os.path.isdir(_V1)
        self.path = ""

    def __enter__(self) -> MemoryLimit:
        self.path = tempfile.mkdtemp(prefix="greenrun-test-", dir=_V1 if self._is_v1 else _TOP)
        try:
            self._set("memory.limit_in_bytes" if self._is_v1 else "memory.max", self._bytes)
            for swap in ("memory.memsw.limit_in_bytes", "memory.swap.max"):  # there only where the kernel counts it
                with contextlib.suppress(OSError):
                    self._set(swap, self._bytes if self._is_v1 else 0)
        except OSError:
            os.rmdir(self.path)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + 10.0
        while _is_busy(self.path) and time.monotonic() < deadline:  # who was killed is still on the way out
            time.sleep(0.05)
        if os.path.isdir(self.path):
            os.rmdir(self.path)

    @property
    def processes(self) -> str:
        """The path of the file that tells who is behind the limit, and takes others."""
        return os.path.join(self.path, "cgroup.procs")

    @property
    def events(self) -> str:
        """The path of the file with a line `oom_kill N`."""
        return os.path.join(self.path, "memory.oom_control" if self._is_v1 else "memory.events")

    def command(self, command: list[str]) -> list[str]:
        """Give `command` as one that runs below the limit."""
        return ["sh", "-ec", 'echo $$ > "$0"; exec "$@"', self.processes, *command]

    def kills(self) -> int:
        """Give how many processes the kernel has killed for it."""
        with open(self.events) as file:
            told = dict(line.split() for line in file)
        return int(told["oom_kill"])

    def _set(self, name: str, value: int) -> None:
        # Not made where it is not there: a folder below / is no cgroup.
        with open(os.path.join(self.path, name), "r+") as file:
            file.write(str(value))


def _is_busy(group: str) -> bool:
    try:
        os.rmdir(group)
    except OSError as refused:
        return refused.errno == errno.EBUSY
    return False
