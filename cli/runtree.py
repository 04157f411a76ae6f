"""The run directories below a log directory, and the record of each: read one at a time and never written.

The tree may be another user's. Links are not followed, nothing but a plain file of a sane size is read, and a FIFO
keeps nobody waiting. A run without summary.json was killed, or is still running: its record is made from its log.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.reports import account
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUMMARY_NAME = "summary.json"
LARGEST_BYTES = 64 * 1024 * 1024
"""A larger summary is none of ours, whatever it is."""

_DEEPEST = 16  # of folders; a spool has three


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # made once: that takes a tenth of what reading a summary does


class Found(NamedTuple):
    """A run directory: its record as it stands in the file, or why there is none."""

    path: str
    document: Any
    reason: str | None


def is_tree(path: str) -> bool:
    """Tell whether a directory is one of many runs, and not of one."""
    if any(os.path.lexists(os.path.join(path, name)) for name in (SUMMARY_NAME, runlog.LOG_NAME)):
        return False
    try:
        with os.scandir(path) as entries:
            return any(entry.is_dir(follow_symlinks=False) for entry in entries)
    except OSError:  # it is told as a run directory is that cannot be read
        return False


def one(run_dir: str) -> Found:
    """Give the run in a run directory."""
    return next(_below(run_dir, 0), Found(run_dir, None, "it is no run directory"))


def walk(log_dir: str, passed: Callable[[int, int], None] = lambda _done, _of: None) -> Iterator[Found]:
    """Give the runs below `log_dir`; `passed(done, of)` is told how many of its entries are done. Raises OSError."""
    names = sorted(entry.name for entry in os.scandir(log_dir) if entry.is_dir(follow_symlinks=False))
    for done, name in enumerate(names):
        passed(done, len(names))
        yield from _below(os.path.join(log_dir, name), _DEEPEST)
    passed(len(names), len(names))


def _below(path: str, depth: int) -> Iterator[Found]:
    try:
        yield Found(path, _document(os.path.join(path, SUMMARY_NAME)), None)
    except FileNotFoundError:
        yield from _without_summary(path, depth)
    except OSError as error:
        link = error.errno == errno.ELOOP
        reason = "it is a link, and none is followed" if link else os.strerror(error.errno or 0)
        yield Found(path, None, f"{SUMMARY_NAME} cannot be read: {reason}")
    except (ValueError, RecursionError) as error:
        yield Found(path, None, f"{SUMMARY_NAME} is damaged: {_first_line(error)}")


def _without_summary(path: str, depth: int) -> Iterator[Found]:
    if os.path.lexists(os.path.join(path, runlog.LOG_NAME)):
        yield _from_log(path)
        return
    try:
        names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:  # it has gone meanwhile
        return
    except OSError as error:
        yield Found(path, None, f"it cannot be read: {os.strerror(error.errno or 0)}")
        return
    if names and depth == 0:
        yield Found(path, None, "it lies too deep")
        return
    for name in names:
        yield from _below(os.path.join(path, name), depth - 1)


def _document(path: str) -> Any:
    """Read a JSON file. Raises OSError, ValueError or RecursionError."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no plain file")
        if status.st_size > LARGEST_BYTES:
            raise ValueError("it is too large")
        data = os.read(file, status.st_size + 1)
        while len(data) < status.st_size and (more := os.read(file, status.st_size - len(data))):
            data += more
    finally:
        os.close(file)
    return _DECODER.decode(data.decode())


def _from_log(path: str) -> Found:
    try:
        return Found(path, account.account(runlog.read(path)), None)
    except runlog.Unreadable as error:
        return Found(path, None, str(error).rstrip("."))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return Found(path, None, f"{runlog.LOG_NAME} lacks what a run log has ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
