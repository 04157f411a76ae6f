"""Epoch lines and markers."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.sampler.epochs import (
    Mark,
    Metric,
    Scanner,
    Series,
    Skipped,
    format_marker,
    parse_line,
    parse_marker,
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Epoch 3/10", Mark(3, 10, "start")),
        ("Epoch [3/10]", Mark(3, 10, "start")),
        ("epoch: 3", Mark(3, None, "start")),
        ("===== EPOCH 3 of 10 =====", Mark(3, 10, "start")),
        ("Epoch 3, loss=0.5", Mark(3, None, "end")),
        ("Epoch 3/10 - 2s - accuracy: 0.9", Mark(3, 10, "end")),
        ("[Epoch 3] train loss 0.5", Mark(3, None, "end")),
        ("\x1b[1;32mEpoch 3\x1b[0m", Mark(3, None, "start")),
        ("Epoch 3:  45%|####      | 45/100 [00:01<00:01]", Mark(3, None, "start")),
        ("Epoch 3: 100%|##########| 100/100 [00:02<00:00]", Mark(3, None, "end")),
        ("Epoch [3/10], Step [100/600], Loss: 0.5", Mark(3, 10, "start")),
        ("Epoch [3/10], Step [600/600], Loss: 0.5", Mark(3, 10, "end")),
        ("Epochs: 10", None),
        ("epoch 0.53", None),
        ("epoch time: 3", None),
        ("epoch 1700000000", None),
        ("best model from Epoch 3", None),
        ("", None),
    ],
)
def test_lines(line: str, expected: Mark | None) -> None:
    """Each form of an epoch line is understood, and what only looks like one is not."""
    assert parse_line(line.encode()) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("epoch 3", Mark(3, None, "end")),
        ("epoch 3 10\n", Mark(3, 10, "end")),
        (" epoch  3 10 start at=12.5", Mark(3, 10, "start", 12.5)),
        ("epoch 3 end", Mark(3, None, "end")),
        ("metric loss 0.25", Metric("loss", 0.25)),
        ("metric loss nan", None),
        ("metric loss", None),
        ("skipped 5", Skipped(5)),
        ("epoch", None),
        ("epoch -1", None),
        ("epoch 3 at=1.2.3", None),
        ("epoch ٣", None),
        ("", None),
    ],
)
def test_markers(line: str, expected: Mark | Metric | Skipped | None) -> None:
    """A marker line is understood; nonsense is None."""
    assert parse_marker(line) == expected


@given(
    st.builds(
        Mark,
        st.integers(0, 10**9 - 1),
        st.none() | st.integers(0, 10**9 - 1),
        st.sampled_from(["start", "end"]),
        st.none() | st.floats(0, 1e9).map(lambda t: round(t, 6)),
    )
    | st.builds(Skipped, st.integers(0, 10**15))
)
def test_markers_survive_writing(mark: Mark | Skipped) -> None:
    """A marker that is written is read back as it was."""
    line = format_marker(mark)
    assert line.endswith(b"\n")
    assert len(line) < 100
    assert parse_marker(line.decode()) == mark


def test_repeated_lines_count_once() -> None:
    """A progress bar that is drawn again and again is one epoch."""
    bar = b"".join(b"\rEpoch 1:  %d%%|##| " % percent for percent in range(0, 100, 5))
    marks = Scanner().feed(bar + b"\rEpoch 1: 100%|##|\rEpoch 1: 100%|##|\nEpoch 1/9\n")
    assert marks == [Mark(1, None, "start"), Mark(1, None, "end")]


def test_counting_from_zero() -> None:
    """A job whose first epoch is 0 counts from 0; its marks count from 1, of is as printed."""
    marks = Scanner().feed(b"Epoch 0/2 loss 3\nEpoch 1/2 loss 2\n")
    assert marks == [Mark(1, 2, "end"), Mark(2, 2, "end")]


def test_one_series_from_two_places() -> None:
    """A mark that comes from stdout and from stderr counts once."""
    series = Series()
    out, err = Scanner(series), Scanner(series)
    assert out.feed(b"epoch 1\n") == [Mark(1, None, "start")]
    assert err.feed(b"epoch 1\n") == []
    assert err.feed(b"epoch 2\n") == [Mark(2, None, "start")]


PIECES = st.sampled_from(
    [
        b"Epoch ", b"1", b"2/", b"10", b"\n", b"\r", b", loss=0.5", b"\x1b[32m", b"\x1b[0", b"m", b"poch 3", b"EPOCH 4",
        b"x" * 4090, b"[", b"45%|", b" step 1/2", b"EpOcH 5", b"E\x1b[1mpoch 6\n", b"Ep\x1b[1moch 7\n", b"\xff\0",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map(b"".join), st.lists(st.integers(0, 5000), max_size=12))
def test_any_cut_gives_the_same(data: bytes, cuts: list[int]) -> None:
    """However the stream is cut, the marks are the same."""
    whole = Scanner()
    expected = whole.feed(data) + whole.finish()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    cut_up = Scanner()
    marks = [mark for start, end in pairwise(edges) for mark in cut_up.feed(data[start:end])]
    assert marks + cut_up.finish() == expected


@given(st.lists(PIECES, max_size=20).map(b"".join))
def test_byte_by_byte(data: bytes) -> None:
    """Fed byte by byte it is the same too."""
    whole, bytewise = Scanner(), Scanner()
    expected = whole.feed(data) + whole.finish()
    marks = [mark for i in range(len(data)) for mark in bytewise.feed(data[i : i + 1])]
    assert marks + bytewise.finish() == expected


def test_after_a_skip_half_a_line_is_no_line() -> None:
    """What follows a gap counts from the next line on."""
    scanner = Scanner()
    scanner.feed(b"Epo")
    scanner.skip()
    assert scanner.feed(b"Epoch 7\nEpoch 2\n") == [Mark(2, None, "start")]


def test_long_line_is_bounded() -> None:
    """Of a line that never ends no more than its beginning is kept, and it is still understood."""
    scanner = Scanner()
    for piece in [b"Epoch 1 loss=1 ", *[b"x" * 100_000] * 50]:
        assert scanner.feed(piece) == []
    assert len(scanner._line) <= 4096
    assert scanner.feed(b"\n") == [Mark(1, None, "end")]


def test_beyond_the_limit_is_not_looked_at() -> None:
    """What stands behind the limit of a line changes nothing, wherever the line is cut."""
    line = b"Epoch 1 loss " + b"x" * 4096 + b" 45%|\n"
    assert Scanner().feed(b"\n" + line + b"\n") == [Mark(1, None, "end")]
    assert Scanner().feed(line) == [Mark(1, None, "end")]


def test_speed() -> None:
    """Ordinary output is scanned far faster than jobs write: the lines of 50 MB take well under ten seconds."""
    data = b"step 123 loss 0.5 some more text that a job prints\n" * 1300
    scanner = Scanner()
    started = time.process_time()
    for _ in range(50_000_000 // len(data)):
        scanner.feed(data)
    assert time.process_time() - started < 10
