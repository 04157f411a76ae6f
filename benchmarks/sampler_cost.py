"""What the sampler itself costs while a command runs: CPU time over a steady minute, its start told apart.

Two packages with memory and eight GPUs by counter, simulated, sampled once a second. Held against: 0.2 % of one core.
The ratio is to the CPU time of bare Python starts, measured in the same run.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

import _harness
from machine import procfs
from machine.gpus import Gpu
from machine.powercap import DRAM_SPAN_MICROJOULES, Zone
from machine.profiles import constant, square
from machine.simulated import SimulatedMachine

if TYPE_CHECKING:
    from collections.abc import Callable

START_SECONDS = 10.0  # after that NVML is up and what was imported late is imported
STEADY_SECONDS = 60.0
GPUS = 8
BARE_ROUNDS = 10
LIMIT_PERCENT = 0.2
GROWTH = (1, 2, 4, 8, 16, 32, 64)
READINGS = 400
READING = """\
What one reading costs in the daemon, by source, and how that grows with the number of devices.

Processor time of a thread, the median of 400 readings. `read` is all devices of one kind once, `utilisation` is asked
of the GPUs once a second, `a line` is everything that is done for a line of the log: reading, metering, the machine's
processor time and memory, JSON, the write. The simulated NVML answers at once: what NVIDIA's driver takes is not in
it, what pynvml takes is. The hour is 3,600 lines, with utilisation. The ratios are to one device.
"""


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
    seen = len(set(re.findall(r'"id": ?"(nvml:[^"]+)"', log.read_text())))
    return seen, start, per_second * STEADY_SECONDS


def microseconds(call: Callable[[], object]) -> float:
    """Give the processor time of a call, the median of many."""
    taken = []
    for _ in range(READINGS):
        before = time.thread_time_ns()
        call()
        taken.append(time.thread_time_ns() - before)
    return statistics.median(taken) / 1e3


def reading_microseconds(kind: str, devices: int) -> dict[str, float]:
    """Give what it costs to read so many devices of a kind, to ask for their utilisation, and to write their line."""
    from greenrun.sampler import loop, runlog
    from greenrun.sampler.model import Machine
    from greenrun.sampler.sources import nvml, rapl

    zones = [Zone(f"package-{at}", constant(61.0)) for at in range(devices)] if kind == "RAPL" else []
    gpus = [Gpu(constant(71.0)) for _ in range(devices)] if kind == "GPU" else None
    with tempfile.TemporaryDirectory() as folder, SimulatedMachine(packages=zones, gpus=gpus) as simulated:
        os.environ |= {name: value for name, value in simulated.environment.items() if name == "SIMULATED_NVML"}
        source = nvml.Nvml() if kind == "GPU" else rapl.Rapl()
        writer = runlog.Writer()
        writer.open(folder)
        machine = Machine(simulated.sysfs, simulated.procfs)
        sampler = loop.Sampler(machine, writer, 1.0, time.monotonic(), meters=[source])
        reader, wake = os.pipe()
        sampler.open_fast()
        sampler.begin()
        sampler.open_slow(wake)
        sampler.wait_for_slow(10.0)
        sampler.take_arrived()
        found = {"read": microseconds(source.read), "line": microseconds(sampler.sample)}
        if isinstance(source, nvml.Nvml):

            def utilisation() -> None:
                source._utilisation_t = float("-inf")  # or it would be asked once a second alone
                source.utilisation()

            found["utilisation"] = microseconds(utilisation)
        assert sum(meter.device.source in ("rapl", "nvml") for meter in sampler.meters) == devices
        sampler.close()
        os.close(reader)
        os.close(wake)
    return found


def show_readings() -> None:
    """Measure the readings as devices grow, and show them."""
    import ctypes

    from machine.build import nvml_library

    ctypes.CDLL(os.path.join(nvml_library(), "libnvidia-ml.so.1"))  # from now on its name finds it
    rows, figures = [], {}
    for devices in GROWTH:
        found = {kind: reading_microseconds(kind, devices) for kind in ("RAPL", "GPU")}
        figures[devices] = found
        rapl, gpu = found["RAPL"], found["GPU"]
        hours = [one["line"] + one.get("utilisation", 0.0) for one in (rapl, gpu)]
        rows.append(
            [
                f"{devices}",
                f"{rapl['read']:.0f} us ({rapl['read'] / figures[1]['RAPL']['read']:.1f})",
                f"{rapl['line']:.0f} us ({rapl['line'] / figures[1]['RAPL']['line']:.1f})",
                f"{hours[0] * 3600 / 1e6:.2f} s",
                f"{gpu['read']:.0f} us ({gpu['read'] / figures[1]['GPU']['read']:.1f})",
                f"{gpu['utilisation']:.0f} us",
                f"{gpu['line']:.0f} us ({gpu['line'] / figures[1]['GPU']['line']:.1f})",
                f"{hours[1] * 3600 / 1e6:.2f} s",
            ]
        )
    columns = ["devices", "RAPL: read", "a line", "an hour", "GPU: read", "utilisation", "a line", "an hour"]
    _harness.show("reading_cost", READING, columns, rows, figures)


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
    show_readings()


if __name__ == "__main__":
    main()
