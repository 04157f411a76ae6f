"""HPE Cray nodes: the energy counters that the blade's controller keeps, in joules, ten times a second.

/sys/cray/pm_counters, readable by every user: `energy` of the node with all that is in it, `cpu_energy`,
`memory_energy` and one `accelN_energy` for each accelerator. A file holds "123 J", newer ones "123 J 1447097391 us"
(HPE Cray EX documentation, "User Access to Compute Node Power Data"; Martin and Kappel, CUG 2014). Which accelerator
has which number in another's count is not told.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from greenrun.sampler.model import Device
from greenrun.sampler.overlap import WHOLE
from greenrun.sampler.sources.sensors import UNVALIDATED_PERCENT, Found, Sensor, SensorSource

if TYPE_CHECKING:
    from greenrun.sampler.model import Kind, Machine

FOLDER = "cray/pm_counters"

_MICROJOULES = 1e6  # in a joule
# Ten times a second, in whole joules.
_UPDATE_SECONDS = 0.1
_STEP_JOULES = 1.0
# The powers above which a counter's step is nonsense, watts: a node of eight accelerators draws under 12 kW.
_MAX_WATTS = 30_000.0
_ACCELERATOR = re.compile(r"accel(\d+)_energy")


def source() -> SensorSource:
    """Make the source of all counters of the node."""
    return SensorSource("cray", _find)


def _find(machine: Machine) -> Found:
    folder = f"{machine.sysfs}/{FOLDER}"
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return Found()
    return Found([sensor for entry in entries if (sensor := _sensor(folder, entry)) is not None])


def _sensor(folder: str, entry: str) -> Sensor | None:
    kind: Kind
    accelerator = _ACCELERATOR.fullmatch(entry)
    if entry == "energy":
        name, kind, title, part = "node", "other", "whole node", WHOLE
    elif entry == "cpu_energy":
        name, kind, title, part = "cpu", "cpu", "all CPUs", "cpu"
    elif entry == "memory_energy":
        name, kind, title, part = "memory", "dram", "memory", "dram"
    elif accelerator:
        number = accelerator[1]
        name, kind, title, part = f"accel{number}", "gpu", f"accelerator {number}", f"gpu/#{number}"
    else:
        return None
    device = Device(
        id=f"cray:{name}",
        kind=kind,
        name=f"{title} (Cray pm_counters)",
        source="cray",
        method="counter",
        uncertainty_percent=UNVALIDATED_PERCENT,
        max_watts=_MAX_WATTS,
        resolution_joules=_STEP_JOULES,
        resolution_seconds=_UPDATE_SECONDS,
        covers=(part,),
    )
    return Sensor(device, ((f"{folder}/{entry}",),), scale=_MICROJOULES)
