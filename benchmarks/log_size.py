"""How large the run log of an hour, a day and a week becomes: the sampler's own loop on a clock that runs ahead.

A third of the devices are packages and their memory, the others GPUs, with counters as large as a month of use makes
them: the lines are as long as in a real log. Lines come a second apart at first and up to a minute apart later. Held
against: 10 MB for a week of two packages, their memory and eight GPUs.
"""

from __future__ import annotations

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

SPANS_SECONDS = {"an hour": 3600.0, "a day": 86400.0, "a week": 7 * 86400.0}
DEVICES = (2, 12, 64)
HELD_DEVICES = 12
RAPL_SHARE = 3  # one in three; the others are GPUs
RAPL_SPAN_MICROJOULES = 262_143_328_851
UPTIME_SECONDS = 30 * 86400
LIMIT_MEGABYTES = 10
WATTS = 187.293751
BUSY_CPUS, JOB_BYTES = 31.7, 412_316_860_416


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

    def __init__(self, clock: MovedClock, devices: int) -> None:
        super().__init__(name="steady")
        self._clock = clock
        self._devices = devices
        self._rapl = max(devices // RAPL_SHARE, 2)

    def open(self, _machine: Machine) -> Opened:
        """Give the devices."""
        return Opened(tuple(self._device(at) for at in range(self._devices)))

    def read(self) -> Sequence[Counter]:
        """Give counters that began long before the run: RAPL's wrap, those of a GPU are millijoules for ever."""
        now = self._clock.monotonic()
        microjoules = int((UPTIME_SECONDS + self._clock.passed) * WATTS * 1e6)
        rapl = Counter(now, microjoules % RAPL_SPAN_MICROJOULES)
        gpu = Counter(now, microjoules // 1000 * 1000)
        return [rapl] * self._rapl + [gpu] * (self._devices - self._rapl)

    def utilisation(self) -> Sequence[float]:
        """Give a utilisation as long as NVML's, a whole number of per cent."""
        return [0.97] * self._devices

    def _device(self, at: int) -> Device:
        if at >= self._rapl:
            return Device(f"steady:{at}", "gpu", "steady", "steady", "counter", 5.0, 1000.0)
        kind: Kind = "cpu" if at < self._rapl / 2 else "dram"
        span = RAPL_SPAN_MICROJOULES - 1
        return Device(f"steady:{at}", kind, "steady", "steady", "counter", 5.0, 1000.0, span_microjoules=span)


def sizes(devices: int) -> dict[str, tuple[int, int]]:
    """Let the longest span pass, and give the size and the lines of the log after each."""
    clock = MovedClock()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        writer = runlog.Writer()
        writer.open(folder)
        meters = [Steady(clock, devices)]
        sampler = loop.Sampler(Machine(), writer, 1.0, clock.monotonic(), clock=clock, meters=meters)
        sampler.open_fast()
        sampler.begin()
        sampler.follow_usage(lambda: (clock.passed * BUSY_CPUS, JOB_BYTES))
        started = clock.monotonic()
        path = Path(folder, runlog.LOG_NAME)
        for span, seconds in SPANS_SECONDS.items():
            while clock.passed < seconds:
                # From line to line: what is read in between, 600,000 times a week, leaves nothing in the log.
                clock.passed = max(sampler._next_line - started, clock.passed + 1e-3)
                sampler.sample()
            found[span] = path.stat().st_size, path.read_text().count("\n")
        sampler.close()
    return found


def main() -> None:
    """Let a week pass for each number of devices and show the sizes of the logs."""
    rows, figures = [], {}
    for devices in DEVICES:
        before = real_time.process_time()
        found = sizes(devices)
        taken = real_time.process_time() - before
        size, lines = found["a week"]
        unthinned = size / lines * SPANS_SECONDS["a week"]
        megabytes = [f"{size / 1e6:.2f} MB" for size, _ in found.values()]
        limit = f"{LIMIT_MEGABYTES} MB" if devices == HELD_DEVICES else ""
        rows.append([f"{devices} devices", *megabytes, limit, f"{lines}", f"{size / unthinned:.3f}"])
        figures[devices] = {"sizes_and_lines": found, "unthinned_bytes": unthinned, "cpu_seconds": taken}
    columns = ["", *SPANS_SECONDS, "limit", "lines in a week", "ratio to a line a second"]
    _harness.show("log_size", __doc__, columns, rows, figures)


if __name__ == "__main__":
    main()
