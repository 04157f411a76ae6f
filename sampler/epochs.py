"""Recognise epochs: in what a training job prints, and in the marker lines that it writes on purpose.

Bytes in, marks out, no files. Which lines of output count, and what they mean, is in `formats`; docs/epochs.md lists
them. Here is what holds for all of them:

- A line ends at a line feed or a carriage return, and where a progress bar is drawn to its end.
- Numbers rise: a mark that was already made, or one for an earlier epoch, counts no more.
- Epochs are told from 1. A job whose first number is 0 counts from 0, so one is added to all its numbers.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from greenrun.sampler import formats
from greenrun.sampler.formats import search
from greenrun.sampler.formats.allowance import Allowance
from greenrun.sampler.formats.boundaries import Boundaries
from greenrun.sampler.formats.tables import Tables

if TYPE_CHECKING:
    from greenrun.sampler.formats.sighting import Sighting

LINE_LIMIT_BYTES = 4096  # of a longer line only the beginning is looked at
# Nearly all output is done with at the speed of a search. What it finds takes a hundred times as long.
_SHARE = 0.5
_MOST_SECONDS = 0.5
_LINES_BETWEEN_LOOKS = 64
_LONGEST_PATTERN = 1000  # characters


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


class Pattern(NamedTuple):
    """What the user says of the output: what a line looks like, and whether it is told at an epoch's start or end.

    `regex` has the number as its group `n`, or as its first one, and may have the total as its group `of`. Where it is
    None the lines are those of the known formats; where `mark` is None it is the format that says, an end for `regex`.
    """

    regex: re.Pattern[bytes] | None
    mark: Literal["start", "end"] | None


def pattern(text: str | None, marks: str | None) -> Pattern | None:
    """Understand `--epoch-pattern` and `--epoch-marks`, None where they are not told; None where nothing is.

    Raises ValueError with the end of a sentence: "must be ...".
    """
    mark: Literal["start", "end"] | None = None
    if marks is not None:
        if marks not in ("start", "end"):
            raise ValueError("must be start or end: whether its line comes when an epoch begins or when it is over")
        mark = "start" if marks == "start" else "end"
    if text is None:
        return None if mark is None else Pattern(None, mark)
    regex = _compiled(text) if len(text) <= _LONGEST_PATTERN else None
    if regex is None or not regex.groups:
        raise ValueError(
            "must be a regular expression of Python's, of 1000 characters at most, whose first group is the epoch's"
            r" number, such as 'round (\d+) of (?P<of>\d+)'"
        )
    return Pattern(regex, mark)


def _compiled(text: str) -> re.Pattern[bytes] | None:
    import os
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a later Python will read in another way
        try:
            return re.compile(os.fsencode(text))
        except (re.error, OverflowError, RecursionError):
            return None


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
_DRAWN_BAR = re.compile(  # by tqdm, from the percentage on to the end
    rb"(?:%\|(?:[^|\[\]\x1b]|\x1b\[[0-9;]{0,20}m){0,1000}\|[^|\[\]]{1,60}|[0-9]epochs? )\[[^\]]{1,300}\]"
)


class Scanner:
    """Finds the marks in a stream of output; however the stream is cut into pieces, they are the same.

    `series` is shared by all streams of a job. `pattern` is what the user says of the lines, `epochs` how many epochs
    there will be, None where nobody said.
    """

    def __init__(self, series: Series | None = None, pattern: Pattern | None = None, epochs: int | None = None) -> None:
        self._series = Series() if series is None else series
        self._epochs = epochs
        self._words = search.keywords(epochs)
        self._tables = Tables()
        self._boundaries = Boundaries(None if pattern is None else pattern.mark, epochs)
        self._allowance = Allowance(_SHARE, _MOST_SECONDS)
        self._unseen_bytes = 0
        self._told = None
        if pattern is not None and pattern.regex is not None:
            from greenrun.sampler.formats.told import Told

            self._told = Told(pattern.regex, "opens" if pattern.mark == "start" else "closes")
        self._line = b""  # the beginning of the line that has not ended yet
        self._taken = 0  # bytes of it that have been looked at
        self._resume_at_next_line = False
        self._marks: list[Mark] = []

    @property
    def skipped_bytes(self) -> int:
        """Bytes of lines that might have mattered, but that came faster than they could be looked at."""
        return self._unseen_bytes + (0 if self._told is None else self._told.skipped_bytes)

    def feed(self, data: bytes) -> list[Mark]:
        """Take the next piece and give the marks of the lines that it ends."""
        self._marks = []
        start = _after_first_line_end(data)
        if self._resume_at_next_line:
            if start is None:
                return []
            self._resume_at_next_line = False
            data = data[start - 1 :]
            start = 1
        if start is None:
            self._extend_line(data)
        else:
            self._extend_line(data[: min(start - 1, LINE_LIMIT_BYTES)])
            self._finish_line()
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            if end > start:
                self._take_lines(data[start - 1 : end].replace(b"\r", b"\n"))
            self._extend_line(data[end : end + LINE_LIMIT_BYTES])
        self._look_at_drawn_bar()
        return self._marks

    def finish(self) -> list[Mark]:
        """Give the marks of a last line that nothing ended."""
        self._marks = []
        self._finish_line()
        return self._marks

    def skip(self) -> None:
        """Bytes are left out here: go on at the beginning of the next line."""
        self.restart()
        self._resume_at_next_line = True

    def restart(self) -> None:
        """Begin a line here; the one before has no end."""
        self._line, self._taken = b"", 0
        self._resume_at_next_line = False

    def _extend_line(self, data: bytes) -> None:
        self._line += data[: LINE_LIMIT_BYTES - len(self._line)]

    def _finish_line(self) -> None:
        line, begins_line = self._line[self._taken :], self._taken == 0
        self._line, self._taken = b"", 0
        self._take(line, begins_line=begins_line)

    def _look_at_drawn_bar(self) -> None:
        """Look at a progress bar that waits for its next drawing: that may come an epoch later."""
        waiting = self._line[self._taken :]
        if not waiting.rstrip(b" ").endswith(b"]"):
            return
        ends = [bar.end() for bar in _DRAWN_BAR.finditer(waiting)]
        if ends and not waiting[ends[-1] :].strip(b" "):
            self._take(waiting[: ends[-1]], begins_line=self._taken == 0)
            self._taken += ends[-1]

    def _take_lines(self, text: bytes) -> None:
        """Take whole lines, with a line feed before and behind each."""
        if self._told is not None:
            lines = text[1:-1].split(b"\n")
            pieces = [_ANSI.sub(b"", piece) for line in lines for piece in _pieces(line[:LINE_LIMIT_BYTES])]
            self._told.search(pieces, self._see)
            return
        at: int | None = 0
        while at is not None:
            at = self._take_some(text, at)

    def _take_some(self, text: bytes, at: int) -> int | None:
        """Take the lines behind `at` that may matter, up to one that changes which those are; None at the end."""
        rows = self._tables.rows
        if self._allowance.start() <= 0:
            self._unseen_bytes += len(text) - 1 - at
            return None
        spans = search.spans(text, at, self._words, rows)
        if not spans:
            return None
        for i, (start, end) in enumerate(spans):
            if i % _LINES_BETWEEN_LOOKS == 0 and self._allowance.is_used_up():
                self._unseen_bytes += sum(end - start + 1 for start, end in spans[i:])
                break
            self._take(text[start : min(end, start + LINE_LIMIT_BYTES)])
            if self._tables.rows is not rows:
                self._allowance.stop()
                return end
        self._allowance.stop()
        return None

    def _take(self, line: bytes, *, begins_line: bool = True) -> None:
        pieces = _pieces(line)
        if self._told is not None:
            self._told.search([_ANSI.sub(b"", piece) for piece in pieces], self._see)
            return
        for i, piece in enumerate(pieces):
            self._take_piece(piece, begins_line=begins_line and i == 0)

    def _take_piece(self, piece: bytes, *, begins_line: bool) -> None:
        """Take a line, or a part of one that ends where a progress bar does."""
        # Exactly the lines that are found in a longer text are looked at, however the text was cut.
        worth = any(word in piece for word in self._words)
        rows = self._tables.rows if begins_line else None
        if not worth and (rows is None or rows.match(b"\n" + piece) is None):
            return
        line = _ANSI.sub(b"", piece) if b"\x1b" in piece else piece
        sighting = self._tables.sight(line) if begins_line else None
        if sighting is None and worth:
            sighting = formats.sight(line, self._epochs)
        if sighting is not None:
            self._see(sighting)

    def _see(self, sighting: Sighting) -> None:
        found = self._boundaries.take(sighting)
        mark = None if found is None else self._series.accept(Mark(*found))
        if mark is not None:
            self._marks.append(mark)


def _after_first_line_end(data: bytes) -> int | None:
    """Give the position behind the first line feed or carriage return, None if there is none."""
    line_feed = data.find(b"\n")
    carriage_return = data.find(b"\r", 0, len(data) if line_feed < 0 else line_feed)
    first = line_feed if carriage_return < 0 else carriage_return
    return None if first < 0 else first + 1


def _pieces(line: bytes) -> list[bytes]:
    """Cut a line behind each progress bar: other text may follow at once, if it goes to another stream."""
    if b"%|" not in line and b"epoch [" not in line and b"epochs [" not in line:
        return [line]
    edges = [0, *(bar.end() for bar in _DRAWN_BAR.finditer(line))]
    return [
        line[start:end] for start, end in zip(edges, [*edges[1:], len(line)], strict=True) if start < end or not start
    ]
