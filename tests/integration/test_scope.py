"""A job's part of a machine that others use too: from real processes on a machine whose powers are known.

The machine's processors are busy by a profile, so that what the job's CPU time is a part of is known exactly, however
the machine of the tests shares out its own. What the job used it tells itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine.command import Greenrun
from machine.powercap import Zone
from machine.procfs import Cpu
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun import __version__
from greenrun.cli import floor

CPU = Cpu("Intel(R) Xeon(R) Gold 6226 CPU @ 2.70GHz", "GenuineIntel", 6, 85, 7, 2, 2, 2)  # eight threads
WATTS, DRAM_WATTS, IDLE_WATTS = 96.0, 6.0, 40.0
BUSY_CPUS = 4.0

BURN = """
import os, sys, time
while time.process_time() < float(sys.argv[2]):
    sum(range(10000))
"""
CHILDREN = """
import os, sys
for _ in range(2000):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)
"""
EPOCHS = """
import os, sys, time
for epoch in range(1, 5):
    while time.process_time() < 0.35 * epoch:
        sum(range(10000))
    with open(os.environ["GREENRUN_MARKS"], "a") as file:
        file.write(f"epoch {epoch} 4\\n")
"""
TELL = """
with open(sys.argv[1], "w") as file:
    file.write(repr(sum(os.times()[:4])))
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatedMachine]:
    """Give a machine of two sockets, half of whose processors are busy, whoever keeps them so."""
    packages = [Zone(f"package-{n}", constant(WATTS / 2), (Zone("dram", constant(DRAM_WATTS / 2)),)) for n in range(2)]
    load = constant(BUSY_CPUS / CPU.threads)
    with SimulatedMachine(packages=packages, cpu=CPU, load=load) as machine:
        yield machine


class Job:
    """A job under greenrun; what it has used, by its own word, and its record."""

    def __init__(
        self, greenrun: Greenrun, machine: SimulatedMachine, name: str, program: str, *options: str, **more: Any
    ) -> None:
        self._told = os.path.join(greenrun.cwd, f"{name}.told")
        self._log_dir = os.path.join(greenrun.cwd, name)
        command = [sys.executable, "-c", program + TELL, self._told, *more.pop("arguments", ())]
        env = machine.environment | more.pop("env", {})
        self._process = greenrun.start(
            "--log-dir",
            self._log_dir,
            "--intensity",
            "360",
            *options,
            *command,
            env=env,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def end(self) -> dict[str, Any]:
        """Wait for it and give its record."""
        _, self.text = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, self.text
        (run_dir,) = (name for name in os.listdir(self._log_dir) if name != ".gitignore")
        self.run_dir = os.path.join(self._log_dir, run_dir)
        with open(os.path.join(self.run_dir, "summary.json")) as file:
            found: dict[str, Any] = json.load(file)
        return found

    @property
    def cpu_seconds(self) -> float:
        """What it has used with all children that it has waited for, by the kernel's account at its end."""
        return float(Path(self._told).read_text())


@pytest.fixture
def neighbour() -> Iterator[None]:
    """Keep a processor busy beside the job, in the same session."""
    with subprocess.Popen(["nice", sys.executable, "-c", "while True: pass"]) as process:
        yield
        process.kill()


def expected(record: Any, job: Job, given: float | None) -> float:
    """Give the job's part of what the processors used: their power is the same all the time, and so is their load."""
    static = IDLE_WATTS * record["duration_seconds"] * given if given is not None else 0.0
    dynamic_watts = WATTS - (IDLE_WATTS if given is not None else 0.0)
    return float(static + dynamic_watts * job.cpu_seconds / BUSY_CPUS)


@pytest.mark.usefixtures("neighbour")
def test_a_job_has_its_part_of_the_machine(greenrun: Greenrun, shared: SimulatedMachine, tmp_path: Path) -> None:
    """Beside a busy neighbour: by the CPU time of its processes, 2,000 short children too; a floor by its CPUs."""
    kept = str(tmp_path / "floor.json")
    parts = [
        floor.Part(f"rapl:package-{n}{of}", kind, of, True, watts / 2, None)
        for n in range(2)
        for of, kind, watts in (("", "cpu", IDLE_WATTS), ("/dram", "dram", 2.0))
    ]
    floor.write(floor.Floor("2026-11-20T09:00:00Z", 60.0, None, CPU.brand, 0.1, tuple(parts)), kept, __version__)
    one_cpu = {min(os.sched_getaffinity(0))}
    jobs = {
        "asked": Job(greenrun, shared, "asked", BURN, "--scope", "job", arguments=("1.3",)),
        "node": Job(greenrun, shared, "node", BURN, "--scope", "node", arguments=("0.5",)),
        "children": Job(greenrun, shared, "children", CHILDREN, "--scope", "job"),
        "bound": Job(
            greenrun,
            shared,
            "bound",
            BURN,
            arguments=("1.1",),
            env={"GREENRUN_FLOOR": kept},
            preexec_fn=lambda: os.sched_setaffinity(0, one_cpu),
        ),
        "epochs": Job(greenrun, shared, "epochs", EPOCHS, "--scope", "job", "--budget", "1J"),
    }
    records = {name: job.end() for name, job in jobs.items()}
    for name, record in records.items():
        assert record["energy_joules"]["cpu"] == pytest.approx(WATTS * record["duration_seconds"], rel=0.05), name
        assert record["scope"] == ("node" if name == "node" else "job"), jobs[name].text
        given = 1.0 / CPU.threads if name == "bound" else None
        told = record["job_energy_joules"]["cpu"]
        assert told == pytest.approx(expected(record, jobs[name], given), rel=0.06, abs=1.0), name
        whose = record["job_energy_joules" if record["scope"] == "job" else "energy_joules"]["total"]
        assert record["energy_kwh"] == pytest.approx(whose / 3.6e6)
        assert record["co2e_grams"] == pytest.approx(whose / 3.6e6 * 360.0)
        assert record["share"]["method"] == ("split" if name == "bound" else "unsplit")
    assert sum(record["job_energy_joules"]["cpu"] for record in records.values()) < sum(
        record["energy_joules"]["cpu"] for record in records.values()
    )
    _split(records["bound"], jobs["bound"])
    _told_live(records["epochs"], jobs["epochs"])
    assert "the job's part of the machine" in " ".join(jobs["asked"].text.split())
    assert "the job's part" not in jobs["node"].text
    again = greenrun("report", "--json", "--scope", "node", jobs["asked"].run_dir)
    assert json.loads(again.stdout)["energy_kwh"] == pytest.approx(records["asked"]["energy_joules"]["total"] / 3.6e6)
    assert json.loads(again.stdout)["job_energy_joules"] == records["asked"]["job_energy_joules"]


def _split(record: Any, job: Job) -> None:
    """Hold idle and work, of the machine and of the job, to what they were; the terminal says so."""
    node, ours = record["scopes"]["node"], record["scopes"]["job"]
    seconds = record["duration_seconds"]
    assert node["static_joules"] == pytest.approx((IDLE_WATTS + 2.0) * seconds, rel=1e-3)
    assert node["static_joules"] + node["dynamic_joules"] == pytest.approx(record["energy_joules"]["total"])
    assert (
        IDLE_WATTS * seconds / CPU.threads
        <= ours["static_joules"]
        <= IDLE_WATTS * seconds / CPU.threads + 2.0 * seconds
    )
    assert "is the idle floor, calibrated 2026-11-20" in " ".join(job.text.split())


def _told_live(record: Any, job: Job) -> None:
    """Hold budget and predictions, made while it ran, to the job's joules."""
    assert record["budget"]["exceeded"] is True
    assert record["budget"]["spent"] == pytest.approx(record["job_energy_joules"]["total"])
    events = [json.loads(line) for line in Path(job.run_dir, "run.jsonl").read_text().splitlines()]
    predicted = [event for event in events if event["event"] == "prediction" and event["scope"] == "job"]
    assert predicted, "no prediction was of the job"
    whole = predicted[-1]["energy_joules"]
    assert 0.0 < whole["value"] < 0.8 * record["energy_joules"]["total"]  # two processors of four at most
    samples = [event["job_j"] for event in events if event["event"] == "sample" and "job_j" in event]
    assert samples == sorted(samples)
    # Processes are looked for seldom, so that only the record knows the last of it.
    assert 0.0 < samples[-1] < 0.8 * record["energy_joules"]["total"]
