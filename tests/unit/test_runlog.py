"""The run log: what is written can be read whatever happens to it, and what is no run log is refused in a sentence."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.data.logs import device, end, epoch, exited, hour, joined, sample, spawned, start, warning, yearly

from greenrun.reports import jsonfile, terminal
from greenrun.reports.account import account
from greenrun.sampler import runlog
from greenrun.sampler.runlog import LAST_NAME, LOG_NAME, Unreadable, Writer

CPU, GPU = device("cpu0"), device("gpu0", kind="gpu", from_t=0.4)
PREDICTION = {
    "event": "prediction",
    "t": 2.0,
    "after_epoch": 1,
    "epochs": 3,
    "duration_seconds": {"value": 6.0, "low": 5.0, "high": 7.0},
    "energy_joules": {"value": 60.0, "low": 50.0, "high": 70.0},
    "co2e_grams": None,
}
RUSAGE = {"user_seconds": 1.0, "system_seconds": 0.5, "max_rss_bytes": 1000}
EVENTS: list[dict[str, Any]] = [
    start(
        CPU,
        cpu_base=[10.0, 40.0],
        environment={"CI": "true"},
        findings=[],
        config={"pue": 1.2, "country": "DK", "zone": "DK-DK1", "basis": "lifecycle"},
    ),
    sample(0.0, 0.0, cpu=[None, 0.1, 1.0], mem=[None, 1, 2]),
    yearly(300.0),
    hour(200.0, "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"),
    spawned(0.1),
    joined(0.5, GPU),
    sample(0.5, 5.0, 0.0, cpu=[0.2, 0.4, 2.0]),
    epoch(1.0, 1, "start"),
    epoch(2.0, 1, "end"),
    PREDICTION,
    {"event": "clock", "t": 2.5, "utc_step_seconds": 1.5, "suspended_seconds": 0.0},
    {"event": "metric", "t": 2.6, "name": "loss", "value": 0.25},
    warning(2.7, "reset", "It was reset.", device="gpu0", from_t=2.0, to_t=2.5),
    sample(3.0, 30.0, 40.0, cpu=[1.0, 1.2, 6.0]),
    exited(3.0, 0, rusage=RUSAGE),
    end(3.0),
]


def write(folder: Path, events: list[dict[str, Any]]) -> bytes:
    """Write a log as the sampler does and give its bytes."""
    writer = Writer()
    writer.open(str(folder))
    for event in events:
        writer.append(event)
    writer.close()
    return (folder / LOG_NAME).read_bytes()


def tell(run_dir: Path) -> str:
    """Do all that is done with a log: read, account, and both renderings; no amount in the record is below 0."""
    record = account(runlog.read(str(run_dir)))
    grams, low, high = record["co2e_grams"], record["co2e_low_grams"], record["co2e_high_grams"]
    if grams is not None:
        assert low is not None
        assert high is not None
        assert 0.0 <= low <= grams <= high
    doubts = [record["uncertainty_percent"], record["intensity"]["uncertainty_percent"]]
    for percent in (*doubts, *(one["uncertainty_percent"] for one in record["devices"])):
        assert percent is None or percent >= 0.0
    assert record["intensity"]["basis"] in ("lifecycle", "direct", None)
    return jsonfile.render(record) + terminal.render(record)


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as on a full disk; Python ignores the signal that comes along."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every event comes back as it was, and the log is its owner's alone."""
    write(tmp_path, EVENTS)
    assert runlog.read(str(tmp_path)) == EVENTS
    assert os.stat(tmp_path / LOG_NAME).st_mode & 0o777 == 0o600
    assert tell(tmp_path)


def test_a_log_cut_anywhere(tmp_path: Path) -> None:
    """Cut after any byte: all whole lines are read, the torn one is left out, and without `start` it is a sentence."""
    data = write(tmp_path, EVENTS)
    for cut in range(len(data)):
        (tmp_path / LOG_NAME).write_bytes(data[:cut])
        whole = data[:cut].count(b"\n") + (data[cut : cut + 1] == b"\n")
        if whole == 0:
            with pytest.raises(Unreadable, match=r"does not begin with the start of a run.*\.$"):
                runlog.read(str(tmp_path))
        else:
            assert runlog.read(str(tmp_path)) == EVENTS[:whole]
            if data[cut : cut + 1] == b"\n":
                assert tell(tmp_path)


def test_a_log_damaged_in_the_middle(tmp_path: Path) -> None:
    """A line that is none is told with its number, for what follows it cannot be trusted to be all."""
    lines = write(tmp_path, EVENTS).splitlines(keepends=True)
    lines[2] = b'{"event":"sam\n'
    (tmp_path / LOG_NAME).write_bytes(b"".join(lines))
    with pytest.raises(Unreadable, match=r"run\.jsonl is damaged: line 3 is no event, for it is not JSON\.$"):
        runlog.read(str(tmp_path))


@pytest.mark.parametrize("length", [runlog._LARGEST_LINE, 3 * runlog._LARGEST_LINE])
def test_a_line_without_end(tmp_path: Path, length: int) -> None:
    """Megabytes without a line end are no line that was cut off, and are not taken into memory whole."""
    data = write(tmp_path, EVENTS[:2])
    (tmp_path / LOG_NAME).write_bytes(data + b"[" * length)
    with pytest.raises(Unreadable, match="line 3 is no event"):
        runlog.read(str(tmp_path))


def test_another_schema(tmp_path: Path) -> None:
    """A newer log is refused with both numbers."""
    write(tmp_path, [{**EVENTS[0], "schema": 2}])
    with pytest.raises(Unreadable, match="is of schema 2; this greenrun reads schema 1"):
        runlog.read(str(tmp_path))


def test_what_is_not_known_is_left_alone(tmp_path: Path) -> None:
    """Additions keep the schema number: unknown events and fields are no flaw."""
    more = {"event": "share", "t": 0.2, "job": {"id": [1]}}
    write(tmp_path, [{**EVENTS[0], "new": [[1]]}, more, *EVENTS[1:]])
    assert runlog.read(str(tmp_path))[1] == more
    assert tell(tmp_path)


def test_no_log_at_all(tmp_path: Path) -> None:
    """A directory without a log, and one where the log is a directory, are sentences."""
    with pytest.raises(Unreadable, match="is no run directory"):
        runlog.read(str(tmp_path))
    (tmp_path / LOG_NAME).mkdir()
    with pytest.raises(Unreadable, match="cannot be read"):
        runlog.read(str(tmp_path))


# --- hostile lines

HUGE = 10**400
NESTED: Any = []
for _ in range(300):
    NESTED = [NESTED]
HOSTILE: list[Any] = [
    None, True, -1, 0, 1.5, HUGE, -HUGE, 1e15, -1e15, 1e308, float("nan"), float("inf"), "", "x", "\ud800",
    "9999-12-31T23:59:59Z", "2026-13-01", [], [[]], [None, "x"], {}, {"value": None}, NESTED,
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path to each value inside a JSON value, its own excepted."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def spoilt(events: list[dict[str, Any]], path: tuple[Any, ...], value: Any) -> list[dict[str, Any]]:
    """Give the events with the value at `path` replaced, or taken away (`...`)."""
    events = copy.deepcopy(events)
    parent: Any = events
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return events


def tell_or_refuse(folder: Path, events: list[Any]) -> None:
    """Hold a log to the promise: a record, or a sentence of one line."""
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    (folder / LOG_NAME).write_bytes(b"".join(lines))
    try:
        tell(folder).encode()
    except Unreadable as refusal:
        assert str(refusal).endswith(".")
        assert "\n" not in str(refusal)


def test_each_field_spoilt(tmp_path: Path) -> None:
    """Every field of every event, missing or replaced by each hostile value: a record or a sentence, no traceback."""
    for path in places(EVENTS):
        for value in (..., *HOSTILE):
            tell_or_refuse(tmp_path, spoilt(EVENTS, path, value))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(list(places(EVENTS))), values), max_size=4), st.randoms())
def test_several_fields_spoilt_and_events_shuffled(tmp_path: Path, changes: list[Any], random: Any) -> None:
    """Any few changes at once, with the events in any order after the first: a record or a sentence."""
    events = copy.deepcopy(EVENTS)
    for path, value in changes:
        with contextlib.suppress(LookupError, TypeError):  # an earlier change took the place away
            events = spoilt(events, path, value)
    rest = events[1:]
    random.shuffle(rest)
    tell_or_refuse(tmp_path, [events[0], *rest])


@pytest.mark.parametrize("line", [b"[" * 100_000 + b"]" * 100_000, b"1" * 5_000, b"\xff\xfe", b"", b"null", b"[]"])
def test_a_line_that_is_no_event(tmp_path: Path, line: bytes) -> None:
    """Nesting that would exhaust the stack, numbers without end, no UTF-8, empty lines: refused by number."""
    data = write(tmp_path, EVENTS[:2])
    (tmp_path / LOG_NAME).write_bytes(data + line + b"\n")
    with pytest.raises(Unreadable, match="line 3 is no event"):
        runlog.read(str(tmp_path))


# --- last.json


def test_last_json_adds_the_newest_sample(tmp_path: Path) -> None:
    """A killed run is told up to last.json; one that is as new as the last line brings what that line left out."""
    writer = Writer()
    writer.open(str(tmp_path))
    for event in EVENTS[:-2]:
        writer.append(event)
    for last in (sample(9.0, 90.0, 100.0), sample(3.0, 30.0, 40.0, raw=[7, 8])):
        writer.keep_last(last)
        assert runlog.read(str(tmp_path)) == [*EVENTS[:-2], last]
    writer.keep_last(sample(2.0, 20.0, 30.0))
    assert runlog.read(str(tmp_path)) == EVENTS[:-2], "an older one adds nothing"
    assert sorted(os.listdir(tmp_path)) == [LAST_NAME, LOG_NAME]
    writer.close()
    assert os.listdir(tmp_path) == [LOG_NAME]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"event":"sample","t":99}', '{"event":"end","t":99}', "[" * 99_999])
def test_a_broken_last_json_changes_nothing(tmp_path: Path, text: str) -> None:
    """What is no sample is passed over: the log itself is whole."""
    write(tmp_path, EVENTS[:-2])
    (tmp_path / LAST_NAME).write_text(text)
    assert runlog.read(str(tmp_path)) == EVENTS[:-2]


def test_last_json_beside_a_finished_log(tmp_path: Path) -> None:
    """A log with its end knows all."""
    write(tmp_path, EVENTS)
    (tmp_path / LAST_NAME).write_text(json.dumps(sample(99.0, 990.0, 990.0)))
    assert runlog.read(str(tmp_path)) == EVENTS


# --- adding to a log that is over

LATER = [hour(90.0 + index, "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", t=3.0) for index in range(2)]


def test_events_after_the_end(tmp_path: Path) -> None:
    """What is added follows the end, and last.json beside such a log is still older than it."""
    data = write(tmp_path, EVENTS)
    runlog.append(str(tmp_path), LATER)
    assert (tmp_path / LOG_NAME).read_bytes() == data + b"".join(map(runlog.encode, LATER))
    (tmp_path / LAST_NAME).write_text(json.dumps(sample(99.0, 990.0, 990.0)))
    assert runlog.read(str(tmp_path)) == [*EVENTS, *LATER]
    tell(tmp_path)


def test_events_after_a_killed_run(tmp_path: Path) -> None:
    """Half a line is taken back; a whole one that lacks its newline is kept; last.json still adds its sample."""
    data = write(tmp_path, EVENTS[:-2])
    last = sample(9.0, 90.0, 100.0)
    (tmp_path / LAST_NAME).write_bytes(runlog.encode(last))
    later = [event | {"t": 9.0} for event in LATER]
    for torn in (b"", b"{", b'{"event":"sample","t":1.0', b"\xff" * 10):
        (tmp_path / LOG_NAME).write_bytes(data + torn)
        runlog.append(str(tmp_path), later)
        assert runlog.read(str(tmp_path)) == [*EVENTS[:-2], *later, last]
    (tmp_path / LOG_NAME).write_bytes(data.rstrip(b"\n"))
    runlog.append(str(tmp_path), later)
    assert runlog.read(str(tmp_path)) == [*EVENTS[:-2], *later, last]


def test_all_of_the_events_or_none(tmp_path: Path) -> None:
    """Where the disk ends in the middle of the second line the log is as it was, and the caller knows."""
    data = write(tmp_path, EVENTS)
    with full_disk(len(data) + len(runlog.encode(LATER[0])) + 10), pytest.raises(OSError, match="too large"):
        runlog.append(str(tmp_path), LATER)
    assert (tmp_path / LOG_NAME).read_bytes() == data


def test_nothing_is_added_where_no_log_is(tmp_path: Path) -> None:
    """A log that is missing is not made, and a link in its place is not followed."""
    with pytest.raises(FileNotFoundError):
        runlog.append(str(tmp_path), LATER)
    os.symlink(tmp_path / "target", tmp_path / LOG_NAME)
    (tmp_path / "target").write_bytes(b"")
    with pytest.raises(OSError, match="symbolic"):
        runlog.append(str(tmp_path), LATER)
    assert (tmp_path / "target").read_bytes() == b""


# --- the writer in trouble


def test_a_full_disk_keeps_the_events_in_memory(tmp_path: Path) -> None:
    """Where the disk ends in the middle of a line, that line is taken back, and it and all later ones are kept."""
    writer = Writer()
    writer.open(str(tmp_path))
    writer.append(EVENTS[0])
    with full_disk(os.stat(tmp_path / LOG_NAME).st_size + 20):
        for event in EVENTS[1:4]:
            writer.append(event)
        writer.keep_last(sample(1.0, 1.0))
    writer.append(EVENTS[4])  # there is room again, but a log with a hole would lie
    writer.close()
    assert (tmp_path / LOG_NAME).read_bytes() == runlog.encode(EVENTS[0])
    assert writer.unwritten == EVENTS[1:5]
    assert writer.failure
    assert os.listdir(tmp_path) == [LOG_NAME]


def test_a_disk_full_from_the_start(tmp_path: Path) -> None:
    """Not a byte of room: everything is kept, and what could not be told is no reason to stop."""
    writer = Writer()
    writer.open(str(tmp_path))
    with full_disk(0):
        writer.append(EVENTS[0])
    writer.close()
    assert writer.unwritten == EVENTS[:1]
    assert writer.failure


def test_events_before_the_log_is_open(tmp_path: Path) -> None:
    """What was appended before there was a directory goes into the log first."""
    writer = Writer()
    writer.append(EVENTS[0])
    writer.open(str(tmp_path))
    writer.append(EVENTS[1])
    writer.close()
    assert runlog.read(str(tmp_path)) == EVENTS[:2]
    assert writer.unwritten == []


def test_a_log_removed_by_the_command(tmp_path: Path) -> None:
    """What was written is still there for the record, in its order."""
    writer = Writer()
    writer.open(str(tmp_path))
    for event in EVENTS[:3]:
        writer.append(event)
    os.unlink(tmp_path / LOG_NAME)
    writer.rescue()
    writer.append(EVENTS[3])
    writer.close()
    assert writer.unwritten == EVENTS[:4]


def test_a_second_writer_takes_a_torn_line_back(tmp_path: Path) -> None:
    """A writer that goes on with the log of one that was killed does not glue its line to half a line."""
    data = write(tmp_path, EVENTS[:3])
    for torn in (b"{", b'{"event":"sample","t":1.0', b""):
        (tmp_path / LOG_NAME).write_bytes(data + torn)
        write(tmp_path, EVENTS[3:4])
        assert runlog.read(str(tmp_path)) == EVENTS[:4]
    (tmp_path / LOG_NAME).write_bytes(b'{"event":"st')
    assert write(tmp_path, []) == b""


def test_a_link_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    """Whoever else may write to the directory cannot make the writer write elsewhere."""
    target = tmp_path / "target"
    os.symlink(target, tmp_path / LOG_NAME)
    with pytest.raises(OSError, match="symbolic"):
        Writer().open(str(tmp_path))
    assert not target.exists()


def test_replace_leaves_no_temporary_file(tmp_path: Path) -> None:
    """Written or not, nothing stays beside the file, and a failed replacement leaves the old one."""
    path = tmp_path / "file"
    runlog.replace(str(path), b"old")
    with full_disk(10), pytest.raises(OSError, match="too large"):
        runlog.replace(str(path), b"n" * 100)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    assert os.stat(path).st_mode & 0o777 == 0o600
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        runlog.replace(str(folder), b"new")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


WRITING = """
import sys
from greenrun.sampler.runlog import Writer
from unit.data.logs import device, sample, start

writer = Writer()
writer.open(sys.argv[1])
writer.append(start(device("cpu0"), environment={"CI": "x" * 20_000}))
print("started", flush=True)
for number in range(4000):
    if number % 400 == 0:
        sys.stdin.readline()  # not faster than it is read
    event = sample(float(number), float(number), filler="y" * (number % 900))
    writer.append(event)
    if number % 7 == 0:
        writer.keep_last(event)
"""


def test_a_reader_beside_the_writer(tmp_path: Path) -> None:
    """Whoever reads while the log grows sees whole events, in order, and never fewer than before."""
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with subprocess.Popen(
        [sys.executable, "-c", WRITING, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": tests},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        seen: list[int] = []
        while process.poll() is None:
            with contextlib.suppress(BrokenPipeError):  # it has just ended
                os.write(process.stdin.fileno(), b"\n")
            events = runlog.read(str(tmp_path))
            assert [event["t"] for event in events[1:]] == sorted(event["t"] for event in events[1:])
            seen.append(len(events))
            time.sleep(0.01)
    assert process.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 3, "it was read while it grew"
    assert len(runlog.read(str(tmp_path))) >= 4001
