"""Follow the output of a command where it goes into a regular file: read what is appended, find the epochs in it."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from greenrun.sampler.epochs import Scanner

if TYPE_CHECKING:
    from greenrun.sampler.epochs import Mark, Series

BYTES_PER_SECOND = 50_000_000  # a job that writes more than this is not read in full; what is left out is counted
_PIECE_BYTES = 256 * 1024


class Follower:
    """Reads a growing file from `position` on, from where it ends now unless told.

    `path` names the file through a descriptor of the job or of ours (`/proc/PID/fd/1`), so that it is found whatever
    became of its name. It is opened anew: no offset and no lock is shared with the job. Raises OSError where the file
    cannot be opened for reading, ValueError where it is no regular file.
    """

    def __init__(self, path: str, series: Series | None = None, position: int | None = None) -> None:
        self._scanner = Scanner(series)
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # told before it is opened: opening a pipe or a terminal has effects
            raise ValueError(f"{path} is not a regular file")
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        self.file = (status.st_dev, status.st_ino)
        self.skipped_bytes = 0
        self._position = status.st_size if position is None else position
        self._read_at = time.monotonic()

    def read(self) -> list[Mark]:
        """Give the marks in what was appended since the last call.

        At most 50 MB are read for each second that has passed (and for one second at least); of more, the oldest is
        left out and counted in `skipped_bytes`. A file that became shorter is read again from its beginning. Raises
        OSError where the file system fails.
        """
        now = time.monotonic()
        budget = int(BYTES_PER_SECOND * max(1.0, now - self._read_at))
        self._read_at = now
        size = os.fstat(self._descriptor).st_size
        if size < self._position:
            self._position = 0
            self._scanner.skip()
        if size - self._position > budget:
            self.skipped_bytes += size - budget - self._position
            self._position = size - budget
            self._scanner.skip()
        marks: list[Mark] = []
        while self._position < size:
            data = os.pread(self._descriptor, min(_PIECE_BYTES, size - self._position), self._position)
            if not data:  # cut short between the two calls
                break
            self._position += len(data)
            marks += self._scanner.feed(data)
        return marks

    def finish(self) -> list[Mark]:
        """Give the marks in what is left, now that the job has ended: also in a last line that nothing ended."""
        return self.read() + self._scanner.finish()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)
