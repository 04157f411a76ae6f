"""The command line as a user meets it: verbs, options, words of the command, mistakes, help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine.command import Greenrun

import greenrun as face
from greenrun.cli.verbs import VERBS

SHOW = "import sys, os; sys.stdout.buffer.write(b'|'.join(map(os.fsencode, sys.argv[1:])))"


@pytest.mark.parametrize("own", [[], ["run"], ["--"], ["run", "--"], ["-q"], ["--quiet", "--epochs=3", "--"]])
def test_all_behind_the_command_is_the_command_s(greenrun: Greenrun, own: list[str]) -> None:
    """Whatever it looks like, byte by byte."""
    words: list[str | bytes] = ["--help", "-h", "--log-dir", "[/x]", "a b", "", "--", b"\xff\xfe", "--version"]
    told = greenrun(*own, sys.executable, "-c", SHOW, *words, text=False)
    assert told.stdout == b"--help|-h|--log-dir|[/x]|a b||--|\xff\xfe|--version"
    assert told.returncode == 0


@pytest.mark.parametrize("own", [["run"], ["--"], ["run", "--"], ["--quiet", "--"]])
@pytest.mark.parametrize("verb", ["report", "status", "run"])
def test_a_program_may_be_called_like_a_verb(greenrun: Greenrun, own: list[str], verb: str) -> None:
    """Behind `run` or `--` no verb is meant."""
    program = Path(greenrun.cwd, "bin", verb)
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho program")
    program.chmod(0o755)
    told = greenrun(*own, verb, env={"PATH": f"{program.parent}:{os.environ['PATH']}"})
    assert (told.stdout, told.returncode) == ("program\n", 0)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "there is no command to run; the usage is greenrun [OPTIONS] COMMAND [ARG ...]"),
        (["--quiet", "--"], "there is no command to run"),
        (["--pu", "1", "true"], "there is no option --pu, --pue is the nearest (greenrun --help lists them all)"),
        (["-x", "true"], "there is no option -x"),
        (["run", "--nope", "true"], "there is no option --nope"),
        (["--start", "true"], "--start must be now or greenest, not 'true'"),
        (["report"], "RUN_DIR must be told"),
        (["when", "3h"], "--duration TIME must be told: how long the job will take"),
        (["intensity", "--zne", "DK"], "there is no option --zne, --zone is the nearest"),
        (["report", "--run-dir", "x"], "there is no option --run-dir (greenrun report --help lists them all)"),
        (["--pue"], "option '--pue' requires an argument"),
        (["--quiet=1", "true"], "the option --quiet takes no value"),
        (["--pue", "0.5", "true"], "--pue must be a number of 1 or more"),
        (["--country", "Atlantis", "true"], "--country must be a country"),
        (["--intensity", "-1", "true"], "--intensity must be a number of grams of CO2e per kWh of 0 or more"),
        (["--quiet", "report", "x"], "the verb report must be the first word, with its options behind it"),
        (["doctor", "--nope"], "there is no option --nope"),
        (["mark", "epoch"], "a marker must be told as"),
    ],
)
def test_a_mistake_is_one_sentence_and_125(greenrun: Greenrun, argv: list[str], sentence: str) -> None:
    """On stderr, and nothing is run or written."""
    told = greenrun(*argv)
    assert told.returncode == 125
    assert told.stdout == ""
    assert told.stderr.startswith(f"greenrun: {sentence}")
    assert told.stderr.count("\n") == 1
    assert os.listdir(greenrun.cwd) == []


def test_a_mistake_in_the_environment_stops_a_plain_command_too(greenrun: Greenrun) -> None:
    """Where no option has to be parsed the variables still count."""
    told = greenrun("echo", "ran", env={"GREENRUN_PUE": "0"})
    assert (told.returncode, told.stdout) == (125, "")
    assert told.stderr.startswith("greenrun: GREENRUN_PUE must be a number of 1 or more")


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["run", "--help"]])
def test_help_fits_a_terminal_and_lists_options_and_verbs(greenrun: Greenrun, argv: list[str]) -> None:
    """80 columns, all there."""
    told = greenrun(*argv, env={"COLUMNS": "80"})
    assert told.returncode == 0
    assert told.stderr == ""
    assert max(map(len, told.stdout.splitlines())) <= 80
    for word in ("--log-dir DIR", "--intensity G_PER_KWH", "--version", *VERBS):
        assert word in told.stdout
    assert "sysfs" not in told.stdout


@pytest.mark.parametrize("argv", [["--version"], ["--pue", "2", "--version", "--help"]])
def test_version(greenrun: Greenrun, argv: list[str]) -> None:
    """On stdout, and that is all."""
    told = greenrun(*argv)
    assert (told.stdout, told.stderr, told.returncode) == (f"greenrun {face.__version__}\n", "", 0)


@pytest.mark.parametrize("argv", [["--help"], ["doctor", "--help"], ["mark", "--help"]])
def test_help_into_a_pipe_that_nobody_reads_is_quiet(greenrun: Greenrun, argv: list[str]) -> None:
    """`greenrun --help | head -0` is no error; a full disk is one."""
    reader, writer = os.pipe()
    os.close(reader)
    told = greenrun(*argv, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (told.stderr, told.returncode) == ("", 0)
    with open("/dev/full", "w") as full:
        told = greenrun(*argv, stdout=full, stderr=subprocess.PIPE)
    assert told.returncode == 125
    assert told.stderr == "greenrun: standard output cannot be written: No space left on device\n"


def test_modules_in_the_working_directory_are_not_ours(greenrun: Greenrun) -> None:
    """`python -m greenrun` looks there first, and a click.py there must not stop the job."""
    for name in ("click", "json", "tomllib", "dataclasses"):
        Path(greenrun.cwd, f"{name}.py").write_text("raise SystemExit('not this one')")
    command = [sys.executable, "-m", "greenrun", "--quiet", "--pue", "1.2", "echo", "ran"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=greenrun.cwd, env=greenrun.environment())
    assert (told.stdout, told.stderr, told.returncode) == ("ran\n", "", 0)
