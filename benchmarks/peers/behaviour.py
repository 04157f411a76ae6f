"""What each tool does to the command: its exit status, its output, its options, its signals, and its start offline.

`SIGTERM` and `SIGKILL` go to the tool alone, as from a scheduler, a second and a half after the command has begun. What
would be right: the command ends with SIGTERM and goes on after SIGKILL, and there is a record either way. `nobody
answers`: questions for the address of a host go unanswered, as behind a firewall that drops them. codecarbon has the
`--` that keeps a command's own options from it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from peers import stage
from peers.energy import plain
from peers.running import Run, progress, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peers.tools import Tool

_JOB_SECONDS = 7.0
_BEFORE_SIGNAL_SECONDS = 1.5
_MOST_START_SECONDS = 60.0


def measure(tools: Sequence[Tool], scratch: str) -> dict[str, dict[str, Any]]:
    """Give what was seen of each tool."""
    found = {}
    with plain() as machine, stage.on(machine) as seen:
        for tool in tools:
            progress(f"behaviour of {tool.name}")
            found[tool.name] = _all_of(tool, os.path.join(scratch, tool.name), seen)
        progress("start where nobody answers")
        with stage.silent_resolver(scratch):
            for tool in tools:
                run = Run(tool, os.path.join(scratch, f"{tool.name} unanswered"), seen)
                found[tool.name]["unanswered_begins_seconds"] = _begins_seconds(run)
    return found


def _all_of(tool: Tool, folder: str, seen: Mapping[str, str]) -> dict[str, Any]:
    def run(name: str) -> Run:
        return Run(tool, os.path.join(folder, name), seen)

    shell = ["sh", "-c"]
    arguments = ["command", *tool.option]
    _, echoed = _output(run("echo"), ["echo", "the command's"])
    _, listed = _output(run("options"), [*shell, 'printf "%s\\n" "$@"', *arguments])
    return {
        "exit_7": _output(run("seven"), [*shell, "exit 7"])[0],
        "died_by_term": _output(run("died"), [*shell, "kill -TERM $$"])[0],
        "bytes_on_stdout": len(echoed) - len(b"the command's\n"),
        "option": " ".join(tool.option),
        "option_arrives": all(f"{word}\n".encode() in listed for word in tool.option),
        "term": _signalled(run("term"), signal.SIGTERM),
        "kill": _signalled(run("kill"), signal.SIGKILL),
    }


def _output(run: Run, command: Sequence[str]) -> tuple[int, bytes]:
    with run.start(command, stderr=subprocess.DEVNULL) as process:
        output, _ = process.communicate(timeout=_MOST_START_SECONDS)
    run.end()
    return process.returncode, output


def _signalled(run: Run, number: signal.Signals) -> dict[str, Any]:
    """Send the tool a signal and give what becomes of it, of the command, and of the record."""
    with run.start(run.stamp.command(_JOB_SECONDS), stdout=subprocess.DEVNULL) as process:
        assert wait_until(lambda: run.stamp.born() is not None, _MOST_START_SECONDS), "it does not start"
        time.sleep(_BEFORE_SIGNAL_SECONDS)
        process.send_signal(number)
        wait_until(lambda: process.poll() is not None, _JOB_SECONDS)
        tool_ended = process.poll() is not None
        time.sleep(0.3)  # what is to happen to the command has happened
        lives_on = tool_ended and bool(run.jobs())
        process.wait()
    wait_until(lambda: not run.jobs(), _JOB_SECONDS)
    has_record = wait_until(lambda: bool(run.tool.read(run.folder)), 3.0)
    run.end()
    return {"status": process.returncode, "command_goes_on": lives_on, "record": has_record}


def _begins_seconds(run: Run) -> float:
    before = time.monotonic()
    with run.start(run.stamp.command(0), stdout=subprocess.DEVNULL) as process:
        begun = wait_until(lambda: run.stamp.born() is not None, _MOST_START_SECONDS)
        process.wait()
    run.end()
    assert begun, f"{run.tool.name} did not start the command"
    return (run.stamp.born() or 0.0) - before
