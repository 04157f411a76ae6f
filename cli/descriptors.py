"""Pipes between the processes of a run, and what they do not inherit."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_MOST_DESCRIPTORS = 4096  # where /proc does not tell which are open
_LOWEST_DESCRIPTOR = 3  # a closed stdin, stdout or stderr must not become one of our pipes


def pipe() -> tuple[int, int]:
    """Make a pipe, reader and writer, that is not inherited and stays clear of the standard descriptors."""
    reader, writer = os.pipe()
    try:
        reader = _above(reader)
        return reader, _above(writer)
    except OSError:
        os.close(reader)
        os.close(writer)
        raise


def _above(descriptor: int) -> int:
    if descriptor >= _LOWEST_DESCRIPTOR:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR)
    os.close(descriptor)
    return moved


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
