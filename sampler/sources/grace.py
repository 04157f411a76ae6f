"""NVIDIA Grace: the ACPI power meters of each socket, which say in `power1_oem_info` what they measure.

"CPU Power Socket N" is the cores' rail and "SysIO Power Socket N" that of the interconnect and the links. "Grace Power
Socket N" is the whole socket, with its memory: more than the two together. "Module Power Socket N" of a Grace-Hopper
or Grace-Blackwell is the socket and its GPUs. NVIDIA Grace Performance Tuning Guide, "Power Telemetry". Which of them
count beside NVML's GPUs is decided in sampler/overlap.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.sampler.model import Device
from greenrun.sampler.sources.sensors import POLL_SECONDS, UNVALIDATED_PERCENT, Sensor, text

if TYPE_CHECKING:
    from greenrun.sampler.model import Kind
    from greenrun.sampler.sources.chip import Chip

# A socket of 500 W; a module of four 1.4 kW GPUs and two sockets is the largest built.
_MAX_WATTS = 12_000.0

_METERS: dict[str, tuple[Kind, str, tuple[str, ...]]] = {
    "CPU": ("cpu", "cores of Grace socket {}", ("cpu/{}",)),
    "SysIO": ("other", "links of Grace socket {}", ("sysio/{}",)),
    "Grace": ("cpu", "Grace socket {} with its memory", ("cpu/{}", "sysio/{}", "dram/{}")),
    "Module": ("other", "module of Grace socket {} and its GPUs", ("cpu/{}", "sysio/{}", "dram/{}", "gpu/#module-{}")),
}


def sensors(chip: Chip) -> list[Sensor]:
    """Describe the chip's meter, empty where it measures something that is not known here."""
    what, _, rest = text(f"{chip.folder}/power1_oem_info").partition(" ")
    socket = rest.rpartition(" ")[2]
    if what not in _METERS or not socket.isdecimal():
        return []
    kind, name, parts = _METERS[what]
    device = Device(
        id=f"grace:{what.lower()}-{socket}",
        kind=kind,
        name=name.format(socket),
        source="grace",
        method="power",
        uncertainty_percent=UNVALIDATED_PERCENT,
        max_watts=_MAX_WATTS,
        covers=tuple(part.format(socket) for part in parts),
        note=f"Its power is read every {POLL_SECONDS} s.",
    )
    return [Sensor(device, ((f"{chip.folder}/power1_average",),))]
