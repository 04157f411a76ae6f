"""What greenrun costs before and around a command: time, as a ratio to a bare Python's start, and memory.

Held against: `greenrun true` within 10 bare starts, the command itself started within 7, all of greenrun's processes
together under 60 MB of proportional memory (PSS: shared pages divided among those who share them).
"""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import _harness
from machine.build import program
from machine.layouts import two_sockets_two_gpus

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 20
WARM_UP_ROUNDS = 2
SETTLED_SECONDS = 2.0


def seconds(command: Sequence[str], environment: dict[str, str]) -> tuple[int, float]:
    """Run a command and give when it was started (nanoseconds of CLOCK_MONOTONIC) and how long it took."""
    before = time.monotonic_ns()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return before, (time.monotonic_ns() - before) / 1e9


def times(greenrun: _harness.Installed) -> dict[str, list[float]]:
    """Time a bare Python, `greenrun true`, and greenrun until its command's first instruction, turn by turn."""
    taken: dict[str, list[float]] = {"bare": [], "whole": [], "until_started": []}
    environment = greenrun.environment()
    stamp = greenrun.scratch / "stamp"
    for turn in range(WARM_UP_ROUNDS + ROUNDS):
        _, bare = seconds([greenrun.python, "-c", "pass"], environment)
        _, whole = seconds([greenrun.greenrun, "true"], environment)
        before, _ = seconds([greenrun.greenrun, program("stamp"), str(stamp), "0"], environment)
        until_started = (int(stamp.read_text().split()[0]) - before) / 1e9
        if turn >= WARM_UP_ROUNDS:
            for name, value in (("bare", bare), ("whole", whole), ("until_started", until_started)):
                taken[name].append(value)
    return taken


def memory_megabytes(greenrun: _harness.Installed) -> dict[int, float]:
    """Give the PSS of each of greenrun's processes while a command sleeps, on a machine that has all the meters."""
    name = f"bench-{time.monotonic_ns()}"
    with two_sockets_two_gpus(greenrun.scratch / "machine") as machine:
        environment = greenrun.environment(**machine.environment, GREENRUN_NAME=name)
        command = [greenrun.greenrun, "--quiet", "sleep", str(SETTLED_SECONDS + 2)]
        with subprocess.Popen(command, env=environment):
            time.sleep(SETTLED_SECONDS)
            processes = _harness.processes_with(f"GREENRUN_NAME={name}")
            return {pid: pss_megabytes(pid) for pid in processes if _harness.is_python(pid)}


def pss_megabytes(pid: int) -> float:
    """Give the proportional memory of a process."""
    rollup = Path("/proc", str(pid), "smaps_rollup").read_text()
    kilobytes = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return kilobytes * 1024 / 1e6


def main() -> None:
    """Measure and show."""
    with _harness.installed() as greenrun:
        taken = times(greenrun)
        memory = memory_megabytes(greenrun)
    median = {name: statistics.median(values) for name, values in taken.items()}
    ratio = {name: median[name] / median["bare"] for name in ("whole", "until_started")}
    total = sum(memory.values())
    rows = [
        ["python -c pass", f"{median['bare'] * 1e3:.1f} ms", "1.0", ""],
        ["greenrun true", f"{median['whole'] * 1e3:.1f} ms", f"{ratio['whole']:.1f}", "10"],
        ["until the command starts", f"{median['until_started'] * 1e3:.1f} ms", f"{ratio['until_started']:.1f}", "7"],
        [f"memory (PSS) of {len(memory)} processes", f"{total:.1f} MB", "", "60 MB"],
    ]
    figures = {"seconds": taken, "median_seconds": median, "ratio": ratio, "pss_megabytes": list(memory.values())}
    _harness.show("start", __doc__, ["", "median of 20", "ratio", "limit"], rows, figures)


if __name__ == "__main__":
    main()
