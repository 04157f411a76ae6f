"""Descriptors of the processes that greenrun forks, and of greenrun itself while they run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from types import TracebackType

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


class Replaced:
    """Descriptors that stand for something else until the end of the `with` block."""

    def __init__(self, stand_in: int, numbers: Iterable[int]) -> None:
        self._saved: dict[int, int] = {}
        for number in numbers:
            self._saved[number] = os.dup(number)
            os.dup2(stand_in, number)

    def restore(self) -> None:
        """Put the descriptors back as they were."""
        while self._saved:
            number, saved = self._saved.popitem()
            os.dup2(saved, number)
            os.close(saved)

    def __enter__(self) -> Replaced:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.restore()
