"""How busy the machine and the job are: CPU seconds and bytes, from /proc.

Plain reads of small files; a reading of the machine takes some ten microseconds. Only `Usage.job` scans all processes.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenrun.sampler.model import Machine

_CHUNK = 65536


class _Process(NamedTuple):
    """One line of /proc/PID/stat, as far as we need it; `start_ticks` counts from boot."""

    pid: int
    parent: int
    session: int
    start_ticks: int
    cpu_ticks: int  # user and system, its own and those of the children that it has waited for
    resident_pages: int


class Usage:
    """The machine's and the job's use of CPU and memory; the CPU figures are cumulative.

    `job_scan_seconds` is the CPU time that the last `job` took, so that the caller can keep the cost within bounds: it
    grows with the number of processes on the machine.
    """

    def __init__(self, machine: Machine) -> None:
        self._procfs = machine.procfs
        self._tick_seconds = 1 / os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._job_seconds: dict[int, float] = {}
        self.job_scan_seconds = 0.0

    def machine_cpu_seconds(self) -> tuple[float, float] | None:
        """Give (busy, all) seconds of all CPUs since boot; None where /proc/stat cannot be read.

        Waiting for input and output is not busy, nor is time stolen by other virtual machines. Guests' time is already
        inside user time.
        """
        try:
            fields = _read(f"{self._procfs}/stat").partition(b"\n")[0].split()
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, fields[1:9])
        except (OSError, ValueError):
            return None
        busy = user + nice + system + irq + softirq
        return busy * self._tick_seconds, (busy + idle + iowait + steal) * self._tick_seconds

    def memory(self) -> tuple[int, int] | None:
        """Give (used, all) bytes of the machine's memory; caches that can be dropped are not used."""
        size = memory_bytes(self._procfs)
        return (size["MemTotal"] - size["MemAvailable"], size["MemTotal"]) if size else None

    def job(self, pid: int) -> tuple[float, int] | None:
        """Give (CPU seconds, resident bytes) of the process and all its descendants, None when it is gone.

        Descendants that were orphaned count as long as they stay in the job's session. Children that have ended are
        inside the figures of the parent that waited for them. What ends unnoticed with no parent of the job's left is
        missed; the seconds never fall, because what has been used stays used.
        """
        began = time.thread_time()
        job = self._members(pid)
        self.job_scan_seconds = time.thread_time() - began
        if not job:
            return None
        seconds = sum(process.cpu_ticks for process in job) * self._tick_seconds
        self._job_seconds[pid] = max(seconds, self._job_seconds.get(pid, 0.0))
        # Pages that processes share are counted in each of them.
        return self._job_seconds[pid], sum(process.resident_pages for process in job) * self._page_bytes

    def _members(self, pid: int) -> list[_Process]:
        processes = {process.pid: process for process in self._processes()}
        root = processes.get(pid)
        if root is None:
            return []
        children: dict[int, list[_Process]] = {}
        for process in processes.values():
            children.setdefault(process.parent, []).append(process)
        members: dict[int, _Process] = {}
        waiting = [root]
        waiting += [process for process in processes.values() if _is_orphan(process, root, processes)]
        while waiting:
            process = waiting.pop()
            if process.pid not in members:
                members[process.pid] = process
                waiting += children.get(process.pid, ())
        return list(members.values())

    def _processes(self) -> Iterator[_Process]:
        for entry in os.listdir(self._procfs):
            if entry.isdigit():
                try:
                    yield _parse(_read(f"{self._procfs}/{entry}/stat"))
                except (OSError, ValueError, IndexError):
                    continue  # it has just ended


def memory_bytes(procfs: str) -> dict[str, int] | None:
    """Read MemTotal and MemAvailable from meminfo, in bytes; None where they are not there."""
    try:
        lines = _read(f"{procfs}/meminfo").splitlines()
    except OSError:
        return None
    size = {}
    for line in lines:
        key, _, value = line.partition(b":")
        if key in {b"MemTotal", b"MemAvailable"}:
            size[key.decode()] = int(value.split()[0]) * 1024  # "kB" there means 1024 bytes
    return size if len(size) == 2 else None


def allowed_memory_bytes(machine: Machine) -> int | None:
    """Give the memory that this process may use: the machine's, or less where a cgroup above it sets a limit."""
    size = memory_bytes(machine.procfs)
    return min([size["MemTotal"], *_cgroup_limits(machine)]) if size else None


def _cgroup_limits(machine: Machine) -> Iterator[int]:
    """Read the memory limits of this process's cgroup and of all above it, version 1 and 2.

    In a container the path may be the host's, of which only the end is mounted, or nothing at all: a directory that is
    not there is passed over, and the walk ends at the mount itself, which is the container's own cgroup.
    """
    try:
        lines = _read(f"{machine.procfs}/self/cgroup").decode(errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, name = f"{machine.sysfs}/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = f"{machine.sysfs}/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        path = path.rstrip("/")
        while True:
            with contextlib.suppress(OSError, ValueError):  # no such cgroup here, or "max"
                yield int(_read(f"{mount}{path}/{name}"))
            if not path:
                break
            path = path.rpartition("/")[0]


def _is_orphan(process: _Process, root: _Process, processes: dict[int, _Process]) -> bool:
    """Tell whether a process was left behind by the job: in its session, begun after it, its parent from elsewhere.

    The session may be the user's shell's, with other jobs in it; those still have their parent in the session.
    """
    if process.session != root.session or process.pid == process.session or process.start_ticks < root.start_ticks:
        return False
    parent = processes.get(process.parent)
    return parent is None or parent.session != root.session


def _parse(line: bytes) -> _Process:
    # The name in parentheses may hold spaces and parentheses itself; nothing after it can.
    pid = int(line.partition(b" ")[0])
    fields = line.rpartition(b")")[2].split()
    return _Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        cpu_ticks=sum(map(int, fields[11:15])),
        resident_pages=int(fields[21]),
    )


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _CHUNK)
    finally:
        os.close(descriptor)
    return data
