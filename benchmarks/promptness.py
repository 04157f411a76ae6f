"""How long a job waits for greenrun when something that greenrun needs hangs.

`start` is from greenrun's start to the first instruction of the command, `end` from the command's last to greenrun's
end; each is the worst of its rounds. Held against: started within 0.4 s, ended no more than 2 s late. The ratio is that
of the median start to the one where nothing hangs.

Hanging are: the sampler (stopped by a signal as soon as it is born, or while the command runs), the file system of
the log directory (mkdir does not return), and NVML (its initialisation takes five seconds).
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import _harness
from machine.build import preload_library
from machine.gpus import Driver, Gpu
from machine.profiles import constant
from machine.simulated import SimulatedMachine
from machine.stamp import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROUNDS = 7
JOB_SECONDS = 0.5
START_LIMIT_SECONDS, END_LIMIT_SECONDS = 0.4, 2.0
NOTHING = "nothing hangs"


class Delays(NamedTuple):
    """Seconds that one job waited: from greenrun's start to its own, and from its end to greenrun's."""

    start: float
    end: float


def delays(
    greenrun: _harness.Installed, environment: Mapping[str, str], meanwhile: Callable[[int], None] | None
) -> Delays:
    """Run a job of half a second and give its delays; `meanwhile` gets greenrun's process id once the job runs."""
    stamp = Stamp(str(greenrun.scratch / f"stamp-{time.monotonic_ns()}"))
    command = [greenrun.greenrun, "--quiet", *stamp.command(JOB_SECONDS)]
    before = time.monotonic()
    process = subprocess.Popen(command, env=greenrun.environment(**environment))
    if meanwhile is not None:
        while stamp.born() is None:
            time.sleep(0.01)
        meanwhile(process.pid)
    assert process.wait() == 0
    after = time.monotonic()
    born, ended = stamp.life()
    return Delays(born - before, after - ended)


def stop_sampler(greenrun_pid: int) -> None:
    """Stop the one other Python process of a run."""
    with open(f"/proc/{greenrun_pid}/task/{greenrun_pid}/children") as file:
        children = [int(pid) for pid in file.read().split()]
    (sampler,) = (pid for pid in children if _harness.is_python(pid))
    os.kill(sampler, signal.SIGSTOP)


def measure(greenrun: _harness.Installed) -> dict[str, list[Delays]]:
    """Give the delays of each situation, the situations turn by turn."""
    trouble = {"LD_PRELOAD": preload_library()}
    hanging = str(greenrun.scratch / "greenrun-logs")  # the library knows the directory by this name
    slow_driver = SimulatedMachine(gpus=[Gpu(constant(100.0))], driver=Driver(init_seconds=5.0))
    found: dict[str, list[Delays]] = {}
    with slow_driver:
        situations: dict[str, tuple[Mapping[str, str], Callable[[int], None] | None]] = {
            NOTHING: ({}, None),
            "the sampler, from its birth": ({**trouble, "SIMULATED_TROUBLE": "stop"}, None),
            "the sampler, while the command runs": ({}, stop_sampler),
            "the log directory": ({**trouble, "SIMULATED_TROUBLE": "hang", "GREENRUN_LOG_DIR": hanging}, None),
            "NVML": (slow_driver.environment, None),
        }
        delays(greenrun, {}, None)  # the first start of all finds cold caches
        for _ in range(ROUNDS):
            for name, (environment, meanwhile) in situations.items():
                found.setdefault(name, []).append(delays(greenrun, environment, meanwhile))
    return found


def main() -> None:
    """Measure and show."""
    with _harness.installed() as greenrun:
        found = measure(greenrun)
    normal = statistics.median(one.start for one in found[NOTHING])
    rows = [
        [
            name,
            f"{max(one.start for one in rounds):.3f} s",
            f"{START_LIMIT_SECONDS} s",
            f"{statistics.median(one.start for one in rounds) / normal:.1f}",
            f"{max(one.end for one in rounds):.3f} s",
            f"{END_LIMIT_SECONDS} s",
        ]
        for name, rounds in found.items()
    ]
    columns = [f"what hangs (worst of {ROUNDS})", "start", "limit", "ratio", "end", "limit"]
    figures = {name: [one._asdict() for one in rounds] for name, rounds in found.items()}
    _harness.show("promptness", __doc__, columns, rows, figures)


if __name__ == "__main__":
    main()
