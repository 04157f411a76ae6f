"""A job's processes on this node, and what they have used: by the job's cgroup, or where SLURM makes none by its steps.

SLURM makes a cgroup for a job at its first step and removes it after the last one, so it may come and go. Which layout
there is, is found by looking:

    version 1  CONTROLLER/slurm*/uid_U/job_N            with a folder for each step and task; not all controllers
    version 2  system.slice/*slurmstepd.scope/job_N     with the same below it
    none       each step's slurmstepd, and what descends from it (proctrack/linuxproc, proctrack/pgid)
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING

from greenrun.sampler import cgroups
from greenrun.sampler.model import Machine
from greenrun.sampler.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

# cgroup-v1 as systemd and as containers mount it; the ones that say something come first.
_CONTROLLERS = ("cpuacct", "cpu,cpuacct", "cpuacct,cpu", "memory", "freezer", "cpuset", "devices")
_CPU_CONTROLLERS = _CONTROLLERS[:3]
_SCAN_BUDGET = 1000  # looking through /proc may take one part in so many of the time
_TITLE = re.compile(rb"slurmstepd: \[([0-9]+)\.")  # slurmstepd names itself so: [JOB.STEP]


class JobGroup:
    """Looks for the processes of a job; `usage` is (CPU seconds, resident bytes) as of the last look, None before any.

    The seconds are cumulative and never fall, also where a cgroup is made anew for the job's next step.
    """

    def __init__(self, job_id: str, uid: int, node: str, sysfs_root: str, procfs_root: str) -> None:
        self.usage: tuple[float, int] | None = None
        self._job_id = job_id
        self._mount = f"{sysfs_root}/fs/cgroup"
        self._procfs = procfs_root
        below = f"uid_{uid}/job_{job_id}"
        # Where several slurmds share a machine, as they may, each adds its node's name.
        self._paths_v1 = [f"slurm_{node}/{below}", f"slurm/{below}"]
        self._scopes = [f"{node}_slurmstepd.scope", "slurmstepd.scope"]
        self._ended_seconds = 0.0  # of cgroups and steps that are gone
        self._seconds = 0.0  # of those that are there
        self._cgroup: tuple[str, int] | None = None  # its path and inode
        self._by_counter = False
        self._processes = _Steps(job_id, procfs_root)

    def look(self) -> bool:
        """Tell whether there are processes of the job, and see what they have used."""
        for path in self._unified():
            if cgroups.is_populated(path):
                self._count(path, _usage(2, path, path), by_counter=True)
                return True
        folders = {name: path for name, path in self._v1() if os.path.isdir(path)}
        held = next((path for path in folders.values() if cgroups.processes(path)), None)
        if held is not None:
            cpu = next((folders[name] for name in _CPU_CONTROLLERS if name in folders), None)
            if cpu is None:
                self._count(held, self._of_processes(cgroups.processes(held)), by_counter=False)
            else:
                self._count(cpu, _usage(1, cpu, folders.get("memory")), by_counter=True)
            return True
        return self._look_for_steps()

    def _unified(self) -> Iterator[str]:
        with contextlib.suppress(OSError):
            slices = [name for name in os.listdir(self._mount) if name.endswith(".slice")]
            for name in ("", *slices):
                for scope in self._scopes:
                    yield os.path.join(self._mount, name, scope, f"job_{self._job_id}")

    def _v1(self) -> Iterator[tuple[str, str]]:
        for controller in _CONTROLLERS:
            for path in self._paths_v1:
                folder = f"{self._mount}/{controller}/{path}"
                if os.path.isdir(folder):
                    yield controller, folder
                    break

    def _look_for_steps(self) -> bool:
        present, used = self._processes.look()
        if present and used is not None:
            self._add(used[0], used[1])
        return present

    def _count(self, path: str, used: tuple[float | None, int | None], *, by_counter: bool) -> None:
        if self._by_counter and not by_counter:
            return  # the controllers' cgroups come and go one after the other: its processes have been counted
        with contextlib.suppress(OSError):
            cgroup = path, os.stat(path).st_ino
            if self._cgroup is not None and path == self._cgroup[0] and cgroup != self._cgroup:
                self._ended_seconds += self._seconds  # made anew: what the earlier one had counted is over
            if cgroup != self._cgroup:
                self._seconds = 0.0
                self._cgroup = cgroup
                self._by_counter = by_counter
        seconds, resident = used
        if seconds is None or resident is None:
            found = self._of_processes(cgroups.processes(path))
            seconds, resident = (found[0] if seconds is None else seconds), (found[1] if resident is None else resident)
        self._add(seconds, resident)

    def _of_processes(self, pids: list[int]) -> tuple[float, int]:
        return _used_by(pids, self._procfs)

    def _add(self, seconds: float, resident: int) -> None:
        # Of processes alone: what has ended is no longer in the sum, but it has been used.
        self._seconds = max(self._seconds, seconds)
        self.usage = self._ended_seconds + self._seconds, resident


class _Steps:
    """A job's slurmstepds.

    A process may call itself as it likes, and a program that makes its user root (`su`) may be started by way of a link
    of any name. Whose it is and of what file it was made the kernel tells, and a user has no such file that is root's.
    """

    def __init__(self, job_id: str, procfs_root: str) -> None:
        self._job_id = job_id.encode()
        self._procfs = procfs_root
        self._usage = Usage(Machine(procfs=procfs_root))
        self._host = _namespace(procfs_root, "self")
        self._next_scan = 0.0
        self._found: list[int] = []

    def look(self) -> tuple[bool, tuple[float, int] | None]:
        """Tell whether there are any, and what they and all below them have used; None where it is too soon to ask."""
        now = time.monotonic()
        if now < self._next_scan:
            return any(map(self._is_one, self._found)), None
        began = time.thread_time()
        with contextlib.suppress(OSError):
            self._found = [int(name) for name in os.listdir(self._procfs) if name.isdigit() and self._is_one(int(name))]
        used = [found for found in map(self._usage.job, self._found) if found is not None]
        self._next_scan = now + (time.thread_time() - began) * _SCAN_BUDGET
        return bool(self._found), (sum(seconds for seconds, _ in used), sum(resident for _, resident in used))

    def _is_one(self, pid: int) -> bool:
        folder = f"{self._procfs}/{pid}"
        try:
            if os.stat(folder).st_uid != 0 or cgroups.read(f"{folder}/comm") != b"slurmstepd\n":
                return False
            file = os.readlink(f"{folder}/exe").removesuffix(" (deleted)")  # as after an upgrade of SLURM's
            if os.path.basename(file) != "slurmstepd":
                return False
            told = _TITLE.match(cgroups.read(f"{folder}/cmdline"))
            # A machine that runs several nodes, each with a host name of its own, has steps of one job for each.
            return told is not None and told[1] == self._job_id and _namespace(self._procfs, str(pid)) == self._host
        except OSError:
            return False


def _namespace(procfs: str, process: str) -> str | None:
    with contextlib.suppress(OSError):
        return os.readlink(f"{procfs}/{process}/ns/uts")
    return None


def _usage(version: int, cpu: str, memory: str | None) -> tuple[float | None, int | None]:
    """Give CPU seconds and resident bytes of a cgroup; None for what it does not count."""
    return cgroups.cpu_seconds(version, cpu), None if memory is None else cgroups.resident_bytes(version, memory)


def _used_by(pids: list[int], procfs: str) -> tuple[float, int]:
    """Give CPU seconds and resident bytes of processes, and of the children that they have waited for."""
    ticks = pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = cgroups.read(f"{procfs}/{pid}/stat").rpartition(b")")[2].split()
            ticks += sum(map(int, fields[11:15]))
            pages += int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")
