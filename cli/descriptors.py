"""Pipes between the processes of a run, and what they do not inherit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_MOST_DESCRIPTORS = 4096  # where /proc does not tell which are open
_LOWEST_DESCRIPTOR = 3  # a closed stdin, stdout or stderr must not become one of our pipes


def pipe() -> tuple[int, int]:
    """Make a pipe, reader and writer, that is not inherited and stays clear of the standard descriptors."""
    reader, writer = os.pipe()
    try:
        reader = above(reader)
        return reader, above(writer)
    except OSError:
        os.close(reader)
        os.close(writer)
        raise


def above(descriptor: int) -> int:
    """Give a descriptor that is clear of the standard ones: this one, or else one that takes its place."""
    if descriptor >= _LOWEST_DESCRIPTOR:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR)
    os.close(descriptor)
    return moved


def bind_to_pipe(reader: int, pid: int) -> bool:
    """Have the kernel kill a process, stopped or not, when the other end of a pipe is closed, for whatever reason.

    True where it is closed already: then nobody will.
    """
    fcntl.fcntl(reader, fcntl.F_SETOWN, pid)
    fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
    return bool(select.select([reader], [], [], 0)[0])


def tell_by_signal(descriptor: int) -> None:
    """Have SIGIO tell when there is something to read, or nobody to write any more."""
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)


def tell_no_more(descriptor: int) -> None:
    """End that. Closing is not enough while a child has the descriptor too, and SIGIO would end the command."""
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_ASYNC)


def close_all_but(kept: Collection[int]) -> None:
    """Close every other descriptor: a helper must hold no lock, no pipe and no jobserver of the job's."""
    try:
        opened = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        opened = list(range(_MOST_DESCRIPTORS))
    for descriptor in opened:
        if descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)
