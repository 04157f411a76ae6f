"""The estimate: what it assumes, that it says so, and that it adds up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from machine.procfs import EPYC_7763, UNKNOWN, XEON_8375C, Cpu, cpuinfo, meminfo
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun.sampler import sources
from greenrun.sampler.model import Counter, Device, Kind, Machine
from greenrun.sampler.sources.estimation import Estimate, watts_at

Simulated = Callable[..., SimulatedMachine]

BOTH: tuple[Kind, ...] = ("cpu", "dram")
MASKED_TURIN = Cpu("AMD EPYC", "AuthenticAMD", 26, 2, 1, 1, 2, 2)
CURVE = ((0.0, 12.0), (0.1, 32.0), (0.5, 75.0), (1.0, 102.0))


def procfs(root: Path, cpu: Cpu, *, hypervisor: bool = False, memory_bytes: int = 16 * 2**30) -> Machine:
    """Make a still machine: the load is what tests write into `stat`."""
    (root / "cpuinfo").write_text(cpuinfo(cpu, hypervisor))
    (root / "meminfo").write_text(meminfo(memory_bytes))
    ticks(root, 0, 0)
    return Machine(str(root), str(root))


def ticks(root: Path, busy: int, idle: int) -> None:
    """Set the machine's CPU time, cumulative."""
    (root / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")


def device_of(machine: Machine, kind: Kind) -> Device:
    """Give the one device that is estimated for a kind."""
    (device,) = Estimate((kind,)).open(machine).devices
    return device


@pytest.mark.parametrize(
    ("load", "watts"), [(0.0, 12.0), (0.05, 22.0), (0.1, 32.0), (0.3, 53.5), (0.5, 75.0), (0.75, 88.5), (1.0, 102.0)]
)
def test_curve_is_linear_between_its_points(load: float, watts: float) -> None:
    """The power at a load lies on the line between its neighbours."""
    assert watts_at(CURVE, load) == pytest.approx(watts)


def test_only_missing_kinds_are_estimated(tmp_path: Path) -> None:
    """What has a meter is not estimated beside it."""
    machine = procfs(tmp_path, XEON_8375C)
    assert [device.kind for device in Estimate(BOTH).open(machine).devices] == ["cpu", "dram"]
    assert [device.kind for device in Estimate(("dram", "gpu")).open(machine).devices] == ["dram"]
    assert Estimate(()).open(machine).devices == ()


@pytest.mark.parametrize(("busy", "idle", "share"), [(0, 900, 0.12), (90, 810, 0.32), (450, 450, 0.75), (900, 0, 1.02)])
def test_bare_metal_follows_design_power_and_load(tmp_path: Path, busy: int, idle: int, share: float) -> None:
    """Two sockets of 280 W draw the curve's share of 560 W over the stretch."""
    estimate = Estimate(("cpu",))
    estimate.open(procfs(tmp_path, EPYC_7763))
    (start,) = estimate.read()
    ticks(tmp_path, busy, idle)
    time.sleep(0.05)
    (end,) = estimate.read()
    assert isinstance(start, Counter)
    assert isinstance(end, Counter)
    joules = (end.microjoules - start.microjoules) / 1e6
    assert joules == pytest.approx(share * 560 * (end.t - start.t), rel=1e-3)


def test_virtual_machine_follows_watts_per_thread(tmp_path: Path) -> None:
    """A guest's threads draw what the table gives for the core, between idle and full load."""
    cpu = Cpu("AMD EPYC", "AuthenticAMD", 25, 1, 1, 1, 2, 2)
    estimate = Estimate(("cpu",))
    (device,) = estimate.open(procfs(tmp_path, cpu, hypervisor=True)).devices
    (start,) = estimate.read()
    ticks(tmp_path, 25, 75)
    time.sleep(0.05)
    (end,) = estimate.read()
    assert isinstance(start, Counter)
    assert isinstance(end, Counter)
    watts = 4 * (0.456 + 0.25 * (1.957 - 0.456))
    assert (end.microjoules - start.microjoules) / 1e6 == pytest.approx(watts * (end.t - start.t), rel=1e-3)
    assert "EPYC 3rd Gen" in device.note
    assert "4 virtual CPUs" in device.note


def test_stretches_of_different_load_add_up(tmp_path: Path) -> None:
    """Each stretch counts at its own load, whatever came before."""
    estimate = Estimate(("cpu",))
    estimate.open(procfs(tmp_path, EPYC_7763))
    readings = [estimate.read()[0]]
    for busy, idle in ((900, 0), (900, 900)):
        ticks(tmp_path, busy, idle)
        time.sleep(0.05)
        readings.append(estimate.read()[0])
    first, middle, last = [reading for reading in readings if isinstance(reading, Counter)]
    assert middle.microjoules - first.microjoules == pytest.approx(1.02 * 560e6 * (middle.t - first.t), rel=1e-3)
    assert last.microjoules - middle.microjoules == pytest.approx(0.12 * 560e6 * (last.t - middle.t), rel=1e-3)


def test_load_of_the_simulated_machine_is_followed(simulated: Simulated) -> None:
    """At a steady load of one half the estimate is three quarters of the design power."""
    machine = simulated(cpu=XEON_8375C, load=constant(0.5))
    estimate = Estimate(("cpu",))
    estimate.open(Machine(machine.sysfs, machine.procfs))
    (start,) = estimate.read()
    time.sleep(1)
    (end,) = estimate.read()
    assert isinstance(start, Counter)
    assert isinstance(end, Counter)
    watts = (end.microjoules - start.microjoules) / 1e6 / (end.t - start.t)
    assert watts == pytest.approx(0.75 * 600, rel=0.05)


def test_dram_follows_the_memory_that_may_be_used(tmp_path: Path) -> None:
    """16 GiB draw 5.96 W, whatever the load."""
    estimate = Estimate(("dram",))
    (device,) = estimate.open(procfs(tmp_path, XEON_8375C)).devices
    (start,) = estimate.read()
    time.sleep(0.05)
    (end,) = estimate.read()
    assert isinstance(start, Counter)
    assert isinstance(end, Counter)
    joules = (end.microjoules - start.microjoules) / 1e6
    assert joules == pytest.approx(16 * 0.3725 * (end.t - start.t), rel=1e-3)
    assert "16.0 GiB" in device.note


def test_every_estimate_says_what_it_assumed(tmp_path: Path) -> None:
    """Method, note and an uncertainty of at least a half are there for each device."""
    for device in Estimate(BOTH).open(procfs(tmp_path, XEON_8375C)).devices:
        assert device.method == "estimate"
        assert device.uncertainty_percent >= 50
        assert device.span_microjoules is None
    cpu = device_of(Machine(str(tmp_path), str(tmp_path)), "cpu")
    assert "300 W x 2" in cpu.note
    assert "CodeCarbon" in cpu.note
    assert XEON_8375C.brand in cpu.name


@pytest.mark.parametrize(
    ("cpu", "hypervisor", "words"),
    [
        (UNKNOWN, False, "unknown core, taken as the median"),
        (UNKNOWN, True, "unknown core, taken as the median"),
        (MASKED_TURIN, True, "EPYC 5th Gen, taken as EPYC 4th Gen"),
    ],
)
def test_a_cpu_without_figures_says_whose_stand_in(tmp_path: Path, cpu: Cpu, hypervisor: bool, words: str) -> None:
    """No fallback is taken in silence, and it is less sure than a known CPU."""
    device = device_of(procfs(tmp_path, cpu, hypervisor=hypervisor), "cpu")
    assert words in device.note
    assert device.uncertainty_percent == 80


def test_guest_with_a_full_brand_is_no_whole_package(tmp_path: Path) -> None:
    """A guest that shows the host's brand does not draw the host's design power."""
    device = device_of(procfs(tmp_path, EPYC_7763, hypervisor=True), "cpu")
    assert "280 W" not in device.note
    assert "EPYC 3rd Gen" in device.note


def test_load_that_cannot_be_read_gives_none(tmp_path: Path) -> None:
    """Without the load there is no estimate of the processors, which is made up for later; memory does not go by it."""
    estimate = Estimate(BOTH)
    estimate.open(procfs(tmp_path, EPYC_7763))
    before = estimate.read()
    (tmp_path / "stat").unlink()
    time.sleep(0.05)
    cpu, dram = estimate.read()
    assert cpu is None
    assert isinstance(dram, Counter)
    assert dram.microjoules > 0
    time.sleep(0.05)
    ticks(tmp_path, 0, 900)
    after = estimate.read()
    for start, end, watts in zip(before, after, (0.12 * 560, 16 * 0.3725), strict=True):
        assert isinstance(start, Counter)
        assert isinstance(end, Counter)
        assert (end.microjoules - start.microjoules) / 1e6 == pytest.approx(watts * (end.t - start.t), rel=1e-3)


def test_machine_that_tells_nothing_is_broken_not_guessed(tmp_path: Path) -> None:
    """Without cpuinfo and meminfo there are findings and no devices."""
    opened = Estimate(BOTH).open(Machine(str(tmp_path), str(tmp_path)))
    assert opened.devices == ()
    assert [(finding.subject, finding.status) for finding in opened.findings] == [
        ("CPUs", "broken"),
        ("memory", "broken"),
    ]
    assert Estimate(BOTH).read() == []


def test_registry_gives_fresh_sources_fast_ones_apart(tmp_path: Path) -> None:
    """RAPL is read before the command starts, NVML comes later, and the estimate is made for what is missing."""
    bare = Machine(str(tmp_path))
    assert [(source.name, source.slow) for source in sources.meters(bare)] == [("rapl", False), ("nvml", True)]
    assert sources.meters(bare)[0] is not sources.meters(bare)[0]
    for _ in range(2):  # also once the estimate's module is loaded
        assert [device.kind for device in sources.estimate(("dram",)).open(Machine()).devices] == ["dram"]


def test_a_step_of_the_load_is_told() -> None:
    """One tick between idle and full load is what a short stretch may be off by; memory has none."""
    opened = sources.estimate(frozenset(BOTH)).open(Machine())
    by_kind = {found.kind: found for found in opened.devices}
    assert 0.0 < by_kind["cpu"].resolution_joules < by_kind["cpu"].max_watts / os.sysconf("SC_CLK_TCK")
    assert by_kind["dram"].resolution_joules == 0.0


def test_memory_that_is_the_jobs_alone(tmp_path: Path) -> None:
    """Within a limit all that is estimated is of the job's memory; without one it is the machine's."""
    machine = procfs(tmp_path, XEON_8375C)
    assert device_of(machine, "dram").of_job is None
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("0::/\n")
    (tmp_path / "fs" / "cgroup").mkdir(parents=True)
    (tmp_path / "fs" / "cgroup" / "memory.max").write_text(f"{4 * 2**30}\n")
    device = device_of(machine, "dram")
    assert (device.of_job, device.name) == (True, "memory (4.0 GiB)")
    (tmp_path / "fs" / "cgroup" / "memory.max").write_text(f"{64 * 2**30}\n")  # more than there is
    assert device_of(machine, "dram").of_job is None


def test_a_container_that_shows_its_own_cpus_is_a_share_of_a_server(tmp_path: Path) -> None:
    """Its load is that of its threads: the package's design power at that load would be all of the package's."""
    machine = procfs(tmp_path, EPYC_7763)
    assert "thermal design power" in device_of(machine, "cpu").note
    (tmp_path / "self").mkdir()
    line = "90 22 0:60 /proc/cpuinfo /proc/cpuinfo rw - fuse.lxcfs lxcfs rw\n"
    (tmp_path / "self" / "mountinfo").write_text(line)
    (tmp_path / "devices" / "system" / "cpu").mkdir(parents=True)
    (tmp_path / "devices" / "system" / "cpu" / "present").write_text("0-1023\n")
    note = device_of(machine, "cpu").note
    assert "this container's CPUs" in note
    assert "thermal" not in note
