"""A cgroup that is a job's own: nothing is in it but the job, greenrun, and those who started them and wait.

Its counter then tells more than the process tree does, also of daemons that left the tree and of children that nobody
waited for: a container, a task of SLURM's, a service or a scope of systemd's that runs greenrun and nothing beside it.
A login session may be one for a while. Whether it still is, is looked at before each time that its counter counts:

    the job, and what descends from it                              the job's
    without a parent in the cgroup, begun after the job             the job's: it was orphaned
    those above the job, greenrun's daemon and what that starts     not the job's: what they use is taken off
    anything else, such as a shell's next command                   the cgroup is not the job's own

Orphans come to process 1 or to a process above the job. One of another process namespace, and one that begins before
the job, is somebody else's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NamedTuple

from greenrun.sampler import cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenrun.sampler.model import Machine

_COUNTERS = ("", "cpuacct")  # version 2 counts in every cgroup, version 1 where that controller is mounted
_MOST_ANCESTORS = 100

_Whose = Literal["job", "greenrun", "daemon", "stranger"]


class _Process(NamedTuple):
    parent: int
    start_ticks: int
    own_ticks: int  # user and system
    waited_ticks: int  # of the children that it has waited for
    resident_pages: int


class OwnGroup:
    """The own cgroup of a job, as `find` gives it."""

    def __init__(self, machine: Machine, group: cgroups.Group, pid: int, launcher: int | None) -> None:
        self._procfs = machine.procfs
        self._group = group
        self._pid = pid
        self._launcher = launcher
        self._daemon = os.getpid()
        self._tick_seconds = 1 / os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._above = list(_ancestors(machine.procfs, pid))
        job = _process(machine.procfs, pid)
        self._began_ticks = job.start_ticks if job else 0
        self._base_seconds: float | None = None
        self._others: dict[int, tuple[int, int]] = {}  # process to its ticks as first and as last seen

    def look(self) -> tuple[float, int] | None:
        """Give the job's (CPU seconds, resident bytes); None where the cgroup is not its own, or does not count."""
        present = self._present()
        whose = {pid: self._whose(pid, present) for pid in present}
        total_seconds = cgroups.cpu_seconds(self._group.version, self._group.folder)
        if total_seconds is None or "stranger" in whose.values():
            return None
        job = [process for pid, process in present.items() if whose[pid] == "job"]
        others = {pid: process for pid, process in present.items() if whose[pid] == "greenrun"}
        for pid, process in others.items():
            # Greenrun, and a relay of its, wait for the job; a shell waits for greenrun only when all is over.
            self._note(pid, process.own_ticks + (0 if self._is_greenrun(pid) else process.waited_ticks))
        daemons = [process for pid, process in present.items() if whose[pid] == "daemon"]
        self._note(self._daemon, sum(process.own_ticks + process.waited_ticks for process in daemons))
        if self._base_seconds is None:
            if self._pid not in present:
                return None
            used_ticks = sum(process.own_ticks + process.waited_ticks for process in job)
            self._base_seconds = total_seconds - used_ticks * self._tick_seconds
        others_ticks = sum(last - first for first, last in self._others.values())
        seconds = total_seconds - self._base_seconds - others_ticks * self._tick_seconds
        return max(0.0, seconds), self._resident_bytes(job, others)

    def _present(self) -> dict[int, _Process]:
        pids = cgroups.processes(self._group.folder)
        found = {pid: _process(self._procfs, pid) for pid in pids if pid}
        known = {pid: process for pid, process in found.items() if process is not None}
        if 0 in pids:
            known[0] = _Process(0, 0, 0, 0, 0)
        return known

    def _whose(self, pid: int, present: dict[int, _Process]) -> _Whose:
        if pid in self._above:
            return "greenrun"  # or the shell, the container's first process: they wait
        begun_ticks = 0
        for _ in range(len(present) + 1):
            if pid == self._pid:
                return "job"
            if pid == self._daemon:
                return "daemon"
            if pid not in present:
                break
            if pid in self._above:
                if not self._is_greenrun(pid):
                    return "stranger"
                # As process 1 greenrun inherits orphans; its own children are older than the job.
                return "greenrun" if begun_ticks <= self._began_ticks else "job"
            begun_ticks, pid = present[pid].start_ticks, present[pid].parent
        orphaned = pid == 1 or pid in self._above
        return "job" if orphaned and begun_ticks >= self._began_ticks else "stranger"

    def _note(self, pid: int, ticks: int) -> None:
        first, last = self._others.get(pid, (ticks, ticks))
        self._others[pid] = first, max(ticks, last)

    def _is_greenrun(self, pid: int) -> bool:
        """Whether it is greenrun, one of its own children, or stands between greenrun and the job."""
        if pid not in self._above:
            return True
        return self._launcher in self._above and self._above.index(pid) <= self._above.index(self._launcher)

    def _resident_bytes(self, job: list[_Process], others: dict[int, _Process]) -> int:
        """Give what the cgroup counts, where no memory of a shell's or of a container's first process is in it."""
        if self._group.version == 2 and all(map(self._is_greenrun, others)):
            counted = cgroups.resident_bytes(2, self._group.folder)
            if counted is not None:
                return counted
        # Pages that processes share are counted in each of them.
        return sum(process.resident_pages for process in job) * self._page_bytes


def find(machine: Machine, pid: int, launcher: int | None) -> OwnGroup | None:
    """Give the own cgroup of a job that has just begun as the process `pid`; None where it has none."""
    groups = cgroups.groups(machine, pid)
    for controller in _COUNTERS:
        group = groups.get(controller)
        if group is not None and not group.is_everything:
            found = OwnGroup(machine, group, pid, launcher)
            if found.look() is not None:
                return found
    return None


def _ancestors(procfs: str, pid: int) -> Iterator[int]:
    for _ in range(_MOST_ANCESTORS):
        process = _process(procfs, pid)
        if process is None or process.parent == 0:
            return
        pid = process.parent
        yield pid


def _process(procfs: str, pid: int) -> _Process | None:
    try:
        told = cgroups.read(f"{procfs}/{pid}/stat").rpartition(b")")[2].split()
        return _Process(
            parent=int(told[1]),
            start_ticks=int(told[19]),
            own_ticks=int(told[11]) + int(told[12]),
            waited_ticks=int(told[13]) + int(told[14]),
            resident_pages=int(told[21]),
        )
    except (OSError, ValueError, IndexError):
        return None
