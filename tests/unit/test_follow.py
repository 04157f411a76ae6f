"""Following a regular file that a job writes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from greenrun.sampler import epochs, follow
from greenrun.sampler.epochs import Mark, Scanner
from greenrun.sampler.follow import Follower


def found(marks: list[Mark]) -> list[Mark]:
    """Give marks without their times."""
    return [mark._replace(at=None) for mark in marks]


def test_starts_at_the_end(tmp_path: Path) -> None:
    """What was in the file before is not this job's."""
    path = tmp_path / "out"
    path.write_text("Epoch 1 loss 1\n")
    follower = Follower(str(path), Scanner())
    assert follower.read() == []
    with path.open("a") as file:
        file.write("Epoch 2 loss 1\nEpo")
        file.flush()
        assert found(follower.read()) == [Mark(2, None, "end")]
        file.write("ch 3 loss 1")
    assert found(follower.finish()) == [Mark(3, None, "end")]


def test_through_the_descriptor_of_a_process(tmp_path: Path) -> None:
    """The file is found through the job's descriptor, also when its name is gone; lock and offset stay the job's."""
    path = tmp_path / "out"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        job = subprocess.Popen(["sh", "-c", "read x; echo Epoch 5/9"], stdin=subprocess.PIPE, stdout=file)
        follower = Follower(f"/proc/{job.pid}/fd/1", Scanner())
        path.unlink()
        job.communicate(b"\n")
        assert found(follower.read()) == [Mark(5, 9, "start")]
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == len("Epoch 5/9\n")
    follower.close()


def test_truncated(tmp_path: Path) -> None:
    """A file that becomes shorter is read again from its beginning."""
    path = tmp_path / "out"
    path.write_text("x" * 1000 + "\nEpoch 1\nEpo")
    follower = Follower(str(path), Scanner(), 0)
    assert found(follower.read()) == [Mark(1, None, "start")]
    path.write_text("Epoch 2\n")
    assert found(follower.read()) == [Mark(2, None, "start")]


@pytest.mark.parametrize("size", [100, 10_000, 3 * follow.BYTES_PER_SECOND])
def test_emptied_below_a_job_that_writes_on(tmp_path: Path, size: int) -> None:
    """Where it does not append, it goes on at its old place: what is before that is zeros, and none of its output."""
    path = tmp_path / "out"
    with path.open("wb", buffering=0) as file:
        file.truncate(size)
        file.seek(size)
        follower = Follower(str(path), Scanner())
        os.truncate(path, 0)
        assert follower.read() == []
        file.write(b"Epoch 1/9\nEpoch 2/9\n")
        assert found(follower.read()) == [Mark(1, 9, "start"), Mark(2, 9, "start")]
        file.write(b"Epoch 3/9\n")
        assert found(follower.read()) == [Mark(3, 9, "start")]
    assert follower.skipped_bytes == 0


def test_budget(tmp_path: Path) -> None:
    """More than the budget: the newest part is read, the rest is counted."""
    path = tmp_path / "out"
    path.touch()
    follower = Follower(str(path), Scanner())
    with path.open("r+b") as file:
        file.truncate(3 * follow.BYTES_PER_SECOND)  # sparse
        file.seek(0, os.SEEK_END)
        file.write(b"\nEpoch 9/9\n")
    assert found(follower.read()) == [Mark(9, 9, "start")]
    assert follower.skipped_bytes == 2 * follow.BYTES_PER_SECOND + len(b"\nEpoch 9/9\n")


def test_budget_where_nobody_asked(tmp_path: Path) -> None:
    """The budget is for each second, whatever the number of calls in it."""
    path = tmp_path / "out"
    path.touch()
    follower = Follower(str(path), Scanner(), bytes_per_second=1000)
    began = time.monotonic()
    with path.open("r+b") as file:
        for size in (900, 1800, 90_000):
            file.truncate(size)
            follower.read()
    assert 90_000 - 1000 * (1 + time.monotonic() - began) <= follower.skipped_bytes <= 89_000


def test_looks_again_in_time(tmp_path: Path) -> None:
    """A file that grows is wanted again soon, one that has been quiet for long not quite so soon."""
    path = tmp_path / "out"
    path.write_text("x")
    follower = Follower(str(path), Scanner(), 0)
    assert follower.due <= time.monotonic()
    follower.read()
    assert 0 < follower.due - time.monotonic() <= 0.25


def test_several_marks_in_one_look(tmp_path: Path) -> None:
    """They came somewhen since the last look: no epoch took no time, and together they took that long."""
    path = tmp_path / "out"
    path.touch()
    follower = Follower(str(path), Scanner())
    before = time.monotonic()
    follower.read()
    after = time.monotonic()
    path.write_text("Epoch 1/9\nEpoch 2/9\nEpoch 3/9\nEpoch 4/9")
    time.sleep(0.2)
    now = time.monotonic()
    times = [mark.at or 0.0 for mark in follower.finish()]
    steps = [late - early for early, late in pairwise([before, *times])]
    assert [mark for mark in steps if mark < 0.04] == []
    assert now <= times[-1] <= time.monotonic()
    assert steps[2:] == pytest.approx(steps[1:-1], abs=1e-6)
    assert times[0] - after <= steps[1]


def test_pattern_that_is_too_slow(tmp_path: Path) -> None:
    """What a user's pattern had no time for counts as skipped."""
    path = tmp_path / "out"
    path.write_text("a" * 4000 + "!\n")
    follower = Follower(str(path), Scanner(pattern=epochs.pattern(r"(a+)+b(\d+)", None)), 0)
    assert follower.finish() == []
    assert follower.skipped_bytes >= path.stat().st_size


def test_not_a_regular_file(tmp_path: Path) -> None:
    """A pipe is not followed, a missing file is an OSError."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="not a regular file"):
        Follower(str(tmp_path / "fifo"), Scanner())
    with pytest.raises(FileNotFoundError):
        Follower(str(tmp_path / "none"), Scanner())
