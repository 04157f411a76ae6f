"""Signals reach the command exactly as often as without greenrun, and stops are seen by the shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun

pytestmark = pytest.mark.usefixtures("no_leftovers")

# Counts what it receives until it is told to stop by SIGUSR2, then prints the counts.
COUNTER = """
import signal, sys, time
seen = {}
def count(number, frame):
    seen[signal.Signals(number).name] = seen.get(signal.Signals(number).name, 0) + 1
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT, signal.SIGWINCH):
    signal.signal(number, count)
done = []
signal.signal(signal.SIGUSR2, lambda *a: done.append(1))
open("ready", "w").close()
while not done:
    time.sleep(0.01)
print(sorted(seen.items()), flush=True)
"""

WATCHED_OR_NOT = pytest.mark.parametrize("watch", [[], ["--epochs", "auto"]], ids=["plain", "watched"])


class Job:
    """A counting command under a running greenrun, and the process ids of both."""

    def __init__(self, greenrun: Greenrun, *words: str, **options: Any) -> None:
        self.ready = os.path.join(greenrun.cwd, "ready")
        self.process = greenrun.start(
            *words, sys.executable, "-c", COUNTER, stdout=subprocess.PIPE, text=True, **options
        )
        wait_for(lambda: os.path.exists(self.ready))
        self.pid = child_of(self.process.pid)

    def counts(self) -> str:
        """Let the command print what it received."""
        time.sleep(0.1)
        os.kill(self.pid, signal.SIGUSR2)
        out, _ = self.process.communicate(timeout=30)
        return out.strip()


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait until something holds; fail if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def child_of(parent: int) -> int:
    """Give the child of greenrun that is the command: the one in greenrun's own session."""
    found: list[int] = []

    def look() -> bool:
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            children = [int(word) for word in file.read().split()]
        found[:] = [pid for pid in children if os.getsid(pid) == os.getsid(parent)]
        return bool(found)

    wait_for(look)
    return found[0]


def state(pid: int) -> str:
    """Give the state letter of a process."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_a_signal_to_greenrun_alone_is_forwarded_once(greenrun: Greenrun, number: signal.Signals) -> None:
    """kill(1) on greenrun reaches the command, once."""
    job = Job(greenrun)
    os.kill(job.process.pid, number)
    assert job.counts() == str([(number.name, 1)])


def test_two_signals_are_two(greenrun: Greenrun) -> None:
    """A second SIGTERM, as SLURM sends it at a time limit, arrives too."""
    job = Job(greenrun)
    for _ in range(2):
        os.kill(job.process.pid, signal.SIGTERM)
        time.sleep(0.1)
    assert job.counts() == "[('SIGTERM', 2)]"


def test_what_the_command_sends_to_greenrun_stays_there(greenrun: Greenrun) -> None:
    """A command that signals greenrun, by itself or by a process below it, does not get it back."""
    # The subshell stays a moment: of a sender that is gone already nobody can tell that it was the command's.
    script = "trap 'echo got' USR1; kill -USR1 $PPID; (kill -USR1 $PPID; sleep 0.3); echo end"
    assert greenrun("sh", "-c", script).stdout == "end\n"


def test_what_greenrun_does_is_no_signal_for_the_command() -> None:
    """A pipe whose reader is gone gives greenrun an error, and no signal that would be taken for somebody's."""
    script = (
        "import os, signal\n"
        "from greenrun.cli import signals\n"
        "_, taken, _ = signals.take_over()\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "try: os.write(writer, b'x')\n"
        "except BrokenPipeError: print(signal.sigtimedwait(taken, 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_ended_by_a_forwarded_signal(greenrun: Greenrun, record: Callable[[], dict[str, Any]]) -> None:
    """`kill PID` of greenrun ends the command, and greenrun with it, by the same signal; the record is complete."""
    process = greenrun.start("sleep", "30", stderr=subprocess.PIPE, text=True)
    child_of(process.pid)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert "SIGTERM" in err
    assert (record()["status"], record()["signal"]) == ("complete", signal.SIGTERM)


@WATCHED_OR_NOT
def test_nohup(greenrun: Greenrun, watch: list[str]) -> None:
    """What nohup ignores stays ignored, in greenrun and in the command."""
    show = ["grep", "SigIgn", "/proc/self/status"]

    def ignored(*words: str) -> int:
        shown = subprocess.run(
            [*words, *show], env=greenrun.environment(), cwd=greenrun.cwd, capture_output=True, text=True, check=True
        ).stdout
        # posix_spawn(3) of the GNU C library leaves the two signals that it keeps for itself, 32 and 33, ignored.
        return int(shown.split()[1], 16) & ~(3 << 31)

    assert ignored("nohup", ENTRY, *watch) == ignored("nohup")
    assert ignored("nohup") != ignored("env")


@WATCHED_OR_NOT
def test_nohup_survives_hangup(greenrun: Greenrun, watch: list[str]) -> None:
    """SIGHUP to a greenrun under nohup changes nothing."""
    process = subprocess.Popen(
        ["nohup", ENTRY, *watch, "sh", "-c", "sleep 0.5; echo through"],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    child_of(process.pid)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=30)[0] == "through\n"
    assert process.returncode == 0


def test_signal_mask_and_ignored_child_signal(greenrun: Greenrun) -> None:
    """The command starts with the mask and the ignored signals that greenrun was started with, SIGCHLD included."""
    show = ["sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status"]

    def surroundings() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    options: dict[str, Any] = {"preexec_fn": surroundings, "restore_signals": False}
    # A shell that ignores SIGCHLD resets it for its own children: so the words of grep itself.
    show = ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]
    plain = subprocess.run(show, capture_output=True, text=True, check=True, **options).stdout
    result = greenrun(*show, **options)
    assert result.returncode == 0
    assert result.stdout == plain


@WATCHED_OR_NOT
@pytest.mark.parametrize("options", [[], ["--foreground"]])
def test_timeout_around_it(greenrun: Greenrun, options: list[str], watch: list[str]) -> None:
    """Timeout(1) around greenrun ends the command and sees its own status."""
    began = time.monotonic()
    process = subprocess.run(
        ["timeout", *options, "1", ENTRY, *watch, "sleep", "30"],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 124
    assert time.monotonic() - began < 10


def test_timeout_inside(greenrun: Greenrun) -> None:
    """Timeout(1) under greenrun works as it does without."""
    assert greenrun("timeout", "0.2", "sleep", "30").returncode == 124


@WATCHED_OR_NOT
def test_first_process_of_a_namespace(greenrun: Greenrun, watch: list[str]) -> None:
    """As PID 1 greenrun reaps orphans, forwards signals and exits with 128 + n where it cannot die by a signal."""
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if os.geteuid() != 0:
        inside.insert(1, "--map-root-user")
    script = '(sleep 0.1 &) ; sleep 0.3; test -z "$(ps -eo stat= | grep Z)" || echo zombie; exit 7'

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*inside, ENTRY, *watch, *command],
            env=greenrun.environment(),
            cwd=greenrun.cwd,
            capture_output=True,
            text=True,
            check=False,
        )

    result = run("sh", "-c", script)
    assert (result.returncode, result.stdout) == (7, "")
    assert "greenrun: the command ran for" in result.stderr
    assert run("sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_stopped_without_a_terminal(greenrun: Greenrun) -> None:
    """Without a terminal greenrun does not stop with the command: nobody could continue it."""
    job = Job(greenrun, start_new_session=True)
    os.kill(job.pid, signal.SIGSTOP)
    wait_for(lambda: state(job.pid) == "T")
    time.sleep(0.1)
    assert state(job.process.pid) != "T"
    os.kill(job.pid, signal.SIGCONT)
    assert job.counts() == "[]"
