"""Control groups, versions 1 and 2: in which one a process is, what it has used, what it may use.

Where a version or a controller is mounted stands in mountinfo, and so does which cgroup it is that appears there: in a
container the path of a process may be the host's, while only its end is mounted. Without mountinfo they are looked for
where systemd and container runtimes mount them.
"""

from __future__ import annotations

import contextlib
import math
import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenrun.sampler.model import Machine

_CHUNK = 1 << 16
_MOUNTS = "/sys/fs/cgroup"  # cgroups(7)
_MOST_LEVELS = 64  # a path that is deeper is no cgroup's
# A limit of version 1 that stands for none is the largest number of pages that fit; nobody has a quarter of it.
_NO_LIMIT_BYTES = 1 << 61


class Group(NamedTuple):
    """One cgroup as it can be seen from here: `folder` is its directory, `mount` the topmost one that there is."""

    version: int
    folder: str
    mount: str

    def levels(self) -> Iterator[str]:
        """Give its directory and those above it, the mount last: what limits one of them limits it too."""
        folder = self.folder
        for _ in range(_MOST_LEVELS):
            yield folder
            if folder == self.mount:
                return
            folder = os.path.dirname(folder)

    @property
    def is_everything(self) -> bool:
        """Whether it is the root of the hierarchy, which holds all processes of the machine.

        The kernel gives the root of version 2 no cgroup.events, and the root of version 1 alone a release_agent.
        """
        if self.version == 2:
            return not os.path.exists(f"{self.folder}/cgroup.events")
        return os.path.exists(f"{self.folder}/release_agent")


class _Mount(NamedTuple):
    """A hierarchy: `root` is the path of the cgroup that appears at `folder`."""

    controllers: frozenset[str]  # empty for version 2
    root: str
    folder: str


def groups(machine: Machine, process: int | str = "self") -> dict[str, Group]:
    """Give the cgroups of a process by controller, "" for version 2; those that cannot be seen from here are left out.

    Empty where the kernel or a sandbox does not tell.
    """
    try:
        lines = read(f"{machine.procfs}/{process}/cgroup").decode(errors="surrogateescape").splitlines()
    except OSError:
        return {}
    mounts = _mounts(machine)
    found: dict[str, Group] = {}
    for line in lines:
        _, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if not colon or "/.." in path:  # of another cgroup namespace: its directory is not to be had
            continue
        for controller in names.split(","):
            group = _group(machine, mounts, controller, path)
            if group is not None:
                found[controller] = group
    return found


def _group(machine: Machine, mounts: list[_Mount] | None, controller: str, path: str) -> Group | None:
    version = 1 if controller else 2
    if mounts is None:
        mount = f"{machine.sysfs}/fs/cgroup/{controller}".rstrip("/")
        folder = f"{mount}{path}".rstrip("/")
        while folder != mount and not os.path.isdir(folder):
            folder = os.path.dirname(folder)  # the path may be the host's, and the mount the container's own
        return Group(version, folder, mount) if os.path.isdir(mount) else None
    for place in mounts:
        if controller not in (place.controllers or {""}):
            continue
        root = place.root.rstrip("/")
        below = path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else path
        folder = f"{place.folder}{below}".rstrip("/")
        if os.path.isdir(folder):
            return Group(version, folder, place.folder)
    return None


def _mounts(machine: Machine) -> list[_Mount] | None:
    """Read where cgroups are mounted below /sys; None where that is not told."""
    try:
        lines = _whole(f"{machine.procfs}/self/mountinfo").decode(errors="surrogateescape").splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        # proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS...] - TYPE SOURCE SUPER-OPTIONS
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if not dash or len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        if not fields[4].startswith(_MOUNTS):
            continue
        folder = f"{machine.sysfs}{fields[4].removeprefix('/sys')}"
        controllers = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else frozenset[str]()
        found.append(_Mount(controllers, fields[3], folder))
    return found


def memory_limit_bytes(machine: Machine) -> int | None:
    """Give the tightest limit of memory on this process and all cgroups above it; None for no limit."""
    found: list[int] = []
    for controller, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        group = groups(machine).get(controller)
        for folder in group.levels() if group else ():
            limit = number(f"{folder}/{name}")  # "max" is no number
            if limit is not None and 0 <= limit < _NO_LIMIT_BYTES:
                found.append(limit)
    return min(found, default=None)


def cpu_limit(machine: Machine) -> float | None:
    """Give how many CPUs' time this process may use at most, by quota or by set; None for no limit.

    A quota may be a fraction: 150 ms in each 100 ms are one and a half.
    """
    own = groups(machine)
    present = present_cpus(machine) or os.cpu_count() or math.inf  # a set of all of them is no limit
    found: list[float] = []
    for folder in own[""].levels() if "" in own else ():
        found += _quota(*words(f"{folder}/cpu.max")[:2])
    for folder in own["cpu"].levels() if "cpu" in own else ():
        found += _quota(*(word for name in ("quota", "period") for word in words(f"{folder}/cpu.cfs_{name}_us")[:1]))
    for controller, names in (
        ("", ("cpuset.cpus.effective",)),
        ("cpuset", ("cpuset.effective_cpus", "cpuset.cpus")),
    ):
        if controller in own:
            sets = [listed(words(f"{own[controller].folder}/{name}")) for name in names]
            found += [float(size) for size in sets if 0 < size < present][:1]
    return min(found, default=None)


def present_cpus(machine: Machine) -> int:
    """Give how many CPUs the kernel has found, also those that a container is not shown; 0 where it does not tell."""
    return listed(words(f"{machine.sysfs}/devices/system/cpu/present"))


def _quota(quota: str = "", period: str = "") -> list[float]:
    """Give the CPUs that a quota comes to; nothing for max, -1, and what is no quota."""
    if quota.isdigit() and period.isdigit() and int(period) > 0:
        return [int(quota) / int(period)]
    return []


def listed(told: list[str]) -> int:
    """Count the CPUs of a list such as 0-3,8; 0 for one that is none."""
    count = 0
    for part in ",".join(told).split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            return 0
        count += int(last) - int(first) + 1 if dash else 1
    return count


def cpu_seconds(version: int, folder: str) -> float | None:
    """Give the CPU time of a cgroup and all below it, ended processes too; None where it does not count."""
    if version == 2:
        microseconds = fields(f"{folder}/cpu.stat").get("usage_usec")
        return None if microseconds is None else microseconds / 1e6
    nanoseconds = number(f"{folder}/cpuacct.usage")
    return None if nanoseconds is None else nanoseconds / 1e9


def resident_bytes(version: int, folder: str) -> int | None:
    """Give the memory that a cgroup's processes hold, without caches of files; None where it does not count."""
    told = fields(f"{folder}/memory.stat")
    names = ("anon", "file_mapped") if version == 2 else ("total_rss", "total_mapped_file")
    found = [told[name] for name in names if name in told]
    return sum(found) if found else None


def processes(folder: str) -> list[int]:
    """Give the processes in a cgroup and all below it; 0 stands for one of another process namespace."""
    found: list[int] = []
    for below, _, _ in os.walk(folder):
        with contextlib.suppress(OSError, ValueError):
            whole, _, _ = _whole(f"{below}/cgroup.procs").rpartition(b"\n")  # a number that was cut off is another's
            found += map(int, whole.splitlines())
    return found


def is_populated(folder: str) -> bool:
    """Whether there are processes in a cgroup of version 2."""
    with contextlib.suppress(OSError):
        return b"populated 1" in read(f"{folder}/cgroup.events").splitlines()
    return False


def number(path: str) -> int | None:
    """Read a file that holds one number; None where it is not there or holds none."""
    with contextlib.suppress(OSError, ValueError):
        return int(read(path))
    return None


def fields(path: str) -> dict[str, int]:
    """Read a file of lines such as `usage_usec 123`; empty where it is not there."""
    with contextlib.suppress(OSError, ValueError):
        return {name.decode(): int(value) for name, value in (line.split() for line in read(path).splitlines())}
    return {}


def words(path: str) -> list[str]:
    """Read a file of words; empty where it is not there."""
    with contextlib.suppress(OSError):
        return read(path).decode("ascii", "replace").split()
    return []


def read(path: str) -> bytes:
    """Read a small file at once. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, _CHUNK)
    finally:
        os.close(file)


def _whole(path: str) -> bytes:
    """Read a file of any length, as the lists of processes and mounts are."""
    with open(path, "rb") as file:
        return file.read(1 << 24)
