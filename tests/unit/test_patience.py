"""Who waits for a processor is told from who hangs: with real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from greenrun.cli.patience import Patience

HANGS = "import time; time.sleep(100)"
STOPPED = "import os; os.kill(os.getpid(), 19)"
WORKS = "while True: pass"
WORKS_NOW_AND_THEN = """
import time
while True:
    end = time.monotonic() + 0.2
    while time.monotonic() < end: pass
    time.sleep(0.2)
"""


@contextmanager
def process(code: str) -> Iterator[int]:
    """Give the id of a process that is at what it is to do."""
    with subprocess.Popen([sys.executable, "-c", f"print(flush=True)\n{code}"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.1)
        yield child.pid
        child.kill()


def waited(patience: Patience, *pids: int | None) -> float:
    """Wait, for the processes in turn, and give for how long."""
    began, look = time.monotonic(), 0
    while left := patience.left(pids[look % len(pids)]):
        time.sleep(left)
        look += 1
    return time.monotonic() - began


@pytest.mark.parametrize("code", [WORKS, WORKS_NOW_AND_THEN], ids=["always", "now and then"])
def test_one_that_works_is_waited_for_until_its_time_is_over(code: str) -> None:
    """Also where it is at the disk in between."""
    with process(code) as pid:
        assert waited(Patience(0.5, 1.5, 0.45), pid) >= 2.0


@pytest.mark.parametrize("code", [HANGS, STOPPED], ids=["hangs", "stopped"])
def test_one_that_hangs_or_stands_still_is_not(code: str) -> None:
    """It has the time that it is due, and no more."""
    with process(code) as pid:
        assert 0.5 <= waited(Patience(0.5, 60.0, 0.4), pid) < 30.0


def test_nobody_is_waited_for_as_one_that_hangs() -> None:
    """Where it is not known yet who it is, and where there is nobody any more."""
    assert 0.3 <= waited(Patience(0.3, 60.0, 0.2), None) < 30.0
    with process(HANGS) as pid:
        pass
    assert 0.3 <= waited(Patience(0.3, 60.0, 0.2), pid) < 30.0


def test_it_is_the_one_that_is_there_now() -> None:
    """A sampler that died is replaced, and its place taken by one that works."""
    with process(HANGS) as old, process(WORKS) as new:
        assert waited(Patience(0.5, 1.5, 0.4), old, new) >= 2.0


def test_no_patience_at_all() -> None:
    """The first call tells that it is over."""
    assert Patience(0.0, 0.0, 0.0).left(None) == 0.0
