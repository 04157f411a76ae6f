"""What the sampler itself costs while a command runs: CPU time over a steady minute, its start told apart.

Two packages with memory and eight GPUs by counter, simulated, sampled once a second. Held against: 0.2 % of one core.
The ratio is to the CPU time of bare Python starts, measured in the same run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time

import _harness
from machine import procfs
from machine.gpus import Gpu
from machine.powercap import DRAM_SPAN_MICROJOULES, Zone
from machine.profiles import constant, square
from machine.simulated import SimulatedMachine

START_SECONDS = 10.0  # after that NVML is up and what was imported late is imported
STEADY_SECONDS = 60.0
GPUS = 8
BARE_ROUNDS = 10
LIMIT_PERCENT = 0.2


def machine(directory: str) -> SimulatedMachine:
    """Give the server: two packages with memory, eight GPUs with energy counters."""
    zones = [
        Zone(
            f"package-{at}",
            square(61.0, 197.0, 0.7, 0.3 * at),
            (Zone("dram", constant(13.0), span_microjoules=DRAM_SPAN_MICROJOULES),),
        )
        for at in range(2)
    ]
    gpus = [Gpu(square(71.0, 409.0, 1.3, at / GPUS)) for at in range(GPUS)]
    return SimulatedMachine(directory, packages=zones, gpus=gpus, cpu=procfs.XEON_8480)


def bare_start_cpu_seconds(greenrun: _harness.Installed) -> float:
    """Give the CPU time of one start of a bare Python, the median of some."""
    taken = []
    for _ in range(BARE_ROUNDS):
        process = subprocess.Popen([greenrun.python, "-c", "pass"], env=greenrun.environment())
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0  # reaped above, for its times
        taken.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(taken)


def measure(greenrun: _harness.Installed) -> tuple[int, float, float]:
    """Give the number of GPUs seen, the daemon's CPU seconds until it was settled, and those of the minute after."""
    name = f"bench-{time.monotonic_ns()}"
    with machine(str(greenrun.scratch / "machine")) as simulated:
        environment = greenrun.environment(**simulated.environment, GREENRUN_NAME=name)
        command = [greenrun.greenrun, "--quiet", "sleep", str(START_SECONDS + STEADY_SECONDS + 5)]
        with subprocess.Popen(command, env=environment) as job:
            time.sleep(START_SECONDS)
            marker = f"GREENRUN_NAME={name}"
            (daemon,) = (pid for pid in _harness.processes_with(marker) if _harness.is_python(pid) and pid != job.pid)
            start = _harness.cpu_seconds(daemon)
            began = time.monotonic()
            time.sleep(STEADY_SECONDS)
            per_second = (_harness.cpu_seconds(daemon) - start) / (time.monotonic() - began)
    (log,) = (greenrun.scratch / "logs").glob("*/run.jsonl")
    seen = log.read_text().count('"id":"nvml:') or log.read_text().count('"id": "nvml:')
    return seen, start, per_second * STEADY_SECONDS


def main() -> None:
    """Measure and show."""
    with _harness.installed() as greenrun:
        bare = bare_start_cpu_seconds(greenrun)
        seen, start, steady = measure(greenrun)
    assert seen == GPUS, f"the sampler saw {seen} GPUs of {GPUS}"
    share = steady / STEADY_SECONDS * 100
    rows = [
        ["steady, 60 s", f"{steady:.2f} s", f"{share:.3f} %", f"{LIMIT_PERCENT} %", f"{steady / bare:.1f}"],
        ["start, once", f"{start:.2f} s", "", "", f"{start / bare:.1f}"],
    ]
    figures = {"steady_cpu_seconds": steady, "start_cpu_seconds": start, "bare_start_cpu_seconds": bare}
    _harness.show(
        "sampler_cost", __doc__, ["", "CPU time", "of one core", "limit", "ratio to a Python start"], rows, figures
    )


if __name__ == "__main__":
    main()
