"""Follow the output of a command where it goes into a regular file: read what is appended, find the epochs in it."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenrun.sampler.epochs import Mark, Scanner

# A job that writes more than this is not read in full; what is left out is counted. Where nobody has asked for epochs
# much less is read, for then the file may hold anything, an archive for one, and reading must cost nothing to speak of.
BYTES_PER_SECOND = 50_000_000
UNASKED_BYTES_PER_SECOND = 1_000_000
# Between two looks, which is how late an epoch's end may be found: a fortieth of the time in which nothing was written,
# for that is little of what the epoch took.
_SOONEST_SECONDS, _LATEST_SECONDS = 0.25, 1.0
_LATE_PART = 40
_PIECE_BYTES = 256 * 1024


class Follower:
    """Reads a growing file from `position` on, from where it ends now unless told, and has `scanner` look at it.

    `path` names the file through a descriptor of the job or of ours (`/proc/PID/fd/1`), so that it is found whatever
    became of its name. It is opened anew: no offset and no lock is shared with the job. Raises OSError where the file
    cannot be opened for reading, ValueError where it is no regular file.
    """

    def __init__(
        self,
        path: str,
        scanner: Scanner,
        position: int | None = None,
        bytes_per_second: int = BYTES_PER_SECOND,
    ) -> None:
        self._scanner = scanner
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # told before it is opened: opening a pipe or a terminal has effects
            raise ValueError(f"{path} is not a regular file")
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        self.file = (status.st_dev, status.st_ino)
        self._unread_bytes = 0
        self.due = 0.0  # CLOCK_MONOTONIC seconds at which `read` wants to be called
        self._position = status.st_size if position is None else position
        self._was_emptied = False
        self._bytes_per_second = bytes_per_second
        self._allowance = float(bytes_per_second)
        self._read_at = self._grew_at = time.monotonic()

    def read(self) -> list[Mark]:
        """Give the marks in what was appended since the last call.

        Several that came since then are told as if they had come at equal distances, the last one now.

        So many bytes are read for each second that has passed, a second's worth at once at most; of more, the oldest
        is left out and counted in `skipped_bytes`. A file that became shorter is read again from its beginning, less
        the zeros that are there where the job writes on at its old place. Raises OSError where the file system fails.
        """
        now = time.monotonic()
        refilled = self._allowance + (now - self._read_at) * self._bytes_per_second
        self._allowance = min(float(self._bytes_per_second), refilled)
        before, self._read_at = self._read_at, now
        size = os.lseek(self._descriptor, 0, os.SEEK_END)  # fstat would have NFS write out all that the job wrote
        if size < self._position:
            self._position = 0
            self._was_emptied = True
            self._scanner.restart()
        if size > self._position:
            self._grew_at = now
            if self._was_emptied:
                self._skip_hole()
        late = min(max((now - self._grew_at) / _LATE_PART, _SOONEST_SECONDS), _LATEST_SECONDS)
        # At moments that all share, so that a command's stdout and stderr cost one awakening and not two.
        self.due = (now + late) // _SOONEST_SECONDS * _SOONEST_SECONDS
        budget = int(self._allowance)
        if size - self._position > budget:
            self._unread_bytes += size - budget - self._position
            self._position = size - budget
            self._scanner.skip()
        self._allowance -= size - self._position
        marks: list[Mark] = []
        while self._position < size:
            data = os.pread(self._descriptor, min(_PIECE_BYTES, size - self._position), self._position)
            if not data:  # cut short between the two calls
                break
            self._position += len(data)
            if self._was_emptied:
                data = data.lstrip(b"\0")  # a hole ends within a block of the file system
                self._was_emptied = not data
            marks += self._scanner.feed(data)
        return _spread(marks, before, now)

    def _skip_hole(self) -> None:
        with contextlib.suppress(OSError):  # nothing but a hole, or a file system that cannot tell
            self._position = os.lseek(self._descriptor, self._position, os.SEEK_DATA)

    def finish(self) -> list[Mark]:
        """Give the marks in what is left, now that the job has ended: also in a last line that nothing ended."""
        before = self._read_at
        marks = self.read() + self._scanner.finish()
        return _spread(marks, before, self._read_at)

    @property
    def skipped_bytes(self) -> int:
        """How many bytes have not been searched, because they came too fast or a user's pattern was too slow."""
        return self._unread_bytes + self._scanner.skipped_bytes

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def _spread(marks: list[Mark], after: float, until: float) -> list[Mark]:
    """Give the marks their times, for an epoch that took no time at all would be a false figure."""
    step = (until - after) / max(len(marks), 1)
    return [mark._replace(at=after + step * number) for number, mark in enumerate(marks, start=1)]
