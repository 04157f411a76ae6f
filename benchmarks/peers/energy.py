"""How far the energy that each tool tells is from the truth, by kind of device.

All tools are in front of the same commands on the same simulated machine, whose power profiles have exact integrals.
The truth is the integral over the command's own life, first instruction to last. Where the command is short, they run
one after the other, else side by side, one starting seconds after the other. Several rounds give a range. What
carbontracker multiplies by a PUE of 1.58 is divided by it. Each tool is used by its command line with its default
settings (`greenrun COMMAND`, `codecarbon monitor --no-api -- COMMAND`, `carbontracker COMMAND`), on a machine without
a way to the network. The simulated powercap tree is bound over /sys/class/powercap in a mount namespace, and the
simulated NVML found by LD_LIBRARY_PATH: no tool is told that anything is simulated. perf is not in this table, for the
kernel interface by which it counts energy cannot be simulated.
"""

from __future__ import annotations

import os
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from machine.gpus import Gpu
from machine.layouts import two_sockets_two_gpus
from machine.powercap import DRAM_SPAN_MICROJOULES, Zone
from machine.privilege import unprivileged
from machine.profiles import Profile, constant, square
from machine.simulated import SimulatedMachine

from peers import stage
from peers.running import Run, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peers.tools import Tool

_SHORT_SECONDS = (0.2, 0.5, 1.0)
_SAYS_SO = re.compile(rb"permission|denied|forbidden|may not read|not readable", re.IGNORECASE)
_MOST_START_SECONDS = 30.0


class Pace(NamedTuple):
    """How long the long commands are, how far apart their tools start, and how many rounds there are of the short."""

    job_seconds: float
    apart_seconds: float
    rounds: int


FULL = Pace(12.0, 1.5, 3)
QUICK = Pace(8.0, 1.5, 1)
# When something happens to a counter, in seconds after the machine's start, unless a try shows that a better moment is
# needed: the commands all live then, if the slowest tool takes 4 s to start.
_EVENT_SECONDS = 9.0
_TRIES = 4


def plain(
    cpu: Profile | None = None, dram: Profile | None = None, gpu: Profile | None = None, **changes: Any
) -> SimulatedMachine:
    """Give a machine of one socket with memory and one GPU with an energy counter; `changes` are of the zones."""
    memory = Zone("dram", dram or constant(21.3), span_microjoules=DRAM_SPAN_MICROJOULES, **changes)
    package = Zone("package-0", cpu or constant(143.7), (memory,), **changes)
    return SimulatedMachine(packages=[package], gpus=[Gpu(gpu or constant(287.1))], cpu=None)


def waves(seed: int) -> SimulatedMachine:
    """Give the machine with loads that come and go, at frequencies that no poller shares."""
    phase = random.Random(seed).random  # noqa: S311  phases of a wave, no secret
    return plain(square(61.0, 197.0, 0.7, phase()), square(9.1, 17.7, 0.37, phase()), square(71.0, 409.0, 1.3, phase()))


def wrapping(at: float) -> SimulatedMachine:
    """Give the machine whose counters, the GPU's aside, are full at a moment and begin again."""
    machine = plain()
    (package,) = machine.packages
    zones = tuple(zone.wrapping_at(at) for zone in package.zones)
    machine.packages = (replace(package.wrapping_at(at), zones=zones),)
    return machine


def measure(tools: Sequence[Tool], scratch: str, pace: Pace) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Give for each scenario, tool and round the joules told and the true ones by kind, and how the tool ended."""
    lasting: dict[str, Callable[[], SimulatedMachine]] = {
        "constant power": plain,
        "square waves": lambda: waves(11),
        "two sockets, two GPUs, one without counter": lambda: two_sockets_two_gpus(wraps_at=1e6, seed=5),
        "RAPL unreadable": lambda: plain(forbidden=True),
    }
    sudden: dict[str, Callable[[float], SimulatedMachine]] = {
        "counters wrap": wrapping,
        "counters reset": lambda at: plain(reset_at=at),
    }
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, make in lasting.items():
        front = unprivileged([]) if name == "RAPL unreadable" else []
        found[name] = _side_by_side(tools, os.path.join(scratch, name), make(), pace, front)
    for name, make_at in sudden.items():
        rounds = _around(tools, os.path.join(scratch, name), make_at, pace)
        if rounds is not None:
            found[name] = rounds
    for seconds in _SHORT_SECONDS:
        name = f"a command of {seconds} s"
        progress(name)
        found[name] = {tool.name: [] for tool in tools}
        with plain() as machine, stage.on(machine) as seen:
            for turn in range(pace.rounds):
                for tool in tools:
                    run = Run(tool, os.path.join(scratch, f"{name} {tool.name} {turn}"), seen)
                    found[name][tool.name].append(_one(run, machine, seconds, []))
    return found


def _around(
    tools: Sequence[Tool], folder: str, make: Callable[[float], SimulatedMachine], pace: Pace
) -> dict[str, list[dict[str, Any]]] | None:
    """Measure what happens at a moment in which all commands live; None where they never lived at the same time.

    A busy machine needs more than one try, each with longer commands.
    """
    at = _EVENT_SECONDS
    for turn in range(_TRIES):
        machine = make(at)
        found = _side_by_side(tools, f"{folder} {turn}", machine, pace, [])
        lives = [one["life"] for rounds in found.values() for one in rounds]
        last_born = max(born for born, _ in lives)
        if last_born < machine.epoch + at < min(ended for _, ended in lives):
            return found
        pace = pace._replace(job_seconds=pace.job_seconds * 1.7)
        at = last_born - machine.epoch + pace.job_seconds / 4
    progress("the commands did not live at the same time: this machine has too much else to do for this one")
    return None


def _side_by_side(
    tools: Sequence[Tool], folder: str, machine: SimulatedMachine, pace: Pace, front: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    progress(f"{os.path.basename(folder)}, {pace.job_seconds:.0f} s")
    slowest_first = tools[::-1]
    with machine, stage.on(machine) as seen, ThreadPoolExecutor(len(tools)) as pool:

        def later(turn: int, tool: Tool) -> dict[str, Any]:
            time.sleep(turn * pace.apart_seconds)
            return _one(Run(tool, os.path.join(folder, tool.name), seen), machine, pace.job_seconds, front)

        results = list(pool.map(later, range(len(tools)), slowest_first))
    return {tool.name: [result] for tool, result in zip(slowest_first, results, strict=True)}


def _one(run: Run, machine: SimulatedMachine, seconds: float, front: Sequence[str]) -> dict[str, Any]:
    """Run one command and give what was told, what is true, and whether the tool lived to see the end of it."""
    path = os.path.join(run.folder, "output")  # no pipe: a command that is left alone would hold it open
    with open(path, "wb") as file, run.start(run.stamp.command(seconds), front=front, stdout=file) as process:
        process.wait(seconds + 2 * _MOST_START_SECONDS)
        lives_on = bool(run.jobs())
    life = run.life(seconds + _MOST_START_SECONDS)
    run.end()
    with open(path, "rb") as file:
        output = file.read()
    true = {kind: machine.energy_joules(kind, *life) for kind in ("cpu", "dram", "gpu")}
    true["total"] = sum(true.values())
    true["cpu and dram"] = true["cpu"] + true["dram"]
    return {
        "told": run.tool.read(run.folder),
        "true": true,
        "status": process.returncode,
        "left_the_command_alone": lives_on,
        "says_so": bool(_SAYS_SO.search(output)),
        "life": life,
    }
