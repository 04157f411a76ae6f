"""doctor on machines with everything, with nothing, with what is forbidden, broken or slow."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun
from machine.gpus import Driver, Gpu
from machine.powercap import Zone
from machine.privilege import unprivileged
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun.cli import doctor


def examined(greenrun: Greenrun, environment: dict[str, str]) -> tuple[dict[str, Any], int]:
    """Run `greenrun doctor --json` and give its document and exit status."""
    told = greenrun("doctor", "--json", env=environment)
    assert told.stderr == ""
    return json.loads(told.stdout), told.returncode


def test_a_machine_with_meters_can_measure(greenrun: Greenrun, two_sockets: SimulatedMachine) -> None:
    """Each device with its method and how sure it is; what is metered is not estimated too."""
    document, status = examined(greenrun, two_sockets.environment)
    assert status == 0
    assert document["measuring"] is True
    devices = {device["id"]: device for device in document["devices"]}
    assert devices["rapl:package-0"]["method"] == "counter"
    assert devices["rapl:package-1/dram"]["kind"] == "dram"
    assert devices["rapl:psys"]["measured"] is False
    assert [device["method"] for device in devices.values() if device["kind"] == "gpu"] == ["counter", "power"]
    assert not [name for name in devices if name.startswith("estimate")]
    assert all(device["uncertainty_percent"] > 0 for device in devices.values())


def test_the_text_tells_the_same_in_80_columns(greenrun: Greenrun, two_sockets: SimulatedMachine) -> None:
    """For people."""
    told = greenrun("doctor", env=two_sockets.environment)
    lines = told.stdout.splitlines()
    assert lines[0] == "greenrun measures cpu, dram, gpu on this machine."
    assert max(map(len, lines)) <= 80
    assert "beside the total" in told.stdout
    assert "energy counter (rapl), +-" in told.stdout


def test_a_machine_without_meters_can_only_estimate(
    greenrun: Greenrun, simulated: Callable[..., SimulatedMachine]
) -> None:
    """Exit status 1, and the first line says so."""
    machine = simulated()
    document, status = examined(greenrun, machine.environment)
    assert (status, document["measuring"]) == (1, False)
    assert {device["kind"]: device["method"] for device in document["devices"]} == {
        "cpu": "estimate",
        "dram": "estimate",
    }
    assert {finding["status"] for finding in document["findings"]} == {"absent"}
    told = greenrun("doctor", env=machine.environment)
    assert told.stdout.startswith("greenrun measures nothing on this machine and estimates cpu, dram.\n")


def test_a_counter_that_a_hypervisor_models_is_no_measurement(
    greenrun: Greenrun, simulated: Callable[..., SimulatedMachine]
) -> None:
    """It is used, but it does not make the exit status 0."""
    machine = simulated(packages=[Zone("package-0", constant(50.0))], hypervisor=True)
    document, status = examined(greenrun, machine.environment)
    assert (status, document["measuring"]) == (1, False)
    told = greenrun("doctor", env=machine.environment)
    assert "counter modelled by the hypervisor (rapl)" in " ".join(told.stdout.split())


def test_what_is_forbidden_comes_with_its_remedy(
    greenrun: Greenrun, simulated: Callable[..., SimulatedMachine]
) -> None:
    """As a user whom permissions bind."""
    machine = simulated(packages=[Zone("package-0", constant(50.0))])
    for counter in Path(machine.sysfs).rglob("energy_uj"):
        counter.chmod(0)
    command = unprivileged([ENTRY, "doctor"])
    told = subprocess.run(
        command, env=greenrun.environment(machine.environment), cwd=greenrun.cwd, capture_output=True, text=True
    )
    assert told.returncode == 1
    assert "  forbidden " in told.stdout
    assert "udev" in told.stdout


def test_a_driver_that_is_broken_is_told(greenrun: Greenrun, simulated: Callable[..., SimulatedMachine]) -> None:
    """NVML's code 18: the library and the driver are of different versions."""
    machine = simulated(gpus=[Gpu(constant(100.0))], driver=Driver(init_error=18))
    document, _ = examined(greenrun, machine.environment)
    assert [finding["status"] for finding in document["findings"] if finding["source"] == "nvml"] == ["broken"]


def test_place_carbon_and_log_directory(greenrun: Greenrun) -> None:
    """Where the machine stands, how that is known, and whether runs can be kept."""
    Path(greenrun.cwd, "taken").touch()
    environment = {"GREENRUN_COUNTRY": "France", "GREENRUN_LOG_DIR": "taken/logs", "GREENRUN_PEU": "1"}
    document, _ = examined(greenrun, environment)
    assert document["place"]["country"] == "FR"
    assert document["place"]["how"] == "GREENRUN_COUNTRY"
    assert document["place"]["intensity"]["grams_per_kwh"] > 0
    assert document["log_directory"]["writable"] is False
    assert document["log_directory"]["trouble"].endswith("taken is no directory")
    assert len(document["warnings"]) == 1
    document, _ = examined(greenrun, {"GREENRUN_LOG_DIR": "not/yet/there", "GREENRUN_INTENSITY": "42"})
    assert document["log_directory"] == {"path": "not/yet/there", "writable": True, "trouble": None}
    assert document["place"]["intensity"]["source"] == "told by GREENRUN_INTENSITY"
    assert os.listdir(greenrun.cwd) == ["taken"]


def test_what_is_the_same_of_all_services_is_said_once(greenrun: Greenrun) -> None:
    """Offline, or with a figure of one's own, none is asked; an unknown place says what would tell it."""
    every = "Electricity Maps, NESO, Energi Data Service, Energy-Charts"
    told = " ".join(greenrun("doctor", env={"GREENRUN_OFFLINE": "1", "TZ": "UTC"}).stdout.split())
    assert f"live {every}: offline, so not asked carbon 4" in told
    assert "place unknown (--country or --zone tells it)" in told
    assert ", where no service answers (yearly average, the world average, lifecycle emissions of 2" in told
    told = " ".join(greenrun("doctor", env={"GREENRUN_INTENSITY": "42"}).stdout.split())
    assert f"live {every}: the intensity is told, so not asked" in told
    assert "carbon 42.0 g CO2e per kWh (told by GREENRUN_INTENSITY, taken as exact) logs" in told


def test_services_are_asked_one_after_the_other(greenrun: Greenrun) -> None:
    """The first that a run asks, and those that it asks only where none before has answered."""
    environment = {"GREENRUN_COUNTRY": "DE", "GREENRUN_ELECTRICITYMAPS_TOKEN": "token", "GREENRUN_OFFLINE": None}
    told = " ".join(greenrun("doctor", env=environment).stdout.split())
    assert "live Electricity Maps: a run asks it for DE live NESO: it serves Great Britain only " in told
    assert "live Energy-Charts: a run asks it for DE, if those above do not answer carbon " in told


def test_within_waits_no_longer_than_told() -> None:
    """What hangs is left behind; what fails, fails where it was asked for."""
    reader, writer = os.pipe()
    assert doctor.within(0.05, lambda: os.read(reader, 1)) is None
    os.write(writer, b"x")  # lets the thread go
    assert doctor.within(10.0, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        doctor.within(10.0, lambda: 1 // 0)
    os.close(writer)
