"""RAPL: the energy counters of CPU packages and memory, through the kernel's powercap tree.

Zones are known by their `name`, never by their index: psys takes any index it likes. A package (or its dies) and dram
add up to what a machine's CPUs and memory use. `core` and `uncore` lie inside the package and `intel-rapl-mmio`
repeats it, so none of them is read; psys contains everything and stands beside the total. AMD's counters have the
same names, but no dram.
"""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from greenrun.sampler.hardware import Processor, read_processor
from greenrun.sampler.model import BaseSource, Counter, Device, Finding, Machine, Opened, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.sampler.model import Kind, Reading

# Uncertainties are half-widths of a 95 % interval, per cent. The papers compare RAPL with external meters; they find
# how it deviates, none gives one figure for all CPUs, so each constant is our judgement of the finding beside it.
#
# Intel from Haswell on measures at the voltage regulator: one line fits the external meter for all workloads
# (Hackenberg et al. 2015, doi:10.1109/IPDPSW.2015.70; Khan et al. 2018, doi:10.1145/3177754).
_INTEL_PACKAGE_PERCENT = 5.0
# Before Haswell a model of activity counters, biased by the kind of workload (Hackenberg et al. 2013,
# doi:10.1109/ISPASS.2013.6557170).
_INTEL_MODELLED_PERCENT = 20.0
_INTEL_MODELLED = frozenset({42, 45, 58, 62})  # CPUID models of Sandy Bridge and Ivy Bridge
# AMD's is a model: it does not see how operands' values change the power, nor all of what memory traffic costs
# (Schoene et al. 2021, Zen 2, arXiv:2108.00808).
_AMD_PACKAGE_PERCENT = 15.0
# Memory: right in trend, off by a nearly constant power, worst when idle; servers measure it at the regulator,
# desktops model it (Desrochers et al. 2016, doi:10.1145/2989081.2989088).
_DRAM_SERVER_PERCENT = 10.0
_DRAM_DESKTOP_PERCENT = 25.0
# psys depends on what the board's maker wired up, and nobody has validated it; so does a vendor we have no paper for.
_UNVALIDATED_PERCENT = 20.0
# A hypervisor that shows RAPL computes it from the host's counter and the guest's CPU time.
_HYPERVISOR_PERCENT = 50.0

# The powers above which a counter's step is nonsense, watts. The largest packages sold draw 500 W, a package's memory
# under 400 W, and a node of eight GPUs, which psys may contain, under 10 kW.
_PACKAGE_MAX_WATTS = 1000.0
_DRAM_MAX_WATTS = 600.0
_PSYS_MAX_WATTS = 12_000.0

_UDEV_RULE = (
    'SUBSYSTEM=="powercap", ACTION=="add", KERNEL=="intel-rapl:*", '
    'RUN+="/bin/chgrp power /sys%p/energy_uj", RUN+="/bin/chmod g+r /sys%p/energy_uj"'
)
FORBIDDEN_REMEDY = (
    "Run as root once: groupadd -f power && usermod -aG power USER, "
    f"write the line {_UDEV_RULE} to /etc/udev/rules.d/70-rapl.rules, "
    "then udevadm control --reload && udevadm trigger --action=add --subsystem-match=powercap, and log in again. "
    "Or have root run greenrun agent as a service, which tells all users these counters once a second."
)
_MASKED_REMEDY = (
    "Start the container with --security-opt systempaths=unconfined (Docker) or "
    "--security-opt unmask=/sys/devices/virtual/powercap (Podman)."
)


class _Zone:
    """A counter that is read: `fd` is -1 while the kernel has taken it away."""

    def __init__(self, device: Device, path: str) -> None:
        self.device = device
        self.path = path
        self.fd = -1
        self.warned = False

    def read(self) -> Counter | None:
        """Read the counter; raise OSError where the kernel refuses, give None where the text is empty or torn."""
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        t = time.monotonic()
        text = os.pread(self.fd, 32, 0)
        # Without its line end a number may have lost digits too.
        return Counter(t, int(text)) if text.endswith(b"\n") and text.strip().isdigit() else None

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Rapl(BaseSource):
    """The packages, their dram, and psys; fast: open and every read take microseconds a counter."""

    def __init__(self) -> None:
        super().__init__(name="rapl")
        self._zones: list[_Zone] = []

    def open(self, machine: Machine) -> Opened:
        """Open every counter that adds to the account, and psys; say what is absent, forbidden or broken."""
        root = f"{machine.sysfs}/class/powercap"
        entries = _entries(root)
        processor = read_processor(machine.procfs)
        if not entries:
            return Opened(findings=(_absent(root, processor),))
        failed: dict[tuple[Status, str], list[str]] = {}
        for entry in entries:
            label = entry
            try:
                label = _label(root, entry)
                found = device(label, _span_microjoules(f"{root}/{entry}"), processor)
                if found is None:
                    continue
                zone = _Zone(found, f"{root}/{entry}/energy_uj")
                zone.read()
                self._zones.append(zone)
            except OSError as error:
                failed.setdefault(_failure(error, f"{root}/{entry}"), []).append(label)
        self._drop_mirrors()
        findings = [_finding(status, remedy, labels, root) for (status, remedy), labels in failed.items()]
        if self._zones:
            labels = ", ".join(zone.device.id.partition(":")[2] for zone in self._zones)
            findings.insert(0, Finding("rapl", labels, "ok", f"RAPL's counters can be read under {root}."))
        return Opened(tuple(zone.device for zone in self._zones), tuple(findings))

    def read(self) -> Sequence[Reading | None]:
        """Read each counter, microjoules; None while it gives nothing that makes sense."""
        return [self._read(zone) for zone in self._zones]

    def close(self) -> None:
        """Close the counters."""
        for zone in self._zones:
            zone.close()

    def _read(self, zone: _Zone) -> Counter | None:
        try:
            return zone.read()
        except OSError as error:
            # A package goes with its last CPU and comes back with it, as a new file: try to open it at each read.
            zone.close()
            if not zone.warned:
                zone.warned = True
                why = os.strerror(error.errno or 0)
                self._warnings.append(
                    (zone.device.id, f"The counter {zone.path} could not be read for a time ({why}).")
                )
            return None

    def _drop_mirrors(self) -> None:
        """Drop dies that show another die's counter again, as old kernels do for AMD Zen 1 and 2.

        A second reading of the first die tells whether the other's value lies between two of the first. Distinct
        counters of 32 bits and more do not agree like that twice; one that is 0 both times never ran and adds nothing.
        """
        dies = [zone for zone in self._zones if "-die-" in zone.device.id and "/" not in zone.device.id]
        while dies:
            zone = dies.pop(0)
            package = zone.device.id.partition("-die-")[0]
            mirrors = [die for die in dies if die.device.id.startswith(f"{package}-die-") and _mirrors(zone, die)]
            for mirror in mirrors:
                note = f"{zone.device.note} {mirror.device.id} shows the same counter and is left out.".strip()
                zone.device = zone.device._replace(note=note)
                mirror.close()
                dies.remove(mirror)
                self._zones.remove(mirror)


def _mirrors(zone: _Zone, other: _Zone) -> bool:
    agreed = 0
    for _ in range(5):
        try:
            before, between, after = zone.read(), other.read(), zone.read()
        except OSError:
            return False
        if before and between and after and before.microjoules <= between.microjoules <= after.microjoules:
            agreed += 1
        if agreed == 2:
            return True
        time.sleep(0.0015)  # the hardware updates about every millisecond
    return False


def _entries(root: str) -> list[str]:
    try:
        # AMD's zones are named intel-rapl too; the colon leaves out intel-rapl-mmio and the control type itself.
        return sorted(entry for entry in os.listdir(root) if entry.startswith("intel-rapl:"))
    except OSError:
        return []


def _label(root: str, entry: str) -> str:
    """Name a zone by the `name` files of itself and of the zone above it: "package-0", "package-0/dram"."""
    with open(f"{root}/{entry}/name", encoding="ascii", errors="replace") as file:
        name = file.read().strip()
    above = entry.rpartition(":")[0]
    return f"{_label(root, above)}/{name}" if ":" in above else name


def span_microjoules(sysfs: str, label: str) -> int | None:
    """Give the largest value that the counter of the zone with this label shows, None where that cannot be read."""
    root = f"{sysfs}/class/powercap"
    try:
        zone = next((entry for entry in _entries(root) if _label(root, entry) == label), None)
    except OSError:
        return None
    return None if zone is None else _span_microjoules(f"{root}/{zone}")


def _span_microjoules(zone: str) -> int | None:
    try:
        with open(f"{zone}/max_energy_range_uj", encoding="ascii") as file:
            return int(file.read()) or None
    except (OSError, ValueError):
        return None


def device(label: str, span: int | None, processor: Processor) -> Device | None:
    """Describe a zone that is worth reading, None for one that lies inside another.

    `label` is its name below that of the zone above it: "package-0", "package-1-die-0", "package-0/dram", "psys".
    `span` is the largest value that the counter shows, None where it does not wrap.
    """
    package, _, domain = label.partition("/")
    kind: Kind
    if domain == "dram":
        kind, name, max_watts = "dram", f"memory of {package}", _DRAM_MAX_WATTS
    elif package.startswith("package-") and not domain:
        kind, name, max_watts = "cpu", f"{package} of {processor.brand or 'an unnamed CPU'}", _PACKAGE_MAX_WATTS
    elif label == "psys":
        kind, name, max_watts = "other", "whole platform (psys)", _PSYS_MAX_WATTS
    else:
        return None
    return Device(
        id=f"rapl:{label}",
        kind=kind,
        name=name,
        source="rapl",
        method="counter",
        uncertainty_percent=_uncertainty_percent(kind, processor),
        max_watts=max_watts,
        span_microjoules=span,
        counted=kind != "other",
        trusted=not processor.virtual,
        note="A hypervisor shows this counter, so its values are modelled, not measured." if processor.virtual else "",
    )


def _uncertainty_percent(kind: Kind, processor: Processor) -> float:
    if processor.virtual:
        return _HYPERVISOR_PERCENT
    if kind == "dram":
        return _DRAM_SERVER_PERCENT if "xeon" in processor.brand.lower() else _DRAM_DESKTOP_PERCENT
    if kind == "cpu" and processor.vendor == "GenuineIntel":
        return _INTEL_MODELLED_PERCENT if processor.model in _INTEL_MODELLED else _INTEL_PACKAGE_PERCENT
    if kind == "cpu" and processor.vendor in {"AuthenticAMD", "HygonGenuine"}:
        return _AMD_PACKAGE_PERCENT
    return _UNVALIDATED_PERCENT


def _absent(root: str, processor: Processor) -> Finding:
    if processor.virtual:
        return Finding("rapl", "RAPL", "absent", f"This virtual machine shows no RAPL counters under {root}.")
    return Finding(
        "rapl",
        "RAPL",
        "absent",
        f"The kernel shows no RAPL counters under {root}.",
        "On an Intel or AMD CPU, load the driver: modprobe intel_rapl_msr.",
    )


def _failure(error: OSError, zone: str) -> tuple[Status, str]:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "forbidden", FORBIDDEN_REMEDY
    if error.errno == errno.ENOENT and os.path.islink(zone) and not os.path.exists(zone):
        return "absent", _MASKED_REMEDY
    return "broken", ""


def _finding(status: Status, remedy: str, labels: list[str], root: str) -> Finding:
    subject = ", ".join(labels)
    sentence = {
        "forbidden": f"This user may not read the energy counters of {subject} under {root}.",
        "absent": f"The links of {subject} under {root} lead nowhere, as in a container that hides the counters.",
    }.get(status, f"The energy counters of {subject} under {root} cannot be read.")
    return Finding("rapl", subject, status, sentence, remedy)
