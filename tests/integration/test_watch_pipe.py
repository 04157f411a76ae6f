"""Watching through pipes: real processes, real pipes."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

DRIVER = Path(__file__).with_name("watch_driver.py")


def watch(folder: Path, *command: str) -> list[str]:
    """Give the command line that watches a command; the marks go to the file `marks` in the folder."""
    return [sys.executable, str(DRIVER), str(folder / "marks"), *command]


def marks(folder: Path) -> list[str]:
    """Give what was told, without the times."""
    return [line.split(" at=")[0] for line in (folder / "marks").read_text().splitlines()[1:]]


def test_exact_output_and_status(tmp_path: Path) -> None:
    """Any bytes pass unchanged, on stdout and on stderr, and so does the exit code."""
    script = "import os; os.write(1, bytes(range(256)) * 999); os.write(2, b'\\xff\\0err'); os._exit(7)"
    done = subprocess.run(watch(tmp_path, sys.executable, "-c", script), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, bytes(range(256)) * 999, b"\xff\0err")


def test_marks(tmp_path: Path) -> None:
    """Epochs on stdout and on stderr are told, a last line without its end too."""
    subprocess.run(
        watch(tmp_path, "sh", "-c", "echo Epoch 1/3; printf 'Epoch 1/3 loss=0.5' >&2"), capture_output=True, check=True
    )
    assert sorted(marks(tmp_path)) == ["epoch 1 3 end", "epoch 1 3 start"]


def test_order_in_one_pipe(tmp_path: Path) -> None:
    """Where stdout and stderr are one pipe, the order of the lines is kept."""
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done"
    done = subprocess.run(
        watch(tmp_path, "sh", "-c", script), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    assert done.stdout.split() == [word for i in range(1, 10) for word in (f"o{i}", f"e{i}")]


def test_flood_is_exact_and_skips_are_told(tmp_path: Path) -> None:
    """More output than the budget passes unchanged, and what was not looked at is counted."""
    size = 150_000_000
    watched = subprocess.Popen(watch(tmp_path, "head", "-c", str(size), "/dev/zero"), stdout=subprocess.PIPE)
    assert watched.stdout is not None
    digest = hashlib.sha256()
    while piece := watched.stdout.read(1 << 20):
        digest.update(piece)
    assert watched.wait() == 0
    assert digest.digest() == hashlib.sha256(bytes(size)).digest()
    # How much is skipped depends on how fast this machine is; more than there was it cannot be.
    assert all(line.startswith("skipped ") and int(line.split()[1]) <= size for line in marks(tmp_path))


def test_all_of_a_flood_is_handed_on_in_order(tmp_path: Path) -> None:
    """Pieces that are looked at and pieces that are not, by whatever way they come, stay in their order."""
    watched = subprocess.Popen(watch(tmp_path, "seq", "1", "25000000"), stdout=subprocess.PIPE)
    expected = subprocess.Popen(["seq", "1", "25000000"], stdout=subprocess.PIPE)
    assert watched.stdout is not None
    assert expected.stdout is not None
    while piece := expected.stdout.read(1 << 20):
        assert watched.stdout.read(len(piece)) == piece
    assert watched.stdout.read() == b""
    assert (watched.wait(), expected.wait()) == (0, 0)


def test_reader_that_leaves(tmp_path: Path) -> None:
    """The command gets SIGPIPE when the reader closes, as it would without a relay."""
    line = f"{shlex.join(watch(tmp_path, 'yes'))} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["y", "141"]


def test_daemon_left_behind(tmp_path: Path) -> None:
    """A process that the command leaves behind with the pipe open keeps nobody waiting."""
    started = time.monotonic()
    done = subprocess.run(watch(tmp_path, "sh", "-c", "sleep 60 & echo $!"), capture_output=True, check=True)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert time.monotonic() - started < 30


def test_flood_left_behind(tmp_path: Path) -> None:
    """Nor does one that goes on writing for ever: it is told by SIGPIPE that nobody reads any more."""
    command = watch(tmp_path, "sh", "-c", "yes >&1 & echo $! >&2; sleep 0.3")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watched:
        assert watched.stdout is not None
        assert watched.stderr is not None
        left_behind = int(watched.stderr.readline())
        started = time.monotonic()
        while watched.stdout.read(1 << 20):
            assert time.monotonic() - started < 30
        assert watched.wait() == 0
    while Path(f"/proc/{left_behind}").exists() and time.monotonic() - started < 30:
        time.sleep(0.01)
    assert not Path(f"/proc/{left_behind}").exists()


def test_runner_killed(tmp_path: Path) -> None:
    """SIGKILL of greenrun does not cost the job its output."""
    watched = subprocess.Popen(
        watch(tmp_path, "sh", "-c", "echo up; read x; echo $x"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert watched.stdin is not None
    assert watched.stdout is not None
    assert watched.stdout.readline() == b"up\n"
    watched.kill()
    watched.wait()
    watched.stdin.write(b"after\n")
    watched.stdin.close()
    assert watched.stdout.read() == b"after\n"


def test_slow_reader_gets_everything(tmp_path: Path) -> None:
    """What the command wrote before it ended waits for a reader that comes late."""
    watched = subprocess.Popen(
        watch(tmp_path, "sh", "-c", "seq 1 20000; echo end >&2"), stdout=subprocess.PIPE, stderr=-1
    )
    assert watched.stderr is not None
    assert watched.stderr.readline() == b"end\n"  # stderr passes while stdout is full
    assert watched.stdout is not None
    assert watched.stdout.read().split()[-1] == b"20000"
    assert watched.wait() == 0


def test_death_by_signal_and_not_found(tmp_path: Path) -> None:
    """The wait status is the command's; a command that does not exist gives 127."""
    died = subprocess.run(watch(tmp_path, "sh", "-c", "kill -TERM $$"), stdout=subprocess.PIPE, check=False)
    assert died.returncode == -signal.SIGTERM
    missing = subprocess.run(watch(tmp_path, "no-such-program"), capture_output=True, check=False)
    assert missing.returncode == 127
