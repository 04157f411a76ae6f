"""The sampler daemon's main: it wires sampler, intensity and reports, and outlives greenrun if it must.

It is forked from the command line, single-threaded and before any heavy import, and shares nothing with the command:
own session, closed descriptors, own signals. It follows the command by itself, so that killing greenrun costs nothing
but the summary on stderr.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import select
import signal
import stat
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from greenrun.cli import jobprocess, straight, vault
from greenrun.cli.descriptors import close_all_but
from greenrun.cli.jobprocess import JobProcess
from greenrun.cli.neighbours import DAEMON_NAME
from greenrun.cli.procstat import is_stopped
from greenrun.sampler.loop import Sampler
from greenrun.sampler.model import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenrun.cli.config import Config
    from greenrun.cli.foresight import Foresight
    from greenrun.cli.hourly import Hourly
    from greenrun.cli.identity import Run
    from greenrun.cli.markers import Markers
    from greenrun.cli.spending import Spending
    from greenrun.sampler.allocation import Allocation

_ERROR_NAME = "daemon-error.txt"  # in the run directory
MARKS_NAME = "marks"  # in the run directory; $GREENRUN_MARKS names it to the command
_LAST_WORD_SECONDS = 0.8  # for `exited` from the command line and for a relay's last markers, when the command is over
_ACCOUNT_SECONDS = 0.05  # for the account of the command's CPU time, which comes with that word
_LAST_ANSWER_SECONDS = 1.0  # for a service's answer
_LAST_LOOK_SECONDS = 0.4  # for what is in the cache
_SLOW_SOURCES_FIRST_SECONDS = 0.1
_LIFE_AFTER_JOB_SECONDS = 1.85  # greenrun waits no longer, but where processors are scarce
_LONGEST_LIFE_AFTER_JOB_SECONDS = 5.0  # whatever blocks
# Virtual consoles and serial lines, /dev/tty and the console, pseudo-terminals: admin-guide/devices.txt of the kernel.
_TERMINAL_MAJORS = frozenset((4, 5, *range(136, 144)))
_RECORD_SECONDS, _RECORD_SECONDS_PER_MB = 0.4, 0.1
"""What making the record takes, generously: the log of a week, 12 MB at most, 1 s on a machine of 2020."""


class Setup(NamedTuple):
    """What the daemon is told when it is forked: descriptors are its own copies."""

    config: Config
    run: Run
    parent_pid: int
    control: int
    news: int
    marks: int | None  # where a relay writes markers
    resume: bool  # an earlier daemon of this run has died


def main(setup: Setup, make: Callable[[Setup], Daemon] | None = None) -> NoReturn:
    """Sample until the command ends, write the record, and be gone. `make`: another kind of daemon."""
    status = 1
    try:
        _leave_the_job_alone(setup)
        (make or Daemon)(setup).live()
        status = 0
    except BaseException:  # noqa: BLE001  nobody is above this; the log keeps what was measured
        _explain(setup)
    os._exit(status)


def _explain(setup: Setup) -> None:
    """Leave the reason in the run directory: stderr is the job's."""
    import traceback

    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with (
        contextlib.suppress(OSError),
        open(os.open(os.path.join(straight.reach(setup.run.run_dir), _ERROR_NAME), flags, 0o600), "w") as file,
    ):
        traceback.print_exc(file=file)


def _leave_the_job_alone(setup: Setup) -> None:
    """Become a process that no terminal, pipe, lock or signal of the job can notice."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # it ends with the job, by itself
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # greenrun may be gone when we answer
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a limit on the size of files is to be told like a full disk
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    marks = {setup.marks} if setup.marks is not None else set()
    close_all_but({0, 1, 2, setup.control, setup.news} | marks | vault.descriptors())
    os.chdir("/")
    with contextlib.suppress(OSError), open("/proc/thread-self/comm", "wb") as file:
        file.write(DAEMON_NAME.encode())


def output_kind(status: os.stat_result) -> str:
    """Tell in one word what a command's output goes to."""
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISFIFO(status.st_mode):
        return "pipe"
    is_terminal = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in _TERMINAL_MAJORS
    return "terminal" if is_terminal else "other"


def _allocation(run: Run) -> Allocation | None:
    """Give what the scheduler tells of the job's GPUs; a record of the site's is of the node, neighbours and all."""
    if "SLURM_JOB_ID" not in os.environ:
        return None
    from greenrun.cli.surroundings import surroundings
    from greenrun.sampler.allocation import allocation

    found = allocation(surroundings(os.environ))
    return found._replace(whole_node=True) if found and run.kind == "job" else found


def _visible(run: Run, config: Config) -> dict[str, str] | None:
    """Give the variables that choose the command's GPUs; None where the command is not all of the job.

    A site's daemon has no environment of the job's; and of several ranks that one greenrun measures, each may have GPUs
    of its own, and none descends from another.
    """
    from greenrun.cli import ranks

    if run.kind == "job" or (not config.every_rank and ranks.are_several(os.environ)):
        return None
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
    return {name: os.environ[name] for name in names if name in os.environ}


class Daemon:
    """One run: opens the log, listens to greenrun, the job and the markers, and samples."""

    def __init__(self, setup: Setup) -> None:
        from greenrun.sampler.runlog import Writer

        self._setup = setup
        self._config = setup.config
        self._run = setup.run
        self._place = setup.run.run_dir  # by which the run directory is written
        self._writer = Writer()
        self._log_failure: str | None = None
        machine = Machine(
            self._config.sysfs_root,
            self._config.procfs_root,
            _allocation(self._run),
            self._config.agent,
            _visible(self._run, self._config),
            self._config.cpu_source,
        )
        self._sampler = Sampler(
            machine, self._writer, self._config.interval, self._run.monotonic, aligned=self._run.kind == "job"
        )
        self._job: JobProcess | None = None
        self._job_ended_at: float | None = None
        self._heard = b""
        self._status: list[str] | None = None  # the words of `exited`
        self._never_started: tuple[int, str] | None = None
        self._alone = False  # greenrun is gone
        self._wake_reader, self._wake_writer = os.pipe()
        self._markers: Markers | None = None
        self._hourly: Hourly | None = None
        self._foresight: Foresight | None = None
        self._spending: Spending | None = None
        self._joules_at_spawn: float | None = None
        self._prepared: tuple[type[Markers], type[Foresight], Hourly] | None = None
        self._spawned_at: float | None = None
        self._spawn_is_logged = False
        self._earlier_events: list[dict[str, Any]] = []
        self._output: dict[str, str] = {}  # what stdout and stderr are
        self._output_begins: dict[str, int] = {}  # by a path to the command's stdout or stderr
        self._poll = select.poll()
        self._life_ends = math.inf

    # --- the course of a life

    def live(self) -> None:
        """Run from the first reading to the record."""
        earlier = self._earlier_events = self._earlier()
        if earlier and earlier[-1]["event"] == "end":  # only the record is missing
            self._writer.run_dir = self._place
            self._report_or_say_why_not()
            return
        self._spawn_is_logged = any(event["event"] == "spawned" for event in earlier)
        self._sampler.open_fast(earlier)
        self._see_output()
        self._make_run_dir()
        if not earlier:
            self._sampler.read_all()
        self._tell_ready()
        no_thread = False
        try:
            self._sampler.open_slow(self._wake_writer)  # first: what a GPU uses until it is read can only be guessed
        except RuntimeError:
            no_thread = True
        self._begin_log(earlier)
        preparing = threading.Thread(target=self._prepare, daemon=True)
        try:
            preparing.start()
        except RuntimeError:
            no_thread = True
            self._make_ready()
        if no_thread:
            self._sampler.warn("sampler", "No thread could be started: GPUs may not be measured, services not asked.")
        self._listen()
        while not self._is_over():
            self._wait_once()
        self._begin_to_end()
        while self._prepared is None and preparing.is_alive():
            preparing.join(_LAST_LOOK_SECONDS)
        if preparing.is_alive():
            preparing.join(_LAST_LOOK_SECONDS)
        self._take_prepared()
        self._end()

    def _tell_ready(self) -> None:
        self._say(b"ready" if self._log_failure is None else b"ready without a log")

    def _earlier(self) -> list[dict[str, Any]]:
        """Give the log that a daemon before this one has left, empty if there is none."""
        if not self._setup.resume:
            return []
        from greenrun.sampler import runlog

        try:
            self._place = straight.reach(self._run.run_dir)
            return runlog.read(self._place)
        except (runlog.Unreadable, OSError):
            return []

    def _see_output(self) -> None:
        """Keep where the command's output goes, and where it begins in the files that it goes to."""
        for number, name in ((1, "stdout"), (2, "stderr")):
            path = f"/proc/{self._setup.parent_pid}/fd/{number}"
            try:
                status = os.stat(path)
            except OSError:
                self._output[name] = "closed"
                continue
            self._output[name] = output_kind(status)
            if self._output[name] == "file":
                self._output_begins[path] = status.st_size

    def _make_run_dir(self) -> None:
        """Make the run directory and the file for markers: the command may write there at once."""
        log_dir = os.path.dirname(self._run.run_dir)
        try:
            there = self._setup.resume and os.path.isdir(self._run.run_dir)
            self._place = straight.reach(self._run.run_dir, make=not there)
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(os.path.join(self._place, MARKS_NAME), flags, 0o600))
        except OSError as error:
            self._log_failure = f"{log_dir}: {os.strerror(error.errno) if error.errno else error}"

    def _begin_log(self, earlier: list[dict[str, Any]]) -> None:
        if self._log_failure is None:
            try:
                self._writer.open(self._place)
            except OSError as error:
                self._log_failure = f"{self._run.run_dir}: {os.strerror(error.errno or 0)}"
        if earlier:
            self._sampler.announce()
            self._tell_gap(earlier)
        else:
            from greenrun.cli.startevent import start

            begun = start(self._run, self._config, [meter.device for meter in self._sampler.meters])
            self._sampler.begin(**begun.fields, output=self._output)
            for warning in self._config.warnings:
                self._sampler.warn("config", warning)
            for code, sentence in begun.doubts:
                self._sampler.warn(code, sentence)
        if self._log_failure is not None:
            self._sampler.warn(
                "log", f"The log directory cannot be written ({self._log_failure}); this run leaves no log."
            )
        self._sampler.sample()

    def _tell_gap(self, earlier: list[dict[str, Any]]) -> None:
        """Say from when to when nobody measured, and what that means for each kind of device."""
        since = max(event["t"] for event in earlier)
        now = time.monotonic() - self._run.monotonic
        lost = self._sampler.unbridged
        words = f"what {', '.join(lost)} used is not counted" if lost else "the counters went on by themselves"
        self._sampler.warn(
            "gap",
            f"The sampler was killed {since:.1f} s after the start and not there for {now - since:.1f} s, in which "
            f"nothing was measured; {words}.",
            from_t=since,
            to_t=now,
        )

    def _prepare(self) -> None:
        """In a thread, for it takes tens of milliseconds: the intensity at hand, and the code that comes later.

        The slow sources go first: what a GPU used before it was read is lost.
        """
        self._sampler.wait_for_slow(_SLOW_SOURCES_FIRST_SECONDS)
        intensity = self._make_ready()
        intensity.look_around()
        os.write(self._wake_writer, b"c")

    def _make_ready(self) -> Hourly:
        from greenrun.cli import ending, foresight, hourly, markers  # noqa: F401  ending is only made ready

        if self._config.budget is not None:
            from greenrun.cli import spending, stopping  # noqa: F401  as above
        if self._is_in_ci():
            from greenrun.cli import ci  # noqa: F401  as above
        intensity = hourly.Hourly(self._sampler, self._config, self._run.utc)
        intensity.prepare()
        self._prepared = markers.Markers, foresight.Foresight, intensity
        os.write(self._wake_writer, b"p")
        return intensity

    def _take_prepared(self) -> None:
        """Begin with what the thread has prepared; a second call does nothing."""
        if self._prepared is None or self._markers is not None:
            return
        make_markers, make_foresight, self._hourly = self._prepared
        self._hourly.begin(self._poll, self._earlier_events)
        self._foresight = make_foresight(self._config, self._hourly, self._poll)
        markers = make_markers(self._sampler, self._config, self._foresight, self._note, self._poll)
        marks_path = None if self._log_failure else os.path.join(self._place, MARKS_NAME)
        markers.open(marks_path, self._setup.marks, self._output_begins, self._setup.parent_pid)
        self._markers = markers
        if self._spawned_at is not None:
            markers.spawned(self._spawned_at - self._run.monotonic)
        markers.restore(self._earlier_events)

    # --- listening

    def _listen(self) -> None:
        self._poll.register(self._setup.control, select.POLLIN)
        self._poll.register(self._wake_reader, select.POLLIN)

    def _wait_once(self) -> None:
        """Sleep until something happens or a reading is due, and see to it."""
        ready = {descriptor for descriptor, _ in self._poll.poll(self._longest_sleep_seconds() * 1000)}
        if self._job is not None and (
            self._job.descriptor in ready or (self._job.poll_seconds is not None and self._job.has_ended())
        ):
            self._job_ended_at = self._sampler.read_all()  # first of all: every millisecond counts for a short job
            return
        if self._setup.control in ready:
            self._hear()
        if self._wake_reader in ready:
            os.read(self._wake_reader, 64)
            self._sampler.take_arrived()
            self._take_prepared()
            gc.freeze()  # what is there now stays
            gc.enable()  # main has put it off for the sake of the start
        if self._hourly is not None:
            if self._hourly.descriptor in ready:
                self._hourly.look()
            if self._spawned_at is not None:  # no network before the command runs
                self._hourly.tick()
        if self._foresight is not None and self._spawned_at is not None:
            if self._foresight.descriptor in ready:
                self._foresight.look()
            self._foresight.tick(time.monotonic() - self._spawned_at)
        if self._markers is not None:
            self._markers.look()
        self._sampler.tick()
        self._look_at_budget()

    def _longest_sleep_seconds(self) -> float:
        seconds = max(self._sampler.due() - time.monotonic(), 0.0)
        if self._job is not None and self._job.poll_seconds is not None:
            seconds = min(seconds, self._job.poll_seconds)
        if self._markers is not None and self._markers.poll_seconds is not None:
            seconds = min(seconds, self._markers.poll_seconds)
        return seconds

    def _is_over(self) -> bool:
        return self._job_ended_at is not None or self._never_started is not None

    def _hear(self) -> None:
        data = os.read(self._setup.control, 65536)
        if not data:
            self._poll.unregister(self._setup.control)
            self._alone = True
            if self._job is None and self._never_started is None:
                self._adopt()
            return
        self._heard += data
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            word, *rest = line.decode("utf-8", "replace").split(" ")
            if word == "spawned":
                self._spawned(int(rest[0]), float(rest[1]))
            elif word == "not-started":
                self._never_started = int(rest[0]), " ".join(rest[1:])
            elif word == "exited":
                self._status = rest
            elif word == "unready":
                sentence = "The sampler was late, so the command was given no file for markers: its own are not read."
                self._sampler.warn("markers", sentence)

    def _spawned(self, pid: int | None, monotonic: float) -> None:
        self._spawned_at = monotonic
        if not self._spawn_is_logged:
            self._sampler.write("spawned", monotonic, pid=pid)
        if pid is not None:
            self._follow(pid)
        self._sampler.sample()
        if not self._spawn_is_logged:
            self._joules_at_spawn = self._sampler.total_joules()
        if self._markers is not None:
            self._markers.spawned(monotonic - self._run.monotonic)

    def _follow(self, pid: int) -> None:
        self._sampler.follow(pid, launcher=self._setup.parent_pid)
        self._watch(pid)

    def _watch(self, pid: int) -> None:
        """Hear of the end of a process."""
        try:
            self._job = JobProcess(pid)
        except ProcessLookupError:
            self._job_ended_at = self._sampler.read_all()
            return
        if self._job.descriptor is not None:
            self._poll.register(self._job.descriptor, select.POLLIN)

    def _adopt(self) -> None:
        """Greenrun is gone without a word about a command: it became the command itself, or was killed."""
        now = time.monotonic()
        pid = jobprocess.find(self._run.run_id)
        if pid is not None:
            self._spawned(pid, now)
        else:
            self._never_started = 1, "greenrun was killed before, or just as, it started the command"

    def _look_at_budget(self) -> None:
        if self._config.budget is None or self._foresight is None or self._spawned_at is None:
            return
        if self._spending is None:
            from greenrun.cli.spending import Spending, joules_at_spawn
            from greenrun.sampler.progress import Point

            if self._joules_at_spawn is None:
                self._joules_at_spawn = joules_at_spawn(self._earlier_events)
            spawned = Point(self._spawned_at - self._run.monotonic, self._joules_at_spawn)
            tell = partial(self._note, lasting=True)
            self._spending = Spending(self._config, self._sampler, self._foresight, spawned, tell, self._stop_job)
            self._spending.restore(self._earlier_events)
        self._spending.look()

    def _stop_job(self) -> bool:
        """End the command with all that it has started; False where there is none to end."""
        from greenrun.cli import stopping

        if self._run.kind != "command" or self._job is None or self._job.has_ended():
            return False
        return stopping.begin(self._job.pid, self._run.run_id, {os.getpid(), self._setup.parent_pid})

    def _note(self, text: str, /, *, lasting: bool) -> None:
        self._say((b"note " if lasting else b"revision ") + text.encode("utf-8", "replace"))

    def _say(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._setup.news, line + b"\n")

    # --- the end

    def _begin_to_end(self) -> None:
        """Read once more, and see to it that nothing that follows can take long."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, _LONGEST_LIFE_AFTER_JOB_SECONDS)
        self._life_ends = time.monotonic() + _LIFE_AFTER_JOB_SECONDS
        if self._never_started is None:
            self._sampler.finish(self._job_seconds)
            if not self._alone and is_stopped(self._setup.parent_pid):
                os.kill(self._setup.parent_pid, signal.SIGCONT)  # it stopped with the job, which went on and ended

    def _job_seconds(self) -> float | None:
        """Give the CPU time of the job and of what it has waited for, as its parent has it; that is told at once."""
        self._wait_for_last_word(time.monotonic() + _ACCOUNT_SECONDS)
        if self._status is None or "None" in self._status[2:4]:
            return None
        return math.fsum(map(float, self._status[2:4]))

    def _end(self) -> None:
        if self._never_started is not None:
            code, reason = self._never_started
            self._sampler.write("not-started", exit_code=code, reason=reason)
            self._finish_log("not-started")
        else:
            deadline = time.monotonic() + _LAST_WORD_SECONDS
            self._wait_for_last_word(deadline)
            self._write_exited()  # before what may take longer than this daemon lives
            if self._markers is not None:
                self._markers.finish(deadline)
            if self._foresight is not None:
                self._foresight.finish()
            if self._hourly is not None:
                answer_by = time.monotonic() + _LAST_ANSWER_SECONDS
                self._hourly.finish(min(answer_by, self._life_ends - self._record_seconds()))
            self._finish_log("exited")
        self._report_or_say_why_not()
        self._sampler.close()

    def _record_seconds(self) -> float:
        """Give the time that is to be left for the record: that of a long run has to be made of a long log."""
        megabytes = 0.0
        with contextlib.suppress(OSError):
            megabytes = os.path.getsize(os.path.join(self._run.run_dir, "run.jsonl")) / 1e6
        return _RECORD_SECONDS + _RECORD_SECONDS_PER_MB * megabytes

    def _wait_for_last_word(self, deadline: float) -> None:
        while self._status is None and not self._alone:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._setup.control], [], [], left)[0]:
                break
            self._hear()

    def _is_in_ci(self) -> bool:
        """Whether files may be looked for when the command is over; most runs do not pay for knowing how."""
        surroundings = self._config.ci and not os.environ.keys().isdisjoint(("GITHUB_ACTIONS", "GITLAB_CI"))
        return surroundings or self._config.metrics_file is not None

    def _write_exited(self) -> None:
        """Write how the command ended: by the word of its parent, else by what the kernel still knows."""
        status, how, usage = None, "unknown", None
        if self._status is not None:
            status, how = int(self._status[0]), "wait"
            self._job_ended_at = min(self._job_ended_at or math.inf, float(self._status[1]))
            if "None" not in self._status[2:]:
                user, system, rss = self._status[2:]
                usage = {"user_seconds": float(user), "system_seconds": float(system), "max_rss_bytes": int(rss)}
        elif self._job is not None and (status := self._job.status()) is not None:
            how = "pidfd"
        self._sampler.write(
            "exited",
            self._job_ended_at,
            exit_code=os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
            how=how,
            rusage=usage,
        )

    def _finish_log(self, reason: str) -> None:
        self._writer.rescue()
        if self._writer.failure is not None and self._log_failure is None:
            self._sampler.warn("log", f"The run log in {self._run.run_dir} is not whole: {self._writer.failure}.")
        self._sampler.write("end", reason=reason)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._place, MARKS_NAME))
        self._writer.close()

    def _report_or_say_why_not(self) -> None:
        from greenrun.sampler.runlog import Unreadable

        try:
            self._report()
        except Unreadable as error:  # somebody else has written into it
            reason = str(error).replace(self._place, self._run.shown_dir)
            self._say(b"summary " + f"greenrun: there is no summary, for {reason}\n".encode("utf-8", "replace"))

    def _report(self) -> None:
        """Make the record from the log, write it beside the log, and hand the text to greenrun."""
        from greenrun.cli import ending
        from greenrun.cli.session import NEWLINE
        from greenrun.reports import budget

        record = ending.make(self._writer.run_dir, self._writer.unwritten)
        if self._is_in_ci():
            from greenrun.cli import ci

            ci.tell(record, self._run, self._config, os.environ)
        text = ending.tell(record, None if self._writer.run_dir is None else self._run.shown_dir)
        os.set_blocking(self._setup.news, True)
        self._say(b"budget " + budget.verdict(record).encode())
        self._say(b"summary " + text.encode("utf-8", "replace").replace(b"\n", NEWLINE))
