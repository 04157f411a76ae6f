"""Which of some processes are the job's: by their ancestors, one small file of /proc each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_CHUNK = 4096


class Kin(NamedTuple):
    """Processes that live, sorted: the job's own and others'. What has ended is in neither."""

    own: frozenset[int]
    others: frozenset[int]


class _Stat(NamedTuple):
    """What tells a process's descent; `start_ticks` counts from boot."""

    pid: int
    parent: int
    session: int
    start_ticks: int


def kin(procfs: str, job: int, pids: Iterable[int]) -> Kin | None:
    """Sort these processes: those that descend from `job`, or were left behind by it in its session, are its own.

    None where the job itself cannot be seen: it is over, or /proc is not there.
    """
    root = _stat(procfs, job)
    if root is None:
        return None
    own, others = set(), set()
    for pid in pids:
        if _descends(procfs, pid, root):
            own.add(pid)
        elif _lives(procfs, pid):
            others.add(pid)
    return Kin(frozenset(own), frozenset(others))


def _descends(procfs: str, pid: int, root: _Stat) -> bool:
    """Follow the parents up. The last one in the job's session tells of what was orphaned.

    The session may be the user's shell's, with other jobs in it: those have a parent in the session.
    """
    oldest: _Stat | None = None
    seen = set()
    while pid > 0 and pid not in seen:
        if pid == root.pid:
            return True
        seen.add(pid)
        stat = _stat(procfs, pid)
        if stat is None:
            break
        if stat.session == root.session:
            oldest = stat
        elif oldest is not None:
            break
        pid = stat.parent
    return oldest is not None and oldest.pid != oldest.session and oldest.start_ticks >= root.start_ticks


def _lives(procfs: str, pid: int) -> bool:
    """Tell whether there is such a process, also where other users' processes are hidden (hidepid)."""
    if _stat(procfs, pid) is not None:
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _stat(procfs: str, pid: int) -> _Stat | None:
    try:
        descriptor = os.open(f"{procfs}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(descriptor, _CHUNK)
        fields = line.rpartition(b")")[2].split()  # the name before it may hold anything
        return _Stat(pid, int(fields[1]), int(fields[3]), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(descriptor)
