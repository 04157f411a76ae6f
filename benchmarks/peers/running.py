"""Starting a tool in front of a command, and finding again all the processes that come of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _harness
from machine.build import program
from machine.stamp import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peers.tools import Tool

_MARK = "PEERS_RUN"  # in the environment of all that a run starts


class Run:
    """One tool in front of one command, in a folder of its own that also is its home."""

    def __init__(self, tool: Tool, folder: str | os.PathLike[str], seen: Mapping[str, str]) -> None:
        self.tool = tool
        self.folder = str(folder)
        os.makedirs(self.folder)
        self.stamp = Stamp(os.path.join(self.folder, "stamp"))
        self._mark = uuid.uuid4().hex
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GREENRUN_", "PYTHON"))}
        self.environment = {**kept, "HOME": self.folder, "TMPDIR": self.folder, **seen, _MARK: self._mark}

    def start(self, command: Sequence[str], *, front: Sequence[str] = (), **options: Any) -> subprocess.Popen[bytes]:
        """Start the tool with a command; `front` goes before the tool itself."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.STDOUT)
        line = [*front, *self.tool.front, *command]
        return subprocess.Popen(line, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, **options)

    def processes(self) -> list[int]:
        """Give all living processes that came of it, the command's among them."""
        return _harness.processes_with(f"{_MARK}={self._mark}")

    def own_processes(self) -> list[int]:
        """Give the tool's own processes: all but those that run the stamp."""
        return [pid for pid in self.processes() if _executable(pid) != os.path.realpath(program("stamp"))]

    def jobs(self) -> list[int]:
        """Give the processes that run the stamp."""
        return [pid for pid in self.processes() if _executable(pid) == os.path.realpath(program("stamp"))]

    def life(self, seconds: float) -> tuple[float, float]:
        """Give the command's first and last moment, waiting so long for the last: its tool may be gone before it."""
        wait_until(lambda: self._has_ended(), seconds)
        return self.stamp.life()

    def end(self, seconds: float = 20.0) -> None:
        """See to it that nothing of it is left, not even of a tool that hangs."""
        wait_until(lambda: not self.processes(), seconds)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    def _has_ended(self) -> bool:
        try:
            self.stamp.life()
        except (FileNotFoundError, ValueError):
            return False
        return True


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for something, at most so long; tell whether it came."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def progress(text: str) -> None:
    """Say on stderr what is being done."""
    print(f"   {text}", file=sys.stderr, flush=True)


def _executable(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.path.realpath(Path("/proc", str(pid), "exe").readlink())
    return ""
