"""A job's share of the machine that it ran on: pure, from the samples.

What is measured is transformed into what the job's devices would have shown: each device's curve, window by window, by
the job's part of it (`sampler/attribution.py` has the formula). Whatever is told of the machine's devices can then be
told of the job's in the same way: hours, epochs, phases, sums, uncertainties.

- CPU: by CPU time; the floor of a machine that was calibrated by the CPUs that the job was given.
- Memory: by the part of it that the job was given; where that is not known, by what it used.
- GPUs: whole, not at all, by a slice, or where others use them too by its part of the use, as far as that was told.

What counts and is of no such kind, a meter of a whole machine for one, has no part that is known. Energy in a window in
which no CPU was busy is nobody's, but for a floor.

Two daemons read at different moments, so the sum of two jobs' shares may be off by as much as power and load change
together between two samples: some per cent where jobs take turns within seconds, nothing where they do not.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from greenrun.reports.energy import Curve, Measured, device_entries
from greenrun.reports.life import first, kind
from greenrun.sampler import attribution
from greenrun.sampler.attribution import WINDOW_SECONDS, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from greenrun.reports.job import Job
    from greenrun.reports.life import Life
    from greenrun.reports.record import Energy, Event, Share, SharedBy
    from greenrun.sampler.model import Kind


class Shared(NamedTuple):
    """The job's devices, one for each of the machine's; and by kind its energy, and the idle floors of both.

    A device of which no part is known has no energy, a kind with such a one is None.
    """

    devices: list[Measured]
    energy_joules: Energy
    static_joules: Energy
    node_static_joules: Energy
    share: Share
    stands_for_ranks: bool = False


class _Told(NamedTuple):
    """What is told of a kind: the job's devices by place, the floors, by what, and of how many seconds."""

    devices: dict[int, Measured]
    static_joules: float | None
    node_static_joules: float | None
    by: SharedBy
    known_seconds: float


class _Run(NamedTuple):
    """What the parts are worked out from."""

    begin: float
    end: float
    events: Sequence[Event]
    samples: Sequence[Event]
    devices: Sequence[Measured]
    allocated: Mapping[str, Any] | None
    job: Job | None

    def of_kind(self, of: Kind) -> dict[int, Measured]:
        """Give the counted devices of a kind that were read, by place."""
        return {
            at: device
            for at, device in enumerate(self.devices)
            if device.entry["counted"] and device.entry["kind"] == of and device.curve
        }

    def floor_watts(self, of: Kind) -> float | None:
        """Give the idle power of a kind, None where it was not calibrated for just these devices."""
        floor = self.events[0].get("floor") or {}
        measured = set(floor.get("devices") or ())
        ids = {device.entry["id"] for device in self.of_kind(of).values()}
        watts: float | None = floor.get(f"{of}_watts")
        return watts if ids and ids <= measured else None


def share(
    events: Sequence[Event], life: Life, devices: Sequence[Measured], job: Job | None, node_joules: Energy
) -> Shared:
    """Give the job's share of `node_joules`, the machine's energy over the job's life."""
    samples = [event for event in events if event["event"] == "sample"]
    run = _Run(life.begin, life.end, events, samples, devices, _allocated(events, job), job)
    cpu, dram, gpu = _of_cpu(run), _of_memory(run), _of_gpus(run)
    told: dict[Kind, _Told | None] = {"cpu": cpu, "dram": dram, "gpu": gpu}
    of_job: dict[int, Measured] = {}
    for one in told.values():
        of_job |= one.devices if one else {}
    ours = [of_job.get(at) or _unknown(device) for at, device in enumerate(devices)]
    joules = _by_kind(
        node_joules, {of: math.fsum(d.energy_joules or 0.0 for d in one.devices.values()) for of, one in _known(told)}
    )
    nodes_idle: dict[Kind, float | None] = {of: _node_static(run, of, one) for of, one in told.items()}
    return Shared(
        devices=ours,
        energy_joules=joules,
        static_joules=_by_kind(node_joules, {of: one.static_joules for of, one in _known(told)}),
        node_static_joules=_by_kind(node_joules, nodes_idle),
        share={
            "method": "unsplit" if nodes_idle["cpu"] is None else "split",
            "cpu": cpu.by if cpu and joules["cpu"] is not None else None,
            "static": _static_by(run, cpu) if nodes_idle["cpu"] is not None else None,
            "dram": dram.by if dram and joules["dram"] is not None else None,
            "gpu": gpu.by if gpu and joules["gpu"] is not None else None,
            "fraction": _fractions(joules, node_joules),
            "known_percent": _known_percent(life, [one.known_seconds for _, one in _known(told)]),
        },
        stands_for_ranks=stands_for_ranks(events),
    )


def _known(told: Mapping[Kind, _Told | None]) -> list[tuple[Kind, _Told]]:
    return [(of, one) for of, one in told.items() if one is not None]


def _allocated(events: Sequence[Event], job: Job | None) -> Mapping[str, Any] | None:
    """Give what of the machine the job was given: as the log tells, else as a scheduler's variables do."""
    told: Mapping[str, Any] | None = events[0].get("allocated")
    cpus = job and job["AllocCPUSHere"]
    all_cpus = (events[0].get("machine") or {}).get("cpus")
    if told is not None or cpus is None or not isinstance(all_cpus, int):
        return told
    return {"cpus": cpus, "all_cpus": all_cpus, "memory_bytes": job and job["AllocMemBytesHere"], "by": "slurm"}


def _known_percent(life: Life, seconds: Sequence[float]) -> float | None:
    if not seconds:
        return None
    return 100.0 * min(1.0, min(seconds) / life.duration_seconds) if life.duration_seconds else 100.0


def _by_kind(node: Energy, joules: Mapping[Kind, float | None]) -> Energy:
    """Give joules by kind, kept from being more than the machine's by the last digit, with their sum.

    A part of a sum is no sum: it is None where a kind that the machine has is not known.
    """
    wholes: dict[Kind, float | None] = {kind: node[kind] for kind in ("cpu", "dram", "gpu", "other")}
    parts = {
        of: None if whole is None or (part := joules.get(of)) is None else min(part, whole)
        for of, whole in wholes.items()
    }
    known = [part for of, part in parts.items() if part is not None]
    whole = bool(known) and len(known) == sum(one is not None for one in wholes.values())
    return {
        "cpu": parts["cpu"],
        "dram": parts["dram"],
        "gpu": parts["gpu"],
        "other": parts["other"],
        "total": math.fsum(known) if whole else None,
    }


def _fractions(job: Energy, node: Energy) -> Energy:
    """Give the job's parts as fractions; None where one of the two is not known or is nothing."""

    def of(part: float | None, whole: float | None) -> float | None:
        return None if part is None or not whole else part / whole

    return {
        "cpu": of(job["cpu"], node["cpu"]),
        "dram": of(job["dram"], node["dram"]),
        "gpu": of(job["gpu"], node["gpu"]),
        "other": of(job["other"], node["other"]),
        "total": of(job["total"], node["total"]),
    }


def _node_static(run: _Run, of: Kind, told: _Told | None) -> float | None:
    """Give the idle floor of the machine's devices of a kind, in the windows that the job's was told by if any."""
    if told is not None:
        return told.node_static_joules
    watts, devices = run.floor_watts(of), run.of_kind(of)
    if watts is None or of == "gpu":
        return None
    joules = math.fsum(device.energy_joules or 0.0 for device in devices.values())
    return attribution.floor_joules(joules, run.end - run.begin, watts)


def _static_by(run: _Run, cpu: _Told | None) -> Literal["allocated-cpus", "busy-time"] | None:
    if cpu is None:
        return None
    return "busy-time" if attribution.given_fraction(run.allocated) is None else "allocated-cpus"


# --- CPU and memory


def _of_cpu(run: _Run) -> _Told | None:
    """Share out the CPUs' energy window by window; None where the job's CPU time is not known, or no CPU was read."""
    used = None if stands_for_ranks(run.events) else _job_cpu_seconds(run)
    busy = _curve(
        [
            (float(event["t"]), float(event["cpu"][1]))
            for event in run.samples
            if event.get("cpu") and event["cpu"][1] is not None
        ]
    )
    if used is None or busy is None:
        return None
    given = attribution.given_fraction(run.allocated)

    def part(from_t: float, to_t: float, joules: float, static_joules: float) -> Part:
        fraction = attribution.busy_fraction(used.between(from_t, to_t), busy.between(from_t, to_t))
        return attribution.by_cpu_time(joules, static_joules, fraction, given)

    return _shared_out(run, "cpu", _cuts(run, used.times), part, "busy-time")


def stands_for_ranks(events: Sequence[Event]) -> bool:
    """Tell whether the run stands for several ranks of its node: the CPU time in its samples is the first one's."""
    return bool(events[0].get("for_ranks"))


def _job_cpu_seconds(run: _Run) -> Curve | None:
    """Give the job's CPU time over time, None where it was never read.

    `job_t` of a sample tells when the figure in it was read, where that was before it. How much it was in the end the
    kernel tells whoever waits for a command; what it left behind to others is only in the samples.
    """
    read = [
        (float(event["t"] if event.get("job_t") is None else event["job_t"]), float(event["cpu"][0]))
        for event in run.samples
        if event.get("cpu") and event["cpu"][0] is not None and event["cpu"][1] is not None
    ]
    rusage = (first(run.events, "exited") or {}).get("rusage") if kind(run.events) == "command" else None
    if rusage:
        last = max((seconds for _, seconds in read), default=0.0)
        total = max(last, rusage["user_seconds"] + rusage["system_seconds"])
        read = [*((t, seconds) for t, seconds in read if t < run.end), (run.end, total)]
    if not read or read[-1][0] < run.begin or (read[-1][0] == run.begin and run.end > run.begin):
        return None
    # A job has used nothing before its beginning, when its cgroup is not there to be read; a piece of one may have.
    before = [seconds for t, seconds in read if t <= run.begin]
    so_far = _curve(read)
    begun = so_far.at(run.begin) if so_far is not None and before and before[-1] > 0.0 else 0.0
    return _curve([(run.begin, begun), *((t, seconds) for t, seconds in read if t > run.begin)])


def _of_memory(run: _Run) -> _Told | None:
    """Share out the memory's energy by what the job was given of all memory, or by what it used of it."""
    read = [(float(event["t"]), event["mem"]) for event in run.samples if event.get("mem")]
    sizes = [float(mem[2]) for _, mem in read if mem[2]]
    if not sizes:
        return None
    fraction = _given_memory(run, sizes[-1])
    percent = attribution.CPU_MODEL_PERCENT
    if fraction is not None:

        def given(_from_t: float, _to_t: float, joules: float, static_joules: float) -> Part:
            return attribution.by_fraction(joules, static_joules, fraction, percent)

        return _shared_out(run, "dram", [run.begin, run.end], given, "allocated-memory")
    held = [(t, float(mem[0])) for t, mem in read if mem[0] is not None]
    largest = ((first(run.events, "exited") or {}).get("rusage") or {}).get("max_rss_bytes")
    if largest is not None and run.end > run.begin:
        # It was there to its end, and of one too short to be looked at the kernel keeps the largest size.
        held.append((run.end, held[-1][1] if held else float(largest)))
    level = _curve([(run.begin, 0.0), *held])
    if not held or held[-1][0] < run.begin or level is None:
        return None

    def part(from_t: float, to_t: float, joules: float, static_joules: float) -> Part:
        mean = min(1.0, (level.at(from_t) + level.at(to_t)) / 2.0 / sizes[-1])
        return attribution.by_fraction(joules, static_joules, mean, percent)

    return _shared_out(run, "dram", _cuts(run, [t for t, _ in held]), part, "used-memory")


def _given_memory(run: _Run, all_bytes: float) -> float | None:
    """Give the part of the memory that the job was given, None where nobody told."""
    is_of_site = kind(run.events) == "job"
    size = run.job["AllocMemBytesHere"] if run.job and is_of_site else None
    if size is not None:
        return min(1.0, float(size) / all_bytes)
    of_job = all(device.entry.get("of_job") is True for device in run.of_kind("dram").values())
    return attribution.given_memory_fraction(run.allocated, all_bytes, is_given=of_job and not is_of_site)


def _shared_out(
    run: _Run,
    of: Kind,
    cuts: Sequence[float],
    part: Callable[[float, float, float, float], Part],
    by: SharedBy,
) -> _Told | None:
    """Share out a kind's energy between the cuts; None if the kind was not read."""
    devices = run.of_kind(of)
    if not devices:
        return None
    watts = run.floor_watts(of)
    factors, doubts = [], []
    static_joules = node_static_joules = 0.0
    reached = [math.fsum(device.curve.at(t) for device in devices.values() if device.curve) for t in cuts]
    for (from_t, to_t), (before, after) in zip(pairwise(cuts), pairwise(reached), strict=True):
        joules = max(0.0, after - before)
        floor = attribution.floor_joules(joules, to_t - from_t, watts)
        told = part(from_t, to_t, joules, floor)
        factors.append(told.joules / joules if joules > 0.0 else 0.0)
        doubts.append(told.half_width_joules / joules if joules > 0.0 else 0.0)
        static_joules += told.static_joules
        node_static_joules += floor
    rest = math.fsum(device.curve.between(cuts[-1], run.end) for device in devices.values() if device.curve)
    node_static_joules += attribution.floor_joules(rest, run.end - cuts[-1], watts)
    return _Told(
        {at: _part_of(device, run, cuts, factors, doubts) for at, device in devices.items()},
        None if watts is None else static_joules,
        None if watts is None else node_static_joules,
        by,
        cuts[-1] - run.begin,
    )


# --- GPUs


def _of_gpus(run: _Run) -> _Told | None:
    """Tell the job's part of each GPU; None where that of one is not known, or there is none."""
    counted = [at for at, device in enumerate(run.devices) if device.entry["counted"] and device.entry["kind"] == "gpu"]
    told = {at: _of_gpu(run, at) for at in counted}
    parts = {at: part for at, part in told.items() if part is not None}
    if not counted or len(parts) < len(counted):
        return None
    idle = [part.node_static_joules for part in parts.values()]
    ours = [part.static_joules for part in parts.values()]
    kinds = {part.by for part in parts.values()}
    ranked: tuple[SharedBy, ...] = ("utilisation", "slices", "devices")
    return _Told(
        {at: part.devices[at] for at, part in parts.items()},
        math.fsum(value or 0.0 for value in ours) if None not in ours else None,
        math.fsum(value or 0.0 for value in idle) if None not in idle else None,
        next(by for by in ranked if by in kinds),  # the least sure one
        min(part.known_seconds for part in parts.values()),
    )


def _of_gpu(run: _Run, at: int) -> _Told | None:
    device = run.devices[at]
    fixed = attribution.gpu_fraction(device.entry.get("of_job"), device.entry.get("job_part"), None)
    life = run.end - run.begin
    watts = ((run.events[0].get("floor") or {}).get("gpu_watts") or {}).get(device.entry["id"])
    if device.energy_joules is None or device.curve is None:
        # One that gave no reading and is another job's is nothing to this one.
        return None if fixed != 0.0 else _Told({at: device}, 0.0, 0.0, "devices", life)
    node_static = None if watts is None else attribution.floor_joules(device.energy_joules, life, watts)
    if fixed is not None:
        cuts, factors, known_seconds = [run.begin, run.end], [fixed], life
    else:
        found = _use_of(run, at)
        if found is None:
            return None
        cuts, factors, known_seconds = found
    is_whole = device.entry.get("of_job") is not None
    percent = 0.0 if is_whole else attribution.GPU_MODEL_PERCENT
    doubts = [percent / 100.0 * min(factor, 1.0 - factor) for factor in factors]
    ours = _part_of(device, run, cuts, factors, doubts, estimate=percent > 0.0)
    share_of_it = (ours.energy_joules or 0.0) / device.energy_joules if device.energy_joules else 0.0
    by: SharedBy = "utilisation" if fixed is None else "devices" if is_whole else "slices"
    return _Told({at: ours}, None if node_static is None else node_static * share_of_it, node_static, by, known_seconds)


def _use_of(run: _Run, at: int) -> tuple[list[float], list[float], float] | None:
    """Give the windows, the job's part of the GPU's use in each, and of how many seconds it is known; None if of none.

    A sample tells of the time since the one before. Where a GPU was not used at all it was used by nobody.
    """
    place = [n for n, entry in enumerate(device_entries(run.events)) if entry["kind"] == "gpu"].index(at)
    cuts, factors = [run.begin], []
    known_seconds = 0.0
    any_known = False
    for event in run.samples:
        t, gpus = min(float(event["t"]), run.end), event.get("gpu") or ()
        if t <= cuts[-1]:
            continue
        utilisation, part = gpus[place] if place < len(gpus) else (None, None)
        any_known |= part is not None
        if part is None and utilisation == 0.0:
            part = 0.0
        known_seconds += 0.0 if part is None else t - cuts[-1]
        cuts.append(t)
        factors.append(0.0 if part is None else min(1.0, max(0.0, float(part))))
    return (cuts, factors, known_seconds) if any_known else None


# --- what they have in common


def _part_of(
    device: Measured,
    run: _Run,
    cuts: Sequence[float],
    factors: Sequence[float],
    doubts: Sequence[float],
    *,
    estimate: bool = False,
) -> Measured:
    """Give a device as the job's part of it: `factors` of its energy, and `doubts` of that energy as half-widths.

    The model's error and the device's own know nothing of each other.
    """
    assert device.curve is not None  # noqa: S101  only devices that were read are shared out
    if factors == [1.0] and list(cuts) == [run.begin, run.end] and not estimate:
        return device
    curve = device.curve.weighed(cuts, factors)
    joules = min(curve.between(run.begin, run.end), device.energy_joules or 0.0)
    fraction = joules / device.energy_joules if device.energy_joules else 0.0
    of_model = math.fsum(
        doubt * device.curve.between(from_t, to_t)
        for (from_t, to_t), doubt in zip(pairwise(cuts), doubts, strict=True)
        if doubt > 0.0
    )
    filled_until = run.begin if device.from_t is None else device.from_t
    return device._replace(
        entry={**device.entry, "method": "estimate"} if estimate else device.entry,
        curve=curve,
        energy_joules=joules,
        half_width_joules=math.hypot(of_model, fraction * device.half_width_joules),
        filled_joules=curve.between(run.begin, filled_until) if device.filled_joules else 0.0,
    )


def _unknown(device: Measured) -> Measured:
    return Measured(device.entry, None, None, 0.0, 0.0, None, None)


def _cuts(run: _Run, moments: Sequence[float]) -> list[float]:
    """Give where windows begin and end: none is shorter than `WINDOW_SECONDS`, but for a life that is."""
    last_t = min(run.end, moments[-1])
    cuts = [run.begin]
    cuts += [t for t in moments if run.begin < t < last_t]
    kept = cuts[:1]
    for t in cuts[1:]:
        if t - kept[-1] >= WINDOW_SECONDS and last_t - t >= WINDOW_SECONDS:
            kept.append(t)
    return [*kept, last_t]


def _curve(points: Sequence[tuple[float, float]]) -> Curve | None:
    """Make a curve of the points that move forward in time, None of none."""
    forward: list[tuple[float, float]] = []
    for t, value in points:
        if not forward or t > forward[-1][0]:
            forward.append((t, value))
    return Curve(forward) if forward else None
