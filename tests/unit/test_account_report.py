"""The verb report, as a user types it: runs told again, and sentences for what is no run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "data" / "two-sockets"


def report(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run `greenrun report` in a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
    command = [sys.executable, "-m", "greenrun", "report", *argv]
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Give a run directory that holds nothing but the golden run's log."""
    shutil.copy(GOLDEN / "run.jsonl", tmp_path)
    return tmp_path


def test_a_run_is_told_again(run_dir: Path) -> None:
    """On stdout, as in summary.txt, with the directory last; nothing is written."""
    told = report(str(run_dir))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == (GOLDEN / "summary.txt").read_text() + f"  log         {run_dir}\n"
    assert os.listdir(run_dir) == ["run.jsonl"]


def test_json_is_the_record(run_dir: Path) -> None:
    """As in summary.json."""
    assert json.loads(report("--json", str(run_dir)).stdout) == json.loads((GOLDEN / "summary.json").read_text())


def test_what_if_it_had_run_elsewhere(run_dir: Path) -> None:
    """Another PUE and another country: the energy stays, the footprint changes."""
    told = json.loads(report(str(run_dir), "--json", "--pue", "2", "--country", "france").stdout)
    assert told["energy_joules"]["total"] == 97200.0
    assert (told["pue"], told["pue_source"], told["intensity"]["country"]) == (2.0, "what-if", "FR")
    assert told["co2e_grams"] == pytest.approx(0.027 * 2.0 * 41.44)
    zone = json.loads(report(str(run_dir), "--json", "--zone", "dk-dk1").stdout)
    assert zone["intensity"]["country"] == "DK"
    exact = json.loads(report(str(run_dir), "--json", "--intensity", "0").stdout)
    assert exact["co2e_grams"] == 0.0


def test_what_if_on_another_basis(run_dir: Path) -> None:
    """At the place of the log unless another one is told; where no table has the basis the CO2e is unknown, and why."""
    told = json.loads(report(str(run_dir), "--json", "--basis", "direct").stdout)
    assert (told["intensity"]["basis"], told["intensity"]["country"]) == ("direct", "DK")
    assert told["co2e_grams"] > 0.0
    japan = json.loads(report(str(run_dir), "--json", "--basis", "direct", "--country", "Japan").stdout)
    assert japan["co2e_grams"] is None
    assert [passed["link"] for passed in japan["intensity"]["passed_over"]] == [
        "region table",
        "country table",
        "world",
    ]
    assert "Japan" in japan["warnings"][-1]["message"]


def test_what_if_keeps_the_run_s_basis(run_dir: Path) -> None:
    """A run on direct emissions is told again on direct ones."""
    log = (run_dir / "run.jsonl").read_text()
    (run_dir / "run.jsonl").write_text(log.replace('"config":{"pue":1.2}', '"config":{"pue":1.2,"basis":"direct"}'))
    told = json.loads(report(str(run_dir), "--json", "--country", "France").stdout)
    assert told["intensity"]["basis"] == "direct"


def test_a_killed_run_is_told_as_partial(run_dir: Path) -> None:
    """The log stops in the middle of a line."""
    log = (run_dir / "run.jsonl").read_bytes()
    (run_dir / "run.jsonl").write_bytes(log[: len(log) // 2])
    told = report(str(run_dir))
    assert told.returncode == 0
    assert told.stdout.startswith("greenrun: partial record: ")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--pue", "0.5"], "--pue must be"),
        (["--country", "Atlantis"], "--country must be"),
        (["--intensity", "nan"], "--intensity must be"),
        (["--zone", "1"], "--zone must be"),
        (["--basis", "both"], "--basis must be"),
        (["--colour"], "--colour"),
    ],
)
def test_a_mistake_is_one_sentence(run_dir: Path, argv: list[str], words: str) -> None:
    """It names the option and ends with 125, as everywhere in greenrun."""
    told = report(str(run_dir), *argv)
    assert (told.returncode, told.stdout) == (125, "")
    assert told.stderr.startswith("greenrun: ")
    assert words in told.stderr
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "log",
    [
        None,
        b"",
        b"not JSON\n",
        b'{"event":"sample","t":0}\n',
        b'{"event":"start","t":0,"schema":2}\n',
        b'{"event":"start","t":0,"schema":1}\n',
        b'{"event":"start","t":0,"schema":1,"utc":7,"greenrun":[],"run_id":null}\n',
        b'{"event":"start","t":0,"schema":1,"utc":"soon"}\n{"event":"spawned","t":0}\n',
        b"\x00" * 100,
    ],
)
def test_what_is_no_run_is_one_sentence(tmp_path: Path, log: bytes | None) -> None:
    """Missing, empty, damaged or of another schema: no traceback, and the path."""
    if log is not None:
        (tmp_path / "run.jsonl").write_bytes(log)
    told = report(str(tmp_path))
    assert (told.returncode, told.stdout) == (125, "")
    assert told.stderr.count("\n") == 1
    assert str(tmp_path) in told.stderr


def test_a_reader_that_has_seen_enough_is_no_error(run_dir: Path) -> None:
    """`greenrun report ... | true` is quiet."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "greenrun", "report", str(run_dir)]
    told = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writer)
    assert (told.returncode, told.stderr) == (0, "")
