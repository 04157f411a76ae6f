"""The verb `status`: the runs that are being measured on this host, once or again and again.

A run is found by its sampler daemon, which has the run log open: no list is kept that could be wrong. Whoever asks sees
their own runs, root sees all. What the log says is read through the daemon's own descriptor, so that it is found in a
container too, and after it was removed. All of it comes from processes that anybody could have named so.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

from greenrun.cli import output, parse, procstat
from greenrun.cli.neighbours import DAEMON_NAME
from greenrun.reports import statustext
from greenrun.reports.live import Live
from greenrun.reports.statustext import Seen
from greenrun.sampler import events, runlog

if TYPE_CHECKING:
    from types import FrameType

    from greenrun.sampler.events import Event

PATIENCE_SECONDS = 2.0
"""What all logs together may take: one may lie on a file system that is gone."""

REDRAW_SECONDS = 1.0
_LARGEST_LINE = 4 << 20
_DELETED = " (deleted)"


def main(argv: list[str]) -> int:
    """Print what is being measured; 0 also where that is nothing."""
    return 1 if parse.invoke(command, argv, "greenrun status") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.option("--watch", is_flag=True, help="show the figures as they change, until Ctrl-C")
@click.option("--json", "as_json", is_flag=True, help="print a JSON document; with --watch one a line, each second")
def command(watch: bool, as_json: bool) -> int:
    """Show the runs that are being measured on this host: power, energy, epoch and time to go.

    You see your own runs; root sees everybody's.
    """
    host = Host()
    if watch:
        _watch(host, as_json)
    runs = host.look()
    output.show(statustext.document(runs) if as_json else output.fitting(_table(runs, 1, paths=True)))
    return 0


def _table(runs: list[Seen], descriptor: int, *, paths: bool) -> str:
    return statustext.render(runs, output.columns(descriptor), users=os.geteuid() == 0, paths=paths)


# --- finding


class Sampler(NamedTuple):
    """A living sampler daemon: its process, when that started, and whose it is."""

    pid: int
    start_ticks: str
    uid: int


class _Unread(Exception):  # noqa: N818  the name is the sentence's predicate
    """A log that cannot be told: why."""


class Host:
    """The samplers of this host and what their logs have told so far; the second look reads only what is new."""

    def __init__(self) -> None:
        self._logs: dict[Sampler, _Log] = {}

    def look(self) -> list[Seen]:
        """Give the runs of now, the oldest first; waits two seconds at most for logs that do not answer."""
        found = samplers()
        self._logs = {one: self._logs.get(one) or _Log(one) for one in found}
        deadline = time.monotonic() + PATIENCE_SECONDS
        for log in self._logs.values():
            log.begin_to_read()
        return [log.told(max(deadline - time.monotonic(), 0.0)) for log in self._logs.values()]


def samplers() -> list[Sampler]:
    """Give the living sampler daemons of whoever asks, of everybody where root asks, the oldest first."""
    own = os.geteuid()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/comm", "rb") as file:
                if file.read().rstrip(b"\n") != DAEMON_NAME.encode():
                    continue
            uid = os.stat(f"/proc/{name}").st_uid
        except OSError:  # it has ended meanwhile
            continue
        told = procstat.fields(int(name))
        if told and told[procstat.STATE] not in "ZX" and own in (0, uid):
            found.append(Sampler(int(name), told[procstat.START], uid))
    return sorted(found, key=lambda one: (int(one.start_ticks), one.pid))


class _Log:
    """What one sampler writes, followed from its beginning on."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._path: str | None = None
        self._file = -1
        self._rest = b""
        self._live: Live | None = None
        self._seen = Seen(sampler.pid, _user(sampler.uid), None, None)
        self._reader: threading.Thread | None = None

    def begin_to_read(self) -> None:
        """Read what is new, in a thread, for the file may lie where nothing answers; one such thread at a time."""
        if self._reader is None or not self._reader.is_alive():
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()

    def told(self, seconds: float) -> Seen:
        """Give what is known after so many seconds at most."""
        if self._reader is not None:
            self._reader.join(seconds)
            if self._reader.is_alive():
                reason = f"its log has not answered within {PATIENCE_SECONDS:g} s"
                return Seen(self._sampler.pid, self._seen.user, None, None, reason)
        return self._seen

    def _read(self) -> None:
        state, reason = None, None
        try:
            self._follow()
            if self._live is not None:
                state = self._live.state(time.monotonic())
        except _Unread as why:
            reason = str(why)
        except OSError as error:
            reason = f"its log cannot be read: {os.strerror(error.errno or 0)}"
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            # JSON that is no run log of ours fails in as many ways as there are fields.
            reason = f"its log is damaged ({type(error).__name__}: {error})"
        run_dir = os.path.dirname(self._path) if self._path else None
        self._seen = self._seen._replace(run_dir=run_dir, state=state, reason=reason)

    def _follow(self) -> None:
        if self._file < 0:
            self._open()
        if os.fstat(self._file).st_size > runlog.LARGEST_BYTES:
            raise _Unread(f"{self._path} is too large for a run log")
        while data := os.read(self._file, 1 << 20):
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > _LARGEST_LINE:
                raise _Unread(f"{self._path} is damaged: a line has no end")
            for line in lines:
                self._take(line)
        if self._live is None:
            raise _Unread("it is just beginning")
        self._take_last()

    def _open(self) -> None:
        link = _log_descriptor(self._sampler.pid)
        path = os.readlink(link).removesuffix(_DELETED)
        file = _open_regular(link)
        self._path, self._file = path, file

    def _take(self, line: bytes) -> None:
        event = _event(line)
        if self._live is None:
            if event["event"] != "start" or event["schema"] != runlog.SCHEMA:
                raise _Unread(f"{self._path} is no run log that this greenrun can read")
            self._live = Live(event)
        else:
            self._live.take(event)

    def _take_last(self) -> None:
        """Take the newest sample, which lines that grow up to a minute apart do not have yet."""
        if self._live is None or self._path is None:
            return
        folder = os.path.dirname(self._path)
        try:
            # As the daemon sees it: a container has a tree of its own.
            file = _open_regular(f"/proc/{self._sampler.pid}/root{folder}/{runlog.LAST_NAME}")
            try:
                event = _event(os.read(file, _LARGEST_LINE))
            finally:
                os.close(file)
        except (OSError, _Unread):
            return
        if event["event"] == "sample":
            self._live.take(event)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


def _log_descriptor(pid: int) -> str:
    """Give the link in /proc to the run log that a daemon writes. Raises _Unread, OSError."""
    folder = f"/proc/{pid}/fd"
    try:
        links = [f"{folder}/{name}" for name in os.listdir(folder)]
    except PermissionError:
        raise _Unread("the kernel does not let you look at it") from None
    for link in links:
        try:
            path = os.readlink(link)
            writable = os.lstat(link).st_mode & stat.S_IWUSR
        except FileNotFoundError:  # closed meanwhile: the others are still to be looked at
            continue
        if writable and os.path.basename(path.removesuffix(_DELETED)) == runlog.LOG_NAME:
            return link
    raise _Unread("it has no run log open: it is just beginning or ending, or its log directory cannot be written")


def _open_regular(path: str) -> int:
    """Open a file to read, without waiting for anything but a file system. Raises OSError, _Unread."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise _Unread("its log is no file")


def _event(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise _Unread("its log is damaged: a line is not JSON") from None
    wrong = events.flaw(event)
    if wrong is not None:
        raise _Unread(f"its log is damaged: {wrong}")
    told: Event = event
    return told


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# --- watching


class _Interrupted(BaseException):
    """A signal has ended the watch: its number."""


def _watch(host: Host, as_json: bool) -> NoReturn:
    """Show the runs until a signal ends it, and end by that same signal, so that a shell's loop ends too."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise _Interrupted(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        if as_json:
            _print_documents(host)
        elif output.is_drawn_on(1):
            _redraw(host)
        else:
            _print_lines(host)
    except _Interrupted as ended:
        (number,) = ended.args
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    except OSError:
        os._exit(1)  # the terminal is gone
    os._exit(0)  # nobody reads any more


def _redraw(host: Host) -> None:
    from rich.console import Console
    from rich.live import Live as Redrawn

    from greenrun.reports import colour

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    with Redrawn(console=console, auto_refresh=False) as screen:
        console.show_cursor()  # Ctrl-Z must not leave the shell without one
        while True:
            text = output.fitting(_table(host.look(), 1, paths=False))
            screen.update(output.styled(text, colour.of_table(text)), refresh=True)
            time.sleep(REDRAW_SECONDS)


def _print_lines(host: Host) -> None:
    """Print a line for each run whose figures have changed."""
    told: dict[int, tuple[object, ...]] = {}
    while True:
        runs = host.look()
        for run in runs:
            figures = (run.reason, run.state and (run.state.energy_joules, run.state.epochs_done, run.state.phase))
            if told.get(run.pid) != figures and not output.show(output.fitting(statustext.line(run))):
                return
            told[run.pid] = figures
        time.sleep(REDRAW_SECONDS)


def _print_documents(host: Host) -> None:
    while output.show(statustext.document(host.look(), indent=None)):
        time.sleep(REDRAW_SECONDS)
