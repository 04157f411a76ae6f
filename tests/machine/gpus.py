"""Simulated GPUs: what the simulated NVML answers, and their place among the PCI devices."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from machine.profiles import Profile


@dataclass(frozen=True)
class Slice:
    """A part of a GPU in MIG mode: one compute instance of a GPU instance, and of how many slices each is."""

    uuid: str
    gpu_instance: int
    compute_instance: int = 0
    gpu_slices: int = 1
    compute_slices: int = 1


@dataclass(frozen=True)
class Gpu:
    """One GPU. Moments are seconds since the machine's epoch.

    `counter`: it has an energy counter, which moves every `counter_period` seconds and starts at
    `initial_millijoules`; it restarts at 0 at `reset_at`. `power`: it tells its power, as the mean over the last
    `average_seconds` (0: the instant), renewed every `power_period` seconds; `instant`: also as NVML's field values.
    From `lost_at` on it has fallen off the bus and gives NVML's code
    `lost_error` (9: its driver is gone); `error` is such a code that every question about it gives.
    `suspended`: asleep according to sysfs; being asked for its handle wakes it (`SimulatedMachine.woken`).
    `minor` is the number of its device file (-1: its place in the list; -2: the driver does not tell).
    `lists`: the driver tells its processes (`SimulatedMachine.put`), `uses`: also what each of them used. With `slices`
    it is in MIG mode and cut into these, of `most_slices` of its model. `module`: its figures are of the module that it
    shares with a CPU, as the scope of NVML's field values tells.
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
    lost_error: int = 15
    error: int = 0
    suspended: bool = False
    minor: int = -1
    lists: bool = True
    uses: bool = True
    slices: tuple[Slice, ...] | None = None
    most_slices: int = 7
    module: bool = False


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


def processes_path(directory: str, gpu: Gpu) -> str:
    """Give the file that tells the driver which processes are on a GPU."""
    return os.path.join(directory, f"processes-{gpu.uuid}")


def calls_path(directory: str) -> str:
    """Give the file in which the driver notes the questions about processes."""
    return os.path.join(directory, "calls")


def spec(
    epoch_nanoseconds: int, driver: Driver, gpus: Sequence[Gpu], status_paths: Sequence[str], directory: str
) -> str:
    """Give what `nvml.c` reads; `directory` has the files that it reads and writes later."""
    lines = [f"epoch {epoch_nanoseconds}", f"driver {driver.version}", f"init_seconds {driver.init_seconds!r}"]
    lines += [f"init_error {driver.init_error}", f"woken {os.path.join(directory, 'woken')}"]
    lines += [f"calls {calls_path(directory)}"]
    for gpu, status in zip(gpus, status_paths, strict=True):
        lines += ["gpu", f"name {gpu.name}", f"uuid {gpu.uuid}", f"pci {gpu.pci}", f"status {status}"]
        lines += [f"counter {gpu.counter:d}", f"counter_period {gpu.counter_period!r}"]
        lines += [f"initial {gpu.initial_millijoules}", f"reset_at {gpu.reset_at!r}", f"meter {gpu.power:d}"]
        lines += [
            f"instant {2 if gpu.module else int(gpu.instant)}",
            f"power_period {gpu.power_period!r}",
            f"average {gpu.average_seconds!r}",
        ]
        lines += [f"limit {gpu.limit_watts}", f"utilisation {gpu.utilisation_percent}"]
        lines += [f"processes {processes_path(directory, gpu)}", f"lists {gpu.lists:d}", f"uses {gpu.uses:d}"]
        lines += [f"mig {1 if gpu.slices is not None else -1}", f"most_slices {gpu.most_slices}"]
        for part in gpu.slices or ():
            numbers = part.gpu_instance, part.compute_instance, part.gpu_slices, part.compute_slices
            lines.append(f"slice {part.uuid} {' '.join(map(str, numbers))}")
        lines += [f"lost_at {gpu.lost_at!r} {gpu.lost_error}", f"error {gpu.error}", f"minor {gpu.minor}"]
        lines += gpu.profile.lines()
    return "\n".join(lines) + "\n"
