"""What the log says of the run when it starts: enough to tell it, and nothing of the environment beyond the list."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from greenrun.cli.config import Config
from greenrun.cli.identity import RECORDED_VARIABLES, Run
from greenrun.cli.startevent import start, start_fields
from greenrun.sampler import events, runlog

RUN = Run("id", "/logs/x", "x", ("python", "train.py"), "/home/ada", 5.0, 1_767_261_600.125)


def test_the_fields_are_those_of_a_start_event() -> None:
    """With what the sampler adds they are an event that a reader takes."""
    fields = start_fields(RUN, Config(pue=1.3))
    sampler = {"event": "start", "t": 0.0, "monotonic": 5.0, "boottime": 5.0, "devices": [], "findings": []}
    assert events.flaw({**sampler, **fields}) is None
    assert (fields["schema"], fields["run_id"], fields["name"]) == (runlog.SCHEMA, "id", "x")
    assert (fields["command"], fields["cwd"]) == (["python", "train.py"], "/home/ada")
    assert fields["utc"] == "2026-01-01T10:00:00.125Z"
    assert fields["config"]["pue"] == 1.3


def test_only_the_listed_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler's and CI's variables are kept, everything else may be secret."""
    for name in RECORDED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("CI_JOB_NAME", "b\udce9ton")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-1")
    monkeypatch.setenv("HOME", "/hidden-2")
    fields = start_fields(RUN, Config())
    assert fields["environment"] == {"SLURM_JOB_ID": "4711", "CI_JOB_NAME": "b\ufffdton"}
    assert "hidden" not in json.dumps(fields)


def test_a_command_that_is_no_text() -> None:
    """Bytes that are not UTF-8 are shown as U+FFFD and kept as they are in base 64, secrets masked in both."""
    run = RUN._replace(command=("python", "f\udcfc", "--token", "abc"))
    fields = start_fields(run, Config())
    assert fields["command"] == ["python", "f\ufffd", "--token", "***"]
    raw = [base64.b64decode(argument) for argument in fields["command_base64"]]
    assert raw == [b"python", b"f\xfc", b"--token", b"***"]
    assert "command_base64" not in start_fields(RUN, Config())


def test_no_command() -> None:
    """Where it is not to be recorded, nothing of it is."""
    fields = start_fields(RUN._replace(command=("python", "f\udcfc")), Config(record_command=False))
    assert fields["command"] is None
    assert "command_base64" not in fields


def test_a_run_within_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outer run is named, so that nobody counts the energy twice."""
    monkeypatch.delenv("GREENRUN_RUN_ID", raising=False)
    assert start_fields(RUN, Config())["parent_run_id"] is None
    outer = "019b7800-0000-7000-8000-000000000000"
    monkeypatch.setenv("GREENRUN_RUN_ID", outer)
    assert start_fields(RUN, Config())["parent_run_id"] == outer


def test_the_machine_is_this_one() -> None:
    """Kernel, architecture and host are the kernel's own words."""
    fields = start_fields(RUN, Config())
    assert fields["host"] == os.uname().nodename
    assert fields["machine"]["kernel"] == os.uname().release
    assert fields["machine"]["cpus"] == os.cpu_count()


def test_what_the_job_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a record of the site's only the scheduler's word counts: root, who makes it, is bound to nothing."""
    for name in RECORDED_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    given = start(RUN, Config(floor="/nowhere/floor.json"), []).fields["allocated"]
    assert given["all_cpus"] == os.cpu_count()
    assert 0 < given["cpus"] <= given["all_cpus"]
    assert start(RUN._replace(kind="job"), Config(), []).fields["allocated"] is None
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "1024")
    for kind in ("command", "job"):
        given = start(RUN._replace(kind=kind), Config(), []).fields["allocated"]
        assert given == {"cpus": 1, "all_cpus": os.cpu_count(), "memory_bytes": 1 << 30, "by": "slurm"}


def test_no_cpuinfo_no_part(tmp_path: Path) -> None:
    """Where nobody knows how many CPUs there are, no part of them can be told."""
    begun = start(RUN, Config(procfs_root=str(tmp_path), floor="/nowhere/floor.json"), [])
    assert begun.fields["allocated"] is None
    assert begun.fields["floor"] is None
    assert begun.doubts == ()
