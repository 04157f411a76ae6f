"""Descriptors of the processes that greenrun forks."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_MOST_DESCRIPTORS = 4096  # where /proc does not tell which are open


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
