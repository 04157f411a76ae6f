"""From the samples to each device's energy over the command's life, and how sure the sums are.

Samples hold cumulative joules, so the energy of any stretch is a difference; between two samples power is taken to be
constant. Nothing is extrapolated past a device's last reading. Before its first one (NVML takes seconds to come up)
the device is filled with the mean power of its first seconds, and the whole fill is added to its uncertainty.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greenrun.reports.life import Life
    from greenrun.reports.record import Event

FILL_POWER_SECONDS = 2.0
"""The stretch whose mean power fills what came before: many readings of a GPU's counter, which moves each 0.1 s."""

FILL_LARGEST_SECONDS = 60.0
"""A longer stretch is left out and said to be missing: a device that comes so late was asleep or not there, and its
power afterwards says nothing about its power before."""

MISSING_SHARE = 0.01
"""The part of the command's life that may be filled or missing without a warning."""

MISSING_SECONDS = 0.05
"""Less than this is never called missing at the end: the last sample and the exit are noticed milliseconds apart."""


class Curve:
    """Cumulative joules of one device over time, linear between its points and constant outside."""

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self._times = [t for t, _ in points]
        self._joules = [joules for _, joules in points]

    @property
    def first_t(self) -> float:
        """When the device was first read."""
        return self._times[0]

    @property
    def times(self) -> list[float]:
        """The moments at which it was read, in order."""
        return self._times

    @property
    def last_t(self) -> float:
        """When the device was last read."""
        return self._times[-1]

    def at(self, t: float) -> float:
        """Give the joules at `t`."""
        after = bisect_right(self._times, t)
        if after == 0:
            return self._joules[0]
        if after == len(self._times):
            return self._joules[-1]
        before = after - 1
        share = (t - self._times[before]) / (self._times[after] - self._times[before])
        return self._joules[before] + share * (self._joules[after] - self._joules[before])

    def between(self, from_t: float, to_t: float) -> float:
        """Give the joules from one moment to a later one; interpolation may miss 0 by the last digit."""
        return max(0.0, self.at(to_t) - self.at(from_t))

    def started_at(self, t: float, joules: float) -> Curve:
        """Give a curve that begins at an earlier `t`, with `joules` from there to the first point."""
        return Curve([(t, self._joules[0] - joules), *zip(self._times, self._joules, strict=True)])

    def weighed(self, cuts: Sequence[float], factors: Sequence[float]) -> Curve:
        """Give a curve that rises, between two cuts each, by a factor of what this one rises by, and stands elsewhere.

        `cuts` are in order, and one more than the factors.
        """
        points = [(cuts[0], 0.0)]
        total, before, index = 0.0, self.at(cuts[0]), bisect_right(self._times, cuts[0])
        for to_t, factor in zip(cuts[1:], factors, strict=True):
            while index < len(self._times) and self._times[index] < to_t:
                points.append((self._times[index], total + factor * (self._joules[index] - before)))
                index += 1
            after = self.at(to_t)
            total, before = total + factor * (after - before), after
            if to_t > points[-1][0]:
                points.append((to_t, total))
        return Curve(points)


class Measured(NamedTuple):
    """What is known of one device: its entry in the run log and, if it was read at all, its curve.

    `from_t` and `until_t` are on the run log's clock, None where the readings cover the command's life to that end.
    `half_width_joules` is the half-width of the 95 % interval of `energy_joules`.
    """

    entry: Event
    curve: Curve | None
    energy_joules: float | None
    half_width_joules: float
    filled_joules: float
    from_t: float | None
    until_t: float | None

    @property
    def uncertainty_percent(self) -> float | None:
        """The half-width as a share of the energy; the method's own where there is no energy to compare with."""
        if not self.energy_joules:
            own: float | None = self.entry["uncertainty_percent"]
            return own
        return 100.0 * self.half_width_joules / self.energy_joules


def device_entries(events: Iterable[Event]) -> list[Event]:
    """Give all devices in the order of the samples' arrays: those of `start`, then those that joined.

    Whose a device is was sometimes known only later, and whether it counts may have changed when others joined: the
    last word on it holds for the whole run, so that no joule of it is counted twice.
    """
    entries: list[Event] = []
    counted: dict[str, bool] = {}
    whose: dict[str, Event] = {}
    for event in events:
        if event["event"] in ("start", "device"):
            entries += event.get("devices") or ()
            counted |= event.get("counted") or {}
        elif event["event"] == "whose":
            whose |= {word["id"]: word for word in event["devices"]}
    known = ("of_job", "job_part", "note", "shared")
    entries = [entry | {"counted": counted.get(entry["id"], entry["counted"])} for entry in entries]
    return [
        entry | {name: whose[entry["id"]].get(name) for name in known} if entry["id"] in whose else entry
        for entry in entries
    ]


def measure(events: Sequence[Event], life: Life | None) -> list[Measured]:
    """Give what each device used over the command's life."""
    entries = device_entries(events)
    if life is None:
        return [_unread(entry) for entry in entries]
    samples = [event for event in events if event["event"] == "sample"]
    lost: dict[Any, float] = {
        event.get("device"): event["t"] if event.get("from_t") is None else event["from_t"]
        for event in events
        if event["event"] == "warning" and event["code"] == "lost"
    }
    columns: list[list[tuple[float, float]]] = [[] for _ in entries]
    for sample in samples:
        t = float(sample["t"])
        for column, joules in zip(columns, sample["j"], strict=False):  # devices that come later are not in it yet
            if joules is not None:
                column.append((t, float(joules)))
    return [_measure(entry, _curve(entry, read), life, lost) for entry, read in zip(entries, columns, strict=True)]


def _unread(entry: Event) -> Measured:
    return Measured(entry, None, None, 0.0, 0.0, None, None)


def _curve(entry: Event, read: Sequence[tuple[float, float]]) -> Curve | None:
    """Give a device's curve from what its column in the samples holds, None if it was never read."""
    if not read:
        return None
    from_t = entry.get("from_t")
    points = [(float(from_t), 0.0)] if from_t is not None and from_t < read[0][0] else []
    for t, joules in read:
        if not points or t > points[-1][0]:
            points.append((t, joules))
    return Curve(points)


def _measure(entry: Event, curve: Curve | None, life: Life, lost: dict[Any, float]) -> Measured:
    if curve is None:
        return _unread(entry)
    last_t = min(curve.last_t, lost.get(entry["id"], math.inf))
    if curve.between(last_t, life.end) > 0.0:  # it came back
        last_t = curve.last_t
    covered_seconds = min(last_t, life.end) - max(curve.first_t, life.begin)
    if covered_seconds < 0.0 or (covered_seconds == 0.0 and life.end > life.begin):
        return _unread(entry)  # read only before or after the command: 0 J would be a lie
    late_seconds = curve.first_t - life.begin
    filled_joules = _fill(curve, late_seconds)
    if filled_joules:
        curve = curve.started_at(life.begin, filled_joules)
    energy_joules = curve.between(life.begin, life.end)
    own_joules = max(0.0, energy_joules - filled_joules)
    resolution_seconds = max(0.0, entry.get("resolution_seconds") or 0.0)
    if energy_joules == 0.0 and life.duration_seconds < 2.0 * resolution_seconds:
        return _unread(entry)  # shorter than the time between two readings, and none came: that is no 0 J
    resolution_joules = max(0.0, entry.get("resolution_joules") or 0.0) + _old_joules(curve, life, resolution_seconds)
    return Measured(
        entry=entry,
        curve=curve,
        energy_joules=energy_joules,
        half_width_joules=own_joules * entry["uncertainty_percent"] / 100.0 + filled_joules + resolution_joules,
        filled_joules=filled_joules,
        from_t=life.begin + late_seconds if late_seconds > 0.0 else None,
        until_t=last_t if life.end - last_t > missing_seconds(life) else None,
    )


def _fill(curve: Curve, late_seconds: float) -> float:
    """Give the joules for the stretch between the command's start and the device's first reading."""
    window_seconds = min(FILL_POWER_SECONDS, curve.last_t - curve.first_t)
    if not 0.0 < late_seconds <= FILL_LARGEST_SECONDS or window_seconds <= 0.0:
        return 0.0
    return late_seconds * curve.between(curve.first_t, curve.first_t + window_seconds) / window_seconds


def _old_joules(curve: Curve, life: Life, seconds: float) -> float:
    """Give what the energy may be off by because readings are up to so many seconds old: so much time's energy.

    A reading at the start counts too much and one at the end too little, at the powers of those moments. The powers
    around both ends are taken, or the mean one, whichever is greatest.
    """
    if seconds <= 0.0:
        return 0.0
    mean_watts = curve.between(life.begin, life.end) / max(life.duration_seconds, seconds)
    around = 2.0 * seconds  # within that at least one reading is a new one
    first_watts = curve.between(life.begin, life.begin + around) / around
    last_watts = curve.between(life.end - around, life.end) / around
    return seconds * max(mean_watts, first_watts, last_watts)


def missing_seconds(life: Life) -> float:
    """Give how long a device may be missing at the end before the record says so."""
    return max(MISSING_SECONDS, MISSING_SHARE * life.duration_seconds)


def sum_joules(devices: Iterable[Measured], from_t: float, to_t: float) -> float | None:
    """Give the counted devices' energy from one moment to another, None if none of them was read."""
    curves = [device.curve for device in devices if device.curve and device.entry["counted"]]
    return math.fsum(curve.between(from_t, to_t) for curve in curves) if curves else None


def sum_half_widths(devices: Iterable[Measured]) -> float:
    """Give the half-width of the counted devices' sum, in joules.

    Devices of one method are wrong in the same direction, so their half-widths add; different methods know nothing of
    each other, so theirs add as squares.
    """
    by_method: dict[str, float] = {}
    for device in devices:
        if device.entry["counted"]:
            method = device.entry["method"]
            by_method[method] = by_method.get(method, 0.0) + device.half_width_joules
    return math.hypot(*by_method.values())
