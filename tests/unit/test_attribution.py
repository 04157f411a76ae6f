"""A job's part of a window, and the same while the job runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.logs import device, exited, sample, spawned, start

from greenrun.reports.account import account
from greenrun.sampler import attribution
from greenrun.sampler.livejoules import LiveJoules
from greenrun.sampler.meter import Meter
from greenrun.sampler.model import Counter, Device

GIB = 1 << 30
FLOOR = {"cpu_watts": 4.0, "dram_watts": None, "gpu_watts": {}, "devices": ["cpu0"]}


def test_by_hand() -> None:
    """100 J in 10 s, 40 J of them idle: a quarter of the CPUs and half of the busy time are 10 J and 30 J."""
    static = attribution.floor_joules(100.0, 10.0, 4.0)
    part = attribution.by_cpu_time(100.0, static, attribution.busy_fraction(5.0, 10.0), 0.25)
    assert part == attribution.Part(10.0, 30.0, 7.5)
    assert part.joules == 40.0
    unsplit = attribution.by_cpu_time(100.0, attribution.floor_joules(100.0, 10.0, None), 0.5, 0.25)
    assert unsplit == attribution.Part(0.0, 50.0, 12.5)


def test_a_floor_is_never_more_than_was_used() -> None:
    """A machine may use less than when it was calibrated: then all of it is idle."""
    assert attribution.floor_joules(30.0, 10.0, 4.0) == 30.0
    assert attribution.floor_joules(30.0, 0.0, 4.0) == 0.0


def test_alone_there_is_no_doubt_of_the_model() -> None:
    """Who keeps all that is busy busy has all of it; who keeps nothing busy has nothing."""
    assert attribution.by_cpu_time(100.0, 0.0, 1.0, None) == attribution.Part(0.0, 100.0, 0.0)
    assert attribution.by_cpu_time(100.0, 40.0, 0.0, 0.5) == attribution.Part(20.0, 0.0, 0.0)
    assert attribution.busy_fraction(0.0, 0.0) == 0.0
    assert attribution.busy_fraction(0.05, 0.01) == 1.0  # clocks of 10 ms


@pytest.mark.parametrize(
    ("allocated", "fraction"),
    [
        (None, None),
        ({"cpus": 4, "all_cpus": 4, "by": "all"}, None),
        ({"cpus": 1.5, "all_cpus": 4, "by": "cgroup"}, 0.375),
        ({"cpus": 8, "all_cpus": 4, "by": "slurm"}, 1.0),
        ({"cpus": None, "all_cpus": 4, "by": "slurm"}, None),
        ({"cpus": 2, "all_cpus": 0, "by": "affinity"}, None),
        ({}, None),
    ],
)
def test_what_part_of_the_cpus_was_given(allocated: Any, fraction: float | None) -> None:
    """As the log tells it; a machine that is all the job's was not given out."""
    assert attribution.given_fraction(allocated) == fraction
    assert attribution.has_a_part(allocated, ()) == (fraction == 0.375)


def test_a_gpu_that_is_not_the_jobs_makes_the_machine_a_shared_one() -> None:
    """One of which nothing is known does not."""
    assert attribution.has_a_part(None, [(True, None), (False, None)])
    assert attribution.has_a_part(None, [(None, 0.5)])
    assert not attribution.has_a_part(None, [(True, None), (None, None)])


@given(
    st.floats(0.0, 1e6),
    st.floats(0.0, 1e4),
    st.one_of(st.none(), st.floats(0.0, 1e4)),
    st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 1.0)), min_size=1, max_size=6),
    st.floats(0.0, 100.0),
    st.booleans(),
)
def test_parts_of_a_window_add_up_to_no_more_than_it(
    joules: float, seconds: float, watts: float | None, jobs: Any, rest: float, given_out: bool
) -> None:
    """Any jobs, any rest, any floor, CPUs given out or not: no part is below 0, nor their sum above the whole."""
    busy = math.fsum(used for used, _ in jobs) + rest
    cpus = max(1.0, math.fsum(share for _, share in jobs))
    static = attribution.floor_joules(joules, seconds, watts)
    parts = [
        attribution.by_cpu_time(
            joules, static, attribution.busy_fraction(used, busy), share / cpus if given_out else None
        )
        for used, share in jobs
    ]
    assert all(part.static_joules >= 0.0 and part.dynamic_joules >= 0.0 for part in parts)
    assert math.fsum(part.static_joules for part in parts) <= static * (1.0 + 1e-9) + 1e-9
    assert math.fsum(part.joules for part in parts) <= joules * (1.0 + 1e-9) + 1e-9


# --- while the job runs


class Machine:
    """A machine with one processor at any power, and its live joules; it writes the log that the account reads."""

    def __init__(self, *devices: Device, **fields: Any) -> None:
        self.meters = [Meter(one) for one in devices]
        self.microjoules = [0.0] * len(devices)
        entries = [device(one.id, kind=one.kind, of_job=one.of_job) for one in devices]
        self.log = [start(*entries, **{"config": {"scope": "auto"}, **fields}), spawned(0.0)]
        self.live, self.read_at = LiveJoules(self.log[0]), 0.0

    def line(self, t: float, watts: Any, job: float | None, busy: float, *, is_new: bool = True, **more: Any) -> float:
        """Go on to `t`; give the live joules of the job there."""
        seconds = t - (self.log[-1]["t"] if self.log[-1]["event"] == "sample" else 0.0)
        for index, meter in enumerate(self.meters):
            self.microjoules[index] += watts[index] * seconds * 1e6
            meter.update(Counter(t, round(self.microjoules[index])))
        event = sample(t, *(meter.joules for meter in self.meters), cpu=[job, busy, 4.0 * t], **more)
        if not is_new:
            event["job_t"] = self.read_at
        else:
            self.read_at = t
        self.log.append(event)
        self.live.take(t, event, self.meters, is_new=is_new)
        return self.live.joules(self.meters)


def cpu(name: str = "cpu0") -> Device:
    """Give a processor."""
    return Device(name, "cpu", name, "test", "counter", 5.0, 1000.0)


GIVEN = {"cpus": 1, "all_cpus": 4, "memory_bytes": None, "by": "cgroup"}


def test_live_joules_are_those_of_the_record() -> None:
    """A neighbour comes and goes: line by line the same windows as in the account, with a floor and without."""
    for floor in (None, FLOOR):
        machine = Machine(cpu(), floor=floor, allocated=GIVEN)
        job = busy = 0.0
        joules = machine.line(0.0, [0.0], 0.0, 0.0)
        assert joules == 0.0
        for second in range(1, 21):
            job, busy = job + 0.6, busy + (0.6 if second < 8 else 2.0)
            joules = machine.line(float(second), [30.0 if second < 8 else 80.0], job, busy)
        record = account([*machine.log, exited(20.0)])
        assert record["scope"] == machine.live.scope == "job"
        assert record["job_energy_joules"] is not None
        assert joules == pytest.approx(record["job_energy_joules"]["total"], rel=1e-6)


def test_between_two_looks_the_last_share_holds_and_nothing_is_taken_back() -> None:
    """A busy neighbour that nobody sees for 4 s is made good when the job is looked at again."""
    machine = Machine(cpu(), allocated=GIVEN)
    machine.line(0.0, [0.0], 0.0, 0.0)
    assert machine.line(1.0, [50.0], 1.0, 1.0) == pytest.approx(50.0)
    told = [machine.line(1.0 + n, [50.0], 1.0, 1.0 + 2.0 * n, is_new=False) for n in (1, 2, 3)]
    assert told == pytest.approx([100.0, 150.0, 200.0])  # as if it were still alone
    assert machine.line(5.0, [50.0], 3.0, 9.0) == pytest.approx(200.0)  # a quarter of 200 J since: 100 J in all
    assert machine.line(9.0, [50.0], 7.0, 13.0) == pytest.approx(300.0)  # alone again
    record = account([*machine.log, exited(9.0)])
    assert record["job_energy_joules"] is not None
    assert record["job_energy_joules"]["total"] == pytest.approx(300.0)


def test_whose_joules_are_told_while_it_runs() -> None:
    """The node's as long as the job's part is not known, or where nothing was given out; the job's if it was asked."""
    machine = Machine(cpu(), allocated=GIVEN)
    machine.line(0.0, [0.0], None, 0.0, is_new=False)
    assert machine.live.scope == "node"
    machine.line(1.0, [10.0], 0.5, 1.0)
    assert machine.live.scope == "job"
    for asked, allocated, scope in (("auto", None, "node"), ("job", None, "job"), ("node", GIVEN, "node")):
        other = Machine(cpu(), allocated=allocated, config={"scope": asked})
        other.line(0.0, [0.0], 0.0, 0.0)
        other.line(1.0, [10.0], 0.5, 1.0)
        assert other.live.scope == scope


def test_a_gpu_is_charged_from_the_begin_once_it_is_known_whose_it_is() -> None:
    """Processes are looked for seldom: until then the GPU may be anybody's, and there is no figure of the job's."""
    gpu = Device("gpu0", "gpu", "gpu0", "test", "counter", 5.0, 1000.0)
    machine = Machine(cpu(), gpu, allocated=GIVEN)
    machine.line(0.0, [0.0, 0.0], 0.0, 0.0)
    machine.line(1.0, [10.0, 100.0], 1.0, 1.0, gpu=[[1.0, None]])
    assert machine.live.scope == "node"
    machine.meters[1].device = gpu._replace(of_job=True)
    assert machine.line(2.0, [10.0, 100.0], 2.0, 2.0, gpu=[[1.0, None]]) == pytest.approx(220.0)
    assert machine.live.scope == "job"


def test_memory_goes_by_what_was_given() -> None:
    """A quarter of it, or where nobody said what the job uses."""
    ram = Device("ram", "dram", "ram", "test", "counter", 5.0, 1000.0)
    machine = Machine(cpu(), ram, allocated=GIVEN | {"memory_bytes": 4 * GIB})
    mem = [2 * GIB, 8 * GIB, 16 * GIB]
    machine.line(0.0, [0.0, 0.0], 0.0, 0.0, mem=mem)
    assert machine.line(2.0, [10.0, 8.0], 2.0, 2.0, mem=mem) == pytest.approx(24.0)
    by_use = Machine(cpu(), ram, allocated=GIVEN)
    by_use.line(0.0, [0.0, 0.0], 0.0, 0.0, mem=mem)
    assert by_use.line(2.0, [10.0, 8.0], 2.0, 2.0, mem=mem) == pytest.approx(22.0)


def test_after_a_samplers_death_nothing_is_known_until_its_joules_are_told() -> None:
    """The CPU time of before is not charged to the energy of now."""
    machine = Machine(cpu(), allocated=GIVEN)
    machine.live.go_on()
    machine.line(100.0, [10.0], 90.0, 100.0)
    machine.line(101.0, [10.0], 90.5, 101.0)
    assert machine.live.scope == "node"
    machine.live.add(400.0)
    assert machine.line(102.0, [10.0], 91.0, 102.0) == pytest.approx(410.0)
    assert machine.live.scope == "job"
