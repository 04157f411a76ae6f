"""hwmon: the chips below /sys/class/hwmon, of which most tell temperatures and a few the power of what we count.

A chip is known by its `name`, never by its number: that changes from boot to boot. Who knows what a chip measures is
the module named here, which is imported only where there is such a chip.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenrun.sampler.sources.chip import Chip
from greenrun.sampler.sources.sensors import Found, Sensor, SensorSource, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.sampler.model import Machine

_ACPI = "power_meter"


def chips(sysfs: str) -> tuple[Chip, ...]:
    """List the chips; older drivers have their files in the hardware's folder."""
    return tuple(_chips(f"{sysfs}/class/hwmon"))


def sources(found: Sequence[Chip]) -> list[SensorSource]:
    """Make the sources for those of the chips that tell power or energy: what answers at once, and what may not.

    An ACPI meter asks the firmware, which may ask the board's management controller and take a tenth of a second; only
    Grace's is known to answer at once.
    """
    at_once = [chip for chip in found if chip.name in _MODULES or (chip.name == _ACPI and _is_grace(chip))]
    acpi = [chip for chip in found if chip.name == _ACPI and chip not in at_once]
    made = []
    if at_once:
        made.append(SensorSource("hwmon", lambda machine: _find(machine, at_once)))
    if acpi:
        made.append(SensorSource("acpi", lambda machine: _find(machine, acpi), leisurely=True))
    return made


_MODULES = frozenset({"amdgpu", "i915", "xe", "ina3221"})


def _find(_: Machine, found: Sequence[Chip]) -> Found:
    return Found([sensor for chip in found for sensor in _sensors(chip)])


def _sensors(chip: Chip) -> list[Sensor]:
    if chip.name == "amdgpu":
        from greenrun.sampler.sources import amdgpu

        return amdgpu.sensors(chip)
    if chip.name in {"i915", "xe"}:
        from greenrun.sampler.sources import intelgpu

        return intelgpu.sensors(chip)
    if chip.name == "ina3221":
        from greenrun.sampler.sources import jetson

        return jetson.sensors(chip)
    if _is_grace(chip):
        from greenrun.sampler.sources import grace

        return grace.sensors(chip)
    from greenrun.sampler.sources import acpimeter

    return acpimeter.sensors(chip)


def _is_grace(chip: Chip) -> bool:
    """Whether an ACPI meter is one of Grace's, which say in `power1_oem_info` what of which socket they measure."""
    return "Power Socket" in text(f"{chip.folder}/power1_oem_info")


def _chips(root: str) -> Iterator[Chip]:
    try:
        entries = sorted(os.listdir(root))
    except OSError:
        return
    for entry in entries:
        folder = device = f"{root}/{entry}"
        if os.path.exists(f"{folder}/device"):
            device = f"{folder}/device"
        name = text(f"{folder}/name") or text(f"{device}/name")
        if name == _ACPI and not os.path.exists(f"{folder}/power1_average"):
            folder = device
        if name:
            yield Chip(name, folder, device)
