"""AMD GPUs: the power of the board, or of the whole package where the GPU is a part of a processor (an APU).

Files as the kernel documents them (drivers/gpu/drm/amd/pm/amdgpu_pm.c, "hwmon"): `power1_average` of older chips and
`power1_input` of newer ones, in microwatts; `in1_input`, the northbridge's voltage, only of an APU. A GPU that the
kernel has put to sleep would be woken by the reading and is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.sampler.model import Device
from greenrun.sampler.sources.sensors import POLL_SECONDS, UNVALIDATED_PERCENT, Sensor, text

if TYPE_CHECKING:
    from greenrun.sampler.sources.chip import Chip

# Above this a reading is nonsense: twice the largest board sold (1.4 kW).
_MAX_WATTS = 3000.0


def sensors(chip: Chip) -> list[Sensor]:
    """Describe the chip's one power, empty where it has none."""
    file = next((name for name in ("power1_average", "power1_input") if chip.has(name)), None)
    if file is None:
        return []
    address, is_apu = chip.address, chip.has("in1_input")
    model = text(f"{chip.device}/product_name") or f"AMD GPU {text(f'{chip.device}/device')}".strip()
    note = f"Its power is read every {POLL_SECONDS} s."
    if is_apu:
        note = f"The GPU of this processor tells the power of the whole package, with its cores. {note}"
    device = Device(
        id=f"amdgpu:{address}",
        kind="cpu" if is_apu else "gpu",
        name=f"package of {model}" if is_apu else f"{model} at {address}",
        source="amdgpu",
        method="power",
        uncertainty_percent=UNVALIDATED_PERCENT,
        max_watts=_MAX_WATTS,
        covers=(f"cpu/#{address}",) if is_apu else (f"gpu/{address}",),
        note=note,
    )
    return [Sensor(device, ((f"{chip.folder}/{file}",),), rests=lambda: is_asleep(chip), resting=asleep(address))]


def is_asleep(chip: Chip) -> bool:
    """Whether the kernel has put the chip's GPU to sleep; to ask does not wake it."""
    return text(f"{chip.device}/power/runtime_status") in {"suspended", "suspending"}


def asleep(address: str) -> str:
    """Say that a GPU sleeps."""
    return f"GPU {address} is asleep and is not woken to be measured; it joins when its own work wakes it."
