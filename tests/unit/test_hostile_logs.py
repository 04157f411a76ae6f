"""Run logs and records of any content: a record or one sentence, never a traceback; and no format obeys what they say.

What a run log must hold stands in greenrun.sampler.events, what a record must hold in greenrun.reports.recordcheck.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine.command import Greenrun
from unit.data.logs import device, end, epoch, exited, hour, intensity, joined, sample, spawned, start

from greenrun.cli import jobrecords, report, runtree
from greenrun.cli.errors import UserError
from greenrun.reports import (
    collection,
    collectiontext,
    comparison,
    comparisontext,
    formats,
    jobtext,
    jsonfile,
    recordcheck,
    statustext,
    tables,
    terminal,
    top,
)
from greenrun.reports.account import account
from greenrun.reports.formats import Told
from greenrun.reports.life import Clock
from greenrun.reports.live import Live
from greenrun.reports.merged import NoJob, Run, merge
from greenrun.sampler import runlog
from greenrun.sampler.runlog import LAST_NAME, LOG_NAME, Unreadable

Events = list[dict[str, Any]]

TRUE = [
    [json.loads(line) for line in path.read_text().splitlines()]
    for path in sorted((Path(__file__).parent / "data" / "runs").glob("*.jsonl"))
]
"""Logs of real runs on a simulated machine."""

PREDICTED = {"value": 20.0, "low": 10.0, "high": 30.0}
SHARED: Events = [
    start(
        device("cpu0", of_job=None),
        kind="job",
        machine={"cpus": 8},
        environment={"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "node1"},
        floor={
            "cpu_watts": 2.0,
            "dram_watts": None,
            "gpu_watts": {"gpu0": 1.0},
            "measured_at": "2026-01-01T00:00:00Z",
            "seconds": 60.0,
            "devices": ["cpu0"],
        },
        allocated={"cpus": 1.5, "all_cpus": 8, "memory_bytes": 1 << 30, "by": "cgroup"},
    ),
    intensity(300.0),
    spawned(0.0),
    joined(0.5, device("gpu0", kind="gpu", from_t=0.5, of_job=None, job_part=0.25)),
    sample(1.0, 5.0, 0.0, cpu=[0.2, 0.4, 2.0], mem=[1 << 20, 1 << 30, 1 << 33], gpu=[[0.5, 0.25]]),
    {"event": "prediction", "t": 1.5, "after_epoch": 1, "epochs": 3, "duration_seconds": PREDICTED}
    | {"ahead": {"grams_per_kwh": 1.0, "uncertainty_percent": 2.0, "forecast_percent": 3.0, "links": ["neso"]}},
    sample(3.0, 30.0, 40.0, cpu=[1.0, 1.2, 6.0], mem=[1 << 20, 1 << 30, 1 << 33], gpu=[[None, None]]),
    exited(3.0, 0),
    end(3.0),
]
"""A job's share of a machine: what the other logs do not have."""

ESCAPE, HTML = "\x1b]0;title\x07\x1b[2J", "<script>alert(1)</script><img src=x onerror=alert(1)>"
NESTED: Any = []
for _ in range(200):
    NESTED = [NESTED]
HOSTILE: list[Any] = [
    None, True, -1, 0, 1.5, 10**400, -1e15, 1e17, 5e-324, 1e308, float("nan"), float("inf"), "", ESCAPE, HTML, "\ud800",
    "a" * 5000, "9999-12-31T23:59:59Z", [], [[]], [None, "x"], [1, 2, 3], {}, {"value": None}, NESTED, 1 << 64,
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path to each value inside a JSON value, its own excepted."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def spoil(value: Any, path: tuple[Any, ...], new: Any) -> None:
    """Put another value at a place, or take it away (`...`); where an earlier change took the place, nothing."""
    with contextlib.suppress(LookupError, TypeError):
        for key in path[:-1]:
            value = value[key]
        if new is ...:
            del value[path[-1]]
        else:
            value[path[-1]] = copy.deepcopy(new)


def write(folder: Path, events: list[Any]) -> None:
    """Write a log, whatever is in it."""
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    (folder / LOG_NAME).write_bytes(b"".join(lines))


def assert_harmless(data: str | bytes, name: str = "json") -> None:
    """Hold a text to what a terminal and a page need: no control characters but those of text, and no markup."""
    if isinstance(data, bytes):
        return
    data.encode()
    assert not {"\x1b", "\x07", "\x9b", "\x00"} & set(data), name
    if name in ("html", "markdown"):
        assert not re.search(r"(?<!\\)<(script>alert|img src)", data)


def tell(events: Events, names: tuple[str, ...] = tuple(formats.FORMATS)) -> None:
    """Tell a log in every way there is; what cannot be told is one of the errors that are made a sentence of."""
    record = account(events)
    run = Told(record, events)
    for name in names:
        with contextlib.suppress(formats.CannotTell):
            assert_harmless(formats.render_runs(name, [run]), name)
        if formats.FORMATS[name].intervals:
            with contextlib.suppress(formats.CannotTell):
                seconds = max(0.5, (record["duration_seconds"] or 0.0) / 10)
                assert_harmless(formats.render_intervals(name, [run], seconds), name)
    live = Live(events[0])
    for event in events[1:]:
        live.take(event)
    seen = statustext.Seen(1, "ada", "/runs/1", live.state(5000.0))
    assert_harmless(statustext.render([seen]) + statustext.line(seen) + statustext.document([seen]))
    with contextlib.suppress(NoJob):
        job = merge([Run(record, events)])
        assert_harmless(jobtext.render(job) + jsonfile.document(job))
    document = json.loads(jsonfile.render(record))
    assert recordcheck.flaw(document) is None
    tell_record(document)


def tell_record(document: Any) -> None:
    """Tell a record that was read in the ways of many runs."""
    tables.row(document)
    one = comparison.side("a", [comparison.run_of(document, "/p")])
    assert_harmless(comparisontext.render_change(one, one, None))
    ranked = comparison.ranked(one.runs, next(iter(one.runs[0].metrics), None) if one.runs else None)
    assert_harmless(comparisontext.render_ranked(ranked, None, lower_is_better=False))
    many = collection.Collection(collection.BYS)
    many.add(collection.run_of(document, "/p"))
    skipped = collectiontext.Skipped(0, [])
    assert_harmless(collectiontext.render(many.summed(), skipped, "/d", None))
    assert_harmless(collectiontext.render_json(many.summed(), skipped))


def tell_or_refuse(folder: Path, events: list[Any], names: tuple[str, ...] = tuple(formats.FORMATS)) -> bool:
    """Hold a log to the promise: it is told, or refused in one sentence. Tell which."""
    write(folder, events)
    try:
        read = runlog.read(str(folder))
    except Unreadable as refusal:
        assert str(refusal).endswith(".")
        assert "\n" not in str(refusal)
        return False
    tell(read, names)
    return True


FAST = tuple(name for name in formats.FORMATS if name not in ("html", "parquet"))


def test_true_logs_are_told(tmp_path: Path) -> None:
    """None of the logs that greenrun itself has written is refused, and their records are none of the damaged ones."""
    for events in [*TRUE, SHARED]:
        assert tell_or_refuse(tmp_path, events)


def test_each_field_of_a_share_spoilt(tmp_path: Path) -> None:
    """Floor, allocation, parts of GPUs and what was predicted with: missing, or replaced by each hostile value."""
    ours = {"floor", "allocated", "machine", "job_part", "of_job", "cpu", "mem", "gpu", "ahead"}
    for path in places(SHARED):
        if ours & set(path):
            for value in (..., *HOSTILE):
                events = copy.deepcopy(SHARED)
                spoil(events, path, value)
                write(tmp_path, events)
                with contextlib.suppress(Unreadable):
                    record = account(runlog.read(str(tmp_path)))
                    assert_harmless(terminal.render(record) + jsonfile.render(record))


values = st.recursive(
    st.sampled_from(HOSTILE) | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_true_logs_spoilt(tmp_path: Path, data: st.DataObject) -> None:
    """Events of real logs changed, repeated, dropped, shuffled and put into each other: told in every format or not."""
    events = copy.deepcopy(data.draw(st.sampled_from([*TRUE, SHARED])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(events) - 1))
        what = data.draw(st.sampled_from(["spoil"] * 6 + ["repeat", "drop", "swap", "mix"]))
        if what == "spoil":
            spoil(events[at], data.draw(st.sampled_from(list(places(events[at])) or [()])), data.draw(values))
        elif what == "repeat":
            events.insert(data.draw(st.integers(1, len(events))), copy.deepcopy(events[at]))
        elif what == "drop" and at:
            del events[at]
        elif what == "swap":
            other = data.draw(st.integers(0, len(events) - 1))
            events[at], events[other] = events[other], events[at]
        elif what == "mix":
            events.insert(max(1, at), copy.deepcopy(data.draw(st.sampled_from(data.draw(st.sampled_from(TRUE))))))
    tell_or_refuse(tmp_path, events, FAST)


@pytest.mark.parametrize("text", [ESCAPE, HTML, "=1+1\n\x9b31m\u2028\u202e", "\\ud800\\u0000{}%$&#_^~|`"])
def test_names_that_command(tmp_path: Path, text: str) -> None:
    """Every text of a log set to what a terminal, a page or a table might obey: told in all formats, and harmless."""
    told = 0
    for events in [*TRUE, SHARED]:
        spoilt = copy.deepcopy(events)
        for path in places(spoilt):
            value: Any = spoilt
            for key in path:
                value = value[key]
            if isinstance(value, str) and path[-1] not in ("event", "utc", "measured_at") and "kind" not in path:
                before = copy.deepcopy(spoilt)
                spoil(spoilt, path, text)
                write(tmp_path, spoilt)
                try:
                    runlog.read(str(tmp_path))
                except Unreadable:  # a word of those that it must be one of
                    spoilt = before
        tell(spoilt)
        told += json.dumps(spoilt).count(json.dumps(text)[1:-1])
    assert told > 200


# --- what is large


def test_claims_of_size(tmp_path: Path) -> None:
    """More devices or bytes than any run has are refused before they cost time or memory."""
    short = start(device("cpu0"), floor=None)
    write(tmp_path, [start(*[device(f"cpu{n}") for n in range(600)]), joined(1.0, *[device("more")] * 401)])
    with pytest.raises(Unreadable, match=r"no run log of greenrun's: it has more than 1000 devices\.$"):
        runlog.read(str(tmp_path))
    write(tmp_path, [short])
    for size in (runlog.LARGEST_BYTES + 1, 1 << 42):
        os.truncate(tmp_path / LOG_NAME, size)  # sparse
        with pytest.raises(Unreadable, match=r"run log of greenrun's: it is larger than 256 MiB\.$"):
            runlog.read(str(tmp_path))
        with pytest.raises(Unreadable, match="larger than"):
            runlog.read_start(str(tmp_path))
    write(tmp_path, [short])
    os.truncate(tmp_path / LOG_NAME, 100_000_000)
    with pytest.raises(Unreadable, match="line 2 is no event"):
        runlog.read(str(tmp_path))


@pytest.mark.soak
def test_more_events_than_a_run_has(tmp_path: Path) -> None:
    """A million short lines are read, and refused for being more."""
    short = runlog.encode(start(device("cpu0")))
    (tmp_path / LOG_NAME).write_bytes(short + b'{"event":"x","t":0}\n' * runlog.MOST_EVENTS)
    with pytest.raises(Unreadable, match=r"it has more than 1000000 events\.$"):
        runlog.read(str(tmp_path))


def test_a_text_without_end(tmp_path: Path) -> None:
    """One long word in each place of a log that may have any: told."""
    events = copy.deepcopy(SHARED)
    for path in (("name",), ("host",), ("command",), ("devices", 0, "name")):
        spoil(events[0], path, ["a" * 100_000] if path == ("command",) else "a" * 100_000)
    assert tell_or_refuse(tmp_path, events, FAST)


def test_samples_wider_than_the_machine(tmp_path: Path) -> None:
    """More joules than devices, or fewer, and devices that come twice: told with what is known."""
    cpu = device("cpu0")
    events = [start(cpu), spawned(0.0), sample(0.0), sample(1.0, *[1.0] * 50_000), joined(1.5, cpu, cpu)]
    assert tell_or_refuse(tmp_path, [*events, sample(2.0, 5.0), sample(3.0, *[9.0] * 4), exited(3.0)])


def processor_seconds(work: Callable[[], object]) -> float:
    """Give the processor time of some work: how crowded the machine is makes no difference."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def test_clocks_that_jump_among_many_hours() -> None:
    """Thousands of clock steps and thousands of intensities: not each with each."""
    count = 4000
    steps = [
        {"event": "clock", "t": float(n), "utc_step_seconds": 0.1 * n, "suspended_seconds": 0.05 * n}
        for n in range(count)
    ]
    hours = [
        hour(float(n), f"2026-01-{1 + n // 1440:02d}T{n // 60 % 24:02d}:{n % 60:02d}:00Z", "2026-02-01T00:00:00Z")
        for n in range(count)
    ]
    events = [
        start(device("cpu0")),
        *hours,
        spawned(0.0),
        sample(0.0, 0.0),
        *steps,
        sample(9e4, 9e5),
        exited(9e4),
        end(),
    ]
    assert processor_seconds(lambda: account(events)) < 6.0  # each with each takes a minute


def test_the_clock_is_what_it_was() -> None:
    """UTC before, at and after steps forward and back, and the moments that a step skips or repeats."""
    steps = [(10.0, 5.0, 5.0), (20.0, -3.0, 5.0), (20.0, -4.0, 6.0)]
    moved = [{"event": "clock", "t": t, "utc_step_seconds": utc, "suspended_seconds": slept} for t, utc, slept in steps]
    clock = Clock([start(), *moved])
    zero = clock.utc(0.0)
    assert [(clock.utc(t) - zero).total_seconds() for t in (9.0, 10.0, 19.0, 20.0, 30.0)] == [
        9.0,
        15.0,
        24.0,
        16.0,
        26.0,
    ]
    assert [(clock.utc_until(t) - zero).total_seconds() for t in (10.0, 20.0, 30.0)] == [10.0, 25.0, 26.0]
    assert clock.suspended_seconds(0.0, 15.0) == 5.0
    assert clock.suspended_seconds(15.0, 25.0) == 1.0
    # 12 s is skipped by the first step, 17 s comes before and after the second, 40 s never.
    moments = [clock.utc(0.0).fromtimestamp(zero.timestamp() + s, zero.tzinfo) for s in (8.0, 12.0, 17.0, 40.0)]
    assert clock.cuts(0.0, 30.0, moments) == [0.0, 8.0, 10.0, 12.0, 20.0, 21.0, 30.0]


# --- what is no file


def nothing_is_read(folder: Path) -> str:
    """Read a log that is none; give the sentence."""
    with pytest.raises(Unreadable) as refusal:
        runlog.read(str(folder))
    with pytest.raises(Unreadable):
        runlog.read_start(str(folder))
    return str(refusal.value)


def test_no_file_in_the_place_of_the_log(tmp_path: Path) -> None:
    """Links (root reads other users' directories), FIFOs with and without a writer, sockets, devices: one sentence."""
    log = tmp_path / LOG_NAME
    elsewhere = tmp_path / "elsewhere"
    write(tmp_path, SHARED)
    log.rename(elsewhere)
    for target in (elsewhere, tmp_path / "nowhere", log, Path("/dev/zero"), Path("/proc/self/mem")):
        log.symlink_to(target)
        assert nothing_is_read(tmp_path).endswith("cannot be read: it is a link, and none is followed.")
        log.unlink()
    log.mkdir()
    assert nothing_is_read(tmp_path).endswith("cannot be read: Is a directory.")
    log.rmdir()
    os.mkfifo(log)
    assert nothing_is_read(tmp_path).endswith("it is no file.")
    writer = os.open(log, os.O_RDWR)
    os.write(writer, b'{"event":')
    assert nothing_is_read(tmp_path).endswith("it is no file.")
    os.close(writer)
    log.unlink()
    folder = os.open(tmp_path, os.O_RDONLY)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{folder}/{LOG_NAME}")
        assert "cannot be read" in nothing_is_read(tmp_path)
    os.close(folder)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "huge"])
def test_no_file_in_the_place_of_last_json(tmp_path: Path, kind: str) -> None:
    """The log itself is whole: what is beside it is passed over."""
    events = [event for event in SHARED if event["event"] not in ("exited", "end")]
    write(tmp_path, events)
    last = tmp_path / LAST_NAME
    if kind == "link":
        (tmp_path / "newer").write_text(json.dumps(sample(9.0, 90.0, 90.0)))
        last.symlink_to(tmp_path / "newer")
    elif kind == "fifo":
        os.mkfifo(last)
    elif kind == "folder":
        last.mkdir()
    else:
        last.touch()
        os.truncate(last, 1 << 42)
    assert runlog.read(str(tmp_path)) == events


# --- records that were read


RECORDS = [json.loads(jsonfile.render(account(events))) for events in [*TRUE, SHARED]]


def test_records_of_greenrun_are_in_form() -> None:
    """Each record that the account makes is accepted; with a field missing or more than JSON can tell it is not."""
    for record in RECORDS:
        assert recordcheck.flaw(record) is None
        assert recordcheck.flaw(record | {"newer": {"field": [1]}}) is None
    record = RECORDS[0]
    for name in record:
        less = {key: value for key, value in record.items() if key != name}
        assert recordcheck.flaw(less) == f"it has no {name}"
        assert recordcheck.flaw(record | {name: {"x": {"x": [NESTED]}}}) == f"it has no valid {name}"
    assert recordcheck.flaw([]) == "it is no JSON object"
    assert recordcheck.flaw(record | {"newer": NESTED}) == "it has no valid extra field"
    for path, value in (
        (("devices", 0, "name"), "\ud800"),
        (("devices", 0, "kind"), "tpu"),
        (("devices", 0, "energy_joules"), float("inf")),
        (("energy_joules", "cpu"), True),
        (("started_at",), "yesterday"),
        (("started_at",), "9999-01-01T00:00:00Z"),
        (("duration_seconds",), 1e11),
        (("exit_code",), 1 << 70),
        (("exit_code",), 0.5),
        (("intensity", "spans", 0, "from"), "now"),
        (("metrics",), {"loss": "low"}),
        (("usage",), {}),
    ):
        spoilt = copy.deepcopy(record)
        spoil(spoilt, path, value)
        assert recordcheck.flaw(spoilt) == f"it has no valid {path[0]}"


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_summaries_spoilt(tmp_path: Path, data: st.DataObject) -> None:
    """A summary.json of any content, in tables, comparisons, sums and jobs: told, or one sentence that says why not."""
    document = copy.deepcopy(data.draw(st.sampled_from(RECORDS)))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(document))))
        spoil(document, path[: data.draw(st.integers(1, len(path)))], data.draw(values | st.just(...)))
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(document))
    (found,) = runtree.walk(str(tmp_path))
    if found.reason is None:
        with contextlib.suppress(collection.Damaged, comparison.Damaged), collection.checking():
            tell_record(found.document)
    else:
        assert "\n" not in found.reason
    read = jobrecords.loaded(str(folder), jobrecords.load_summary)
    if isinstance(read, jobrecords.Trouble):
        assert "there is no run.jsonl" in read.sentence
    else:
        with contextlib.suppress(NoJob):
            job = merge([read])
            assert_harmless(jobtext.render(job) + jsonfile.document(job))
            top.charge(job)


# --- the whole way


def test_hostile_logs_through_the_verb(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`greenrun report` of a log that reads and cannot be told is one sentence too."""
    spoilt: Events = copy.deepcopy(SHARED)
    spoilt[0]["devices"][0]["resolution_joules"] = 1e18
    spoilt[4]["j"][0], spoilt[6]["j"][0] = 0.0, 5e-324
    write(tmp_path, spoilt)
    for name in formats.FORMATS:
        with contextlib.suppress(UserError):
            report.main([str(tmp_path), "--format", name, "-o", str(tmp_path / "told")])
    with pytest.raises(UserError, match="damaged") as mistake:
        report.main([str(tmp_path)])
    assert "\n" not in str(mistake.value)
    assert capfd.readouterr() == ("", "")


def test_directories_with_names_that_command(tmp_path: Path, greenrun: Greenrun) -> None:
    """No UTF-8 and escapes in a path: the run is told, and neither stdout nor stderr has an escape."""
    folder = os.path.join(os.fsencode(tmp_path), b"\xff\x1b[31m\n")
    os.mkdir(folder)
    run_dir = os.path.join(folder, b"run\x9b\xc2\x9b")
    os.mkdir(run_dir)
    with open(os.path.join(run_dir, LOG_NAME.encode()), "wb") as log:
        log.write(b"".join(map(runlog.encode, SHARED)))
    for words in (
        [b"report", run_dir],
        [b"report", folder],
        [b"compare", run_dir, run_dir],
        [b"report", run_dir + b"x"],
    ):
        done = greenrun(*words, text=False)
        assert (done.returncode == 0) == (words[0] == b"report" and words[-1] != run_dir + b"x")
        said = done.stdout + done.stderr
        assert b"Traceback" not in said
        assert b"\x1b" not in said
        assert b"\xc2\x9b" not in said


def test_epochs_without_end() -> None:
    """An epoch of any number, at any time, before the spawn and after the end."""
    odd = [
        epoch(t, n, mark) for t in (-1e9, 0.0, 2.0, 1e9) for n in (-(10**17), 0, 10**17) for mark in ("start", "end")
    ]
    tell([*SHARED[:4], *odd, *SHARED[4:]], FAST)


@pytest.mark.parametrize("event", ["epoch", "sample", "exited", "newer"])
def test_fields_of_other_events(tmp_path: Path, event: str) -> None:
    """What a coverage-guided fuzzer has found: a field that is known elsewhere is nothing here, whatever it holds."""
    for value in (7, "text", [1], {"x": NESTED}):
        events = copy.deepcopy(SHARED)
        odd = next((one for one in events if one["event"] == event), None) or epoch(1.0, 1, "end") | {"event": event}
        for name in {key for one in [*SHARED, *TRUE[0]] for key in one} - {"event", "t"}:
            odd.setdefault(name, value)
        tell_or_refuse(tmp_path, [*events, odd], ("terminal", "json"))
    assert tell_or_refuse(tmp_path, [*SHARED[:3], epoch(1.0, 1, "end") | {"findings": 7, "devices": 7}], ("json",))
