"""Prolog and epilog as a person or a strange slurmd may run them: clear sentences, and no node lost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine.command import ENTRY

from greenrun.cli.slurm import hook

Hook = Callable[..., subprocess.CompletedProcess[str]]
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="slurmd runs its hooks as root")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Hook]:
    """Run a hook as slurmd does, without PATH, HOME or LANG, and end what it may have begun."""
    spool = tmp_path / "spool"

    def run(name: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        told: dict[str, str | None] = {"SLURM_SCRIPT_CONTEXT": f"{name}_slurmd", "SLURM_JOB_ID": "1234"}
        told |= {"SLURM_JOB_UID": "54321", "SLURMD_NODENAME": "n1", "GREENRUN_SPOOL": str(spool)}
        environment = {key: value for key, value in {**told, **variables}.items() if value is not None}
        return subprocess.run(
            [ENTRY, "slurm", name], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    yield run
    if (spool / "live").is_dir() and os.listdir(spool / "live"):
        run("epilog")


@pytest.mark.parametrize("name", ["prolog", "epilog"])
@pytest.mark.parametrize("context", [None, "", "prolog_task", "prolog_slurmctld"])
def test_outside_of_slurmd(run: Hook, name: str, context: str | None) -> None:
    """Somebody typed it, or set it as another hook: one sentence, and no success."""
    done = run(name, SLURM_SCRIPT_CONTEXT=context)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"greenrun: slurm {name} is run by slurmd, as {name.capitalize()} in slurm.conf")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["prolog", "epilog"])
def test_help(run: Hook, name: str) -> None:
    """Anybody may ask what it is."""
    done = subprocess.run([ENTRY, "slurm", name, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: greenrun slurm {name}\n")


STRANGE: list[dict[str, str | None]] = [
    {"SLURM_JOB_ID": None},
    {"SLURM_JOB_ID": "../../etc"},
    {"SLURM_JOB_UID": "root"},
    {"SLURMD_NODENAME": "../n1"},
    {"SLURMD_NODENAME": "n1/../../x"},
    {"GREENRUN_SPOOL": "relative/spool"},
    {"GREENRUN_SPOOL": "/proc/self/spool"},
    {"GREENRUN_SPOOL": "/etc/hostname"},
]


@pytest.mark.parametrize("strange", STRANGE, ids=str)
def test_a_prolog_that_cannot_work_fails_nobody(run: Hook, tmp_path: Path, strange: dict[str, str | None]) -> None:
    """One line that says why, and success."""
    done = run("prolog", **strange)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("greenrun: slurm prolog of job ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@ROOT_ONLY
def test_a_prolog_without_rights(tmp_path: Path) -> None:
    """A slurmd of an ordinary user's is told why there is no record, and loses no node."""
    told = {"SLURM_SCRIPT_CONTEXT": "prolog_slurmd", "SLURM_JOB_ID": "1", "SLURM_JOB_UID": "1", "SLURMD_NODENAME": "n"}
    code = (
        "import os\n"
        "from greenrun.cli.slurm import hook\n"
        "os.setuid(65534)\n"  # not before: an ordinary user may not be able to read this Python
        f"raise SystemExit(hook.run('prolog', {told!r}, lambda *_: None, 20.0, 20))"
    )
    python = os.path.join(os.path.dirname(ENTRY), "python")
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "needs to run as root" in done.stderr


@ROOT_ONLY
def test_an_epilog_without_a_prolog(run: Hook, tmp_path: Path) -> None:
    """There is nothing to end, and nothing is made."""
    done = run("epilog")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@ROOT_ONLY
def test_a_spool_of_others_is_not_used(run: Hook, tmp_path: Path) -> None:
    """What a user could write is no place for root's files."""
    spool = tmp_path / "spool"
    spool.mkdir()
    spool.chmod(0o777)
    done = run("prolog")
    assert done.returncode == 0
    assert "others than root can write" in done.stderr
    assert list(spool.iterdir()) == []
    assert run("epilog").returncode == 0


@ROOT_ONLY
def test_a_second_prolog_of_the_same_run(run: Hook, tmp_path: Path) -> None:
    """A job is measured once; begun anew it is another run, and the first one gets its record."""
    assert run("prolog", SLURM_JOB_RESTART_COUNT="0").stderr == ""
    assert "a daemon measures it already" in run("prolog", SLURM_JOB_RESTART_COUNT="0").stderr
    (first,) = (tmp_path / "spool/runs/1234").iterdir()
    assert run("prolog", SLURM_JOB_RESTART_COUNT="1").stderr == ""
    # Its daemon may be told another number than its prolog was.
    done = run("epilog", SLURM_JOB_RESTART_COUNT="7", SLURM_JOB_EXIT_CODE2="3:9")
    assert (done.returncode, done.stderr) == (0, "")
    runs = list((tmp_path / "spool/runs/1234").iterdir())
    assert len(runs) == 2
    deadline = time.monotonic() + 20
    while any((tmp_path / "spool/live").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all((path / "summary.json").exists() for path in runs)
    (second,) = set(runs) - {first}
    assert '"job_exit_code":"3:9"' in (second / "run.jsonl").read_text()
    assert '"job_exit_code":null' in (first / "run.jsonl").read_text()
    assert {path.name for path in second.iterdir()} == {"run.jsonl", "summary.json", "summary.txt"}
    assert not list((tmp_path / "spool/live").iterdir())


@pytest.mark.parametrize(
    ("comment", "wanted"),
    [
        ("greenrun", True),
        ("please, Greenrun: thanks", True),
        ("mode=fast;greenrun", True),
        ("", False),
        ("not-greenrun", False),
        ("greenrunner", False),
    ],
)
def test_the_word_that_asks_for_a_copy(comment: str, wanted: bool) -> None:
    """A word of its own in the job's comment."""
    told = {"SLURM_JOB_ID": "1", "SLURM_JOB_UID": "1", "SLURMD_NODENAME": "n", "SLURM_JOB_COMMENT": comment}
    assert hook.job(told).wants_copy is wanted


@ROOT_ONLY
def test_work_that_hangs_holds_nobody_up() -> None:
    """The hook goes on without it, says so, and the work is killed at its limit."""
    told = {"SLURM_SCRIPT_CONTEXT": "prolog_slurmd", "SLURM_JOB_ID": "1", "SLURM_JOB_UID": "1", "SLURMD_NODENAME": "n"}
    code = (
        "import os, sys, time\n"
        "from greenrun.cli.slurm import hook\n"
        "def work(config, job):\n"
        "    print(os.getpid(), file=open(sys.argv[1], 'w'), flush=True)\n"
        "    time.sleep(600)\n"
        f"raise SystemExit(hook.run('prolog', {told!r}, work, 0.5, 2))"
    )
    python = os.path.join(os.path.dirname(ENTRY), "python")
    reader, writer = os.pipe()
    path = f"/proc/{os.getpid()}/fd/{writer}"
    done = subprocess.run([python, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)
    os.close(writer)
    with open(reader) as file:
        pid = int(file.read())
    assert (done.returncode, "takes too long" in done.stderr) == (0, True)
    assert os.getsid(pid) == pid  # slurmd kills the hook's process group when the hook has ended
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{pid}")
