"""How the summary looks where it goes: a terminal, one without colours, a pipe, a locale without UTF-8."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from machine.command import ENTRY, Greenrun
from machine.shell import Shell

pytestmark = pytest.mark.usefixtures("no_leftovers")

GOLDEN = Path(__file__).parents[1] / "unit" / "data" / "two-sockets"

UTF8 = {"LC_ALL": "C.UTF-8", "NO_COLOR": None}


def on_terminal(greenrun: Greenrun, env: Mapping[str, str | None], words: str) -> str:
    """Run greenrun on a terminal, and give what it printed."""
    with Shell(greenrun, env) as shell:
        shell.bash.sendline(f"clear; {ENTRY} {words}")
        return shell.sync()


def told(output: str) -> str:
    """Give the summary in what a terminal got, its control sequences included."""
    return output[output.index("greenrun: the command ran") :]


def test_colours_on_a_terminal(greenrun: Greenrun) -> None:
    """Labels and figures stand out, +- is one sign, and without its sequences it is the summary in 80 columns."""
    text = told(on_terminal(greenrun, UTF8, f"sleep 0.1; {ENTRY} report greenrun-logs/*"))
    assert text.count("\x1b[32menergy\x1b[0m") == 2  # the run's summary on stderr, the report's on stdout
    assert "\u00b1" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "\x1b" not in plain
    assert "  CO2e        " in plain
    assert max(map(len, plain.splitlines())) <= 80


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_they_are_not_wanted(greenrun: Greenrun, name: str, value: str) -> None:
    """Not one control sequence."""
    with Shell(greenrun, UTF8) as shell:
        shell.bash.sendline(f"{name}={value} {ENTRY} sleep 0.1; {name}={value} {ENTRY} report greenrun-logs/*")
        text = told(shell.sync())
    assert text.count("greenrun: the command ran") == 2
    assert "\x1b" not in text


def test_ascii_where_the_locale_has_no_utf8(greenrun: Greenrun) -> None:
    """A name in another language is escaped, on a terminal as in a pipe."""
    shutil.copytree(GOLDEN, os.path.join(greenrun.cwd, "J\u00f8rgen"))
    for env in ({"LC_ALL": "C"}, {"LC_ALL": None, "LC_CTYPE": None, "LANG": None}):
        done = greenrun("report", "J\u00f8rgen", env=env)
        assert done.stdout.isascii()
        assert done.stdout.endswith("  log         J\\xf8rgen\n")
        assert told(on_terminal(greenrun, {**env, "NO_COLOR": None}, "report J*")).isascii()
        assert greenrun("true", env=env).stderr.isascii()
    for env in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": None, "LC_CTYPE": None, "LANG": "en_US.utf8"}):
        assert greenrun("report", "J\u00f8rgen", env=env).stdout.endswith("  log         J\u00f8rgen\n")


def test_a_pipe_gets_plain_text_and_costs_no_rich(greenrun: Greenrun) -> None:
    """Neither the run nor its report imports what is only for terminals."""
    done = greenrun("sleep", "0.1", env={"PYTHONPROFILEIMPORTTIME": "1", **UTF8})
    assert "import time:" in done.stderr
    assert not re.search(r"\brich\b", done.stderr)
    report = greenrun("report", *_run_dirs(greenrun), env=UTF8)
    assert "\x1b" not in report.stdout
    assert "+-" in report.stdout


def test_rich_is_imported_after_the_job(greenrun: Greenrun) -> None:
    """On a terminal too the command does not wait for it, nor share the machine with it."""
    output = on_terminal(greenrun, {**UTF8, "PYTHONPROFILEIMPORTTIME": "1"}, "sh -c 'sleep 0.3; echo job is over'")
    before, after = output.rsplit("job is over", 1)
    assert "import time:" in before
    assert not re.search(r"\| +rich\b", before)
    assert re.search(r"\| +rich\b", after)
    plain = on_terminal(greenrun, {"LC_ALL": "C", "NO_COLOR": "1", "PYTHONPROFILEIMPORTTIME": "1"}, "true")
    assert "import time:" in plain
    assert not re.search(r"\| +rich\b", plain)


def _run_dirs(greenrun: Greenrun) -> list[str]:
    top = os.path.join(greenrun.cwd, "greenrun-logs")
    return [os.path.join(top, name) for name in os.listdir(top) if not name.startswith(".")]
