"""The meter: any sequence of readings becomes cumulative joules, or a warning, never a wrong number in silence.

Pure: no clock, no files. Cumulative totals make every later step simple: a lost line loses nothing, and any two lines
give the exact energy between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from greenrun.sampler.model import Counter, Power

if TYPE_CHECKING:
    from greenrun.sampler.model import Device, Reading

Code = Literal["reset", "ambiguous", "gap"]

# A power is polled ten times a second; across a longer silence than this the trapezoid would be a guess.
LONGEST_POWER_GAP_SECONDS = 5.0
# Counters move in steps (RAPL about every millisecond, NVML every 20 to 100 ms): over a shorter interval than this a
# step can look like an impossible power.
_STEP_SECONDS = 0.1
# A device that used nothing at all for this long before the end has rather not been heard: several steps of a counter.
_LONGEST_SILENCE_SECONDS = 0.5


class Trouble(NamedTuple):
    """A stretch of time in which the meter could not know: why, from when to when (CLOCK_MONOTONIC seconds)."""

    code: Code
    from_t: float
    to_t: float
    sentence: str


class Meter:
    """The cumulative joules of one device since its first reading; `joules` is None before it.

    `known_at` is the CLOCK_MONOTONIC time up to which they hold: that of the last good power, or of the last reading
    at which the counter had moved. A counter that stands still (it does while its device is out of reach) and then
    shows the truth again has so much more time in which to have used the difference.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.joules: float | None = None
        self.raw_microjoules: int | None = None
        self.known_at: float | None = None
        self._microjoules = 0
        self._watts: float | None = None
        self._troubles: list[Trouble] = []

    def update(self, reading: Reading | None) -> None:
        """Take one more reading; one that failed (None), or that comes from the past, keeps the last good one."""
        if reading is None or (self.known_at is not None and reading.t < self.known_at):
            return
        if isinstance(reading, Counter):
            self._count(reading)
        else:
            self._integrate(reading)

    def resume(self, t: float, joules: float, raw_microjoules: int | None) -> None:
        """Go on from what an earlier sampler had reached at `t`.

        A hardware counter went on counting and bridges the time since then; for other methods that time is lost, and
        `bridges` is False.
        """
        self.joules, self.known_at = joules, t
        self._microjoules = round(joules * 1e6)
        self.raw_microjoules = raw_microjoules if self.bridges else None

    @property
    def bridges(self) -> bool:
        """Whether the device counts on by itself while nobody reads it."""
        return self.device.method == "counter"

    def end(self, t: float) -> None:
        """Take the end of the measuring, CLOCK_MONOTONIC seconds: a device that had fallen silent before is told."""
        longest_seconds = _LONGEST_SILENCE_SECONDS + self.device.resolution_seconds
        if self.known_at is not None and t - self.known_at > longest_seconds:
            sentence = (
                f"{self.device.name} showed no use of energy in the last {t - self.known_at:.1f} s of the measuring; "
                f"what it used in them is not counted."
            )
            self._troubles.append(Trouble("gap", self.known_at, t, sentence))

    def troubles(self) -> list[Trouble]:
        """Hand over the troubles since the last call."""
        out, self._troubles = self._troubles, []
        return out

    def _count(self, reading: Counter) -> None:
        before, since = self.raw_microjoules, self.known_at
        if reading.microjoules == before:
            return  # it stands still; the time since it moved stays open
        self.raw_microjoules, self.known_at = reading.microjoules, reading.t
        if before is not None and since is not None:
            delta, trouble = difference(self.device, before, since, reading)
            if trouble is not None:
                self._troubles.append(trouble)
            self._microjoules += delta  # whole microjoules: no rounding piles up over a week of samples
        self.joules = self._microjoules / 1e6

    def _integrate(self, reading: Power) -> None:
        if not 0 <= reading.watts <= self.device.max_watts:
            return  # nonsense (NaN too): as if this reading had failed
        watts, since = self._watts, self.known_at
        self._watts, self.known_at = reading.watts, reading.t
        if self.joules is None:
            self.joules = 0.0
        if watts is None or since is None:
            return
        seconds = reading.t - since
        if seconds > LONGEST_POWER_GAP_SECONDS:
            sentence = f"The power of {self.device.name} was not read for {seconds:.0f} s; that stretch is not counted."
            self._troubles.append(Trouble("gap", since, reading.t, sentence))
        else:
            self.joules += (watts + reading.watts) / 2 * seconds


def difference(device: Device, before: int, since: float, now: Counter) -> tuple[int, Trouble | None]:
    """Give the microjoules between two counter readings, and what is doubtful about them.

    A smaller value is a wrap if the power it implies is possible, else the counter was reset: that interval is
    dropped. A stretch so long that the counter could have wrapped twice at the device's highest power is ambiguous:
    the smallest possible answer is taken, and said to be that.
    """
    seconds = now.t - since
    delta = now.microjoules - before
    if device.span_microjoules is not None:
        delta %= device.span_microjoules + 1
    possible = device.max_watts * max(seconds, _STEP_SECONDS) * 1e6
    if not 0 <= delta <= possible:
        sentence = (
            f"The counter of {device.name} went from {before / 1e6:.1f} J to {now.microjoules / 1e6:.1f} J within "
            f"{seconds:.1f} s, which no such device can use: it was reset, and that interval is not counted."
        )
        return 0, Trouble("reset", since, now.t, sentence)
    if device.span_microjoules is not None and delta + device.span_microjoules + 1 <= possible:
        sentence = (
            f"The counter of {device.name} showed nothing new for {seconds:.0f} s and may have wrapped more than once; "
            f"the smallest possible energy is counted."
        )
        return delta, Trouble("ambiguous", since, now.t, sentence)
    return delta, None
