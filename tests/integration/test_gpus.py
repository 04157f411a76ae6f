"""Which GPUs are the job's: through the command line, on a machine whose driver tells who is on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema
import pytest
from machine.command import Greenrun
from machine.gpus import Gpu, Slice
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun import reports
from greenrun.sampler import runlog

Simulated = Callable[..., SimulatedMachine]

with open(os.path.join(os.path.dirname(reports.__file__), "summary.schema.json")) as file:
    SCHEMA = json.load(file)
# It is told where the driver reads who is on a GPU, and stays until a text stands so often in a file, and then longer.
JOB = """
import os, sys, time
path, text, times, seconds, *places = sys.argv[1:]
for place in places:
    gpu, percent = place.split("=")
    with open(gpu, "a") as file:
        print(os.getpid(), percent, file=file)
path = os.path.join(os.environ["GREENRUN_RUN_DIR"], path)
began = time.monotonic()
while not os.path.exists(path) or open(path).read().count(text) < int(times):
    assert time.monotonic() < began + 50
    time.sleep(0.05)
time.sleep(float(seconds))
"""
LOG = "run.jsonl"
NVML_IS_UP = (LOG, "nvml:", 1)


def watts(number: int) -> float:
    """Give a GPU's power: each another one, so that no sum is right by chance."""
    return 100.0 + 50.0 * number


def machine_of(simulated: Simulated, *parts: dict[str, Any], **more: Any) -> SimulatedMachine:
    """Give a machine with a processor and some GPUs."""
    gpus = [Gpu(constant(watts(number)), **own) for number, own in enumerate(parts)]
    return simulated(packages=[Zone("package-0", constant(65.0))], gpus=gpus, **more)


@contextmanager
def neighbour(machine: SimulatedMachine, uses: dict[int, int]) -> Iterator[None]:
    """Let somebody else's process be on some GPUs."""
    process = subprocess.Popen(["sleep", "120"])
    try:
        for gpu, percent in uses.items():
            machine.put(gpu, process.pid, percent)
        yield
    finally:
        process.kill()
        process.wait()


class Told:
    """What one run has told of its GPUs, in their order."""

    def __init__(self, run_dir: str) -> None:
        with open(os.path.join(run_dir, "summary.json")) as file:
            self.record: dict[str, Any] = json.load(file)
        jsonschema.validate(self.record, SCHEMA)
        self.events = runlog.read(run_dir)
        self.gpus = [device for device in self.record["devices"] if device["kind"] == "gpu"]
        self.of_job = [gpu["of_job"] for gpu in self.gpus]
        self.notes = [gpu["note"] for gpu in self.gpus]
        self.seconds = self.record["duration_seconds"]

    def shares(self, gpu: int) -> list[float | None]:
        """Give the job's share of a GPU's use, sample by sample."""
        return [event["gpu"][gpu][1] for event in self.events if event["event"] == "sample" and "gpu" in event]


class Runs:
    """Runs of the job side by side, each with a log directory of its own."""

    def __init__(self, greenrun: Greenrun) -> None:
        self._greenrun = greenrun
        self._path = os.path.join(greenrun.cwd, "job.py")
        with open(self._path, "w") as file:
            file.write(JOB)
        self._begun: dict[str, subprocess.Popen[str]] = {}

    def begin(
        self,
        name: str,
        machine: SimulatedMachine,
        uses: dict[int, int],
        until: tuple[str, str, int] = NVML_IS_UP,
        seconds: float = 0.0,
        **env: str,
    ) -> None:
        """Begin a run of a job that is on some GPUs until a file has a text so often, and then so many seconds."""
        places = [f"{machine.processes_path(gpu)}={percent}" for gpu, percent in uses.items()]
        self._begun[name] = self._greenrun.start(
            # What it waits for is not to stand in the log as its own argument.
            *("--no-command", "--log-dir", name, sys.executable, self._path, *map(str, until), str(seconds), *places),
            env={**machine.environment, **env},
            stderr=subprocess.PIPE,
            text=True,
        )

    def told(self, name: str) -> Told:
        """Give what a run has told when it is over."""
        process = self._begun[name]
        assert process.wait(timeout=60) == 0, process.stderr.read() if process.stderr else ""
        if process.stderr:
            process.stderr.close()
        folder = os.path.join(self._greenrun.cwd, name)
        (run_dir,) = (entry for entry in os.listdir(folder) if entry != ".gitignore")
        return Told(os.path.join(folder, run_dir))


@pytest.fixture
def runs(greenrun: Greenrun) -> Runs:
    """Give a place for runs."""
    return Runs(greenrun)


@pytest.mark.usefixtures("no_leftovers")
def test_whose_each_gpu_is(simulated: Simulated, runs: Runs) -> None:
    """The job's, shared, a neighbour's and an idle one; by a variable; by a slice; and in a container nobody knows.

    Beside it: a list of processes is asked for ten seconds apart at most, and of hidden GPUs and slices never.
    """
    seen = machine_of(simulated, {}, {}, {}, {"utilisation_percent": 0})
    given = machine_of(simulated, {}, {"counter": False}, {})
    cut = machine_of(simulated, {"slices": (Slice("MIG-2-of-7", 3, 0, 2, 2),)}, {})
    inside = machine_of(simulated, {}, {"utilisation_percent": 0}, own_pids=True)
    with neighbour(seen, {1: 20, 2: 90}), neighbour(given, {0: 90}):
        # Only the second look tells a busy neighbour's GPU from the job's; it takes eleven seconds.
        second_look = (os.path.join(seen.directory, "calls"), f"list {seen.gpus[2].uuid}", 2)
        runs.begin("seen", seen, {0: 60, 1: 60}, until=second_look)
        alone = (LOG, "[0.63,1.0]", 1)
        runs.begin("given", given, {1: 30}, until=alone, CUDA_VISIBLE_DEVICES=given.gpus[1].uuid)
        runs.begin("cut", cut, {}, CUDA_VISIBLE_DEVICES="MIG-2-of-7")
        runs.begin("inside", inside, {0: 60}, seconds=2.5)
        by_variable, by_slice, by_nobody, by_processes = map(runs.told, ("given", "cut", "inside", "seen"))

    assert by_processes.of_job == [True, None, False, False]
    assert by_processes.notes[0] == ""
    assert "estimated" in by_processes.notes[1]
    assert by_processes.notes[2] == by_processes.notes[3] == "No process of the job was seen on this GPU."
    assert all(gpu["counted"] for gpu in by_processes.gpus)
    shares = [share for share in by_processes.shares(1) if share is not None]
    assert shares
    assert set(shares) == {0.75}
    assert set(by_processes.shares(2)) <= {None, 0.0}
    for gpu in range(4):
        assert 1 <= seen.asked("list", gpu) <= by_processes.seconds // 10 + 1
    assert seen.asked("use", 1) <= by_processes.seconds + 2
    assert seen.asked("use", 0) == seen.asked("use", 2) == 0
    node = sum(map(watts, range(4)))
    assert by_processes.record["energy_joules"]["gpu"] == pytest.approx(node * by_processes.seconds, rel=0.1)
    of_job = by_processes.gpus[0]["job_energy_joules"]
    assert of_job == pytest.approx(by_processes.gpus[0]["energy_joules"])

    assert by_variable.of_job == [False, True, False]
    assert by_variable.notes[0] == by_variable.notes[2] == "CUDA_VISIBLE_DEVICES hides this GPU from the job."
    assert by_variable.record["energy_joules"]["gpu"] == pytest.approx(
        sum(map(watts, range(3))) * by_variable.seconds, rel=0.1
    )
    assert [given.asked("list", gpu) for gpu in (0, 2)] == [0, 0]
    assert given.asked("list", 1) == 1

    assert by_slice.of_job == [None, False]
    assert [gpu["job_part"] for gpu in by_slice.gpus] == [pytest.approx(2 / 7), None]
    assert "29 % of this GPU (MIG)" in by_slice.notes[0]
    assert cut.asked("list", 0) == 0

    assert by_nobody.of_job == [None, False]
    assert "a container with its own" in by_nobody.notes[0]
    assert inside.asked("list", 0) == 0
    assert set(by_nobody.shares(0)) == {None}


def test_of_several_ranks_one_s_variables_tell_nothing(simulated: Simulated, runs: Runs) -> None:
    """The first rank measures for all of them, each of which may have another GPU; alone, it tells."""
    machine = machine_of(simulated, {}, {})
    rank = {"OMPI_COMM_WORLD_LOCAL_RANK": "0", "CUDA_VISIBLE_DEVICES": machine.gpus[0].uuid}
    runs.begin("several", machine, {}, OMPI_COMM_WORLD_LOCAL_SIZE="2", **rank)
    runs.begin("alone", machine, {}, OMPI_COMM_WORLD_LOCAL_SIZE="1", **rank)
    runs.begin("every", machine, {}, OMPI_COMM_WORLD_LOCAL_SIZE="2", GREENRUN_EVERY_RANK="1", **rank)
    assert runs.told("several").of_job == [None, None]
    assert runs.told("alone").of_job == [True, False]
    assert runs.told("every").of_job == [True, False]
