"""The copy of a record for a job's user: as that user, and through no symlink."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenrun.cli.slurm import copying
from greenrun.cli.slurm.copying import User

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
THEM = User(54321, 54322, (54322, 54323))
FILES = {"run.jsonl": "log\n", "summary.json": "{}\n", "summary.txt": "text\n"}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Give a run directory of root's."""
    run_dir = tmp_path / "record"
    run_dir.mkdir(mode=0o700)
    for name, text in FILES.items():
        (run_dir / name).write_text(text)
        (run_dir / name).chmod(0o600)
    return run_dir


@pytest.fixture
def home() -> Iterator[Path]:
    """Give a directory of the user's that the user can reach: pytest's own folders are shut, and other tests' too."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder, "home")
        home.mkdir()
        os.chown(home, THEM.uid, THEM.gid)
        yield home


def copy(record: Path, to: str | Path, name: str = "copied") -> None:
    """Copy with the patience of a test."""
    copying.copy(str(record), str(to), name, THEM, 20.0)


def test_the_copy_is_the_user_s(record: Path, home: Path) -> None:
    """Owner, group and modes are as if the user's own greenrun had made it."""
    copy(record, home)
    made = {path.name: path for path in (home / "greenrun-logs").rglob("*")}
    assert set(made) == {".gitignore", "copied", *FILES}
    for path in made.values():
        assert (path.stat().st_uid, path.stat().st_gid) == THEM[:2]
    assert {name: made[name].read_text() for name in FILES} == FILES
    assert {stat.S_IMODE(made[name].stat().st_mode) for name in FILES} == {0o600}
    assert stat.S_IMODE(made["copied"].stat().st_mode) == 0o700


def test_one_that_is_there_stays(record: Path, home: Path) -> None:
    """A late epilog changes nothing that the user may have changed."""
    copy(record, home)
    (home / "greenrun-logs/copied/summary.txt").write_text("mine now\n")
    copy(record, home)
    assert (home / "greenrun-logs/copied/summary.txt").read_text() == "mine now\n"


def test_groups_of_the_user_open_what_they_open(record: Path, home: Path) -> None:
    """A project's directory belongs to a group that is not the user's first."""
    os.chown(home, 0, THEM.groups[1])
    home.chmod(0o2770)
    copy(record, home)
    assert (home / "greenrun-logs/copied/summary.json").exists()


@pytest.mark.parametrize("part", ["home", "greenrun-logs", "greenrun-logs/copied"])
@pytest.mark.parametrize("owner", [0, THEM.uid])
def test_no_symlink_is_followed(record: Path, home: Path, part: str, owner: int) -> None:
    """Not in the directory's path and not below it, whoever owns what it leads to."""
    victim = home.parent / "victim"
    victim.mkdir()
    os.chown(victim, owner, owner)
    to = home
    if part == "home":
        to = home.parent / "linked"
        to.symlink_to(victim)
    else:
        (home / part).parent.mkdir(exist_ok=True)
        os.chown((home / part).parent, THEM.uid, THEM.gid)
        (home / part).symlink_to(victim)
    if part.endswith("copied"):
        copy(record, to)  # there is one of that name already
    else:
        with pytest.raises(OSError, match="Not a directory"):
            copy(record, to)
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("path", ["", "relative", "/no/such/place", "/proc/1/root/tmp", "/root"])
def test_where_the_user_cannot_write_nothing_is_written(record: Path, home: Path, path: str) -> None:
    """The path may be anything."""
    with pytest.raises(OSError, match="was not made"):
        copy(record, path)


def test_what_only_root_may_write_stays(record: Path, home: Path) -> None:
    """The copying process has no right of root's left."""
    os.chown(home, 0, 0)
    home.chmod(0o755)
    with pytest.raises(OSError, match="Permission denied"):
        copy(record, home)
    assert list(home.iterdir()) == []


def test_a_full_quota_leaves_no_half_record(record: Path, home: Path) -> None:
    """Files that could not be written whole are taken away again."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0777", "tmpfs", str(home)], check=True)
    try:
        (record / "run.jsonl").write_bytes(b"x" * 100_000)
        with pytest.raises(OSError, match="No space left"):
            copy(record, home)
        assert [path.name for path in (home / "greenrun-logs").rglob("*")] == [".gitignore"]
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def test_nothing_hangs(record: Path, home: Path) -> None:
    """Where a file system hangs, nobody waits."""
    with pytest.raises(TimeoutError):
        copying.copy(str(record), str(home), "copied", THEM, 0.0)


STOPPER = """
echo ready
while :; do
    for process in /proc/[0-9]*; do
        number=${process#/proc/}
        [ -O "$process" ] && [ "$number" != $$ ] && kill -SIGNAL "$number" && echo "$number" && exit
    done
done
"""


@pytest.mark.parametrize(("number", "said"), [("STOP", "took too long"), ("KILL", "killed by signal 9")])
def test_a_user_who_holds_the_copying_process_keeps_none(record: Path, home: Path, number: str, said: str) -> None:
    """It is the user's, to stop and to kill; it ends in time, and what was not copied is said."""
    os.truncate(record / "run.jsonl", 2 << 30)  # there is time to find it
    owner = User(54329, 54329, ())
    os.chown(home, owner.uid, owner.gid)
    become = ["setpriv", "--reuid=54329", "--regid=54329", "--clear-groups"]
    code = STOPPER.replace("SIGNAL", number)
    stopper = subprocess.Popen([*become, "bash", "-c", code], stdout=subprocess.PIPE, text=True)
    assert stopper.stdout is not None
    stopper.stdout.readline()
    try:
        with pytest.raises(OSError, match=said):
            copying.copy(str(record), str(home), "copied", owner, 20.0, limit_seconds=1.5)
        held = stopper.stdout.readline().strip()
    finally:
        stopper.kill()
        stopper.communicate()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{held}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert held
    assert not os.path.exists(f"/proc/{held}")


def test_the_system_s_groups() -> None:
    """A user's groups are those that the system knows."""
    assert copying.user(0) == User(0, 0, tuple(os.getgrouplist("root", 0)))
    with pytest.raises(KeyError):
        copying.user(THEM.uid)
