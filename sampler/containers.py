"""What a container or a virtual machine hides: which of the kernel's figures are the machine's, and which are not."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from greenrun.sampler import cgroups

if TYPE_CHECKING:
    from greenrun.sampler.hardware import Processor
    from greenrun.sampler.model import Machine

_INITIAL_NAMESPACE = "pid:[4026531836]"  # include/linux/proc_ns.h: PROC_PID_INIT_INO
_LXCFS = "fuse.lxcfs"


def has_own_process_ids(machine: Machine) -> bool:
    """Whether process ids here are others than the machine's, so that what a driver tells of a process is of another.

    From within nobody learns the machine's ids of his processes: NSpid in /proc/PID/status begins with this namespace.
    """
    with contextlib.suppress(OSError):
        return os.readlink(f"{machine.procfs}/self/ns/pid") != _INITIAL_NAMESPACE
    return False


def shown_by_lxcfs(machine: Machine) -> frozenset[str]:
    """Give the files under /proc in the place of which LXC and Incus show a container's own figures (`stat`, ...)."""
    found = set()
    with contextlib.suppress(OSError), open(f"{machine.procfs}/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            fields = before.split()
            if after.startswith(_LXCFS.encode() + b" ") and len(fields) > 4 and fields[4].startswith(b"/proc/"):
                found.add(fields[4].removeprefix(b"/proc/").decode("ascii", "replace"))
    return frozenset(found)


def all_cpus(machine: Machine, processor: Processor) -> int | None:
    """Give how many logical CPUs the machine has, whatever a container shows of them; None where nobody tells."""
    if "cpuinfo" in shown_by_lxcfs(machine):
        # lxcfs shows its own `online` beside it, and leaves `present` alone.
        return cgroups.present_cpus(machine) or None
    return processor.threads or None


def doubts(machine: Machine) -> list[str]:
    """Say, a sentence each, which figures of a run here are not what they seem."""
    found = []
    if "stat" in shown_by_lxcfs(machine):
        found.append(
            "This container shows its own load in the place of the machine's (lxcfs), so the job's share is one of "
            "what the container used, and too large where others use the machine."
        )
    return found
