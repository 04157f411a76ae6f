"""The verb report with --job: the site's spool and the user's own directories, and sentences where there is nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machine.privilege import unprivileged
from unit.data.jobs import killed, log, store
from unit.data.logs import device, epoch, exited, intensity, sample, spawned, start

EXACT = intensity(360.0)


class Home:
    """A user's working directory and a site's spool."""

    def __init__(self, folder: Path) -> None:
        self.cwd, self.spool = folder / "work", folder / "spool"
        self.logs = self.cwd / "greenrun-logs"
        self.logs.mkdir(parents=True)

    def report(self, *argv: str, become: Any = list) -> subprocess.CompletedProcess[str]:
        """Run `greenrun report`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
        environment |= {"GREENRUN_SPOOL": str(self.spool), "HOME": str(self.cwd)}
        environment.pop("XDG_CONFIG_HOME", None)
        command = become([sys.executable, "-m", "greenrun", "report", *argv])
        return subprocess.run(
            command, cwd=self.cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def record(self, *argv: str) -> dict[str, Any]:
        """Give the record that it prints."""
        done = self.report(*argv, "--json")
        assert done.returncode == 0, done.stderr
        record: dict[str, Any] = json.loads(done.stdout)
        return record


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Give an empty spool's place and an empty log directory."""
    return Home(tmp_path)


def test_spool_and_own_records_make_one(home: Home) -> None:
    """The site measured both nodes, the user's greenrun saw the epochs: nothing counts twice, and each has its part."""
    store(home.spool, log(65.0, 10, EXACT, run_id="1"), job_id="1234")
    store(home.spool, log(120.0, 10, EXACT, run_id="2", node="n2"), job_id="1234")
    marks = (epoch(1.0, 1, "start"), epoch(4.0, 1, "end"))
    store(home.logs, log(65.0, 8, EXACT, *marks, at=1.0, kind="command", run_id="3", SLURM_JOB_NAME="train"))
    store(home.logs, log(999.0, 8, kind="command", run_id="4", job_id=99))
    record = home.record("--job", "1234")
    assert record["energy_joules"]["total"] == pytest.approx(1850.0)
    assert (record["job"]["JobName"], len(record["epochs"]["epochs"])) == ("train", 1)
    text = home.report("--job", "1234")
    assert text.stderr == ""
    assert text.stdout.endswith(f"  records     2 in {home.spool}\n  records     1 in greenrun-logs\n")


def test_own_records_alone(home: Home) -> None:
    """Without a site's spool a user's records are enough; killed ones are told as partial."""
    store(home.logs, log(65.0, 10, EXACT, kind="command", run_id="1"))
    store(home.logs, killed(log(120.0, 7, EXACT, kind="command", run_id="2", node="n2")), summary=False)
    record = home.record("--job", "1234")
    assert (record["status"], record["energy_joules"]["total"]) == ("partial", pytest.approx(650.0 + 840.0))


def test_other_directories(home: Home, tmp_path: Path) -> None:
    """Told behind the job: directories of runs, and a run directory itself, such as a copy of the site's record."""
    other = tmp_path / "other"
    copied = store(other, log(65.0, 10, run_id="1", nodes="n1"))
    assert home.record("--job", "1234", str(other))["energy_joules"]["total"] == pytest.approx(650.0)
    assert home.record("--job", "1234", str(copied), str(other))["energy_joules"]["total"] == pytest.approx(650.0)
    spool = tmp_path / "elsewhere"
    store(spool, log(10.0, 10, run_id="2", nodes="n1"), job_id="1234")
    assert home.record("--job", "1234", "--spool", str(spool))["energy_joules"]["total"] == pytest.approx(100.0)


def test_arrays(home: Home) -> None:
    """1300 is all of its tasks, 1300_2 one of them, and a task's own id is that task."""
    for task in (1, 2, 10):
        events = log(
            10.0 * task, 10, EXACT, kind="command", run_id=str(task), job_id=1300 + task, nodes="n1",
            SLURM_ARRAY_JOB_ID=1300, SLURM_ARRAY_TASK_ID=task,
        )  # fmt: skip
        store(home.logs, events)
    document = home.record("--job", "1300")
    assert [job["job"]["JobID"] for job in document["jobs"]] == ["1300_1", "1300_2", "1300_10"]
    assert home.record("--job", "1300_2")["energy_joules"]["total"] == pytest.approx(200.0)
    assert home.record("--job", "1310")["job"]["JobID"] == "1300_10"
    text = home.report("--job", "1300").stdout
    assert text.splitlines()[:3] == [
        "greenrun: 3 jobs of the array 1300",
        "  energy      1300 J",
        "  CO2e        130 mg",
    ]


def test_what_if(home: Home) -> None:
    """Another PUE and another intensity, for all nodes; the energy stays."""
    store(home.spool, log(65.0, 10, EXACT, run_id="1"), job_id="1234")
    store(home.spool, log(120.0, 10, EXACT, run_id="2", node="n2"), job_id="1234")
    record = home.record("--job", "1234", "--pue", "2", "--intensity", "720")
    assert (record["energy_joules"]["total"], record["pue"]) == (pytest.approx(1850.0), 2.0)
    assert record["co2e_grams"] == pytest.approx(0.185 * 4.0)


def test_a_damaged_record_is_left_out_and_said(home: Home) -> None:
    """One of the spool's makes the record partial; one of the user's may be of any run, and is told on stderr."""
    store(home.spool, log(65.0, 10, run_id="1", nodes="n1"), job_id="1234")
    damaged = store(home.spool, log(65.0, 10, run_id="2", nodes="n1"), job_id="1234")
    (damaged / "run.jsonl").write_text("what is this\n")
    (home.logs / "old").mkdir()
    (home.logs / "old" / "run.jsonl").write_text("\n")
    (home.logs / "not-a-run").mkdir()
    done = home.report("--job", "1234", "--json")
    record = json.loads(done.stdout)
    assert record["status"] == "partial"
    assert record["warnings"][0]["code"] == "left-out"
    assert str(damaged) in record["warnings"][0]["message"]
    assert "greenrun-logs/old/run.jsonl" in done.stderr
    assert "not-a-run" not in done.stderr


def test_the_sites_record_that_is_not_for_us(home: Home) -> None:
    """A user's own records are told, with a word on stderr; where there are none, who may read it is said."""
    for number, node in (("1", "n1"), ("2", "n2")):
        store(home.spool, log(65.0, 10, run_id=number, node=node), job_id="1234").chmod(0)
    done = home.report("--job", "1234", become=unprivileged)
    assert (done.returncode, done.stdout) == (125, "")
    assert f"the site's record of job 1234 in {home.spool} is for root alone to read" in done.stderr
    store(home.logs, log(65.0, 10, kind="command", run_id="3", nodes="n1"))
    done = home.report("--job", "1234", become=unprivileged)
    assert done.returncode == 0
    assert "root alone may read" in done.stderr
    assert "650 J" in done.stdout


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--job", "77"], "there is no record of job 77 in "),
        (["--job", "../1"], "--job must be the id of a job"),
        (["--job", "1;id"], "--job must be the id of a job"),
        (["--job", "1234", "/nowhere"], "/nowhere is no directory"),
        (["--job", "1234", "--settle"], "--settle does not go with --job"),
        (["--spool", "/x", "/y"], "--spool goes with --job JOBID alone"),
        ([], "RUN_DIR must be told, or --job JOBID"),
    ],
)
def test_a_mistake_is_one_sentence(home: Home, argv: list[str], words: str) -> None:
    """It says what is missing or wrong, and what would be right."""
    done = home.report(*argv)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("greenrun: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_outside_of_any_job_is_in_no_job(home: Home) -> None:
    """Nor is one of another scheduler's job with the same number, unless it is asked for by that id."""
    store(home.logs, [start(device("cpu"), run_id="x" * 12), spawned(0.0), sample(1.0, 1.0), exited(1.0)])
    assert home.report("--job", "1234").returncode == 125
    pbs = start(device("cpu"), run_id="y" * 12, environment={"PBS_JOBID": "1234"})
    store(home.logs, [pbs, spawned(0.0), sample(0.0, 0.0), sample(1.0, 1.0), exited(1.0)])
    assert home.record("--job", "1234")["job"]["Scheduler"] == "pbs"


def test_names_do_not_speak_to_the_terminal(home: Home) -> None:
    """A job's name full of control characters, HTML and shell is shown as it is, and obeyed nowhere."""
    name = "\x1b]0;x\x07<img src=x>$(touch /tmp/x)`\n"
    store(home.logs, log(65.0, 10, kind="command", run_id="1", nodes="n1", SLURM_JOB_NAME=name))
    done = home.report("--job", "1234")
    assert not set("\x1b\x07") & set(done.stdout)
    assert "$(touch /tmp/x)`" in done.stdout
    assert home.record("--job", "1234")["job"]["JobName"] == name


def test_a_fifo_holds_nobody_up(home: Home) -> None:
    """A run directory whose log nobody will ever write."""
    (home.logs / "trap").mkdir()
    os.mkfifo(home.logs / "trap" / "run.jsonl")
    store(home.logs, log(65.0, 10, kind="command", run_id="1", nodes="n1"))
    assert home.report("--job", "1234").returncode == 0
