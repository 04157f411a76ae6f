"""The ways in which a command can run under greenrun: plain, watched through pipes, watched on a terminal.

Each is started, and may then be hit by whatever a test does to it; `finish` gives what its user would have seen.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from machine.build import program
from machine.command import ENTRY, Greenrun

PLAIN, PIPE, TERMINAL = "plain", "pipe", "terminal"
WAYS = (PLAIN, PIPE, TERMINAL)
WATCHED = ("--epochs", "auto")
_PATIENCE_SECONDS = 60.0
_SILENCE_SECONDS = 0.2
# The session's leader is a shell, as in life: the death of a leader would hang the terminal up. It stays until the
# terminal goes, because a job whose greenrun was killed may still print there.
# What it says itself ("Killed") goes nowhere.
_SESSION = """
exec 3>&2 2>/dev/null
(exec "$@" 2>&3 3>&-)
echo $? > "$STATUS.new"; mv "$STATUS.new" "$STATUS"
while :; do sleep 60; done
"""


class Talk(NamedTuple):
    """A command that prints `lines` lines on stdout and as many on stderr in `seconds`, and exits with `code`.

    It keeps the moments of its birth and its end in the file at `path`. `trick`: see talk.c.
    """

    path: str
    seconds: float
    code: int = 0
    lines: int = 6
    trick: str = ""

    def command(self) -> list[str]:
        """Give its command line."""
        words = [program("talk"), self.path, repr(float(self.seconds)), str(self.code), str(self.lines)]
        return [*words, self.trick] if self.trick else words

    def out(self) -> bytes:
        """Give what it prints on stdout."""
        return b"".join(b"out %d\n" % (number + 1) for number in range(self.lines))

    def err(self) -> bytes:
        """Give what it prints on stderr."""
        return self.out().replace(b"out", b"err")

    def both(self) -> bytes:
        """Give what a terminal shows of it."""
        pairs = zip(self.out().splitlines(), self.err().splitlines(), strict=True)
        return b"".join(out + b"\r\n" + err + b"\r\n" for out, err in pairs)

    def moments(self) -> list[float]:
        """Give the moments of its birth and of its end, as far as they have come; CLOCK_MONOTONIC seconds."""
        try:
            with open(self.path) as file:
                return [int(line) / 1e9 for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []


class Seen(NamedTuple):
    """What the user of a run has seen: the exit status as a shell tells it, the bytes, when greenrun ended.

    On a terminal `out` has all and `err` nothing.
    """

    status: int
    out: bytes
    err: bytes
    ended: float  # CLOCK_MONOTONIC seconds


class Running:
    """A command under greenrun."""

    def __init__(
        self,
        greenrun: Greenrun,
        way: str,
        command: Sequence[str | bytes],
        env: Mapping[str, str | None] | None = None,
        *,
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
        cwd: str | bytes | None = None,
    ) -> None:
        """Start it; `prefix` is what starts greenrun, where that is to live in other surroundings."""
        self.way = way
        self._greenrun = greenrun
        watched = () if way == PLAIN else WATCHED
        words = [*prefix, ENTRY, *watched, *options, *command]
        self._status_path = os.path.join(greenrun.home, "status")
        environment = greenrun.environment({**(env or {}), "TERM": "dumb"})
        environment["STATUS"] = self._status_path
        where = cwd or greenrun.cwd
        self._read: list[bytearray] = [bytearray(), bytearray()]
        self._master = -1
        if way == TERMINAL:
            self._master, slave = os.openpty()
            self._process = subprocess.Popen(
                ["setsid", "-c", "sh", "-c", _SESSION, "sh", *words],
                env=environment,
                cwd=where,
                stdin=slave,
                stdout=slave,
                stderr=slave,
            )
            os.close(slave)
            descriptors = [self._master]
        else:
            self._process = subprocess.Popen(
                words,
                env=environment,
                cwd=where,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            assert self._process.stdout is not None
            assert self._process.stderr is not None
            descriptors = [self._process.stdout.fileno(), self._process.stderr.fileno()]
        self._heard_at = time.monotonic()
        self._pumps = [
            threading.Thread(target=self._pump, args=pair, daemon=True)
            for pair in zip(descriptors, self._read, strict=False)
        ]
        for pump in self._pumps:
            pump.start()

    def _pump(self, descriptor: int, data: bytearray) -> None:
        with contextlib.suppress(OSError):  # EIO: everybody has left the terminal
            while piece := os.read(descriptor, 1 << 16):
                data += piece
                self._heard_at = time.monotonic()

    def greenrun_pid(self) -> int | None:
        """Give the process id of greenrun; None: it has none yet, or none any more."""
        if self.way != TERMINAL:
            return self._process.pid if self._process.poll() is None else None
        return next((pid for pid in children(self._process.pid) if comm(pid) == "greenrun"), None)

    def daemon_pids(self) -> list[int]:
        """Give the sampler daemons: one, or none before it is born and after it has ended."""
        return [pid for pid, name in self._greenrun.processes().items() if name == "greenrun-daemon"]

    def asker_pids(self) -> list[int]:
        """Give the processes that ask services."""
        return [asker for pid in self.daemon_pids() for asker in children(pid)]

    def relay_pids(self) -> list[int]:
        """Give the relays, or the keeper of the terminal; greenrun's children, once the command has been born."""
        pid = self.greenrun_pid()
        return [] if pid is None else [child for child in children(pid) if comm(child) == "greenrun"]

    def command_pids(self) -> list[int]:
        """Give the command, once it has been born."""
        return [pid for pid in self._greenrun.marked() if comm(pid) == "talk"]

    def finish(self) -> Seen:
        """Wait until greenrun has ended and all has been printed, also by a command whose greenrun was killed."""
        status = self._wait()
        ended = time.monotonic()
        if self.way != TERMINAL:
            for pump in self._pumps:
                pump.join(_PATIENCE_SECONDS)
                assert not pump.is_alive(), "a pipe is still open"
            assert self._process.stdout is not None
            assert self._process.stderr is not None
            self._process.stdout.close()
            self._process.stderr.close()
        else:
            while self._greenrun.processes() and time.monotonic() - ended < _PATIENCE_SECONDS:
                time.sleep(0.02)
            while time.monotonic() - max(self._heard_at, ended) < _SILENCE_SECONDS:
                time.sleep(0.02)
            self._hang_up()
        return Seen(status, bytes(self._read[0]), bytes(self._read[1]), ended)

    def _wait(self) -> int:
        if self.way != TERMINAL:
            status = self._process.wait(_PATIENCE_SECONDS)
            return 128 - status if status < 0 else status
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not os.path.exists(self._status_path):
            assert time.monotonic() < deadline, "greenrun does not end"
            time.sleep(0.01)
        with open(self._status_path) as file:
            return int(file.read())

    def _hang_up(self) -> None:
        """End the terminal, and with it its session; the pump must not read a descriptor that is somebody else's."""
        self._process.kill()
        self._process.wait()
        for pump in self._pumps:
            pump.join(_PATIENCE_SECONDS)
        os.close(self._master)


def children(pid: int) -> list[int]:
    """Give the children of a process, none where it is gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def comm(pid: int) -> str:
    """Give the name of a process, an empty one where it is gone."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""
