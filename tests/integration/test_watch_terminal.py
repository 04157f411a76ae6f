"""Watching on a real terminal: an interactive bash on a pseudo-terminal, and the watching runner typed into it."""

from __future__ import annotations

import os
import shlex
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER = Path(__file__).with_name("watch_driver.py")
PROMPT = "PROMPT> "


class Shell:
    """An interactive shell, and the file that the runner's marks go to."""

    def __init__(self, folder: Path) -> None:
        self.marks = folder / "marks"
        self.watch = shlex.join([sys.executable, str(DRIVER), str(self.marks)])
        environment = {**os.environ, "PS1": PROMPT, "TERM": "xterm", "INPUTRC": "/dev/null"}
        self.screen = pexpect.spawn(
            "bash", ["--norc", "--noprofile", "-i"], env=environment, encoding="utf-8", timeout=20, dimensions=(30, 100)
        )
        self.expect(PROMPT)
        self.type("bind 'set enable-bracketed-paste off'; stty -echo")
        self.expect(PROMPT)

    def type(self, line: str) -> None:
        """Type a line."""
        self.screen.sendline(line)

    def run(self, script: str, after: str = "") -> None:
        """Watch a shell script; `after` follows on the same line."""
        self.marks.unlink(missing_ok=True)
        self.type(f"{self.watch} sh -c {shlex.quote(script)} {after}")

    def expect(self, *texts: str) -> None:
        """Wait for texts, one after the other."""
        for text in texts:
            self.screen.expect_exact(text)

    def expect_sane_terminal(self) -> None:
        """Check that the terminal is back in the mode in which lines are edited."""
        self.type("stty -a")
        self.expect(" icanon", PROMPT)

    def greenrun_pid(self) -> int:
        """Find the runner: the parent of the parent (the keeper) of the command."""
        deadline = time.monotonic() + 20
        while not (self.marks.exists() and self.marks.read_text().startswith("pid ")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return parent(parent(int(self.marks.read_text().split()[1])))


def parent(pid: int) -> int:
    """Give the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for_foreground(shell: Shell) -> None:
    """Wait until the shell has handed its terminal to a job and the job has made it raw."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not termios.tcgetattr(shell.screen.child_fd)[3] & termios.ISIG:
            return
        time.sleep(0.02)
    raise AssertionError("the terminal did not become raw")


def wait_until_stopped(shell: Shell) -> None:
    """Wait until the shell says that its job has stopped."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        shell.type("jobs")
        shell.expect(PROMPT)
        if "Stopped" in shell.screen.before:
            return
    raise AssertionError("the job did not stop")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Give a shell, and end it with all its jobs."""
    opened = Shell(tmp_path)
    yield opened
    opened.screen.ptyproc.delayafterterminate = 1.0  # what is asked to end may need a moment on a busy machine
    opened.screen.close(force=True)


def test_command_sees_terminal(shell: Shell) -> None:
    """The command sees a terminal of the same size, and its exit code comes through."""
    shell.run("stty size; test -t 0 && test -t 1 && test -t 2 && echo ALL; exit 7", "; echo rc=$?")
    shell.expect("30 100\r\n", "ALL\r\n", "rc=7", PROMPT)
    shell.expect_sane_terminal()


def test_marks_are_told(shell: Shell) -> None:
    """Epochs on the terminal are told with their time, coloured or not."""
    shell.run(r"printf 'Epoch 1/2\n\033[32mEpoch 2/2 loss 0.5\033[0m\n'")
    shell.expect("0.5", PROMPT)
    lines = shell.marks.read_text().splitlines()[1:]
    assert [line.split(" at=")[0] for line in lines] == ["epoch 1 2 start", "epoch 2 2 end"]


def test_all_output_is_shown(shell: Shell) -> None:
    """A flood of output is on the screen to the last byte before the terminal is given back."""
    shell.run("seq 1 100000; echo END", "; echo rc=$?")
    shell.screen.expect(r"\r\n99999\r\n100000\r\nEND\r\nrc=0\r\n")
    numbers = [line for line in shell.screen.before.splitlines() if line]
    assert numbers[-99998:] == [str(n) for n in range(1, 99999)]


def test_interrupt_arrives_once(shell: Shell) -> None:
    """Ctrl-C reaches the command once."""
    counter = """
import os, signal, time
count = 0
def interrupted(*_):
    global count
    count += 1
    os.write(1, b"INT %d\\n" % count)  # the signal may come in the middle of a print
signal.signal(signal.SIGINT, interrupted)
print("up", flush=True)
end = time.time() + 1
while time.time() < end: time.sleep(0.1)
print("count", count)
"""
    shell.type(f"{shell.watch} {sys.executable} -c {shlex.quote(counter)}; echo rc=$?")
    shell.expect("up\r\n")
    shell.screen.sendintr()
    shell.expect("INT 1\r\n", "count 1\r\n", "rc=0", PROMPT)


def test_stop_and_foreground(shell: Shell) -> None:
    """Ctrl-Z stops command and runner with a sane terminal; fg takes up where it was."""
    shell.run("echo up; read x; echo got $x")
    shell.expect("up\r\n")
    shell.screen.send("\x1a")
    shell.expect("Stopped", PROMPT)
    shell.expect_sane_terminal()
    shell.type("fg")
    wait_for_foreground(shell)
    shell.type("hello")
    shell.expect("got hello\r\n", PROMPT)


def test_stop_reaches_script_around(shell: Shell) -> None:
    """Ctrl-Z stops the script that runs greenrun too, so that the shell sees a stopped job."""
    inner = f"{shell.watch} sleep 100; echo after"
    shell.type(f"sh -c {shlex.quote(inner)}")
    wait_for_foreground(shell)
    shell.greenrun_pid()
    shell.screen.send("\x1a")
    shell.expect("Stopped", PROMPT)


def test_background_then_foreground(shell: Shell) -> None:
    """In the background a read stops the job as it would without greenrun; fg lets it read."""
    shell.run("read x; echo got $x", "&")
    shell.expect(PROMPT)
    shell.greenrun_pid()
    wait_until_stopped(shell)
    shell.type("fg")
    wait_for_foreground(shell)
    shell.type("hello")
    shell.expect("got hello\r\n", PROMPT)


def test_background_output_stops(shell: Shell) -> None:
    """Where the terminal stops output from the background (stty tostop) it does so for a watched job too."""
    shell.type("stty tostop")
    shell.expect(PROMPT)
    shell.run("echo out; echo more", "&")
    shell.expect(PROMPT)
    wait_until_stopped(shell)
    shell.type("fg")
    shell.expect("out\r\n", "more\r\n", PROMPT)


def test_background_output_as_it_is(shell: Shell) -> None:
    """What a job in the background prints is shown with the line ends that it would have without a relay."""
    shell.run("echo one; echo two", "& wait; echo done")
    shell.expect("one\r\ntwo\r\n", "done\r\n", PROMPT)


def test_running_job_to_foreground(shell: Shell) -> None:
    """A job that runs in the background gets the keyboard once it is brought to the foreground."""
    shell.run("sleep 1; read x; echo got $x", "&")
    shell.expect(PROMPT)
    shell.type("fg")
    wait_for_foreground(shell)
    shell.type("hello")
    shell.expect("got hello\r\n", PROMPT)


def test_interactive_python(shell: Shell) -> None:
    """A program that puts the terminal into raw mode works: editing, Ctrl-C, Ctrl-D, the size."""
    shell.type(f"{shell.watch} {sys.executable} -q -i")
    shell.expect(">>> ")
    shell.type("6*7")
    shell.expect("42\r\n", ">>> ")
    shell.type("import os; os.get_terminal_size().columns")
    shell.expect("100\r\n", ">>> ")
    shell.screen.sendintr()
    shell.expect("KeyboardInterrupt", ">>> ")
    shell.screen.sendeof()
    shell.expect(PROMPT)
    shell.expect_sane_terminal()


def test_window_size_follows(shell: Shell) -> None:
    """A change of the window's size reaches the command."""
    shell.run("trap 'stty size' WINCH; echo up; sleep 1; sleep 1")
    shell.expect("up\r\n")
    shell.screen.setwinsize(40, 120)
    shell.expect("40 120\r\n", PROMPT)


BAR = """
import os, signal, sys, time
assert sys.stdout.isatty() and sys.stderr.isatty()
def draw(*_):
    columns = os.get_terminal_size(2).columns
    sys.stderr.write("\\r" + f"{columns} of " + "#" * (columns - len(f"{columns} of ")))
    sys.stderr.flush()
signal.signal(signal.SIGWINCH, draw)
draw()
for _ in range(20): time.sleep(0.1)
print()
"""


def test_progress_bar_of_python(shell: Shell) -> None:
    """A Python job that draws a bar as wide as its terminal gets the right width, and each new one."""
    shell.type(f"{shell.watch} {sys.executable} -c {shlex.quote(BAR)}")
    shell.expect("100 of " + "#" * 93)
    shell.screen.setwinsize(40, 77)
    shell.expect("\r77 of " + "#" * 70)
    shell.screen.setwinsize(20, 120)
    shell.expect("\r120 of " + "#" * 112, PROMPT)


def test_stdin_stays_as_it_is(shell: Shell) -> None:
    """Where stdin is a pipe the command reads the pipe, and the keyboard through /dev/tty."""
    shell.type(f"echo data | {shell.watch} sh -c 'test -t 0 || cat; test -t 1 && read y </dev/tty; echo key $y'")
    shell.expect("data\r\n")
    shell.type("k")
    shell.expect("key k\r\n", PROMPT)


def test_only_what_is_a_terminal_is_one(shell: Shell, tmp_path: Path) -> None:
    """With stdout a pipe or a file and stderr the terminal, and the reverse, each stays what it is."""
    tell = "a=no; test -t 1 && a=tty; b=no; test -t 2 && b=tty; echo 1=$a 2=$b >&2; echo out"
    shell.run(tell, "| cat")
    shell.expect(PROMPT)
    assert {"1=no", "2=tty", "out"} <= set(shell.screen.before.split())
    file = tmp_path / "err"
    shell.run(tell, f"2>{file}")
    shell.expect("out\r\n", PROMPT)
    assert file.read_text().split() == ["1=tty", "2=no"]


def test_interrupt_of_a_pipeline(shell: Shell) -> None:
    """Ctrl-C in a pipeline ends all of it, the command included."""
    shell.run("echo up >&2; exec sleep 100", "| cat")
    shell.expect("up\r\n")
    shell.screen.sendintr()
    shell.expect(PROMPT)
    shell.type("echo ${PIPESTATUS[*]}")
    shell.expect("130", PROMPT)
    shell.expect_sane_terminal()


def test_stop_of_a_pipeline(shell: Shell) -> None:
    """Ctrl-Z stops a pipeline, fg continues it."""
    shell.run("echo up >&2; sleep 1; echo later", "| cat")
    shell.expect("up\r\n")
    shell.screen.send("\x1a")
    shell.expect("Stopped", PROMPT)
    shell.type("fg")
    shell.expect("later\r\n", PROMPT)


def test_terminated_from_outside(shell: Shell) -> None:
    """SIGTERM to greenrun ends the command by it, and the terminal is restored."""
    shell.run("echo up; exec sleep 100", "; echo rc=$?")
    shell.expect("up\r\n")
    os.kill(shell.greenrun_pid(), 15)
    shell.expect("rc=143", PROMPT)
    shell.expect_sane_terminal()


def test_killed_from_outside(shell: Shell) -> None:
    """SIGKILL of greenrun: the job goes on, its output is shown, the terminal is restored."""
    inner = f"{shell.watch} sh -c 'echo up; sleep 3; echo still here'; sleep 5"
    shell.type(f"sh -c {shlex.quote(inner)}")  # an interactive shell would restore the terminal by itself
    shell.expect("up\r\n")
    runner = shell.greenrun_pid()
    command = int(shell.marks.read_text().split()[1])
    os.kill(runner, 9)
    while not termios.tcgetattr(shell.screen.child_fd)[3] & termios.ICANON:
        time.sleep(0.02)
    assert Path(f"/proc/{command}").exists()  # restored at once, not only at the command's end
    shell.expect("still here")
    shell.expect(PROMPT)


def test_note_while_raw(shell: Shell) -> None:
    """What greenrun says while the terminal is raw stands on a line of its own."""
    shell.type("export DRIVER_NOTE='greenrun: hello'")
    shell.expect(PROMPT)
    shell.run("printf half; sleep 1; echo done")
    shell.screen.expect(r"half[\r\n]+greenrun: hello\r+\n.*done\r\n")
    shell.expect(PROMPT)


def test_command_not_found(shell: Shell) -> None:
    """A command that does not exist leaves a sane terminal."""
    shell.type(f"{shell.watch} no-such-program; echo rc=$?")
    shell.expect("rc=127", PROMPT)
    shell.expect_sane_terminal()
