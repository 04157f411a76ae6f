"""What the shell is offered behind `greenrun`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from machine.command import ENTRY, Greenrun


def offered(greenrun: Greenrun, line: str, **env: str) -> set[str]:
    """Give the answers to Tab at the end of the line, each as type,value."""
    asked = {"_GREENRUN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), **env}
    told = greenrun(env=asked)
    assert (told.stderr, told.returncode) == ("", 0)
    return set(told.stdout.split())


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("greenrun --l", {"plain,--log-dir"}),
        ("greenrun --pue 1.2 --epochs", {"plain,--epochs"}),
        ("greenrun run --ver", {"plain,--version"}),
        (
            "greenrun ",
            {
                "plain,run",
                "plain,report",
                "plain,status",
                "plain,compare",
                "plain,predict",
                "plain,when",
                "plain,intensity",
                "plain,mark",
                "plain,doctor",
                "plain,slurm",
                "plain,agent",
                "plain,calibrate",
            },
        ),
        ("greenrun predict --li", {"plain,--like"}),
        ("greenrun doctor --js", {"plain,--json"}),
        ("greenrun --log-dir ", {"dir,"}),
        ("greenrun --pue ", set()),
        ("greenrun python --l", {"file,--l"}),
        ("greenrun python data", {"file,data"}),
        ("greenrun ./tra", {"file,./tra"}),
        ("greenrun -- --l", set()),
        ("greenrun --nope --l", set()),
        ("greenrun --st", {"plain,--start"}),
        ("greenrun --start ", {"plain,greenest", "plain,now"}),
        ("greenrun --basis d", {"plain,direct"}),
        ("greenrun --zone dk-d", {"plain,DK-DK1", "plain,DK-DK2"}),
        ("greenrun intensity --ba", {"plain,--basis"}),
        ("greenrun intensity --basis ", {"plain,lifecycle", "plain,direct"}),
        ("greenrun intensity GB-", {"plain,GB-NIR", "plain,GB-ORK"}),
        ("greenrun when --format s", {"plain,slurm"}),
        ("greenrun when --deadline 3", set()),
        ("greenrun when x", set()),
        ("greenrun report --format js", {"plain,json", "plain,jsonl"}),
        ("greenrun status --w", {"plain,--watch"}),
        ("greenrun report gr", {"file,gr"}),
        ("greenrun report --json gr", {"file,gr"}),
    ],
)
def test_what_is_offered(greenrun: Greenrun, line: str, answers: set[str]) -> None:
    """Options and verbs before the command, files behind it."""
    assert offered(greenrun, line, PATH="/nonexistent") == answers


def test_programs_are_offered_for_the_command(greenrun: Greenrun) -> None:
    """From PATH, with the verbs only where a verb could stand."""
    for name, mode in (("repaint", 0o755), ("replay", 0o755), ("reptile", 0o644)):
        program = Path(greenrun.cwd, name)
        program.touch()
        program.chmod(mode)
    path = f"/nonexistent:{greenrun.cwd}"
    assert offered(greenrun, "greenrun rep", PATH=path) == {"plain,repaint", "plain,replay", "plain,report"}
    assert offered(greenrun, "greenrun -- rep", PATH=path) == {"plain,repaint", "plain,replay"}
    assert offered(greenrun, "greenrun run rep", PATH=path) == {"plain,repaint", "plain,replay"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(greenrun: Greenrun, shell: str) -> None:
    """The script that a user's shell evaluates at its start."""
    told = greenrun(env={"_GREENRUN_COMPLETE": f"{shell}_source"})
    assert told.returncode == 0
    assert f"_GREENRUN_COMPLETE={shell}_complete" in told.stdout


def test_bash_completes_with_the_script(greenrun: Greenrun) -> None:
    """In a real bash, from the script to the words that Tab would give."""
    lines = """
        eval "$(_GREENRUN_COMPLETE=bash_source greenrun)"
        COMP_WORDS=(greenrun --l) COMP_CWORD=1
        compopt() { :; }
        _greenrun_completion greenrun
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    environment = greenrun.environment({"PATH": f"{os.path.dirname(ENTRY)}:{os.environ['PATH']}"})
    told = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, env=environment)
    assert (told.stdout, told.stderr) == ("--log-dir\n", "")
