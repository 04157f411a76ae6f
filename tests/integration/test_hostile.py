"""Surroundings that mean no good, or do harm by accident: none of it costs the job, the record or the terminal."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun

RunDirs = Callable[[], list[str]]
RecordReader = Callable[[], dict[str, Any]]


def test_key_of_a_project_file_does_not_speak_to_the_terminal(greenrun: Greenrun) -> None:
    """An escape sequence in a key is told in letters."""
    with open(os.path.join(greenrun.cwd, "greenrun.toml"), "w") as file:
        file.write('"\\u001b]0;title\\u0007" = 1\n')
    result = greenrun("true")
    assert result.returncode == 125
    assert "\x1b" not in result.stderr
    assert "\\x1b]0;title\\x07 is no setting" in result.stderr


def test_git_still_sees_a_directory_that_was_there(greenrun: Greenrun) -> None:
    """Only a log directory that greenrun makes is kept out of git."""
    greenrun("--log-dir", ".", "true")
    greenrun("--log-dir", "new/logs", "true")
    assert ".gitignore" not in os.listdir(greenrun.cwd)
    with open(os.path.join(greenrun.cwd, "new", "logs", ".gitignore")) as file:
        assert file.read() == "*\n"


def test_command_that_removes_its_run_directory(greenrun: Greenrun) -> None:
    """A clean checkout takes the log away; the summary has all figures and one warning."""
    result = greenrun("sh", "-c", 'sleep 0.3; rm -r "$GREENRUN_RUN_DIR"; sleep 0.3; exit 3')
    assert result.returncode == 3
    assert "estimated" in result.stderr
    assert result.stderr.count("warning") == 1
    assert "removed while the command ran" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize(
    "damage", [r"\000\001", r"[]", '{"event":"epoch","t":1,"n":"x"}'], ids=["zeros", "list", "epoch"]
)
def test_command_that_writes_into_the_run_log(greenrun: Greenrun, run_dirs: RunDirs, damage: str) -> None:
    """There is no summary then, and one sentence says why: at once, and no sampler is tried in vain."""
    log = '"$GREENRUN_RUN_DIR/run.jsonl"'
    until_it_is_there = f"until grep -q spawned {log} 2>/dev/null; do sleep 0.05; done"
    result = greenrun("sh", "-c", f'{until_it_is_there}; printf "$0\\n" >> {log}; echo ran; exit 3', damage)
    assert (result.returncode, result.stdout) == (3, "ran\n")
    (run_dir,) = run_dirs()
    words = " ".join(result.stderr.split())
    assert words.startswith(
        f"greenrun: there is no summary, for {os.path.relpath(run_dir, greenrun.cwd)}/run.jsonl is damaged: "
    )
    assert result.stderr.count("\n") == 1
    assert sorted(os.listdir(run_dir)) == ["run.jsonl"]


@pytest.mark.parametrize("limit_kib", [1, 3])
def test_limit_on_the_size_of_files(greenrun: Greenrun, limit_kib: int) -> None:
    """A log that may not grow is told like a full disk."""
    line = f'ulimit -f {limit_kib}; exec "$0" --interval 0.05 sh -c "sleep 0.6; exit 4"'
    result = subprocess.run(
        ["bash", "-c", line, ENTRY],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 4
    assert "greenrun: the command ran for" in result.stderr
    assert result.stderr.count("warning") == 1
    assert "File too large" in " ".join(result.stderr.split())


@pytest.mark.parametrize("instead", ["mkfifo", "mkdir"])
def test_something_else_in_place_of_the_marks(greenrun: Greenrun, record: RecordReader, instead: str) -> None:
    """A FIFO or a directory where the marks were does not stop the sampling."""
    result = greenrun("--interval", "0.05", "sh", "-c", f'rm "$GREENRUN_MARKS"; {instead} "$GREENRUN_MARKS"; sleep 0.5')
    assert result.returncode == 0
    assert record()["status"] == "complete"


@pytest.mark.parametrize(
    "flood",
    [
        "head -c 50000000 /dev/zero",
        "seq 1 5000 | sed 's/^/epoch /'",
        "seq 1 50000 | sed 's/^/metric loss /'",
        "seq 1 50000 | sed 's/.*/metric loss& 1/'",
    ],
)
def test_flood_of_marks(greenrun: Greenrun, record: RecordReader, run_dirs: RunDirs, flood: str) -> None:
    """However much the job writes there, the record is made in time and the log stays small."""
    assert greenrun("--epochs", "5000", "sh", "-c", f'{flood} >> "$GREENRUN_MARKS"; sleep 0.5').returncode == 0
    assert record()["status"] == "complete"
    (run_dir,) = run_dirs()
    assert os.path.getsize(os.path.join(run_dir, "run.jsonl")) < 1_000_000


def test_more_epochs_than_any_plan(greenrun: Greenrun, record: RecordReader, run_dirs: RunDirs) -> None:
    """A million epoch markers neither fill the disk nor cost the record; that the rest is left out is said."""
    job = "seq 1 1000000 | sed 's/^/epoch /' >> \"$GREENRUN_MARKS\"; sleep 3"
    assert greenrun("sh", "-c", job).returncode == 0
    assert [warned["code"] for warned in record()["warnings"]] == ["output"]
    (run_dir,) = run_dirs()
    assert os.path.getsize(os.path.join(run_dir, "run.jsonl")) < 2_000_000


def test_newest_metric_counts(greenrun: Greenrun, record: RecordReader) -> None:
    """Metrics that come faster than they are written keep their last value."""
    greenrun("sh", "-c", "seq 1 1000 | sed 's/^/metric loss /' >> \"$GREENRUN_MARKS\"")
    assert record()["metrics"] == {"loss": 1000.0}


def test_parent_that_is_no_run(greenrun: Greenrun, record: RecordReader) -> None:
    """Any text in the variable of the run around this one is not taken for a run."""
    greenrun("true", env={"GREENRUN_RUN_ID": "\x1b[31mno run"})
    assert record()["parent_run_id"] is None


def test_nothing_of_pythons_in_an_empty_environment(greenrun: Greenrun) -> None:
    """The command has no LC_CTYPE that nobody set, also where nothing at all was set."""
    result = subprocess.run(
        [ENTRY, "-q", "/usr/bin/env"], env={}, cwd=greenrun.cwd, capture_output=True, text=True, check=False
    )
    names = {line.partition("=")[0] for line in result.stdout.splitlines()}
    assert names == {"GREENRUN_MARKS", "GREENRUN_RUN_DIR", "GREENRUN_RUN_ID"}


def test_secrets_within_arguments(greenrun: Greenrun, record: RecordReader) -> None:
    """A secret in a script, a header, JSON or an address is masked too."""
    arguments = [
        "export API_KEY=sesame; true",
        "Authorization: Bearer sesame",
        '{"password": "sesame"}',
        "https://user:sesame@host/path",
    ]
    greenrun("true", *arguments)
    text = json.dumps(record()["command"])
    assert "sesame" not in text
    assert text.count("***") == len(arguments)
    assert "https://user:***@host/path" in text


def test_report_asks_for_a_zone_in_its_country(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """A zone of another country is a mistake in a what-if too."""
    greenrun("true")
    result = greenrun("report", *run_dirs(), "--country", "FR", "--zone", "DE")
    assert (result.returncode, result.stdout) == (125, "")
    assert "the zone DE must lie in the country FR" in result.stderr


def test_epochs_where_nobody_can_look(greenrun: Greenrun) -> None:
    """Output into /dev/null is not watched, and that is said."""
    result = greenrun("--epochs", "3", "echo", "Epoch 1/3 loss 1", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert "No epoch was seen" in " ".join(result.stderr.split())
