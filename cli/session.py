"""begin, spawn, end: the life of one measured run as its parent sees it.

Only the daemon touches the log directory. The two talk over two pipes: control, on which the daemon hears `spawned`
and `exited` (and, by end of file, that greenrun is gone), and news, on which it answers.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from greenrun.cli import signals
from greenrun.cli.descriptors import pipe, tell_by_signal, tell_no_more
from greenrun.cli.job import Note
from greenrun.cli.patience import Patience

if TYPE_CHECKING:
    from greenrun.cli.config import Config
    from greenrun.cli.identity import Run
    from greenrun.cli.outcome import Outcome

# Each as Patience takes them: for a daemon that hangs, so much more for one on a busy machine, what is called hanging.
_READY_WAIT = (0.28, 1.0, 0.08)  # the job does not wait longer for the daemon
END_WAIT = (1.85, 3.0, 0.35)  # with what comes after it, the job's end is no more than two seconds late
_REAP_WAIT_SECONDS = 0.04
_MOST_DAEMONS = 4  # one that dies is replaced; one that keeps dying is not
NEWLINE = b"\x1e"  # stands for the line ends of a summary, for news comes in lines


class Session:
    """A run that is being measured. Nothing here raises for what breaks in the daemon: the job goes on."""

    def __init__(self, config: Config, run: Run, *, watched: bool) -> None:
        """Fork the daemon and wait for it to be ready, at most three tenths of a second, longer on a busy machine.

        Raises OSError where no process or pipe can be made.
        """
        self.config = config
        self.run = run
        self.notes: list[Note] = []
        self.summary: str | None = None
        self.over_budget = ""  # the sentence, where the run went over a budget that is not only to warn
        self.has_log = False  # until the daemon says so: markers must not fail the job
        self.marks: int | None = None  # where a relay writes markers
        self._marks_reader: int | None = None
        self._ready = False
        self._news = b""
        self._said: list[bytes] = []
        self._daemons = 0
        if watched:
            self._marks_reader, self.marks = pipe()
            os.set_blocking(self.marks, False)
        self._start_daemon(resume=False)
        self._wait_until_ready()
        if self._news_reader < 0:
            raise ChildProcessError("the sampler died at its start")
        if not self._ready:
            self._say("unready")
        self._wake_by_signal()

    def _start_daemon(self, *, resume: bool) -> None:
        control_reader, self._control = pipe()
        self._news_reader, news = pipe()
        self._daemons += 1
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                from greenrun.cli import daemon

                daemon.main(
                    daemon.Setup(
                        config=self.config,
                        run=self.run,
                        parent_pid=parent,
                        control=control_reader,
                        news=news,
                        marks=self._marks_reader,
                        resume=resume,
                    )
                )
            finally:
                os._exit(1)
        self.daemon_pid = pid
        os.close(control_reader)
        os.close(news)
        os.set_blocking(self._news_reader, False)
        os.set_blocking(self._control, False)  # a stopped daemon must not stop us

    def _wake_by_signal(self) -> None:
        """Have SIGIO tell when there is news, so that one wait serves signals, children and the daemon."""
        tell_by_signal(self._news_reader)

    def _wait_until_ready(self) -> None:
        patience = Patience(*_READY_WAIT)
        while not self._ready and self._news_reader >= 0 and (left := patience.left(self.daemon_pid)) > 0.0:
            if select.select([self._news_reader], [], [], left)[0]:
                self.look()

    # --- what the daemon hears

    def spawned(self, pid: int, monotonic: float) -> None:
        """Tell that the command runs; `monotonic` is the time just before it was started."""
        self._say(f"spawned {pid} {monotonic!r}")

    def not_started(self, exit_code: int, reason: str) -> None:
        """Tell that there is no command to measure."""
        self._say(f"not-started {exit_code} {reason}")

    def exited(self, outcome: Outcome) -> None:
        """Tell how the command ended, which only its parent knows for certain."""
        usage = f"{outcome.user_seconds} {outcome.system_seconds} {outcome.max_rss_bytes}"
        self._say(f"exited {outcome.status} {time.monotonic()!r} {usage}")

    def _say(self, line: str) -> None:
        data = line.encode() + b"\n"
        self._said.append(data)
        with contextlib.suppress(OSError):
            os.write(self._control, data)

    # --- what it answers

    def look(self) -> None:
        """Take the news that is there now; replace a daemon that has died."""
        while self._news_reader >= 0:
            try:
                data = os.read(self._news_reader, 65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._replace_daemon()
                return
            self._news += data
            *lines, self._news = self._news.split(b"\n")
            for line in lines:
                self._hear(line)

    def _hear(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"ready":
            self._ready = True
            self.has_log = not rest
        elif word in (b"note", b"revision"):
            self.notes.append(Note(rest.decode("utf-8", "replace"), lasting=word == b"note"))
        elif word == b"budget":
            self.over_budget = rest.decode("utf-8", "replace")
        elif word == b"summary":
            self.summary = rest.replace(NEWLINE, b"\n").decode("utf-8", "replace")

    def _replace_daemon(self) -> None:
        """Fork another daemon that goes on with the log, unless this one has done its work or they keep dying."""
        os.close(self._news_reader)
        os.close(self._control)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.daemon_pid, os.WNOHANG)
        if self.summary is not None or self._daemons >= _MOST_DAEMONS:
            self._news_reader = self._control = -1
            return
        try:
            self._start_daemon(resume=True)
        except OSError:
            self._news_reader = self._control = -1
            return
        self._news = b""
        self._wake_by_signal()
        for data in self._said:
            with contextlib.suppress(OSError):
                os.write(self._control, data)

    def let_go(self) -> None:
        """Hear no more news: this process becomes the command, which the daemon follows to its end."""
        self.spawned(os.getpid(), time.monotonic())
        if self._news_reader >= 0:
            tell_no_more(self._news_reader)
            os.close(self._news_reader)

    def finish(self, taken: frozenset[int]) -> str | None:
        """Wait for the summary, almost two seconds, longer on a busy machine, and give its text; None if there is none.

        A signal that would end a program ends the wait at once: the command is over, and greenrun only reports.
        """
        patience = Patience(*END_WAIT)
        if self.marks is not None:
            os.close(self.marks)  # the relays are gone: this is the end of the file, the daemon waits for no more
            self.marks = None
        self.look()
        while self.summary is None and self._news_reader >= 0:
            left = patience.left(self.daemon_pid)
            if left == 0.0:
                # It has had its time; a daemon that is stopped or hangs must not stay behind.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.daemon_pid, signal.SIGKILL)
                break
            info = signal.sigtimedwait(taken, left)
            if info is None:
                continue
            if info.si_signo not in signals.HARMLESS:
                return None  # the daemon goes on and writes the record without us
            self.look()
        self._reap_daemon()
        return self.summary

    def _reap_daemon(self) -> None:
        """Wait for the daemon's death, which follows its summary: in a container nobody else may ever reap it."""
        deadline = time.monotonic() + _REAP_WAIT_SECONDS
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.daemon_pid, os.WNOHANG)[0] == 0:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                signal.sigtimedwait({signal.SIGCHLD}, left)
