"""A job's share of the node that it ran on: pure, from the samples of a scheduler's job.

- CPU: from window to window, the node's energy by the job's part of the CPU time that was busy.
- Memory: the node's energy by the part of the memory that the job was given; where that is not known, by what it used.
- GPUs: those that the scheduler gave to the job, whole.

What a node draws while nobody works goes with whoever works at all: no floor is taken off, hence the method "unsplit".
A split into what a node draws anyway, which the allocated cores would share out, and what the work adds belongs into
`_of_cpu` and takes a method name of its own. Energy in a window in which no CPU was busy is nobody's.

Over the same moments the shares of a node's jobs add up to no more than the node. Two daemons read at different
moments, so their sum may be off by as much as power and load change together between two samples: some per cent where
jobs take turns within seconds, nothing where they do not.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports.energy import Curve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from greenrun.reports.energy import Measured
    from greenrun.reports.job import Job
    from greenrun.reports.life import Life
    from greenrun.reports.record import Energy, Event, Share, SharedBy
    from greenrun.sampler.model import Kind

WINDOW_SECONDS = 0.5
"""Samples closer than this are taken together: /proc/stat moves in hundredths of a second on each CPU."""


class Shared(NamedTuple):
    """The job's energy by kind, None where its part is not known, and how it was told."""

    energy_joules: Energy
    share: Share


class _Part(NamedTuple):
    """The job's joules of one kind, by what they were told, and until when that is known."""

    joules: float
    by: SharedBy
    until_t: float


class _Life(NamedTuple):
    """What the parts are worked out from."""

    begin: float
    end: float
    samples: Sequence[Event]
    devices: Sequence[Measured]


def share(
    events: Sequence[Event], life: Life, devices: Sequence[Measured], job: Job | None, node_joules: Energy
) -> Shared:
    """Give the job's share of `node_joules`, the node's energy over the job's life."""
    lived = _Life(life.begin, life.end, [event for event in events if event["event"] == "sample"], devices)
    cpu = _of_cpu(lived)
    dram = _of_memory(lived, job["AllocMemBytesHere"] if job else None)
    gpu = _of_gpus(lived)
    joules: Energy = {
        "cpu": _within(cpu, node_joules["cpu"]),
        "dram": _within(dram, node_joules["dram"]),
        "gpu": _within(gpu, node_joules["gpu"]),
        "other": None,
        "total": None,
    }
    of_node = [
        (node_joules["cpu"], joules["cpu"]),
        (node_joules["dram"], joules["dram"]),
        (node_joules["gpu"], joules["gpu"]),
        (node_joules["other"], joules["other"]),
    ]
    known = [part for whole, part in of_node if whole is not None and part is not None]
    if known and len(known) == sum(whole is not None for whole, _ in of_node):  # a part of a sum is no sum
        joules["total"] = math.fsum(known)
    return Shared(
        joules,
        {
            "method": "unsplit",
            "cpu": cpu.by if cpu and joules["cpu"] is not None else None,
            "dram": dram.by if dram and joules["dram"] is not None else None,
            "gpu": gpu.by if gpu and joules["gpu"] is not None else None,
            "known_percent": _known_percent(life, [part.until_t for part in (cpu, dram) if part]),
        },
    )


def _known_percent(life: Life, until: Sequence[float]) -> float | None:
    if not until:
        return None
    seconds = min(*until, life.end) - life.begin
    return 100.0 * seconds / life.duration_seconds if life.duration_seconds else 100.0


def _within(part: _Part | None, whole: float | None) -> float | None:
    """Keep a part from being more than the whole by the last digit; None where one of them is unknown."""
    return None if part is None or whole is None else min(part.joules, whole)


def _of_cpu(lived: _Life) -> _Part | None:
    """Weigh the CPUs' energy, window by window, by the job's part of the busy CPU time; None where that is unknown."""
    read = [
        (float(event["t"]), float(event["cpu"][0]), float(event["cpu"][1]))
        for event in lived.samples
        if event.get("cpu") and event["cpu"][0] is not None and event["cpu"][1] is not None
    ]
    if not read or read[-1][0] < lived.begin:
        return None
    # A job has used nothing before its beginning, when its cgroup is not there to be read.
    used = _curve([(lived.begin, 0.0), *((t, job) for t, job, _ in read)])
    busy = _curve(
        [
            (float(event["t"]), float(event["cpu"][1]))
            for event in lived.samples
            if event.get("cpu") and event["cpu"][1] is not None
        ]
    )

    def part(from_t: float, to_t: float) -> float:
        of_job, of_all = used.between(from_t, to_t), busy.between(from_t, to_t)
        return of_job / max(of_job, of_all) if of_job > 0.0 else 0.0

    joules = _weighed(lived, "cpu", [t for t, _, _ in read], part)
    return None if joules is None else _Part(joules, "busy-time", read[-1][0])


def _of_memory(lived: _Life, allocated_bytes: int | None) -> _Part | None:
    """Weigh the memory's energy by what the job was given of all memory, or by what it used of it."""
    read = [(float(event["t"]), event["mem"]) for event in lived.samples if event.get("mem")]
    sizes = [float(mem[2]) for _, mem in read if mem[2]]
    if not sizes:
        return None
    if allocated_bytes is not None:
        fraction = min(1.0, allocated_bytes / sizes[-1])
        joules = _weighed(lived, "dram", [lived.end], lambda _from, _to: fraction)
        return None if joules is None else _Part(joules, "allocated-memory", lived.end)
    held = [(t, float(mem[0])) for t, mem in read if mem[0] is not None]
    if not held or held[-1][0] < lived.begin:
        return None
    level = _curve([(lived.begin, 0.0), *held])

    def part(from_t: float, to_t: float) -> float:
        return min(1.0, (level.at(from_t) + level.at(to_t)) / 2.0 / sizes[-1])

    joules = _weighed(lived, "dram", [t for t, _ in held], part)
    return None if joules is None else _Part(joules, "used-memory", held[-1][0])


def _of_gpus(lived: _Life) -> _Part | None:
    """Sum the job's GPUs; None where one of the node's may or may not be the job's, or where there is none."""
    gpus = list(_counted(lived.devices, "gpu"))
    if not gpus or any(device.entry.get("of_job") is None for device in gpus):
        return None
    joules = [device.energy_joules for device in gpus if device.entry["of_job"]]
    known = [value for value in joules if value is not None]
    return None if len(known) < len(joules) else _Part(math.fsum(known), "devices", lived.end)


def _counted(devices: Sequence[Measured], kind: Kind) -> Iterator[Measured]:
    return (device for device in devices if device.entry["counted"] and device.entry["kind"] == kind)


def _weighed(lived: _Life, kind: Kind, moments: Sequence[float], part: Callable[[float, float], float]) -> float | None:
    """Sum a kind's energy over the windows between the moments, each by its part; None if the kind was not read."""
    curves = [device.curve for device in _counted(lived.devices, kind) if device.curve]
    if not curves:
        return None
    return math.fsum(
        part(from_t, to_t) * math.fsum(curve.between(from_t, to_t) for curve in curves)
        for from_t, to_t in pairwise(_cuts(lived, moments))
    )


def _cuts(lived: _Life, moments: Sequence[float]) -> list[float]:
    """Give where windows begin and end: none is shorter than `WINDOW_SECONDS`, but for a life that is."""
    last_t = min(lived.end, moments[-1])
    cuts = [lived.begin]
    cuts += [t for t in moments if lived.begin < t < last_t]
    kept = cuts[:1]
    for t in cuts[1:]:
        if t - kept[-1] >= WINDOW_SECONDS and last_t - t >= WINDOW_SECONDS:
            kept.append(t)
    return [*kept, last_t]


def _curve(points: Sequence[tuple[float, float]]) -> Curve:
    """Make a curve of the points that move forward in time."""
    forward: list[tuple[float, float]] = []
    for t, value in points:
        if not forward or t > forward[-1][0]:
            forward.append((t, value))
    return Curve(forward)
