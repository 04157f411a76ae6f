"""Many runs: what is added, what is not added twice, and what cannot be read."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from greenrun.cli import runtree
from greenrun.reports import collection
from greenrun.reports.collection import Collection, Damaged, Summed, run_of

GOLDEN = Path(__file__).parent / "data" / "two-sockets"
RECORD = json.loads((GOLDEN / "summary.json").read_text())
JOULES = 97200.0


def record(run_id: str, minute: int = 0, joules: float | None = JOULES, **more: Any) -> dict[str, Any]:
    """Give a record of two minutes on node1, outside of any job unless it says so."""
    started = {"started_at": f"2026-01-01T{minute // 60:02d}:{minute % 60:02d}:00.000Z", "job": None}
    return {
        **RECORD,
        "run_id": run_id,
        "energy_joules": {**RECORD["energy_joules"], "total": joules},
        **started,
        **more,
    }


def estimated(run_id: str, minute: int) -> dict[str, Any]:
    """Give a record whose CPUs are estimated."""
    devices = [{**device, "method": "estimate"} for device in RECORD["devices"]]
    return record(run_id, minute, devices=devices)


def summed(*records: dict[str, Any], by: collection.By = "user") -> Summed:
    """Sum records."""
    told = Collection([by])
    for one in records:
        told.add(run_of(one, one["run_id"]))
    return told.summed()


def joules_by(by: collection.By, *records: dict[str, Any]) -> dict[str, float | None]:
    """Give the energy of each group."""
    return {name: sums.known_joules for name, sums in summed(*records, by=by).groups[by].items()}


def test_sums() -> None:
    """Energy, time, CO2e with its range: each is the sum of the runs'."""
    total = summed(record("a"), record("b", 5, joules=2800.0)).total
    assert (total.runs, total.joules, total.seconds) == (2, 100_000.0, 240.0)
    assert total.grams == pytest.approx(2 * RECORD["co2e_grams"])
    assert total.low_grams == pytest.approx(2 * RECORD["co2e_low_grams"])
    assert total.half_width_joules == pytest.approx(1000.0 * RECORD["uncertainty_percent"])


@pytest.mark.parametrize(
    ("by", "more", "expected"),
    [
        ("user", {"user": "eve"}, "eve"),
        ("user", {"user": None}, "(unknown)"),
        ("project", {"name": "x"}, "x"),
        ("project", {"name": "x", "tags": {"project": "p"}}, "p"),
        ("command", {"command": ["/usr/bin/python3.11", "-u", "a/train.py", "--lr", "1"]}, "python3.11 train.py"),
        ("command", {"command": ["python", "-m", "pkg.train", "x"]}, "python -m pkg.train"),
        ("command", {"command": ["bash", "-c", "secret words"]}, "bash -c"),
        ("command", {"command": ["./solver", "in.txt"]}, "solver"),
        ("command", {"command": None}, "(command)"),
        ("host", {"host": "node9"}, "node9"),
        ("gpu", {}, "NVIDIA A100"),
        ("gpu", {"devices": []}, "(no GPU)"),
        ("job", {"job": {"SLURM_JOB_ID": "42"}}, "42"),
        ("job", {"job": {"Scheduler": "slurm", "JobID": "7_3", "JobIDRaw": "9"}}, "7_3"),
        ("job", {"job": None}, "(no job)"),
        ("month", {"started_at": "2026-03-31T23:59:59.000-02:00"}, "2026-04"),
    ],
)
def test_groups(by: collection.By, more: dict[str, Any], expected: str) -> None:
    """Each run is in the group that is named here."""
    assert joules_by(by, record("a", **more)) == {expected: JOULES}


def test_apart() -> None:
    """Partial runs are lower bounds and estimates no measurements: each has a sum of its own."""
    total = summed(record("a"), estimated("b", 5), record("c", 10, status="partial", joules=100.0)).total
    assert total.joules_of == {"measured": JOULES, "estimated": JOULES, "partial": 100.0}
    assert total.runs_of == {"measured": 1, "estimated": 1, "partial": 1}


def test_unknown_is_not_0() -> None:
    """Runs without energy or CO2e are counted, and a group of nothing else has no sum."""
    told = summed(record("a"), record("b", 5, joules=None, user="eve"), record("c", 9, co2e_grams=None))
    assert (told.total.without_energy, told.total.without_grams) == (1, 1)
    assert told.groups["user"]["eve"].known_joules is None
    assert told.total.joules == 2 * JOULES


@pytest.mark.parametrize("swapped", [False, True])
def test_nested_runs_are_not_added_twice(swapped: bool) -> None:
    """Whether the parent is found before its children or after them."""
    runs = [record("p"), record("c", 0, parent_run_id="p"), record("g", 0, parent_run_id="c"), record("x", 9)]
    told = summed(*(reversed(runs) if swapped else runs))
    assert (told.total.joules, told.left_out.nested, told.overlapping) == (2 * JOULES, 2, 0)


def test_nested_runs_that_do_count() -> None:
    """Those whose parent is not here, is of unknown energy, or measured another host."""
    assert summed(record("c", parent_run_id="gone")).total.joules == JOULES
    assert summed(record("p", joules=None), record("c", parent_run_id="p")).total.joules == JOULES
    far = record("c", parent_run_id="p", host="node2")
    assert summed(record("p"), far).total.joules == 2 * JOULES
    # Through a parent that measured nothing to one that did.
    chain = [record("p"), record("c", joules=None, parent_run_id="p"), record("g", parent_run_id="c")]
    assert summed(*chain).total.joules == JOULES


def test_parents_in_a_circle() -> None:
    """A log that says so ends nobody."""
    told = summed(record("a", parent_run_id="b", joules=None), record("b", parent_run_id="a", joules=None))
    assert told.total.runs == 2
    assert summed(record("a", parent_run_id="a")).total.joules == JOULES


def test_a_job_and_the_runs_in_it() -> None:
    """The record of a job on a node has the energy of the user's runs there; not of another node or after it."""
    job = {"JobID": "7_3", "JobIDRaw": "9", "Cluster": "c"}
    root = record("root", 0, kind="job", job=job, duration_seconds=600.0)
    inside = record("in", 3, job=job)
    others = [
        record("out", 30, job=job),
        record("far", 3, job=job, host="node2"),
        record("no", 3, job={"JobIDRaw": "8"}),
    ]
    told = summed(inside, root, *others)
    assert (told.total.runs, told.left_out.in_jobs) == (4, 1)
    again = record("again", 29, kind="job", job=job, duration_seconds=600.0)  # requeued
    assert summed(inside, root, again, *others).left_out.in_jobs == 2
    assert summed(inside, {**root, "energy_joules": {**root["energy_joules"], "total": None}}).left_out.in_jobs == 0


def test_copies_are_counted_once() -> None:
    """A run in the spool and in the user's directory is one."""
    told = summed(record("a"), record("a"))
    assert (told.total.runs, told.left_out.copies) == (1, 1)


def test_overlapping_runs_are_counted() -> None:
    """Each has the machine's energy; on another host, or one after the other, they have not."""
    assert summed(record("a", 0), record("b", 1), record("c", 2), record("d", 9)).overlapping == 3
    assert summed(record("a", 0), record("b", 2), record("c", 0, host="node2")).overlapping == 0
    assert summed(record("a", 0, duration_seconds=6000.0), record("b", 1), record("c", 50)).overlapping == 3


def test_the_largest_runs() -> None:
    """Ten of them, the largest first."""
    told = summed(*(record(f"r{n}", n, joules=float(n * 7 % 101)) for n in range(101)))
    assert [run.joules for run in told.top] == [float(n) for n in range(100, 90, -1)]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        None,
        {**RECORD, "schema": 2},
        {name: value for name, value in RECORD.items() if name != "tags"},
        {**RECORD, "started_at": "yesterday"},
        {**RECORD, "duration_seconds": -1.0},
        {**RECORD, "duration_seconds": 1e300},
        {**RECORD, "energy_joules": {"total": True}},
        {**RECORD, "energy_joules": 5},
        {**RECORD, "co2e_grams": "5"},
        {**RECORD, "run_id": 5},
        {**RECORD, "command": [1]},
        {**RECORD, "user": {}},
        {**RECORD, "devices": [{}]},
    ],
)
def test_what_is_no_record(wrong: Any) -> None:
    """It is damaged, and never a 0."""
    with pytest.raises(Damaged):
        run_of(wrong, "x")


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Give a tree with two runs, one of them deep, and all that can be wrong with others."""

    def put(where: str, text: str) -> None:
        folder = tmp_path / "logs" / where
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(text)

    put("a", json.dumps(record("a")))
    put("runs/9/node1-b", json.dumps(record("b", 10, user="eve", name="=1+1\x1b[2J")))
    put("torn", json.dumps(record("c"))[:-99])
    put("nan", json.dumps({**record("d"), "pue": float("nan")}))
    put("binary", "")
    (tmp_path / "logs/binary/summary.json").write_bytes(b"\xff\xfe\x00")
    put("deep", "[" * 100_000)
    put("wrong", json.dumps({**record("e"), "usage": 5}))  # in no sum, but in a column
    put("elsewhere", "")
    put("link", "")
    for name, target in (("link", "../a/summary.json"), ("elsewhere", "/dev/zero")):
        (tmp_path / "logs" / name / "summary.json").unlink()
        (tmp_path / "logs" / name / "summary.json").symlink_to(target)
    (tmp_path / "logs/fifo").mkdir()
    os.mkfifo(tmp_path / "logs/fifo/summary.json")
    (tmp_path / "logs/a-link").symlink_to("a")
    (tmp_path / "logs/notes").mkdir()
    (tmp_path / "logs/.gitignore").write_text("*\n")
    (tmp_path / "logs/killed").mkdir()
    log = (GOLDEN / "run.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "logs/killed/run.jsonl").write_text("".join(line for line in log if '"event":"e' not in line))
    (tmp_path / "logs/no-log").mkdir()
    (tmp_path / "logs/no-log/run.jsonl").write_text("{}\n")
    return tmp_path / "logs"


DAMAGED = {"torn", "nan", "binary", "deep", "elsewhere", "link", "fifo", "no-log"}


def report(*argv: str) -> subprocess.CompletedProcess[bytes]:
    """Run `greenrun report` in a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
    command = [sys.executable, "-m", "greenrun", "report", *argv]
    return subprocess.run(command, capture_output=True, env=environ, timeout=60, check=False)


def test_a_tree_is_walked(log_dir: Path) -> None:
    """Runs are found however deep; links are not followed, and a FIFO keeps nobody waiting."""
    found = list(runtree.walk(str(log_dir)))
    assert {os.path.basename(one.path) for one in found if one.reason} == DAMAGED
    assert {os.path.basename(one.path) for one in found if not one.reason} == {"a", "node1-b", "killed", "wrong"}


def test_a_tree_is_told(log_dir: Path) -> None:
    """The killed run is told from its log; the damaged ones are listed with the reason."""
    told = report(str(log_dir), "--json")
    assert told.returncode == 0, told.stderr
    document = json.loads(told.stdout)
    assert document["total"]["runs"] == 4
    assert document["total"]["partial_runs"] == 1
    assert document["total"]["energy_joules"] >= 3 * JOULES
    assert {os.path.basename(one["path"]) for one in document["damaged_runs"]} == DAMAGED
    assert {one["group"] for one in document["by"]["user"]} == {"ada", "eve"}
    text = report(str(log_dir)).stdout.decode()
    assert text.startswith("greenrun: 4 runs in ")
    assert "8 run directories could not be read:" in text
    assert "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines() if str(log_dir) not in line), text


def test_a_tree_by_something(log_dir: Path) -> None:
    """In each format; a row for each group."""
    csv = report(str(log_dir), "--by", "project", "--format", "csv").stdout.decode()
    assert "'=1+1" in csv
    assert csv.count("\r\n") == 3
    lines = report(str(log_dir), "--by", "user", "--format", "jsonl").stdout.splitlines()
    assert {json.loads(line)["user"]: json.loads(line)["runs"] for line in lines} == {"ada": 3, "eve": 1}
    text = report(str(log_dir), "--by", "user", "--format", "openmetrics").stdout.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    runs = {sample.labels["group"]: sample.value for sample in families["greenrun_sum_runs"].samples}
    assert runs == {"ada": 3.0, "eve": 1.0}
    assert families["greenrun_sum_energy_joules"].unit == "joules"
    assert "by user" in report(str(log_dir), "--by", "user").stdout.decode()


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet", "codecarbon"])
def test_a_row_for_each_run(log_dir: Path, tmp_path: Path, name: str) -> None:
    """What could not be read is said on stderr, and the table is whole without it."""
    out = tmp_path / "out"
    told = report(str(log_dir), "--format", name, "-o", str(out))
    assert told.returncode == 0, told.stderr
    assert b"could not be read" in told.stderr
    assert b"and 8 more" in told.stderr  # with the one that has a column of the wrong form
    data = out.read_bytes()
    if name == "parquet":
        import pyarrow.parquet

        assert pyarrow.parquet.read_table(out).num_rows == 3
    else:
        assert data.count(b"\n") == 3 + (name != "jsonl")
    if name != "parquet":
        assert report(str(log_dir), "--format", name).stdout == data


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """Where there is much to read it is drawn on a terminal, and nowhere else."""
    text = json.dumps(record("a"))
    for n in range(600):
        (tmp_path / f"{n}").mkdir()
        (tmp_path / f"{n}/summary.json").write_text(text)
    command = f"{shlex.quote(sys.executable)} -m greenrun report {shlex.quote(str(tmp_path))}"
    terminal = pexpect.spawn(
        "/bin/sh", ["-c", f"{command} >/dev/null"], env={**os.environ, "TERM": "xterm"}, timeout=60
    )
    terminal.expect("reading runs")
    terminal.expect("100%")
    terminal.expect(pexpect.EOF)
    assert report(str(tmp_path)).stderr == b""


def test_sentences(log_dir: Path, tmp_path: Path) -> None:
    """A mistake is told before anything is read, with what would be right."""
    for argv, words in (
        ([str(log_dir), "--by", "colour"], b"--by must be one of user, project"),
        ([str(log_dir), "--format", "latex"], b"directory of many"),
        ([str(log_dir), "--format", "openmetrics"], b"needs --by"),
        ([str(log_dir), str(log_dir / "a")], b"not a single run's"),
        ([str(log_dir / "a"), "--by", "user"], b"not a single run's"),
        ([str(log_dir), "--pue", "2"], b"what if"),
        ([str(log_dir), "--per-interval", "5"], b"--per-interval"),
    ):
        told = report(*argv)
        assert told.returncode == 125
        assert words in told.stderr, told.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    assert b"is no run directory" in report(str(empty)).stderr
    (empty / "notes").mkdir()
    assert report(str(empty)).returncode == 1
    shutil.copytree(GOLDEN, tmp_path / "one")
    told = report(str(tmp_path / "one"), "--format", "csv", "--per-interval", "60")
    assert told.stdout.count(b"\r\n") == 1 + 6 * 2
    assert b"knows no intervals" in report(str(tmp_path / "one"), "--per-interval", "60").stderr
