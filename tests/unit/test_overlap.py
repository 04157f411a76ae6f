"""Which devices add up: a table of machines, and what holds of any of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenrun.sampler import overlap
from greenrun.sampler.meter import Meter
from greenrun.sampler.model import Counter, Device, Kind, Method


def device(name: str, kind: Kind, *covers: str, method: Method = "counter", counted: bool = True) -> Device:
    """Make a device of the source that its name begins with."""
    return Device(name, kind, name, name.partition(":")[0], method, 5.0, 1000.0, covers=tuple(covers), counted=counted)


PACKAGES = (device("rapl:package-0", "cpu"), device("rapl:package-1", "cpu"))
DRAM = (device("rapl:package-0/dram", "dram"), device("rapl:package-1/dram", "dram"))
PSYS = device("rapl:psys", "other", counted=False)
ESTIMATES = (device("estimate:cpu", "cpu", method="estimate"), device("estimate:dram", "dram", method="estimate"))
GPUS = (device("nvml:GPU-a", "gpu"), device("nvml:GPU-b", "gpu", method="power"))
MODULE_GPU = device("nvml:GPU-m", "gpu", "gpu/GPU-m", "cpu/#GPU-m", "sysio/#GPU-m", "dram/#GPU-m")
NODE = device("cray:node", "other", "")
CRAY = (device("cray:cpu", "cpu", "cpu"), device("cray:memory", "dram", "dram"))
ACCELERATORS = (device("cray:accel0", "gpu", "gpu/#0"), device("cray:accel1", "gpu", "gpu/#1"))
AMD = (
    device("amdgpu:0000:03:00.0", "gpu", "gpu/0000:03:00.0", method="power"),
    device("amdgpu:0000:43:00.0", "gpu", "gpu/0000:43:00.0", method="power"),
)
APU = device("amdgpu:0000:c4:00.0", "cpu", "cpu/#0000:c4:00.0", method="power")
ACPI = device("acpi:ACPI000D:00", "other", "", method="power")
BATTERY = device("battery", "other", "", method="power")
CORES = device("grace:cpu-0", "cpu", "cpu/0", method="power")
LINKS = device("grace:sysio-0", "other", "sysio/0", method="power")
GRACE = device("grace:grace-0", "cpu", "cpu/0", "sysio/0", "dram/0", method="power")
MODULE = device("grace:module-0", "other", "cpu/0", "sysio/0", "dram/0", "gpu/#module-0", method="power")
ORIN = (
    device("jetson:VDD_GPU_SOC", "gpu", "gpu/#soc", "soc", method="power"),
    device("jetson:VDD_CPU_CV", "cpu", "cpu", "cv", method="power"),
    device("jetson:VIN_SYS_5V0", "other", "5v", "dram", method="power"),
)
ORIN_MEMORY = device("jetson:VDDQ_VDD2_1V8AO", "dram", "dram", method="power")
JETSON_GPU = device("nvml:GPU-orin", "gpu", method="power")

TABLE: dict[str, tuple[tuple[Device, ...], tuple[Device, ...]]] = {
    # what a machine has: what counts, what stands beside
    "a server": ((*PACKAGES, *DRAM, *GPUS), (PSYS,)),
    "a server with a board's meter": ((*PACKAGES, *DRAM, *GPUS), (PSYS, ACPI)),
    "CPU measured, memory estimated": ((*PACKAGES, ESTIMATES[1]), (ACPI, ESTIMATES[0])),
    "all measured, and estimates": ((*PACKAGES, *DRAM), ESTIMATES),
    "one tells the packages twice": ((*PACKAGES,), (device("pyrapl:package-0", "cpu", method="power"),)),
    "nothing but a board's meter": ((ACPI,), ESTIMATES),
    "a board's meter and GPUs": ((ACPI,), (*GPUS, *ESTIMATES)),
    "a laptop without RAPL": ((BATTERY,), (APU._replace(counted=False), *ESTIMATES)),
    "nothing": (ESTIMATES, ()),
    "a Cray of Intel and NVIDIA": ((*PACKAGES, *DRAM, *GPUS), (*CRAY, *ACCELERATORS[:1], NODE)),
    "a Cray without RAPL": ((*CRAY, *ACCELERATORS), (NODE, *ESTIMATES)),
    "a Cray of AMD: counters before powers": ((*CRAY, *ACCELERATORS), (NODE, *AMD)),
    "a Cray with RAPL without memory": ((*PACKAGES, CRAY[1]), (CRAY[0], NODE)),
    "a Cray that tells the node alone": ((NODE,), ()),
    "an APU with RAPL": ((PACKAGES[0], *AMD), (APU,)),
    "an APU alone": ((APU, ESTIMATES[1]), (ESTIMATES[0],)),
    "GPUs of three makers": ((*GPUS, *AMD, device("i915:0000:0a:00.0", "gpu", "gpu/0000:0a:00.0")), ()),
    "Grace without a GPU's meter": ((MODULE,), (GRACE, CORES, LINKS)),
    "Grace-Hopper, GPU apart": ((GRACE, GPUS[0]), (MODULE, CORES, LINKS)),
    "Grace-Hopper in module scope": ((MODULE_GPU,), (CORES, LINKS)),
    "Grace-Hopper in module scope, all meters": ((MODULE_GPU,), (CORES, LINKS, GRACE, MODULE)),
    "Grace alone": ((GRACE,), (CORES, LINKS)),
    "Grace of the cores alone": ((CORES, LINKS, ESTIMATES[1]), (ESTIMATES[0],)),
    "Orin": (ORIN, (ORIN_MEMORY, *ESTIMATES)),
    "Orin with NVML": (ORIN, (ORIN_MEMORY, JETSON_GPU)),
    "a neighbour's GPU": ((GPUS[0],), (GPUS[1]._replace(counted=False),)),
}


@pytest.mark.parametrize("machine", TABLE)
def test_what_counts(machine: str) -> None:
    """Each machine of the table, in whichever order its devices were found."""
    counting, beside = TABLE[machine]
    found = (*counting, *beside)
    expected = {one.id for one in counting}
    assert overlap.counting(found) == expected
    assert overlap.counting(found[::-1]) == expected
    assert {one.id for one in overlap.settled(found) if one.counted} == expected


def test_two_meters_of_the_whole_machine() -> None:
    """One counts, not both: the counter before the power, else the one that was there first."""
    assert overlap.counting((BATTERY, ACPI, NODE)) == {NODE.id}
    assert overlap.counting((BATTERY, ACPI)) == {BATTERY.id}


def test_who_counts_stays_where_the_other_comes_too_late() -> None:
    """A firm device keeps its place, and what overlaps it stands beside."""
    assert overlap.counting((ACPI, *PACKAGES), firm={ACPI.id}) == {ACPI.id}
    assert overlap.counting((MODULE, GRACE, GPUS[0]), firm={MODULE.id}) == {MODULE.id}
    assert overlap.counting((CORES, MODULE_GPU), firm={CORES.id}) == {CORES.id}


def test_what_is_still_to_be_told() -> None:
    """What the whole machine's meter holds is told, though not apart."""
    both: tuple[Kind, ...] = ("cpu", "dram")
    assert overlap.untold(both, [ACPI]) == frozenset()
    assert overlap.untold_apart(both, [ACPI]) == {"cpu", "dram"}
    assert overlap.untold_apart(both, PACKAGES) == overlap.untold(both, PACKAGES) == {"dram"}
    assert overlap.untold(both, [GRACE]) == overlap.untold_apart(both, [GRACE]) == frozenset()
    assert overlap.untold(both, [GRACE._replace(counted=False), PSYS]) == {"cpu", "dram"}


NAMES = st.sampled_from(["0", "1", "2", "#0", "#1", "0000:03:00.0"])
PARTS = st.one_of(
    st.just(""),
    st.sampled_from(["cpu", "dram", "gpu", "soc"]),
    st.builds("{}/{}".format, st.sampled_from(["cpu", "dram", "gpu"]), NAMES),
    st.builds("cpu/{}/{}".format, NAMES, NAMES),
)
DEVICES = st.builds(
    lambda source, number, kind, method, covers, counted: device(
        f"{source}:{number}", kind, *covers, method=method, counted=counted
    ),
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 4),
    st.sampled_from(["cpu", "dram", "gpu", "other"]),
    st.sampled_from(["counter", "power", "estimate"]),
    st.lists(PARTS, max_size=4),
    st.booleans(),
)
MACHINES = st.lists(DEVICES, max_size=10, unique_by=lambda one: one.id)


def share(one: Device, other: Device) -> bool:
    """Tell, by the words of the documentation alone, whether two devices may hold a joule in common."""

    def parts(owner: Device) -> list[list[str]]:
        default = {"other": (), "gpu": (f"gpu/{owner.id}",)}.get(owner.kind, (f"{owner.kind}/#{owner.id}",))
        return [path.split("/") if path else [] for path in owner.covers or default]

    def may_be(a: str, b: str) -> bool:
        return a == b or (one.source != other.source and "#" in (a[0], b[0]))

    def meet(mine: list[str], yours: list[str]) -> bool:
        for a, b in zip(mine, yours, strict=False):
            if a != b:
                return may_be(a, b)
        return True

    return any(meet(mine, yours) for mine in parts(one) for yours in parts(other))


@settings(max_examples=40)
@given(MACHINES)
def test_no_joule_is_counted_twice(machine: list[Device]) -> None:
    """Whatever the devices say that they cover, no two that count have anything in common."""
    counting = overlap.counting(machine)
    chosen = [one for one in machine if one.id in counting]
    assert not [(one.id, other.id) for one, other in itertools.combinations(chosen, 2) if share(one, other)]
    assert all(one.counted for one in chosen), "a source that says no is believed"


@settings(max_examples=40)
@given(MACHINES)
def test_nothing_is_left_out_for_no_reason(machine: list[Device]) -> None:
    """What could count and does not, overlaps something that counts."""
    counting = overlap.counting(machine)
    chosen = [one for one in machine if one.id in counting]
    for one in machine:
        if one.counted and one not in chosen:
            assert any(share(one, other) for other in chosen)


@settings(max_examples=40)
@given(MACHINES, DEVICES)
def test_what_is_firm_stays_whoever_comes(machine: list[Device], late: Device) -> None:
    """A late device takes nobody's place, and even then no joule is counted twice."""
    firm = overlap.counting(machine)
    joined = [*machine, late._replace(id="late")]
    counting = overlap.counting(joined, firm)
    assert firm <= counting
    chosen = [one for one in joined if one.id in counting]
    assert not [(one.id, other.id) for one, other in itertools.combinations(chosen, 2) if share(one, other)]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.0, 1e6)), max_size=30), st.lists(st.booleans(), max_size=30))
def test_the_running_sum_never_falls(readings: list[tuple[int, float]], flips: list[bool]) -> None:
    """Whichever of two devices counts at a time, the sum grows by what that one tells, and by no more."""
    first = Meter(device("a:0", "cpu", "cpu"))
    second = Meter(device("b:0", "cpu", "cpu", counted=False))
    meters, tally, expected, t = (first, second), overlap.Tally(), 0.0, 0.0
    for meter in meters:
        meter.update(Counter(0.0, 0))
    for (which, watts), swap in itertools.zip_longest(readings, flips[: len(readings)], fillvalue=False):
        if swap:
            tally.move(first, not first.device.counted)
            tally.move(second, not second.device.counted)
        meter, t = meters[which], t + 10.0
        before, told = tally.joules(meters), meter.joules or 0.0
        meter.update(Counter(t, round((told + min(watts, 900.0)) * 1e6)))
        expected += ((meter.joules or 0.0) - told) if meter.device.counted else 0.0
        assert tally.joules(meters) >= before - 1e-9
    assert tally.joules(meters) == pytest.approx(expected, abs=1e-6)
