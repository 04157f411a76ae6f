"""Root in other users' directories, and users among one another: who can lead astray, stop, poison or read what."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine.command import ENTRY, Greenrun
from machine.users import User

from greenrun.cli import straight
from greenrun.cli.slurm import copying

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
# Each worker of the suite has its own.
THEM, OTHERS = User(200_000 + os.getpid()), User(4_500_000 + os.getpid())
SENTINEL = "root's, and unchanged\n"
FILES = ("run.jsonl", "marks", "last.json", "last.json.tmp", "summary.json", "summary.txt", ".gitignore")

# A user's process that puts a link to root's directory in the place of a directory of its own, and back, for ever; with
# `hard` also links to root's own files and FIFOs under the names that are to be written.
SWAP = """
import contextlib, os, sys
path, target, names = sys.argv[1], sys.argv[2], sys.argv[3:]
aside, turn = path + ".aside", 0
print("ready", flush=True)
while True:
    turn += 1
    with contextlib.suppress(OSError):  # made by root in the moment between the two: out of the way, or all is over
        os.stat(aside)
        os.rename(path, f"{path}.{turn}")
        os.rename(aside, path)
    with contextlib.suppress(OSError):
        os.rename(path, aside)
        os.symlink(target, path)
    for name in names:
        with contextlib.suppress(OSError):
            (os.link, os.symlink)[turn % 2](f"{target}/{name}", f"{aside}/{name}")
        with contextlib.suppress(OSError):
            os.mkfifo(f"{aside}/{name}")
    with contextlib.suppress(OSError):
        os.unlink(path)
        os.rename(aside, path)
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(f"{path}/{name}")
"""


@pytest.fixture
def theirs() -> Iterator[str]:
    """Give a user's directory."""
    with THEM.place() as folder:
        yield folder


@pytest.fixture
def of_root(theirs: str) -> Iterator[Path]:
    """Give a directory of root's, beside the user's, with files that nobody may change, and look at the end."""
    folder = Path(os.path.dirname(theirs), "of-root")
    folder.mkdir(mode=0o755)
    for name in FILES:
        (folder / name).write_text(SENTINEL)
    before = _state(folder)
    yield folder
    assert _state(folder) == before


def _state(folder: Path) -> dict[str, tuple[object, ...]]:
    out: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        text = path.read_text() if stat.S_ISREG(status.st_mode) else None
        out[path.name] = (status.st_ino, status.st_uid, status.st_mode, status.st_mtime_ns, text)
    return out


class Swapper:
    """The user's process that swaps, while the context lasts."""

    def __init__(self, path: str, target: Path, *names: str) -> None:
        command = [sys.executable, "-I", "-S", "-c", SWAP, path, str(target), *names]
        self._process = subprocess.Popen(THEM.command(command), stdout=subprocess.PIPE, text=True, cwd="/")

    def __enter__(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def __exit__(self, *_: object) -> None:
        assert self._process.poll() is None  # it was there all the time
        self._process.kill()
        self._process.communicate()


def _attempts(is_enough: Callable[[], bool]) -> Iterator[int]:
    """Count to 200, and on until it is enough: on a crowded machine who swaps may have to wait for a processor."""
    deadline, attempt = time.monotonic() + 30, 0
    while attempt < 200 or (not is_enough() and time.monotonic() < deadline):
        yield attempt
        attempt += 1


def test_an_epilog_s_copy_is_led_nowhere(theirs: str, of_root: Path, tmp_path: Path) -> None:
    """Some hundred copies while the job's user swaps the directory, links root's files and puts FIFOs in the way."""
    record = tmp_path / "record"
    record.mkdir(mode=0o700)
    for name in FILES[:1] + FILES[4:6]:
        (record / name).write_text("{}\n")
    sources = [(name, os.open(record / name, os.O_RDONLY)) for name in ("run.jsonl", "summary.json", "summary.txt")]
    work = os.path.join(theirs, "work")
    os.mkdir(work)
    THEM.own(theirs)
    outcomes = {"copied": 0, "refused": 0}
    with Swapper(work, of_root, "summary.json", "greenrun-logs"):
        child = os.fork()
        if child == 0:  # as the copying process does it, but many times in one
            try:
                copying._drop(copying.User(THEM.uid, THEM.uid, ()))
                for attempt in _attempts(lambda: all(outcomes.values())):
                    outcomes[_try_to_copy(sources, work, f"copied-{attempt}")] += 1
                os._exit(0 if outcomes["copied"] and outcomes["refused"] else 3)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for attempt in range(5):  # and from its beginning, as root
            with contextlib.suppress(OSError):
                copying.copy(str(record), work, f"whole-{attempt}", copying.User(THEM.uid, THEM.uid, ()), 20.0)
    for _, source in sources:
        os.close(source)


def _try_to_copy(sources: list[tuple[str, int]], work: str, name: str) -> str:
    try:
        copying._copy(sources, work, name)
    except OSError:
        return "refused"
    return "copied"


@pytest.mark.parametrize("swapped", ["", "logs", "logs/run"])
def test_root_s_own_run_is_led_nowhere(theirs: str, of_root: Path, swapped: str) -> None:
    """`sudo greenrun` in a user's directory: some hundred run directories while the user swaps a part of the way."""
    work = os.path.join(theirs, "work")
    os.makedirs(f"{work}/logs/run")
    THEM.own(theirs)
    outcomes = {"written": 0, "refused": 0}
    of_both = not swapped.endswith("run")  # that one is the user's own: nothing is ever written there
    with Swapper(os.path.join(work, swapped) if swapped else work, of_root, "run.jsonl", "marks"):
        for attempt in _attempts(lambda: all(outcomes.values()) or not of_both):
            name = "run" if swapped.endswith("run") else f"run-{attempt}"
            try:
                place = straight.reach(f"{work}/logs/{name}", make=name != "run")
            except OSError:
                outcomes["refused"] += 1
                continue
            for file in FILES:
                with open(os.path.join(place, file), "w") as target:
                    target.write("written by root")
            os.close(int(place.rpartition("/")[2]))
            outcomes["written"] += 1
    assert outcomes["refused"] > 0
    assert (outcomes["written"] > 0) == of_both


def test_what_root_began_it_ends_there(theirs: str, of_root: Path) -> None:
    """A whole run: its directory is put away and a link to root's put in its place; all goes where it was begun."""
    greenrun = Greenrun(os.path.join(theirs, "runs"))
    THEM.own(theirs)
    swap = f'mv "$GREENRUN_RUN_DIR" "$GREENRUN_RUN_DIR.moved" && ln -s {of_root} "$GREENRUN_RUN_DIR"; kill -9 $$'
    done = greenrun("sh", "-c", f"sleep 0.3; setpriv --reuid={THEM.uid} --clear-groups true; {swap}", env={})
    assert done.returncode == -signal.SIGKILL
    (moved,) = Path(greenrun.cwd, "greenrun-logs").glob("*.moved")
    record = json.loads((moved / "summary.json").read_text())
    assert record["signal"] == signal.SIGKILL
    assert not (moved / "marks").exists()
    assert greenrun.leftovers() == []


def test_another_user_s_file_leads_root_nowhere(theirs: str, of_root: Path) -> None:
    """A cloned repository's log-dir counts for root only where it lies below it; for its owner it counts."""
    greenrun = Greenrun(os.path.join(theirs, "runs"))
    for told, heeded in ((str(of_root), False), ("../../../of-root", False), ("below/logs", True)):
        with open(os.path.join(greenrun.cwd, "greenrun.toml"), "w") as file:
            file.write(f'log-dir = "{told}"\n')
        THEM.own(theirs)
        done = greenrun("true")
        assert done.returncode == 0
        assert ("log-dir is ignored" in done.stderr) == (not heeded)
    assert len(list(Path(greenrun.cwd, "greenrun-logs").glob("*/summary.json"))) == 2
    assert len(list(Path(greenrun.cwd, "below/logs").glob("*/summary.json"))) == 1


def _as(user: User, *command: str, cwd: str = "/", **env: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
    environment |= {"GREENRUN_OFFLINE": "1", "HOME": "/nowhere", **env}
    return subprocess.run(
        user.command([*command]), cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
    )


def test_users_among_one_another(theirs: str) -> None:
    """What one runs another can neither read nor write, nor mark, nor end, nor see in `greenrun status`."""
    greenrun = Greenrun(os.path.join(theirs, "runs"))
    THEM.own(theirs)
    running = subprocess.Popen(
        THEM.command([ENTRY, "sh", "-c", 'echo "$GREENRUN_RUN_DIR"; sleep 60 & wait']),
        env=greenrun.environment({}),
        cwd=greenrun.cwd,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    run_dir = running.stdout.readline().strip()
    deadline = time.monotonic() + 60
    while not os.path.exists(f"{run_dir}/run.jsonl") and time.monotonic() < deadline:
        time.sleep(0.02)
    (daemon,) = [pid for pid, name in greenrun.processes().items() if name == "greenrun-daemon"]
    assert stat.S_IMODE(os.stat(run_dir).st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in Path(run_dir).iterdir()} == {0o600}
    before = Path(run_dir, "marks").read_text()
    tries = {
        f"cat {run_dir}/run.jsonl": "Permission denied",
        f"echo x >> {run_dir}/marks": "Permission denied",
        f"mv {run_dir} {run_dir}.aside": "Permission denied",
        f"kill -9 {daemon} {running.pid}": "not permitted",
        f"{ENTRY} report {run_dir}": "is not readable",
        f"GREENRUN_MARKS={run_dir}/marks {ENTRY} mark epoch 1 2": "",
        f"{ENTRY} status --json": "",
    }
    told = {command: _as(OTHERS, "sh", "-c", command) for command in tries}
    for command, words in tries.items():
        assert words in told[command].stderr, command
        assert run_dir not in told[command].stdout, command
    assert "Traceback" not in "".join(one.stderr for one in told.values())
    assert Path(run_dir, "marks").read_text() == before
    running.terminate()
    assert running.wait(20) == -signal.SIGTERM
    record = json.loads(Path(run_dir, "summary.json").read_text())
    assert (record["status"], record["epochs"]) == ("complete", [])
    assert greenrun.leftovers() == []
