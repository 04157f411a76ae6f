"""Begin to measure here, end it there: the sampler daemon of a block or of a scheduler's job, by its handle.

The daemon is started by exec and detached (`cli/detached.py`). What is left here is a handle, which is plain data: it
may be stored in a file, and another process may end the run with it. A process id that was given to somebody else
meanwhile is not taken for the daemon's: its start time and the machine's boot must be those of the handle.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import greenrun
from greenrun.cli import procstat
from greenrun.cli.descriptors import pipe
from greenrun.cli.patience import Patience
from greenrun.cli.session import END_WAIT, NEWLINE

if TYPE_CHECKING:
    from greenrun.cli.config import Config
    from greenrun.cli.identity import Run

# Nobody sends real-time signals by habit, as schedulers and users do SIGTERM, SIGUSR1 and SIGHUP.
ENDED = signal.SIGRTMIN + 1
"""What was to be measured is over."""

FAILED = signal.SIGRTMIN + 2
"""It is over, by an exception."""

READY_WAIT_SECONDS = 1.0
"""What is measured does not wait longer for the daemon, which takes a tenth of it to come up; with a slow disk more."""

_READY_WAIT = (READY_WAIT_SECONDS, 2.0, 0.5)  # as Patience takes it: a Python that starts on a busy machine

_LOOK_SECONDS = 0.02
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; Python 3.10 knows the name
_LARGEST_REQUEST_BYTES = 1 << 20  # what a user may make a pipe hold: /proc/sys/fs/pipe-max-size

# As for `fetching`: nothing of the job's is imported, and `site` with its 10 ms neither. The standard library goes
# first, whatever the job has put into its path. The fork leaves the daemon without a parent here, so that nobody who
# waits for any child of the job's meets a stranger.
_PROGRAM = """
import os
pid = os.fork()
if pid:
    os.write(1, b"starting %d\\n" % pid)
    os._exit(0)
import gc, json, sys
gc.disable()
request = json.loads(sys.stdin.buffer.read())
sys.path += request.pop("path")
from greenrun.cli import detached
detached.main(request)
"""


class Request(NamedTuple):
    """What the daemon is told on its stdin, as JSON."""

    config: dict[str, Any]
    run: dict[str, Any]
    follow: int | None  # the process in which it happens: where that ends, all is over
    patience: float  # CLOCK_MONOTONIC seconds: what is measured begins when the daemon is ready, or then at the latest
    resume: bool  # an earlier daemon of this run has died
    ended: float | None  # CLOCK_MONOTONIC seconds: it was over before this daemon came
    job: dict[str, Any] | None = None  # the fields of a slurm.jobdaemon.Job; None: a block


class Handle(NamedTuple):
    """The daemon of a run that has begun. `start_ticks` and `boot_id` tell its process from others of the same id."""

    run_id: str
    run_dir: str
    pid: int
    start_ticks: str  # as in proc_pid_stat(5)
    boot_id: str

    def to_json(self) -> str:
        """Give it as one line, for a file."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Handle:
        """Take it from a file. Raises ValueError where that is none of ours."""
        try:
            told = cls(**json.loads(text))
        except (TypeError, RecursionError):
            raise ValueError("it is no handle of a run") from None
        if [type(value) for value in told] != [str, str, int, str, str] or not 0 < told.pid < 1 << 31:
            raise ValueError("it is no handle of a run")
        return told


class Ended(NamedTuple):
    """What is told at the end; None for what could not be had."""

    record: dict[str, Any] | None
    summary: str | None


class Begun:
    """A run that has begun, in the process that began it.

    `handle` is None as long as the daemon has not come up. `has_log`: it could make the run directory.
    """

    def __init__(self, config: Config, run: Run, *, follow: int | None, job: dict[str, Any] | None = None) -> None:
        """Start the daemon and wait for its first readings: a second at most, longer on a busy machine.

        `follow` is the process in which it all happens, None if there is no such one; `job` a scheduler's job, as the
        daemon takes it. Raises OSError.
        """
        self.handle: Handle | None = None
        self.has_log = False
        self._ended: float | None = None
        self._config = config
        self._run = run
        self._follow = follow
        self._job = job
        self._refusal = "the sampler died at its start"
        self._start(resume=False)
        try:
            self._listen(Patience(*_READY_WAIT), until_ready=True)
        except BaseException:  # interrupted: then there is to be no such run
            self.abandon()
            raise
        if self._news < 0 and self._record is None:
            raise ChildProcessError(self._refusal)

    # --- the start

    def _start(self, *, resume: bool) -> None:
        self._ready = False
        self._record: dict[str, Any] | None = None
        self._summary: str | None = None
        self._heard = b""
        patience = time.monotonic() + READY_WAIT_SECONDS
        config, run = self._config._asdict(), self._run._asdict()
        self._child, self._news = _spawn(Request(config, run, self._follow, patience, resume, self._ended, self._job))
        self._starting = self._child  # the process that is at the start: this one first, then the daemon itself
        # Everything in a process may close descriptors: that this one is still ours is looked at before each use.
        self._pipe = os.fstat(self._news).st_ino

    # --- what it answers

    def _listen(self, patience: Patience, *, until_ready: bool = False, until_known: bool = False) -> None:
        """Take its news until they end, or the patience does; or until there is enough of them."""
        while not (until_ready and self._ready) and not (until_known and self.handle):
            if not self._is_ours():
                break
            left = patience.left(self.handle.pid if self.handle else self._starting)
            if not _is_readable(self._news, left):
                if left == 0.0:
                    break
                continue
            data = os.read(self._news, 1 << 16)
            if not data:
                self.let_go()
            self._heard += data
            *lines, self._heard = self._heard.split(b"\n")
            for line in lines:
                self._hear(line)
        self._reap()

    def _is_ours(self) -> bool:
        if self._news < 0:
            return False
        with contextlib.suppress(OSError):
            if os.fstat(self._news).st_ino == self._pipe:
                return True
        self._news = -1
        return False

    def _hear(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        if word == b"starting":
            self._starting = int(rest)
        elif word == b"pid":  # from now on it can be told of the end
            pid = int(rest)
            with contextlib.suppress(ProcessLookupError):
                self.handle = of_process(pid, self._run)
        elif word == b"ready":
            self._ready = True
            self.has_log = not rest
        elif word == b"refused":
            self._refusal = rest.decode("utf-8", "replace")
        elif word == b"record":
            self._record = json.loads(rest.replace(NEWLINE, b"\n"))
        elif word == b"summary":
            self._summary = rest.replace(NEWLINE, b"\n").decode("utf-8", "replace")

    def _reap(self) -> None:
        """Wait for the child between us and the daemon, which has ended long since."""
        with contextlib.suppress(ChildProcessError):
            if self._child and os.waitpid(self._child, os.WNOHANG)[0] == 0:
                return
        self._child = 0

    # --- the end

    def end(self, *, failed: bool = False) -> Ended:
        """End the run and wait for its record, not much longer than two seconds.

        `failed`: what was measured has ended by an exception. A daemon that has been killed is replaced first: the
        counters went on, and the log says from when to when nobody looked.
        """
        self._ended = time.monotonic()
        if self.handle is None:
            self._listen(Patience(*_READY_WAIT), until_known=True)
        if self.handle is not None and not send(self.handle, FAILED if failed else ENDED):
            self._listen(Patience(0.0, 0.0, 0.0))  # it may have ended properly, and told all
            if self._record is None:
                self._resume(failed=failed)
        if self._is_ours():
            self._listen(Patience(*END_WAIT))
        elif self.handle is not None:
            self._record = wait(self.handle)
        if self._record is None and self.handle is not None:
            send(self.handle, signal.SIGKILL)  # it has had its time
        self.let_go()
        return Ended(self._record, self._summary)

    def _resume(self, *, failed: bool) -> None:
        self.let_go()
        self.handle = None
        self._start(resume=True)
        self._listen(Patience(*END_WAIT), until_known=True)
        if self.handle is not None:
            send(self.handle, FAILED if failed else ENDED)

    def abandon(self) -> None:
        """Give the run up."""
        if self.handle is not None:
            send(self.handle, signal.SIGKILL)
        self.let_go()

    def let_go(self) -> None:
        """Hear no more of the daemon; what is left is the handle."""
        if self._is_ours():
            os.close(self._news)
        self._news = -1


def begin(config: Config, run: Run, *, follow: int | None = None) -> Handle:
    """Begin to measure, for another process to `end`. OSError where that fails.

    `follow`: the process at whose end all is over anyway.
    """
    begun = Begun(config, run, follow=follow)
    begun.let_go()  # a daemon that is not there yet will not come
    if begun.handle is None:
        raise TimeoutError(f"the sampler was not there after {READY_WAIT_SECONDS:g} s")
    return begun.handle


def end(handle: Handle, *, failed: bool = False) -> dict[str, Any] | None:
    """End a run that maybe another process began, and give its record; None if it has left none.

    Nothing is sent to a process that is not the daemon of this run.
    """
    send(handle, FAILED if failed else ENDED)
    return wait(handle)


def of_process(pid: int, run: Run) -> Handle:
    """Give the handle of a run whose daemon is this process. Raises ProcessLookupError."""
    told = procstat.fields(pid)
    if not told:
        raise ProcessLookupError(f"there is no process {pid}")
    return Handle(run.run_id, run.run_dir, pid, told[procstat.START], _boot_id())


def wait(handle: Handle) -> dict[str, Any] | None:
    """Wait for the daemon's end and give the record that it has left, None if there is none.

    Two seconds at most, longer where it only waits for a processor.
    """
    patience = Patience(*END_WAIT)
    while is_alive(handle) and (left := patience.left(handle.pid)):
        time.sleep(min(left, _LOOK_SECONDS))
    path = os.path.join(handle.run_dir, "summary.json")
    with contextlib.suppress(OSError, ValueError, RecursionError), open(path) as file:
        record: dict[str, Any] = json.load(file)
        return record
    return None


def is_alive(handle: Handle) -> bool:
    """Whether the daemon is still there."""
    told = procstat.fields(handle.pid) if handle.boot_id == _boot_id() else []
    return bool(told) and told[procstat.START] == handle.start_ticks and told[procstat.STATE] not in "ZX"


def send(handle: Handle, number: int) -> bool:
    """Send a signal to the daemon; False if it is gone."""
    if handle.boot_id != _boot_id():
        return False
    try:
        descriptor = os.pidfd_open(handle.pid)
    except ProcessLookupError:
        return False
    except OSError:  # before Linux 5.3, or no descriptor is left
        if not is_alive(handle):
            return False
        with contextlib.suppress(OSError):
            os.kill(handle.pid, number)
            return True
        return False
    try:
        # Looked at while we hold it: from here on the id can mean no other process.
        if not is_alive(handle):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_readable(descriptor: int, seconds: float) -> bool:
    poll = select.poll()  # select() itself knows no descriptor above 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _spawn(request: Request) -> tuple[int, int]:
    """Start the daemon; give the child that starts it and the pipe on which it answers."""
    data = json.dumps({"path": _import_path(), **request._asdict()}).encode()
    interpreter = _interpreter()
    stdin, writer = pipe()
    try:
        # All of it before there is a reader: one that dies then cannot harm us by SIGPIPE.
        os.set_blocking(writer, False)
        if len(data) > 1 << 16:
            fcntl.fcntl(writer, _F_SETPIPE_SZ, _LARGEST_REQUEST_BYTES)
        if os.write(writer, data) < len(data):
            raise OSError(f"{len(data)} bytes are too much to tell it")
        news, stdout = pipe()
        try:
            child = os.posix_spawn(
                interpreter,
                [interpreter, "-I", "-S", "-c", _PROGRAM],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, stdin, 0),
                    (os.POSIX_SPAWN_DUP2, stdout, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGALRM, signal.SIGCHLD, ENDED, FAILED),
            )
        except BaseException:
            os.close(news)
            raise
        finally:
            os.close(stdout)
    finally:
        os.close(stdin)
        os.close(writer)
    return child, news


def _interpreter() -> str:
    """Give the path of this Python. A program that has one within (a frozen one, Blender) would start itself again."""
    name = os.path.basename(sys.executable or "")
    if getattr(sys, "frozen", False) or not name.startswith(("python", "pypy")):
        raise FileNotFoundError(f"there is no Python to start it with, only {name or 'an unknown program'}")
    return sys.executable


def _import_path() -> list[str]:
    """Give where greenrun and what it needs are found: beside it, and in the folders for installed packages.

    All else on the path is the job's: a json.py that lies there must not become ours.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(greenrun.__file__)))
    installed = [entry for entry in sys.path if os.path.basename(entry) in ("site-packages", "dist-packages")]
    return [home, *(entry for entry in installed if entry != home)]
