"""A run log cut at every byte: each prefix reads, as a part of the run, or is refused in one sentence."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun
from unit.data.logs import start

from greenrun.cli import report
from greenrun.cli.errors import UserError
from greenrun.reports import formats
from greenrun.reports.account import account
from greenrun.reports.formats import CannotTell, Told
from greenrun.sampler import runlog
from greenrun.sampler.runlog import LAST_NAME, LOG_NAME, Unreadable

RUNS = sorted((Path(__file__).parent / "data" / "runs").glob("*.jsonl"))
"""Logs of real runs on a simulated machine, of which fields that are long and say little here were shortened."""

runs = pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)


def events_of(path: Path) -> list[dict[str, Any]]:
    """Give the events of a log, however it is read."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(events: list[dict[str, Any]]) -> list[str]:
    """Tell a run in every format; give the names of those that could, with and without intervals."""
    run = Told(account(events), events)
    able = []
    for name, described in formats.FORMATS.items():
        with contextlib.suppress(CannotTell):
            assert formats.render_runs(name, [run])
            able.append(name)
        if described.intervals:
            assert isinstance(formats.render_intervals(name, [run], 0.3), (str, bytes))
    return able


def test_there_is_a_log_of_each_sort() -> None:
    """Plain, with epochs, of a block and a job, resumed, killed, and of a command that was never there."""
    assert [path.stem for path in RUNS] == ["block", "epochs", "job", "killed", "not-started", "plain", "resumed"]


@runs
def test_cut_after_every_byte(tmp_path: Path, path: Path) -> None:
    """All whole lines are read and nothing else; without the first one it is a sentence.

    Lines know nothing of each other, so each is cut behind a short first one; the log itself is cut around line ends.
    """
    data, events = path.read_bytes(), events_of(path)
    lines = data.splitlines(keepends=True)
    short = start()
    for first, line, event in zip((b"", *[runlog.encode(short)] * len(lines)), lines, events, strict=False):
        (tmp_path / LOG_NAME).write_bytes(first + line)
        for cut in range(len(line) - 1, -1, -1):
            os.truncate(tmp_path / LOG_NAME, len(first) + cut)
            # A line that lacks nothing but its newline is whole.
            check(tmp_path, [short] * bool(first) + [event] * (cut == len(line) - 1))
    (tmp_path / LOG_NAME).write_bytes(data)
    for at in reversed([at for at, byte in enumerate(data) if byte == ord("\n")]):
        for cut in (at + 2, at + 1, at, at - 1):
            if cut <= len(data):
                os.truncate(tmp_path / LOG_NAME, cut)
                check(tmp_path, events[: data.count(b"\n", 0, cut) + (cut == at)])


def check(folder: Path, events: list[dict[str, Any]]) -> None:
    """Hold a log to the events that are whole in it."""
    try:
        assert runlog.read(str(folder)) == events
    except Unreadable as refusal:
        assert not events
        assert "does not begin with the start of a run" in str(refusal)
        assert "\n" not in str(refusal)
    else:
        assert events


@runs
def test_each_prefix_in_every_format(path: Path) -> None:
    """What a prefix tells is partial, in every format that can tell it, and never more than was read in all."""
    events = events_of(path)
    whole = account(events)
    # A sample that was taken as the command ended, a moment after its end, counts until the log tells that end.
    read = account([event for event in events if event["event"] != "exited"])
    for count in range(1, len(events) + 1):
        record = account(events[:count])
        able = told(events[:count])
        assert {"terminal", "json", "html", "csv", "markdown", "openmetrics", "statement"} <= set(able)
        if not {"exited", "not-started"} & {event["event"] for event in events[:count]}:
            assert record["status"] == "partial"
            assert record["exit_code"] is None
        for kind, joules in record["energy_joules"].items():
            most = read["energy_joules"][kind]
            assert joules is None or (most is not None and joules <= most * (1 + 1e-12))  # type: ignore[literal-required]
    assert record == whole


@runs
def test_cut_through_the_verb(tmp_path: Path, capfd: pytest.CaptureFixture[str], path: Path) -> None:
    """`greenrun report` of some cuts in each format: 0 and the run, or one sentence."""
    data = path.read_bytes()
    begin = data.index(b"\n") + 1
    cuts = [0, 1, begin // 2, begin - 2, begin - 1, begin, begin + 1, (begin + len(data)) // 2, len(data) - 3]
    names = list(formats.FORMATS)
    for number, cut in enumerate(cuts * 2):
        (tmp_path / LOG_NAME).write_bytes(data[:cut])
        name = names[(number * 7 + len(data)) % len(names)]
        argv = [str(tmp_path), "--format", name, "-o", str(tmp_path / "told")]
        if number % 3 == 0:
            argv += ["--country", "DK", "--pue", "1.5"]
        try:
            assert report.main(argv) == 0
            assert (tmp_path / "told").read_bytes()
        except UserError as mistake:
            assert "\n" not in str(mistake)
            assert cut < begin - 1 or "the format" in str(mistake), "what reads is told"
        else:
            assert cut >= begin - 1
    assert capfd.readouterr().err == ""


def test_last_json_cut_after_every_byte(tmp_path: Path) -> None:
    """The log of a killed run is whole without it: the newest sample is there or is not."""
    path = next(path for path in RUNS if path.stem == "killed")
    shutil.copy(path, tmp_path / LOG_NAME)
    events = events_of(path)
    newest = {**events[-1], "t": events[-1]["t"] + 5.0}
    line = runlog.encode(newest)
    for cut in range(len(line) + 1):
        (tmp_path / LAST_NAME).write_bytes(line[:cut])
        assert runlog.read(str(tmp_path)) == (events if cut < len(line) - 1 else [*events, newest])


def test_cut_logs_from_the_shell(tmp_path: Path, greenrun: Greenrun) -> None:
    """A process of its own: a partial run is told, and what is no log any more is one sentence and 125."""
    data = next(path for path in RUNS if path.stem == "epochs").read_bytes()
    begin = data.index(b"\n")
    started = []
    for number, cut in enumerate((begin // 3, begin, begin + 700)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / LOG_NAME).write_bytes(data[:cut])
        started.append(
            subprocess.Popen(
                [ENTRY, "report", str(folder)],
                env=greenrun.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    done = [(*process.communicate(), process.returncode) for process in started]
    assert [status for _, _, status in done] == [125, 0, 0]
    assert done[0][0] == ""
    assert done[0][1].count("\n") == 1
    assert "does not begin with the start of a run" in done[0][1]
    assert [err for _, err, _ in done[1:]] == ["", ""]
    assert all("partial record" in out for out, _, _ in done[1:])
