"""A procfs whose processor, load and memory tests choose, and whose processes are the real ones."""

from __future__ import annotations

import os
from dataclasses import dataclass

from machine.profiles import Profile


@dataclass(frozen=True)
class Cpu:
    """What cpuinfo says of the processors."""

    brand: str
    vendor: str
    family: int
    model: int
    stepping: int
    sockets: int = 1
    cores_per_socket: int = 4
    threads_per_core: int = 2

    @property
    def threads(self) -> int:
        """The number of processors that the kernel counts."""
        return self.sockets * self.cores_per_socket * self.threads_per_core


XEON_8375C = Cpu("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "GenuineIntel", 6, 106, 6, 2, 32)
XEON_8480 = Cpu("Intel(R) Xeon(R) Platinum 8480+", "GenuineIntel", 6, 143, 8, 2, 56)
EPYC_7763 = Cpu("AMD EPYC 7763 64-Core Processor", "AuthenticAMD", 25, 1, 1, 2, 64)
RYZEN_5950X = Cpu("AMD Ryzen 9 5950X 16-Core Processor", "AuthenticAMD", 25, 33, 0, 1, 16)
UNKNOWN = Cpu("Potato(R) Chip @ 1.00GHz", "GenuinePotato", 99, 1, 1, 1, 2, 1)


# The namespace of process ids that the machine begins with, in which a driver counts, and one of a container's.
_FIRST_PIDS, _OWN_PIDS = "pid:[4026531836]", "pid:[4026532201]"


def build(root: str, cpu: Cpu, hypervisor: bool, memory_bytes: int, own_stat: bool, *, own_pids: bool = False) -> None:
    """Make what does not change: cpuinfo, meminfo and links to the real rest, less stat if `procfs.c` writes it.

    `own_pids`: it is a container's, with process ids of its own.
    """
    os.makedirs(root)
    own = {"cpuinfo": cpuinfo(cpu, hypervisor), "meminfo": meminfo(memory_bytes)}
    for name, text in own.items():
        with open(os.path.join(root, name), "w") as file:
            file.write(text)
    for name in os.listdir("/proc"):
        if not name.isdigit() and name != "self" and name not in own and not (own_stat and name == "stat"):
            os.symlink(os.path.join("/proc", name), os.path.join(root, name))
    # Who opens a file below self sees its own, in any case; but of the namespaces a test must know which they are.
    for folder in ("", "ns"):
        os.mkdir(os.path.join(root, "self", folder))
        for name in os.listdir(os.path.join("/proc/self", folder)):
            if name not in ("ns", "pid"):
                os.symlink(os.path.join("/proc/self", folder, name), os.path.join(root, "self", folder, name))
    os.symlink(_OWN_PIDS if own_pids else _FIRST_PIDS, os.path.join(root, "self", "ns", "pid"))


def spec(root: str, epoch_nanoseconds: int, cpu: Cpu, load: Profile | None) -> str:
    """Give what `procfs.c` reads."""
    lines = [f"epoch {epoch_nanoseconds}", f"root {root}", f"processors {cpu.threads}", *(load.lines() if load else ())]
    return "\n".join(lines) + "\n"


def cpuinfo(cpu: Cpu, hypervisor: bool) -> str:
    """Give /proc/cpuinfo as an x86 kernel writes it, as far as programs read it."""
    flags = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov ht syscall nx rdtscp lm constant_tsc"
    if hypervisor:
        flags += " hypervisor"
    blocks = []
    for processor in range(cpu.threads):
        core = processor // cpu.threads_per_core
        entries = {
            "processor": processor,
            "vendor_id": cpu.vendor,
            "cpu family": cpu.family,
            "model": cpu.model,
            "model name": cpu.brand,
            "stepping": cpu.stepping,
            "cpu MHz": "2900.000",
            "physical id": core // cpu.cores_per_socket,
            "siblings": cpu.cores_per_socket * cpu.threads_per_core,
            "core id": core % cpu.cores_per_socket,
            "cpu cores": cpu.cores_per_socket,
            "flags": flags,
        }
        blocks.append("".join(f"{name:<16s}: {value}\n" for name, value in entries.items()))
    return "\n".join(blocks) + "\n"


def meminfo(memory_bytes: int) -> str:
    """Give /proc/meminfo of a machine a quarter of whose memory is used."""
    total = memory_bytes // 1024
    entries = {
        "MemTotal": total,
        "MemFree": total // 2,
        "MemAvailable": total - total // 4,
        "Buffers": 0,
        "Cached": total // 4,
    }
    return "".join(f"{name + ':':<16s}{value:>9d} kB\n" for name, value in entries.items())
