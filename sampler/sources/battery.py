"""A laptop's batteries: what they give while they are discharged, which is what the whole machine draws.

Files as the kernel documents them (Documentation/ABI/testing/sysfs-class-power): `power_now` in microwatts, or
`current_now` in microamperes times `voltage_now` in microvolts; some drivers give them a sign. On mains power nothing
can be known from it. Slow: the embedded controller that is asked may take many milliseconds.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenrun.sampler.model import Device
from greenrun.sampler.overlap import WHOLE
from greenrun.sampler.sources.sensors import UNVALIDATED_PERCENT, Found, Sensor, SensorSource, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.sampler.model import Machine

# Above this a reading is nonsense: no laptop's adapter gives more than 400 W.
_MAX_WATTS = 1000.0
# Gauges are read by the controller once in some seconds.
_UPDATE_SECONDS = 5.0


def folders(sysfs: str) -> list[str]:
    """List the folders of the machine's own batteries; a mouse's tells only its charge."""
    root = f"{sysfs}/class/power_supply"
    try:
        entries = sorted(os.listdir(root))
    except OSError:
        return []
    return [f"{root}/{entry}" for entry in entries if _is_battery(f"{root}/{entry}")]


def source() -> SensorSource:
    """Make the source of the machine's batteries."""
    return SensorSource("battery", _find, leisurely=True)


def _is_battery(folder: str) -> bool:
    return text(f"{folder}/type") == "Battery" and text(f"{folder}/scope") != "Device"


def _find(machine: Machine) -> Found:
    """Describe all batteries as one device: where there are two, they are emptied one after the other."""
    found = [folder for folder in folders(machine.sysfs) if _files(folder)]
    if not found:
        return Found()
    names = ", ".join(os.path.basename(folder) for folder in found)
    device = Device(
        id="battery",
        kind="other",
        name=f"whole machine ({names})",
        source="battery",
        method="power",
        uncertainty_percent=UNVALIDATED_PERCENT,
        max_watts=_MAX_WATTS,
        resolution_seconds=_UPDATE_SECONDS,
        covers=(WHOLE,),
        note="What the battery gives while it is discharged, with the screen and all else.",
    )
    by_current = not _files(found[0])[0].endswith("power_now")
    return Found(
        [
            Sensor(
                device,
                tuple(_files(folder) for folder in found if by_current is not _files(folder)[0].endswith("power_now")),
                scale=1e-6 if by_current else 1.0,
                rests=lambda: not _is_discharged(found),
                resting=f"{names}: not being discharged, which alone tells what the machine draws.",
                signed=True,
            )
        ]
    )


def _files(folder: str) -> tuple[str, ...]:
    """Give the files whose product is the power; empty where the gauge tells only the charge."""
    for names in (("power_now",), ("current_now", "voltage_now")):
        if all(os.path.exists(f"{folder}/{name}") for name in names):
            return tuple(f"{folder}/{name}" for name in names)
    return ()


def _is_discharged(found: Sequence[str]) -> bool:
    states = {text(f"{folder}/status") for folder in found}
    return "Discharging" in states and "Charging" not in states
