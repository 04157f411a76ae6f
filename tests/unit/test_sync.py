"""The verb slurm sync: what sacct knows goes beside the records, and energy into comments that are nobody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from machine.accounting import Accounting
from unit.data.jobs import BEGIN, log, store
from unit.data.logs import intensity
from unit.test_accounting import RECORDED

from greenrun.cli import jobrecords


def began(job_id: str, number: int = -1) -> float:
    """Give when a recorded job began, in seconds since the logs' 10:00."""
    row = [row for row in RECORDED if row["JobIDRaw"] == job_id][number]
    return (datetime.fromisoformat(row["Start"]).replace(tzinfo=timezone.utc) - BEGIN).total_seconds()


class Site:
    """A spool with jobs, sacct and sacctmgr, and greenrun as root runs it there."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / "spool"
        self.accounting = Accounting(folder / "accounting", RECORDED)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
        self.environment |= {"GREENRUN_SPOOL": str(self.spool), "PATH": f"{self.accounting.path}:{os.environ['PATH']}"}
        self.environment |= {"TZ": "Asia/Tokyo", "SACCT_FORMAT": "JobID"}
        for job_id in ("1", "2", "7", "8"):
            self.add(
                job_id, log(65.0, 3, intensity(360.0), at=began(job_id), job_id=int(job_id), nodes="n1", run_id=job_id)
            )

    def add(self, job_id: str, events: list[Any]) -> Path:
        """Add a record."""
        events[0]["environment"] |= {"SLURM_JOB_ID": job_id, "SLURM_JOB_USER": "root", "SLURM_CLUSTER_NAME": "try"}
        return store(self.spool, events, job_id=job_id)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a verb of greenrun's."""
        command = [sys.executable, "-m", "greenrun", *argv]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def comments(self) -> dict[str, str]:
        """Give the comment of each job."""
        return {row["JobIDRaw"]: row["AdminComment"] for row in self.accounting.rows}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give a site with four jobs: one that has our comment, one none, one somebody's, one that was requeued."""
    return Site(tmp_path)


def test_rows_go_beside_the_records(site: Site) -> None:
    """All runs of each job that sacct knows; summaries stay as they were."""
    summary = next((site.spool / "runs" / "8").glob("*/summary.json"))
    before = summary.read_bytes()
    done = site.run("slurm", "sync")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "4 jobs joined with sacct.\n")
    rows = json.loads((site.spool / "runs" / "8" / "sacct.json").read_text())["rows"]
    assert [row["State"] for row in rows] == ["REQUEUED", "COMPLETED"]
    assert (site.spool / "runs" / "8" / "sacct.json").stat().st_mode & 0o777 == 0o600
    assert summary.read_bytes() == before
    record = json.loads(site.run("report", "--job", "2", "--json").stdout)
    assert (record["job"]["State"], record["job"]["ExitCode"], record["job"]["JobName"]) == (
        "FAILED",
        "3:0",
        "a|b`; <script>$(x)",
    )
    assert not site.accounting.asked("sacctmgr")


def test_sacct_is_asked_by_an_argument_vector_in_an_environment_of_our_own(site: Site) -> None:
    """Times in UTC whatever the site's zone, and nothing of the caller's surroundings but PATH and SLURM_CONF."""
    site.environment["SLURM_CONF"] = "/nowhere/slurm.conf"
    site.run("slurm", "sync")
    ((argv, environment),) = site.accounting.asked("sacct")
    assert {"--allusers", "--duplicates", "--parsable2", "--noheader", "--jobs=1,2,7,8"} <= set(argv)
    assert environment["TZ"] == "UTC"
    assert environment["SLURM_CONF"] == "/nowhere/slurm.conf"
    assert "SACCT_FORMAT" not in environment
    assert not {name for name in environment if name.startswith("GREENRUN_")}
    site.run("slurm", "sync")
    delimiters = {word for argv, _ in site.accounting.asked("sacct") for word in argv if "delimiter" in word}
    assert len(delimiters) == 2  # another one each time, that no job's name can hold


def test_an_array_is_known_after_it(site: Site) -> None:
    """The prolog is told of no arrays: with sacct's rows 4_1 is found, and so is all of 4."""
    missing = site.run("report", "--job", "4_1")
    assert missing.returncode == 125
    site.run("slurm", "sync")
    assert json.loads(site.run("report", "--job", "4_1", "--json").stdout)["job"]["JobIDRaw"] == "7"
    site.add("4", log(65.0, 3, at=began("4"), nodes="n1", run_id="4"))
    site.run("slurm", "sync")
    document = json.loads(site.run("report", "--job", "4", "--json").stdout)
    assert (document["kind"], document["ArrayJobID"]) == ("array", "4")
    assert [job["job"]["JobID"] for job in document["jobs"]] == ["4_2", "4_1"]
    text = site.run("report", "--job", "4").stdout
    assert text.startswith("greenrun: 2 jobs of the array 4\n")
    assert "4_1, 3.00 s, 195 J, 19.5 mg, COMPLETED" in text


def test_comments_are_written_where_nobody_else_has_one(site: Site) -> None:
    """Ours is renewed, an empty one filled, somebody's left; a second time there is nothing to do."""
    done = site.run("slurm", "sync", "--comment")
    assert done.returncode == 0, done.stderr
    assert "3 comments written, 1 left as somebody else had written them" in done.stdout
    comments = site.comments()
    assert comments["2"] == "greenrun:energy_kwh=0.00005417,co2e_grams=0.01950,status=complete"
    assert comments["1"].startswith("greenrun:energy_kwh=0.00005417,")
    assert comments["7"] == "looked at by ops, see ticket 7"
    requeued = [row["AdminComment"] for row in site.accounting.rows if row["JobIDRaw"] == "8"]
    assert [bool(text) for text in requeued] == [False, True]
    assert "0 comments written" in site.run("slurm", "sync", "--comment").stdout
    assert len(site.accounting.asked("sacctmgr")) == 3
    for argv, _ in site.accounting.asked("sacctmgr"):
        assert argv[:4] == ["--immediate", "modify", "job", "where"]
        assert not set("".join(argv)) & set("'\"`$;|&<> \n")


def test_a_job_that_is_not_over_gets_no_comment(site: Site) -> None:
    """Running as sacct says, or still measured as the spool says; and an older job with an id that was given again."""
    site.add("10", log(65.0, 3, at=began("10"), nodes="n1", run_id="10"))
    site.add("3", log(65.0, 3, at=began("3"), nodes="n1", run_id="3"))
    site.add("5", log(65.0, 3, at=began("5") - 1e6, nodes="n1", run_id="5"))
    (site.spool / "live").mkdir()
    (site.spool / "live" / "3-n1.json").write_text("{}")
    site.run("slurm", "sync", "--comment")
    comments = site.comments()
    assert [comments[job_id] for job_id in ("10", "3", "5")] == ["", "", ""]
    assert comments["2"]


@pytest.mark.parametrize(
    ("code", "stdout", "stderr", "words"),
    [
        (1, "Slurm accounting storage is disabled\n", "", "Slurm accounting storage is disabled"),
        (1, "", "sacct: error: Problem talking to the database: Connection refused\n", "Connection refused"),
        (0, "what is this\n", "", "cannot be read"),
    ],
)
def test_without_accounting_there_is_one_sentence(site: Site, code: int, stdout: str, stderr: str, words: str) -> None:
    """No slurmdbd, or one that does not answer: 1, nothing written, and why."""
    site.accounting.answer(code, stdout, stderr)
    done = site.run("slurm", "sync", "--comment")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("greenrun: nothing is joined, for ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(site.spool.glob("runs/*/sacct.json"))


def test_without_sacct_there_is_one_sentence(site: Site) -> None:
    """No SLURM on this machine."""
    site.environment["PATH"] = str(site.spool)
    done = site.run("slurm", "sync")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no sacct in" in done.stderr


def test_a_comment_that_is_refused_is_said(site: Site) -> None:
    """Without the privilege sacctmgr fails: the rows are joined all the same, and the status is 1."""
    (site.accounting.path / "sacctmgr").write_text("#!/bin/sh\necho 'you have no privilege' >&2\nexit 1\n")
    done = site.run("slurm", "sync", "--comment")
    assert done.returncode == 1
    assert "4 jobs joined with sacct, 0 comments written" in done.stdout
    assert "you have no privilege" in done.stderr
    assert (site.spool / "runs" / "1" / "sacct.json").exists()


def test_a_spool_that_others_can_write_is_refused(site: Site) -> None:
    """What root reads and writes there, root must have put there."""
    site.spool.chmod(0o777)
    done = site.run("slurm", "sync")
    assert (done.returncode, done.stdout) == (125, "")
    assert "others than root can write" in done.stderr
    assert not site.accounting.asked("sacct")


def test_a_link_in_the_place_of_the_rows_is_not_followed(site: Site, tmp_path: Path) -> None:
    """Not for writing, and not for reading."""
    target = tmp_path / "target"
    text = json.dumps({"rows": RECORDED[:1]})
    target.write_text(text)
    link = site.spool / "runs" / "1" / "sacct.json"
    link.symlink_to(target)
    (site.spool / "runs" / "1" / "sacct.json.tmp").symlink_to(target)
    site.run("slurm", "sync")
    assert target.read_text() == text
    assert jobrecords.accounted(str(site.spool), "1") == []


def test_damaged_rows_are_no_rows(site: Site) -> None:
    """Half a file, or one of something else: the records are told without it."""
    for text in ("{", "[]", '{"rows": 7}', '{"rows": [{"JobID": 7}]}', "[" * 100_000):
        (site.spool / "runs" / "1" / "sacct.json").write_text(text)
        assert jobrecords.accounted(str(site.spool), "1") == []
    assert site.run("report", "--job", "1").returncode == 0
