"""A copy of a job's record for its user, in the directory that the job was submitted from.

The path is the user's, and so may be anything: the copy is made by a process that is that user and has no other right,
and that follows no symlink. It cannot reach what the user could not have written anyway. What fails is the user's own:
a quota, a directory that is gone, a file system that hangs.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from greenrun.cli.descriptors import close_all_but, pipe
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FOLDER = "greenrun-logs"
"""In the job's directory: where a `greenrun` of the user's own would leave its runs."""

_FILES = (runlog.LOG_NAME, "summary.json", "summary.txt")
_LIMIT_SECONDS = 10
_CHUNK = 1 << 20
_REASON_BYTES = 500
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_THROUGH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class User(NamedTuple):
    """Who a copy is for: the ids that the copying process takes on."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def user(uid: int) -> User:
    """Give a user with the groups that the system knows. Raises KeyError for one that it does not know."""
    entry = pwd.getpwuid(uid)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return User(uid, entry.pw_gid, tuple(groups))


def copy(
    run_dir: str, work_dir: str, name: str, owner: User, seconds: float, limit_seconds: float = _LIMIT_SECONDS
) -> None:
    """Copy the record in `run_dir` into FOLDER/`name` below `work_dir`, as `owner`.

    One that is there already is left as it is. Raises OSError, with what the copying process said or, after `seconds`,
    TimeoutError; that process then has `limit_seconds` in all.
    """
    sources = []
    try:
        for file in _FILES:
            with contextlib.suppress(FileNotFoundError):
                path = os.path.join(run_dir, file)
                sources.append((file, os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)))
        reader, writer = pipe()
        child = os.fork()
        if child == 0:
            _guard(lambda: _be(owner, sources, writer, work_dir, name), writer, limit_seconds)
        os.close(writer)
    finally:
        for _, source in sources:
            os.close(source)
    try:
        reason = _hear(reader, seconds)
    finally:
        os.close(reader)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    if reason:
        raise OSError(f"the user's copy in {work_dir} was not made: {reason}")


def _hear(reader: int, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    said = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
        data = os.read(reader, _REASON_BYTES)
        if not data:
            return said.decode("utf-8", "replace")
        said += data
    raise TimeoutError("the user's copy takes too long: nobody waits for it any more")


def _guard(be: Callable[[], NoReturn], writer: int, limit_seconds: float) -> NoReturn:
    """Start the copying process and see to its end, as root: the user may stop a process that is the user's."""
    reason = "no process could be started for it"
    try:
        signal.signal(signal.SIGALRM, _run_out)
        worker = os.fork()
        if worker == 0:
            be()
        try:
            signal.setitimer(signal.ITIMER_REAL, limit_seconds)
            _, status = os.waitpid(worker, 0)
            killed = os.WIFSIGNALED(status)
            reason = f"the copying process was killed by signal {os.WTERMSIG(status)}" if killed else ""
        except TimeoutError:
            os.kill(worker, signal.SIGKILL)  # it has not been waited for: the number is still its own
            reason = "it took too long"
    finally:
        with contextlib.suppress(OSError):
            os.write(writer, reason.encode())
        os._exit(0)


def _run_out(_number: int, _frame: object) -> NoReturn:
    raise TimeoutError


def _be(owner: User, sources: Sequence[tuple[str, int]], writer: int, work_dir: str, name: str) -> NoReturn:
    """Become the user for good, copy, and be gone."""
    reason = ""
    try:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        close_all_but({0, 1, 2, writer, *(source for _, source in sources)})
        _drop(owner)
        _copy(sources, work_dir, name)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    except BaseException as error:  # noqa: BLE001  whatever it is, the process that was root ends here
        reason = type(error).__name__
    finally:
        with contextlib.suppress(OSError):
            os.write(writer, reason.encode("utf-8", "replace")[:_REASON_BYTES])
        os._exit(0)


def _drop(owner: User) -> None:
    """Give up every right but the user's. Raises OSError where one is left."""
    os.setgroups(owner.groups)
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    if os.getresuid() != (owner.uid,) * 3 or os.getresgid() != (owner.gid,) * 3:
        raise PermissionError("the rights of root could not be given up")
    if owner.uid != 0:
        with contextlib.suppress(PermissionError):
            os.setuid(0)
            raise ChildProcessError("the rights of root could not be given up")
    os.umask(0o022)


def _copy(sources: Sequence[tuple[str, int]], work_dir: str, name: str) -> None:
    if not work_dir.startswith("/"):
        raise FileNotFoundError("the job has no directory")
    folder = os.open("/", _THROUGH)
    for part in filter(None, work_dir.split("/")):
        folder = _enter(folder, part)
    made = _make(folder, FOLDER, 0o755)
    folder = _enter(folder, FOLDER)
    if made:
        ignore = os.open(".gitignore", _NEW, 0o644, dir_fd=folder)
        os.write(ignore, b"*\n")
        os.close(ignore)
    if not _make(folder, name, 0o700):
        return  # an epilog before this one has copied it
    try:
        _fill(os.open(name, _THROUGH, dir_fd=folder), sources)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=folder)
        raise


def _fill(folder: int, sources: Sequence[tuple[str, int]]) -> None:
    """Write all files or, for half a record would be taken for a whole one, none."""
    written = []
    try:
        for name, source in sources:
            target = os.open(name, _NEW, 0o600, dir_fd=folder)
            written.append(name)
            _pour(source, target)
            os.close(target)
    except OSError:
        for name in written:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
        raise


def _make(folder: int, name: str, mode: int) -> bool:
    """Make a folder; False where there is something of that name."""
    try:
        os.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def _pour(source: int, target: int) -> None:
    while data := os.read(source, _CHUNK):
        while data:
            data = data[os.write(target, data) :]


def _enter(folder: int, name: str) -> int:
    """Go into a folder that is no symlink."""
    inner = os.open(name, _THROUGH, dir_fd=folder)
    os.close(folder)
    return inner
