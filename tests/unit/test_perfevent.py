"""RAPL through perf_event: the PMU's description is a copy of its layout, the system call is the kernel's own.

No machine that tests this is sure to have an energy PMU. So the description names the kernel's software PMU instead:
its CPU clock counts the nanoseconds of a CPU, which at 1e-9 J each is a load of exactly 1 W.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine import meters
from machine.procfs import EPYC_7763, XEON_8480, Cpu, cpuinfo

from greenrun.sampler.model import Counter, Machine, Opened
from greenrun.sampler.sources import cpu, perfevent

SOFTWARE, CPU_CLOCK = 1, "event=0x00"  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK: linux/perf_event.h
NANOSECOND = "1.0e-9"


def described(root: Path, *, kind: int = SOFTWARE, of: Cpu = XEON_8480, cpumask: str = "0", **events: str) -> Machine:
    """Lay out a PMU with these events (energy_pkg for energy-pkg)."""
    named = {name.replace("_", "-"): event for name, event in (events or {"energy_pkg": CPU_CLOCK}).items()}
    meters.pmu(root, kind, named, cpumask=cpumask, scale=NANOSECOND)
    (root / "cpuinfo").write_text(cpuinfo(of, hypervisor=False))
    return Machine(str(root), str(root))


def may_count(opened: Opened) -> bool:
    """Whether this process may count whole CPUs; where not, that is what the finding must say."""
    if opened.devices:
        return True
    (finding,) = opened.findings
    assert finding.status == "forbidden"
    assert "perf_event_paranoid" in finding.sentence + finding.remedy
    return False


def test_a_real_counter_of_the_kernel(tmp_path: Path) -> None:
    """A watt is a watt: what the kernel counts, in its unit, over the time that we measure."""
    source = perfevent.PerfEvent()
    found = source.open(described(tmp_path))
    if may_count(found):
        (device,) = found.devices
        assert (device.id, device.kind, device.method) == ("perf:package-0", "cpu", "counter")
        assert device.span_microjoules is None, "64 bits do not wrap"
        before = source.read()[0]
        time.sleep(0.3)
        after = source.read()[0]
        assert isinstance(before, Counter)
        assert isinstance(after, Counter)
        seconds = after.t - before.t
        assert (after.microjoules - before.microjoules) / 1e6 == pytest.approx(seconds, rel=0.02, abs=0.02)
    source.close()
    assert source.read() == []


def test_packages_memory_and_psys(tmp_path: Path) -> None:
    """One counter for each package and its memory, one psys for all; cores and graphics are inside the package."""
    names = ("energy_pkg", "energy_ram", "energy_psys", "energy_cores", "energy_gpu")
    machine = described(tmp_path, cpumask="0-1", **dict.fromkeys(names, CPU_CLOCK))
    meters.topology(tmp_path, 0, package=0)
    meters.topology(tmp_path, 1, package=1)
    source = perfevent.PerfEvent()
    found = source.open(machine)
    if may_count(found):
        assert {device.id: (device.kind, device.counted) for device in found.devices} == {
            "perf:package-0": ("cpu", True),
            "perf:package-1": ("cpu", True),
            "perf:package-0/dram": ("dram", True),
            "perf:package-1/dram": ("dram", True),
            "perf:psys": ("other", False),
        }
    source.close()


def test_dies_are_told_apart(tmp_path: Path) -> None:
    """Where a package has a counter for each die, their names do not coincide."""
    machine = described(tmp_path, cpumask="0,1")
    meters.topology(tmp_path, 0, package=0, die=0, dies=2)
    meters.topology(tmp_path, 1, package=0, die=1, dies=2)
    source = perfevent.PerfEvent()
    found = source.open(machine)
    if may_count(found):
        assert [device.id for device in found.devices] == ["perf:package-0-die-0", "perf:package-0-die-1"]
    source.close()


def test_a_user_who_may_not(tmp_path: Path) -> None:
    """As somebody without rights on a kernel that asks for them it is forbidden, with the remedy."""
    machine = described(tmp_path)
    script = (
        "from greenrun.sampler.model import Machine\n"
        "from greenrun.sampler.sources.perfevent import PerfEvent\n"
        f"found = PerfEvent().open(Machine({machine.sysfs!r}, {machine.procfs!r}))\n"
        "print(*[(finding.status, bool(finding.remedy)) for finding in found.findings])\n"
    )
    command = [sys.executable, "-c", script]
    if os.geteuid() == 0:
        rights = "-perfmon,-sys_admin"  # capabilities(7): either lets one count whole CPUs
        command = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, "--", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    paranoid = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    expected = "('forbidden', True)" if paranoid > 0 else "('ok', False)"
    assert done.stdout.strip() == expected, done.stderr


def test_a_pmu_that_the_kernel_does_not_know(tmp_path: Path) -> None:
    """A type of no PMU is refused by the kernel: broken, and no traceback."""
    found = perfevent.PerfEvent().open(described(tmp_path, kind=4_000_000_000))
    assert found.devices == ()
    assert [finding.status for finding in found.findings] in (["broken"], ["forbidden"])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("type", "garbage"),
        ("type", ""),
        ("cpumask", "garbage"),
        ("events/energy-pkg", "umask=0x02"),
        ("events/energy-pkg", "event=garbage"),
        ("events/energy-pkg.unit", "Watts"),
        ("events/energy-pkg.scale", "garbage"),
    ],
)
def test_a_description_that_makes_no_sense(tmp_path: Path, file: str, text: str) -> None:
    """Nothing is guessed: an event of which unit, scale or number is not known is none."""
    machine = described(tmp_path)
    (tmp_path / "bus" / "event_source" / "devices" / "power" / file).write_text(f"{text}\n")
    found = perfevent.PerfEvent().open(machine)
    assert (found.devices, [finding.status for finding in found.findings]) == ((), ["absent"])


def test_lists_of_cpus() -> None:
    """As the kernel writes them."""
    assert perfevent.numbers("0,56") == [0, 56]
    assert perfevent.numbers("0-2,8") == [0, 1, 2, 8]
    assert perfevent.numbers("") == perfevent.numbers("x-y") == []


def test_it_is_used_where_powercap_is_shut(tmp_path: Path) -> None:
    """Where a container hides powercap the PMU stands in for it; where powercap can be read it is not asked."""
    machine = described(tmp_path, of=EPYC_7763)
    powercap = tmp_path / "class" / "powercap"
    powercap.mkdir(parents=True)
    (powercap / "intel-rapl:0").symlink_to("../../devices/virtual/powercap/intel-rapl/intel-rapl:0")
    itself = perfevent.PerfEvent()
    may = may_count(itself.open(machine))
    itself.close()
    source = cpu.source(machine)
    found = source.open(machine)
    assert {device.source for device in found.devices} == ({"perf"} if may else set())
    if may:
        assert [finding.status for finding in found.findings] == ["ok"], "powercap is missed by nobody"
        assert isinstance(source.read()[0], Counter)
        assert found.devices[0].uncertainty_percent == 15.0, "the counter is the same, and so is its model"
    else:
        assert [(finding.source, finding.status) for finding in found.findings] == [("rapl", "absent")]
    source.close()
    (powercap / "intel-rapl:0").unlink()
    meters.write(powercap / "intel-rapl:0", {"name": "package-0", "energy_uj": 5, "max_energy_range_uj": 99})
    for chosen, expected in (("auto", "rapl"), ("rapl", "rapl")):
        source = cpu.source(machine._replace(cpu_source=chosen))
        assert {device.source for device in source.open(machine).devices} == {expected}
        source.close()
    source = cpu.source(machine._replace(cpu_source="perf"))
    assert {device.source for device in source.open(machine).devices} <= {"perf"}
    source.close()
