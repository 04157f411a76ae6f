"""Who waits for a processor is told from who hangs: with real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from greenrun.cli import patience


@contextmanager
def process(code: str) -> Iterator[int]:
    """Give the id of a process that is at what it is to do."""
    with subprocess.Popen([sys.executable, "-c", f"print(flush=True)\n{code}"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.1)
        yield child.pid
        child.kill()


def test_one_that_works_is_waited_for_until_its_time_is_over() -> None:
    """At each look it runs, or would if it had a processor."""
    with process("while True: pass") as pid:
        busy = patience.Busy(pid, 60.0)
        assert all(busy.goes_on() for _ in range(20))
        assert not patience.Busy(pid, 0.0).goes_on()


@pytest.mark.parametrize("code", ["import time; time.sleep(100)", "import os; os.kill(os.getpid(), 19)"])
def test_one_that_hangs_or_stands_still_is_not(code: str) -> None:
    """After a few looks, for once it may have been at the disk."""
    with process(code) as pid:
        busy = patience.Busy(pid, 60.0)
        looks = [busy.goes_on() for _ in range(10)]
        assert looks[0]
        assert not looks[-1]
