"""What a verb prints on stdout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def shown(text: str, cwd: Path, *verb: str) -> str:
    """Run a verb in a project whose file tells a log directory of this name, and give its stdout."""
    (cwd / "greenrun.toml").write_text(f"log-dir = {text}\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
    command = [sys.executable, "-m", "greenrun", *verb]
    environ |= {"GREENRUN_OFFLINE": "yes", "HOME": str(cwd)}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, encoding="utf-8", check=False)
    assert done.stdout, done.stderr
    return done.stdout


@pytest.mark.parametrize("verb", [("doctor",), ("doctor", "--json")])
def test_a_project_s_file_does_not_command_the_terminal(tmp_path: Path, verb: tuple[str, ...]) -> None:
    """It may come from a repository that nobody has read: no control character of it reaches stdout."""
    told = shown(r'"a\u001b[31m\u009b2J\u0007b"', tmp_path, *verb)
    assert not [letter for letter in told if (ord(letter) < 0x20 and letter != "\n") or 0x7F <= ord(letter) < 0xA0]
    if verb == ("doctor",):
        assert "a?[31m?2J?b" in told


def test_other_letters_stay(tmp_path: Path) -> None:
    """A directory may have a name in any language."""
    assert "J\u00f8rgen \u9031" in shown('"J\u00f8rgen \u9031"', tmp_path, "doctor")
