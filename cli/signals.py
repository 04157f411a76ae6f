"""Signals between the terminal, greenrun and the command.

greenrun blocks every signal before it starts anything and takes them one by one. What the terminal sends goes to the
whole process group and has reached the command already; what is sent to greenrun alone is forwarded, once.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from greenrun.cli import procstat

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenrun.cli.outcome import Outcome

# Signals whose default action writes a core file: signal(7).
_CORE = frozenset(
    (
        signal.SIGQUIT,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGSEGV,
        signal.SIGXCPU,
        signal.SIGXFSZ,
        signal.SIGSYS,
    )
)
# Their default action is nothing, or to go on: they never end a wait.
HARMLESS = frozenset((signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGIO))
_STOPS = frozenset((signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU))
_PR_SET_DUMPABLE = 4  # linux/prctl.h


class Inherited(NamedTuple):
    """What greenrun was started with: the mask of blocked signals, and those ignored that it no longer ignores.

    `taken` are the signals that it has blocked and takes one by one instead.
    """

    mask: frozenset[int]
    taken: frozenset[int]
    ignored: frozenset[int]


def take_over() -> Inherited:
    """Block every signal that can be, and keep how it was before.

    What was ignored when greenrun was started (nohup) stays ignored, here and in the command: a signal that is
    blocked is kept although it is ignored, so those are not blocked. SIGCHLD and SIGIO are the exceptions: while the
    first is ignored the kernel reaps the command behind our back, and the second brings the daemon's news. SIGPIPE
    and SIGXFSZ stay ignored too, as Python has set them: what greenrun writes itself must not become a signal that
    looks like one for the command.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    no_longer_ignored = frozenset(number for number in (signal.SIGCHLD, signal.SIGIO) if _is_ignored(number))
    for number in no_longer_ignored:
        signal.signal(number, signal.SIG_DFL)
    taken = frozenset(n for n in signal.valid_signals() if not _is_ignored(n)) - {signal.SIGKILL, signal.SIGSTOP}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    return Inherited(frozenset(mask), taken, no_longer_ignored)


def give_back(inherited: Inherited) -> None:
    """Undo `take_over`, because this process becomes the command; news of the daemon's must not end it."""
    for number in (signal.SIGIO, *inherited.ignored):
        signal.signal(number, signal.SIG_IGN)  # takes away what is waiting, too
    if signal.SIGIO not in inherited.ignored:
        signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, inherited.mask)


def pending() -> list[signal.struct_siginfo]:
    """Take what is waiting now, without waiting for more."""
    found = []
    while (info := signal.sigtimedwait(signal.sigpending(), 0)) is not None:
        found.append(info)
    return found


def is_for_the_command(info: signal.struct_siginfo, command_pid: int) -> bool:
    """Whether a signal that greenrun took must be forwarded.

    A positive si_code means the kernel made it: the terminal's signals go to the whole foreground group, the
    command included. What the command itself or a descendant of it sends is its own affair.
    """
    if info.si_signo == signal.SIGCHLD or info.si_code > 0:
        return False
    return not is_from(info, command_pid)


def is_from(info: signal.struct_siginfo, command_pid: int) -> bool:
    """Whether the command or a living descendant of it has sent a signal."""
    return info.si_code <= 0 and info.si_pid > 0 and procstat.descends(info.si_pid, command_pid)


def forward(number: int, pid: int) -> None:
    """Send a signal to the command; that it has ended meanwhile is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def stop_with(command_pid: int, number: int, resumed: Callable[[], None] | None = None) -> None:
    """Stop greenrun as the command was stopped, so that the shell sees a stopped job; return when it goes on.

    Without a terminal nobody could ever continue us, so then greenrun does not stop. Kill first, then unblock: the
    other order leaves a moment in which another stop signal would be taken.
    """
    if not has_terminal():
        return
    os.kill(os.getpid(), number)
    if number != signal.SIGSTOP:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    # The shell's SIGCONT went to the whole group: it is the command's already.
    signal.sigtimedwait({signal.SIGCONT}, 0)
    if resumed is not None:
        resumed()
    # SIGCONT has cleared older stop signals: one that waits now is a new stop, and the command's state comes of it.
    if procstat.is_stopped(command_pid) and not signal.sigpending() & _STOPS:
        forward(signal.SIGCONT, command_pid)


def has_terminal() -> bool:
    """Whether greenrun has a controlling terminal, and with it somebody who may continue a stopped job."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def leave(outcome: Outcome) -> NoReturn:
    """End greenrun as the command ended: same exit code, or death by the same signal without a core of our own."""
    number = outcome.signal
    if number is None:
        os._exit(outcome.exit_code or 0)
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    if number in _CORE:
        _never_dump()
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os._exit(128 + number)  # PID 1 of a container cannot die by a signal


def _never_dump() -> None:
    import ctypes
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # the limit does not hold where cores go to a pipe


def _is_ignored(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
