"""Ending a command with all that it has started: SIGTERM first, ten seconds later SIGKILL for what is still there.

A process of its own does it, because what the command has started may outlive it, and the sampler may not. To the
command belongs what descends from it, and what was orphaned but still has the run's id in its environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from greenrun.cli import procstat
from greenrun.cli.descriptors import close_all_but

if TYPE_CHECKING:
    from collections.abc import Iterable

TERM_SECONDS = 10.0
"""So long a process may take to save what it has, as with `docker stop`."""

_KILL_SECONDS = 2.0  # for processes that are killed, and for those that they have started meanwhile
_LOOK_SECONDS = 0.1
_NAME = b"greenrun-stop"  # the kernel keeps 15 bytes


def begin(pid: int, run_id: str, spared: Iterable[int], term_seconds: float = TERM_SECONDS) -> bool:
    """Begin to end the command `pid` of a run; False where no process can be made. `spared`: greenrun's own."""
    spared = {*spared, os.getpid()}
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        try:
            os.setsid()
            close_all_but({0, 1, 2})  # who waits for the sampler's end must not wait for this one's
            with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as file:
                file.write(_NAME)
            end(pid, run_id, spared, term_seconds)
        finally:
            os._exit(0)
    return True


def end(pid: int, run_id: str, spared: Iterable[int], term_seconds: float) -> None:
    """End the command and what it has started, and come back when nothing of it is left or can be ended."""
    spared = {*spared, os.getpid()}
    known = {one: start for one, start in members(pid, run_id, {}).items() if one not in spared}
    _send(known, signal.SIGTERM)
    _send(known, signal.SIGCONT)  # what stands still cannot take the first one
    deadline = time.monotonic() + term_seconds
    while _living(known) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    # From the beginning: some may have been started meanwhile, and while these are killed.
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline:
        found = members(pid, run_id, known)
        known = {one: start for one, start in found.items() if one not in spared}
        if not known:
            return
        _send(known, signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)


def members(pid: int, run_id: str, known: dict[int, str]) -> dict[int, str]:
    """Give the living processes of a command by their ids, with their start: of `known` and all that descends.

    A process id that was given to another process meanwhile is told by its start.
    """
    mark = b"GREENRUN_RUN_ID=" + run_id.encode()
    starts: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        told = procstat.fields(int(name)) if name.isdigit() else []
        if told and told[procstat.STATE] not in "ZX":
            starts[int(name)] = told[procstat.START]
            children.setdefault(int(told[procstat.PARENT]), []).append(int(name))
    waiting = [one for one, start in known.items() if starts.get(one) == start]
    waiting += [one for one in starts if _has(one, mark)]
    if not known:
        waiting.append(pid)
    found: dict[int, str] = {}
    while waiting:
        one = waiting.pop()
        if one in starts and one not in found:
            found[one] = starts[one]
            waiting += children.get(one, ())
    return found


def _has(pid: int, mark: bytes) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return mark in file.read().split(b"\0")
    return False


def _living(known: dict[int, str]) -> bool:
    return any(_is(pid, start) for pid, start in known.items())


def _is(pid: int, start: str) -> bool:
    told = procstat.fields(pid)
    return bool(told) and told[procstat.START] == start and told[procstat.STATE] not in "ZX"


def _send(known: dict[int, str], number: int) -> None:
    for pid, start in known.items():
        if _is(pid, start):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
