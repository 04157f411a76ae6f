"""Between a process and the child that asks services for it: what one writes, the other reads, and nobody waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from greenrun.cli import fetching
from greenrun.cli.config import Config
from greenrun.cli.descriptors import pipe


def descriptors() -> list[str]:
    """Give the descriptors that this process has open."""
    return sorted(os.listdir("/proc/self/fd"))


def test_a_child_that_fails_says_so() -> None:
    """A request that makes no sense stands for whatever may break in it."""
    command = [sys.executable, "-I", "-S", "-c", fetching._PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"path": sys.path}).encode() + b"\n")
        child.stdin.flush()  # and not closed: then the child would go
        answer = json.loads(child.stdout.read())
    (passed,) = answer["answer"]["passed"]
    assert passed["reason"] == "the process that asks failed (KeyError)"


def test_a_request_that_no_pipe_holds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits, and nothing stays open."""
    monkeypatch.syspath_prepend("x" * (16 << 20))
    before = descriptors()
    reply = fetching.ask(Config(offline=True, country="DK"), "now")
    assert "no process could be started" in reply.answer.passed[0].reason
    assert descriptors() == before


def test_without_descriptors_nothing_is_started_and_nothing_stays_open() -> None:
    """Each number of them that is left is too few for all pipes."""
    code = (
        "import os, resource\n"
        "from greenrun.cli import fetching\n"
        "from greenrun.cli.config import Config\n"
        "for left in range(4):\n"
        "    before = sorted(map(int, os.listdir('/proc/self/fd')))\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (before[-1] + left, 4096))\n"
        "    try:\n"
        "        fetching.Fetch(Config(), 'now')\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"
        "    assert sorted(map(int, os.listdir('/proc/self/fd'))) == before\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["Too many open files"] * 4


def test_a_pipe_that_cannot_be_moved_clear_of_stdin_is_closed() -> None:
    """With stdin closed and one more descriptor left there is no room above the standard ones."""
    code = (
        "import os, resource\n"
        "from greenrun.cli.descriptors import pipe\n"
        "folder = os.open('/proc/self/fd', os.O_RDONLY)\n"
        "os.close(0)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (folder + 2, 4096))\n"
        "try:\n"
        "    pipe()\n"
        "except OSError as error:\n"
        "    print(error.strerror)\n"
        "print(os.pipe()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.split("\n")[:2], done.stderr) == (["Too many open files", "0"], "")


def test_pipes_stay_clear_of_the_standard_descriptors() -> None:
    """Of a process that has them, anyway."""
    for descriptor in (both := pipe()):
        assert descriptor > 2
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)
    assert len(set(both)) == 2
