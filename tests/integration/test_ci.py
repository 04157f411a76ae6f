"""Under GitHub Actions and GitLab CI: the files that they look for, the recipes of docs/ci.md, and budgets."""

from __future__ import annotations

import html.parser
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from machine.command import ENTRY, Greenrun
from markdown_it import MarkdownIt
from prometheus_client.parser import text_string_to_metric_families

Record = dict[str, Any]
RecordReader = Callable[[], Record]
RunDirs = Callable[[], list[str]]

RECIPES = Path(__file__).parent.parent.parent / "docs" / "ci.md"
HOSTILE = "a|b <script>alert(1)</script> `x` ``` @everyone #1 [l](http://x) *b* _i_ \\ & ![i](x) <!-- \n# h"
NEVER = "0.001J"  # of which no command can do with less
PLENTY = "1000kWh"
TRAIN = "import os, time\nfor epoch in (1, 2):\n    print(f'Epoch {epoch}/2', flush=True)\n    time.sleep(0.1)\n"


class GitHub:
    """A step as the runner starts it: its variables, the files that they name, and how it reads them afterwards."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.summary, self.outputs = folder / "step_summary", folder / "output"
        for path in (self.summary, self.outputs):
            path.touch()
        self.environment: dict[str, str | None] = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_OUTPUT": str(self.outputs),
            "GITHUB_REPOSITORY": "somebody/something",
            "GITLAB_CI": None,
        }

    def output(self) -> dict[str, str]:
        """Read the outputs: NAME=VALUE, or NAME<<END and lines up to END."""
        found, lines = {}, iter(self.outputs.read_text().split("\n"))
        for line in lines:
            if "<<" in line and line.index("<<") < (line + "=").index("="):
                name, _, end = line.partition("<<")
                value = []
                while (part := next(lines)) != end:
                    value.append(part)
                found[name] = "\n".join(value)
            elif line:
                name, equals, found[name] = line.partition("=")
                assert equals, line
        return found


@pytest.fixture
def github(tmp_path: Path) -> GitHub:
    """Give a step."""
    return GitHub(tmp_path / "runner")


class Page(html.parser.HTMLParser):
    """What a browser would see of a summary."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data


# --- GitHub


def test_the_summary_of_a_step(greenrun: Greenrun, github: GitHub, record: RecordReader) -> None:
    """It is added to what is there, has the figures, and nothing of the job's is markup, a link or a mention."""
    github.summary.write_text("before")
    told = greenrun("--name", HOSTILE.replace("\n", " "), "sh", "-c", f"true # {HOSTILE}", env=github.environment)
    assert told.returncode == 0
    text = github.summary.read_text()
    assert text.startswith("before\n### What ")
    assert "@" not in text
    page = Page(text.removeprefix("before\n"))
    allowed = {"h3", "code", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "p"}
    assert set(page.tags) <= allowed
    assert page.tags.count("h3") == 1
    assert page.tags.count("td") == 2 * (page.tags.count("tr") - 1) > 10  # no cell was torn in two
    assert "<script>alert(1)</script>" in page.text
    assert "@everyone" in page.text


def test_the_outputs_of_a_step(greenrun: Greenrun, github: GitHub, record: RecordReader, run_dirs: RunDirs) -> None:
    """They are the record's figures to the last digit, behind what another program has left unfinished."""
    github.outputs.write_text("other=1")
    assert greenrun("--budget", PLENTY, "sleep", "0.2", env=github.environment).returncode == 0
    found, told = github.output(), record()
    assert found["other"] == "1"
    for name in ("energy_kwh", "facility_energy_kwh", "co2e_grams", "co2e_low_grams", "co2e_high_grams"):
        assert float(found[name]) == told[name], name
    assert float(found["energy_joules"]) == told["energy_joules"]["total"]
    assert float(found["duration_seconds"]) == told["duration_seconds"]
    assert (found["status"], found["run_id"]) == ("complete", told["run_id"])
    assert [found["run_dir"]] == run_dirs()
    assert found["budget_exceeded"] == "false"
    assert found["estimated"] in ("true", "false")


def test_an_output_cannot_be_forged(greenrun: Greenrun, github: GitHub, tmp_path: Path) -> None:
    """Also not by a directory with a name of several lines."""
    folder = f"{greenrun.cwd}/logs\nenergy_joules=0\nend\n"
    greenrun("--log-dir", folder, "sleep", "0.1", env=github.environment)
    found = github.output()
    assert float(found["energy_joules"]) > 0.0
    assert found["run_dir"].startswith(folder)


def test_unknown_is_empty(greenrun: Greenrun, github: GitHub) -> None:
    """Of a command that never ran there are no figures."""
    assert greenrun("no-such-program", env=github.environment).returncode == 127
    found = github.output()
    assert (found["status"], found["energy_joules"], found["co2e_grams"]) == ("not-started", "", "")
    assert "not started" in github.summary.read_text()


def test_it_is_switched_off(greenrun: Greenrun, github: GitHub) -> None:
    """By the flag, by the variable; and where GitHub is not what runs it."""
    greenrun("--no-ci", "true", env=github.environment)
    greenrun("true", env={**github.environment, "GREENRUN_NO_CI": "1"})
    greenrun("true", env={**github.environment, "GITHUB_ACTIONS": None})
    assert github.summary.read_text() == github.outputs.read_text() == ""


def test_a_run_inside_another_leaves_it_to_that(greenrun: Greenrun, github: GitHub) -> None:
    """Its energy is in the outer one."""
    greenrun("--name", "outer", ENTRY, "--name", "inner", "true", env=github.environment)
    assert github.summary.read_text().count("### What") == 1
    assert "outer" in github.summary.read_text()


def test_what_cannot_be_written_is_one_warning(greenrun: Greenrun, github: GitHub, tmp_path: Path) -> None:
    """A directory, a FIFO that nobody reads, a file that is full: the job and its exit status are as ever."""
    github.summary.unlink()
    github.summary.mkdir()
    os.mkfifo(tmp_path / "fifo")
    environment = {**github.environment, "GITHUB_OUTPUT": str(tmp_path / "fifo")}
    told = greenrun("sh", "-c", "exit 5", env=environment)
    assert told.returncode == 5
    words = " ".join(told.stderr.split())
    assert words.count("Not all that CI looks for could be written") == 1
    assert "Is a directory" in words
    assert "no plain file" in words
    github.summary.rmdir()
    github.summary.write_bytes(b"x" * ((1 << 20) - 10))
    told = greenrun("true", env=github.environment)
    assert "1 MiB" in " ".join(told.stderr.split())
    assert github.summary.stat().st_size == (1 << 20) - 10
    assert github.output()["status"] == "complete"


# --- GitLab


def test_metrics_under_gitlab(greenrun: Greenrun) -> None:
    """Beside the runs: the newest of each name, as Prometheus and as GitLab read lines."""
    gitlab = {"CI": "true", "GITLAB_CI": "true", "GITHUB_ACTIONS": None}
    for name in ("train me", "test", "train me"):
        greenrun("--name", name, "sleep", "0.1", env=gitlab)
    text = Path(greenrun.cwd, "greenrun-logs/metrics.txt").read_text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    joules = {sample.labels["name"]: sample.value for sample in families["greenrun_energy_joules"].samples}
    assert set(joules) == {"train-me", "test"}
    paths = Path(greenrun.cwd, "greenrun-logs").glob("*-train-me-*/summary.json")
    newest = max((json.loads(path.read_text()) for path in paths), key=lambda found: str(found["started_at"]))
    assert joules["train-me"] == pytest.approx(newest["energy_joules"]["total"], rel=1e-5)
    words = [shlex.split(line.partition("#")[0]) for line in text.splitlines()]
    assert ["greenrun_energy_joules{name=test}", f"{joules['test']:.6g}"] in words
    assert text.endswith("# EOF\n")


def test_metrics_anywhere(greenrun: Greenrun) -> None:
    """A file of one's own is readable by others; one that holds something else is left as it is."""
    path = Path(greenrun.cwd, "node.prom")
    assert greenrun("--metrics-file", "node.prom", "true").returncode == 0
    assert "greenrun_duration_seconds" in path.read_text()
    path.write_text("important 1\n")
    told = greenrun("--metrics-file", "node.prom", "true")
    assert path.read_text() == "important 1\n"
    assert "left as it is" in " ".join(told.stderr.split())
    Path(greenrun.cwd, "greenrun.toml").write_text('metrics-file = "stolen"\n')
    assert "may not set it" in greenrun("true").stderr.replace("\n              ", " ")
    assert not Path(greenrun.cwd, "stolen").exists()


# --- budgets


def test_a_budget_that_is_kept(greenrun: Greenrun, record: RecordReader) -> None:
    """Nothing is said and nothing is different."""
    told = greenrun("--budget", PLENTY, "--budget-action", "fail", "true")
    assert (told.returncode, record()["budget"]["exceeded"]) == (0, False)
    assert "budget" not in told.stderr


def test_a_warning(greenrun: Greenrun, record: RecordReader) -> None:
    """The command ends as it ends, and the summary says by how much it was too much."""
    told = greenrun("--budget", NEVER, "sleep", "0.3")
    assert told.returncode == 0
    assert record()["budget"]["exceeded"] is True
    assert "more than its budget of" in " ".join(told.stderr.split())


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_a_failure(greenrun: Greenrun, quiet: list[str]) -> None:
    """Exit status 3, and always the reason; a job that failed by itself keeps its own status."""
    words = [*quiet, "--budget", NEVER, "--budget-action", "fail", "sh", "-c"]
    told = greenrun(*words, "sleep 0.3")
    assert told.returncode == 3
    assert "more than its budget of 1.00 mJ" in told.stderr
    assert "the exit status is 3 for that." in told.stderr
    assert greenrun(*words, "sleep 0.3; exit 7").returncode == 7
    assert greenrun(*words, "sleep 0.3; kill -TERM $$").returncode == -signal.SIGTERM


def wait_until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("amount", [["--budget", NEVER], ["--budget", "0.000001g", "--intensity", "1000"]])
def test_a_stop(
    greenrun: Greenrun, record: RecordReader, run_dirs: RunDirs, no_leftovers: None, amount: list[str]
) -> None:
    """The command, its children and its orphans are ended, in the middle; the record says so."""
    script = "(setsid sh -c 'echo $$ > orphan; exec sleep 1000' &); sleep 1000 & echo $! > child; sleep 1000; echo no"
    told = greenrun(*amount, "--budget-action", "stop", "--interval", "0.1", "sh", "-c", script)
    assert told.returncode == -signal.SIGTERM
    assert told.stdout == ""
    assert "the command is being stopped" in told.stderr
    for name in ("orphan", "child"):
        pid = int(Path(greenrun.cwd, name).read_text())
        wait_until(lambda pid=pid: gone(pid))
    budget = record()["budget"]
    assert (budget["exceeded"], budget["stopped"], budget["action"]) == (True, True, "stop")
    assert 0.0 < budget["used_up_at"] < record()["duration_seconds"] + 1.0
    (run_dir,) = run_dirs()
    events = [json.loads(line) for line in Path(run_dir, "run.jsonl").read_text().splitlines()]
    (event,) = [event for event in events if event["event"] == "budget"]
    assert event["stopped"] is True
    assert event["spent"] >= event["limit"]


def test_a_stop_that_is_taken_for_a_success(greenrun: Greenrun) -> None:
    """A command that takes the signal, saves what it has and exits with 0 has not done all of its work: 3."""
    script = "trap 'echo saved; exit 0' TERM; while :; do sleep 0.05; done"
    told = greenrun("--budget", NEVER, "--budget-action", "stop", "--interval", "0.1", "sh", "-c", script)
    assert (told.returncode, told.stdout) == (3, "saved\n")


def test_a_stop_through_a_relay(greenrun: Greenrun) -> None:
    """With --epochs too, where something stands in between."""
    words = ["--epochs", "auto", "--budget", NEVER, "--budget-action", "stop", "--interval", "0.1"]
    assert greenrun(*words, "sleep", "1000").returncode == -signal.SIGTERM


def test_a_budget_outlives_the_sampler(greenrun: Greenrun, record: RecordReader) -> None:
    """One that is killed is replaced by one that goes on counting from the command's start."""
    with greenrun.start(
        *("--budget", "1000g", "--budget-action", "stop", "--interval", "0.1", "--intensity", "1"),
        *("sh", "-c", "while ! test -e over; do sleep 0.05; done"),
        stderr=subprocess.DEVNULL,
    ) as running:
        daemons = lambda: [pid for pid, name in greenrun.processes().items() if name == "greenrun-daemon"]  # noqa: E731
        wait_until(daemons)
        (first,) = daemons()
        logs = Path(greenrun.cwd, "greenrun-logs")
        wait_until(lambda: any('"spawned"' in path.read_text() for path in logs.glob("*/run.jsonl")))
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: [pid for pid in daemons() if pid != first])
        Path(greenrun.cwd, "over").touch()
        assert running.wait(60) == 0
    assert record()["budget"]["stopped"] is False
    assert any(warned["code"] == "gap" for warned in record()["warnings"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--budget", "50W"], "--budget must be an energy in J, Wh or kWh, or a mass of CO2e in g or kg"),
        (["--budget", "0g"], "must be more than nothing"),
        (["--budget", "5g", "--budget-action", "kill"], "--budget-action must be warn, fail"),
        (["--budget-action", "fail"], "--budget-action must come with --budget"),
    ],
)
def test_mistakes(greenrun: Greenrun, words: list[str], told: str) -> None:
    """One sentence before the job."""
    result = greenrun(*words, "true")
    assert result.returncode == 125
    assert told in result.stderr


def test_by_variables(greenrun: Greenrun) -> None:
    """As CI tells settings."""
    environment = {"GREENRUN_BUDGET": NEVER, "GREENRUN_BUDGET_ACTION": "fail"}
    assert greenrun("sleep", "0.2", env=environment).returncode == 3


# --- the recipes


def recipes(language: str) -> list[str]:
    """Give the blocks of the document in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", RECIPES.read_text(), re.MULTILINE | re.DOTALL)


def scripts(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give the steps that run something, but for the installation, which is there already."""
    for step in steps:
        if "run" in step and "pip install" not in step["run"]:
            yield step


def in_shell(greenrun: Greenrun, shell: list[str], script: str, environment: dict[str, Any]) -> Any:
    """Run a part of a recipe as the system would, with greenrun on the path."""
    path = {"PATH": f"{os.path.dirname(ENTRY)}:{os.environ['PATH']}"}
    return subprocess.run(
        [*shell, script],
        env=greenrun.environment({**environment, **path}),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_recipe_for_github(greenrun: Greenrun, github: GitHub) -> None:
    """Each step runs, and finds what the one before it has left."""
    Path(greenrun.cwd, "train.py").write_text(TRAIN)
    (job,) = yaml.safe_load(recipes("yaml")[0])["jobs"].values()
    for step in scripts(job["steps"]):
        outputs = {f"${{{{ steps.train.outputs.{name} }}}}": value for name, value in github.output().items()}
        environment = {name: outputs[value] for name, value in step.get("env", {}).items()}
        done = in_shell(greenrun, ["bash", "-e", "-c"], step["run"], {**github.environment, **environment})
        assert done.returncode == 0, done.stderr
    assert done.stdout == f"It used {github.output()['energy_joules']} J, {github.output()['co2e_grams']} g CO2e\n"
    assert "What <code>train</code> cost" in github.summary.read_text()
    upload = job["steps"][-1]
    assert os.path.isdir(os.path.join(greenrun.cwd, upload["with"]["path"]))


@pytest.mark.parametrize(("seconds", "status"), [("0.05", 0), ("1.5", 1)])
def test_the_recipe_for_pull_requests(greenrun: Greenrun, github: GitHub, seconds: str, status: int) -> None:
    """It passes what is as before, fails what takes thirty times as long, and shows the table."""
    for side, length in (("base", "0.05"), ("new", seconds)):
        Path(greenrun.cwd, side).mkdir()
        Path(greenrun.cwd, side, "train.py").write_text(f"import time\ntime.sleep({length})\n")
    (job,) = yaml.safe_load(recipes("yaml")[1])["jobs"].values()
    (step,) = scripts(job["steps"])
    # Energy is noisy on a busy machine; here it is the recipe that is tried.
    script = step["run"].replace("--fail-above 10%", "--fail-above 400% --quantity duration")
    assert script != step["run"]
    done = in_shell(greenrun, ["bash", "-e", "-c"], script, github.environment)
    assert done.returncode == status, done.stderr
    assert re.search(r"base \(\d\)", github.summary.read_text())  # a run that was too short to see is left out
    assert Page(github.summary.read_text()).tags == ["pre", "code"]


def test_the_recipe_for_gitlab(greenrun: Greenrun, tmp_path: Path) -> None:
    """Both jobs run; the metrics are where the artifact is looked for."""
    work = greenrun.cwd
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    Path(work, "train.py").write_text(TRAIN)
    origin = str(tmp_path / "origin")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["clone", "-q", "--bare", ".", origin]):
        subprocess.run([*git, *words], cwd=work, check=True, capture_output=True)
    subprocess.run([*git, "remote", "add", "origin", f"file://{origin}"], cwd=work, check=True)
    jobs = yaml.safe_load(recipes("yaml")[2])
    environment = {"CI": "true", "GITLAB_CI": "true", "GITHUB_ACTIONS": None}
    environment["CI_MERGE_REQUEST_TARGET_BRANCH_NAME"] = "main"
    for name, job in jobs.items():
        script = "\n".join(line for line in job["script"] if "pip install" not in line)
        script = script.replace("--fail-above 10%", "--fail-above 100000%")  # as above: the machine is busy
        done = in_shell(greenrun, ["bash", "-eo", "pipefail", "-c"], script, environment)
        assert done.returncode == 0, (name, done.stderr)
    assert re.search(r"base \(\d\)", done.stdout)
    metrics = jobs["train"]["artifacts"]["reports"]["metrics"]
    assert 'greenrun_energy_joules{name="train"}' in Path(work, metrics).read_text()


def test_the_recipe_for_cron(greenrun: Greenrun) -> None:
    """Each line, as cron runs it: by sh, with what the crontab sets and hardly anything else."""
    (crontab,) = recipes("crontab")
    work = Path(greenrun.home, "nightly")
    work.mkdir()
    Path(greenrun.home, "metrics").mkdir()
    Path(work, "train.sh").write_text("#!/bin/sh\necho trained\n")
    Path(work, "train.sh").chmod(0o700)
    environment = {"HOME": greenrun.home, "LOGNAME": "ada", "SHELL": "/bin/sh", "GREENRUN_OFFLINE": "1"}
    outputs = []
    for line in crontab.splitlines():
        if line.startswith("PATH="):
            environment["PATH"] = line.removeprefix("PATH=").replace("/opt/greenrun/bin", os.path.dirname(ENTRY))
        elif not line.startswith("#"):
            command = line.split(maxsplit=5)[5]
            assert "%" not in command  # which cron takes for a new line
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                env=environment,
                cwd=greenrun.home,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (done.returncode, done.stderr) == (0, ""), command
            outputs.append(done.stdout)
    assert (work / "train.log").read_text() == "trained\n"
    assert 'greenrun_energy_joules{name="nightly"}' in Path(greenrun.home, "metrics/nightly.prom").read_text()
    assert outputs[0] == ""
    assert "by month" in outputs[1]
