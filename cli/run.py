"""Wrap one command: begin, run, end. `run` is prolog, job and epilog in one process."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from typing import TYPE_CHECKING, NoReturn

from greenrun.cli import plain, ranks, signals
from greenrun.cli.errors import EXIT_CANNOT_INVOKE, EXIT_NOT_FOUND, EXIT_OVER_BUDGET, EXIT_USAGE, CannotRun
from greenrun.cli.identity import new_run
from greenrun.cli.job import Job
from greenrun.cli.spawn import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenrun.cli.config import Config
    from greenrun.cli.job import Note
    from greenrun.cli.outcome import Outcome
    from greenrun.cli.session import Session


def run(config: Config, command: list[str]) -> NoReturn:
    """Run `command` as if greenrun were not there, then tell what it cost; ends as the command ended."""
    if not config.every_rank and (another := ranks.measured_by(os.environ)):
        become(command, _environment_of_rank(another))
    inherited = signals.take_over()
    run_identity = new_run(config.log_dir, config.name, command)
    environment = job_environment()
    try:
        from greenrun.cli.session import Session

        session = Session(config, run_identity, watched=config.epochs is not None)
    except Exception as error:  # noqa: BLE001  fail open: no process left to fork, no descriptor, whatever it is
        say(f"greenrun: cannot measure ({_reason(error)}); running the command without.")
        signals.give_back(inherited)
        become(command)
    environment[b"GREENRUN_RUN_ID"] = run_identity.run_id.encode()
    environment[b"GREENRUN_RUN_DIR"] = os.fsencode(run_identity.run_dir)
    marks = os.path.join(run_identity.run_dir, "marks") if session.has_log else os.devnull
    environment[b"GREENRUN_MARKS"] = os.fsencode(marks)

    job = _MeasuredJob(command, environment, inherited, session)
    try:
        outcome = _run(job, session.marks, config)
    except CannotRun as failure:
        session.not_started(failure.exit_code, failure.reason)
        session.finish(inherited.taken)
        say(f"greenrun: cannot run {command[0]!r}: {failure.reason}")
        os._exit(failure.exit_code)
    except Exception as error:  # noqa: BLE001  fail open: whatever it is, the command runs, and runs once
        if job.pid is not None:
            say(f"greenrun: cannot stand by the command ({_reason(error)}); it goes on.")
            outcome = job.outcome or _stand_by(job.pid)
            job.ended(outcome)
        else:
            # The daemon follows this process, which becomes the command.
            say(f"greenrun: cannot start another process ({_reason(error)}); no summary will follow.")
            session.let_go()
            signals.give_back(inherited)
            become(command, environment)
    try:
        _conclude(session, inherited.taken)
    except Exception as error:  # noqa: BLE001  the command has run: whoever is above this must not run it again
        say(f"greenrun: cannot tell what it cost ({_reason(error)}).")
    if session.over_budget and outcome.exit_code == 0:
        say(f"greenrun: {session.over_budget}; the exit status is {EXIT_OVER_BUDGET} for that.")
        os._exit(EXIT_OVER_BUDGET)
    signals.leave(outcome)


def _stand_by(pid: int) -> Outcome:
    try:
        return plain.stand_by(pid)
    except ChildProcessError:  # it belongs to the keeper of a terminal, which goes on without us
        os._exit(EXIT_USAGE)


def _conclude(session: Session, taken: frozenset[int]) -> None:
    text = session.finish(taken)
    _tell_notes(session, _tell)
    if session.config.quiet:
        return
    if text:
        from greenrun.cli import output

        output.tell_summary(text)
    else:
        say(_no_summary(session.run.shown_dir))


class _MeasuredJob(Job):
    """A command whose life the session hears of; none of that may cost the command anything."""

    def __init__(
        self, command: list[str], environment: dict[bytes, bytes], inherited: signals.Inherited, session: Session
    ) -> None:
        super().__init__(command, environment, inherited, _tell)
        self.pid: int | None = None
        self.outcome: Outcome | None = None
        self._session = session

    def started(self, pid: int, before: float) -> None:
        """Tell the daemon which process to follow."""
        self.pid = pid
        self._session.spawned(pid, before)

    def wake(self) -> None:
        """Take the daemon's news, and tell the user what is for the user."""
        with contextlib.suppress(OSError):
            self._session.look()
            _tell_notes(self._session, self.tell)

    def ended(self, outcome: Outcome) -> None:
        """Tell the daemon how the command ended, before its last output has been read by everybody."""
        if self.outcome is None:
            self.outcome = outcome
            self._session.exited(outcome)


def _run(job: Job, marks: int | None, config: Config) -> Outcome:
    if marks is None:
        return plain.run(job)
    from greenrun.cli import watch
    from greenrun.cli.watch.scan import Sought
    from greenrun.sampler import epochs

    pattern = epochs.pattern(config.epoch_pattern, config.epoch_marks)
    return watch.run(job, marks, Sought(pattern, config.planned_epochs))


def _tell(note: Note) -> None:
    """Tell what lasts, on a line of its own: nobody knows what the command has printed since the last one."""
    if not note.lasting:
        return
    if not os.isatty(2):
        say(note.text)
        return
    from greenrun.cli import watch

    watch.note(note.text)


def _tell_notes(session: Session, tell: Callable[[Note], None]) -> None:
    notes, session.notes = session.notes, []
    if not session.config.quiet:
        for note in notes:
            tell(note)


def _no_summary(run_dir: str) -> str:
    import shlex

    path = shlex.quote(os.fsencode(run_dir).decode("utf-8", "replace"))
    return f"greenrun: the sampler gave no summary in time; what it wrote is told by:\n  greenrun report {path}"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return f"{type(error).__name__}: {error}"


def job_environment() -> dict[bytes, bytes]:
    """Give the environment that the command is to have: greenrun's own, less what Python and greenrun put there.

    Python sets LC_CTYPE for itself where the locale is C; what greenrun was really started with is in /proc. Tokens
    of greenrun's are not for the job.
    """
    from greenrun.cli.options import SECRETS

    environment = dict(os.environb)
    if b"LC_CTYPE" in environment:
        with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as file:
            given = file.read()
            if not any(entry.startswith(b"LC_CTYPE=") for entry in given.split(b"\0")):
                del environment[b"LC_CTYPE"]
    for name in SECRETS:
        environment.pop(os.fsencode(name), None)
    return environment


def _environment_of_rank(measured_by: str) -> dict[bytes, bytes]:
    """Give the environment of a rank for which another one measures, and which must not speak for it."""
    environment = job_environment()
    environment[b"GREENRUN_MEASURED_BY"] = os.fsencode(measured_by)
    environment[b"GREENRUN_MARKS"] = os.fsencode(os.devnull)
    return environment


def become(command: list[str], environment: dict[bytes, bytes] | None = None) -> NoReturn:
    """Turn this process into the command, unmeasured: with what greenrun knows, it would run the same under env."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment or job_environment())  # noqa: S606  an argument vector, no shell
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOEXEC and command[0] != "/bin/sh":
            become(["/bin/sh", resolve(command[0], os.environb), *command[1:]], environment)
        say(f"greenrun: cannot run {command[0]!r}: {_reason(error)}")
        os._exit(EXIT_NOT_FOUND if isinstance(error, (FileNotFoundError, ValueError)) else EXIT_CANNOT_INVOKE)


def say(text: str) -> None:
    """Tell the user on stderr, and only there; that it is closed or full is no error of the job's."""
    printable = "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
    data = printable.encode() + b"\n"
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(2, data) :]
