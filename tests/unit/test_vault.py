"""Putting the token away: what is left of it in the process that had it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TOKEN = "not-a-secret-8d20c1"
CODE = """
import os
from greenrun.cli import vault
value = os.environb.get(b"GREENRUN_ELECTRICITYMAPS_TOKEN")
trouble = vault.put_away()
given = open("/proc/self/environ", "rb").read()
shown = [entry for entry in given.split(b"\\0") if entry.startswith(b"GREENRUN_ELECTRICITYMAPS_TOKEN=")]
print(trouble, vault.is_used(), len(vault.descriptors()), value and sum(value), shown, b"\\0ODD=value\\0" in given)
print("GREENRUN_ELECTRICITYMAPS_TOKEN" in os.environ)
"""


def put_away(token: str) -> list[str]:
    """Do it in a process that has this token."""
    environment = {**os.environ, "GREENRUN_ELECTRICITYMAPS_TOKEN": token, "ODD": "value"}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("token", [TOKEN, "ab", "b" * 2000, "utf-8", "os"])
def test_nothing_is_left_of_it(token: str) -> None:
    """Neither in the object that Python had made of it nor in the environment that the kernel shows; all else stays."""
    assert put_away(token) == ["None True 2 0 [b'GREENRUN_ELECTRICITYMAPS_TOKEN='] True", "False"]


def test_without_one_nothing_is_done() -> None:
    """No process, no descriptor."""
    assert put_away("")[0] == "None False 0 b'' [b'GREENRUN_ELECTRICITYMAPS_TOKEN='] True"
