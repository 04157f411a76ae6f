"""The spool: where a site keeps the records of its jobs.

    runs/JOB/NODE-RUN/   the run directory of a job on a node; RUN is the end of the run's id
    live/JOB-NODE.json   the handle of its daemon while it runs

Root alone may write there, and to the folders above it: what root reads and writes below it then is what root has put
there, and no name in it is a user's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.cli.handle import Handle
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING_NAME = "ending.json"
"""In a run directory, from the epilog for the daemon: {job_exit_code}."""

RUNS, LIVE = "runs", "live"
LIVE_NAME = re.compile(r"(?P<job>[0-9]+)-(?P<node>.+?)(?:\.[0-9a-f]{12})?\.json")
_LARGEST_HANDLE_BYTES = 1 << 16
_LARGEST_START_BYTES = 4 << 20
_RUN = re.compile(r"-[0-9a-f]{12}")


class Entry(NamedTuple):
    """What `live` holds of one run: its file, and the handle of its daemon."""

    path: str
    handle: Handle


def prepare(spool: str) -> None:
    """Make the spool where it is not there. PermissionError for one that others than root may write; OSError."""
    _check_way(spool, with_itself=False)  # before anything is made there
    for folder in (spool, os.path.join(spool, RUNS), os.path.join(spool, LIVE)):
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o755)
        check(folder)


def check(folder: str) -> None:
    """See to it that nobody but the owner of this process can write a folder or put another in its place.

    PermissionError with a sentence where somebody can; OSError.
    """
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(f"{folder} is no directory, as the spool must be")
    _check_way(folder, with_itself=True)


def _check_way(folder: str, *, with_itself: bool) -> None:
    # Where links lead to, and where they lie: who can replace one leads us elsewhere.
    for path in (os.path.realpath(folder), os.path.abspath(folder)):
        for above in _with_all_above(path if with_itself else os.path.dirname(path)):
            status = os.stat(above)
            owners = {status.st_uid, os.lstat(above).st_uid}
            # In a folder with the sticky bit, as /tmp, nobody removes or renames what is another's.
            open_to_others = status.st_mode & 0o022 and not (status.st_mode & stat.S_ISVTX and above != path)
            if owners - {0, os.geteuid()} or open_to_others:
                raise PermissionError(f"{folder} is no spool: others than root can write {above}")


def _with_all_above(path: str) -> Iterator[str]:
    yield path
    while (above := os.path.dirname(path)) != path:  # of // too, which POSIX lets be another root than /
        path = above
        yield path


def run_dir(spool: str, job_id: str, node: str, run_id: str) -> str:
    """Give the run directory of a run of a job on a node."""
    return os.path.join(spool, RUNS, job_id, f"{node}-{_tail(run_id)}")


def make_run_dir(path: str) -> None:
    """Make a run directory, for root alone. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(os.path.dirname(path), 0o755)
    os.mkdir(path, 0o700)


def newest_run_dir(spool: str, job_id: str, node: str) -> str | None:
    """Give the run directory of the newest run of a job on a node, None if there is none."""
    folder = os.path.join(spool, RUNS, job_id)
    try:
        names = [name for name in os.listdir(folder) if name.startswith(node) and _RUN.fullmatch(name[len(node) :])]
    except (FileNotFoundError, NotADirectoryError):
        return None
    return max((os.path.join(folder, name) for name in names), key=_began_at, default=None)


def _began_at(path: str) -> str:
    return str(start_of(path).get("utc", ""))


def start_of(run_dir: str) -> dict[str, Any]:
    """Give the first event of a run, of whatever version of greenrun; empty where there is none to read."""
    with contextlib.suppress(OSError, ValueError), open(os.path.join(run_dir, runlog.LOG_NAME), "rb") as file:
        start = json.loads(file.readline(_LARGEST_START_BYTES))
        if isinstance(start, dict):
            return start
    return {}


def live(spool: str, job_id: str, node: str) -> Entry | None:
    """Give the run of a job that goes on on a node, or has not been seen to end; None if there is none."""
    return _entry(_live_path(spool, job_id, node))


def of_node(spool: str, node: str) -> Iterator[Entry]:
    """Give the runs that `live` knows on a node, of all jobs."""
    folder = os.path.join(spool, LIVE)
    for name in sorted(os.listdir(folder)):
        told = LIVE_NAME.fullmatch(name)
        entry = _entry(os.path.join(folder, name)) if told and told["node"] == node else None
        if entry is not None:
            yield entry


def keep(spool: str, job_id: str, node: str, handle: Handle) -> Entry:
    """Put a run among those that go on; one of the same job and node that is there is put aside. Raises OSError."""
    path = _live_path(spool, job_id, node)
    earlier = _entry(path)
    if earlier is not None:
        os.replace(path, f"{path.removesuffix('.json')}.{_tail(earlier.handle.run_id)}.json")
    runlog.replace(path, handle.to_json().encode())
    return Entry(path, handle)


def forget(entry: Entry) -> None:
    """Take a run away from those that go on. Raises OSError."""
    aside = f"{entry.path.removesuffix('.json')}.{_tail(entry.handle.run_id)}.json"
    for path in (entry.path, aside):
        found = _entry(path)
        if found is not None and found.handle.run_id == entry.handle.run_id:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _live_path(spool: str, job_id: str, node: str) -> str:
    return os.path.join(spool, LIVE, f"{job_id}-{node}.json")


def _entry(path: str) -> Entry | None:
    """Read what `keep` has written; what is no such thing is not there for us."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return Entry(path, Handle.from_json(os.read(file, _LARGEST_HANDLE_BYTES).decode()))
    except (OSError, ValueError):
        return None
    finally:
        os.close(file)


def _tail(run_id: str) -> str:
    return run_id.replace("-", "")[-12:]
