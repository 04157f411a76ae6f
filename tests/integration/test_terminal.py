"""On a real terminal: job control, Ctrl-C, Ctrl-Z and fg, raw-mode programs."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator

import pytest
from machine.command import ENTRY, Greenrun
from machine.shell import Shell

pytestmark = pytest.mark.usefixtures("no_leftovers")

COUNT_INTERRUPTS = """
import signal, time
seen = []
signal.signal(signal.SIGINT, lambda *a: seen.append(1))
print("counting", flush=True)
end = time.monotonic() + 60
while not seen and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.5)
print("interrupts:", len(seen), flush=True)
"""


@pytest.fixture
def shell(greenrun: Greenrun) -> Iterator[Shell]:
    """Give an interactive shell."""
    with Shell(greenrun) as running:
        yield running


def script(greenrun: Greenrun, name: str, text: str) -> str:
    """Write a Python script for the shell to run, and give the words that run it."""
    with open(os.path.join(greenrun.cwd, name), "w") as file:
        file.write(text)
    return f"{sys.executable} {name}"


@pytest.mark.parametrize("options", ["", "--epochs auto "])
def test_interrupt_arrives_once(greenrun: Greenrun, shell: Shell, options: str) -> None:
    """Ctrl-C reaches the command once, not twice."""
    shell.bash.sendline(f"{ENTRY} {options}{script(greenrun, 'count.py', COUNT_INTERRUPTS)}")
    shell.bash.expect_exact("counting\r\n")
    shell.bash.sendcontrol("c")
    shell.bash.expect(r"interrupts: (\d+)")
    assert shell.bash.match.group(1) == "1"
    shell.bash.expect_exact("greenrun: the command ran for")
    shell.sync()
    assert shell.status == 0


@pytest.mark.parametrize("options", ["", "--epochs auto "])
def test_interrupted(shell: Shell, options: str) -> None:
    """A command that dies of Ctrl-C takes greenrun with it, and the shell sees 130."""
    shell.bash.sendline(f"{ENTRY} {options}sh -c 'echo began; exec sleep 30'")
    shell.bash.expect_exact("\nbegan")
    shell.bash.sendcontrol("c")
    shell.bash.expect_exact("SIGINT")
    shell.sync()
    assert shell.status == 130


@pytest.mark.parametrize("options", ["", "--epochs auto "])
def test_stop_and_continue(shell: Shell, options: str) -> None:
    """Ctrl-Z stops the job for the shell, fg continues it, twice; the end is the command's."""
    shell.bash.sendline(f"{ENTRY} {options}sh -c 'echo began; read x; echo got $x; exit 3'")
    shell.bash.expect_exact("\nbegan")
    for _ in range(2):
        time.sleep(0.3)  # before fg has done its work the terminal's signal would go to the wrong group
        shell.bash.sendcontrol("z")
        shell.bash.expect("Stopped")
        shell.bash.sendline("jobs")
        shell.bash.expect(r"\[1\]\+ +Stopped")
        shell.sync()
        shell.bash.sendline("fg")
        shell.bash.expect("greenrun")
    shell.bash.sendline("word")
    shell.bash.expect_exact("got word")
    shell.bash.expect("exited with 3")
    shell.sync()
    assert shell.status == 3


def test_background_and_terminal_input(shell: Shell) -> None:
    """A job in the background that reads the terminal stops, as it would without greenrun, and goes on with fg."""
    shell.bash.sendline(f"{ENTRY} sh -c 'read x; echo got $x' &")
    shell.bash.expect(r"\[1\] \d+")
    shell.bash.sendline("sleep 1; jobs")
    shell.bash.expect(r"\[1\]\+ +Stopped")
    shell.sync()
    shell.bash.sendline("fg")
    shell.bash.expect("greenrun")
    shell.bash.sendline("late")
    shell.bash.expect_exact("got late")
    shell.sync()


@pytest.mark.parametrize("options", ["", "--epochs auto "])
def test_interactive_interpreter(shell: Shell, options: str) -> None:
    """`python -i` sees its terminal and edits its line."""
    # The new interactive shell of Python 3.13 loses the exit status of SystemExit, under greenrun or not.
    shell.bash.sendline(f"PYTHON_BASIC_REPL=1 {ENTRY} {options}{sys.executable} -q -i")
    shell.bash.expect_exact(">>> ")
    shell.bash.sendline("import os, sys; print(sys.stdin.isatty(), sys.stdout.isatty(), os.get_terminal_size())")
    shell.bash.expect_exact("True True os.terminal_size(columns=80, lines=24)")
    shell.bash.sendline("raise SystemExit(4)")
    shell.bash.expect_exact("exited with 4")
    shell.sync()
    assert shell.status == 4


@pytest.mark.parametrize("options", ["", "--epochs auto "])
def test_raw_mode(greenrun: Greenrun, shell: Shell, options: str) -> None:
    """A program in raw mode gets every key, Ctrl-C and Ctrl-Z too, and leaves the terminal as it was."""
    raw = (
        "import sys, tty, termios\n"
        "before = termios.tcgetattr(0)\n"
        "tty.setraw(0)\n"
        "sys.stdout.write('raw\\r\\n'); sys.stdout.flush()\n"
        "keys = sys.stdin.buffer.raw.read(1) + sys.stdin.buffer.raw.read(1) + sys.stdin.buffer.raw.read(1)\n"
        "termios.tcsetattr(0, termios.TCSADRAIN, before)\n"
        "print('keys', list(keys), flush=True)\n"
    )
    shell.bash.sendline("stty -a > before")
    shell.sync()
    shell.bash.sendline(f"{ENTRY} {options}{script(greenrun, 'raw.py', raw)}")
    shell.bash.expect_exact("raw\r\n")
    for key in ("\x03", "\x1a", "q"):
        shell.bash.send(key)
    shell.bash.expect_exact("keys [3, 26, 113]")
    shell.sync()
    shell.bash.sendline("stty -a > after; cmp before after && echo same")
    shell.bash.expect(r"\nsame")


@pytest.mark.parametrize("options", ["", "--epochs auto "])
def test_background_run_writes_its_summary(shell: Shell, options: str) -> None:
    """A run in the background ends by itself, also where background output stops a job (stty tostop)."""
    shell.bash.sendline(f"{ENTRY} {options}sh -c 'sleep 0.3; exit 2' & wait $!; echo waited $?")
    shell.bash.expect_exact("waited 2")
    assert re.search("exited with 2", str(shell.bash.before))
