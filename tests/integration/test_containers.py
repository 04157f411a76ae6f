"""What of the machine a job was given, and what it used: in cgroups, in a process namespace, under SLURM, bound."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun
from machine.procfs import XEON_8480
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun.sampler import runlog

Simulated = Callable[..., SimulatedMachine]
RunDirs = Callable[[], list[str]]

SPIN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
COUNT = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"
CHILDREN = "import subprocess\nfor _ in range(60): subprocess.run(['/bin/sh', '-c', {script!r}])\n"
THREADS = XEON_8480.threads


def confine(machine: SimulatedMachine, **files: str) -> dict[str, str]:
    """Put this machine's processes into a container of version 2 whose cgroup holds these files; give the environment.

    `__` in a name stands for a dot.
    """
    own = Path(machine.procfs) / "self"
    for name in ("cgroup", "mountinfo"):
        (own / name).unlink()
    (own / "cgroup").write_text("0::/\n")
    (Path(machine.sysfs) / "fs").unlink()
    group = Path(machine.sysfs) / "fs/cgroup"
    group.mkdir(parents=True)
    for name, text in {"cgroup__events": "populated 1\n", **files}.items():
        (group / name.replace("__", ".")).write_text(text)
    return machine.environment


def log_of(run_dirs: RunDirs) -> list[dict[str, Any]]:
    """Give the log of the one run."""
    (run_dir,) = run_dirs()
    return runlog.read(run_dir)


def job_seconds(log: list[dict[str, Any]]) -> float:
    """Give the job's CPU time by the last sample."""
    seconds = [event["cpu"][0] for event in log if event["event"] == "sample"][-1]
    assert isinstance(seconds, float)
    return seconds


def rusage_seconds(log: list[dict[str, Any]]) -> float:
    """Give the CPU time of the job and of all that it has waited for, as the kernel told its parent."""
    (usage,) = (event["rusage"] for event in log if event["event"] == "exited")
    total = usage["user_seconds"] + usage["system_seconds"]
    assert isinstance(total, float)
    return total


def test_a_container_with_limits(greenrun: Greenrun, simulated: Simulated, run_dirs: RunDirs) -> None:
    """The log has the quota and the memory; memory without a meter is estimated of the limit, which is the job's."""
    machine = simulated(cpu=XEON_8480, load=constant(0.1))
    env = confine(machine, cpu__max="150000 100000\n", memory__max=f"{2 << 30}\n")
    told = greenrun("true", env=env)
    assert told.returncode == 0
    start = log_of(run_dirs)[0]
    assert start["allocated"] == {"cpus": 1.5, "all_cpus": THREADS, "memory_bytes": 2 << 30, "by": "cgroup"}
    (memory,) = (device for device in start["devices"] if device["kind"] == "dram")
    assert memory["name"] == "memory (2.0 GiB)"
    assert memory["of_job"] is True
    doctor = " ".join(greenrun("doctor", env=env).stdout.split())
    assert f"a control group gives this process 1.5 of {THREADS} CPUs and 2.0 GiB of memory" in doctor


def test_memory_alone_is_no_limit_of_cpus(greenrun: Greenrun, simulated: Simulated, run_dirs: RunDirs) -> None:
    """The job was given no part of the CPUs."""
    machine = simulated(cpu=XEON_8480, load=constant(0.1))
    assert greenrun("true", env=confine(machine, memory__max=f"{2 << 30}\n")).returncode == 0
    expected = {"cpus": THREADS, "all_cpus": THREADS, "memory_bytes": 2 << 30, "by": "all"}
    assert log_of(run_dirs)[0]["allocated"] == expected


def test_a_job_of_slurms(greenrun: Greenrun, simulated: Simulated, run_dirs: RunDirs) -> None:
    """SLURM's word goes before the cgroup's."""
    job = {
        "SLURM_JOB_ID": "7",
        "SLURMD_NODENAME": "n2",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_CPUS_PER_NODE": "4,16",
        "SLURM_MEM_PER_NODE": "8192",
    }
    env = confine(simulated(cpu=XEON_8480, load=constant(0.1)), cpu__max="150000 100000\n", memory__max=f"{9 << 30}\n")
    assert greenrun("true", env={**env, **job}).returncode == 0
    expected = {"cpus": 16, "all_cpus": THREADS, "memory_bytes": 8 << 30, "by": "slurm"}
    assert log_of(run_dirs)[0]["allocated"] == expected


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU to be bound to")
def test_a_job_that_is_bound_to_cpus(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """`taskset`: by how many CPUs it may run on."""
    one = str(min(os.sched_getaffinity(0)))
    command = ["taskset", "-c", one, ENTRY, "true"]
    subprocess.run(command, env=greenrun.environment(), cwd=greenrun.cwd, check=True, capture_output=True, timeout=60)
    allocated = log_of(run_dirs)[0]["allocated"]
    assert (allocated["cpus"], allocated["by"]) == (1, "affinity")
    assert allocated["all_cpus"] == os.cpu_count()


def test_lxcfs_is_told(greenrun: Greenrun, simulated: Simulated, record: Callable[[], dict[str, Any]]) -> None:
    """A load that is the container's own has a warning; its share of a server is estimated by its threads."""
    machine = simulated(cpu=XEON_8480, load=constant(0.1))
    env = confine(machine)
    names = ("cpuinfo", "stat", "meminfo")
    lines = [f"90 22 0:60 /proc/{name} /proc/{name} rw - fuse.lxcfs lxcfs rw\n" for name in names]
    (Path(machine.procfs) / "self" / "mountinfo").write_text("".join(lines))
    present = Path(machine.sysfs) / "devices/system/cpu/present"
    present.parent.mkdir(parents=True, exist_ok=True)
    present.write_text("0-447\n")
    assert greenrun("true", env=env).returncode == 0
    told = record()
    assert [warned["code"] for warned in told["warnings"]].count("container") == 1
    (cpu,) = (device for device in told["devices"] if device["kind"] == "cpu")
    assert "this container's CPUs" in cpu["note"]


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a process namespace without more ado")
def test_in_a_process_namespace(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """With process ids and a /proc of its own: the status, the log and the job's CPU time are as elsewhere."""
    script = SPIN.format(seconds=0.4) + "raise SystemExit(7)"
    inside = [ENTRY, sys.executable, "-c", script]
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *inside],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 7, done.stderr
    log = log_of(run_dirs)
    assert log[0]["machine"]["own_process_ids"] is True
    assert log[-1]["event"] == "end"
    (spawned,) = (event for event in log if event["event"] == "spawned")
    assert spawned["pid"] < 50  # as it is called in there
    assert job_seconds(log) == pytest.approx(rusage_seconds(log), abs=0.05)
    assert job_seconds(log) >= 0.4


def test_a_short_job_and_one_of_many_short_children(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """What no look at the processes can catch is in the last sample all the same."""
    commands = [[sys.executable, "-c", SPIN.format(seconds=0.1)]]
    commands += [[sys.executable, "-c", CHILDREN.format(script=COUNT)]]
    runs = [greenrun.start("-q", *command, stderr=subprocess.PIPE) for command in commands]
    assert [run.wait(60) for run in runs] == [0, 0]
    for run in runs:
        run.communicate()
    for run_dir in run_dirs():
        log = runlog.read(run_dir)
        assert job_seconds(log) >= round(rusage_seconds(log), 2) >= 0.1
        assert job_seconds(log) == pytest.approx(rusage_seconds(log), abs=0.05)
