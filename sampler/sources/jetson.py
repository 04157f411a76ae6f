"""NVIDIA Jetson: the rails that INA3221 chips on the module measure, in millivolts and milliamperes.

Files as the kernel documents them (Documentation/hwmon/ina3221.rst): `inN_label` names the rail, `inN_input` is its
voltage and `currN_input` its current. What hangs on which rail: NVIDIA Jetson Linux Developer Guide, "Platform Power
and Performance", the tables of each module's INA3221 channels. A rail that is not known here is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.sampler.model import Device
from greenrun.sampler.overlap import WHOLE
from greenrun.sampler.sources.sensors import POLL_SECONDS, UNVALIDATED_PERCENT, Sensor, text

if TYPE_CHECKING:
    from greenrun.sampler.model import Kind
    from greenrun.sampler.sources.chip import Chip

# Above this a reading is nonsense: the largest module sold draws 130 W.
_MAX_WATTS = 300.0
_CHANNELS = (1, 2, 3)  # of one INA3221

_MODULE: tuple[Kind, str, tuple[str, ...]] = ("other", "whole module", (WHOLE,))
_RAILS: dict[str, tuple[Kind, str, tuple[str, ...]]] = {
    # AGX Orin. The memory hangs on the 5 V rail, whose figure has it, too.
    "VDD_GPU_SOC": ("gpu", "GPU and system on chip", ("gpu/#soc", "soc")),
    "VDD_CPU_CV": ("cpu", "CPU and vision accelerators", ("cpu", "cv")),
    "VIN_SYS_5V0": ("other", "5 V rail with memory", ("5v", "dram")),
    "VDDQ_VDD2_1V8AO": ("dram", "memory", ("dram",)),
    # Orin NX and Nano
    "VDD_IN": _MODULE,
    "VDD_CPU_GPU_CV": ("cpu", "CPU, GPU and vision accelerators", ("cpu", "gpu/#soc", "cv")),
    "VDD_SOC": ("other", "system on chip", ("soc",)),
    # AGX Xavier
    "GPU": ("gpu", "GPU", ("gpu/#soc",)),
    "CPU": ("cpu", "CPU", ("cpu",)),
    "SOC": ("other", "system on chip", ("soc",)),
    "CV": ("other", "vision accelerators", ("cv",)),
    "VDDRQ": ("dram", "memory", ("dram",)),
    "SYS5V": ("other", "5 V rail", ("5v",)),
}


def sensors(chip: Chip) -> list[Sensor]:
    """Describe the chip's rails that are known."""
    return [
        _sensor(chip, channel, label)
        for channel in _CHANNELS
        if (label := text(f"{chip.folder}/in{channel}_label")) in _RAILS
    ]


def _sensor(chip: Chip, channel: int, label: str) -> Sensor:
    kind, name, parts = _RAILS[label]
    device = Device(
        id=f"jetson:{label}",
        kind=kind,
        name=f"{name} ({label})",
        source="jetson",
        method="power",
        uncertainty_percent=UNVALIDATED_PERCENT,
        max_watts=_MAX_WATTS,
        covers=parts,
        note=f"Its voltage and current are read every {POLL_SECONDS} s.",
    )
    return Sensor(device, (tuple(f"{chip.folder}/{what}{channel}_input" for what in ("in", "curr")),))
