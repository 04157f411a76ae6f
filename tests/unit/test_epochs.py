"""Epoch lines and markers."""

from __future__ import annotations

import subprocess
import sys
import threading
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
    parse_marker,
    pattern,
)


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
    """A progress bar that is drawn again and again is one epoch; where beginnings are told, its end is no mark."""
    bar = b"".join(b"\rEpoch 1:  %d%%|##| " % percent for percent in range(0, 100, 5))
    marks = Scanner().feed(bar + b"\rEpoch 1: 100%|##|\rEpoch 1: 100%|##|\nEpoch 1/9\n")
    assert marks == [Mark(1, None, "start")]


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
        b"\rEpochs:  30%|###  | 3/10 [00:01<00:02, 1.0it/s]", b"%|##| 4/10 [00:01<00:02, 1.0epoch/s]", b" ", b"\x1b[A",
        b"\nepoch  train_loss  valid_loss  time\n", b"\n0  0.5  0.6  00:01", b"\n1  0.5  0.6  00:01\n",
        b"7epoch [00:01, 1epoch/s]", b"\n      Epoch    GPU_mem   box_loss\n", b"\n  2/3  0G  1.5",
        b"\r  1/3   0G   1.5: 100%|##| 4/4 [00:01<00:00]", b"\n[3]\ttrain-rmse:0.5\n", b"\n[4]\tvalid_0's l2: 0.5",
        b"{'loss': 0.5, 'epoch': 2.0}\n", b"\n  Num Epochs = 4\n", b"\nIteration 5, loss = 0.5\n",
        b"5:\tlearn: 0.5\ttotal: 1ms\tremaining: 2ms\n", b"\n[2, 0.5, '00:01']",
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
    line = b"Epoch 1 loss 2 " + b"x" * 4096 + b" 45%|\n"
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


def test_users_pattern() -> None:
    """What the user says of the lines is what counts, and nothing else does; it is an end unless told."""
    text = b"Epoch 1/9\nround #2 of 30: fine\nround \x1b[1m#3 of 30\nround #x\n"
    assert Scanner(pattern=pattern(r"round #(\d+)", None)).feed(text) == [Mark(2, None, "end"), Mark(3, None, "end")]
    told = pattern(r"^(?P<word>\w+) #(?P<n>\d+) of (?P<of>\d+)", "start")
    assert Scanner(pattern=told).feed(text) == [Mark(2, 30, "start"), Mark(3, 30, "start")]
    assert Scanner(pattern=pattern(r"#(.*)", None)).feed(b"#\n# 4 \n#5x\n") == [Mark(4, None, "end")]


def test_users_marks() -> None:
    """The user's word on when lines are printed goes before what the format usually means."""
    opened, closed = b"epoch 1\nepoch 2\n", b"Epoch 1 loss 0.5\nEpoch 2 loss 0.4\n"
    assert [mark.mark for mark in Scanner(pattern=pattern(None, "end")).feed(opened)] == ["end", "end"]
    assert [mark.mark for mark in Scanner(pattern=pattern(None, "start")).feed(closed)] == ["start", "start"]
    assert pattern(None, None) is None


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("(", None),
        ("epoch", None),
        ("(a", "end"),
        ("x" * 1001 + "(1)", None),
        (None, "middle"),
        ("(1){99999999999}", None),
    ],
)
def test_what_is_no_pattern(text: str | None, marks: str | None) -> None:
    """A pattern that cannot be used is told in words."""
    with pytest.raises(ValueError, match="must be "):
        pattern(text, marks)


def test_slow_pattern_is_broken_off() -> None:
    """A pattern that would take longer than the universe has is broken off, what it missed is counted, others go on."""
    told = pattern(r"((?:a+)+)$|round (?P<n>\d+)", None)
    scanner = Scanner(pattern=told)
    assert scanner.feed(b"round 1\n") == [Mark(1, None, "end")]
    slow = b"a" * 60 + b"!\n"
    started = time.process_time()
    assert scanner.feed(slow + b"round 2\n" * 3) == []
    assert time.process_time() - started < 5
    assert scanner.skipped_bytes == len(slow) + 3 * len(b"round 2\n")
    deadline = time.monotonic() + 20
    while not (marks := scanner.feed(b"round 3\n")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert marks == [Mark(3, None, "end")]


BLOCKED = """
import signal
from greenrun.sampler.epochs import Scanner, pattern
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM})
scanner = Scanner(pattern=pattern("((?:a+)+)$", None))
assert scanner.feed(b"a" * 60 + b"!\\n") == []
assert scanner.skipped_bytes == 62
assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == {signal.SIGVTALRM}
assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL
assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
"""


def test_the_timer_is_left_as_it_was() -> None:
    """A search works where its signal is blocked, and leaves neither a timer nor a handler nor a mask behind."""
    # In a process of its own: another thread would take the signal.
    subprocess.run([sys.executable, "-c", BLOCKED], check=True, timeout=30)


def test_pattern_in_a_thread() -> None:
    """Where no timer can stop it a pattern is not tried; that is counted."""
    scanner = Scanner(pattern=pattern(r"(\d)", None))
    marks: list[Mark] = []
    thread = threading.Thread(target=lambda: marks.extend(scanner.feed(b"1\n")))
    thread.start()
    thread.join()
    assert marks == []
    assert scanner.skipped_bytes == 2


def test_lines_that_come_too_fast_are_counted() -> None:
    """Where nearly every line might matter, what there was no time for is counted; it never waits."""
    data = b"".join(b"my epoch %d of the plan, step %d\n" % (i, i) for i in range(200_000))
    scanner = Scanner()
    started = time.process_time()
    scanner.feed(data)
    assert time.process_time() - started < 10
    assert 0 < scanner.skipped_bytes < len(data)


def test_the_line_at_which_bytes_are_left_out() -> None:
    """Neither its beginning nor its end is taken for a line."""
    scanner = Scanner()
    assert scanner.feed(b"Epoch 1/30\nEpoch 2") == [Mark(1, 30, "start")]
    scanner.skip()
    assert scanner.feed(b"Epoch 7/30\nEpoch 9/30\n") == [Mark(9, 30, "start")]


def test_what_cannot_matter_is_never_left_out() -> None:
    """However fast it comes, and however much it is: an epoch behind it is found."""
    scanner, data = Scanner(), b"\nstep 3 of the plan, loss 0.5" * 100_000
    assert [mark for _ in range(200) for mark in scanner.feed(data)] == []
    assert scanner.feed(b"\nEpoch 1/3\n\n") == [Mark(1, 3, "start")]
    assert scanner.skipped_bytes == 0


def test_time_that_a_search_took_too_long_is_owed() -> None:
    """Even the search for lines takes its time where there is one in each: then whole pieces are left out."""
    data = b"my epoch of the plan\n" * 1_000_000
    scanner = Scanner()
    for _ in range(3):
        scanner.feed(data)
    before = scanner.skipped_bytes
    assert scanner.feed(b"\nplain\n" + b"Epoch 1/3\n" * 3) == []
    assert scanner.skipped_bytes - before == 36
    deadline = time.monotonic() + 20
    while not (marks := scanner.feed(b"\nEpoch 1/3\n")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert marks == [Mark(1, 3, "start")]
