"""The daemon of a SLURM job on a node: begun by the prolog, ended by the epilog, or by itself where none comes.

It has no process to follow: the job's do not exist yet when it begins. It looks for their cgroup, once a second, and
when that has been gone for a while the job is over, whether an epilog says so or not.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.cli import handle
from greenrun.cli.detached import Detached
from greenrun.cli.slurm import spool
from greenrun.cli.slurm.jobgroup import JobGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenrun.cli.daemon import Setup
    from greenrun.cli.handle import Request

_LOOK_SECONDS = 0.5  # a job's last look at its CPU time is no older: its cgroup is gone when the epilog comes
_RESTARTS = ("SLURM_JOB_RESTART_COUNT", "SLURM_RESTART_COUNT", "RESTART_COUNT")


class Job(NamedTuple):
    """The job that is measured, and how long to wait for its processes."""

    job_id: str
    node: str
    uid: int
    never_seconds: float = 600.0  # without a process of the job's there was none, or there will be none
    gone_seconds: float = 30.0  # between two steps of a job there may be no process


class Watch:
    """Decides from the looks for a job's processes when it is over without an epilog; times are CLOCK_MONOTONIC."""

    def __init__(self, began: float, never_seconds: float, gone_seconds: float) -> None:
        self._began = began
        self._never_seconds, self._gone_seconds = never_seconds, gone_seconds
        self._seen_at: float | None = None

    def see(self, now: float, present: bool) -> float | None:
        """Take a look at `now`; give when the job was over, None while it may go on."""
        if present:
            self._seen_at = now
        elif self._seen_at is None:
            return now if now - self._began >= self._never_seconds else None
        elif now - self._seen_at >= self._gone_seconds:
            return self._seen_at
        return None


class JobDaemon(Detached):
    """A daemon that keeps its handle in the spool and looks for the job's processes."""

    _is_late = False  # the prolog did not wait for it

    def __init__(self, setup: Setup, request: Request) -> None:
        super().__init__(setup, request)
        told = self._job_told = Job(**(request.job or {}))
        self._group = JobGroup(told.job_id, told.uid, told.node, self._config.sysfs_root, self._config.procfs_root)
        # To a late one the job's processes may have been and gone, its epilog too.
        never_seconds = told.gone_seconds if self._is_late else told.never_seconds
        self._absence = Watch(time.monotonic(), never_seconds, told.gone_seconds)
        self._next_look = 0.0
        self._entry: spool.Entry | None = None

    def _introduce(self) -> None:
        """Say who this is, if anybody listens: the epilog finds it in the spool."""
        try:
            super()._introduce()
        except BrokenPipeError:
            self._is_late = True

    # --- the spool

    def _make_run_dir(self) -> None:
        """Make the run directory and keep the handle; without a place for the record there is nothing to live for."""
        job = self._job_told
        try:
            spool.prepare(self._config.spool)
            earlier = spool.live(self._config.spool, job.job_id, job.node)
            if earlier is not None and handle.is_alive(earlier.handle):
                if _restarts(earlier.handle.run_dir) == _restarts_here():
                    self._refuse("a daemon measures it already")
                handle.send(earlier.handle, handle.ENDED)  # that run of the job is over, whoever should have said so
            spool.make_run_dir(self._run.run_dir)
            self._entry = spool.keep(
                self._config.spool, job.job_id, job.node, handle.of_process(os.getpid(), self._run)
            )
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            self._refuse(f"the job is not measured, for its record cannot be kept ({reason})")

    def _refuse(self, reason: str) -> None:
        self._say(b"refused " + reason.encode("utf-8", "replace"))
        with contextlib.suppress(OSError):
            os.rmdir(self._run.run_dir)
        os._exit(1)

    # --- the job

    def _listen(self) -> None:
        super()._listen()
        self._sampler.follow_usage(lambda: self._group.usage)

    def _longest_sleep_seconds(self) -> float:
        return min(super()._longest_sleep_seconds(), max(self._next_look - time.monotonic(), 0.0))

    def _wait_once(self) -> None:
        super()._wait_once()
        now = time.monotonic()
        if now < self._next_look or self._is_over():
            return
        self._next_look = now + _LOOK_SECONDS
        self._job_ended_at = self._absence.see(now, self._group.look())
        if self._is_over() and self._is_late and self._group.usage is None:
            self._job_ended_at = self._ready_at  # nothing is known of such a job but that it began

    # --- the end

    def _known_of_end(self) -> dict[str, Any]:
        path = os.path.join(self._run.run_dir, spool.ENDING_NAME)
        try:
            with open(path) as file:
                told = json.load(file)
            os.unlink(path)
        except (OSError, ValueError):
            return {"job_exit_code": None}
        return {"job_exit_code": told.get("job_exit_code")}

    def _write_exited(self) -> None:
        if self._told is not None:
            super()._write_exited()
            return
        fields = {"exit_code": None, "signal": None, "how": "gone", "rusage": None, "job_exit_code": None}
        self._sampler.write("exited", self._job_ended_at, **fields)

    def _report(self) -> None:
        super()._report()
        if self._entry is not None:
            spool.forget(self._entry)


def _restarts(run_dir: str) -> str | None:
    """Give how often a job had been begun anew before a run, as the log of that run has it."""
    return _first(spool.start_of(run_dir).get("environment") or {})


def _restarts_here() -> str | None:
    return _first(os.environ)


def _first(environment: Mapping[str, str]) -> str | None:
    return next((environment[name] for name in _RESTARTS if name in environment), None)
