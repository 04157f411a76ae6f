"""Power over time with an exact integral.

Times are seconds since the machine's epoch, powers watts, energies joules. `profile.h` holds the same formulas in C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Square:
    """A square wave: `high_watts` for the first `duty` of each period, `low_watts` for the rest.

    `phase` is a fraction of a period: with 0 a period begins at the epoch.
    """

    low_watts: float
    high_watts: float
    hz: float
    phase: float
    duty: float

    def power(self, t: float) -> float:
        """Give the power in watts at `t`."""
        periods = t * self.hz + self.phase
        return self.high_watts if periods - math.floor(periods) < self.duty else self.low_watts

    def energy(self, t0: float, t1: float) -> float:
        """Give the energy in joules from `t0` to `t1`."""
        high_seconds = (self._high_periods(t1) - self._high_periods(t0)) / self.hz
        return self.low_watts * (t1 - t0) + (self.high_watts - self.low_watts) * high_seconds

    def _high_periods(self, t: float) -> float:
        periods = t * self.hz + self.phase
        whole = math.floor(periods)
        return whole * self.duty + min(periods - whole, self.duty)


@dataclass(frozen=True)
class Profile:
    """A sum of square waves. Profiles add with `+`."""

    parts: tuple[Square, ...] = ()

    def __add__(self, other: Profile) -> Profile:
        return Profile(self.parts + other.parts)

    def power(self, t: float) -> float:
        """Give the power in watts at `t`."""
        return math.fsum(part.power(t) for part in self.parts)

    def energy(self, t0: float, t1: float) -> float:
        """Give the energy in joules from `t0` to `t1`."""
        return math.fsum(part.energy(t0, t1) for part in self.parts)

    @property
    def peak_watts(self) -> float:
        """The power that is never exceeded."""
        return math.fsum(max(part.low_watts, part.high_watts) for part in self.parts)

    def lines(self) -> list[str]:
        """Give the profile as the lines that `profile.h` reads."""
        return [f"power {p.low_watts!r} {p.high_watts!r} {p.hz!r} {p.phase!r} {p.duty!r}" for p in self.parts]


def constant(watts: float) -> Profile:
    """Give the same power for ever: a square wave that never leaves its high part."""
    return Profile((Square(float(watts), float(watts), 1.0, 0.0, 1.0),))


def square(low_watts: float, high_watts: float, hz: float, phase: float, duty: float = 0.5) -> Profile:
    """Give a square wave that begins `phase` of a period into its high part."""
    return Profile((Square(float(low_watts), float(high_watts), float(hz), float(phase), float(duty)),))
