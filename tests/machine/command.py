"""Running the greenrun that is installed beside this interpreter, in surroundings of its own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

ENTRY = os.path.join(os.path.dirname(sys.executable), "greenrun")
_NOBODY = "http://127.0.0.1:9"  # the discard service, which no machine runs any more
_SERVICES = ("ELECTRICITYMAPS", "NESO", "ENERGIDATA", "ENERGYCHARTS", "CLOUD_METADATA")
_MARK = "SIMULATED_MACHINE_TEST"


class Greenrun:
    """The command line of greenrun with a working directory, a home and a folder for temporary files of its own.

    What the outer environment says to greenrun (GREENRUN_*) is taken away. Every process that descends from it can be
    told by a mark in its environment.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.cwd = os.path.join(directory, "work")
        self.home = os.path.join(directory, "home")
        self.temporary = os.path.join(directory, "temporary")
        for folder in (self.cwd, self.home, self.temporary):
            os.makedirs(folder)
        self._mark = uuid.uuid4().hex

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """Give the environment that greenrun starts with; None as a value takes a variable away."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
        environment |= {"HOME": self.home, "XDG_CONFIG_HOME": os.path.join(self.home, ".config")}
        environment |= {"XDG_CACHE_HOME": os.path.join(self.home, ".cache")}
        environment |= {"TMPDIR": self.temporary, _MARK: self._mark}
        # No test may ask a real service: offline unless it says otherwise, and then where nobody listens.
        environment |= {"GREENRUN_AGENT": "/nowhere/agent.sock"}  # this machine may have one
        environment |= {"GREENRUN_FLOOR": "/nowhere/floor.json"}  # as well
        environment |= {"GREENRUN_OFFLINE": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        environment |= {f"GREENRUN_{service}_URL": _NOBODY for service in _SERVICES}
        for name, value in (changes or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        return environment

    def __call__(
        self, *arguments: str | bytes, env: Mapping[str, str | None] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """Run it to its end; `options` are those of subprocess.run (text, captured, stdin empty, 60 s unless told)."""
        options.setdefault("text", True)
        options.setdefault("timeout", 60)
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        if not {"stdout", "stderr", "capture_output"} & options.keys():
            options["capture_output"] = True
        options.setdefault("cwd", self.cwd)
        return subprocess.run([ENTRY, *arguments], env=self.environment(env), **options)

    def start(
        self, *arguments: str | bytes, env: Mapping[str, str | None] | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """Start it and come back at once; `options` are those of subprocess.Popen."""
        options.setdefault("cwd", self.cwd)
        return subprocess.Popen([ENTRY, *arguments], env=self.environment(env), **options)

    def processes(self) -> dict[int, str]:
        """Give the living processes of greenrun that this object started, daemons too: process id to name."""
        return dict(self._processes())

    def _processes(self) -> Iterator[tuple[int, str]]:
        for pid, name, arguments in self._marked():
            if name.startswith("greenrun") or ENTRY.encode() in arguments:
                yield pid, name

    def marked(self) -> dict[int, str]:
        """Give all living processes that descend from what this object started, commands too: id to name."""
        return {pid: name for pid, name, _ in self._marked()}

    def _marked(self) -> Iterator[tuple[int, str, list[bytes]]]:
        mark = f"{_MARK}={self._mark}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                if mark not in _read(entry, "environ").split(b"\0"):
                    continue
                name = _read(entry, "comm").decode(errors="replace").strip()
                arguments = _read(entry, "cmdline").split(b"\0")[:2]
                living = _read(entry, "stat").rpartition(b") ")[2][:1] not in b"ZX"
            except OSError:
                continue  # it has gone meanwhile, or it is not ours to look at
            if living:
                yield int(entry), name, arguments

    def leftovers(self, seconds: float = 3.0) -> list[str]:
        """Give what greenrun left behind, in words: processes that outlive `seconds`, temporary files, sockets."""
        deadline = time.monotonic() + seconds
        while (processes := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        found = [f"process {process} ({name})" for process, name in processes.items()]
        found += [os.path.join(folder, name) for folder, _, names in os.walk(self.temporary) for name in names]
        for folder, _, names in os.walk(self.cwd):
            for path in (os.path.join(folder, name) for name in names):
                mode = os.lstat(path).st_mode
                if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or "tmp" in os.path.basename(path):
                    found.append(path)
        return found


def _read(process: str, name: str) -> bytes:
    with open(os.path.join("/proc", process, name), "rb") as file:
        return file.read()
