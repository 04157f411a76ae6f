"""The keeper: leads the session of the pseudo-terminal, owns the command and moves the bytes both ways.

It outlives greenrun if that is killed: the terminal is restored at once, and the command goes on without a keyboard.
The command has a process group of its own, because a stop (Ctrl-Z) does nothing in the session leader's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import termios
import time
from typing import TYPE_CHECKING, NoReturn

from greenrun.cli.descriptors import close_all_but
from greenrun.cli.errors import CannotRun
from greenrun.cli.spawn import spawn
from greenrun.cli.watch.scan import Watcher
from greenrun.cli.watch.statusline import StatusLine

if TYPE_CHECKING:
    from greenrun.cli.job import Job
    from greenrun.cli.watch.scan import Sought

_PIECE_BYTES = 64 * 1024
_KEYS_BYTES = 1024  # well below what a terminal takes without being read
_INPUT, _OUTPUT, _CONTROL, _LOCAL, _CHARACTERS = 0, 1, 2, 3, 6  # positions in what termios.tcgetattr gives


class Keeper:
    """Runs in a process of its own; see the package's documentation for the lines on `orders` and `reports`."""

    def __init__(
        self,
        *,
        master: int,
        slave: int,
        screen: int,
        keyboard: int | None,
        alone: bool,
        orders: int,
        reports: int,
        marks: int,
        sought: Sought,
        undivided: bool,
    ) -> None:
        self._master = master
        os.set_blocking(master, False)
        self._slave: int | None = slave
        # Opened anew, so that waiting for a slow terminal is ours alone: others share the descriptor that came.
        self._screen: int | None = _opened_anew(screen, os.O_WRONLY)
        self._keyboard = None if keyboard is None else _opened_anew(keyboard, os.O_RDONLY)
        self._settings_of = screen
        self._alone = alone
        self._orders: int | None = orders
        self._reports = reports
        self._marks = marks
        self._watcher = Watcher(marks, sought)
        self._status_line = StatusLine()
        self._undivided = undivided  # nobody but the command prints on the terminal, as far as one can know
        self._user_settings: list[int | list[bytes | int]] | None = None  # to restore; None: nothing was changed
        self._line_ends: int | None = None  # OPOST or 0, to be set again; None: the pseudo-terminal is as it should be
        self._output = b""  # for the screen
        self._keys = b""  # for the command
        self._order_rest = b""
        self._pid = 0
        self._stopped = False

    def run(self, job: Job, *, listen: bool) -> NoReturn:
        """Start the command, serve it until it has ended and everything is on the screen, and end this process."""
        os.setsid()
        assert self._slave is not None  # noqa: S101  it is closed after the command has ended
        try:
            fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
            wakeup, wakeup_writer = _wake_on_child()
        except OSError as error:
            self._leave(f"failed {error.errno or errno.EAGAIN}")
        if listen:
            self._take_terminal()
        else:
            self._leave_line_ends()
        before = time.monotonic()
        try:
            self._pid = spawn(job.command, job.environment, job.inherited, own_group=True)
        except CannotRun as error:
            self._leave(f"cannot {error.exit_code} {error.reason}")
        except OSError as error:
            self._leave(f"failed {error.errno or errno.EAGAIN}")
        if listen:
            self._to_foreground()
        self._report(f"started {self._pid} {before!r}")
        kept = {self._master, self._slave, self._screen, self._keyboard, self._settings_of, self._orders}
        close_all_but({n for n in (*kept, self._reports, self._marks, wakeup, wakeup_writer) if n is not None})
        self._serve(wakeup)

    def _leave(self, last_words: str) -> NoReturn:
        self._give_terminal_back()
        self._report(last_words)
        os._exit(0)

    # --- the loop

    def _serve(self, wakeup: int) -> NoReturn:
        while True:
            ready = self._wait(wakeup)
            self._show_note()
            if wakeup in ready:
                os.read(wakeup, 512)
                self._reap()
            if self._orders in ready:
                self._take_orders()
            if self._master in ready:
                self._move_output(ready[self._master])
            if self._keyboard in ready:
                self._read_keys()
            if self._screen in ready:
                self._write_screen()

    def _wait(self, wakeup: int) -> dict[int, int]:
        poll = select.poll()
        poll.register(wakeup, select.POLLIN)
        if self._orders is not None:
            poll.register(self._orders, select.POLLIN)
        events = (0 if self._output else select.POLLIN) | (select.POLLOUT if self._keys else 0)
        if events:
            poll.register(self._master, events)
        if self._output and self._screen is not None:
            poll.register(self._screen, select.POLLOUT)
        if self._keyboard is not None and self._user_settings is not None and not self._keys:
            poll.register(self._keyboard, select.POLLIN)
        due = self._status_line.due()
        return dict(poll.poll(None if due is None else max(due - time.monotonic(), 0) * 1000 + 1))

    def _reap(self) -> None:
        """See whether the command has stopped or ended; others are not ours to have."""
        pid, status, usage = os.wait4(self._pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            self._stopped = True
            self._show_all()
            self._take_note_away()
            self._write_all_output()
            self._give_terminal_back()
            self._report(f"stopped {os.WSTOPSIG(status)}")
            return
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None
        self._show_all()
        self._take_note_away()
        self._write_all_output()
        self._watcher.finish()
        self._leave(f"ended {status} {usage.ru_utime} {usage.ru_stime} {usage.ru_maxrss * 1024}")

    def _show_all(self) -> None:
        """Show what the command has written, down to the last byte, however slow the terminal is."""
        while True:
            self._write_all_output()
            if not self._read_output():
                return

    def _write_all_output(self) -> None:
        while self._output:
            self._write_screen()
            if self._output and self._screen is not None:
                select.select([], [self._screen], [])

    # --- bytes

    def _move_output(self, events: int) -> None:
        if events & select.POLLOUT:
            self._write_keys()
        if events & (select.POLLIN | select.POLLHUP) and not self._output:
            self._read_output()

    def _read_output(self) -> bool:
        """Forward one piece, then look at it; False if there is none now."""
        data = self._all_there_is()
        if not data:
            return False
        self._output += self._status_line.output(data, time.monotonic())
        self._write_screen()
        self._watcher.see(data)
        return True

    def _all_there_is(self) -> bytes:
        """Give what the command has written, up to one piece: a terminal hands out no more than a page at a time."""
        pages, size = [], 0
        with contextlib.suppress(OSError):  # EAGAIN: no more there; EIO: nobody has it open any more
            while size < _PIECE_BYTES and (page := os.read(self._master, _PIECE_BYTES)):
                pages.append(page)
                size += len(page)
        return b"".join(pages)

    def _write_screen(self) -> None:
        if self._screen is None:
            self._output = b""
            return
        try:
            self._output = self._output[os.write(self._screen, self._output) :]
        except BlockingIOError:
            return
        except OSError:  # the terminal has hung up; the command is told by a signal, as it would be without us
            self._screen = None
            self._output = b""

    def _read_keys(self) -> None:
        if self._keyboard is None:
            return
        try:
            self._keys = os.read(self._keyboard, _KEYS_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._keys = b""
        if not self._keys:  # hung up
            self._keyboard = None
            return
        self._write_keys()

    def _write_keys(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._keys = self._keys[os.write(self._master, self._keys) :]

    # --- notes

    def _show_note(self) -> None:
        due = self._status_line.due()
        if due is None or time.monotonic() < due or self._output:
            return
        self._tell_note()

    def _tell_note(self) -> None:
        try:
            columns, rows = os.get_terminal_size(self._settings_of)
        except OSError:
            columns, rows = 80, 24
        self._output += self._status_line.show(time.monotonic(), owned=self._owns(), columns=columns, rows=rows)
        self._write_screen()

    def _owns(self) -> bool:
        """Whether the terminal is the command's and ours alone, and the command leaves its lines to the terminal."""
        if not self._undivided or self._user_settings is None:
            return False
        try:
            settings = termios.tcgetattr(self._master)
        except termios.error:
            return False
        return bool(settings[_LOCAL] & termios.ICANON and settings[_OUTPUT] & termios.OPOST)

    def _take_note_away(self) -> None:
        self._output += self._status_line.erase()
        self._write_screen()

    # --- greenrun

    def _report(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._reports, line.encode() + b"\n")

    def _take_orders(self) -> None:
        assert self._orders is not None  # noqa: S101  only polled while it is open
        data = os.read(self._orders, 4096)
        if not data:
            self._go_on_alone()
            return
        *lines, self._order_rest = (self._order_rest + data).split(b"\n")
        for line in lines:
            word, *operands = line.decode().split(" ", 2)
            if word == "signal":
                self._signal(int(operands[0]), to_group=operands[1] == "group")
            elif word == "resume":
                self._resume(foreground=operands[0] == "1", listen=operands[1] == "1")
            elif word == "size":
                self._take_note_away()  # it comes back as wide as the window is now
                with contextlib.suppress(OSError):
                    copy_size(self._settings_of, self._master)
            elif word == "note":
                self._status_line.tell(operands[1], time.monotonic(), lasting=operands[0] == "1")
                self._tell_note()

    def _go_on_alone(self) -> None:
        """Do without greenrun, which was killed: the terminal is its owner's again, and the command goes on."""
        self._orders = None
        self._keyboard = None
        self._take_note_away()
        if not self._output:  # what the command has written already has the line ends of before
            self._read_output()
        self._resume(foreground=True, listen=False)  # a read from the terminal waits for ever instead of stopping

    def _signal(self, number: int, *, to_group: bool) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if to_group:
                os.killpg(self._pid, number)
            else:
                os.kill(self._pid, number)

    def _resume(self, *, foreground: bool, listen: bool) -> None:
        if listen:
            self._take_terminal()
        else:
            self._give_terminal_back()
        if foreground:
            self._to_foreground()
        elif self._slave is not None:
            with contextlib.suppress(OSError):
                os.tcsetpgrp(self._slave, os.getpgrp())
        if self._stopped:
            self._stopped = False
            self._signal(signal.SIGCONT, to_group=True)

    def _to_foreground(self) -> None:
        """Put the command's group into the foreground, unless one of its own jobs has it."""
        if self._slave is not None:
            with contextlib.suppress(OSError):
                if os.tcgetpgrp(self._slave) == os.getpgrp():
                    os.tcsetpgrp(self._slave, self._pid)

    # --- the user's terminal

    def _take_terminal(self) -> None:
        """Let every key through to the pseudo-terminal, whose settings then decide what it means."""
        with contextlib.suppress(OSError, termios.error):
            copy_size(self._settings_of, self._master)
            if self._user_settings is None:
                settings = termios.tcgetattr(self._settings_of)
                termios.tcsetattr(self._settings_of, termios.TCSADRAIN, _raw(settings, self._alone))
                self._user_settings = settings
                self._make_line_ends()

    def _give_terminal_back(self) -> None:
        settings, self._user_settings = self._user_settings, None
        if settings is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._settings_of, termios.TCSADRAIN, settings)
        self._leave_line_ends()

    def _leave_line_ends(self) -> None:
        """Have the pseudo-terminal pass line ends as they are, while the user's terminal, not being raw, makes them."""
        if self._alone and self._line_ends is None:
            with contextlib.suppress(termios.error):
                settings = termios.tcgetattr(self._master)
                self._line_ends = settings[_OUTPUT] & termios.OPOST
                settings[_OUTPUT] &= ~termios.OPOST
                termios.tcsetattr(self._master, termios.TCSANOW, settings)

    def _make_line_ends(self) -> None:
        """Have the pseudo-terminal make line ends again, if the command wants them."""
        if self._line_ends is not None:
            with contextlib.suppress(termios.error):
                settings = termios.tcgetattr(self._master)
                settings[_OUTPUT] |= self._line_ends
                termios.tcsetattr(self._master, termios.TCSANOW, settings)
            self._line_ends = None


def copy_size(source: int, target: int) -> None:
    """Give one terminal the size of another, in rows and columns and in pixels."""
    size = fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(8))
    if size != fcntl.ioctl(target, termios.TIOCGWINSZ, bytes(8)):
        fcntl.ioctl(target, termios.TIOCSWINSZ, size)


def _raw(settings: list[int | list[bytes | int]], alone: bool) -> list[int | list[bytes | int]]:
    """Change settings to raw; not `alone`: the keys that make signals and the line ends stay as they are."""
    flags: list[int] = [value for value in settings[:4] if isinstance(value, int)]
    flags[_INPUT] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
        | termios.IXOFF
    )
    flags[_LOCAL] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    if alone:
        flags[_OUTPUT] &= ~termios.OPOST
        flags[_LOCAL] &= ~termios.ISIG
    characters = settings[_CHARACTERS]
    assert isinstance(characters, list)  # noqa: S101  by the definition of termios.tcgetattr
    characters = list(characters)
    characters[termios.VMIN] = 1
    characters[termios.VTIME] = 0
    return [*flags, *settings[4:_CHARACTERS], characters]


def _opened_anew(descriptor: int, mode: int) -> int:
    """Open the same terminal once more, non-blocking; the descriptor itself where that is not allowed."""
    try:
        return os.open(f"/proc/self/fd/{descriptor}", mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return descriptor


def _wake_on_child() -> tuple[int, int]:
    """Have a pipe tell of SIGCHLD, so that one poll waits for everything; give its reading and its writing end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    return reader, writer
