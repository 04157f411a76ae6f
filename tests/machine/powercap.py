"""A powercap tree as the kernel lays it out, with counters that follow power profiles."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from machine.profiles import Profile

PACKAGE_SPAN_MICROJOULES = 262_143_328_850  # 32 bits of 61 microjoules
DRAM_SPAN_MICROJOULES = 65_532_610_987  # 32 bits of 15.3 microjoules, as on servers

Stretch = tuple[float, float]


@dataclass(frozen=True)
class Zone:
    """One powercap zone with its energy counter. Moments are seconds since the machine's epoch.

    `name` is the kernel's (package-0, package-0-die-1, dram, core, uncore, psys). The counter starts at
    `initial_microjoules` and goes on at 0 after `span_microjoules`. What may go wrong with it: it restarts at 0
    (`reset_at`), is ahead by a third of its span from then on (`jump_at`), stands still for a stretch and then shows
    the truth again (`frozen`), shows `spoilt_text` for a stretch (`spoilt`), is taken away (`removed_at`; who holds it
    open reads nothing any more), may not be read by an `unprivileged` command (`forbidden`), or gives EIO (`broken`).
    """

    name: str
    profile: Profile
    zones: tuple[Zone, ...] = ()
    span_microjoules: int = PACKAGE_SPAN_MICROJOULES
    initial_microjoules: int = 0
    reset_at: float = math.inf
    jump_at: float = math.inf
    frozen: Stretch | None = None
    spoilt: Stretch | None = None
    spoilt_text: str = ""
    removed_at: float = math.inf
    forbidden: bool = False
    broken: bool = False

    def wrapping_at(self, seconds: float) -> Zone:
        """Give this zone with an initial value such that the counter wraps at `seconds` after the epoch."""
        needed = int(self.profile.energy(0, seconds) * 1e6)
        return replace(self, initial_microjoules=max(0, self.span_microjoules + 1 - needed))

    def walk(self) -> Iterator[Zone]:
        """Give this zone and those below it, in the order of the tree."""
        yield self
        for zone in self.zones:
            yield from zone.walk()


def build(sysfs: str, control_type: str, zones: Sequence[Zone]) -> list[tuple[Zone, str]]:
    """Make the tree of one control type (intel-rapl, intel-rapl-mmio) and give each zone's energy_uj path."""
    devices = os.path.join(sysfs, "devices", "virtual", "powercap")
    _write(os.path.join(devices, control_type), {"enabled": "1", "uevent": ""})
    _link_class(sysfs, control_type, control_type)
    counters: list[tuple[Zone, str]] = []
    for index, zone in enumerate(zones):
        counters += _build_zone(sysfs, control_type, f"{control_type}:{index}", zone)
    return counters


def mask(sysfs: str) -> None:
    """Take the devices away and leave the links, as container runtimes do."""
    os.rename(os.path.join(sysfs, "devices", "virtual", "powercap"), os.path.join(sysfs, "powercap-masked"))


def spec(epoch_nanoseconds: int, counters: Sequence[tuple[Zone, str]]) -> str:
    """Give what `counters.c` reads."""
    lines = [f"epoch {epoch_nanoseconds}"]
    for zone, path in counters:
        lines += [f"counter {path}", f"span {zone.span_microjoules}", f"initial {zone.initial_microjoules}"]
        lines += [f"reset_at {zone.reset_at!r}", f"jump_at {zone.jump_at!r}", f"removed_at {zone.removed_at!r}"]
        if zone.frozen:
            lines.append(f"frozen {zone.frozen[0]!r} {zone.frozen[1]!r}")
        if zone.spoilt:
            lines.append(f"spoilt {zone.spoilt[0]!r} {zone.spoilt[1]!r} {zone.spoilt_text}")
        lines += zone.profile.lines()
    return "\n".join(lines) + "\n"


def _build_zone(sysfs: str, parent: str, zone_id: str, zone: Zone) -> list[tuple[Zone, str]]:
    below_powercap = os.path.join(parent, zone_id)
    folder = os.path.join(sysfs, "devices", "virtual", "powercap", below_powercap)
    files = {"name": zone.name, "enabled": "1", "max_energy_range_uj": str(zone.span_microjoules), "uevent": ""}
    if zone.name != "core":  # the kernel gives core no constraint of its own
        limit_microwatts = int(max(zone.profile.peak_watts * 1.5, 100.0) * 1e6)
        files |= {
            "constraint_0_name": "long_term",
            "constraint_0_max_power_uw": str(limit_microwatts),
            "constraint_0_power_limit_uw": str(limit_microwatts),
            "constraint_0_time_window_us": "999424",
        }
    _write(folder, files)
    _link_class(sysfs, zone_id, below_powercap)
    path = os.path.join(folder, "energy_uj")
    counters = []
    if zone.broken:
        # Reading the first page of one's own memory is an I/O error, the one that a plain file can be made to give.
        os.symlink("/proc/self/mem", path)
    else:
        _write(folder, {"energy_uj": ""})
        counters.append((zone, path))
    for index, child in enumerate(zone.zones):
        counters += _build_zone(sysfs, below_powercap, f"{zone_id}:{index}", child)
    return counters


def _link_class(sysfs: str, name: str, below_powercap: str) -> None:
    folder = os.path.join(sysfs, "class", "powercap")
    os.makedirs(folder, exist_ok=True)
    os.symlink(os.path.join("..", "..", "devices", "virtual", "powercap", below_powercap), os.path.join(folder, name))


def _write(folder: str, files: dict[str, str]) -> None:
    os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text + "\n" if text else "")
