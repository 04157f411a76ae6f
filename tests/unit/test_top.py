"""The verb slurm top: sums by user, account and partition, and what they are not sure of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from machine.privilege import unprivileged
from unit.data.jobs import BEGIN, killed, log, store
from unit.data.logs import device, intensity

from greenrun.reports import top
from greenrun.reports.account import account
from greenrun.reports.merged import Run, merge

NOW = (datetime.now(timezone.utc) - BEGIN).total_seconds()
HOUR = 3600.0
EXACT = intensity(360.0)


def job(*logs: list[Any]) -> Any:
    """Give the record of a job."""
    return merge([Run(account(events), events) for events in logs])


def test_sums_by_user() -> None:
    """Two jobs of ada, one of bob: the greatest first; a share where it is known, else whole nodes."""
    records = [
        job(log(100.0, 36, EXACT, run_id="1", nodes="n1", share=0.5)),
        job(log(100.0, 36, EXACT, run_id="2", nodes="n1")),
        job(log(300.0, 36, EXACT, run_id="3", nodes="n1", share=1.0, SLURM_JOB_USER="bob", SLURM_JOB_GPUS="0,1")),
    ]
    bob, ada = top.rank(records, "user")
    assert (bob["name"], bob["jobs"], bob["energy_joules"], bob["whole_nodes"]) == ("bob", 1, pytest.approx(10800.0), 0)
    assert bob["gpu_hours"] == pytest.approx(0.02)
    assert (ada["name"], ada["jobs"], ada["whole_nodes"]) == ("ada", 2, 1)
    assert ada["energy_joules"] == pytest.approx(1800.0 + 3600.0)
    assert ada["co2e_grams"] == pytest.approx(0.54)
    assert ada["node_energy_joules"] == pytest.approx(7200.0)
    assert ada["node_hours"] == pytest.approx(0.02)
    text = top.render([bob, ada], top.total(records), "user")
    lines = text.splitlines()
    assert lines[0].split() == ["user", "jobs", "partial", "node", "h", "GPU", "h", "energy", "CO2e", "estimated"]
    assert lines[1].split() == ["bob", "1", "-", "0.0100", "0.0200", "3.00", "Wh", "1.08", "g", "-"]
    assert lines[3].split()[:2] == ["all", "3"]
    assert lines[4] == "1 job is charged with all that the nodes drew: the share of them is not known."


def test_partial_and_estimated_are_told_beside_the_sums() -> None:
    """A killed job, one that was estimated, one of which nothing is known: each is counted, none is 0 J."""
    guessed = (device("cpu", method="estimate", percent=50.0),)
    records = [
        job(killed(log(100.0, 36, EXACT, run_id="1", nodes="n1"))),
        job(log(100.0, 36, EXACT, run_id="2", nodes="n1", devices=guessed)),
        job(log(0.0, 36, run_id="3", nodes="n1", devices=())),
    ]
    row = top.total(records)
    assert (row["partial"], row["energy_unknown"], row["co2e_unknown"]) == (2, 1, 1)
    assert row["energy_joules"] == pytest.approx(7200.0)
    assert row["estimated_joules"] == pytest.approx(3600.0)
    text = top.render([row], row, "account")
    assert text.splitlines()[1].split() == [
        "(not",
        "known)",
        "3",
        "2",
        "0.0300",
        "0",
        "2.00",
        "Wh",
        "720",
        "mg",
        "50",
        "%",
    ]
    assert "1 job is in no energy" in text


def test_names_fit_and_move_no_cursor() -> None:
    """A user's name is an operator's to give, a partition's too; both may be long, and neither is obeyed."""
    record = job(log(1.0, 1, nodes="n1", SLURM_JOB_USER="\x1b[2J" + "x" * 40))
    line = top.render(top.rank([record], "user"), top.total([record]), "user").splitlines()[1]
    assert line.startswith("?[2Jxxxxxxxxxxxxxxxxx...  ")


class Site:
    """A spool with the jobs of some days."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / "spool"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
        self.environment |= {"GREENRUN_SPOOL": str(self.spool)}
        self.add(1, at=NOW - 2 * HOUR, watts=100.0)
        self.add(2, at=NOW - 3 * HOUR, watts=200.0, SLURM_JOB_USER="bob", SLURM_JOB_PARTITION="cpu")
        self.add(3, at=NOW - 30 * HOUR, watts=400.0)

    def add(self, job_id: int, watts: float, at: float, **job: Any) -> Path:
        """Add a job of ten seconds."""
        events = log(watts, 10, EXACT, at=at, run_id=str(job_id), job_id=job_id, nodes="n1", **job)
        run_dir = store(self.spool, events, job_id=str(job_id))
        written = (BEGIN + timedelta(seconds=at + 10.0)).timestamp()
        os.utime(run_dir, (written, written))
        return run_dir

    def top(self, *argv: str, become: Any = list, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `greenrun slurm top`, as what `become` makes of the command."""
        command = become([sys.executable, "-m", "greenrun", "slurm", "top", *argv])
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False, **options
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give a spool with two jobs of today and one of yesterday."""
    return Site(tmp_path)


def test_since_and_by(site: Site) -> None:
    """A day back are two jobs, a week three; by partition and by account, which only sacct tells."""
    day = json.loads(site.top("--since", "1d", "--json").stdout)
    assert (day["kind"], day["by"], day["left_out"]) == ("top", "user", [])
    assert [(row["name"], row["energy_joules"]) for row in day["rows"]] == [("bob", 2000.0), ("ada", 1000.0)]
    week = json.loads(site.top("--json").stdout)
    assert [(row["name"], row["jobs"]) for row in week["rows"]] == [("ada", 2), ("bob", 1)]
    assert week["total"]["energy_joules"] == pytest.approx(7000.0)
    by_partition = json.loads(site.top("--by", "partition", "--json").stdout)
    assert {row["name"] for row in by_partition["rows"]} == {"gpu", "cpu"}
    by_account = json.loads(site.top("--by", "account", "--json").stdout)
    assert [row["name"] for row in by_account["rows"]] == [None]
    table = site.top()
    assert (table.returncode, table.stderr) == (0, "")
    assert table.stdout.splitlines()[1].startswith("ada ")


def test_damaged_records_are_listed_and_left_out(site: Site) -> None:
    """A log that is none, summaries that are none beside logs that are some, one without a log."""
    broken = site.add(4, at=NOW - HOUR, watts=1.0)
    (broken / "summary.json").unlink()
    (broken / "run.jsonl").write_text("what is this\n")
    healed = site.add(5, at=NOW - HOUR, watts=8.0)
    (healed / "summary.json").write_text("{")
    odd = site.add(6, at=NOW - HOUR, watts=1.0)
    record = json.loads((odd / "summary.json").read_text())
    (odd / "summary.json").write_text(json.dumps(record | {"energy_joules": "much"}))
    (odd / "run.jsonl").unlink()
    other = site.add(7, at=NOW - HOUR, watts=2.0)
    (other / "summary.json").write_text(json.dumps(record | {"energy_joules": {"total": "much"}}))
    document = json.loads(site.top("--since", "90m", "--json").stdout)
    assert [row["jobs"] for row in document["rows"]] == [2]
    assert document["total"]["energy_joules"] == pytest.approx(100.0)
    assert [entry["path"] for entry in document["left_out"]] == [str(broken), str(odd)]
    assert f"left out: {broken}/run.jsonl is damaged" in site.top("--since", "90m").stdout


def test_the_users_own_settings_do_not_count(site: Site, tmp_path: Path) -> None:
    """Root's verb reads the site's file and the spool's variable: no project's file, no user's, no other variable."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "greenrun.toml").write_text('spool = "/nowhere"\npue = "nonsense"\n')
    (elsewhere / "greenrun").mkdir()
    (elsewhere / "greenrun" / "config.toml").write_text('spool = "/nowhere"\n')
    site.environment |= {"XDG_CONFIG_HOME": str(elsewhere), "GREENRUN_PUE": "nonsense"}
    done = site.top("--json", cwd=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["total"]["jobs"] == 3


def test_mistakes_are_one_sentence(site: Site) -> None:
    """A duration, a word, a spool that is not there."""
    for argv, words in (
        (["--since", "7"], "--since must be a duration"),
        (["--by", "colour"], "'colour' is not one of"),
    ):
        done = site.top(*argv)
        assert (done.returncode, done.stdout) == (125, "")
        assert words in done.stderr
    site.environment["GREENRUN_SPOOL"] = "/nowhere/at/all"
    done = site.top()
    assert done.returncode == 125
    assert "there is no spool at /nowhere/at/all" in done.stderr


def test_an_empty_stretch_is_said(site: Site) -> None:
    """No table of nothing."""
    assert site.top("--since", "1m").stdout == f"There is no job of the last 1m in {site.spool}.\n"


def test_a_job_under_way_is_partial(site: Site) -> None:
    """Its log has no end and no summary yet."""
    run_dir = site.spool / "runs" / "9" / "n1-000000000009"
    run_dir.mkdir(parents=True)
    events = killed(log(50.0, 10, at=NOW - 20.0, job_id=9, nodes="n1", run_id="9"))
    (run_dir / "run.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (site.spool / "live").mkdir()
    (site.spool / "live" / "9-n1.json").write_text("{}")
    document = json.loads(site.top("--since", "10m", "--json").stdout)
    assert (document["total"]["jobs"], document["total"]["partial"]) == (1, 1)


def test_a_thousand_jobs_take_seconds(site: Site) -> None:
    """A site has many: the summaries are read, and no log, and what is older is not even opened."""
    for number in range(1000, 2000):
        run_dir = site.add(number, at=NOW - HOUR, watts=1.0) if number == 1000 else None
        if run_dir:
            record = (run_dir / "summary.json").read_text()
            continue
        folder = site.spool / "runs" / str(number) / f"n1-{number:012}"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(record.replace('"1000"', f'"{number}"'))
    began = time.monotonic()
    document = json.loads(site.top("--since", "2h", "--json").stdout)
    assert document["total"]["jobs"] == 1000
    assert time.monotonic() - began < 30.0


def test_another_user_is_told_that_root_may(site: Site) -> None:
    """The run directories are root's: the sentence says so, and no table pretends to be whole."""
    next((site.spool / "runs" / "1").iterdir()).chmod(0)
    done = site.top(become=unprivileged)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == f"greenrun: the records in {site.spool} are for root alone to read\n"
