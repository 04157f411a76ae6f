"""The site's agent: energy counters that only root may read, told to everybody once a second on a local socket.

It is believed if it runs as root or as this user, for who else may have put a socket there: so the kernel is asked
whose the other end is, before a byte is read. Whatever it does or fails to do, nobody waits for it but the thread that
opens it: each reading takes what has come by then, a bounded amount, and nothing is ever sent.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from greenrun.sampler import published
from greenrun.sampler.model import BaseSource, Device, Finding, Machine, Opened, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from greenrun.sampler.model import Kind, Reading

# It answers in a millisecond; on a machine whose processors are all busy, or under a flood of others, later.
_ANSWER_SECONDS = 2.0
# Older than this a first reading does not tell of now: the agent hangs, or its clock is another's.
_OLDEST_SECONDS = 5.0
# Who does not take its lines is dropped by the agent. This often, whatever the interval, they are taken.
_TAKE_SECONDS = 10.0

_MOST_BYTES_EACH_TIME = 2 * published.MOST_BYTES


class _Trouble(Exception):  # noqa: N818  it is a finding on its way
    """Why an agent cannot be heard or believed."""

    def __init__(self, status: Status, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence)
        self.status: Status = status
        self.sentence = sentence
        self.remedy = remedy


class _Ended(_Trouble):
    """The agent has closed the connection."""


class _Busy(_Trouble):
    """So many want to be let in that there is a queue, and it is full."""


class Agent(BaseSource):
    """The counters of the wanted kinds, as the agent at `machine.agent` tells them."""

    def __init__(self, wanted: Collection[Kind]) -> None:
        super().__init__(name="agent", slow=True)
        self.poll_seconds: float | None = _TAKE_SECONDS
        self._wanted = wanted
        self._path = ""
        self._connection: _Connection | None = None
        self._ids: tuple[str, ...] = ()  # of our devices, as the agent calls them
        self._kept: published.Reading | None = None  # the one that came while the agent was opened
        self._newest_t = 0.0
        self._warned = False

    def open(self, machine: Machine) -> Opened:
        """Wait for the agent's first reading, two seconds at most."""
        self._path = machine.agent
        until = time.monotonic() + _ANSWER_SECONDS
        try:
            self._connection = _Connection(self._path, patient=True)
            while self._kept is None:
                self._connection.wait(until)
                self._kept = self._connection.take(ending=False)
            self._connection.check_age(self._kept)
        except _Trouble as trouble:
            self.close()
            return Opened(findings=(Finding("agent", "agent", trouble.status, trouble.sentence, trouble.remedy),))
        mine = [device for device in self._connection.devices if device.kind in self._wanted]
        if not any(device.counted for device in mine):
            self.close()
            sentence = f"The agent at {self._path} has no counter to add."
            return Opened(findings=(Finding("agent", "agent", "absent", sentence),))
        self._ids = tuple(device.id for device in mine)
        labels = ", ".join(name.rpartition(":")[2] for name in self._ids)
        sentence = f"The counters can be read through the agent at {self._path}, once a second."
        return Opened(tuple(map(self._described, mine)), (Finding("agent", labels, "ok", sentence),))

    def read(self) -> Sequence[Reading | None]:
        """Give the newest reading that has come; None for each device where none has come since the last time."""
        reading, self._kept = self._kept, None
        try:
            reading = self._take() or reading
        except _Busy:
            pass  # the next time
        except _Trouble as trouble:
            self.close()
            if not self._warned:
                self._warned = True
                sentence = f"{trouble.sentence} Until it was heard again, nothing was read through it."
                self._warnings.append((None, sentence))
        if reading is None or not self._newest_t < reading.t <= time.monotonic():
            return [None] * len(self._ids)
        self._newest_t = reading.t
        return [reading.counters.get(name) for name in self._ids]

    def close(self) -> None:
        """Let go of the agent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _take(self) -> published.Reading | None:
        """Take what has come. An agent that has ended is called again at once, for it may have been started anew."""
        if self._connection is not None:
            try:
                return self._connection.take()
            except _Ended:
                self.close()
        self._connection = _Connection(self._path, patient=False)
        return self._connection.take()

    def _described(self, device: Device) -> Device:
        note = f"Told by the agent at {self._path} once a second. {device.note}".strip()
        return device._replace(
            id=f"agent:{device.id}",
            name=f"{device.name} (agent)",
            resolution_seconds=published.EACH_SECONDS,
            note=note,
        )


class _Connection:
    """A connection to an agent that may be believed. `devices` is empty until its greeting has come."""

    def __init__(self, path: str, *, patient: bool) -> None:
        """Connect: at once, or `patient`, where the agent has a queue, within two seconds. Raises _Trouble."""
        import socket
        import struct

        self.devices: tuple[Device, ...] = ()
        self._path = path
        self._is_greeted = False
        self._unfinished = b""  # the line that is still coming
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if patient:  # Python's own timeout does not let a connection wait for its turn
                seconds = struct.pack("@ll", int(_ANSWER_SECONDS), 0)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
            else:
                self._socket.setblocking(False)
            self._socket.connect(path)
            self._socket.setblocking(False)
            credentials = struct.Struct("@iII")  # process, user, group
            peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
        except OSError as error:
            self._socket.close()
            raise _unreached(path, error) from None
        user = credentials.unpack(peer)[1]
        if user not in {0, os.geteuid()}:
            self._socket.close()
            raise _Trouble(
                "forbidden",
                f"The socket {path} is user {user}'s, and only root's agent or one's own is believed.",
                "GREENRUN_AGENT tells of another socket; within a user namespace nobody can tell who is root outside.",
            )

    def wait(self, until: float) -> None:
        """Wait for more to come, until a CLOCK_MONOTONIC time."""
        import select

        seconds = until - time.monotonic()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if seconds <= 0 or not poll.poll(seconds * 1000):
            raise _Trouble("broken", f"The agent at {self._path} has not answered within {_ANSWER_SECONDS:g} s.")

    def take(self, *, ending: bool = True) -> published.Reading | None:
        """Take in what has come and give the newest reading of it: counters are cumulative, no other matters.

        `ending`: raise _Ended if the agent is gone, whatever came before.
        """
        data, ended = self._receive()
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        newest: published.Reading | None = None
        try:
            if len(self._unfinished) > published.MOST_BYTES:
                raise ValueError("a line without an end")
            if lines and not self._is_greeted:
                self._greet(published.parse_greeting(lines.pop(0)))
            if lines:
                newest = published.parse_reading(lines[-1], self.devices)
        except ValueError as error:
            raise _Trouble("broken", f"What the agent at {self._path} tells cannot be believed: {error}.") from None
        if ended and (ending or newest is None):
            why = "it has ended, or has too many clients"
            raise _Ended("broken", f"The agent at {self._path} has closed the connection: {why}.")
        return newest

    def check_age(self, reading: published.Reading) -> None:
        """Raise _Trouble for a reading that is not of about now."""
        seconds = time.monotonic() - reading.t
        if not 0.0 <= seconds <= _OLDEST_SECONDS:
            sentence = f"The agent at {self._path} tells of a time that is {seconds:.0f} s ago, so it is not believed."
            raise _Trouble("broken", sentence)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive(self) -> tuple[bytes, bool]:
        """Give what has come, and whether that was all there will ever be."""
        data = b""
        try:
            while len(data) < _MOST_BYTES_EACH_TIME:
                more = self._socket.recv(published.MOST_BYTES)
                if not more:
                    return data, True
                data += more
        except BlockingIOError:
            pass
        except OSError:
            return data, True
        return data, False

    def _greet(self, greeting: published.Greeting) -> None:
        boot_id = _boot_id()
        if None not in {greeting.boot_id, boot_id} and greeting.boot_id != boot_id:
            raise ValueError("it is of another machine, or of this one before it was started again")
        self.devices = greeting.devices
        self._is_greeted = True


def _unreached(path: str, error: OSError) -> _Trouble:
    why = error.strerror or str(error)
    if isinstance(error, PermissionError):
        return _Trouble("forbidden", f"This user may not connect to the agent at {path} ({why}).")
    if isinstance(error, BlockingIOError):
        return _Busy("broken", f"The agent at {path} let nobody in: too many were waiting.")
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
        sentence = f"No agent listens at {path} ({why})."
        return _Trouble("broken", sentence, "Have it started again: systemctl start greenrun-agent.")
    return _Trouble("broken", f"The agent at {path} cannot be connected to ({why}).")


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None
