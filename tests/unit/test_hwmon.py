"""hwmon chips on copies of their layouts in sysfs: AMD and Intel GPUs, Grace, a board's meter, Jetson."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from machine import meters
from machine.privilege import unprivileged

from greenrun.sampler import overlap
from greenrun.sampler.model import Counter, Machine, Opened, Power, Reading, Source
from greenrun.sampler.sources import hwmon


def opened(root: Path) -> list[tuple[Source, Opened]]:
    """Open what hwmon finds below a root."""
    made = hwmon.sources(hwmon.chips(str(root)))
    return [(source, source.open(Machine(str(root), str(root)))) for source in made]


def one(root: Path) -> tuple[Source, Opened]:
    """Open the only source that there is."""
    (found,) = opened(root)
    return found


def amount(reading: Reading | None) -> float:
    """Give watts or microjoules."""
    assert reading is not None
    return reading.watts if isinstance(reading, Power) else reading.microjoules


def test_chips_of_no_interest(tmp_path: Path) -> None:
    """Temperatures, fans and disks are no source, and no finding."""
    assert hwmon.sources(hwmon.chips(str(tmp_path))) == []
    meters.hwmon(tmp_path, 0, "coretemp", {"temp1_input": 41_000}, "platform/coretemp.0")
    meters.hwmon(tmp_path, 1, "nvme", {"temp1_input": 38_000}, "pci0000:00/0000:00:1d.0/0000:02:00.0/nvme/nvme0")
    assert [chip.name for chip in hwmon.chips(str(tmp_path))] == ["coretemp", "nvme"]
    assert hwmon.sources(hwmon.chips(str(tmp_path))) == []


def test_an_amd_card(tmp_path: Path) -> None:
    """Microwatts, ten times a second, by its PCI address, whatever the chip's number."""
    folder = meters.amd_card(tmp_path, 217_500_000)
    source, found = one(tmp_path)
    (device,) = found.devices
    assert (device.id, device.kind, device.method) == ("amdgpu:0000:03:00.0", "gpu", "power")
    assert device.covers == ("gpu/0000:03:00.0",)
    assert (source.slow, source.poll_seconds) == (False, 0.1)
    assert amount(source.read()[0]) == pytest.approx(217.5)
    meters.write(folder, {"power1_average": 33_000_000})
    assert amount(source.read()[0]) == pytest.approx(33.0)
    source.close()


def test_a_gpu_within_a_processor(tmp_path: Path) -> None:
    """Its power is the package's, so it is the CPU that it tells, and it says so."""
    meters.amd_apu(tmp_path, 28_000_000)
    source, found = one(tmp_path)
    (device,) = found.devices
    assert (device.kind, device.covers) == ("cpu", ("cpu/#0000:c4:00.0",))
    assert "whole package" in device.note
    assert amount(source.read()[0]) == pytest.approx(28.0)


@pytest.mark.parametrize("driver", ["i915", "xe"])
def test_an_intel_card(tmp_path: Path, driver: str) -> None:
    """The card's counter in microjoules, of 64 bits; a tile's and the chip's are within it."""
    folder = meters.intel_card(tmp_path, 2**40, driver=driver)
    source, found = one(tmp_path)
    (device,) = found.devices
    assert (device.id, device.kind, device.method) == (f"{driver}:0000:0a:00.0", "gpu", "counter")
    assert (device.span_microjoules, source.poll_seconds) == (None, None)
    assert amount(source.read()[0]) == 2**40
    meters.write(folder, {"energy1_input": 2**40 + 5})
    assert amount(source.read()[0]) == 2**40 + 5


def test_a_card_that_tells_only_its_chip(tmp_path: Path) -> None:
    """Without the card's counter the chip's is taken, and said to be that."""
    meters.pci_gpu(tmp_path, 2, "xe", "0000:0a:00.0", {"energy2_input": 77, "energy2_label": "pkg"})
    source, found = one(tmp_path)
    assert "without the memory" in found.devices[0].note
    assert amount(source.read()[0]) == 77


def test_a_gpu_that_sleeps_is_not_woken(tmp_path: Path) -> None:
    """It is a source for later, is not read meanwhile, and is not told of again and again."""
    folder = meters.amd_card(tmp_path, 50_000_000, status="suspended")
    # who opened this would hang: reading it is what wakes the GPU
    (folder / "power1_average").unlink()
    os.mkfifo(folder / "power1_average")
    source, found = one(tmp_path)
    assert (found.devices, source.read()) == ((), [])
    assert [(finding.status, "asleep" in finding.sentence) for finding in found.findings] == [("absent", True)]
    assert found.later is not None
    assert found.later.slow
    again = found.later.open(Machine(str(tmp_path)))
    assert (again.devices, again.findings) == ((), ())
    (folder / "power1_average").unlink()
    meters.write(folder, {"power1_average": 50_000_000})
    meters.write(folder / "device" / "power", {"runtime_status": "active"})
    assert again.later is not None
    awake = again.later.open(Machine(str(tmp_path)))
    assert [device.id for device in awake.devices] == ["amdgpu:0000:03:00.0"]
    assert amount(again.later.read()[0]) == pytest.approx(50.0)
    meters.write(folder / "device" / "power", {"runtime_status": "suspended"})
    assert list(again.later.read()) == [None]
    assert list(again.later.read()) == [None]
    assert len(again.later.warnings()) == 1


def test_a_boards_meter(tmp_path: Path) -> None:
    """The whole machine, read once a second in a thread of its own at first, for the firmware may take its time."""
    meters.acpi_meter(tmp_path, 0, 412_000_000, interval=2000)
    source, found = one(tmp_path)
    (device,) = found.devices
    assert (device.id, device.kind, device.covers) == ("acpi:ACPI000D:00", "other", (overlap.WHOLE,))
    assert (source.slow, source.poll_seconds, device.resolution_seconds) == (True, 1.0, 2.0)
    assert amount(source.read()[0]) == pytest.approx(412.0)


def test_a_boards_meter_of_an_older_kernel(tmp_path: Path) -> None:
    """Its files are in the folder of the ACPI device, its name too."""
    meters.acpi_meter(tmp_path, 3, 99_000_000, old=True)
    source, found = one(tmp_path)
    assert [device.id for device in found.devices] == ["acpi:ACPI000D:03"]
    assert amount(source.read()[0]) == pytest.approx(99.0)


def test_a_battery_by_acpi_is_no_board(tmp_path: Path) -> None:
    """A meter that says that it is a battery's is left to the battery."""
    folder = meters.acpi_meter(tmp_path, 0, 10_000_000)
    meters.write(folder, {"power1_is_battery": 1})
    _, found = one(tmp_path)
    assert found.devices == ()


def test_grace(tmp_path: Path) -> None:
    """Each meter of a socket is told by what it says that it measures; two sockets are apart."""
    watts = {"Module Power Socket 0": 532.0, "Grace Power Socket 0": 259.0}
    rails = {"CPU Power Socket 0": 251.0, "SysIO Power Socket 0": 3.0, "CPU Power Socket 1": 81.0}
    meters.grace(tmp_path, watts | rails)
    source, found = one(tmp_path)
    assert not source.slow
    told = {device.id: amount(reading) for device, reading in zip(found.devices, source.read(), strict=True)}
    assert told == {
        "grace:module-0": 532.0,
        "grace:grace-0": 259.0,
        "grace:cpu-0": 251.0,
        "grace:sysio-0": 3.0,
        "grace:cpu-1": 81.0,
    }
    kinds = {device.id: device.kind for device in found.devices}
    assert (kinds["grace:module-0"], kinds["grace:grace-0"], kinds["grace:cpu-0"]) == ("other", "cpu", "cpu")
    assert overlap.counting(found.devices) == {"grace:module-0", "grace:cpu-1"}


def test_a_grace_meter_that_is_not_known(tmp_path: Path) -> None:
    """What it measures is not guessed."""
    meters.grace(tmp_path, {"Fabric Power Socket 0": 1.0, "CPU Power Socket": 2.0})
    assert one(tmp_path)[1].devices == ()


def test_jetson(tmp_path: Path) -> None:
    """Millivolts times milliamperes; the memory hangs on the 5 V rail and is not added to it."""
    first, _ = meters.agx_orin(tmp_path)
    source, found = one(tmp_path)
    told = {device.id: amount(reading) for device, reading in zip(found.devices, source.read(), strict=True)}
    assert told == {
        "jetson:VDD_GPU_SOC": 20.0,
        "jetson:VDD_CPU_CV": 10.0,
        "jetson:VIN_SYS_5V0": 5.0,
        "jetson:VDDQ_VDD2_1V8AO": 1.0,
    }
    counting = overlap.counting(found.devices)
    assert sum(told[name] for name in counting) == pytest.approx(35.0)
    assert {device.kind for device in found.devices if device.id in counting} == {"gpu", "cpu", "other"}
    meters.write(first, {"curr2_input": 3000})
    assert amount(source.read()[1]) == pytest.approx(15.0)


def test_orin_nano(tmp_path: Path) -> None:
    """The parts count, the module's input stands beside them; the sum of shunts is no rail."""
    rails = {1: ("VDD_IN", 5000, 3000), 2: ("VDD_CPU_GPU_CV", 5000, 1000), 3: ("VDD_SOC", 5000, 400)}
    meters.ina3221(tmp_path, 1, rails)
    _, found = one(tmp_path)
    assert overlap.counting(found.devices) == {"jetson:VDD_CPU_GPU_CV", "jetson:VDD_SOC"}
    assert len(found.devices) == 3


def test_some_other_ina3221(tmp_path: Path) -> None:
    """The same chip on another board measures something else: what is not known is not read."""
    meters.ina3221(tmp_path, 1, {1: ("USB_VBUS", 5000, 3000)})
    assert one(tmp_path)[1].devices == ()


@pytest.mark.parametrize("spoilt", ["", "12", "garbage\n", "\n", "1e6\n"])
def test_what_makes_no_sense_is_no_reading(tmp_path: Path, spoilt: str) -> None:
    """An empty, torn or odd text gives nothing; it never gives 0."""
    folder = meters.amd_card(tmp_path, 1_000_000)
    source, _ = one(tmp_path)
    (folder / "power1_average").write_text(spoilt)
    assert list(source.read()) == [None]
    meters.write(folder, {"power1_average": 2_000_000})
    assert amount(source.read()[0]) == pytest.approx(2.0)


def test_a_driver_that_is_unloaded(tmp_path: Path) -> None:
    """Its files are gone: no reading and one warning; when it is back it is read again."""
    folder = meters.intel_card(tmp_path, 5)
    source, _ = one(tmp_path)
    source.close()
    (folder / "energy1_input").unlink()
    assert [list(source.read()), list(source.read())] == [[None], [None]]
    ((device, sentence),) = source.warnings()
    assert device == "i915:0000:0a:00.0"
    assert "could not be read for a time" in sentence
    meters.write(folder, {"energy1_input": 9})
    assert amount(source.read()[0]) == 9


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """It is forbidden, not absent, and the other card is read."""
    meters.intel_card(tmp_path, 5)
    folder = meters.amd_card(tmp_path, 7_000_000)
    os.chmod(folder / "power1_average", 0)
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, os.stat(path).st_mode | stat.S_IROTH | stat.S_IXOTH)
    script = (
        "from greenrun.sampler.model import Machine\n"
        "from greenrun.sampler.sources import hwmon\n"
        f"(source,) = hwmon.sources(hwmon.chips({str(tmp_path)!r}))\n"
        f"found = source.open(Machine({str(tmp_path)!r}))\n"
        "print([device.id for device in found.devices], [finding.status for finding in found.findings])\n"
    )
    assert run(script) == "['i915:0000:0a:00.0'] ['forbidden', 'ok']"


def run(script: str) -> str:
    """Run a script as a user who is not root."""
    done = subprocess.run(
        unprivileged([sys.executable, "-c", script]), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_counter_and_a_power_are_told_apart(tmp_path: Path) -> None:
    """A counter is handed on as it was read, a power at the moment at which it was."""
    meters.intel_card(tmp_path, 123)
    meters.amd_card(tmp_path, 1_000_000)
    source, found = one(tmp_path)
    readings = dict(zip((device.method for device in found.devices), source.read(), strict=True))
    assert isinstance(readings["counter"], Counter)
    assert isinstance(readings["power"], Power)
