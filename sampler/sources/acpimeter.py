"""The ACPI power meter: what a server's board says that the whole machine draws.

Files as the kernel documents them (Documentation/hwmon/acpi_power_meter.rst): `power1_average` in microwatts, a mean
over `power1_average_interval` milliseconds, and `power1_accuracy`, which the board's maker filled in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.sampler.model import Device
from greenrun.sampler.overlap import WHOLE
from greenrun.sampler.sources.sensors import UNVALIDATED_PERCENT, Sensor, text

if TYPE_CHECKING:
    from greenrun.sampler.sources.chip import Chip

# Above this a reading is nonsense: a node of eight GPUs draws under 12 kW.
_MAX_WATTS = 30_000.0


def sensors(chip: Chip) -> list[Sensor]:
    """Describe the chip's meter; one of a battery is the battery's affair."""
    if text(f"{chip.folder}/power1_is_battery") == "1" or not chip.has("power1_average"):
        return []
    milliseconds = text(f"{chip.folder}/power1_average_interval")
    over = f", a mean over {int(milliseconds) / 1000:g} s" if milliseconds.isdecimal() else ""
    device = Device(
        id=f"acpi:{chip.address}",
        kind="other",
        name="whole machine (ACPI power meter)",
        source="acpi",
        method="power",
        # The accuracy that firmware states is often 100 %, or the default of an example: nobody checks it.
        uncertainty_percent=UNVALIDATED_PERCENT,
        max_watts=_MAX_WATTS,
        resolution_seconds=int(milliseconds) / 1000 if milliseconds.isdecimal() else 1.0,
        covers=(WHOLE,),
        note=f"What the board tells{over}, with fans, disks and the power supply as far as it measures them.",
    )
    return [Sensor(device, ((f"{chip.folder}/power1_average",),))]
