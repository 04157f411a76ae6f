"""The estimate: power from tables and load, for the CPUs and the memory that no meter covers.

It reads like a counter: its own cumulative microjoules, advanced at each reading by the stretch since the last one, at
the power that belongs to the mean load of exactly that stretch. What was assumed stands in each device's note. All of
the machine's processors are told, not the job's part of them; of the memory what may be used here.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from greenrun.sampler import hardware
from greenrun.sampler.model import BaseSource, Counter, Device, Finding, Machine, Opened
from greenrun.sampler.usage import Usage, allowed_memory_bytes, memory_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from greenrun.sampler.model import Kind, Reading

_Curve = tuple[tuple[float, float], ...]  # (load 0..1, watts), by rising load, linear in between

# Power over thermal design power by load, fitted to measurements of servers: Davy (Teads), "Building an AWS EC2 Carbon
# Emissions Dataset", 2021.
_TDP_CURVE: _Curve = ((0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02))
# Half-widths of a 95 % interval, per cent. Estimates from thermal design power alone stray by half either way: boost
# clocks, vector units and power limits are not in them. The threads of a known core are as good as that, since other
# machines of that core were measured. For an unknown CPU the tables' cores themselves differ by a factor of five.
_KNOWN_CPU_PERCENT = 50.0
_UNKNOWN_CPU_PERCENT = 80.0

# Watts per GB: Karyakin and Salem 2017 (doi:10.1145/3076113.3076117) by way of Green Algorithms (CC BY 4.0). Published
# figures reach from 0.28 to 0.39 for the same size, and modules differ by density, generation and use.
_DRAM_WATTS_PER_GIB = 0.3725
_DRAM_PERCENT = 50.0

# An estimate cannot leave its own curve; the margin is for a clock that hiccups.
_MAX_WATTS_MARGIN = 2.0


class Estimate(BaseSource):
    """CPU and memory power, for those of the two that are among the `missing` kinds."""

    def __init__(self, missing: Collection[Kind]) -> None:
        super().__init__(name="estimate")
        self._missing = missing
        self._usage: Usage | None = None
        self._curves: list[_Curve] = []
        self._microjoules: list[float] = []
        self._times: list[float] = []  # up to when each has been advanced
        self._cpu_seconds = (0.0, 0.0)
        self._load = 0.0

    def open(self, machine: Machine) -> Opened:
        """Take the baseline, then look up what this machine may draw."""
        usage = Usage(machine)
        began = time.monotonic()
        self._cpu_seconds = usage.machine_cpu_seconds() or (0.0, 0.0)
        self._usage = usage
        processor = hardware.read_processor(machine.procfs)
        devices: list[Device] = []
        findings: list[Finding] = []
        if "cpu" in self._missing and not processor.threads:
            findings.append(_unreadable("CPUs", f"{machine.procfs}/cpuinfo"))
        elif "cpu" in self._missing:
            device, curve = _cpu(processor, _hidden_cpus(machine, processor))
            devices.append(device)
            self._curves.append(curve)
        if "dram" in self._missing:
            size = allowed_memory_bytes(machine)
            if size is None:
                findings.append(_unreadable("memory", f"{machine.procfs}/meminfo"))
            else:
                limited = size < (memory_bytes(machine.procfs) or {}).get("MemTotal", size)
                device, curve = _dram(size, limited)
                devices.append(device)
                self._curves.append(curve)
        self._microjoules, self._times = [0.0] * len(devices), [began] * len(devices)
        return Opened(tuple(devices), tuple(findings))

    def read(self) -> Sequence[Reading | None]:
        """Advance every estimate by the stretch since its last reading; None where the load could not be seen.

        Power that does not go by load needs none.
        """
        if not self._curves or self._usage is None:
            return []
        t = time.monotonic()
        cpu_seconds = self._usage.machine_cpu_seconds()
        if cpu_seconds is not None:
            busy, every = (now - before for now, before in zip(cpu_seconds, self._cpu_seconds, strict=True))
            if every > 0:  # else no tick has passed yet: the last load goes on
                self._load = min(1.0, max(0.0, busy / every))
                self._cpu_seconds = cpu_seconds
        return [
            self._advance(index, t) if cpu_seconds is not None or _is_flat(curve) else None
            for index, curve in enumerate(self._curves)
        ]

    def _advance(self, index: int, t: float) -> Counter:
        self._microjoules[index] += watts_at(self._curves[index], self._load) * (t - self._times[index]) * 1e6
        self._times[index] = t
        return Counter(t, int(self._microjoules[index]))


def _is_flat(curve: _Curve) -> bool:
    return len({watts for _, watts in curve}) == 1


def watts_at(curve: _Curve, load: float) -> float:
    """Read a power curve at a load between 0 and 1."""
    for (low, low_watts), (high, high_watts) in pairwise(curve):
        if load <= high:
            return low_watts + (high_watts - low_watts) * (load - low) / (high - low)
    return curve[-1][1]


def _hidden_cpus(machine: Machine, processor: hardware.Processor) -> bool:
    """Whether a container shows its own CPUs, and their load, in the place of the machine's."""
    from greenrun.sampler import containers

    every = containers.all_cpus(machine, processor)
    return every is not None and processor.threads < every


def _cpu(processor: hardware.Processor, hidden: bool) -> tuple[Device, _Curve]:
    """Choose between the package's design power (a whole machine) and watts per thread (a share of one)."""
    brand = processor.brand or "unnamed CPU"
    # A virtual machine has some threads of packages that it shares; their design power says nothing of its part. So has
    # a container that sees no others.
    share = processor.virtual or hidden
    package_watts = None if share else hardware.thermal_design_power_watts(processor.brand)
    if package_watts is not None:
        curve: _Curve = tuple((load, share * package_watts * processor.sockets) for load, share in _TDP_CURVE)
        percent = _KNOWN_CPU_PERCENT
        note = (
            f"Estimated from the load and a thermal design power of {package_watts:g} W "
            f"x {processor.sockets} (table of CodeCarbon)."
        )
    else:
        core = hardware.architecture(processor)
        watts = hardware.thread_watts(core)
        percent = _UNKNOWN_CPU_PERCENT if watts.stands_in else _KNOWN_CPU_PERCENT
        curve = ((0.0, watts.idle * processor.threads), (1.0, watts.full * processor.threads))
        whose = f"{core or 'unknown core'}, taken as {watts.stands_in}" if watts.stands_in else core
        threads = "virtual CPUs" if processor.virtual else "this container's CPUs" if hidden else "hardware threads"
        note = (
            f"Estimated from the load and {watts.idle:g} W (idle) to {watts.full:g} W (full load) for each of "
            f"{processor.threads} {threads} ({whose}; shares of whole servers, by Cloud Carbon Footprint)."
        )
    device = _device("cpu", f"{brand} ({processor.threads} threads)", percent, curve, note)
    return device, curve


def _dram(size_bytes: int, limited: bool) -> tuple[Device, _Curve]:
    size_gib = size_bytes / 2**30
    watts = _DRAM_WATTS_PER_GIB * size_gib
    curve: _Curve = ((0.0, watts), (1.0, watts))
    note = f"Estimated from {size_gib:.1f} GiB that may be used here, at {_DRAM_WATTS_PER_GIB} W per GiB."
    device = _device("dram", f"memory ({size_gib:.1f} GiB)", _DRAM_PERCENT, curve, note)
    # Of a limit nobody but the job's side has anything: no part of that is to be taken once more.
    return device._replace(of_job=True) if limited else device, curve


def _device(kind: Kind, name: str, percent: float, curve: _Curve, note: str) -> Device:
    return Device(
        id=f"estimate:{kind}",
        kind=kind,
        name=name,
        source="estimate",
        method="estimate",
        uncertainty_percent=percent,
        max_watts=curve[-1][1] * _MAX_WATTS_MARGIN,
        # The kernel tells load in ticks: a command of a few milliseconds may have been all load or none.
        resolution_joules=(curve[-1][1] - curve[0][1]) / os.sysconf("SC_CLK_TCK"),
        note=note,
    )


def _unreadable(subject: str, path: str) -> Finding:
    return Finding("estimate", subject, "broken", f"{path} does not tell the {subject}, so their energy is unknown.")
