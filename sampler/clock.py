"""The clocks that the sampler goes by, as one thing, so that tests and benchmarks can bring a clock that they move."""

from __future__ import annotations

import time


class Clock:
    """The system's clocks, in seconds."""

    def monotonic(self) -> float:
        """Give CLOCK_MONOTONIC, which stands still while the machine is suspended."""
        return time.monotonic()

    def boottime(self) -> float:
        """Give CLOCK_BOOTTIME, which goes on while the machine is suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def utc(self) -> float:
        """Give seconds since 1970, which somebody may set."""
        return time.time()
