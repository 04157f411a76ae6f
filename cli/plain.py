"""Run the command with nothing between it and its terminal, files and pipes."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from greenrun.cli import signals
from greenrun.cli.outcome import Outcome
from greenrun.cli.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


def run(
    command: Sequence[str],
    environment: Mapping[bytes, bytes],
    mask: Iterable[int],
    taken: frozenset[int],
    *,
    ignored: Iterable[int],
    started: Callable[[int, float], None],
    wake: Callable[[], None],
    ended: Callable[[Outcome], None],
) -> Outcome:
    """Start the command, stand by until it ends, and tell how.

    `mask`, `taken` and `ignored` are what `signals.take_over` gave. `started` is called right after the spawn, with
    the command's process id and the CLOCK_MONOTONIC time just before it, `wake` when the daemon may have sent
    something, `ended` when the command is over. Raises CannotRun.
    """
    before = time.monotonic()
    pid = spawn(command, environment, mask, ignored=ignored)
    early = signals.pending()  # came before there was a command to receive it, the terminal's too
    started(pid, before)
    wake()  # the daemon's signal may have been among them
    for info in early:
        if info.si_signo not in signals.HARMLESS and not signals.is_from(info, pid):
            signals.forward(info.si_signo, pid)
    while (outcome := reap(pid)) is None:
        info = signal.sigwaitinfo(taken)
        if info.si_signo == signal.SIGIO and info.si_code > 0:
            wake()
        elif signals.is_for_the_command(info, pid):
            signals.forward(info.si_signo, pid)
    ended(outcome)
    return outcome


def reap(pid: int) -> Outcome | None:
    """Take the news of every child: the outcome if the command has ended, else None; stop where it has stopped.

    Children that are not ours to know are reaped too: as PID 1 greenrun inherits orphans.
    """
    outcome = None
    while True:
        try:
            child, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return outcome
        if child == 0:
            return outcome
        if child != pid:
            continue
        if os.WIFSTOPPED(status):
            signals.stop_with(pid, os.WSTOPSIG(status))
        else:
            outcome = Outcome(status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024)


def stand_by(pid: int) -> Outcome:
    """Wait for the command and nothing else."""
    status = os.waitpid(pid, 0)[1]
    return Outcome(status)
