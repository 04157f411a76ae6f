"""Epochs through the whole of greenrun: found in the output or told by the job, predicted, and in the record."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from machine.command import ENTRY, Greenrun
from machine.privilege import unprivileged

pytestmark = pytest.mark.usefixtures("no_leftovers")

RecordReader = Callable[[], dict[str, Any]]
RunDirs = Callable[[], list[str]]

# Prints some epochs, each when it is over, to the descriptor that it is told.
JOB = """
import os, sys, time
count, planned, descriptor, end = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
for k in range(1, count + 1):
    time.sleep(0.3)
    os.write(descriptor, f"Epoch {k}/{planned} loss={1 / k:.3f}{end}".encode())
"""


def job(count: int, planned: int, descriptor: int = 1, end: str = "\n") -> list[str]:
    """Give a command that runs `count` of `planned` epochs of 0.3 s."""
    return [sys.executable, "-S", "-c", JOB, str(count), str(planned), str(descriptor), end]


def printed(count: int, planned: int, end: str = "\n") -> str:
    """Give what `job` prints."""
    return "".join(f"Epoch {k}/{planned} loss={1 / k:.3f}{end}" for k in range(1, count + 1))


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until something holds; fail if it never does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def predictions_told(text: str) -> int:
    """Count the lines that predict the whole job."""
    return text.count("the whole job is predicted to take")


def followers(greenrun: Greenrun, path: Path) -> int:
    """Count the daemons that follow a file."""
    daemons = [pid for pid, name in greenrun.processes().items() if name == "greenrun-daemon"]
    return sum(any(is_same(link, path) for link in Path(f"/proc/{pid}/fd").iterdir()) for pid in daemons)


def is_same(descriptor: Path, path: Path) -> bool:
    """Whether another process has a file open by this descriptor, which it may close while we look."""
    try:
        return descriptor.samefile(path)
    except FileNotFoundError:
        return False


def told_after(text: str) -> list[int]:
    """Give the epochs after which the whole job was predicted."""
    return [int(found) for found in re.findall(r"after epoch (\d+) of \d+, the whole", text)]


def check(record: dict[str, Any], *, epochs: int, planned: int, marker: str = "output") -> None:
    """Check that the epochs follow one another and fill the run, and that the predictions are measured by its end."""
    found = record["epochs"]
    assert [epoch["n"] for epoch in found] == list(range(1, epochs + 1))
    assert {epoch["marker"] for epoch in found} == {marker}
    ends = [epoch["from"] + epoch["duration_seconds"] for epoch in found]
    assert [epoch["from"] for epoch in found[1:]] == pytest.approx(ends[:-1], abs=1e-6)
    assert min(epoch["from"] for epoch in found) >= 0
    assert ends[-1] <= record["duration_seconds"] + 1e-6
    assert sum(epoch["duration_seconds"] for epoch in found) > 0.6 * record["duration_seconds"]
    assert all(epoch["energy_joules"] > 0 for epoch in found)
    assert sum(epoch["energy_joules"] for epoch in found) <= record["energy_joules"]["total"] * 1.000001
    made = record["prediction"]["made"]
    assert [prediction["after_epoch"] for prediction in made] == list(range(1, epochs))
    assert {prediction["epochs"] for prediction in made} == {planned}
    actual = record["prediction"]["actual"]
    assert actual["duration_seconds"] == record["duration_seconds"]
    assert actual["energy_joules"] == record["energy_joules"]["total"]
    assert actual["co2e_grams"] == record["co2e_grams"]
    for key, error in record["prediction"]["error_percent"].items():
        told = made[0][key]
        assert told["low"] < told["value"] < told["high"]
        assert error == pytest.approx(100 * (told["value"] / actual[key] - 1))


def how_it_ended(run_dirs: RunDirs) -> tuple[int | None, str]:
    """Give the exit code in the run log, and who knew it: `wait` is the command's parent."""
    events = [json.loads(line) for line in Path(run_dirs()[0], "run.jsonl").read_text().splitlines()]
    (exited,) = (event for event in events if event["event"] == "exited")
    return exited["exit_code"], exited["how"]


@pytest.mark.parametrize("number", ["3", "auto"])
def test_pipe(greenrun: Greenrun, record: RecordReader, number: str) -> None:
    """Through a pipe: the output is exact, predictions stand on stderr before the summary, the record has it all."""
    result = greenrun("--epochs", number, *job(3, 3))
    assert (result.returncode, result.stdout) == (0, printed(3, 3))
    assert told_after(result.stderr) == [1, 2]
    assert result.stderr.index("after epoch 1 of 3, the whole job") < result.stderr.index("the command ran for")
    check(record(), epochs=3, planned=3)


def test_told_ever_more_seldom(greenrun: Greenrun, record: RecordReader) -> None:
    """Where no line can be rewritten the prediction is told after 1, 2, 4, 8 ... epochs; the log has all of them."""
    script = 'for k in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; echo "Epoch $k/10 loss=1"; done'
    result = greenrun("--epochs", "auto", "sh", "-c", script)
    assert told_after(result.stderr) == [1, 2, 4, 8]
    assert [made["after_epoch"] for made in record()["prediction"]["made"]] == list(range(1, 10))


def test_number_that_nobody_tells(greenrun: Greenrun, record: RecordReader) -> None:
    """Epochs without a total are counted, and the summary says what a prediction would need."""
    script = 'for k in 1 2 3; do sleep 0.1; echo "Epoch $k loss=1"; done'
    result = greenrun("--epochs", "auto", "sh", "-c", script)
    assert predictions_told(result.stderr) == 0
    assert [epoch["n"] for epoch in record()["epochs"]] == [1, 2, 3]
    (warned,) = record()["warnings"]
    assert (warned["code"], "--epochs N" in warned["message"]) == ("epochs", True)


def test_total_that_some_lines_tell(greenrun: Greenrun, record: RecordReader) -> None:
    """The total of an earlier line holds for those that have none."""
    script = 'echo "Epoch 1/3"; for k in 2 3; do sleep 0.1; echo "Epoch $k"; done; sleep 0.1'
    assert told_after(greenrun("--epochs", "auto", "sh", "-c", script).stderr) == [1, 2]
    assert {made["epochs"] for made in record()["prediction"]["made"]} == {3}


def test_resumed_job(greenrun: Greenrun, record: RecordReader) -> None:
    """A job that goes on from its seventh epoch is predicted without the six that it does not do."""
    script = 'for k in 7 8 9 10; do echo "Epoch $k/10"; sleep 0.3; done; echo "Epoch 10/10 loss=1"'
    assert told_after(greenrun("--epochs", "auto", "sh", "-c", script).stderr) == [7, 8]
    first = record()["prediction"]["made"][0]
    assert first["epochs"] == 10
    assert first["duration_seconds"]["value"] == pytest.approx(record()["duration_seconds"], rel=0.3)


def test_pattern_of_ones_own(greenrun: Greenrun, record: RecordReader) -> None:
    """What no format knows is found by the user's own expression, in the sense that the user gives it."""
    script = 'for k in 1 2 3; do echo "it[$k|3]"; sleep 0.2; done'
    greenrun("--epochs", "3", "--epoch-pattern", r"it\[(\d+)", "--epoch-marks", "start", "sh", "-c", script)
    assert [epoch["n"] for epoch in record()["epochs"]] == [1, 2, 3]
    last = record()["epochs"][-1]  # that began with its line
    assert last["from"] + last["duration_seconds"] == pytest.approx(record()["duration_seconds"])


@pytest.mark.parametrize("place", ["pipe", "file"])
def test_pattern_without_end(greenrun: Greenrun, record: RecordReader, tmp_path: Path, place: str) -> None:
    """A pattern that would take for ever is broken off; neither the job nor its output waits for it."""
    script = "import sys, time; print('a' * 4000 + '!' , flush=True); time.sleep(3); print('end')"
    options = ["--epochs", "3", "--epoch-pattern", r"(a+)+b(\d+)", sys.executable, "-S", "-c", script]
    with (tmp_path / "out").open("w") as file:
        result = greenrun(*options, stdout=file if place == "file" else -1, stderr=-1)
    output = (tmp_path / "out").read_text() if place == "file" else result.stdout
    assert output == "a" * 4000 + "!\nend\n"
    assert record()["duration_seconds"] < 10
    (warned,) = record()["warnings"]
    assert re.match(r"4\d\d\d bytes of output came faster than they could be searched", warned["message"])


def test_pattern_that_does_not_reach(greenrun: Greenrun, record: RecordReader) -> None:
    """Whoever tells a pattern and not --epochs is told what is missing where a relay would be needed."""
    greenrun("--epoch-pattern", r"it (\d+)", "echo", "it 1")
    (warned,) = record()["warnings"]
    assert warned["code"] == "unwatched"
    assert "stdout went to a pipe, stderr went to a pipe" in warned["message"]
    assert "--epochs auto" in warned["message"]


def test_one_pipe_for_both(greenrun: Greenrun, record: RecordReader) -> None:
    """Where stdout and stderr are one pipe the prediction stands behind the first epoch's line, not within another."""
    result = greenrun("--epochs", "2", *job(2, 2), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = result.stdout.splitlines()
    assert lines[0] == "Epoch 1/2 loss=1.000"
    assert lines[1].startswith("greenrun: after epoch 1 of 2")
    assert lines[2] == "Epoch 2/2 loss=0.500"
    check(record(), epochs=2, planned=2)


@pytest.mark.parametrize("options", [["--epochs", "2"], ["--epochs", "auto"], []], ids=" ".join)
def test_file(greenrun: Greenrun, record: RecordReader, options: list[str]) -> None:
    """A regular file is followed unasked, from where this job's output begins; the file itself stays the command's."""
    path = Path(greenrun.cwd, "log")
    path.write_text("Epoch 7/9 loss=1 of an earlier job\n")
    tell_inode = "import os, sys; os.write(2, b'%d\\n' % os.fstat(1).st_ino); os.execv(sys.argv[1], sys.argv[1:])"
    with path.open("a") as file:
        command = [sys.executable, "-S", "-c", tell_inode, *job(2, 2)]
        result = greenrun(*options, *command, stdout=file, stderr=subprocess.PIPE)
    assert path.read_text().splitlines()[1:] == printed(2, 2).splitlines()
    assert result.stderr.splitlines()[0] == str(path.stat().st_ino)
    assert predictions_told(result.stderr) == 1
    check(record(), epochs=2, planned=2)


@pytest.mark.parametrize("options", [["--epochs", "2"], []], ids=" ".join)
def test_two_runs_in_one_file(greenrun: Greenrun, run_dirs: RunDirs, options: list[str]) -> None:
    """Where two runs print into one file nobody can tell whose epochs they are: neither has any, and says so."""
    path, both_are_up = Path(greenrun.cwd, "log"), Path(greenrun.cwd, "go")
    waiting = ["sh", "-c", 'while [ ! -e go ]; do sleep 0.05; done; exec "$@"', "sh"]
    with path.open("a") as file:
        runs = [greenrun.start(*options, *waiting, *job(2, 2), stdout=file, stderr=subprocess.PIPE) for _ in range(2)]
        wait_for(lambda: followers(greenrun, path) == 2)
        both_are_up.touch()
        assert [predictions_told(run.communicate(timeout=30)[1].decode()) for run in runs] == [0, 0]
    assert sorted(path.read_text().splitlines()) == sorted(2 * printed(2, 2).splitlines())
    for run_dir in run_dirs():
        record = json.loads(Path(run_dir, "summary.json").read_text())
        assert record["epochs"] == []
        assert [(warned["code"], str(path) in warned["message"]) for warned in record["warnings"]] == [("output", True)]


def test_run_inside_a_run(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """A greenrun inside a greenrun prints into the same file, and what it prints is the outer one's too."""
    path = Path(greenrun.cwd, "log")
    with path.open("w") as file:
        greenrun(ENTRY, *job(3, 3), stdout=file, stderr=subprocess.DEVNULL)
    assert len(run_dirs()) == 2
    for run_dir in run_dirs():
        record = json.loads(Path(run_dir, "summary.json").read_text())
        assert [epoch["n"] for epoch in record["epochs"]] == [1, 2, 3]
        assert record["warnings"] == []


@pytest.mark.parametrize(("options", "warnings"), [(["--epochs", "2"], 1), ([], 0)], ids=["asked", "unasked"])
def test_file_that_cannot_be_read(greenrun: Greenrun, record: RecordReader, options: list[str], warnings: int) -> None:
    """A file that may be written and not read is told if epochs were asked for, and the job is none the worse."""
    path = Path(greenrun.cwd, "log")
    with path.open("w") as file:
        path.chmod(0o200)
        command = unprivileged([ENTRY, *options, *job(2, 2)])
        subprocess.run(command, env=greenrun.environment(), cwd=greenrun.cwd, stdout=file, stderr=-3, check=True)
    path.chmod(0o600)
    assert path.read_text() == printed(2, 2)
    found = [(warned["code"], "Permission denied" in warned["message"]) for warned in record()["warnings"]]
    assert found == [("output", True)] * warnings


def test_file_without_epochs(greenrun: Greenrun, record: RecordReader) -> None:
    """Whatever goes into a file, however fast: nothing is said of epochs that nobody has asked for."""
    with Path(greenrun.cwd, "log").open("w") as file:
        greenrun("sh", "-c", "head -c 50000000 /dev/urandom; sleep 0.5", stdout=file, stderr=subprocess.STDOUT)
    assert (record()["epochs"], record()["warnings"]) == ([], [])


def test_greenrun_killed(greenrun: Greenrun, record: RecordReader) -> None:
    """SIGKILL of greenrun while a file is followed: the daemon goes on to find the epochs, and sleeps in between."""
    path = Path(greenrun.cwd, "log")
    with path.open("w") as file:
        process = greenrun.start("--epochs", "5", *job(5, 5), stdout=file, stderr=subprocess.DEVNULL)
    wait_for(lambda: "Epoch 1" in path.read_text())
    (daemon,) = (pid for pid, name in greenrun.processes().items() if name == "greenrun-daemon")
    process.kill()
    process.wait()
    wait_for(lambda: "Epoch 4" in path.read_text())
    fields = Path(f"/proc/{daemon}/stat").read_text().rpartition(")")[2].split()
    assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < 0.5  # of about 1.3 s that it has lived
    wait_for(lambda: daemon not in greenrun.processes())
    check(record(), epochs=5, planned=5)


@pytest.mark.parametrize("descriptor", [1, 2])
def test_file_and_pipe(greenrun: Greenrun, record: RecordReader, descriptor: int) -> None:
    """Stdout a file and stderr a pipe: epochs on either are found, and each byte goes where it belongs."""
    path = Path(greenrun.cwd, "log")
    with path.open("w") as file:
        result = greenrun("--epochs", "2", *job(2, 2, descriptor), stdout=file, stderr=subprocess.PIPE)
    assert path.read_text() == (printed(2, 2) if descriptor == 1 else "")
    assert (printed(2, 2).splitlines()[1] in result.stderr) == (descriptor == 2)
    assert predictions_told(result.stderr) == 1
    check(record(), epochs=2, planned=2)


def on_terminal(greenrun: Greenrun, *arguments: str) -> str:
    """Run greenrun on a terminal and give what it shows."""
    screen = pexpect.spawn(
        ENTRY,
        list(arguments),
        env=greenrun.environment({"TERM": "xterm", "NO_COLOR": "1"}),
        cwd=greenrun.cwd,
        encoding="utf-8",
        timeout=20,
    )
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
    return str(screen.before)


def without_notes(shown: str) -> str:
    """Take from what a terminal was sent all that was erased again, and the summary."""
    return re.sub(r"greenrun: after epoch[^\x1b]*?(?:\x1b\[\d+A)?\r(?!\n)\r\x1b\[J", "", shown).partition("greenrun: ")[
        0
    ]


@pytest.mark.parametrize("number", ["5", "auto"])
def test_terminal(greenrun: Greenrun, record: RecordReader, run_dirs: RunDirs, number: str) -> None:
    """On a terminal each prediction stands below the output, in the place of the one before, and harms none of it."""
    shown = on_terminal(greenrun, "--epochs", number, *job(5, 5))
    assert without_notes(shown) == printed(5, 5, "\r\n")
    assert told_after(" ".join(shown.split())) == [1, 2, 3, 4]
    assert how_it_ended(run_dirs) == (0, "wait")
    check(record(), epochs=5, planned=5)


def test_terminal_and_a_silent_job(greenrun: Greenrun) -> None:
    """Predictions follow one another in one place; at the end the line is gone."""
    script = 'for k in 1 2 3 4; do sleep 0.3; echo "epoch $k 4" >> "$GREENRUN_MARKS"; done'
    shown = on_terminal(greenrun, "--epochs", "auto", "sh", "-c", f"echo up; {script}")
    assert without_notes(shown) == "up\r\n"
    assert told_after(" ".join(shown.split())) == [1, 2, 3]


def test_terminal_without_a_relay(greenrun: Greenrun) -> None:
    """Where nobody knows what the command prints, predictions are told on lines of their own, ever more seldom."""
    script = 'for k in 1 2 3 4 5; do sleep 0.2; printf half; echo "epoch $k 5" >> "$GREENRUN_MARKS"; done'
    shown = on_terminal(greenrun, "sh", "-c", script)
    assert told_after(shown) == [1, 2, 4]
    assert shown.count("\r\ngreenrun: after epoch") == 3
    assert "\x1b" not in shown


def test_dumb_terminal(greenrun: Greenrun) -> None:
    """A terminal that knows no control sequences is sent none."""
    screen = pexpect.spawn(
        ENTRY,
        ["--epochs", "auto", *job(5, 5)],
        env=greenrun.environment({"TERM": "dumb"}),
        cwd=greenrun.cwd,
        encoding="utf-8",
        timeout=20,
    )
    screen.expect(pexpect.EOF)
    assert told_after(screen.before) == [1, 2, 4]
    assert "\x1b" not in screen.before


def test_raw_terminal(greenrun: Greenrun, record: RecordReader) -> None:
    """While the terminal is raw the prediction begins and ends its line with a carriage return of its own."""
    raw = f"import tty; tty.setraw(0)\n{JOB}"
    shown = on_terminal(greenrun, "--epochs", "2", sys.executable, "-S", "-c", raw, "2", "2", "1", "\r\n")
    assert predictions_told(shown) == 1
    assert "\r\ngreenrun: after epoch 1 of 2" in shown
    assert "\n" not in shown.replace("\r\n", "")
    check(record(), epochs=2, planned=2)


def test_command_that_reads_keys(greenrun: Greenrun) -> None:
    """A command that reads single keys has the screen to itself: predictions have lines of their own, and stay."""
    keys = f"import tty; tty.setcbreak(0)\n{JOB}"
    shown = on_terminal(greenrun, "--epochs", "5", sys.executable, "-S", "-c", keys, "5", "5", "1", "\n")
    assert told_after(" ".join(shown.split())) == [1, 2, 4]
    assert "\x1b" not in shown


def test_progress_bar(greenrun: Greenrun, record: RecordReader) -> None:
    """Lines that a carriage return overwrites are found too."""
    result = greenrun("--epochs", "2", *job(2, 2, 2, "\r"))
    assert predictions_told(result.stderr) == 1
    check(record(), epochs=2, planned=2)


PYTHON_MARKS = "import greenrun, time\nfor k in (1, 2): time.sleep(0.3); greenrun.epoch(k, of=2)"
SHELL_MARKS = "for k in 1 2; do sleep 0.3; {}; done"


@pytest.mark.parametrize("options", [["--epochs", "2"], []])
@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-c", PYTHON_MARKS],
        ["sh", "-c", SHELL_MARKS.format(f"{shlex.quote(ENTRY)} mark epoch $k --of 2")],
        ["sh", "-c", SHELL_MARKS.format('echo "epoch $k 2" >> "$GREENRUN_MARKS"')],
    ],
    ids=["python", "verb", "echo"],
)
def test_marks(greenrun: Greenrun, record: RecordReader, command: list[str], options: list[str]) -> None:
    """Epochs that the job tells itself need no watching: told with their number, they are predicted without it."""
    result = greenrun(*options, *command)
    assert (result.returncode, result.stdout) == (0, "")
    assert predictions_told(result.stderr) == 1
    check(record(), epochs=2, planned=2, marker="marks")


def test_marks_and_output(greenrun: Greenrun, record: RecordReader) -> None:
    """A job that tells its epochs and prints them too has each of them once."""
    script = 'for k in 1 2 3; do sleep 0.3; echo "Epoch $k/3 loss=1"; echo "epoch $k 3" >> "$GREENRUN_MARKS"; done'
    result = greenrun("--epochs", "3", "sh", "-c", script)
    assert told_after(result.stderr) == [1, 2]
    check(record(), epochs=3, planned=3, marker="marks")


def test_marks_before_output(greenrun: Greenrun, record: RecordReader) -> None:
    """What a job prints counts no more once it has told an epoch itself: it may be of another kind."""
    marks = 'echo "epoch $k 3" >> "$GREENRUN_MARKS"'
    script = f'for k in 1 2 3; do sleep 0.3; {marks}; for j in 1 2 3; do echo "Epoch $j/3 loss=1"; done; done'
    greenrun("--epochs", "3", "sh", "-c", script)
    check(record(), epochs=3, planned=3, marker="marks")
    assert min(made["duration_seconds"]["value"] for made in record()["prediction"]["made"]) > 0.6


def test_metric(greenrun: Greenrun, record: RecordReader) -> None:
    """Metrics from Python, from the verb and from the shell are in the record, the last value of each."""
    script = (
        f"{shlex.quote(sys.executable)} -c 'import greenrun; greenrun.metric(\"test accuracy\", 0.97)';"
        f"{shlex.quote(ENTRY)} mark metric loss 0.5; echo 'metric loss 0.25' >> \"$GREENRUN_MARKS\""
    )
    assert greenrun("sh", "-c", script).returncode == 0
    assert record()["metrics"] == {"test_accuracy": 0.97, "loss": 0.25}


def test_marks_outside(greenrun: Greenrun) -> None:
    """Where no greenrun runs a marker does nothing, in silence, also where the run that it names is over."""
    for marks in (None, os.path.join(greenrun.cwd, "over", "marks")):
        for words in (["epoch", "3", "--of", "10"], ["metric", "loss", "0.5"]):
            result = greenrun("mark", *words, env={"GREENRUN_MARKS": marks})
            assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert os.listdir(greenrun.cwd) == []


def test_ended_in_its_last_epoch(greenrun: Greenrun, record: RecordReader) -> None:
    """An epoch that only began is none where the job failed: it stopped early."""
    script = 'for k in 1 2 3; do echo "Epoch $k/3"; sleep 0.3; done; kill -TERM $$'
    result = greenrun("--epochs", "auto", "sh", "-c", script)
    assert [epoch["n"] for epoch in record()["epochs"]] == [1, 2]
    assert record()["prediction"]["stopped_early"] is True
    assert "it ended before, so that this was an upper bound" in " ".join(result.stderr.split())


def test_fewer_epochs_than_planned(greenrun: Greenrun, record: RecordReader) -> None:
    """A job that stops early was predicted to cost more, and the record says that it stopped."""
    result = greenrun("--epochs", "10", *job(3, 10))
    assert result.returncode == 0
    assert [epoch["n"] for epoch in record()["epochs"]] == [1, 2, 3]
    assert [made["after_epoch"] for made in record()["prediction"]["made"]] == [1, 2, 3]
    assert record()["prediction"]["stopped_early"] is True
    assert "after epoch 1 of 10" in result.stderr


@pytest.mark.parametrize(("number", "warnings"), [("10", ["epochs"]), ("auto", [])])
def test_no_epochs_at_all(greenrun: Greenrun, record: RecordReader, number: str, warnings: list[str]) -> None:
    """A job without epochs is none the worse for being watched; only who told their number is told of it."""
    result = greenrun("--epochs", number, "echo", "nothing to see")
    assert (result.returncode, result.stdout) == (0, "nothing to see\n")
    assert (record()["epochs"], record()["prediction"]) == ([], None)
    assert [warned["code"] for warned in record()["warnings"]] == warnings


def test_quiet(greenrun: Greenrun, record: RecordReader) -> None:
    """With --quiet the prediction is in the record alone."""
    assert greenrun("--quiet", "--epochs", "2", *job(2, 2)).stderr == ""
    check(record(), epochs=2, planned=2)


def test_nothing_in_between(greenrun: Greenrun) -> None:
    """Without --epochs the command has the very pipes that greenrun has."""
    script = "import json, os; print(json.dumps([os.fstat(n).st_ino for n in (0, 1, 2)]))"
    readers, writers = zip(*(os.pipe() for _ in range(2)), strict=True)
    try:
        greenrun(sys.executable, "-c", script, stdin=readers[0], stdout=writers[0], stderr=writers[1])
        assert json.loads(os.read(readers[0], 4096)) == [os.fstat(n).st_ino for n in (readers[0], *writers)]
    finally:
        for descriptor in (*readers, *writers):
            os.close(descriptor)


# More than the pipe to its reader holds, and less than that and the relay's own.
FULL_PIPE = "seq 1 20000; echo Epoch 1/2 loss=1; echo end >&2; exit 3"


def test_last_epoch_behind_much_output(greenrun: Greenrun, record: RecordReader) -> None:
    """An epoch that has not been read yet when the command ends counts too, if the reader comes soon."""
    process = greenrun.start("--epochs", "2", "sh", "-c", FULL_PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr.readline() == b"end\n"
    time.sleep(0.1)
    process.communicate(timeout=30)
    assert [epoch["n"] for epoch in record()["epochs"]] == [1]


def test_reader_that_comes_late(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """How the command ended is known at once, however long its last output waits for a reader."""
    process = greenrun.start("--epochs", "2", "sh", "-c", FULL_PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: run_dirs() and os.path.exists(os.path.join(run_dirs()[0], "summary.json")))
    output, told = process.communicate(timeout=30)
    assert (process.returncode, output.split(b"\n")[-2]) == (3, b"Epoch 1/2 loss=1")
    assert b"exited with 3" in told
    assert how_it_ended(run_dirs) == (3, "wait")


def test_inherited_descriptors(greenrun: Greenrun) -> None:
    """A watched command has every descriptor that it was given: substituted processes, make's jobserver."""
    Path(greenrun.cwd, "Makefile").write_text(
        "all: a b\na b:\n\t@sleep 0.2; echo $@\nouter:\n\t+@$(WATCH) make -s all\n"
    )
    watch = f"{shlex.quote(ENTRY)} --quiet --epochs 2"
    script = f"{watch} cat <(echo hi); {watch} make -s -j2; make -s -j2 outer WATCH={shlex.quote(watch)}"
    done = subprocess.run(
        ["bash", "-c", script], env=greenrun.environment(), cwd=greenrun.cwd, capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.split()) == ["a", "a", "b", "b", "hi"]
    assert done.stderr == ""


def test_exact_bytes(greenrun: Greenrun, record: RecordReader) -> None:
    """Two hundred megabytes of any bytes pass unchanged, far beyond the budget; what was not searched is counted."""
    script = (
        "import os, random\n"
        "block = random.Random(7).randbytes(1 << 20)\n"
        "for i in range(200):\n"
        "    piece = block[i:] + b'Epoch %d loss' % i\n"
        "    while piece: piece = piece[os.write(1, piece):]\n"
    )

    def digest(command: list[str], environment: dict[str, str] | None = None) -> str:
        with subprocess.Popen(command, env=environment, cwd=greenrun.cwd, stdout=-1, stderr=-3) as process:
            assert process.stdout is not None
            found = hashlib.sha256()
            while piece := process.stdout.read(1 << 20):
                found.update(piece)
        assert process.returncode == 0
        return found.hexdigest()

    job = [sys.executable, "-c", script]
    assert digest([ENTRY, "--epochs", "300", *job], greenrun.environment()) == digest(job)
    skipped = [warned["message"] for warned in record()["warnings"] if warned["code"] == "output"]
    assert all(0 < int(message.split()[0]) < 200 << 20 for message in skipped)
