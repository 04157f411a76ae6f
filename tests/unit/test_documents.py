"""What the documents list is what the code does."""

from __future__ import annotations

import os
import re

from greenrun.cli import options
from greenrun.cli.identity import RECORDED_VARIABLES

DOCS = os.path.join(os.path.dirname(__file__), "..", "..", "docs")


def _text(name: str) -> str:
    with open(os.path.join(DOCS, name), encoding="utf-8") as file:
        return file.read()


def test_recorded_variables() -> None:
    """Every variable that is recorded is documented, and no other."""
    listed = _text("run-log.md").partition("`environment` has these variables")[2]
    assert re.findall(r"`(\w+)`", listed) == list(RECORDED_VARIABLES)


def test_settings() -> None:
    """Every setting stands in the table of the configuration with its variable."""
    rows = re.findall(r"^\|.*\| `(GREENRUN_\w+)` \| `([\w-]+)` \|", _text("configuration.md"), re.MULTILINE)
    assert rows == [(option.variable, option.name) for option in options.OPTIONS if option.lasting]
