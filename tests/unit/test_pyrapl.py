"""pyRAPL, the package itself: it reads /sys, so a simulated one is put there, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machine import meters
from machine.procfs import XEON_8480, cpuinfo

from greenrun.sampler.model import Machine
from greenrun.sampler.sources.pyrapl import PyRapl

SPAN = 262_143_328_850
SCRIPT = """
import json, logging, sys
from greenrun.sampler.meter import Meter
from greenrun.sampler.model import Machine
from greenrun.sampler.sources import cpu
imported = "pyRAPL" in sys.modules
machine = Machine(procfs={procfs!r}, cpu_source={source!r})
source = cpu.source(machine)
found = source.open(machine)
meters = [Meter(device) for device in found.devices]
def read():
    for meter, reading in zip(meters, source.read()):
        meter.update(reading)
read()
for path, value in {then!r}.items():
    open(path, "w").write(value)
read()
print(json.dumps({{
    "devices": [(device.id, device.kind, device.span_microjoules) for device in found.devices],
    "findings": [(finding.status, finding.sentence) for finding in found.findings],
    "joules": [meter.joules for meter in meters],
    "troubles": [trouble.code for meter in meters for trouble in meter.troubles()],
    "warnings": [sentence for _, sentence in source.warnings()],
    "imported": imported,
    "handlers": len(logging.getLogger().handlers),
}}))
"""


def two_sockets(root: Path) -> None:
    """Lay out powercap of two packages, one with memory, and what pyRAPL asks of the CPUs."""
    control = root / "class" / "powercap" / "intel-rapl"
    for number, microjoules in ((0, 5_000_000), (1, SPAN - 999_999)):
        zone = control / f"intel-rapl:{number}"
        meters.write(zone, {"name": f"package-{number}", "energy_uj": microjoules, "max_energy_range_uj": SPAN})
        meters.write(
            zone / f"intel-rapl:{number}:0",
            {"name": "dram", "energy_uj": 7_000_000, "max_energy_range_uj": 65_532_610_987},
        )
        for name in (f"intel-rapl:{number}", f"intel-rapl:{number}:0"):
            inside = f"intel-rapl/{name}" if name.count(":") == 1 else f"intel-rapl/intel-rapl:{number}/{name}"
            os.symlink(inside, root / "class" / "powercap" / name)
        meters.topology(root, number, package=number)
    meters.write(root / "devices" / "system" / "cpu", {"present": "0-1"})


def in_sysfs(root: Path, then: dict[str, str] | None = None, source: str = "pyrapl") -> dict[str, Any]:
    """Read the CPU's counters twice with `root` in the place of /sys; between the two files of it are written."""
    (root / "cpuinfo").write_text(cpuinfo(XEON_8480, hypervisor=False))
    written = {f"/sys/{path}": text for path, text in (then or {}).items()}
    script = SCRIPT.format(procfs=str(root), source=source, then=written)
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    shell = 'mount --bind "$1" /sys && exec "$2" -c "$3"'
    done = subprocess.run(
        [*namespace, "sh", "-c", shell, "sh", str(root), sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_its_counters_go_through_our_meter(tmp_path: Path) -> None:
    """A wrap, which pyRAPL never corrects, is unwrapped; it logs nothing, and is imported only when chosen."""
    two_sockets(tmp_path)
    told = in_sysfs(
        tmp_path,
        {
            "class/powercap/intel-rapl:0/energy_uj": "25000000\n",
            "class/powercap/intel-rapl:1/energy_uj": "2000000\n",
            "class/powercap/intel-rapl:1:0/energy_uj": "8500000\n",
        },
    )
    assert told["devices"] == [
        ["pyrapl:package-0", "cpu", SPAN],
        ["pyrapl:package-1", "cpu", SPAN],
        ["pyrapl:package-0/dram", "dram", 65_532_610_987],
        ["pyrapl:package-1/dram", "dram", 65_532_610_987],
    ]
    assert told["joules"] == pytest.approx([20.0, 3.0, 0.0, 1.5])
    assert told["troubles"] == []
    assert (told["imported"], told["handlers"]) == (False, 0)
    assert [status for status, _ in told["findings"]] == ["ok"]


def test_it_agrees_with_powercap(tmp_path: Path) -> None:
    """The same counters, read by us and by pyRAPL, are the same joules."""
    two_sockets(tmp_path)
    then = {"class/powercap/intel-rapl:0/energy_uj": "25000000\n"}
    told = []
    for source in ("pyrapl", "rapl"):
        found = in_sysfs(tmp_path, then, source)
        told.append({name.partition(":")[2]: found["joules"][at] for at, (name, *_) in enumerate(found["devices"])})
        (tmp_path / "class" / "powercap" / "intel-rapl:0" / "energy_uj").write_text("5000000\n")
    assert told[0] == told[1] == {"package-0": 20.0, "package-1": 0.0, "package-0/dram": 0.0, "package-1/dram": 0.0}


def test_a_reading_that_breaks(tmp_path: Path) -> None:
    """An empty file is a ValueError within pyRAPL; here it is no reading, and a warning."""
    two_sockets(tmp_path)
    told = in_sysfs(tmp_path, {"class/powercap/intel-rapl:0/energy_uj": ""})
    assert told["joules"] == [0.0, 0.0, 0.0, 0.0]
    assert len(told["warnings"]) == 1
    assert "ValueError" in told["warnings"][0]


def test_a_machine_without_counters(tmp_path: Path) -> None:
    """Its own exceptions and OSErrors become findings."""
    meters.topology(tmp_path, 0, package=0)
    meters.write(tmp_path / "devices" / "system" / "cpu", {"present": "0"})
    told = in_sysfs(tmp_path)
    assert told["devices"] == []
    assert [status for status, _ in told["findings"]] == ["absent"]
    (tmp_path / "devices" / "system" / "cpu" / "present").unlink()
    assert {status for status, _ in in_sysfs(tmp_path)["findings"]} == {"absent"}


def test_another_sysfs_is_not_read() -> None:
    """PyRAPL knows only /sys: a machine that is elsewhere is not told by this one's counters."""
    opened = PyRapl().open(Machine("/somewhere/else"))
    assert opened.devices == ()
    assert [finding.status for finding in opened.findings] == ["broken"]


def test_without_the_package() -> None:
    """Whoever asks for it and has not installed it is told how."""
    script = (
        "import sys; sys.modules['pyRAPL'] = None\n"
        "from greenrun.sampler.model import Machine\n"
        "from greenrun.sampler.sources.pyrapl import PyRapl\n"
        "(finding,) = PyRapl().open(Machine()).findings\n"
        "print(finding.status, finding.remedy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("broken Install it: pip install greenrun[pyrapl]")
