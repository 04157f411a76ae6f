"""Other daemons that follow the same file: real processes that carry the daemon's name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenrun.cli.neighbours import DAEMON_NAME, Neighbours

# A process that stands for a greenrun, and its child that stands for the daemon, with the file open.
PAIR = f"""
import fcntl, os, select, sys
if os.fork() == 0:
    with open("/proc/self/comm", "w") as comm: comm.write({DAEMON_NAME!r})
    file = open(sys.argv[1])
    print("up", flush=True)
    if sys.argv[2:] == ["busy"]:  # opens and closes others all the time, below the file's own number
        file = os.fdopen(fcntl.fcntl(file.fileno(), fcntl.F_DUPFD, 50))
        while not select.select([sys.stdin], [], [], 0)[0]:
            os.close(os.open("/dev/null", os.O_RDONLY))
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file that something is printed into."""
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def other(request: pytest.FixtureRequest, file: Path) -> Iterator[int]:
    """Start another greenrun, and give its process id."""
    words = [sys.executable, "-c", PAIR, str(file), *getattr(request, "param", ())]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    yield process.pid
    process.stdin.close()
    process.wait()
    process.stdout.close()


def neighbours(file: Path, owner: int) -> Neighbours:
    """Give the neighbours of a greenrun that prints into a file."""
    status = file.stat()
    return Neighbours(str(file), (status.st_dev, status.st_ino), owner)


def unrelated() -> subprocess.Popen[bytes]:
    """Start a process that the other greenrun has nothing to do with."""
    return subprocess.Popen(["sleep", "60"])


def test_another_job(file: Path, other: int) -> None:
    """A greenrun that is neither inside nor around ours is a neighbour."""
    ours = unrelated()
    try:
        assert other != ours.pid
        assert neighbours(file, ours.pid).follow_it_too()
        elsewhere = file.with_name("other")
        elsewhere.touch()
        assert not neighbours(elsewhere, ours.pid).follow_it_too()
    finally:
        ours.kill()
        ours.wait()


@pytest.mark.parametrize("other", [["busy"]], indirect=True, ids=["busy"])
def test_another_job_that_opens_and_closes_files(file: Path, other: int) -> None:
    """A descriptor that is gone between two looks does not hide the others."""
    ours = unrelated()
    try:
        assert all(neighbours(file, ours.pid).follow_it_too() for _ in range(300))
    finally:
        ours.kill()
        ours.wait()


def test_inside_of_ours(file: Path, other: int) -> None:
    """One that runs inside of ours prints a part of what ours prints."""
    assert other > 0
    assert not neighbours(file, os.getpid()).follow_it_too()


def test_around_ours(file: Path, other: int) -> None:
    """One that ours runs inside of has the same output and more."""
    (child,) = (int(pid) for pid in Path(f"/proc/{other}/task/{other}/children").read_text().split())
    assert not neighbours(file, child).follow_it_too()
