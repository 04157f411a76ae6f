"""The file that a job appends its markers to, read as it grows."""

from __future__ import annotations

import contextlib
import os

_POLL_SECONDS = 0.25  # where the kernel gives no inotify
_IN_MODIFY = 0x00000002  # linux/inotify.h
_PIECE_BYTES = 64 * 1024
_MOST_PIECES = 16  # at a time: whatever the job writes there, the sampling goes on
_LINE_LIMIT_BYTES = 4096  # no marker is longer


class MarksFile:
    """Reads whole lines as they are appended.

    `descriptor` becomes readable when there may be more; where it is None the file wants to be looked at each
    `poll_seconds`. Raises OSError where the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        # Without waiting: the job may have put a FIFO in its place.
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._rest = b""
        self.descriptor = _watch(path)
        self.poll_seconds = None if self.descriptor is not None else _POLL_SECONDS

    def lines(self) -> list[str]:
        """Give the lines that were completed since the last call: a megabyte of them at most, the rest next time."""
        if self.descriptor is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self.descriptor, _PIECE_BYTES)
        lines: list[bytes] = []
        with contextlib.suppress(OSError):
            for _ in range(_MOST_PIECES):
                data = os.read(self._file, _PIECE_BYTES)
                if not data:
                    break
                *whole, rest = (self._rest + data).split(b"\n")
                self._rest = rest[:_LINE_LIMIT_BYTES]
                lines += whole
        return [line.decode("utf-8", "replace") for line in lines]


def _watch(path: str) -> int | None:
    """Ask the kernel to tell when the file at `path` is written to; None where it cannot."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    except AttributeError:  # a C library without it
        return None
    if descriptor < 0:
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) < 0:
        os.close(descriptor)
        return None
    return descriptor
