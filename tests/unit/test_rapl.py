"""RAPL on simulated powercap trees: which counters are read, and what is said of those that are not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from machine.powercap import Zone
from machine.privilege import unprivileged
from machine.procfs import EPYC_7763, UNKNOWN, XEON_8480, Cpu
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun.sampler.model import Counter, Machine, Opened
from greenrun.sampler.sources.rapl import Rapl

Simulated = Callable[..., SimulatedMachine]

IVY_BRIDGE = Cpu("Intel(R) Xeon(R) CPU E5-2670 v2 @ 2.50GHz", "GenuineIntel", 6, 62, 4)
DESKTOP = Cpu("Intel(R) Core(TM) i9-14900HX", "GenuineIntel", 6, 183, 1)


def opened(machine: SimulatedMachine) -> tuple[Rapl, Opened]:
    """Open RAPL on a simulated machine."""
    rapl = Rapl()
    return rapl, rapl.open(Machine(machine.sysfs, machine.procfs))


def tree(root: Path, zones: dict[str, tuple[str, str]]) -> Machine:
    """Lay out a powercap tree of plain files: zone -> (name, counter's text)."""
    for entry, (name, text) in zones.items():
        zone = root / "class" / "powercap" / entry
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "energy_uj").write_text(text)
        (zone / "max_energy_range_uj").write_text("262143328850\n")
    return Machine(str(root), str(root))


def target(fd: str) -> str:
    """Tell what a descriptor of this process is open on."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:  # the one that listed them
        return ""


def test_packages_dram_and_psys_are_read_by_name(two_sockets: SimulatedMachine) -> None:
    """Packages and dram count, psys stands beside them, core and mmio are not read, wherever their index is."""
    rapl, found = opened(two_sockets)
    assert {device.id: (device.kind, device.counted) for device in found.devices} == {
        "rapl:package-0": ("cpu", True),
        "rapl:package-0/dram": ("dram", True),
        "rapl:package-1": ("cpu", True),
        "rapl:package-1/dram": ("dram", True),
        "rapl:psys": ("other", False),
    }
    assert {finding.status for finding in found.findings} == {"ok"}
    assert all(isinstance(reading, Counter) for reading in rapl.read())
    rapl.close()


def test_readings_follow_each_counter(simulated: Simulated) -> None:
    """Between two readings each device's counter moves by its own zone's energy, in microjoules."""
    machine = simulated(packages=[Zone("package-0", constant(100.0), (Zone("dram", constant(10.0)),))])
    rapl, found = opened(machine)
    first = rapl.read()
    time.sleep(0.5)
    second = rapl.read()
    for device, before, after in zip(found.devices, first, second, strict=True):
        assert isinstance(before, Counter)
        assert isinstance(after, Counter)
        truth = machine.device_energy_joules(device.id, before.t, after.t) * 1e6
        assert after.microjoules - before.microjoules == pytest.approx(truth, rel=0.1)
    assert [device.span_microjoules for device in found.devices] == [
        zone.span_microjoules for zone in machine.packages[0].walk()
    ]


def test_dies_of_a_package_are_summed_as_devices(simulated: Simulated) -> None:
    """Dies with counters of their own are devices of their own."""
    dies = [
        Zone("package-0-die-0", constant(90.0), initial_microjoules=5_000_000),
        Zone("package-0-die-1", constant(80.0), initial_microjoules=9_000_000),
    ]
    _, found = opened(simulated(packages=dies))
    assert [device.id for device in found.devices] == ["rapl:package-0-die-0", "rapl:package-0-die-1"]


def test_mirrored_dies_count_once(tmp_path: Path) -> None:
    """Dies that show one counter are one device, and the note says so; another package's die is another's."""
    machine = tree(
        tmp_path,
        {
            "intel-rapl:0": ("package-0-die-0", "777\n"),
            "intel-rapl:1": ("package-0-die-1", "777\n"),
            "intel-rapl:2": ("package-0-die-2", "777\n"),
            "intel-rapl:3": ("package-1-die-0", "777\n"),
            "intel-rapl:4": ("package-0-die-3", "778\n"),
        },
    )
    rapl = Rapl()
    devices = rapl.open(machine).devices
    assert [device.id for device in devices] == [
        "rapl:package-0-die-0",
        "rapl:package-1-die-0",
        "rapl:package-0-die-3",
    ]
    assert "rapl:package-0-die-1 shows the same counter" in devices[0].note
    assert len(rapl.read()) == 3


def test_no_powercap_is_absent(simulated: Simulated) -> None:
    """A machine without zones lacks the hardware or the driver; nothing is broken or forbidden."""
    _, found = opened(simulated())
    assert found.devices == ()
    assert [finding.status for finding in found.findings] == ["absent"]
    assert "intel_rapl_msr" in found.findings[0].remedy


def test_virtual_machine_without_powercap_is_not_told_to_load_a_driver(simulated: Simulated) -> None:
    """In a guest there is nothing that the user could do."""
    _, found = opened(simulated(hypervisor=True))
    assert [(finding.status, finding.remedy) for finding in found.findings] == [("absent", "")]
    assert "virtual machine" in found.findings[0].sentence


def test_masked_counters_are_absent_with_the_way_out(simulated: Simulated) -> None:
    """Links that lead nowhere are a container's doing, and the remedy names the option."""
    machine = simulated(packages=[Zone("package-0", constant(50.0))], masked=True)
    _, found = opened(machine)
    assert found.devices == ()
    assert [finding.status for finding in found.findings] == ["absent"]
    assert "container" in found.findings[0].sentence
    assert "systempaths=unconfined" in found.findings[0].remedy


def test_forbidden_counters_are_told_with_the_rule(simulated: Simulated) -> None:
    """Counters that this user may not read are forbidden, in one finding with the udev rule; the others are read."""
    machine = simulated(
        packages=[
            Zone("package-0", constant(50.0), (Zone("dram", constant(5.0), forbidden=True),), forbidden=True),
            Zone("package-1", constant(50.0)),
        ]
    )
    code = (
        "from greenrun.sampler.model import Machine\n"
        "from greenrun.sampler.sources.rapl import Rapl\n"
        f"found = Rapl().open(Machine({machine.sysfs!r}, {machine.procfs!r}))\n"
        "print([device.id for device in found.devices])\n"
        "print([(finding.status, finding.subject) for finding in found.findings])\n"
        "print(found.findings[-1].remedy)\n"
    )
    done = subprocess.run(unprivileged([sys.executable, "-c", code]), capture_output=True, text=True, check=True)
    devices, findings, remedy = done.stdout.splitlines()
    assert devices == "['rapl:package-1']"
    assert findings == "[('ok', 'package-1'), ('forbidden', 'package-0, package-0/dram')]"
    assert 'SUBSYSTEM=="powercap"' in remedy


def test_broken_counter_is_told_apart(simulated: Simulated) -> None:
    """A counter that gives an I/O error is broken, and the others are read."""
    machine = simulated(packages=[Zone("package-0", constant(50.0), broken=True), Zone("package-1", constant(50.0))])
    _, found = opened(machine)
    assert [device.id for device in found.devices] == ["rapl:package-1"]
    assert [(finding.status, finding.subject) for finding in found.findings] == [
        ("ok", "package-1"),
        ("broken", "package-0"),
    ]


@pytest.mark.parametrize("text", ["", "\n", "123", "12x4\n", "-5\n", "1_000\n"])
def test_empty_or_torn_text_is_no_reading(tmp_path: Path, text: str) -> None:
    """What is not one whole number is None, never 0, and the next whole number is read again."""
    machine = tree(tmp_path, {"intel-rapl:0": ("package-0", "1000\n")})
    rapl = Rapl()
    rapl.open(machine)
    counter = tmp_path / "class" / "powercap" / "intel-rapl:0" / "energy_uj"
    counter.write_text(text)
    assert rapl.read() == [None]
    counter.write_text("2000\n")
    (reading,) = rapl.read()
    assert isinstance(reading, Counter)
    assert reading.microjoules == 2000


def test_counter_that_goes_and_comes_back_is_read_again(tmp_path: Path) -> None:
    """A package whose CPUs go offline gives None with one warning, and is read again when it is back."""
    machine = tree(tmp_path, {"intel-rapl:0": ("package-0", "1000\n"), "intel-rapl:1": ("package-1", "1000\n")})
    rapl = Rapl()
    rapl.open(machine)
    counter = tmp_path / "class" / "powercap" / "intel-rapl:0" / "energy_uj"
    # Reading the first page of one's own memory is an I/O error: put it where the open counter is.
    held = [int(fd) for fd in os.listdir("/proc/self/fd") if target(fd) == str(counter)]
    gone = os.open("/proc/self/mem", os.O_RDONLY)
    os.dup2(gone, held[0])
    os.close(gone)
    counter.unlink()
    for _ in range(2):
        first, second = rapl.read()
        assert first is None
        assert isinstance(second, Counter)
    assert [device for device, _ in rapl.warnings()] == ["rapl:package-0"]
    assert rapl.warnings() == []
    counter.write_text("5000\n")
    (back, _) = rapl.read()
    assert isinstance(back, Counter)
    assert back.microjoules == 5000


def test_hypervisor_makes_counters_untrusted(simulated: Simulated) -> None:
    """In a guest a counter stays a counter, but it is not trusted and says why."""
    _, found = opened(simulated(packages=[Zone("package-0", constant(50.0))], hypervisor=True))
    (device,) = found.devices
    assert (device.method, device.trusted) == ("counter", False)
    assert "hypervisor" in device.note
    assert device.uncertainty_percent == 50


@pytest.mark.parametrize(
    ("cpu", "package_percent", "dram_percent"),
    [(XEON_8480, 5, 10), (IVY_BRIDGE, 20, 10), (DESKTOP, 5, 25), (EPYC_7763, 15, 25), (UNKNOWN, 20, 25)],
)
def test_uncertainty_follows_vendor_and_domain(
    simulated: Simulated, cpu: Cpu, package_percent: float, dram_percent: float
) -> None:
    """Measured and modelled counters, servers' and desktops' memory carry different uncertainties."""
    machine = simulated(packages=[Zone("package-0", constant(50.0), (Zone("dram", constant(5.0)),))], cpu=cpu)
    _, found = opened(machine)
    assert [device.uncertainty_percent for device in found.devices] == [package_percent, dram_percent]


def test_counter_without_a_span_is_read_all_the_same(tmp_path: Path) -> None:
    """An unreadable span is unknown, not 0."""
    machine = tree(tmp_path, {"intel-rapl:0": ("package-0", "1000\n")})
    (tmp_path / "class" / "powercap" / "intel-rapl:0" / "max_energy_range_uj").unlink()
    (device,) = Rapl().open(machine).devices
    assert device.span_microjoules is None


def test_close_gives_the_descriptors_back(simulated: Simulated) -> None:
    """After close no counter is held open."""
    machine = simulated(packages=[replace(Zone("package-0", constant(50.0)), zones=(Zone("dram", constant(5.0)),))])
    before = len(os.listdir("/proc/self/fd"))
    rapl, _ = opened(machine)
    assert len(os.listdir("/proc/self/fd")) == before + 2
    rapl.close()
    assert len(os.listdir("/proc/self/fd")) == before
