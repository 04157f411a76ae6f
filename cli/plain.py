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
    from greenrun.cli.job import Job


def run(job: Job) -> Outcome:
    """Start the command, stand by until it ends, and tell how. Raises CannotRun."""
    before = time.monotonic()
    pid = spawn(job.command, job.environment, job.inherited)
    early = signals.pending()  # came before there was a command to receive it, the terminal's too
    job.started(pid, before)
    job.wake()  # the daemon's signal may have been among them
    for info in early:
        if info.si_signo not in signals.HARMLESS and not signals.is_from(info, pid):
            signals.forward(info.si_signo, pid)
    while (outcome := reap(pid)) is None:
        info = signal.sigwaitinfo(job.inherited.taken)
        if info.si_signo == signal.SIGIO and info.si_code > 0:
            job.wake()
        elif signals.is_for_the_command(info, pid):
            signals.forward(info.si_signo, pid)
    job.ended(outcome)
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
