"""The marks file, read as a job appends to it, and what a job may do to it instead."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenrun.sampler.marksfile import MarksFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give an empty marks file."""
    path = tmp_path / "marks"
    path.touch()
    return path


def append(path: Path, data: bytes) -> None:
    """Append as `echo >>` does."""
    with open(path, "ab") as file:
        file.write(data)


def test_each_line_once(path: Path) -> None:
    """Lines come in their order, each once, and half a line when its other half has come."""
    marks = MarksFile(str(path))
    assert marks.lines() == []
    append(path, b"epoch 1\nepoch 2\nepo")
    assert marks.lines() == ["epoch 1", "epoch 2"]
    assert marks.lines() == []
    append(path, b"ch 3\n")
    assert marks.lines() == ["epoch 3"]


def test_it_wakes_its_reader(path: Path) -> None:
    """The descriptor is readable after each write, quiet before it and after the lines were taken."""
    marks = MarksFile(str(path))
    if marks.descriptor is None:
        assert marks.poll_seconds is not None
        pytest.skip("this kernel has no inotify, so the file is polled")
    for _ in range(3):
        assert select.select([marks.descriptor], [], [], 0)[0] == []
        append(path, b"epoch 1\n")
        assert select.select([marks.descriptor], [], [], 5)[0]
        assert marks.lines() == ["epoch 1"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_in_any_pieces(path: Path, pieces: list[bytes]) -> None:
    """Whatever is written, in whatever pieces: the lines are those of the whole, and no error."""
    path.write_bytes(b"")
    marks = MarksFile(str(path))
    lines: list[str] = []
    for piece in pieces:
        append(path, piece)
        lines += marks.lines()
    assert lines == [line.decode("utf-8", "replace") for line in b"".join(pieces).split(b"\n")[:-1]]


def test_a_flood_is_taken_in_portions(path: Path) -> None:
    """A megabyte at a time, so that the sampling goes on; nothing is lost."""
    append(path, b"epoch 1\n" * 400_000)
    marks = MarksFile(str(path))
    portions = []
    while lines := marks.lines():
        portions.append(len(lines))
    assert sum(portions) == 400_000
    assert max(portions) <= 2**20 / len(b"epoch 1\n")


def test_a_line_without_end_takes_no_memory(path: Path) -> None:
    """Ten megabytes without a line end are no marker; the line after them is."""
    marks = MarksFile(str(path))
    append(path, b"x" * 10_000_000)
    for _ in range(20):
        assert marks.lines() == []
    assert len(marks._rest) <= 4096
    append(path, b"\nepoch 1\n")
    assert marks.lines()[-1] == "epoch 1"


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """A link, and no file at all, are errors; a FIFO is neither waited for nor in the way."""
    os.symlink("/etc/passwd", tmp_path / "link")
    for name in ("link", "missing"):
        with pytest.raises(OSError, match=r"symbolic|No such file"):
            MarksFile(str(tmp_path / name))
    os.mkfifo(tmp_path / "fifo")
    assert MarksFile(str(tmp_path / "fifo")).lines() == []


def test_a_file_that_is_cut_or_removed(path: Path) -> None:
    """What was read stays read; a reader of a file that is gone reads no more."""
    marks = MarksFile(str(path))
    append(path, b"epoch 1\n")
    assert marks.lines() == ["epoch 1"]
    os.truncate(path, 0)
    assert marks.lines() == []
    os.unlink(path)
    assert marks.lines() == []
