"""Intel's GPU cards: the energy counter that the drivers i915 and xe show.

Files as the kernel documents them (Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon and -xe-hwmon):
`energy1_input` in microjoules is the card's, `energy2_input` of xe the chip's on it. The register behind has 32 bits;
the driver adds it up in 64, at each reading, so that it must be read before the register wraps: at 1000 W within four
minutes. We never wait longer than half a minute. GPUs within a processor have no such file: RAPL's package holds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.sampler.model import Device
from greenrun.sampler.sources.amdgpu import asleep, is_asleep
from greenrun.sampler.sources.sensors import UNVALIDATED_PERCENT, Sensor, text

if TYPE_CHECKING:
    from greenrun.sampler.sources.chip import Chip

# Above this a reading is nonsense: the largest card sold draws 600 W.
_MAX_WATTS = 3000.0


def sensors(chip: Chip) -> list[Sensor]:
    """Describe the card's counter, the chip's where the card has none, empty where there is neither."""
    file = next((name for name in ("energy1_input", "energy2_input") if chip.has(name)), None)
    if file is None:
        return []
    address = chip.address
    note = "" if file == "energy1_input" else "This is the energy of the chip, without the memory beside it."
    device = Device(
        id=f"{chip.name}:{address}",
        kind="gpu",
        name=f"Intel GPU {text(f'{chip.device}/device')} at {address}".replace("  ", " "),
        source=chip.name,
        method="counter",
        uncertainty_percent=UNVALIDATED_PERCENT,
        max_watts=_MAX_WATTS,
        covers=(f"gpu/{address}",),
        note=note,
    )
    return [Sensor(device, ((f"{chip.folder}/{file}",),), rests=lambda: is_asleep(chip), resting=asleep(address))]
