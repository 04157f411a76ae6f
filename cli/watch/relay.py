"""Relay a pipe: a process of its own reads what the command writes, forwards it and looks for epochs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import stat
import struct
import termios
from typing import TYPE_CHECKING

from greenrun.cli import signals
from greenrun.cli.descriptors import close_all_but
from greenrun.cli.watch.descriptors import Replaced
from greenrun.cli.watch.scan import Watcher

if TYPE_CHECKING:
    from greenrun.cli.watch.scan import Sought

_PIECE_BYTES = 64 * 1024
_PIPE_BYTES = 256 * 1024  # of our own pipe, four times the usual: command and relay need not take turns so often
_ENDED = b"."  # on the control pipe: the command has ended, forward what is there and go


def pipes() -> list[list[int]]:
    """Group stdout and stderr by the pipe that they write to: [[1, 2]] where both are one, so that order is kept."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number in (1, 2):
        try:
            status = os.fstat(number)
            writable = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        except OSError:
            continue  # closed
        if stat.S_ISFIFO(status.st_mode) and writable:
            groups.setdefault((status.st_dev, status.st_ino), []).append(number)
    return list(groups.values())


class Relays:
    """The relay processes of one run."""

    def __init__(self) -> None:
        self._processes: dict[int, int] = {}  # process id: the writing end of its control pipe
        self._replaced: list[Replaced] = []

    def start(self, numbers: list[int], marks: int, sought: Sought) -> None:
        """Put a relay between these descriptors of greenrun's, which are one pipe, and that pipe."""
        source, stand_in = os.pipe()
        with contextlib.suppress(OSError):  # a user may have only so many bytes of pipes
            fcntl.fcntl(stand_in, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        control, control_writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                close_all_but({source, control, numbers[0], marks})
                os.set_blocking(source, False)
                watcher = Watcher(marks, sought)
                forward(source, numbers[0], control, watcher)
                # Whoever still writes must learn at once that nobody reads any more.
                os.close(source)
                watcher.finish()
            finally:
                os._exit(0)
        self._processes[pid] = control_writer
        os.close(source)
        os.close(control)
        self._replaced.append(Replaced(stand_in, numbers))
        os.close(stand_in)

    def give_up(self) -> None:
        """Put the descriptors back: those that relay already find that nobody writes to them, and end."""
        for replaced in self._replaced:
            replaced.restore()
        for control in self._processes.values():
            os.close(control)

    def finish(self, taken: frozenset[int]) -> None:
        """Have the relays forward what is left and wait for them; a signal that would end a program ends the wait."""
        for replaced in self._replaced:
            replaced.restore()
        for control in self._processes.values():
            with contextlib.suppress(BrokenPipeError):
                os.write(control, _ENDED)
            os.close(control)
        while self._any_is_left():
            if signal.sigwaitinfo(taken).si_signo not in signals.HARMLESS:
                return

    def _any_is_left(self) -> bool:
        for pid in list(self._processes):
            try:
                ended = os.waitpid(pid, os.WNOHANG)[0] == pid
            except ChildProcessError:
                ended = True  # reaped along with other children
            if ended:
                del self._processes[pid]
        return bool(self._processes)


def install(marks: int, sought: Sought) -> Relays:
    """Start a relay for each pipe among stdout and stderr. Raises OSError where no process or pipe can be made."""
    relays = Relays()
    try:
        for numbers in pipes():
            relays.start(numbers, marks, sought)
    except OSError:
        relays.give_up()
        raise
    return relays


def forward(source: int, target: int, control: int, watcher: Watcher) -> None:
    """Move bytes from `source` to `target` until all writers are gone, the reader is, or the command has ended.

    A slow reader makes this wait, and with it the command, as a pipe does. Of a command that has ended only what it
    left is moved: processes that it left behind may go on writing for ever.
    """
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(control, select.POLLIN)
    poll.register(target, 0)  # tells when its reader goes, also while nothing is written
    left: int | None = None  # bytes, once the command has ended
    while left is None or left > 0:
        ready = {} if left is not None else dict(poll.poll())
        if ready.get(target, 0) & select.POLLERR:
            return
        if control in ready:
            poll.unregister(control)  # closed without a word: greenrun was killed, but the job goes on
            if os.read(control, 1) == _ENDED:
                left = _unread(source)
        if left is None and source not in ready:
            continue
        try:
            moved = _move(source, target, _PIECE_BYTES if left is None else min(left, _PIECE_BYTES), watcher)
        except BlockingIOError:  # empty
            if left is not None:
                return
            continue
        except OSError:
            return
        if not moved:
            return
        if left is not None:
            left -= moved


def _unread(pipe: int) -> int:
    """Give the number of bytes that a pipe holds."""
    (size,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(size)


def _move(source: int, target: int, size: int, watcher: Watcher) -> int:
    """Move at most `size` bytes and look at them if there is time for it; give their number, 0 at the end."""
    if not watcher.has_room(size):
        moved = _hand_on(source, target, size)
        if moved is not None:
            watcher.skip(moved)
            return moved
    data = os.read(source, size)
    write_all(target, data)
    watcher.see(data)
    return len(data)


def _hand_on(source: int, target: int, size: int) -> int | None:
    """Have the kernel move bytes from pipe to pipe, which is faster than to read them; None where it cannot."""
    splice = getattr(os, "splice", None)  # not in every build of Python
    while splice is not None:
        try:
            return int(splice(source, target, size))
        except BlockingIOError:  # noqa: PERF203  as above
            if not _unread(source):
                raise
            select.select([], [target], [])  # it is full
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
                raise
            splice = None
    return None


def write_all(target: int, data: bytes) -> None:
    """Write everything, waiting as long as it takes, also where somebody made the descriptor non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:  # noqa: PERF203  the exception is rare, and then it waits
            select.select([], [target], [])
