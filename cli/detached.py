"""The sampler daemon of a block or of a scheduler's job: started by exec, ended by a signal.

A library must not fork a daemon: its process has threads and drivers (CUDA) that do not survive that. So another Python
is started, in isolated mode, and detached from it. Between the beginning and the end of what it measures nobody has to
hold anything for it, no pipe and no child; it is ended by whoever has its handle, which may be another process.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any, NoReturn

from greenrun.cli import daemon, vault
from greenrun.cli.config import Config
from greenrun.cli.descriptors import pipe
from greenrun.cli.handle import ENDED, FAILED, Request
from greenrun.cli.identity import Run
from greenrun.cli.session import NEWLINE


def main(request: dict[str, Any]) -> NoReturn:
    """Live as the daemon that `handle.begin` has asked for; stdout is where it hears of it."""
    told = Request(**request)
    vault.put_away(told.config["electricitymaps_url"] or "")
    run = Run(**told.run)
    run = run._replace(command=tuple(run.command))  # JSON has lists alone
    setup = daemon.Setup(
        config=Config(**told.config),
        run=run,
        parent_pid=told.follow or 0,
        control=0,  # another takes its place
        news=os.dup(1),
        marks=None,
        resume=told.resume,
    )
    if told.job is None:
        daemon.main(setup, lambda setup: Detached(setup, told))
    from greenrun.cli.slurm.jobdaemon import JobDaemon

    daemon.main(setup, lambda setup: JobDaemon(setup, told))


class Detached(daemon.Daemon):
    """A daemon that listens to signals."""

    def __init__(self, setup: daemon.Setup, request: Request) -> None:
        # A signal becomes a byte, its number, on the control pipe: there a daemon hears that all is over.
        reader, numbers = pipe()
        super().__init__(setup._replace(control=reader))
        os.set_blocking(numbers, False)
        signal.set_wakeup_fd(numbers)
        self._alone = True
        self._request = request
        self._ready_at = 0.0
        self._told: bytes | None = None  # the numbers of the signals
        for number in (ENDED, FAILED):
            signal.signal(number, lambda _number, _frame: None)
        self._introduce()

    def _introduce(self) -> None:
        """Say who this is. Where nobody hears it nobody would ever end this run: then BrokenPipeError ends it."""
        os.write(self._setup.news, b"pid %d\n" % os.getpid())

    def _tell_ready(self) -> None:
        self._ready_at = min(time.monotonic(), self._request.patience)
        super()._tell_ready()

    def _listen(self) -> None:
        super()._listen()
        begun = next((event["t"] for event in self._earlier_events if event["event"] == "spawned"), None)
        self._spawned(self._request.follow, self._ready_at if begun is None else self._run.monotonic + begun)

    def _follow(self, pid: int) -> None:
        if not self._request.resume:  # what the process had used before is in the log of the first daemon alone
            self._sampler.follow(pid, from_now=True)
        self._watch(pid)

    def _note(self, text: str, /, *, lasting: bool) -> None:
        """Tell nothing: nobody listens before the end, and the pipe would fill."""

    def _hear(self) -> None:
        self._job_ended_at = self._sampler.read_all()  # first of all
        if self._request.ended is not None:
            self._job_ended_at = min(self._job_ended_at, self._request.ended)
        self._told = os.read(self._setup.control, 64)

    def _write_exited(self) -> None:
        if self._told is None:
            super()._write_exited()
            return
        fields = {"exit_code": None, "signal": None, "how": "told", "exception": FAILED in self._told, "rusage": None}
        self._sampler.write("exited", self._job_ended_at, **fields, **self._known_of_end())

    def _known_of_end(self) -> dict[str, Any]:
        """Give more fields of `exited`."""
        return {}

    def _report(self) -> None:
        from greenrun.cli import ending  # which is not to hold up the start
        from greenrun.reports import jsonfile

        record = ending.make(self._writer.run_dir, self._writer.unwritten)
        shown = None if self._writer.run_dir is None else self._run.shown_dir
        os.set_blocking(self._setup.news, True)
        for word, text in ((b"record ", jsonfile.render(record)), (b"summary ", ending.tell(record, shown))):
            self._say_all(word + text.encode("utf-8", "replace").replace(b"\n", NEWLINE) + b"\n")

    def _say_all(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._setup.news, data) :]
        except OSError:
            return  # nobody listens; it stands in the run directory
