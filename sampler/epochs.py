"""Recognise epochs: in what a training job prints, and in the marker lines that it writes on purpose.

Pure: bytes in, marks out, no clock and no files. Which lines count, and what they mean:

- The word "epoch" and a number open the line, decorations (brackets, dashes, ANSI colours) aside: `Epoch 3/10`,
  `Epoch [3/10]`, `epoch: 3`, `[Epoch 3] ...`. A line ends at a line feed or a carriage return.
- A line that carries more after the number (loss, accuracy, time) is printed when the epoch is over: it closes it.
  A bare one is printed when the epoch begins: it opens it.
- A line that shows how far the epoch has come (`45%|####`, `step 100/600`) opens it too, unless it has come to the end.
- Numbers rise: a mark that was already made, or one for an earlier epoch, counts no more.
- Epochs are told from 1. A job whose first number is 0 counts from 0, so one is added to all its numbers.
"""

from __future__ import annotations

import math
import re
from typing import Literal, NamedTuple

LINE_LIMIT_BYTES = 4096  # of a longer line only the beginning is looked at


class Mark(NamedTuple):
    """Epoch `n` of `of` (None if not told) begins or ends; `at` is CLOCK_MONOTONIC seconds, None if not told."""

    n: int
    of: int | None
    mark: Literal["start", "end"]
    at: float | None = None


class Metric(NamedTuple):
    """A figure that the job reports about itself."""

    name: str
    value: float


class Skipped(NamedTuple):
    """So many bytes of output passed by without being looked at, because they came faster than the budget allows."""

    bytes: int


_NUMBER = r"[0-9]{1,9}"
_EPOCH_MARKER = re.compile(rf"epoch ({_NUMBER})(?: ({_NUMBER}))?(?: (start|end))?(?: at=([0-9.]{{1,30}}))?")
_METRIC_MARKER = re.compile(r"metric (\S{1,100}) (\S{1,40})")
_SKIPPED_MARKER = re.compile(r"skipped ([0-9]{1,18})")


def parse_marker(line: str) -> Mark | Metric | Skipped | None:
    """Understand one line of the marks file or of the relay; None for anything that is not a marker.

    `epoch K [OF] [start|end] [at=SECONDS]` (an end unless told), `metric NAME VALUE` (finite), `skipped BYTES`.
    """
    words = " ".join(line.split())
    if found := _EPOCH_MARKER.fullmatch(words):
        number, of, mark, at = found.groups()
        try:
            seconds = None if at is None else float(at)
        except ValueError:
            return None
        return Mark(int(number), None if of is None else int(of), "start" if mark == "start" else "end", seconds)
    if found := _METRIC_MARKER.fullmatch(words):
        try:
            value = float(found[2])
        except ValueError:
            return None
        return Metric(found[1], value) if math.isfinite(value) else None
    if found := _SKIPPED_MARKER.fullmatch(words):
        return Skipped(int(found[1]))
    return None


def format_marker(mark: Mark | Skipped) -> bytes:
    """Write a marker as one line that `parse_marker` understands; it is always shorter than 100 bytes."""
    if isinstance(mark, Skipped):
        return b"skipped %d\n" % mark.bytes
    of = "" if mark.of is None else f" {mark.of}"
    at = "" if mark.at is None else f" at={mark.at:.6f}"
    return f"epoch {mark.n}{of} {mark.mark}{at}\n".encode()


class Series:
    """The marks of one job, from however many places they come: each counts once, numbered from 1."""

    def __init__(self) -> None:
        self._from_zero: bool | None = None  # None until the first number is seen
        self._last = {"start": 0, "end": 0}

    def accept(self, mark: Mark) -> Mark | None:
        """Give the mark with its number counted from 1, or None where it tells nothing new."""
        if self._from_zero is None:
            self._from_zero = mark.n == 0
        n = mark.n + 1 if self._from_zero else mark.n
        already = self._last["end"] if mark.mark == "end" else max(self._last.values())
        if n <= already:
            return None
        self._last[mark.mark] = n
        return mark._replace(n=n)


_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_EPOCH_LINE = re.compile(
    rb"""[\s\[(<{=\-*\#>|]*     # decorations
    (?:[Ee]poch|EPOCH) [\s:=\#\[(]* ([0-9]{1,7})
    (?:\s*(?:/|\bof\b)\s*([0-9]{1,7}))?
    (?![0-9]|[.][0-9])          # neither a longer number nor a fraction of an epoch
    (.*)""",
    re.VERBOSE | re.DOTALL,
)
_PERCENT_DONE = re.compile(rb"([0-9]{1,3})%\|")
_STEPS_DONE = re.compile(rb"\b(?:step|batch|iter|iteration)\W{0,3}([0-9]{1,9})\s*/\s*([0-9]{1,9})", re.IGNORECASE)
_CARRIES_MORE = re.compile(rb"[0-9A-Za-z]")


def parse_line(line: bytes) -> Mark | None:
    """Understand one line of output, without its end; the number is as printed."""
    found = _EPOCH_LINE.match(_ANSI.sub(b"", line) if b"\x1b" in line else line)
    if found is None:
        return None
    number, of, rest = found.groups()
    closes = _CARRIES_MORE.search(rest) is not None and _is_complete(rest)
    return Mark(int(number), None if of is None else int(of), "end" if closes else "start")


def _is_complete(rest: bytes) -> bool:
    """Tell whether a line that shows progress within the epoch shows its end; True where it shows none."""
    if percent := _PERCENT_DONE.search(rest):
        return int(percent[1]) >= 100
    if steps := _STEPS_DONE.search(rest):
        return int(steps[1]) >= int(steps[2])
    return True


class Scanner:
    """Finds the marks in a stream of output; however the stream is cut into pieces, they are the same."""

    def __init__(self, series: Series | None = None) -> None:
        self._series = Series() if series is None else series
        self._line = b""  # the beginning of the line that has not ended yet
        self._resume_at_next_line = False

    def feed(self, data: bytes) -> list[Mark]:
        """Take the next piece and give the marks of the lines that it ends."""
        if self._resume_at_next_line:
            start = _after_first_line_end(data)
            if start is None:
                return []
            self._resume_at_next_line = False
            data = data[start:]
        marks: list[Mark] = []
        start = _after_first_line_end(data)
        if start is None:
            self._extend_line(data)
            return marks
        self._extend_line(data[: min(start - 1, LINE_LIMIT_BYTES)])
        self._finish_line(marks)
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if _is_about_epochs(data):  # nearly all output is done with here, at the speed of a search
            for line in _lines_about_epochs(data[start:end].replace(b"\r", b"\n")):
                self._take(line, marks)
        self._extend_line(data[end : end + LINE_LIMIT_BYTES])
        return marks

    def finish(self) -> list[Mark]:
        """Give the marks of a last line that nothing ended."""
        marks: list[Mark] = []
        self._finish_line(marks)
        return marks

    def skip(self) -> None:
        """Bytes are left out here: go on at the beginning of the next line."""
        self._line = b""
        self._resume_at_next_line = True

    def _extend_line(self, data: bytes) -> None:
        self._line += data[: LINE_LIMIT_BYTES - len(self._line)]

    def _finish_line(self, marks: list[Mark]) -> None:
        line, self._line = self._line, b""
        self._take(line, marks)

    def _take(self, line: bytes, marks: list[Mark]) -> None:
        mark = parse_line(line) if _is_about_epochs(line) else None
        mark = None if mark is None else self._series.accept(mark)
        if mark is not None:
            marks.append(mark)


def _is_about_epochs(data: bytes) -> bool:
    return b"poch" in data or b"POCH" in data


def _after_first_line_end(data: bytes) -> int | None:
    """Give the position behind the first line feed or carriage return, None if there is none."""
    line_feed = data.find(b"\n")
    carriage_return = data.find(b"\r", 0, len(data) if line_feed < 0 else line_feed)
    first = line_feed if carriage_return < 0 else carriage_return
    return None if first < 0 else first + 1


def _lines_about_epochs(lines: bytes) -> list[bytes]:
    """Pick the lines with the word in them, each cut to the limit; every line ends in a line feed."""
    folded = lines.lower()
    picked: list[bytes] = []
    at = folded.find(b"poch")
    while at >= 0:
        start = lines.rfind(b"\n", 0, at) + 1
        end = lines.index(b"\n", at)
        picked.append(lines[start : min(end, start + LINE_LIMIT_BYTES)])
        at = folded.find(b"poch", end)
    return picked
