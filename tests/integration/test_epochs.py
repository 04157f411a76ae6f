"""Epochs through the whole of greenrun: found in the output or told by the job, predicted, and in the record."""

from __future__ import annotations

import hashlib
import json
import os
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
    assert [prediction["after_epoch"] for prediction in made] == list(range(1, epochs + 1))
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


def test_pipe(greenrun: Greenrun, record: RecordReader) -> None:
    """Through a pipe: the output is exact, the prediction stands on stderr once, the record has it all."""
    result = greenrun("--epochs", "3", *job(3, 3))
    assert (result.returncode, result.stdout) == (0, printed(3, 3))
    assert predictions_told(result.stderr) == 1
    assert result.stderr.index("after epoch 1 of 3, the whole job") < result.stderr.index("the command ran for")
    check(record(), epochs=3, planned=3)


def test_one_pipe_for_both(greenrun: Greenrun, record: RecordReader) -> None:
    """Where stdout and stderr are one pipe the prediction stands behind the first epoch's line, not within another."""
    result = greenrun("--epochs", "2", *job(2, 2), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = result.stdout.splitlines()
    assert lines[0] == "Epoch 1/2 loss=1.000"
    assert lines[1].startswith("greenrun: after epoch 1 of 2")
    assert lines[2] == "Epoch 2/2 loss=0.500"
    check(record(), epochs=2, planned=2)


def test_file(greenrun: Greenrun, record: RecordReader) -> None:
    """A regular file is followed from where this job's output begins; the file itself stays the command's."""
    path = Path(greenrun.cwd, "log")
    path.write_text("Epoch 7/9 loss=1 of an earlier job\n")
    tell_inode = "import os, sys; os.write(2, b'%d\\n' % os.fstat(1).st_ino); os.execv(sys.argv[1], sys.argv[1:])"
    with path.open("a") as file:
        command = [sys.executable, "-S", "-c", tell_inode, *job(2, 2)]
        result = greenrun("--epochs", "2", *command, stdout=file, stderr=subprocess.PIPE)
    assert path.read_text().splitlines()[1:] == printed(2, 2).splitlines()
    assert result.stderr.splitlines()[0] == str(path.stat().st_ino)
    assert predictions_told(result.stderr) == 1
    check(record(), epochs=2, planned=2)


def test_two_runs_in_one_file(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """Where two runs print into one file nobody can tell whose epochs they are: neither has any, and says so."""
    path = Path(greenrun.cwd, "log")
    with path.open("a") as file:
        runs = [greenrun.start("--epochs", "2", *job(2, 2), stdout=file, stderr=subprocess.PIPE) for _ in range(2)]
        assert [predictions_told(run.communicate(timeout=30)[1].decode()) for run in runs] == [0, 0]
    assert sorted(path.read_text().splitlines()) == sorted(2 * printed(2, 2).splitlines())
    for run_dir in run_dirs():
        record = json.loads(Path(run_dir, "summary.json").read_text())
        assert record["epochs"] == []
        assert [(warned["code"], str(path) in warned["message"]) for warned in record["warnings"]] == [("output", True)]


def test_file_that_cannot_be_read(greenrun: Greenrun, record: RecordReader) -> None:
    """A file that may be written and not read is told, and the job is none the worse."""
    path = Path(greenrun.cwd, "log")
    with path.open("w") as file:
        path.chmod(0o200)
        command = unprivileged([ENTRY, "--epochs", "2", *job(2, 2)])
        subprocess.run(command, env=greenrun.environment(), cwd=greenrun.cwd, stdout=file, stderr=-3, check=True)
    path.chmod(0o600)
    assert path.read_text() == printed(2, 2)
    (warned,) = record()["warnings"]
    assert (warned["code"], "Permission denied" in warned["message"]) == ("output", True)


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
        env=greenrun.environment({"TERM": "xterm"}),
        cwd=greenrun.cwd,
        encoding="utf-8",
        timeout=20,
    )
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
    return str(screen.before)


def test_terminal(greenrun: Greenrun, record: RecordReader, run_dirs: RunDirs) -> None:
    """On a terminal the prediction stands once, on lines of its own."""
    shown = on_terminal(greenrun, "--epochs", "2", *job(2, 2))
    assert predictions_told(shown) == 1
    assert "Epoch 1/2 loss=1.000\r\n" in shown
    assert "\r\nEpoch 2/2 loss=0.500\r\n" in shown
    assert how_it_ended(run_dirs) == (0, "wait")
    check(record(), epochs=2, planned=2)


def test_raw_terminal(greenrun: Greenrun, record: RecordReader) -> None:
    """While the terminal is raw the prediction begins and ends its line with a carriage return of its own."""
    raw = f"import tty; tty.setraw(0)\n{JOB}"
    shown = on_terminal(greenrun, "--epochs", "2", sys.executable, "-S", "-c", raw, "2", "2", "1", "\r\n")
    assert predictions_told(shown) == 1
    assert "\r\ngreenrun: after epoch 1 of 2" in shown
    assert "\n" not in shown.replace("\r\n", "")
    check(record(), epochs=2, planned=2)


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
    assert predictions_told(result.stderr) == 1
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


def test_fewer_epochs_than_planned(greenrun: Greenrun, record: RecordReader) -> None:
    """A job that stops early was predicted to cost more, and the record says by how much."""
    result = greenrun("--epochs", "10", *job(3, 10))
    assert result.returncode == 0
    check(record(), epochs=3, planned=10)
    assert 100 < record()["prediction"]["error_percent"]["duration_seconds"] < 400
    assert "after epoch 1 of 10" in result.stderr


def test_no_epochs_at_all(greenrun: Greenrun, record: RecordReader) -> None:
    """A job without epochs is none the worse for being watched."""
    result = greenrun("--epochs", "10", "echo", "nothing to see")
    assert (result.returncode, result.stdout) == (0, "nothing to see\n")
    assert (record()["epochs"], record()["prediction"]) == ([], None)


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


def test_exact_bytes(greenrun: Greenrun) -> None:
    """A hundred megabytes of any bytes pass unchanged."""
    script = (
        "import os, random\n"
        "block = random.Random(7).randbytes(1 << 20)\n"
        "for i in range(100):\n"
        "    piece = block[i:] + b'Epoch %d loss' % i\n"
        "    while piece: piece = piece[os.write(1, piece):]\n"
    )
    plain = hashlib.sha256(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    watched = greenrun("--epochs", "3", sys.executable, "-c", script, text=False).stdout
    assert hashlib.sha256(watched).digest() == plain.digest()
