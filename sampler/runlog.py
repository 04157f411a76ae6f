"""The run log: append-only JSON Lines, one writer while the run lasts. docs/run-log.md describes the events."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from typing import TYPE_CHECKING

from greenrun.sampler.events import Event, flaw

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

SCHEMA = 1
LOG_NAME = "run.jsonl"
LAST_NAME = "last.json"
_LARGEST_LINE = 4 * 1024 * 1024  # a longer line is no run log of ours, whatever it is
LARGEST_BYTES = 256 << 20
"""A larger log is none of ours: a week of twelve devices is 8 MB. The events of one this large take gigabytes."""
MOST_EVENTS = 1_000_000
"""Of a log that is read: a week has 18,000 samples, and of markers the sampler keeps some 10,000."""
MOST_DEVICES = 1000
"""Of a run: more than any machine has, and the account works for each of them."""


class Unreadable(Exception):  # noqa: N818  the name is the sentence's predicate
    """A file that is no run log, or no longer one: one sentence that says which and why."""


class Writer:
    """Appends events to the log of one run and never raises: a full disk must not end the measuring.

    What cannot be written is kept in memory (`unwritten`), so that the record at the end still knows it.
    """

    def __init__(self) -> None:
        self.run_dir: str | None = None
        self.unwritten: list[Event] = []
        self.failure: str | None = None
        self._file = -1

    def open(self, run_dir: str) -> None:
        """Open the log in `run_dir`, made by the caller; what was kept so far goes into it first."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(os.path.join(run_dir, LOG_NAME), flags, 0o600)
        _drop_torn_line(self._file)
        self.run_dir = run_dir
        kept, self.unwritten = self.unwritten, []
        for event in kept:
            self.append(event)

    def fail(self, reason: str) -> None:
        """From now on keep everything in memory, for this reason."""
        self.failure = reason
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def append(self, event: Event) -> None:
        """Write one event as one line, in one write, so that a reader never sees half of it for long."""
        if self._file >= 0:
            line = rest = encode(event)
            try:
                while rest:
                    rest = rest[os.write(self._file, rest) :]
                return
            except OSError as error:
                with contextlib.suppress(OSError):
                    # Take a torn line back, or the reader loses it and the next one too.
                    os.ftruncate(self._file, os.fstat(self._file).st_size - (len(line) - len(rest)))
                self.fail(os.strerror(error.errno or 0))
        self.unwritten.append(event)

    def rescue(self) -> None:
        """Take the whole log into memory if the command has removed it: a clean checkout does, and `make clean`."""
        if self._file < 0 or self.run_dir is None or os.path.exists(os.path.join(self.run_dir, LOG_NAME)):
            return
        lines = os.pread(self._file, os.fstat(self._file).st_size, 0).splitlines()
        written = [event for event, _ in map(_decode, lines) if event is not None]
        self.unwritten = [*written, *self.unwritten]
        self.fail("it was removed while the command ran")
        self.run_dir = None

    def keep_last(self, event: Event) -> None:
        """Replace last.json: lines grow up to a minute apart, and SIGKILL must not cost that much."""
        if self._file >= 0 and self.run_dir is not None:
            with contextlib.suppress(OSError):
                replace(os.path.join(self.run_dir, LAST_NAME), encode(event))

    def close(self) -> None:
        """End the log: last.json has nothing to add any more."""
        if self.run_dir is not None:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.run_dir, LAST_NAME))
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _drop_torn_line(file: int) -> None:
    """Take back the line in the middle of which an earlier writer was killed. Raises OSError."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return
    begin = max(0, size - _LARGEST_LINE)
    os.ftruncate(file, begin + os.pread(file, _LARGEST_LINE, begin).rfind(b"\n") + 1)


def append(run_dir: str, events: Iterable[Event]) -> None:
    """Add events to the log of a run that is over: all of them, on disk when this returns, or none.

    Raises OSError.
    """
    file = os.open(os.path.join(run_dir, LOG_NAME), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _end_last_line(file)
        size = os.fstat(file).st_size
        try:
            rest = b"".join(map(encode, events))
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, size)
            raise
    finally:
        os.close(file)


def _end_last_line(file: int) -> None:
    """End a last line that lacks nothing but its newline, for it is read as an event; a torn one is taken back."""
    size = os.fstat(file).st_size
    begin = max(0, size - _LARGEST_LINE)
    last = os.pread(file, _LARGEST_LINE, begin).rpartition(b"\n")[2]
    if last and _decode(last)[0] is not None:
        os.write(file, b"\n")
    else:
        _drop_torn_line(file)


def encode(event: Event) -> bytes:
    """Give the line of an event; what is no valid Unicode becomes a question mark."""
    text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"


def replace(path: str, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it; only its owner may read it."""
    temporary = f"{path}.tmp"  # one writer at a time: what a killed one has left is overwritten by the next
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
        finally:
            os.close(file)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read(run_dir: str) -> list[Event]:
    """Give the events of the run in `run_dir`, complete or killed; a last line that was cut off is left out.

    Each holds what greenrun.sampler.events demands. The newest sample of last.json is added where the log ends before
    it. Raises Unreadable.
    """
    path = os.path.join(run_dir, LOG_NAME)
    events: list[Event] = []
    devices = 0
    try:
        with open_plain(path) as file:
            while line := file.readline(_LARGEST_LINE):
                event, reason = _decode(line)
                if event is None:
                    if len(line) < _LARGEST_LINE and not line.endswith(b"\n"):
                        break  # the writer was killed in the middle of it
                    raise Unreadable(f"{path} is damaged: line {len(events) + 1} is no event, for {reason}.")
                events.append(event)
                devices += len(event["devices"]) if event["event"] in ("start", "device") else 0
                if len(events) > MOST_EVENTS or devices > MOST_DEVICES:
                    what = f"{MOST_DEVICES} devices" if devices > MOST_DEVICES else f"{MOST_EVENTS} events"
                    raise Unreadable(f"{path} is no run log of greenrun's: it has more than {what}.")
    except FileNotFoundError:
        raise Unreadable(f"{run_dir} is no run directory: there is no {LOG_NAME} in it.") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    if not events or events[0]["event"] != "start":
        raise Unreadable(f"{path} does not begin with the start of a run: there is nothing to tell.")
    if events[0]["schema"] != SCHEMA:
        raise Unreadable(f"{path} is of schema {events[0]['schema']}; this greenrun reads schema {SCHEMA}.")
    return _with_last(events, os.path.join(run_dir, LAST_NAME))


def read_start(run_dir: str) -> Event:
    """Give the `start` event alone, to tell whose log it is before all of it is read. Raises Unreadable."""
    path = os.path.join(run_dir, LOG_NAME)
    try:
        with open_plain(path) as file:
            event, reason = _decode(file.readline(_LARGEST_LINE))
    except OSError as error:
        raise _unreadable(path, error) from error
    if event is None or event["event"] != "start":
        raise Unreadable(f"{path} does not begin with the start of a run: {reason or 'another event is first'}.")
    return event


def open_plain(path: str) -> BinaryIO:
    """Open a log to read, where it is a file: root reads other users' directories, in which anything may have its name.

    A link is not followed, and of a FIFO or a device nothing is read. Raises OSError, Unreadable.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"{path} is no run log: it is no file.")
        if status.st_size > LARGEST_BYTES:
            raise Unreadable(f"{path} is no run log of greenrun's: it is larger than {LARGEST_BYTES >> 20} MiB.")
        return open(file, "rb")
    except BaseException:
        os.close(file)
        raise


def _unreadable(path: str, error: OSError) -> Unreadable:
    reason = "it is a link, and none is followed" if error.errno == errno.ELOOP else os.strerror(error.errno or 0)
    return Unreadable(f"{path} cannot be read: {reason}.")


def _with_last(events: list[Event], path: str) -> list[Event]:
    if any(event["event"] == "end" for event in events):
        return events
    try:
        with open_plain(path) as file:
            last, _ = _decode(file.read(_LARGEST_LINE))
    except (OSError, Unreadable):
        return events
    # As new as the last line is new enough: where lines are far apart they leave out what only the newest needs.
    if last is not None and last["event"] == "sample" and last["t"] >= max(event["t"] for event in events):
        events.append(last)
    return events


def _decode(line: bytes) -> tuple[Event | None, str]:
    """Give the event of a line, or None and what is wrong with it."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None, "it is not JSON"
    reason = flaw(event)
    return (event, "") if reason is None else (None, reason)
