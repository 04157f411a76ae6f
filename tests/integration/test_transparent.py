"""The command runs as if greenrun were not there: arguments, descriptors, environment, exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun

pytestmark = pytest.mark.usefixtures("no_leftovers")

RecordReader = Callable[[], dict[str, Any]]
ARGUMENTS = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"


def argv_seen(greenrun: Greenrun, *arguments: str | bytes) -> list[bytes]:
    """Give the arguments that a command under greenrun saw."""
    result = greenrun(sys.executable, "-c", ARGUMENTS, *arguments, text=False)
    assert result.returncode == 0
    return list(result.stdout.split(b"\0"))


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 128, 255])
def test_exit_code(greenrun: Greenrun, record: RecordReader, code: int) -> None:
    """The exit code is the command's, whatever it is."""
    assert greenrun("sh", "-c", f"exit {code}").returncode == code
    assert record()["exit_code"] == code
    assert record()["status"] == "complete"


@pytest.mark.parametrize("number", ["HUP", "INT", "QUIT", "ABRT", "KILL", "SEGV", "PIPE", "ALRM", "TERM", "USR1", "34"])
def test_death_by_signal(greenrun: Greenrun, record: RecordReader, number: str) -> None:
    """Greenrun dies by the signal that the command died by, without a core of its own."""
    result = greenrun("sh", "-c", f"kill -{number} $$")
    expected = int(number) if number.isdigit() else getattr(signal, f"SIG{number}")
    assert result.returncode == -expected
    assert record()["signal"] == expected
    assert record()["exit_code"] is None
    assert not [name for name in os.listdir(greenrun.cwd) if name.startswith("core")]


def test_the_shell_sees_the_same_wait_status(greenrun: Greenrun) -> None:
    """A shell counts a death by signal under greenrun as it does without."""
    result = subprocess.run(
        ["sh", "-c", f"{ENTRY} sh -c 'kill -TERM $$'; echo $?"],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "143\n"


def test_stdout_is_the_commands_alone(greenrun: Greenrun) -> None:
    """Not one byte of greenrun's goes to stdout; the summary goes to stderr, after the command's last byte."""
    result = greenrun("sh", "-c", """echo '{"a":1}'; echo mine >&2""")
    assert json.loads(result.stdout) == {"a": 1}
    assert result.stderr.startswith("mine\ngreenrun: ")


def test_quiet(greenrun: Greenrun, record: RecordReader) -> None:
    """--quiet leaves stderr to the command too; the record is there all the same."""
    result = greenrun("--quiet", "sh", "-c", "echo mine >&2")
    assert result.stderr == "mine\n"
    assert record()["status"] == "complete"


@pytest.mark.parametrize(
    "word", ["--help", "-h", "--log-dir", "--version", "[/x]", "two words", "", "--", "*", "report"]
)
def test_arguments_belong_to_the_command(greenrun: Greenrun, word: str) -> None:
    """Whatever follows the command is its own, whatever it looks like."""
    assert argv_seen(greenrun, word, "x") == [word.encode(), b"x"]


def test_invalid_utf8_argument(greenrun: Greenrun, record: RecordReader) -> None:
    """Bytes that are not UTF-8 reach the command unchanged, and the record keeps them in base64."""
    assert argv_seen(greenrun, b"a\xff\xfe", b"\xe4") == [b"a\xff\xfe", b"\xe4"]
    assert record()["command"][-1] == "\ufffd"
    assert record()["command_base64"] is not None


def test_invalid_utf8_in_the_c_locale(greenrun: Greenrun) -> None:
    """The same where the locale is C, and Python's own LC_CTYPE does not leak into the command."""
    bare = {"LANG": None, "LC_ALL": None, "LC_CTYPE": None}
    result = greenrun("sh", "-c", 'printf %s "$1"; echo " ${LC_CTYPE-unset}"', "sh", b"\xff", env=bare, text=False)
    assert result.stdout == b"\xff unset\n"


def test_verbs_as_programs(greenrun: Greenrun) -> None:
    """`greenrun run report` and `greenrun -- report` run a program of that name."""
    program = os.path.join(greenrun.cwd, "report")
    with open(program, "w") as file:
        file.write("#!/bin/sh\necho program $1\n")
    os.chmod(program, 0o700)
    path = {"PATH": f"{greenrun.cwd}:{os.environ['PATH']}"}
    for words in (["run", "report"], ["--", "report"], ["run", "--", "report"], ["--quiet", "--", "report"]):
        assert greenrun(*words, "--json", env=path).stdout == "program --json\n", words


@pytest.mark.parametrize(
    ("name", "code"), [("no-such-program", 127), ("", 127), ("./no/such", 127), ("/", 126), ("./plain", 126)]
)
def test_cannot_run(greenrun: Greenrun, record: RecordReader, name: str, code: int) -> None:
    """Not found is 127, not executable 126, with one sentence, and the record says that nothing ran."""
    with open(os.path.join(greenrun.cwd, "plain"), "w"):
        pass
    result = greenrun(name)
    assert result.returncode == code
    assert result.stdout == ""
    assert result.stderr.startswith("greenrun: ")
    assert result.stderr.count("\n") == 1
    assert record()["status"] == "not-started"
    assert record()["exit_code"] == code
    assert record()["energy_joules"]["total"] is None


def test_script_without_interpreter_line(greenrun: Greenrun) -> None:
    """A script without `#!` runs by the shell, as it does under env."""
    script = os.path.join(greenrun.cwd, "script")
    with open(script, "w") as file:
        file.write('echo "from $0 with $1"; exit 3\n')
    os.chmod(script, 0o700)
    result = greenrun("./script", "x")
    assert (result.returncode, result.stdout) == (3, "from ./script with x\n")
    result = greenrun("script", "x", env={"PATH": f"{greenrun.cwd}:{os.environ['PATH']}"})
    assert (result.returncode, result.stdout) == (3, f"from {script} with x\n")


def test_process_substitution_and_every_descriptor(greenrun: Greenrun) -> None:
    """Inherited descriptors are all there, and no others."""
    line = f"exec 7< <(echo seven); {ENTRY} sh -c 'cat <&7; cat \"$1\"; ls /proc/self/fd' sh <(echo hi)"
    result = bash(greenrun, line)
    plain = bash(greenrun, line.replace(f"{ENTRY} ", ""))
    assert result.stdout == plain.stdout
    assert result.stdout.startswith("seven\nhi\n")


def test_make_jobserver(greenrun: Greenrun) -> None:
    """Make -j under greenrun, and greenrun under make -j, keep the jobserver."""
    with open(os.path.join(greenrun.cwd, "Makefile"), "w") as file:
        file.write("all: a b c\na b c:\n\t@sleep 0.1; echo $@\nouter:\n\t+@$(MAKE) -s all\n")
    for command in (["make", "-s", "-j3"], ["make", "-s", "-j3", "outer"]):
        result = greenrun(*command)
        assert result.returncode == 0
        assert sorted(result.stdout.split()) == ["a", "b", "c"]
        assert "jobserver unavailable" not in result.stderr
    with open(os.path.join(greenrun.cwd, "Makefile"), "a") as file:
        file.write(f"under:\n\t+@{ENTRY} $(MAKE) -s all\n")
    result = bash(greenrun, "make -s -j3 under")
    assert sorted(result.stdout.split()) == ["a", "b", "c"]
    assert "jobserver unavailable" not in result.stderr


def test_stdin_is_the_commands(greenrun: Greenrun) -> None:
    """Greenrun reads nothing of stdin."""
    assert greenrun("cat", input="all of it\n").stdout == "all of it\n"


def test_environment(greenrun: Greenrun) -> None:
    """The environment is the same plus GREENRUN_* for markers, less greenrun's token."""
    env = {"GREENRUN_ELECTRICITYMAPS_TOKEN": "sesame", "ODD": "a=b\nc", "EMPTY": ""}
    result = greenrun("env", "-0", env=env, text=False)
    seen = dict(entry.split(b"=", 1) for entry in result.stdout.rstrip(b"\0").split(b"\0"))
    given = {os.fsencode(k): os.fsencode(v) for k, v in greenrun.environment(env).items()}
    added = seen.keys() - given.keys()
    assert added == {b"GREENRUN_MARKS", b"GREENRUN_RUN_ID", b"GREENRUN_RUN_DIR"}
    del given[b"GREENRUN_ELECTRICITYMAPS_TOKEN"]
    assert {name: value for name, value in seen.items() if name not in added} == given


def test_unset_environment(greenrun: Greenrun) -> None:
    """An empty environment is no reason to fail."""
    result = subprocess.run(
        ["env", "-i", ENTRY, "/bin/sh", "-c", "echo ran; exit 4"],
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (4, "ran\n")


def test_working_directory(greenrun: Greenrun) -> None:
    """The command starts where greenrun was started."""
    assert greenrun("pwd").stdout.strip() == os.path.realpath(greenrun.cwd)


def test_removed_working_directory(greenrun: Greenrun) -> None:
    """A working directory that is gone is the command's business."""
    result = bash(greenrun, f"mkdir gone; cd gone; rmdir ../gone; {ENTRY} --log-dir {greenrun.cwd}/logs echo ran")
    assert (result.returncode, result.stdout) == (0, "ran\n")


def test_left_daemons_do_not_keep_greenrun(greenrun: Greenrun) -> None:
    """A command that leaves a daemon behind, with its descriptors, keeps nobody waiting."""
    result = bash(greenrun, f"{ENTRY} sh -c 'sleep 30 & echo $!' >out 2>&1", timeout=10)
    with open(os.path.join(greenrun.cwd, "out")) as file:
        os.kill(int(file.readline()), signal.SIGKILL)  # it is still there
    assert result.returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(greenrun: Greenrun, record: RecordReader, closed: str) -> None:
    """Closed descriptors stay closed in the command, and nothing of greenrun's takes their place."""
    script = "ls /proc/self/fd > fds 2>/dev/null; exit 5"
    result = bash(greenrun, f"{ENTRY} sh -c '{script}' {closed}")
    assert result.returncode == 5
    assert "greenrun" not in result.stdout
    assert record()["exit_code"] == 5


def test_python_path_and_modules_in_the_working_directory(greenrun: Greenrun) -> None:
    """A click.py, json.py or signal.py of the user's is the job's, not greenrun's."""
    for name in ("click", "json", "signal", "dataclasses", "typing"):
        with open(os.path.join(greenrun.cwd, f"{name}.py"), "w") as file:
            file.write("raise RuntimeError('imported the wrong module')\n")
    here = {"PYTHONPATH": greenrun.cwd}
    result = greenrun("--name", "x", "sh", "-c", "echo $PYTHONPATH", env=here)
    assert (result.returncode, result.stdout) == (0, f"{greenrun.cwd}\n")
    assert "cannot measure" not in result.stderr
    assert result.stderr.startswith("greenrun: ")


def test_python_dash_m(greenrun: Greenrun) -> None:
    """`python -m greenrun` is the same, also beside a click.py."""
    with open(os.path.join(greenrun.cwd, "click.py"), "w") as file:
        file.write("raise RuntimeError('imported the wrong module')\n")
    result = subprocess.run(
        [sys.executable, "-m", "greenrun", "--name", "x", "sh", "-c", "exit 6"],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 6
    assert "cannot measure" not in result.stderr


def test_nested(greenrun: Greenrun, run_dirs: Callable[[], list[str]]) -> None:
    """A greenrun inside a greenrun names its parent, so that nothing is counted twice."""
    assert greenrun(ENTRY, "sh", "-c", "exit 9").returncode == 9
    records = []
    for run_dir in run_dirs():
        with open(os.path.join(run_dir, "summary.json")) as file:
            records.append(json.load(file))
    (inner,) = [record for record in records if record["parent_run_id"]]
    (outer,) = [record for record in records if not record["parent_run_id"]]
    assert inner["parent_run_id"] == outer["run_id"]


def test_secrets_in_the_command_are_masked(greenrun: Greenrun, run_dirs: Callable[[], list[str]]) -> None:
    """What looks like a secret stands in no file of the run; --no-command leaves the command out."""
    greenrun("true", "--api-key", "sesame1", "--token=sesame2", "DB_PASSWORD=sesame3", "--keep", "this")
    (run_dir,) = run_dirs()
    for name in os.listdir(run_dir):
        with open(os.path.join(run_dir, name)) as file:
            assert "sesame" not in file.read()
    with open(os.path.join(run_dir, "summary.json")) as file:
        command = json.load(file)["command"]
    assert command == ["true", "--api-key", "***", "--token=***", "DB_PASSWORD=***", "--keep", "this"]
    greenrun("--no-command", "true", "hidden")
    (other,) = set(run_dirs()) - {run_dir}
    with open(os.path.join(other, "summary.json")) as file:
        assert json.load(file)["command"] is None


def bash(greenrun: Greenrun, line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in greenrun's surroundings."""
    options.setdefault("timeout", 60)
    return subprocess.run(
        ["bash", "-c", line],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
