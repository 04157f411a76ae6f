"""The note below what a command prints: the screen is what it would be without it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.cli.watch.statusline import StatusLine

COLUMNS, ROWS = 20, 6
NOTE = "greenrun: " + "predicted " * 5  # four lines of this screen


class Screen:
    """As much of a terminal as is needed: it wraps and scrolls; `lines` holds what has scrolled away too."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0

    def write(self, data: bytes) -> None:
        """Show bytes."""
        for piece in re.findall(r"\x1b\[[0-9]*[JAm]|.", data.decode(), re.DOTALL):
            if piece == "\n":
                self._down()
            elif piece == "\r":
                self.column = 0
            elif piece == "\x1b[J":
                self.lines[self.row] = self.lines[self.row][: self.column]
                del self.lines[self.row + 1 :]
            elif piece.endswith("A") and piece[0] == "\x1b":
                self.row -= int(piece[2:-1])
                assert self.row >= len(self.lines) - ROWS, "it went above the screen"
            elif piece[0] != "\x1b":
                self._put(piece)

    def _put(self, letter: str) -> None:
        if self.column == COLUMNS:
            self.column = 0
            self._down()
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
        self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")

    def state(self) -> tuple[list[str], int, int]:
        """Give all that can be seen, and where the cursor is."""
        return self.lines, self.row, self.column


def shown(line: StatusLine, now: float, *, owned: bool = True) -> bytes:
    """Give what is written at a time."""
    return line.show(now, owned=owned, columns=COLUMNS, rows=ROWS)


PIECES = st.sampled_from(
    [b"line\r\n", b"a line that is longer than the screen is wide\r\n", b"half", b"\r45%|##", b"\r\n"]
)
STEPS = st.lists(st.one_of(PIECES, st.sampled_from(["note", "wait", "erase"])), max_size=30)


@given(STEPS)
def test_nothing_is_lost(steps: list[bytes | str]) -> None:
    """Whatever is printed and told when: without the note the screen is as if there had been none."""
    line, with_note, without = StatusLine(), Screen(), Screen()
    now = 0.0
    for step in steps:
        if isinstance(step, bytes):
            with_note.write(line.output(step, now))
            without.write(step)
        elif step == "note":
            line.tell(NOTE, now, lasting=False)
            with_note.write(shown(line, now))
        elif step == "wait":
            now += 0.5
            due = line.due()
            if due is not None and due <= now:
                with_note.write(shown(line, now))
        else:
            with_note.write(line.erase())
        assert with_note.lines[: with_note.row] == without.lines[: without.row]  # above the cursor nothing has changed
    with_note.write(line.erase())
    assert with_note.state() == without.state()


def test_rewritten_in_place() -> None:
    """A note takes the place of the one before."""
    line, screen = StatusLine(), Screen()
    screen.write(line.output(b"done\r\n", 0.0))
    for at, text in enumerate(["one", "two"], 1):
        line.tell(text, float(at), lasting=True)
        screen.write(shown(line, float(at)))
        assert screen.lines == ["done", text]
    assert (screen.row, screen.column) == (1, 0)
    assert line.due() is None
    screen.write(line.output(b"more\r\n", 3.0))
    assert screen.lines == ["done", "more", ""]
    assert line.due() == pytest.approx(3.1)
    assert shown(line, 3.05) == b""  # perhaps it is not done yet
    screen.write(shown(line, 3.1))
    assert screen.lines == ["done", "more", "two"]


def test_behind_half_a_line() -> None:
    """A note that is to last waits, then has a line of its own, once; another is not told there."""
    line = StatusLine()
    line.output(b"\r45%|##", 0.0)
    line.tell("one", 1.0, lasting=True)
    assert shown(line, 1.0) == b""
    line.tell("two", 2.0, lasting=False)  # newer, in the place of the one that waits
    assert line.due() == 3.0
    assert shown(line, 3.0) == b"\r\ntwo\r\n"
    assert line.due() is None
    line.output(b"\r50%|##", 3.0)
    line.tell("three", 4.0, lasting=False)
    assert line.due() is None
    assert shown(line, 99.0) == b""


def test_terminal_that_is_not_ours() -> None:
    """In the background notes that last have lines of their own at once; others are not told, and nothing waits."""
    line = StatusLine()
    line.output(b"line\r\n", 0.0)
    line.tell("one", 1.0, lasting=True)
    assert shown(line, 1.0, owned=False) == b"\r\none\r\n"
    line.tell("two", 2.0, lasting=False)
    assert shown(line, 2.0, owned=False) == b""
    assert line.due() is None


@pytest.mark.parametrize(
    "data", [b"\x1b[A", b"\x1b[2;5H", b"\x1b[?1049h", b"\x1b7", b"\x1bM", b"\x1b[2J", b"\x1b[" + b"1;" * 200]
)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_command_that_moves_about(data: bytes, cut: int) -> None:
    """From a command that moves the cursor up or draws the line is taken away for good, however its bytes come."""
    line = StatusLine()
    line.output(b"bar " + data[:cut], 0.0)
    line.output(data[cut:] + b"text\n", 0.0)
    line.tell("one", 1.0, lasting=True)
    assert shown(line, 9.0) == b"\r\none\r\n"


@pytest.mark.parametrize("data", [b"\x1b[1;32mgreen\x1b[0m", b"\x1b[K", b"\x1b[?25l", b"\x1b]0;a title\x07", b"\b\b42"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_command_that_stays(data: bytes, cut: int) -> None:
    """Colours, a title and a bar that goes back within its line do no harm."""
    line = StatusLine()
    line.output(data[:cut], 0.0)
    line.output(data[cut:] + b"\n", 0.0)
    line.tell("one", 1.0, lasting=True)
    assert shown(line, 9.0) == b"one\r"


def test_window_too_small() -> None:
    """A note that would fill the screen is told like on any other terminal."""
    line = StatusLine()
    line.output(b"\n", 0.0)
    line.tell("word " * 40, 1.0, lasting=True)
    assert shown(line, 9.0).endswith(b"\r\n")
