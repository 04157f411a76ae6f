"""Put a pseudo-terminal in the place of the user's terminal: greenrun's side of it.

greenrun stays in the shell's session: it is what the shell stops, continues and waits for. The keeper leads the new
session, owns the command and moves the bytes. The two talk over two pipes of text lines:

    orders   `signal N one|group`, `resume FOREGROUND LISTEN` (0 or 1 each), `size`, `note LASTING TEXT` (0 or 1)
    reports  `started PID TIME`, `cannot CODE REASON`, `stopped N`, `ended STATUS USER SYSTEM MAXRSS`
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import termios
from typing import TYPE_CHECKING

from greenrun.cli import signals
from greenrun.cli.descriptors import tell_by_signal, tell_no_more
from greenrun.cli.errors import CannotRun
from greenrun.cli.outcome import Outcome
from greenrun.cli.watch.descriptors import Replaced
from greenrun.cli.watch.keeper import Keeper, copy_size

if TYPE_CHECKING:
    from types import TracebackType

    from greenrun.cli.job import Job, Note
    from greenrun.cli.watch.scan import Sought

_FOREGROUND_CHECK_SECONDS = 0.5  # a shell that brings a running job to the foreground tells nobody
# What the terminal sends to our process group; the command is in another one and has to get it from us.
_FROM_THE_TERMINAL = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP))
_OUTPUT, _LOCAL = 1, 3  # positions in what termios.tcgetattr gives
_BACKGROUND_STOPS = frozenset((signal.SIGTTIN, signal.SIGTTOU))


def find_terminal() -> int | None:
    """Give the descriptor of stdout or stderr, whichever first is a terminal; None if neither is."""
    return next((number for number in (1, 2) if os.isatty(number)), None)


def open_screen() -> Screen | None:
    """Make a pseudo-terminal for the terminal that stdout or stderr is.

    None if neither is one. Raises OSError where this machine has no pseudo-terminal to give.
    """
    user = find_terminal()
    if user is None:
        return None
    master, slave = os.openpty()
    try:
        return Screen(user, master, slave)
    except OSError:
        os.close(master)
        os.close(slave)
        raise


class Screen:
    """A pseudo-terminal between the user's terminal `user` and a command; made ready by entering it with `with`."""

    def __init__(self, user: int, master: int, slave: int) -> None:
        self._master = master
        self._slave = slave
        self._user = os.dup(user)
        self._listening = self._is_in_foreground()
        device = os.fstat(user).st_rdev
        numbers = [n for n in (0, 1, 2) if _is_terminal(n, device)]
        self._keyboard: int | None = None
        # In a pipeline the keys that make signals are meant for all of it, so the terminal must go on to make them.
        self._alone = {0, 1} <= set(numbers)
        # A status line may only stand where nobody else prints: no neighbour in a pipeline, and no terminal without it.
        self._undivided = (
            2 in numbers
            and not any(_may_have_neighbours(n) for n in (0, 1))
            and os.environ.get("TERM", "dumb") != "dumb"
        )
        self._copy_settings()
        try:
            self._keyboard = next((os.dup(n) for n in numbers if _is_open_for(n, os.O_RDONLY)), None)
            self._replaced = Replaced(slave, numbers)
        except OSError:
            for descriptor in (self._user, self._keyboard):
                if descriptor is not None:
                    os.close(descriptor)
            raise
        self._orders = -1
        self._reports = -1
        self._unread = b""
        self._keeper_pid = 0
        self._keeper_status: int | None = None
        self._keeper_is_lost = False
        self._pid: int | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._replaced.restore()
        if self._reports >= 0:
            tell_no_more(self._reports)
        for descriptor in (self._master, self._slave, self._user, self._keyboard, self._orders, self._reports):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)

    def run(self, job: Job, marks: int, sought: Sought) -> Outcome:
        """Do as `plain.run` does, with the command behind the keeper."""
        if self._undivided:
            job.tell = self._tell
        orders, self._orders = os.pipe()
        self._reports, reports = os.pipe()
        tell_by_signal(self._reports)
        self._keeper_pid = os.fork()
        if self._keeper_pid == 0:
            try:
                keeper = Keeper(
                    master=self._master,
                    slave=self._slave,
                    screen=self._user,
                    keyboard=self._keyboard,
                    alone=self._alone,
                    orders=orders,
                    reports=reports,
                    marks=marks,
                    sought=sought,
                    undivided=self._undivided,
                )
                keeper.run(job, listen=self._listening)
            finally:
                os._exit(1)
        os.close(orders)
        os.close(reports)
        os.set_blocking(self._orders, False)  # a keeper that was stopped must not stop us
        while True:
            outcome = self._hear_reports(job)
            if outcome is not None:
                if not self._keeper_is_lost:
                    job.ended(outcome)
                return outcome
            self._take_signal(job)

    # --- what the keeper tells

    def _hear_reports(self, job: Job) -> Outcome | None:
        while True:
            try:
                data = os.read(self._reports, 4096)
            except BlockingIOError:
                return None
            if not data:
                return self._keeper_is_gone()
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                outcome = self._hear(line.decode(), job)
                if outcome is not None:
                    return outcome

    def _hear(self, line: str, job: Job) -> Outcome | None:
        word, _, rest = line.partition(" ")
        if word == "started":
            pid, before = rest.split(" ")
            self._pid = int(pid)
            job.started(self._pid, float(before))
        elif word == "cannot":
            code, _, reason = rest.partition(" ")
            raise CannotRun(int(code), reason)
        elif word == "failed":
            raise OSError(int(rest), os.strerror(int(rest)))
        elif word == "stopped":
            self._stop(int(rest))
        elif word == "ended":
            status, user_seconds, system_seconds, max_rss_bytes = rest.split()
            return Outcome(int(status), float(user_seconds), float(system_seconds), int(max_rss_bytes))
        return None

    def _keeper_is_gone(self) -> Outcome:
        """Give the keeper's end, for greenrun to end like it: of the command only its daemon may still hear.

        Raises OSError where it ended by itself before there was a command.
        """
        self._keeper_is_lost = True
        if self._keeper_status is None:
            with contextlib.suppress(ChildProcessError):
                self._keeper_status = os.waitpid(self._keeper_pid, 0)[1]
        if self._pid is None and self._keeper_status is not None and os.WIFEXITED(self._keeper_status):
            raise ChildProcessError(errno.ECHILD, "the process behind the terminal came to nothing")
        return Outcome(signal.SIGHUP if self._keeper_status is None else self._keeper_status)

    # --- signals

    def _take_signal(self, job: Job) -> None:
        if self._listening:
            info = signal.sigwaitinfo(job.inherited.taken)
        else:
            timed = signal.sigtimedwait(job.inherited.taken, _FOREGROUND_CHECK_SECONDS)
            if timed is None:
                if self._is_in_foreground():
                    self._resume()
                return
            info = timed
        number = info.si_signo
        if number == signal.SIGIO and info.si_code > 0:
            job.wake()
        elif number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGWINCH:
            self._order("size")
        elif number == signal.SIGCONT:
            self._resume()
        elif info.si_code > 0:
            if number in _FROM_THE_TERMINAL:
                self._order(f"signal {number} group")
        elif self._pid is None or signals.is_for_the_command(info, self._pid):
            self._order(f"signal {number} one")

    def _reap(self) -> None:
        """Reap the keeper, and what else greenrun may have inherited as PID 1."""
        with contextlib.suppress(ChildProcessError):
            while (child := os.waitpid(-1, os.WNOHANG))[0]:
                if child[0] == self._keeper_pid:
                    self._keeper_status = child[1]

    def _stop(self, number: int) -> None:
        """Stop as the command was stopped; the keeper has given the terminal back already."""
        if number in _BACKGROUND_STOPS and self._is_in_foreground():
            self._resume()  # it wanted the terminal before it was told that it has it
            return
        if not signals.has_terminal():
            self._order("resume 1 0")
            return
        if number == signal.SIGSTOP:
            os.kill(os.getpid(), number)
        else:
            # To the whole group, as the terminal would: a script or a make around greenrun stops with it.
            os.killpg(0, number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
            signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        if signal.sigtimedwait({signal.SIGCONT}, 0) is None and not self._is_in_foreground():
            # We did not stop: nobody is there to continue us (an orphaned group). The command shall not try again.
            self._order("resume 1 0")
            return
        self._resume()

    def _resume(self) -> None:
        self._listening = self._is_in_foreground()
        self._order(f"resume {self._listening:d} {self._listening:d}")

    def _tell(self, note: Note) -> None:
        """Have the keeper tell it, which knows where the cursor stands."""
        self._order(f"note {note.lasting:d} {note.text}")

    def _order(self, line: str) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._orders, line.encode() + b"\n")

    def _is_in_foreground(self) -> bool:
        """Whether the terminal is ours to read; one that is not our controlling terminal is nobody else's either."""
        try:
            return os.tcgetpgrp(self._user) == os.getpgrp()
        except OSError:
            return True

    def _copy_settings(self) -> None:
        """Give the pseudo-terminal the settings and the size of the user's."""
        with contextlib.suppress(OSError, termios.error):
            copy_size(self._user, self._slave)
            theirs = termios.tcgetattr(self._user)
            ours = termios.tcgetattr(self._slave)
            if self._listening:
                ours = theirs
            else:  # the settings are those of whoever is in the foreground, but for what stops the background
                ours[_LOCAL] |= theirs[_LOCAL] & termios.TOSTOP
            if not self._alone:  # others write to the user's terminal too, so it goes on to make the line ends
                ours[_OUTPUT] &= ~termios.OPOST
            termios.tcsetattr(self._slave, termios.TCSANOW, ours)


def _is_terminal(number: int, device: int) -> bool:
    try:
        status = os.fstat(number)
    except OSError:
        return False  # closed
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == device


def _may_have_neighbours(number: int) -> bool:
    """Whether a program at the other end of stdin or stdout may print on the terminal too."""
    try:
        mode = os.fstat(number).st_mode
    except OSError:
        return False  # closed
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _is_open_for(number: int, mode: int) -> bool:
    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE in (mode, os.O_RDWR)
