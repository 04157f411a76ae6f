"""The phases of a run: how long the job was in each, and what that took."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from greenrun.reports.energy import Measured, sum_joules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.life import Life
    from greenrun.reports.record import Event, Phase, Stretch

MOST_STRETCHES_TOLD = 1000
"""Of each phase; the sums hold all of them."""


def phases(events: Sequence[Event], life: Life, devices: Sequence[Measured]) -> list[Phase]:
    """Give the phases of the command's life in the order in which they first began.

    One that was not ended lasts as long as the command.
    """
    stretches: dict[str, list[Stretch]] = {}
    begun: dict[str, float] = {}
    marks = sorted((event for event in events if event["event"] == "phase"), key=lambda mark: float(mark["t"]))
    for mark in marks:
        name, t = mark["name"], min(max(mark["t"], life.begin), life.end)
        if mark["mark"] == "start":
            stretches.setdefault(name, [])
            begun.setdefault(name, t)
        elif name in begun:
            stretches[name].append(_stretch(begun.pop(name), t, life, devices))
    for name, t in begun.items():
        stretches[name].append(_stretch(t, life.end, life, devices))
    return [_phase(name, found) for name, found in stretches.items()]


def _stretch(from_t: float, to_t: float, life: Life, devices: Sequence[Measured]) -> Stretch:
    return {
        "from": from_t - life.begin,
        "duration_seconds": to_t - from_t,
        "energy_joules": sum_joules(devices, from_t, to_t),
    }


def _phase(name: str, stretches: list[Stretch]) -> Phase:
    joules = [stretch["energy_joules"] for stretch in stretches if stretch["energy_joules"] is not None]
    return {
        "name": name,
        "times": len(stretches),
        "duration_seconds": math.fsum(stretch["duration_seconds"] for stretch in stretches),
        "energy_joules": math.fsum(joules) if joules else None,
        "stretches": stretches[:MOST_STRETCHES_TOLD],
    }
