"""Several greenruns on one machine at the same time: side by side, one inside another, one in each rank of a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine

WATTS = 80.0
BURN = "import time\nwhile time.process_time() < {seconds}: sum(range(10000))"
RANKS = 3


def burn(seconds: float) -> list[str]:
    """Give a command that uses so much processor time."""
    return [sys.executable, "-c", BURN.format(seconds=seconds)]


@pytest.fixture
def machine(simulated: Callable[..., SimulatedMachine]) -> SimulatedMachine:
    """Give a machine whose processors are busy with what really runs here."""
    return simulated(packages=[Zone("package-0", constant(WATTS))])


def records(greenrun: Greenrun, log_dir: str) -> list[dict[str, Any]]:
    """Give the records in a log directory."""
    return [json.loads(path.read_text()) for path in Path(greenrun.cwd, log_dir).glob("*/summary.json")]


def together(greenrun: Greenrun, machine: SimulatedMachine, commands: list[tuple[list[str], dict[str, str]]]) -> None:
    """Run them side by side, each under a greenrun that is asked for its job's part."""
    running = [
        greenrun.start(
            "--scope", "job", *words, env=machine.environment | environment, stderr=subprocess.PIPE, text=True
        )
        for words, environment in commands
    ]
    for process in running:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told


def cpu_joules(record: dict[str, Any]) -> float:
    """Give the job's part of what the processors used."""
    assert record["scope"] == "job", record["warnings"]
    return float(record["job_energy_joules"]["cpu"])


def machine_joules(found: list[dict[str, Any]]) -> float:
    """Give what the processors used from the first one's start to the last one's end, a little more."""
    return WATTS * max(record["duration_seconds"] for record in found) + WATTS * 2.0


def test_side_by_side_they_share_the_machine(greenrun: Greenrun, machine: SimulatedMachine) -> None:
    """Each has its own part, in the order of what it used; all of them together have no more than there was."""
    used = {"log-a": 0.4, "log-b": 0.8, "log-c": 1.6}
    together(greenrun, machine, [(["--log-dir", log, *burn(seconds)], {}) for log, seconds in used.items()])
    found = [record for log in used for record in records(greenrun, log)]
    parts = [cpu_joules(record) for record in found]
    assert parts == sorted(parts)
    assert 0.0 < sum(parts) <= machine_joules(found)
    for record, part in zip(found, parts, strict=True):
        assert part < record["energy_joules"]["cpu"]


def test_one_within_another_is_not_added_up(greenrun: Greenrun, machine: SimulatedMachine) -> None:
    """The outer one's part holds the inner one's; who sums the log directory counts it once."""
    inner = [sys.executable, ENTRY, "--scope", "job", "--name", "inner", *burn(0.8)]
    together(greenrun, machine, [(["--name", "outer", *inner], {})])
    by_name = {record["name"]: record for record in records(greenrun, "greenrun-logs")}
    assert by_name["inner"]["parent_run_id"] == by_name["outer"]["run_id"]
    whole, part = cpu_joules(by_name["outer"]), cpu_joules(by_name["inner"])
    assert 0.0 < part <= whole * 1.05
    summed = json.loads(greenrun("report", "--format", "json", "greenrun-logs").stdout)
    assert summed["total"]["energy_joules"] == pytest.approx(by_name["outer"]["energy_kwh"] * 3.6e6)


def test_ranks_that_each_measure_share_the_machine(greenrun: Greenrun, machine: SimulatedMachine) -> None:
    """Told to measure each rank, every one bills its own; else the first stands for all, and the others say so."""
    ranks = [{"OMPI_COMM_WORLD_LOCAL_RANK": str(rank)} for rank in range(RANKS)]
    together(greenrun, machine, [(["--every-rank", "--log-dir", "each", *burn(0.5)], rank) for rank in ranks])
    found = records(greenrun, "each")
    assert len(found) == RANKS
    assert 0.0 < sum(map(cpu_joules, found)) <= machine_joules(found)
    tell = ["sh", "-c", 'echo "$GREENRUN_MEASURED_BY" > told-$OMPI_COMM_WORLD_LOCAL_RANK']
    together(greenrun, machine, [(["--log-dir", "one", *tell], rank) for rank in ranks])
    assert len(records(greenrun, "one")) == 1
    told = [Path(greenrun.cwd, f"told-{rank}").read_text().strip() for rank in range(RANKS)]
    assert told == ["", *[os.uname().nodename] * (RANKS - 1)]
