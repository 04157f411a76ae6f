"""`greenrun status` beside real runs: found by their samplers, read while they grow, watched on a real terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun
from machine.shell import Shell
from unit.data.logs import device, sample, start

from greenrun.cli import procstat, status

# A job that tells its epochs, and then goes on until a file appears.
EPOCHS = """
import os, sys, time
time.sleep(0.3)
for k in (1, 2):
    time.sleep(0.3)
    with open(os.environ["GREENRUN_MARKS"], "a") as marks:
        marks.write(f"epoch {k} 4\\n")
while not os.path.exists("over"):
    time.sleep(0.05)
"""

Running = Callable[..., "subprocess.Popen[Any]"]


@pytest.fixture
def running(greenrun: Greenrun) -> Iterator[Running]:
    """Start commands under greenrun that last until the test is over."""
    started: list[subprocess.Popen[Any]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[Any]:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(greenrun.start(*arguments, **(quiet | options)))
        return started[-1]

    yield start
    with open(os.path.join(greenrun.cwd, "over"), "w"):
        pass
    for process in started:
        if "--watch" in process.args:
            process.kill()  # it has been ended already, unless the test has failed
        process.wait(timeout=30)


def own(greenrun: Greenrun) -> list[dict[str, Any]]:
    """Give the runs of this test, of all that there are on the machine."""
    told = greenrun("status", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    samplers = greenrun.processes()
    return [run for run in json.loads(told.stdout)["runs"] if run["sampler_pid"] in samplers]


def until(greenrun: Greenrun, count: int, known: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Wait until there are so many runs of which this is known."""
    deadline = time.monotonic() + 30.0
    while len(runs := own(greenrun)) != count or not all(map(known, runs)):
        assert time.monotonic() < deadline, runs
        time.sleep(0.1)
    return runs


def waiting(*more: str) -> list[str]:
    """Give a command that lasts until the test is over."""
    return [*more, "sh", "-c", "while ! test -e over; do sleep 0.1; done"]


def test_the_runs_of_this_host(greenrun: Greenrun, running: Running, run_dirs: Callable[[], list[str]]) -> None:
    """Each once, the oldest first, with what it draws, has used, and how far it is; none when they are over."""
    running("--name", "first", sys.executable, "-c", EPOCHS)
    until(greenrun, 1, lambda run: run.get("epochs_done") == 2)
    running(*waiting("--name", "second"))
    first, second = until(greenrun, 2, lambda run: run.get("power_watts") is not None)
    assert (first["name"], second["name"]) == ("first", "second")
    assert [first["run_dir"], second["run_dir"]] == run_dirs()
    assert (first["epochs_done"], first["epochs_planned"], second["epochs_done"]) == (2, 4, None)
    assert first["energy_joules"] > 0.0
    assert first["elapsed_seconds"] > 0.9
    assert first["left_seconds"]["low"] <= first["left_seconds"]["value"] <= first["left_seconds"]["high"]
    with open(os.path.join(greenrun.cwd, "over"), "w"):
        pass
    until(greenrun, 0, lambda run: False)


def test_the_energy_is_that_of_the_summary(greenrun: Greenrun, running: Running, record: Any) -> None:
    """What it has used so far is a part of what it comes to, and not much less."""
    process = running("--interval", "0.1", *waiting("--name", "x"))
    (told,) = until(greenrun, 1, lambda run: (run.get("elapsed_seconds") or 0.0) > 2.0)
    with open(os.path.join(greenrun.cwd, "over"), "w"):
        pass
    process.wait(timeout=30)
    whole = record()
    seconds = told["elapsed_seconds"] - told["reading_age_seconds"]
    assert 0.0 < told["energy_joules"] < whole["energy_joules"]["total"]
    mean_watts = whole["energy_joules"]["total"] / whole["duration_seconds"]
    assert told["energy_joules"] / seconds == pytest.approx(mean_watts, rel=0.5)


def test_the_table_and_its_directory(greenrun: Greenrun, running: Running, run_dirs: Callable[[], list[str]]) -> None:
    """For people: in 80 columns but for the path, which is there to be copied."""
    running(*waiting("--name", "caf\u00e9"))
    until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    told = greenrun("status", env={"LC_ALL": "C.UTF-8"})
    (run_dir,) = run_dirs()
    assert f"    {run_dir}\n" in told.stdout
    assert "  caf\u00e9" in told.stdout
    assert max(len(line) for line in told.stdout.splitlines() if not line.startswith("    /")) <= 80
    ascii_told = greenrun("status", env={"LC_ALL": "C"}).stdout
    assert ascii_told.isascii()
    assert "caf\\xe9" in ascii_told


def test_a_block_is_listed(greenrun: Greenrun, running: Running) -> None:
    """A sampler that was started by a library is one like the others."""
    script = f"import greenrun, os\nwith greenrun.measure(name='block'):\n{_indented(EPOCHS)}"
    path = os.path.join(greenrun.cwd, "block.py")
    with open(path, "w") as file:
        file.write(script)
    process = subprocess.Popen([sys.executable, path], cwd=greenrun.cwd, env=greenrun.environment())
    try:
        (told,) = until(greenrun, 1, lambda run: run.get("epochs_done") == 2)
        assert (told["kind"], told["name"]) == ("block", "block")
    finally:
        with open(os.path.join(greenrun.cwd, "over"), "w"):
            pass
        process.wait(timeout=30)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def test_a_dead_sampler_is_not_listed(greenrun: Greenrun, running: Running) -> None:
    """Killed with its greenrun, it leaves a log and no run."""
    process = running(*waiting())
    (told,) = until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    process.kill()
    os.kill(told["sampler_pid"], signal.SIGKILL)
    until(greenrun, 0, lambda run: False)


def test_a_sampler_that_nobody_has_buried_is_not_listed(greenrun: Greenrun, running: Running) -> None:
    """Its greenrun stands still: a process without life is still there."""
    process = running(*waiting())
    (told,) = until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    process.send_signal(signal.SIGSTOP)
    try:
        os.kill(told["sampler_pid"], signal.SIGKILL)
        until(greenrun, 0, lambda run: False)
        deadline = time.monotonic() + 30.0
        while procstat.fields(told["sampler_pid"])[procstat.STATE] != "Z":  # it may have to leave the disk first
            assert time.monotonic() < deadline
            time.sleep(0.02)
        runs = json.loads(greenrun("status", "--json").stdout)["runs"]
        assert told["sampler_pid"] not in [run["sampler_pid"] for run in runs]
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_stopped_sampler_has_old_figures(greenrun: Greenrun, running: Running) -> None:
    """It stands still: the age of its newest reading grows; last.json may have a newer one than the log."""
    running(*waiting())
    (told,) = until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    os.kill(told["sampler_pid"], signal.SIGSTOP)
    try:
        (old,) = until(greenrun, 1, lambda run: run["reading_age_seconds"] > 2.5)
        newer = sample(old["elapsed_seconds"], *[1e6] * 16)
        with open(os.path.join(told["run_dir"], "last.json"), "w") as file:
            json.dump(newer, file)
        (renewed,) = own(greenrun)
        assert renewed["reading_age_seconds"] < old["reading_age_seconds"]
        assert renewed["energy_joules"] > 9e5 > old["energy_joules"]
    finally:
        os.kill(told["sampler_pid"], signal.SIGCONT)


def test_a_run_without_a_log_is_listed_with_the_reason(greenrun: Greenrun, running: Running) -> None:
    """Its log directory cannot be written: it is measured, and nobody can see how far it is."""
    running("--log-dir", "/proc/nowhere", *waiting())
    (told,) = until(greenrun, 1, lambda run: run["reason"] is not None)
    assert "no run log open" in told["reason"]
    assert f"  sampler {told['sampler_pid']} of " in greenrun("status").stdout


@pytest.mark.parametrize("damage", [b"\x00\x01\n", b'{"event":"epoch","t":1,"n":"\xc3\xa9"}\n', b"[" * 100_000 + b"\n"])
def test_a_damaged_log_is_listed_with_the_reason(
    greenrun: Greenrun, running: Running, run_dirs: Callable[[], list[str]], damage: bytes
) -> None:
    """Somebody else wrote into it: one sentence, and the other runs as ever."""
    running(*waiting("--name", "damaged"))
    until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    (run_dir,) = run_dirs()
    with open(os.path.join(run_dir, "run.jsonl"), "ab") as file:
        file.write(damage)
    running(*waiting("--name", "fine"))
    until(greenrun, 2, lambda run: (run.get("power_watts") is None) == (run["reason"] is not None))
    broken, fine = own(greenrun)
    assert "its log is damaged" in broken["reason"]
    assert (fine["name"], fine["reason"]) == ("fine", None)


def test_a_log_that_was_removed_is_read_all_the_same(
    greenrun: Greenrun, running: Running, run_dirs: Callable[[], list[str]]
) -> None:
    """`make clean` in the job: the sampler still has it open."""
    running(*waiting("--name", "clean"))
    until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    os.unlink(os.path.join(run_dirs()[0], "run.jsonl"))
    (told,) = own(greenrun)
    assert (told["name"], told["reason"], told["run_dir"]) == ("clean", None, run_dirs()[0])


def test_nobody_sees_the_runs_of_others(greenrun: Greenrun, running: Running) -> None:
    """A user sees their own; root sees all."""
    if os.geteuid() != 0:  # who cannot be two users can still look at whose all these are
        assert {sampler.uid for sampler in status.samplers()} <= {os.geteuid()}
        return
    running(*waiting())
    until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    # In a process that was somebody else's from the start: the interpreter may lie where only root may look.
    other = 5_000_000 + os.getpid()  # a number that no other test runs anything as
    script = (
        "import os; from greenrun.cli import status; from greenrun.reports import statustext\n"
        "import greenrun.reports.live, greenrun.sampler.events, json, pwd\n"
        f"mine = len(status.Host().look()); os.setgid({other}); os.setuid({other})\n"
        "print(mine, len(status.Host().look()))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert told.stderr == ""
    root_sees, other_sees = map(int, told.stdout.split())
    assert root_sees >= 1
    assert other_sees == 0


FALSE = """
import os, sys, time
with open("/proc/self/comm", "w") as comm:
    comm.write("greenrun-daemon")
log = os.open("run.jsonl", os.O_RDWR | os.O_CREAT)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("what", ["fifo", "fifo beside", "empty", "endless", "controls"])
def test_a_process_that_calls_itself_a_sampler(greenrun: Greenrun, what: str) -> None:
    """Anybody can: nothing hangs, nothing of it commands the terminal."""
    path = os.path.join(greenrun.cwd, "run.jsonl")
    if what == "fifo":
        os.mkfifo(path)
    elif what == "endless":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    elif what in ("controls", "fifo beside"):
        if what == "fifo beside":
            os.mkfifo(os.path.join(greenrun.cwd, "last.json"))
        with open(path, "w") as file:
            file.write(json.dumps(start(device("cpu"), name="a\x1b[2J\u009b", user="eve")) + "\n")
    false = subprocess.Popen(
        [sys.executable, "-c", FALSE],
        cwd=greenrun.cwd,
        env=greenrun.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert false.stdout is not None
        assert false.stdout.readline() == b"ready\n"
        (told,) = own(greenrun)
        text = greenrun("status", env={"LC_ALL": "C.UTF-8"}).stdout
        assert not [letter for letter in text if not letter.isprintable() and letter != "\n"]
        assert ("a?[2J?" in text) == (what in ("controls", "fifo beside"))
        reasons = {"fifo": "is no file", "empty": "just beginning", "endless": "too large"}
        assert (what in reasons) == (told["reason"] is not None)
        assert reasons.get(what, "") in (told["reason"] or "")
    finally:
        false.kill()
        false.communicate()


# --- watching

NAME = f"w{uuid.uuid4().hex[:7]}"  # root sees the runs of other tests too


@pytest.fixture
def shell(greenrun: Greenrun) -> Iterator[Shell]:
    """Give an interactive shell."""
    with Shell(greenrun, {"LC_ALL": "C.UTF-8"}) as opened:
        yield opened


def test_watching_on_a_terminal(greenrun: Greenrun, running: Running, shell: Shell) -> None:
    """The figures change in place; Ctrl-C ends it at once with 130, and the cursor is there."""
    running("--interval", "0.2", *waiting("--name", NAME))
    until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    shell.bash.sendline(f"{ENTRY} status --watch")
    seen, drawn = set(), ""
    while len(seen) < 3:
        shell.bash.expect(NAME + r" [^\r\n]*")
        seen.add(str(shell.bash.match.group(0)))
        drawn += str(shell.bash.before) + str(shell.bash.after)
    assert drawn.rfind("\x1b[?25l") < drawn.rfind("\x1b[?25h")  # so that Ctrl-Z leaves one
    began = time.monotonic()
    shell.bash.sendintr()
    output = shell.sync()
    assert time.monotonic() - began < 5.0
    assert shell.status == 130
    assert "\x1b[?25l" not in output.rpartition("\x1b[?25h")[2]


def test_watching_into_a_file(greenrun: Greenrun, running: Running) -> None:
    """A line when figures have changed and none when they stand still; it ends by the signal that ended it."""
    running("--interval", "0.2", *waiting("--name", NAME))
    (told,) = until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    path = os.path.join(greenrun.cwd, "lines")

    def lines() -> list[str]:
        with open(path) as file:
            return [line for line in file if line.startswith(f"{NAME}: ")]

    with open(path, "w") as file:
        watch = running("status", "--watch", stdout=file)
    until(greenrun, 1, lambda _: len(lines()) >= 3)
    assert len(set(lines())) == len(lines())
    form = r": power [0-9.]+ [mk]?W\*?, energy [0-9.]+ [mk]?[JW]h?\*?, runs for "
    assert re.match(NAME + form, lines()[0]), lines()
    os.kill(told["sampler_pid"], signal.SIGSTOP)
    try:
        until(greenrun, 1, lambda run: run["reading_age_seconds"] > 2.5)
        before = len(lines())
        until(greenrun, 1, lambda run: run["reading_age_seconds"] > 7.0)
        assert len(lines()) <= before + 1  # a watch that had to wait for a processor may be behind by one
    finally:
        os.kill(told["sampler_pid"], signal.SIGCONT)
    watch.terminate()
    assert watch.wait(timeout=30) == -signal.SIGTERM


def test_watching_as_json_lines(greenrun: Greenrun, running: Running) -> None:
    """A document a line; it ends when nobody reads any more."""
    running(*waiting("--name", NAME))
    until(greenrun, 1, lambda run: run.get("power_watts") is not None)
    watch = running("status", "--watch", "--json", stdout=subprocess.PIPE, text=True)
    assert watch.stdout is not None
    for _ in range(2):
        assert NAME in [run.get("name") for run in json.loads(watch.stdout.readline())["runs"]]
    watch.stdout.close()
    assert watch.wait(timeout=30) == 0
