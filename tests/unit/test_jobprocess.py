"""Following a process that is not ours to wait for: its end, and how it ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from greenrun.cli.jobprocess import JobProcess, find
from greenrun.cli.procstat import is_stopped

KNOWS_THE_REAPED = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 15)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that comes soon."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def shell(script: str) -> subprocess.Popen[bytes]:
    """Start a shell that does what `script` says when its input ends."""
    return subprocess.Popen(["/bin/sh", "-c", f"read line; {script}"], stdin=subprocess.PIPE)


def let_go(process: subprocess.Popen[bytes]) -> None:
    """End the input of the shell."""
    assert process.stdin is not None
    process.stdin.close()


def test_the_command_that_nobody_told_of() -> None:
    """It is found by the run's id in its environment, before what it has started itself; no other run's is taken."""
    run_id = "01a20000-0000-7000-8000-00000000abcd"
    process = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 30 & echo; wait"],
        env={"GREENRUN_RUN_ID": run_id},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # now there are two
        assert find(run_id) == process.pid
        assert find(run_id[:-1] + "e") is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7 << 8), ("kill -TERM $$", signal.SIGTERM)])
def test_the_end_and_the_status_of_a_zombie(script: str, status: int) -> None:
    """The descriptor wakes at the end; until somebody reaps it the process shows how it ended."""
    process = shell(script)
    job = JobProcess(process.pid)
    assert not job.has_ended()
    assert job.descriptor is not None
    assert select.select([job.descriptor], [], [], 0)[0] == []
    let_go(process)
    assert select.select([job.descriptor], [], [], 10)[0]
    assert job.has_ended()
    assert job.status() == status
    process.wait()


def test_the_status_of_one_that_was_reaped() -> None:
    """Linux 6.15 keeps it with the descriptor; before that nobody can tell, and nothing is made up."""
    process = shell("exit 7")
    job = JobProcess(process.pid)
    let_go(process)
    process.wait()
    assert job.has_ended()
    assert job.status() == (7 << 8 if KNOWS_THE_REAPED else None)


def test_a_process_that_is_gone() -> None:
    """One that was reaped before it could be followed is an error of its own."""
    process = shell("exit 0")
    let_go(process)
    process.wait()
    with pytest.raises(ProcessLookupError):
        JobProcess(process.pid)


POLLING = """
import os, sys
def refuse(pid):
    raise OSError(38, "Function not implemented")
os.pidfd_open = refuse
from greenrun.cli.jobprocess import JobProcess
job = JobProcess(int(sys.argv[1]))
print(job.descriptor, job.poll_seconds is not None, job.has_ended(), flush=True)
input()
print(job.has_ended(), job.status(), flush=True)
"""


def test_a_kernel_without_pidfd() -> None:
    """Before Linux 5.3 the process is looked at again and again, and known by its start time."""
    process = shell("exit 7")
    with subprocess.Popen(
        [sys.executable, "-c", POLLING, str(process.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "None True False\n"
        let_go(process)
        wait_until(lambda: b") Z " in open(f"/proc/{process.pid}/stat", "rb").read())  # noqa: SIM115  closed at once
        out, _ = follower.communicate("\n", timeout=20)
    assert out == f"True {7 << 8}\n"
    process.wait()


def test_another_process_of_the_same_id() -> None:
    """A process id that was given away again is not the process that was followed."""
    process = shell("exit 0")
    job = JobProcess(process.pid)
    job._start = ["1"]  # as if the process of this id had begun at another time
    assert job.has_ended()
    let_go(process)
    process.wait()


def test_stopped_or_not() -> None:
    """SIGSTOP is seen, SIGCONT too, and a process that is gone stands not still."""
    process = shell("exit 0")
    assert not is_stopped(process.pid)
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: is_stopped(process.pid))
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: not is_stopped(process.pid))
    let_go(process)
    process.wait()
    assert not is_stopped(process.pid)
