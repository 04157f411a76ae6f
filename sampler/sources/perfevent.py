"""RAPL through perf_event, where the powercap tree may not be read, or is hidden, but the kernel's `power` PMU may.

The same counters as powercap's, but 64 bits wide: they do not wrap. The PMU is described under
/sys/bus/event_source/devices/power (Documentation/ABI/testing/sysfs-bus-event_source-devices-events): `type`,
`cpumask` (one CPU of each package, or of each die), `events/energy-pkg` with its `.scale` and `.unit`. To open a
counter of a whole CPU takes CAP_PERFMON, or a kernel.perf_event_paranoid of 0 or less (perf_event_open(2)).
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
from typing import TYPE_CHECKING

from greenrun.sampler.hardware import read_processor
from greenrun.sampler.model import BaseSource, Counter, Device, Finding, Machine, Opened
from greenrun.sampler.sources import rapl
from greenrun.sampler.sources.cpu import POWER_PMU
from greenrun.sampler.sources.sensors import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenrun.sampler.model import Reading

# energy-cores and energy-gpu lie inside the package.
_EVENTS = {"energy-pkg": "", "energy-ram": "/dram", "energy-psys": "psys"}
# perf_event_open's number: asm/unistd_64.h, asm-generic/unistd.h.
_SYSCALLS = {"x86_64": 298, "aarch64": 241, "riscv64": 241}
# struct perf_event_attr as of its first version, 64 bytes: type, size, config, and nothing else wanted.
_ATTRIBUTES = struct.Struct("=IIQ48x")
_ANY_PROCESS, _NO_GROUP, _CLOSE_ON_EXEC = -1, -1, 8

_REMEDY = "As root: sysctl kernel.perf_event_paranoid=0, or setcap cap_perfmon+ep on a Python that only greenrun uses."


class _Event:
    """A counter of the PMU that is open: raw units of `scale` joules."""

    def __init__(self, device: Device, fd: int, scale: float) -> None:
        self.device = device
        self.fd = fd
        self.scale = scale
        self.warned = False


class PerfEvent(BaseSource):
    """The packages, their memory, and psys, by the `power` PMU; fast."""

    def __init__(self) -> None:
        super().__init__(name="perf")
        self._events: list[_Event] = []

    def open(self, machine: Machine) -> Opened:
        """Open each event on one CPU of each package; say what is absent, forbidden or broken."""
        folder = f"{machine.sysfs}/{POWER_PMU}"
        kind = text(f"{folder}/type")
        if not kind.isdecimal():
            sentence = f"The kernel has no energy PMU under {folder}."
            return Opened(findings=(Finding("perf", "RAPL", "absent", sentence),))
        syscall = _open_syscall()
        if syscall is None:
            sentence = f"perf_event_open cannot be called on this {os.uname().machine}."
            return Opened(findings=(Finding("perf", "RAPL", "absent", sentence),))
        processor = read_processor(machine.procfs)
        cpus = numbers(text(f"{folder}/cpumask"))
        refused: OSError | None = None
        broken: list[str] = []
        for event, domain in _EVENTS.items():
            config, scale = _config(text(f"{folder}/events/{event}")), _scale(folder, event)
            if config is None or scale is None:
                continue
            for cpu in cpus[:1] if domain == "psys" else cpus:
                label = domain if domain == "psys" else f"{_package(machine.sysfs, cpu)}{domain}"
                device = rapl.device(label, None, processor)
                if device is None:
                    continue
                try:
                    fd = syscall(int(kind), config, cpu)
                except OSError as error:
                    refused = error
                    broken.append(label)
                    continue
                self._events.append(_Event(_described(device), fd, scale))
        return Opened(tuple(event.device for event in self._events), self._findings(refused, broken))

    def read(self) -> Sequence[Reading | None]:
        """Read each counter, microjoules; None where its CPU is gone."""
        return [self._read(event) for event in self._events]

    def close(self) -> None:
        """Close the counters."""
        for event in self._events:
            os.close(event.fd)
        self._events = []

    def _read(self, event: _Event) -> Counter | None:
        t = time.monotonic()
        try:
            data = os.read(event.fd, 8)
        except OSError as error:
            data = b""
            self._warn(event, os.strerror(error.errno or 0))
        if len(data) != 8:  # its CPU was taken offline: the event is then at its end
            self._warn(event, "its CPU is offline")
            return None
        return Counter(t, int(int.from_bytes(data, sys.byteorder) * event.scale * 1e6))

    def _warn(self, event: _Event, why: str) -> None:
        if not event.warned:
            event.warned = True
            self._warnings.append((event.device.id, f"{event.device.name} could not be read for a time ({why})."))

    def _findings(self, refused: OSError | None, broken: list[str]) -> tuple[Finding, ...]:
        findings = []
        if self._events:
            labels = ", ".join(event.device.id.partition(":")[2] for event in self._events)
            findings.append(Finding("perf", labels, "ok", "RAPL's counters can be read through perf_event."))
        if refused is not None:
            labels = ", ".join(broken)
            if refused.errno in {errno.EACCES, errno.EPERM}:
                sentence = f"This user may not open the energy events of {labels} (kernel.perf_event_paranoid)."
                findings.append(Finding("perf", labels, "forbidden", sentence, _REMEDY))
            else:
                why = os.strerror(refused.errno or 0)
                sentence = f"The energy events of {labels} cannot be opened ({why})."
                findings.append(Finding("perf", labels, "broken", sentence))
        if not findings:
            findings.append(Finding("perf", "RAPL", "absent", "The kernel's energy PMU has no event that counts here."))
        return tuple(findings)


def numbers(mask: str) -> list[int]:
    """Read a list of CPUs as the kernel writes it: "0,56" or "0-3,8"."""
    found: list[int] = []
    for span in mask.split(","):
        first, _, last = span.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found += range(int(first), int(last or first) + 1)
    return found


def _described(device: Device) -> Device:
    label = device.id.partition(":")[2]
    note = f"Read through perf_event. {device.note}".strip()
    return device._replace(id=f"perf:{label}", source="perf", note=note)


def _package(sysfs: str, cpu: int) -> str:
    """Name the package of a CPU as powercap does, by its die where the package has several counters."""
    topology = f"{sysfs}/devices/system/cpu/cpu{cpu}/topology"
    package = text(f"{topology}/physical_package_id") or "0"
    die = text(f"{topology}/die_id")
    cpus = text(f"{topology}/die_cpus_list")
    has_several = die.isdecimal() and cpus != text(f"{topology}/package_cpus_list")
    return f"package-{package}-die-{die}" if has_several else f"package-{package}"


def _config(event: str) -> int | None:
    """Read what an event's file says: "event=0x02"."""
    for term in event.split(","):
        name, _, value = term.partition("=")
        if name == "event":
            try:
                return int(value, 0)
            except ValueError:
                return None
    return None


def _scale(folder: str, event: str) -> float | None:
    """Give the joules of one unit of an event, None where it counts something else."""
    if text(f"{folder}/events/{event}.unit") != "Joules":
        return None
    try:
        return float(text(f"{folder}/events/{event}.scale"))
    except ValueError:
        return None


def _open_syscall() -> Callable[[int, int, int], int] | None:
    """Give perf_event_open for a PMU's type, a config and a CPU; None where its number is not known.

    What it gives is a descriptor, or an OSError is raised.
    """
    number = _SYSCALLS.get(os.uname().machine)
    if number is None:
        return None
    import ctypes  # milliseconds, and only for this

    libc = ctypes.CDLL(None, use_errno=True)

    def perf_event_open(kind: int, config: int, cpu: int) -> int:
        attributes = ctypes.create_string_buffer(_ATTRIBUTES.pack(kind, _ATTRIBUTES.size, config), _ATTRIBUTES.size)
        arguments = (attributes, _ANY_PROCESS, cpu, _NO_GROUP, _CLOSE_ON_EXEC)
        fd = libc.syscall(ctypes.c_long(number), *map(_as_argument, arguments))
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return int(fd)

    def _as_argument(value: object) -> object:
        return ctypes.c_long(value) if isinstance(value, int) else value

    return perf_event_open
