"""Markers: from Python, from a shell, and where nobody listens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine.privilege import unprivileged

import greenrun
from greenrun.cli import mark
from greenrun.cli.errors import UserError
from greenrun.sampler.epochs import Mark, Metric, parse_marker


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file that a greenrun around us would read."""
    path = tmp_path / "marks"
    path.touch()
    monkeypatch.setenv("GREENRUN_MARKS", str(path))
    return path


def test_python_and_shell_write_what_the_daemon_understands(marks: Path) -> None:
    """Both doors lead to the same lines."""
    greenrun.epoch(3)
    greenrun.epoch(4, of=10)
    greenrun.metric("top 1\nerror", 0.25)
    assert mark.main(["epoch", "5"]) == 0
    assert mark.main(["epoch", "6", "--of", "10"]) == 0
    assert mark.main(["epoch", "--of", "10", "7"]) == 0
    assert mark.main(["metric", "loss", "-1e-3"]) == 0
    assert [parse_marker(line) for line in marks.read_text().splitlines()] == [
        Mark(3, None, "end"),
        Mark(4, 10, "end"),
        Metric("top_1_error", 0.25),
        Mark(5, None, "end"),
        Mark(6, 10, "end"),
        Mark(7, 10, "end"),
        Metric("loss", -0.001),
    ]


def test_a_marker_is_appended(marks: Path) -> None:
    """What others have written stays."""
    marks.write_text("epoch 1\n")
    greenrun.epoch(2)
    assert marks.read_text() == "epoch 1\nepoch 2\n"


@pytest.mark.parametrize("where", ["missing", "missing/deep", ".", "pipe", ""])
def test_where_nobody_listens_nothing_happens(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No file (none is made), a directory, a pipe without a reader, no greenrun at all: no error, no wait, no word."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("GREENRUN_MARKS", str(tmp_path / where) if where else "")
    greenrun.epoch(1)
    greenrun.metric("loss", 1.0)
    assert mark.main(["epoch", "1"]) == 0
    monkeypatch.delenv("GREENRUN_MARKS")
    greenrun.epoch(1)
    assert mark.main(["epoch", "1"]) == 0
    assert os.listdir(tmp_path) == ["pipe"]
    assert capfd.readouterr() == ("", "")


def test_a_pipe_that_is_full_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marker is dropped rather than the job held up."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writer, b"x" * 65536)
        monkeypatch.setenv("GREENRUN_MARKS", str(path))
        greenrun.epoch(1)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_file_that_may_not_be_written_is_no_error(marks: Path) -> None:
    """As a user whom permissions bind."""
    marks.chmod(0)
    command = unprivileged([sys.executable, "-c", "import greenrun; greenrun.epoch(1)"])
    told = subprocess.run(command, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
    assert marks.stat().st_size == 0


def test_nonsense_from_python_never_raises(marks: Path) -> None:
    """A job must not fail under greenrun for what it survives without."""
    greenrun.epoch("three")  # type: ignore[arg-type]  that is the test
    greenrun.epoch(float("inf"))  # type: ignore[arg-type]  as above
    greenrun.metric("loss", None)  # type: ignore[arg-type]  as above
    assert marks.read_text() == ""


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["epoch"],
        ["epoch", "x"],
        ["epoch", "-1"],
        ["epoch", "1", "--of"],
        ["epoch", "1", "2"],
        ["metric", "loss"],
        ["metric", "loss", "low"],
        ["metric", " ", "1"],
        ["phase", "1"],
    ],
)
def test_wrong_usage_is_one_sentence(marks: Path, argv: list[str]) -> None:
    """A marker that makes no sense is a mistake, and nothing is written."""
    with pytest.raises(UserError, match="must"):
        mark.main(argv)
    assert marks.read_text() == ""


def test_import_greenrun_is_light() -> None:
    """A job that marks its epochs pays for no module that it did not ask for."""
    code = "import sys; before = set(sys.modules); import greenrun; print(set(sys.modules) - before)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "{'greenrun'}\n"


def test_greenrun_mark_is_light(marks: Path) -> None:
    """The verb is called once an epoch or more often: it goes without click."""
    code = "import sys; from greenrun.cli.app import main; main(['mark', 'epoch', '1']); print('click' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
    assert marks.read_text() == "epoch 1\n"
