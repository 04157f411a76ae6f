"""The fault matrix: whatever befalls a run, the command is not affected, the record is right or partial, nothing stays.

docs/faults.md is the table of it, with what other tests show; the last test here holds the two together. A fault is
tried plain, watched through pipes and watched on a terminal, side by side.
"""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from machine.blows import BLOWS, bear_all, read_record, steady_machine
from machine.build import preload_library, program
from machine.command import Greenrun
from machine.faults import FAULTS, GROUPS, group, try_fault
from machine.gpus import Gpu
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine
from machine.ways import PLAIN, WAYS, Running, Talk

SEEDS = 40
AT_ONCE = 6

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@needs_root
@pytest.mark.parametrize("some", GROUPS)
def test_faults(tmp_path: Path, some: str) -> None:
    """The command is as without greenrun, the record right or saying that it is not, and nothing is left."""
    program("talk"), preload_library()  # not several times at once
    tasks = [(name, way) for name, fault in FAULTS.items() if group(name) == some for way in fault.ways]
    with steady_machine() as machine, ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(
            lambda task: try_fault(task[1][0], FAULTS[task[1][0]], task[1][1], tmp_path / str(task[0]), machine),
            enumerate(tasks),
        )
        wrong = [one for one in found if one]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_random_blows(tmp_path: Path, first: int) -> None:
    """Each process is killed or stopped at random moments; a failure tells how to repeat it alone."""
    with steady_machine() as machine:
        verdicts, failures = bear_all(range(first, first + 10), str(tmp_path), machine)
    assert not failures, "\n".join(failures)
    assert len(verdicts) == 10


def test_hardware_that_lies(tmp_path: Path) -> None:
    """A counter that jumps, one that stands still for a while, one of nonsense, a GPU whose driver goes: each is told.

    What can be known is exact, what cannot is missing and said to be.
    """
    for at in (2.4, 8.0, 16.0):  # seconds after the machine's birth, by when the command should have been born
        packages = [
            Zone("package-0", constant(80.0), jump_at=at + 0.2),
            Zone("package-1", constant(70.0), frozen=(at, at + 0.5)),
            Zone("package-2", constant(60.0), spoilt=(at, at + 0.5), spoilt_text="no number"),
            Zone("package-3", constant(50.0)),
        ]
        gpus = [Gpu(constant(240.0), lost_at=at + 0.2, lost_error=9), Gpu(constant(120.0))]
        talk = Talk(str(tmp_path / f"life-{at}"), at + 1.3, 23)
        with SimulatedMachine(packages=packages, gpus=gpus) as machine:
            greenrun = Greenrun(tmp_path / f"greenrun-{at}")
            run = Running(greenrun, PLAIN, talk.command(), machine.environment, options=("--interval", "0.2"))
            seen = run.finish()
            lost, kept = (f"nvml:{gpu.uuid}" for gpu in machine.gpus)
        if talk.moments()[0] < machine.epoch + at - 1.0:
            break
    assert (seen.status, seen.out) == (23, talk.out())
    assert greenrun.leftovers() == []
    record = read_record(greenrun)
    assert record is not None
    assert record["status"] == "partial"
    joules = {device["id"]: device["energy_joules"] for device in record["devices"]}
    duration = record["duration_seconds"]
    for name, watts in (("rapl:package-1", 70.0), ("rapl:package-2", 60.0), ("rapl:package-3", 50.0), (kept, 120.0)):
        assert joules[name] == pytest.approx(watts * duration, rel=0.05), name
    gaps = {gap["device"]: gap["duration_seconds"] for gap in record["gaps"]}
    assert gaps.keys() == {"rapl:package-0", lost}
    assert joules["rapl:package-0"] == pytest.approx(80.0 * (duration - gaps["rapl:package-0"]), rel=0.05)
    assert joules[lost] == pytest.approx(240.0 * (duration - gaps[lost]), rel=0.1)
    told = " ".join(warning["message"] for warning in record["warnings"])
    assert "package-0" in told
    assert "GPU 0" in told or "NVIDIA" in told, told


@pytest.mark.parametrize("way", WAYS)
def test_bytes_that_are_no_utf8(tmp_path: Path, way: str) -> None:
    """In arguments, environment, working directory and output they pass as they are, and the record is whole."""
    greenrun = Greenrun(tmp_path / "greenrun")
    cwd = os.path.join(os.fsencode(tmp_path), b"w\xffd")
    os.mkdir(cwd)
    script = b'printf "%s|%s|" "$1" "$ODD"; pwd -P | tr -d "\\n"; printf "|\\377\\200"; exit 23'
    command = [b"sh", b"-c", script, b"s\xfe", b"\xe9\xff"]
    env = {"ODD": os.fsdecode(b"o\xfdd")}
    seen = Running(greenrun, way, command, env, cwd=cwd).finish()
    expected = b"|".join((b"\xe9\xff", b"o\xfdd", os.path.realpath(cwd), b"\xff\x80"))
    assert seen.status == 23
    assert seen.out.startswith(expected), seen.out
    top = os.path.join(cwd, b"greenrun-logs")
    (run_dir,) = (os.path.join(top, name) for name in os.listdir(top) if name != b".gitignore")
    with open(os.path.join(run_dir, b"summary.json"), encoding="utf-8", errors="strict") as file:
        record: dict[str, Any] = json.load(file)
    assert (record["exit_code"], record["status"]) == (23, "complete")
    assert record["command"][-1] == "\ufffd\ufffd"
    with open(os.path.join(run_dir, b"run.jsonl"), encoding="utf-8", errors="strict") as file:
        assert all(json.loads(line) for line in file)
    assert greenrun.leftovers() == []


DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
HERE = Path(__file__).parent


def _rows() -> list[list[str]]:
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "fault" and not row[0].startswith("-")]


def _tests(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE))


def test_the_table_is_what_is_tested() -> None:
    """Each row of the document is shown by tests that exist, and each fault that is tried here has its row."""
    rows = _rows()
    shown = {row[0]: re.findall(r"`(\w+)::(\w+)`", row[-1]) for row in rows}
    assert len(shown) == len(rows), "a fault stands there twice"
    known = {path.stem: _tests(path) for path in HERE.parent.glob("*/test_*.py")}
    for fault, tests in shown.items():
        assert tests, f"nothing shows {fault!r}"
        for file, name in tests:
            assert name in known.get(file, ()), f"{fault!r}: there is no {file}::{name}"
    by_test: dict[str, set[str]] = {}
    for fault, tests in shown.items():
        for _, name in tests:
            by_test.setdefault(name, set()).add(fault)
    few_descriptors = {name for name in FAULTS if group(name) == "descriptors"}
    assert by_test["test_faults"] == FAULTS.keys() - few_descriptors | {"few descriptors"}
    assert by_test["test_random_blows"] == set(BLOWS)
    for fault, *_, plain, watched, _tests_of_it in rows:
        if fault in FAULTS:
            assert (plain, watched) == ("yes", "yes" if len(FAULTS[fault].ways) > 1 else "the same"), fault
        if fault in BLOWS:
            assert (plain != "-", watched != "-") == (PLAIN in BLOWS[fault].ways, True), fault
