"""How large the run log of a week becomes: the sampler's own loop on a clock that runs ahead.

Two packages, their memory and eight GPUs, with counters as large as a month of use makes them: the lines are as long as
in a real log. Held against: 10 MB.
"""

from __future__ import annotations

import os
import tempfile
import time as real_time
from pathlib import Path
from typing import TYPE_CHECKING

import _harness

from greenrun.sampler import loop, runlog
from greenrun.sampler.clock import Clock
from greenrun.sampler.model import BaseSource, Counter, Device, Machine, Opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.sampler.model import Kind

WEEK_SECONDS = 7 * 86400.0
DEVICES = 12
RAPL_DEVICES = 4  # the others are GPUs
RAPL_SPAN_MICROJOULES = 262_143_328_851
UPTIME_SECONDS = 30 * 86400
LIMIT_MEGABYTES = 10
WATTS = 187.293751


class MovedClock(Clock):
    """It is the same moment until somebody moves it; the machine never sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._monotonic, self._utc = real_time.monotonic(), real_time.time()

    def monotonic(self) -> float:
        """Give CLOCK_MONOTONIC as it would be."""
        return self._monotonic + self.passed

    def boottime(self) -> float:
        """Give CLOCK_BOOTTIME as it would be."""
        return self.monotonic()

    def utc(self) -> float:
        """Give UTC as it would be."""
        return self._utc + self.passed


class Steady(BaseSource):
    """Devices that draw the same all the time."""

    def __init__(self, clock: MovedClock) -> None:
        super().__init__(name="steady")
        self._clock = clock

    def open(self, _machine: Machine) -> Opened:
        """Give the devices."""
        return Opened(tuple(self._device(at) for at in range(DEVICES)))

    def read(self) -> Sequence[Counter]:
        """Give counters that began long before the run: RAPL's wrap, those of a GPU are millijoules for ever."""
        now = self._clock.monotonic()
        microjoules = int((UPTIME_SECONDS + self._clock.passed) * WATTS * 1e6)
        rapl = Counter(now, microjoules % RAPL_SPAN_MICROJOULES)
        gpu = Counter(now, microjoules // 1000 * 1000)
        return [rapl] * RAPL_DEVICES + [gpu] * (DEVICES - RAPL_DEVICES)

    def utilisation(self) -> Sequence[float]:
        """Give a utilisation as long as NVML's, a whole number of per cent."""
        return [0.97] * DEVICES

    def _device(self, at: int) -> Device:
        if at >= RAPL_DEVICES:
            return Device(f"steady:{at}", "gpu", "steady", "steady", "counter", 5.0, 1000.0)
        kind: Kind = "cpu" if at < RAPL_DEVICES / 2 else "dram"
        span = RAPL_SPAN_MICROJOULES - 1
        return Device(f"steady:{at}", kind, "steady", "steady", "counter", 5.0, 1000.0, span_microjoules=span)


def main() -> None:
    """Let a week pass and show the size of the log."""
    clock = MovedClock()
    before = real_time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        writer = runlog.Writer()
        writer.open(folder)
        sampler = loop.Sampler(Machine(), writer, 1.0, clock.monotonic(), clock=clock, meters=[Steady(clock)])
        sampler.open_fast()
        sampler.begin()
        sampler.follow(os.getpid())
        started = clock.monotonic()
        while clock.passed < WEEK_SECONDS:
            clock.passed = max(sampler.due() - started, clock.passed + 1e-3)
            sampler.tick()
        sampler.sample()
        sampler.close()
        path = Path(folder, runlog.LOG_NAME)
        size, lines = path.stat().st_size, path.read_text().count("\n")
    taken = real_time.process_time() - before
    unthinned = size / lines * WEEK_SECONDS
    ratio = size / unthinned
    rows = [[f"{DEVICES} devices", f"{lines}", f"{size / 1e6:.2f} MB", f"{LIMIT_MEGABYTES} MB", f"{ratio:.3f}"]]
    columns = ["a week", "lines", "size", "limit", "ratio to a line a second"]
    figures = {"devices": DEVICES, "lines": lines, "bytes": size, "unthinned_bytes": unthinned, "cpu_seconds": taken}
    _harness.show("log_size", __doc__, columns, rows, figures)


if __name__ == "__main__":
    main()
