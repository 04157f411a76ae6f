"""What each tool costs: time before and around a command, memory, processor time of the sampling, and disk space.

`until the command begins` and `added` are the medians of rounds in which all take turns, beside the start of a bare
Python. Memory is the peak of the proportional memory (PSS) of all of the tool's processes while a command runs; its own
is not in it. Processor time is that of one steady minute on a machine of two sockets and eight GPUs. perf is used as
`perf stat -a`; where the machine shows it no energy counter it counts processor time instead, which costs the same.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine.gpus import Gpu
from machine.powercap import DRAM_SPAN_MICROJOULES, Zone
from machine.profiles import constant, square
from machine.simulated import SimulatedMachine

from peers import stage
from peers.energy import plain
from peers.running import Run, progress, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from peers.tools import Tool

_WARM_UP_ROUNDS = 1
_MEMORY_SECONDS = 8.0
_SETTLED_SECONDS = 12.0
_MOST_START_SECONDS = 30.0


def server() -> SimulatedMachine:
    """Give the machine on which processor time is measured: two packages with memory, eight GPUs by counter."""
    packages = [
        Zone(
            f"package-{at}",
            square(61.0, 197.0, 0.7, 0.3 * at),
            (Zone("dram", constant(13.0), span_microjoules=DRAM_SPAN_MICROJOULES),),
        )
        for at in range(2)
    ]
    return SimulatedMachine(
        packages=packages, gpus=[Gpu(square(71.0, 409.0, 1.3, at / 8)) for at in range(8)], cpu=None
    )


def measure(tools: Sequence[Tool], scratch: str, *, rounds: int, steady_seconds: float) -> dict[str, Any]:
    """Give the figures of all tools, by figure and tool."""
    progress(f"time, {rounds} rounds")
    with plain() as machine, stage.on(machine) as seen:
        times = _times(tools, os.path.join(scratch, "times"), seen, rounds)
        progress("memory")
        memory = {tool.name: _memory(tool, os.path.join(scratch, "memory", tool.name), seen) for tool in tools}
    progress(f"processor time, {steady_seconds:.0f} s")
    with server() as machine, stage.on(machine) as seen, ThreadPoolExecutor(len(tools)) as pool:
        folders = [os.path.join(scratch, "processor", tool.name) for tool in tools]
        measured = pool.map(lambda tool, folder: _processor(tool, folder, seen, steady_seconds), tools, folders)
        processor = {tool.name: seconds for tool, seconds in zip(tools, measured, strict=True)}
    return {
        **times,
        "megabytes": memory,
        "processor_seconds_a_minute": processor,
        "installed_megabytes": {tool.name: tool.megabytes for tool in tools},
        "distributions": {tool.name: tool.distributions for tool in tools},
    }


def _times(tools: Sequence[Tool], scratch: str, seen: Mapping[str, str], rounds: int) -> dict[str, Any]:
    begins: dict[str, list[float]] = {tool.name: [] for tool in tools}
    added: dict[str, list[float]] = {tool.name: [] for tool in tools}
    bare: list[float] = []
    python = tools[0].python or "python3"
    for turn in range(_WARM_UP_ROUNDS + rounds):
        before = time.monotonic()
        subprocess.run([python, "-c", "pass"], check=True)
        bare.append(time.monotonic() - before)
        for tool in tools:
            run = Run(tool, os.path.join(scratch, f"{tool.name} {turn}"), seen)
            before = time.monotonic()
            with run.start(run.stamp.command(0)) as process:
                process.communicate()
            after = time.monotonic()
            born, ended = run.stamp.life()
            begins[tool.name].append(born - before)
            added[tool.name].append(after - before - (ended - born))
            run.end()
    median = statistics.median
    return {
        "python_seconds": median(bare[_WARM_UP_ROUNDS:]),
        "begins_seconds": {name: median(values[_WARM_UP_ROUNDS:]) for name, values in begins.items()},
        "added_seconds": {name: median(values[_WARM_UP_ROUNDS:]) for name, values in added.items()},
    }


def _memory(tool: Tool, folder: str, seen: Mapping[str, str]) -> float:
    """Give the peak of a tool's memory in megabytes, from its start on."""
    run = Run(tool, folder, seen)
    with run.start(run.stamp.command(_MEMORY_SECONDS), stdout=subprocess.DEVNULL) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(map(_pss_megabytes, run.own_processes())))
            time.sleep(0.1)
    run.end()
    return peak


def _processor(tool: Tool, folder: str, seen: Mapping[str, str], seconds: float) -> float:
    """Give the processor time that a tool takes in a minute once it has settled."""
    run = Run(tool, folder, seen)
    command = run.stamp.command(_SETTLED_SECONDS + seconds + 5)
    with run.start(command, stdout=subprocess.DEVNULL) as process:
        assert wait_until(lambda: run.stamp.born() is not None, _MOST_START_SECONDS), f"{tool.name} does not start"
        time.sleep(_SETTLED_SECONDS)
        before, began = _processor_seconds(run), time.monotonic()
        time.sleep(seconds)
        taken = (_processor_seconds(run) - before) / (time.monotonic() - began)
        process.wait()
    run.end()
    assert tool.name == "perf" or tool.read(folder), f"{tool.name} has measured nothing"
    return taken * 60


def _processor_seconds(run: Run) -> float:
    """Give the processor time of a tool's processes, and of their children that are gone, to a hundredth each."""
    ticks = 0
    for pid in run.own_processes():
        with contextlib.suppress(OSError):
            fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _pss_megabytes(pid: int) -> float:
    with contextlib.suppress(OSError):
        rollup = Path("/proc", str(pid), "smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024 / 1e6
    return 0.0
