"""`greenrun calibrate` on simulated machines: what it keeps, when it refuses, and that the next run knows it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine.command import Greenrun
from machine.gpus import Gpu
from machine.powercap import Zone
from machine.procfs import XEON_8480
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun.sampler import runlog

Simulated = Callable[..., SimulatedMachine]

PACKAGES = (
    Zone("package-0", constant(31.7), (Zone("dram", constant(4.2)),)),
    Zone("psys", constant(88.0)),
    Zone("package-1", constant(28.9), (Zone("dram", constant(3.9)),)),
)


def machine(simulated: Simulated, **changes: Any) -> SimulatedMachine:
    """Make an idle server of two sockets and a GPU."""
    gpu = Gpu(constant(55.0), utilisation_percent=0)
    parts = {"packages": PACKAGES, "gpus": [gpu], "cpu": XEON_8480, "load": constant(0.004)}
    return simulated(**(parts | changes))


@pytest.fixture
def kept(tmp_path: Path) -> str:
    """Give where the floor is kept."""
    return str(tmp_path / "site" / "floor.json")


def settings(simulated_machine: SimulatedMachine, kept: str) -> dict[str, str]:
    """Give the environment of a user whose floor is kept there."""
    return {**simulated_machine.environment, "GREENRUN_FLOOR": kept}


@pytest.mark.usefixtures("no_leftovers")
def test_what_an_idle_machine_draws(
    greenrun: Greenrun, simulated: Simulated, kept: str, run_dirs: Callable[[], list[str]]
) -> None:
    """Each meter's mean power, within a per cent; the next run logs it, doctor tells it, and it is forgotten."""
    idle = machine(simulated)
    env = settings(idle, kept)
    told = greenrun("calibrate", "--seconds", "3", env=env)
    assert told.returncode == 0, told.stderr
    assert told.stderr.count("\n") == 1
    assert told.stdout.endswith(f"Kept in {kept}.\n")
    with open(kept) as file:
        watts = {part["id"]: part["watts"] for part in json.load(file)["devices"]}
    for device, profile in idle.devices().items():
        assert watts[device] == pytest.approx(profile.energy(0.0, 1.0), rel=0.01), device

    runs = greenrun("-q", "true", env=env), greenrun("-q", "true", env={**env, "GREENRUN_FLOOR": f"{kept}.none"})
    assert [run.returncode for run in runs] == [0, 0]
    field, none = (runlog.read(run_dir)[0]["floor"] for run_dir in run_dirs())
    assert none is None
    assert field["cpu_watts"] == pytest.approx(31.7 + 28.9, rel=0.01)
    assert field["dram_watts"] == pytest.approx(4.2 + 3.9, rel=0.01)
    assert list(field["gpu_watts"]) == [f"nvml:{idle.gpus[0].uuid}"]
    assert "rapl:psys" in field["devices"]

    assert "idle at cpu 60.6 W, dram 8.10 W" in " ".join(greenrun("doctor", env=env).stdout.split())
    assert greenrun("calibrate", "--show", env=env).stdout == told.stdout
    assert greenrun("calibrate", "--forget", env=env).returncode == 0
    assert not os.path.exists(kept)
    assert os.listdir(os.path.dirname(kept)) == []
    shown = greenrun("calibrate", "--show", env=env)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert greenrun("calibrate", "--forget", env=env).returncode == 0


@pytest.mark.parametrize(
    ("busy", "why"),
    [
        ({"load": constant(0.31)}, "CPUs are busy 31"),
        ({"gpus": [Gpu(constant(55.0), utilisation_percent=7)]}, "NVIDIA Simulated Accelerator is busy 7 %"),
    ],
)
def test_a_machine_in_use(greenrun: Greenrun, simulated: Simulated, kept: str, busy: dict[str, Any], why: str) -> None:
    """It is refused in one sentence as soon as that is seen, and nothing is kept; --anyway measures it."""
    env = settings(machine(simulated, **busy), kept)
    began = time.monotonic()
    told = greenrun("calibrate", "--seconds", "3000", env=env)
    assert time.monotonic() - began < 50.0
    assert (told.returncode, told.stdout) == (1, "")
    assert why in told.stderr
    assert "--anyway" in told.stderr
    assert not os.path.exists(os.path.dirname(kept))
    assert greenrun("calibrate", "--seconds", "1", "--anyway", env=env).returncode == 0
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o644


@pytest.mark.parametrize("parts", [{"packages": (), "gpus": None}, {"hypervisor": True, "gpus": None}])
def test_nothing_to_measure_by(greenrun: Greenrun, simulated: Simulated, kept: str, parts: dict[str, Any]) -> None:
    """Neither estimates nor a hypervisor's model are a floor."""
    told = greenrun("calibrate", "--seconds", "1", env=settings(machine(simulated, **parts), kept))
    assert (told.returncode, told.stdout) == (1, "")
    assert "no meter on this machine can be read" in told.stderr
    assert not os.path.exists(os.path.dirname(kept))


@pytest.mark.usefixtures("no_leftovers")
def test_ctrl_c_keeps_nothing(greenrun: Greenrun, simulated: Simulated, kept: str) -> None:
    """It ends as any program does, and leaves what was there before."""
    env = settings(machine(simulated), kept)
    assert greenrun("calibrate", "--seconds", "1", env=env).returncode == 0
    before = Path(kept).read_bytes()
    process = greenrun.start("calibrate", "--seconds", "600", env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "measuring the idle power" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == -signal.SIGINT
    assert process.stderr.read() == ""
    assert Path(kept).read_bytes() == before
    assert os.listdir(os.path.dirname(kept)) == ["floor.json"]


def test_a_floor_that_is_not_this_machines(greenrun: Greenrun, simulated: Simulated, kept: str, record: Any) -> None:
    """A run with it warns in one sentence and goes on without."""
    assert greenrun("calibrate", "--seconds", "1", env=settings(machine(simulated), kept)).returncode == 0
    other = machine(simulated, packages=(*PACKAGES, Zone("package-2", constant(9.0))))
    told = greenrun("true", env=settings(other, kept))
    assert told.returncode == 0
    (warning,) = (warned for warned in record()["warnings"] if warned["code"] == "floor")
    assert "rapl:package-2 is not in it" in warning["message"]
    assert "greenrun calibrate" in warning["message"]


def test_a_place_that_takes_nothing(greenrun: Greenrun, simulated: Simulated, tmp_path: Path) -> None:
    """--to names another place; where it cannot be written one sentence says so."""
    idle = machine(simulated)
    (tmp_path / "file").write_text("")
    told = greenrun("calibrate", "--seconds", "1", "--to", str(tmp_path / "file" / "floor.json"), env=idle.environment)
    assert told.returncode == 1
    assert "cannot be written" in told.stderr
    assert "Traceback" not in told.stderr
    there = str(tmp_path / "there.json")
    assert greenrun("calibrate", "--seconds", "1", "--to", there, env=idle.environment).returncode == 0
    assert greenrun("calibrate", "--show", "--to", there, env=idle.environment).returncode == 0


@pytest.mark.parametrize(
    "words", [["--seconds", "0"], ["--seconds", "nan"], ["--seconds", "x"], ["--to", ""], ["--show", "--forget"], ["x"]]
)
def test_mistakes(greenrun: Greenrun, words: list[str]) -> None:
    """Are told as any of greenrun's own options."""
    told = greenrun("calibrate", *words)
    assert (told.returncode, told.stdout) == (125, "")
    assert told.stderr.startswith("greenrun: ")
    assert told.stderr.count("\n") == 1
