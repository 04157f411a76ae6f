"""Whole runs on machines with other meters than RAPL: what adds up, what stands beside, and no joule twice."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine import meters
from machine.command import Greenrun
from machine.gpus import Gpu
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun.sampler import runlog

pytestmark = pytest.mark.usefixtures("no_leftovers")

Simulated = Callable[..., SimulatedMachine]

# A job that lets counters advance while it runs, each by so many joules, in steps; the last one is its last deed.
WORK = """
import json, os, sys, time
folder, start, used = sys.argv[1], *map(json.loads, sys.argv[2:])
for step in range(1, 9):
    time.sleep(0.12)
    for name, joules in start.items():
        fd = os.open(f"{folder}/{name}", os.O_WRONLY)
        os.pwrite(fd, b"%012d J 1447097391 us\\n" % (joules + used[name] * step // 8), 0)
        os.close(fd)
"""
SLEEP = [sys.executable, "-c", "import time; time.sleep(0.9)"]


@pytest.fixture
def bare(simulated: Simulated) -> SimulatedMachine:
    """Give a machine without any meter; tests lay out one in its sysfs."""
    return simulated()


def of(record: dict[str, Any], name: str) -> dict[str, Any]:
    """Give one device of a record."""
    (device,) = (device for device in record["devices"] if device["id"] == name)
    return dict(device)


def counted(record: dict[str, Any]) -> set[str]:
    """Give the ids of the devices that count; the total is theirs."""
    devices = [device for device in record["devices"] if device["counted"]]
    total = math.fsum(device["energy_joules"] or 0.0 for device in devices)
    assert record["energy_joules"]["total"] == pytest.approx(total)
    return {device["id"] for device in devices}


def measure(
    greenrun: Greenrun, machine: SimulatedMachine, command: list[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command on a machine."""
    result = greenrun(*command, env=machine.environment | environment)
    assert result.returncode == 0, result.stderr
    return result


def test_a_cray_node(greenrun: Greenrun, bare: SimulatedMachine, record: Callable[[], dict[str, Any]]) -> None:
    """CPUs, memory and accelerators add up; the node, which contains them, stands beside; nothing is estimated."""
    used = {"energy": 4000, "cpu_energy": 800, "memory_energy": 80, "accel0_energy": 1600, "accel1_energy": 160}
    start = dict.fromkeys(used, 1_000_000)
    folder = meters.cray(Path(bare.sysfs), start)
    for name, joules in start.items():  # of the width in which the job writes
        (folder / name).write_text(f"{joules:012d} J 1447097391 us\n")
    command = [sys.executable, "-c", WORK, str(folder), json.dumps(start), json.dumps(used)]
    result = measure(greenrun, bare, command)
    told = record()
    assert counted(told) == {"cray:cpu", "cray:memory", "cray:accel0", "cray:accel1"}
    # what comes between the last but one reading and the last is spread over the time between them
    for kind, joules in (("cpu", 800), ("dram", 80), ("gpu", 1760)):
        assert told["energy_joules"][kind] == pytest.approx(joules, rel=0.25), kind
    assert of(told, "cray:node")["energy_joules"] == pytest.approx(4000, rel=0.25)
    assert told["energy_joules"]["total"] < 0.75 * of(told, "cray:node")["energy_joules"]
    assert "estimated" not in result.stderr


def test_grace_hopper_while_the_gpu_comes_up(
    greenrun: Greenrun, simulated: Simulated, record: Callable[[], dict[str, Any]], run_dirs: Callable[[], list[str]]
) -> None:
    """Until NVML is up the module is all that tells the GPU; then socket and GPU count, for the whole run."""
    machine = simulated(gpus=[Gpu(constant(283.0))])
    watts = {"Module Power Socket 0": 542.0, "Grace Power Socket 0": 259.0, "CPU Power Socket 0": 251.0}
    meters.grace(Path(machine.sysfs), watts)
    measure(greenrun, machine, SLEEP)
    told = record()
    gpu = f"nvml:{machine.gpus[0].uuid}"
    assert counted(told) == {"grace:grace-0", gpu}
    seconds = told["duration_seconds"]
    assert told["energy_joules"]["cpu"] == pytest.approx(259.0 * seconds, rel=0.05)
    assert told["energy_joules"]["total"] == pytest.approx(542.0 * seconds, rel=0.15)
    assert of(told, "grace:module-0")["energy_joules"] == pytest.approx(542.0 * seconds, rel=0.05)
    events = runlog.read(run_dirs()[0])
    first = {device["id"]: device["counted"] for device in events[0]["devices"]}
    assert first == {"grace:module-0": True, "grace:grace-0": False, "grace:cpu-0": False}
    (joined,) = (event for event in events if event["event"] == "device" and event["devices"])
    assert joined["counted"] == {"grace:module-0": False, "grace:grace-0": True}


def test_grace_hopper_in_module_scope(
    greenrun: Greenrun, simulated: Simulated, record: Callable[[], dict[str, Any]]
) -> None:
    """Where NVML tells only the module, the CPU's own meters are not added to it."""
    machine = simulated(gpus=[Gpu(constant(542.0), module=True)])
    meters.grace(Path(machine.sysfs), {"Grace Power Socket 0": 259.0, "CPU Power Socket 0": 251.0})
    measure(greenrun, machine, SLEEP)
    told = record()
    assert counted(told) == {f"nvml:{machine.gpus[0].uuid}"}
    assert told["energy_joules"]["total"] == pytest.approx(542.0 * told["duration_seconds"], rel=0.15)
    assert told["energy_joules"]["cpu"] is None
    assert "whole module" in of(told, f"nvml:{machine.gpus[0].uuid}")["note"]


def test_a_laptop_on_its_battery(
    greenrun: Greenrun, bare: SimulatedMachine, record: Callable[[], dict[str, Any]]
) -> None:
    """Where no counter can be read the battery tells the whole machine, and no estimate is added to it."""
    meters.battery(Path(bare.sysfs), power_now=12_000_000)
    meters.mains(Path(bare.sysfs), 0)
    result = measure(greenrun, bare, SLEEP)
    told = record()
    assert counted(told) == {"battery"}
    assert told["energy_joules"]["total"] == pytest.approx(12.0 * told["duration_seconds"], rel=0.15)
    assert {device["id"] for device in told["devices"] if device["method"] == "estimate"} == {
        "estimate:cpu",
        "estimate:dram",
    }
    assert "beside the total" in " ".join(result.stderr.split())


def test_a_board_and_an_apu_beside_rapl(
    greenrun: Greenrun, simulated: Simulated, record: Callable[[], dict[str, Any]]
) -> None:
    """The package is counted once: not by the GPU within it, and not by the board that feeds it."""
    machine = simulated(packages=[Zone("package-0", constant(40.0)), Zone("psys", constant(60.0))])
    root = Path(machine.sysfs)
    meters.amd_apu(root, 40_000_000)
    meters.amd_card(root, 120_000_000)
    meters.intel_card(root, 2**35, status="suspended")
    meters.acpi_meter(root, 0, 250_000_000)
    measure(greenrun, machine, SLEEP)
    told = record()
    assert counted(told) == {"rapl:package-0", "amdgpu:0000:03:00.0", "estimate:dram"}
    beside = {device["id"] for device in told["devices"] if not device["counted"]}
    assert beside == {"rapl:psys", "amdgpu:0000:c4:00.0", "acpi:ACPI000D:00"}
    assert told["energy_joules"]["gpu"] == pytest.approx(120.0 * told["duration_seconds"], rel=0.05)
    assert any("asleep" in finding["sentence"] for finding in told["findings"])


def test_the_cpus_counters_through_perf_event(
    greenrun: Greenrun, bare: SimulatedMachine, record: Callable[[], dict[str, Any]]
) -> None:
    """Where there is no powercap the PMU is read, as a kernel counter of 1 W shows; without the right it is said."""
    meters.pmu(Path(bare.sysfs), 1, {"energy-pkg": "event=0x00"}, scale="1.0e-9")  # the CPU clock, in nanoseconds
    measure(greenrun, bare, SLEEP, GREENRUN_CPU_SOURCE="perf")
    told = record()
    cpu = next(device for device in told["devices"] if device["kind"] == "cpu")
    if cpu["source"] == "perf":
        assert told["energy_joules"]["cpu"] == pytest.approx(told["duration_seconds"], rel=0.1)
        assert cpu["method"] == "counter"
    else:
        assert cpu["method"] == "estimate"
        assert any("perf_event_paranoid" in finding["sentence"] for finding in told["findings"])


def test_an_unknown_source_of_the_cpu(greenrun: Greenrun) -> None:
    """A misspelt one is the user's mistake, told before the command."""
    result = greenrun("true", env={"GREENRUN_CPU_SOURCE": "msr"})
    assert result.returncode == 125
    assert "GREENRUN_CPU_SOURCE" in result.stderr
    assert "powercap" in result.stderr


def test_doctor_tells_what_counts(greenrun: Greenrun, bare: SimulatedMachine) -> None:
    """By the same rules as a run: the node stands beside, and nothing would be estimated."""
    meters.cray(Path(bare.sysfs), {"energy": 5, "cpu_energy": 3, "memory_energy": 1, "accel0_energy": 1})
    document = json.loads(greenrun("doctor", "--json", env=bare.environment).stdout)
    assert {device["id"]: device["counted"] for device in document["devices"]} == {
        "cray:node": False,
        "cray:cpu": True,
        "cray:memory": True,
        "cray:accel0": True,
    }
    alone = meters.cray(Path(bare.directory) / "alone", {"energy": 5}).parents[1]
    only = json.loads(greenrun("doctor", "--json", env=bare.environment | {"GREENRUN_SYSFS_ROOT": str(alone)}).stdout)
    assert [(device["id"], device["counted"]) for device in only["devices"]] == [("cray:node", True)]
    text = " ".join(greenrun("doctor", env=bare.environment).stdout.split())
    assert text.startswith("greenrun measures cpu, dram, gpu on this machine.")
    assert "whole node (Cray pm_counters): energy counter (cray), +-20 %, beside the total" in text
