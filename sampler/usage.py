"""How busy the machine and the job are: CPU seconds and bytes, from /proc, and from a job's own cgroup if it has one.

Plain reads of small files; a reading of the machine takes some ten microseconds. `Usage.job` scans all processes, or
those of the job's own cgroup.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenrun.sampler.model import Machine
    from greenrun.sampler.owngroup import OwnGroup

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
        self._machine = machine
        self._group: OwnGroup | None = None
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

    def expect(self, pid: int, launcher: int | None, at_least_seconds: float = 0.0) -> None:
        """See, now that a job has begun, whether it has a cgroup of its own, in which it is to be counted.

        `launcher` is the greenrun that started it, if it was one. `at_least_seconds`: what was seen of it before.
        """
        from greenrun.sampler import owngroup  # only now: the command need not wait for it

        self._job_seconds[pid] = at_least_seconds
        self._group = owngroup.find(self._machine, pid, launcher)

    @property
    def counts_to_the_end(self) -> bool:
        """Whether what the job has used can still be seen when its process is gone."""
        return self._group is not None

    def job(self, pid: int) -> tuple[float, int] | None:
        """Give (CPU seconds, resident bytes) of the process and all its descendants, None when it is gone.

        Where the job has a cgroup of its own its counter tells, daemons of the job's and children that nobody waited
        for included. Elsewhere descendants that were orphaned count as long as they stay in the job's session. Children
        that have ended are inside the figures of the parent that waited for them. What ends unnoticed with no parent of
        the job's left is missed; the seconds never fall, because what has been used stays used.
        """
        began = time.thread_time()
        found = self._of_group() or self._of_tree(pid)
        self.job_scan_seconds = time.thread_time() - began
        if found is None:
            return None
        self._job_seconds[pid] = max(found[0], self._job_seconds.get(pid, 0.0))
        return self._job_seconds[pid], found[1]

    def _of_group(self) -> tuple[float, int] | None:
        if self._group is None:
            return None
        found = self._group.look()
        if found is None:
            self._group = None  # somebody else is in it: for good, for he may have been there for a while when he goes
        return found

    def _of_tree(self, pid: int) -> tuple[float, int] | None:
        job = self._members(pid)
        if not job:
            return None
        # Pages that processes share are counted in each of them.
        resident = sum(process.resident_pages for process in job) * self._page_bytes
        return sum(process.cpu_ticks for process in job) * self._tick_seconds, resident

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
        entries: list[str] = []
        with contextlib.suppress(OSError):  # a container that hides it
            entries = os.listdir(self._procfs)
        for entry in entries:
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
            if len(size) == 2:
                return size  # both are among the first lines of fifty
    return None


def allowed_memory_bytes(machine: Machine) -> int | None:
    """Give the memory that this process may use: the machine's, or less where a cgroup above it sets a limit."""
    size = memory_bytes(machine.procfs)
    if size is None:
        return None
    from greenrun.sampler import cgroups

    limit = cgroups.memory_limit_bytes(machine)
    return size["MemTotal"] if limit is None else min(size["MemTotal"], limit)


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
