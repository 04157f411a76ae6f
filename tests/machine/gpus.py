"""Simulated GPUs: what the simulated NVML answers, and their place among the PCI devices."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from machine.profiles import Profile


@dataclass(frozen=True)
class Gpu:
    """One GPU. Moments are seconds since the machine's epoch.

    `counter`: it has an energy counter, which moves every `counter_period` seconds and starts at
    `initial_millijoules`; it restarts at 0 at `reset_at`. `power`: it tells its power, as the mean over the last
    `average_seconds` (0: the instant), renewed every `power_period` seconds; `instant`: also as NVML's field values.
    From `lost_at` on it has fallen off the bus; `error` is an NVML code that every question about it gives.
    `suspended`: asleep according to sysfs; being asked for its handle wakes it (`SimulatedMachine.woken`).
    `minor` is the number of its device file (-1: its place in the list; -2: the driver does not tell).
    """

    profile: Profile
    name: str = "NVIDIA Simulated Accelerator"
    uuid: str = ""
    pci: str = ""
    counter: bool = True
    counter_period: float = 0.02
    initial_millijoules: int = 987_654_321
    reset_at: float = math.inf
    power: bool = True
    instant: bool = True
    power_period: float = 0.02
    average_seconds: float = 0.0
    limit_watts: int = 700
    utilisation_percent: int = 63
    lost_at: float = math.inf
    error: int = 0
    suspended: bool = False
    minor: int = -1


@dataclass(frozen=True)
class Driver:
    """The driver: how long nvmlInit takes, and the NVML code with which it fails.

    0: it does not; 9: the driver is not loaded; 18: driver and library are of different versions.
    """

    version: str = "550.54.15"
    init_seconds: float = 0.0
    init_error: int = 0


def place(gpu: Gpu, index: int) -> Gpu:
    """Give the GPU with a UUID and a PCI address where it has none."""
    return replace(
        gpu,
        uuid=gpu.uuid or f"GPU-51a00000-0000-4000-8000-{index:012x}",
        pci=gpu.pci or f"0000:{0x11 + index * 0x10:02x}:00.0",
        minor=index if gpu.minor == -1 else gpu.minor,
    )


def build(sysfs: str, gpus: Sequence[Gpu]) -> list[str]:
    """Make the PCI devices and give each GPU's runtime_status path."""
    bus = os.path.join(sysfs, "bus", "pci", "devices")
    os.makedirs(bus, exist_ok=True)
    paths = []
    for gpu in gpus:
        below_devices = os.path.join("pci0000:00", gpu.pci)
        folder = os.path.join(sysfs, "devices", below_devices)
        os.makedirs(os.path.join(folder, "power"))
        status = os.path.join("power", "runtime_status")
        state = "suspended" if gpu.suspended else "active"
        for name, text in (("vendor", "0x10de"), ("class", "0x030200"), ("device", "0x2330"), (status, state)):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text + "\n")
        os.symlink(os.path.join("..", "..", "..", "devices", below_devices), os.path.join(bus, gpu.pci))
        paths.append(os.path.join(folder, status))
    return paths


def spec(epoch_nanoseconds: int, driver: Driver, gpus: Sequence[Gpu], status_paths: Sequence[str], woken: str) -> str:
    """Give what `nvml.c` reads."""
    lines = [f"epoch {epoch_nanoseconds}", f"driver {driver.version}", f"init_seconds {driver.init_seconds!r}"]
    lines += [f"init_error {driver.init_error}", f"woken {woken}"]
    for gpu, status in zip(gpus, status_paths, strict=True):
        lines += ["gpu", f"name {gpu.name}", f"uuid {gpu.uuid}", f"pci {gpu.pci}", f"status {status}"]
        lines += [f"counter {gpu.counter:d}", f"counter_period {gpu.counter_period!r}"]
        lines += [f"initial {gpu.initial_millijoules}", f"reset_at {gpu.reset_at!r}", f"meter {gpu.power:d}"]
        lines += [f"instant {gpu.instant:d}", f"power_period {gpu.power_period!r}", f"average {gpu.average_seconds!r}"]
        lines += [f"limit {gpu.limit_watts}", f"utilisation {gpu.utilisation_percent}"]
        lines += [f"lost_at {gpu.lost_at!r}", f"error {gpu.error}", f"minor {gpu.minor}", *gpu.profile.lines()]
    return "\n".join(lines) + "\n"
