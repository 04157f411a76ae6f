"""Ready-made machines."""

from __future__ import annotations

import os
import random

from machine import procfs
from machine.gpus import Gpu
from machine.powercap import DRAM_SPAN_MICROJOULES, Zone
from machine.profiles import constant, square
from machine.simulated import SimulatedMachine


def two_sockets_two_gpus(
    directory: str | os.PathLike[str] | None = None, *, wraps_at: float = 3.7, seed: int | None = None
) -> SimulatedMachine:
    """Give a server: two packages with dram, psys in the middle, mmio, one GPU with an energy counter, one without.

    Package 0 and GPU 0 are square waves, package 1 is constant, with odd frequencies and random phases (`seed` repeats
    them), so that a bad poller cannot be right by luck. Package 0's counter wraps `wraps_at` seconds after the epoch.
    """
    phase = random.Random(seed).random  # noqa: S311  phases of a wave, no secret
    package_0 = square(83.0, 211.0, 0.7, phase())
    package_1 = constant(57.3)
    dram_0 = square(9.1, 17.7, 0.37, phase())
    dram_1 = constant(11.9)
    zones = (
        Zone(
            "package-0",
            package_0,
            (Zone("core", constant(61.0)), Zone("dram", dram_0, span_microjoules=DRAM_SPAN_MICROJOULES)),
        ).wrapping_at(wraps_at),
        Zone("psys", package_0 + package_1 + dram_0 + dram_1 + constant(43.1)),
        Zone(
            "package-1",
            package_1,
            (Zone("core", constant(31.0)), Zone("dram", dram_1, span_microjoules=DRAM_SPAN_MICROJOULES)),
        ),
    )
    gpus = (
        Gpu(square(71.0, 409.0, 1.3, phase()), counter_period=0.02),
        Gpu(constant(61.0) + square(0.0, 117.0, 0.43, phase()), counter=False),
    )
    return SimulatedMachine(
        directory, packages=zones, mmio=(Zone("package-0", package_0),), gpus=gpus, cpu=procfs.XEON_8480
    )
