"""Whatever breaks in greenrun, the job runs, ends as it would, and the record is right or says that it is not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from machine.build import preload_library
from machine.command import ENTRY, Greenrun
from machine.privilege import unprivileged
from machine.simulated import SimulatedMachine
from machine.stamp import Stamp

RunDirs = Callable[[], list[str]]
RecordReader = Callable[[], dict[str, Any]]


def processes(greenrun: Greenrun, name: str) -> list[int]:
    """Give the living processes of greenrun that are called so."""
    return [pid for pid, comm in greenrun.processes().items() if comm == name]


def daemon_of(greenrun: Greenrun) -> int:
    """Wait for the sampler daemon and give its process id."""
    deadline = time.monotonic() + 20
    while not (found := processes(greenrun, "greenrun-daemon")):
        assert time.monotonic() < deadline, "there is no daemon"
        time.sleep(0.01)
    return found[0]


def wait_until_born(stamp: Stamp) -> None:
    """Wait until the command runs."""
    deadline = time.monotonic() + 20
    while stamp.born() is None:
        assert time.monotonic() < deadline, "the command was never started"
        time.sleep(0.01)


def wait_for_daemon_to_end(greenrun: Greenrun) -> None:
    """Wait until the daemon of a killed greenrun has done its work."""
    deadline = time.monotonic() + 10
    while processes(greenrun, "greenrun-daemon"):
        assert time.monotonic() < deadline, "the daemon stays"
        time.sleep(0.02)


def report(greenrun: Greenrun, run_dir: str) -> dict[str, Any]:
    """Give the record as `greenrun report` tells it."""
    result = greenrun("report", run_dir, "--json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.usefixtures("no_leftovers")
def test_greenrun_killed(greenrun: Greenrun, stamp: Stamp, record: RecordReader, run_dirs: RunDirs) -> None:
    """SIGKILL of greenrun: the job finishes, and the daemon finishes the log and writes the record."""
    process = greenrun.start(*stamp.command(1.0, 7))
    wait_until_born(stamp)
    process.kill()
    process.wait()
    wait_for_daemon_to_end(greenrun)
    assert stamp.life()[1] - stamp.life()[0] == pytest.approx(1.0, abs=0.3)
    found = record()
    assert found["duration_seconds"] == pytest.approx(1.0, abs=0.3)
    # The kernel tells how an orphan ended from 6.15 on; before that nobody may know, and then it is not made up.
    assert found["exit_code"] in (7, None)
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if kernel >= (6, 15):
        assert (found["exit_code"], found["status"]) == (7, "complete")


@pytest.mark.usefixtures("no_leftovers")
def test_greenrun_killed_as_it_starts_the_command(greenrun: Greenrun, stamp: Stamp, record: RecordReader) -> None:
    """SIGKILL before greenrun could tell the daemon of the command: it is found, followed and measured all the same."""
    result = greenrun(*stamp.command(0.5, 7), env={"LD_PRELOAD": preload_library(), "SIMULATED_TROUBLE": "killed"})
    assert result.returncode == -signal.SIGKILL
    wait_for_daemon_to_end(greenrun)
    assert stamp.life()[1] - stamp.life()[0] == pytest.approx(0.5, abs=0.3)
    assert record()["status"] in ("complete", "partial")
    assert record()["duration_seconds"] == pytest.approx(0.5, abs=0.3)


@pytest.mark.usefixtures("no_leftovers")
def test_daemon_killed(greenrun: Greenrun, simulated: Callable[..., SimulatedMachine], run_dirs: RunDirs) -> None:
    """SIGKILL of the daemon: another goes on, the counters bridge the gap, and the record says from when to when."""
    from machine.powercap import Zone
    from machine.profiles import constant

    machine = simulated(packages=[Zone("package-0", constant(50.0))])
    stamp = Stamp(os.path.join(greenrun.cwd, "stamp"))
    process = greenrun.start(*stamp.command(2.0, 3), env=machine.environment, stderr=subprocess.PIPE, text=True)
    wait_until_born(stamp)
    time.sleep(0.7)
    os.kill(daemon_of(greenrun), signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "nothing was measured" in err
    (run_dir,) = run_dirs()
    found = report(greenrun, run_dir)
    (gap,) = [warning for warning in found["warnings"] if warning["code"] == "gap"]
    assert "0." in gap["message"]
    assert found["gaps"]
    truth = machine.energy_joules("cpu", *stamp.life())
    assert found["energy_joules"]["cpu"] == pytest.approx(truth, rel=0.01)


def test_everything_killed(greenrun: Greenrun, stamp: Stamp, run_dirs: RunDirs) -> None:
    """Both killed: the job finishes, and `greenrun report` tells the run as partial from what was written."""
    process = greenrun.start("--interval", "0.1", *stamp.command(2.0))
    wait_until_born(stamp)
    time.sleep(0.6)
    daemon = daemon_of(greenrun)
    process.kill()
    os.kill(daemon, signal.SIGKILL)
    process.wait()
    while processes(greenrun, "greenrun-daemon"):
        time.sleep(0.02)
    (run_dir,) = run_dirs()
    assert not os.path.exists(os.path.join(run_dir, "summary.json"))
    found = report(greenrun, run_dir)
    assert found["status"] == "partial"
    assert 0.3 < found["duration_seconds"] < 2.0
    assert found["energy_joules"]["total"] > 0
    assert (found["exit_code"], found["signal"]) == (None, None)
    time.sleep(1.7)
    assert stamp.life()[1] - stamp.life()[0] >= 2.0


def test_daemon_stopped(greenrun: Greenrun, stamp: Stamp, run_dirs: RunDirs) -> None:
    """A daemon that stands still delays the end by two seconds at most, and does not stay behind."""
    process = greenrun.start(*stamp.command(0.8, 5), stderr=subprocess.PIPE, text=True)
    wait_until_born(stamp)
    time.sleep(0.2)
    os.kill(daemon_of(greenrun), signal.SIGSTOP)
    _, err = process.communicate(timeout=30)
    ended = time.monotonic()
    assert process.returncode == 5
    assert ended - stamp.life()[1] < 2.5
    assert "greenrun report" in err
    assert greenrun.leftovers() == []
    assert report(greenrun, run_dirs()[0])["status"] == "partial"


@pytest.mark.parametrize("trouble", ["stop", "hang"])
def test_daemon_that_is_never_ready(greenrun: Greenrun, stamp: Stamp, trouble: str) -> None:
    """A daemon stopped at birth, or hanging in the log directory, costs a quarter of a second, the end two."""
    began = time.monotonic()
    result = greenrun(*stamp.command(0.2, 6), env={"LD_PRELOAD": preload_library(), "SIMULATED_TROUBLE": trouble})
    ended = time.monotonic()
    assert result.returncode == 6
    assert stamp.life()[0] - began < 2.5, "0.4 s on an idle machine; see benchmarks/promptness.py"
    assert ended - stamp.life()[1] < 4.0
    assert "no summary" in result.stderr
    assert greenrun.leftovers() == []


def test_daemon_that_is_late(greenrun: Greenrun, record: RecordReader) -> None:
    """One that sleeps when it should be ready is not waited for: markers go nowhere, harm nothing, and that is said."""
    job = 'echo "$GREENRUN_MARKS"; echo "metric loss 1" >> "$GREENRUN_MARKS" && sleep 1'
    result = greenrun("sh", "-c", job, env={"LD_PRELOAD": preload_library(), "SIMULATED_TROUBLE": "late"})
    assert result.returncode == 0
    assert result.stdout == "/dev/null\n"
    found = record()
    assert found["metrics"] == {}
    assert [warned["code"] for warned in found["warnings"]].count("markers") == 1


def test_daemon_on_a_busy_machine(greenrun: Greenrun, record: RecordReader) -> None:
    """One that computes for as long is waited for: it comes up as soon as the machine lets it."""
    job = 'echo "metric loss 1" >> "$GREENRUN_MARKS"'
    result = greenrun("sh", "-c", job, env={"LD_PRELOAD": preload_library(), "SIMULATED_TROUBLE": "busy"})
    assert result.returncode == 0
    assert record()["metrics"] == {"loss": 1.0}
    assert record()["warnings"] == []


def test_nvml_that_takes_long(
    greenrun: Greenrun, simulated: Callable[..., SimulatedMachine], stamp: Stamp, record: RecordReader
) -> None:
    """A driver that takes five seconds to initialise delays neither start nor end; its GPUs are told as unknown."""
    from machine.gpus import Driver, Gpu
    from machine.profiles import constant

    machine = simulated(gpus=[Gpu(constant(100.0))], driver=Driver(init_seconds=5.0))
    began = time.monotonic()
    result = greenrun(*stamp.command(0.2), env=machine.environment)
    ended = time.monotonic()
    assert result.returncode == 0
    assert stamp.life()[0] - began < 1.0
    assert ended - stamp.life()[1] < 2.5
    assert record()["energy_joules"]["gpu"] is None
    assert greenrun.leftovers() == []


def test_no_process_left_to_fork(greenrun: Greenrun, stamp: Stamp) -> None:
    """Where no process can be forked, greenrun becomes the command, with one sentence."""
    result = greenrun(*stamp.command(0.1, 4), env={"LD_PRELOAD": preload_library(), "SIMULATED_TROUBLE": "nofork"})
    assert result.returncode == 4
    assert stamp.life()
    assert result.stderr.count("\n") == 1
    assert "running the command without" in result.stderr


@pytest.mark.parametrize("options", [[], ["--epochs", "auto"]])
def test_sampler_that_dies_at_its_start(greenrun: Greenrun, stamp: Stamp, options: list[str]) -> None:
    """Where no sampler lives long enough to measure, greenrun becomes the command, with one sentence."""
    env = {"LD_PRELOAD": preload_library(), "SIMULATED_TROUBLE": "die"}
    result = greenrun(*options, *stamp.command(0.1, 4), env=env)
    assert result.returncode == 4
    assert stamp.life()
    assert result.stderr.count("\n") == 1
    assert "the sampler died at its start" in result.stderr


def test_process_limit(greenrun: Greenrun, stamp: Stamp) -> None:
    """The same under the kernel's own limit (ulimit -u), which does not hold for root."""
    command = [ENTRY, *stamp.command(0.1, 4)]
    os.chmod(greenrun.cwd, 0o777)  # noqa: S103  another user is to write here
    if os.geteuid() == 0:
        caps = "+dac_override,+dac_read_search"
        who = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", caps, "--ambient-caps", caps]
        command = ["setpriv", *who, "--", "prlimit", "--nproc=1", "--", *command]
    else:
        command = ["prlimit", "--nproc=1", "--", *command]
    result = subprocess.run(
        command, env=greenrun.environment(), cwd=greenrun.cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 4, result.stderr
    assert stamp.life()
    assert result.stderr.count("\n") == 1
    assert "running the command without" in result.stderr


@pytest.mark.usefixtures("no_leftovers")
def test_unreadable_config(greenrun: Greenrun, record: RecordReader) -> None:
    """A configuration that cannot be read costs one sentence, not the job."""
    path = os.path.join(greenrun.cwd, "greenrun.toml")
    with open(path, "w") as file:
        file.write("pue = 1.5\n")
    os.chmod(path, 0)
    result = run_unprivileged(greenrun, "sh", "-c", "echo ran; exit 3")
    assert (result.returncode, result.stdout) == (3, "ran\n")
    assert "greenrun.toml" in " ".join(result.stderr.split())
    assert (record()["pue"], record()["pue_source"]) == (1.0, "assumed")


@pytest.mark.usefixtures("no_leftovers")
def test_broken_config(greenrun: Greenrun) -> None:
    """A configuration that is no TOML costs one sentence, not the job."""
    with open(os.path.join(greenrun.cwd, "greenrun.toml"), "w") as file:
        file.write("pue = = 1.5\n")
    result = greenrun("sh", "-c", "echo ran; exit 3")
    assert (result.returncode, result.stdout) == (3, "ran\n")
    assert "greenrun.toml" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("no_leftovers")
def test_read_only_log_directory(greenrun: Greenrun) -> None:
    """A log directory that cannot be written costs one warning; the summary is told all the same."""
    os.mkdir(os.path.join(greenrun.cwd, "closed"), 0o500)
    script = 'set -e; echo "epoch 1" >> "$GREENRUN_MARKS"; echo ran; exit 3'  # nor does a marker fail the job
    result = run_unprivileged(greenrun, "--log-dir", "closed/logs", "sh", "-c", script)
    assert (result.returncode, result.stdout) == (3, "ran\n")
    assert result.stderr.count("warning") == 1
    assert "Permission denied" in result.stderr
    assert "+-" in result.stderr


@pytest.fixture
def small_disk(greenrun: Greenrun) -> Iterator[str]:
    """Give a directory on a file system of 64 KiB."""
    folder = os.path.join(greenrun.cwd, "small")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system to fill")
@pytest.mark.parametrize("free_bytes", [0, 8192])
def test_full_disk(greenrun: Greenrun, small_disk: str, free_bytes: int) -> None:
    """A disk that is full from the start, or fills while the job runs, costs one warning."""
    with contextlib.suppress(OSError), open(os.path.join(small_disk, "filler"), "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    if free_bytes:
        os.truncate(os.path.join(small_disk, "filler"), os.path.getsize(os.path.join(small_disk, "filler")) - 2 * 4096)
    result = greenrun(
        "--log-dir", f"{small_disk}/logs", "--interval", "0.05", "sh", "-c", "sleep 1.5; echo ran; exit 3"
    )
    assert (result.returncode, result.stdout) == (3, "ran\n")
    assert result.stderr.count("warning") == 1
    assert "No space left" in " ".join(result.stderr.split())
    assert "the command ran for 1.5" in result.stderr


@pytest.mark.usefixtures("no_leftovers")
def test_no_home(greenrun: Greenrun, record: RecordReader) -> None:
    """Without HOME, or with one that is not there, nothing is missed."""
    for home in (None, "/no/such/home"):
        assert greenrun("true", env={"HOME": home, "XDG_CONFIG_HOME": None}).returncode == 0


def test_no_socket_is_opened(greenrun: Greenrun) -> None:
    """Nothing of this needs a network: with sockets forbidden by the kernel nothing changes, not even a warning."""
    code = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "CLONE_NEWNET = 0x40000000\n"
        "assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, ENTRY, "sh", "-c", "exit 3"],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 3, result.stderr
    assert "warning" not in result.stderr


@pytest.mark.usefixtures("no_leftovers")
def test_many_at_once(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """Runs that start in the same moment in the same directory do not collide."""
    jobs = [greenrun.start("sh", "-c", "exit 2", stderr=subprocess.DEVNULL) for _ in range(12)]
    assert [job.wait(60) for job in jobs] == [2] * 12
    found = run_dirs()
    assert len(found) == 12
    ids = set()
    for run_dir in found:
        with open(os.path.join(run_dir, "summary.json")) as file:
            ids.add(json.load(file)["run_id"])
        assert sorted(os.listdir(run_dir)) == ["run.jsonl", "summary.json", "summary.txt"]
        assert os.stat(run_dir).st_mode & 0o777 == 0o700
    assert len(ids) == 12
    with open(os.path.join(greenrun.cwd, "greenrun-logs", ".gitignore")) as file:
        assert file.read() == "*\n"


def run_unprivileged(greenrun: Greenrun, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run greenrun as somebody for whom file permissions hold."""
    return subprocess.run(
        unprivileged([ENTRY, *arguments]),
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("no_leftovers")
def test_removed_working_directory(greenrun: Greenrun) -> None:
    """Where the working directory is gone there is no log, and none is made in a strange place instead."""
    line = f"mkdir gone; cd gone; rmdir ../gone; exec {ENTRY} sh -c 'exit 3'"
    result = subprocess.run(
        ["bash", "-c", line], env=greenrun.environment(), cwd=greenrun.cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 3
    assert result.stderr.count("warning") == 1
    assert "leaves no log" in " ".join(result.stderr.split())
    assert not os.path.exists("/greenrun-logs")
