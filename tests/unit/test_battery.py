"""Batteries on copies of their folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import meters

from greenrun.sampler import overlap, sources
from greenrun.sampler.model import Machine, Power, Reading
from greenrun.sampler.sources import battery


def watts(reading: Reading | None) -> float:
    """Give the watts of a reading."""
    assert isinstance(reading, Power)
    return reading.watts


@pytest.mark.parametrize(
    "files",
    [
        {"power_now": 12_340_000, "energy_now": 40_000_000},
        {"power_now": -12_340_000},
        {"current_now": 1_234_000, "voltage_now": 10_000_000, "charge_now": 4_000_000},
        {"current_now": -1_234_000, "voltage_now": 10_000_000},
    ],
)
def test_the_power_while_it_is_discharged(tmp_path: Path, files: dict[str, int]) -> None:
    """In microwatts, or as microamperes times microvolts, whichever sign the driver gives it."""
    meters.battery(tmp_path, **files)
    source = battery.source()
    found = source.open(Machine(str(tmp_path)))
    (device,) = found.devices
    assert (device.id, device.kind, device.covers) == ("battery", "other", (overlap.WHOLE,))
    assert watts(source.read()[0]) == pytest.approx(12.34)
    assert (source.slow, source.poll_seconds) == (True, 1.0)


def test_on_mains_it_tells_nothing(tmp_path: Path) -> None:
    """While it is charged its power is not the machine's: it joins when it is discharged, and pauses when not."""
    folder = meters.battery(tmp_path, status="Charging", power_now=30_000_000)
    meters.mains(tmp_path, 1)
    source = battery.source()
    found = source.open(Machine(str(tmp_path)))
    assert found.devices == ()
    assert [finding.status for finding in found.findings] == ["absent"]
    meters.write(folder, {"status": "Discharging", "power_now": 9_000_000})
    later = found.later
    assert later is not None
    assert [device.id for device in later.open(Machine(str(tmp_path))).devices] == ["battery"]
    assert watts(later.read()[0]) == pytest.approx(9.0)
    meters.write(folder, {"status": "Full"})
    assert list(later.read()) == [None]
    assert len(later.warnings()) == 1


def test_two_batteries_are_one_machine(tmp_path: Path) -> None:
    """They are emptied one after the other, so their powers are added; while one is charged nothing is known."""
    first = meters.battery(tmp_path, "BAT0", status="Not charging", power_now=0)
    second = meters.battery(tmp_path, "BAT1", power_now=8_000_000)
    source = battery.source()
    (device,) = source.open(Machine(str(tmp_path))).devices
    assert "BAT0, BAT1" in device.name
    assert watts(source.read()[0]) == pytest.approx(8.0)
    meters.write(first, {"status": "Charging", "power_now": 20_000_000})
    assert list(source.read()) == [None]
    meters.write(first, {"status": "Full", "power_now": 0})
    meters.write(second, {"status": "Charging"})
    assert list(source.read()) == [None]


def test_what_is_no_battery_of_the_machine(tmp_path: Path) -> None:
    """A mouse's, an adapter, and a gauge that tells only the charge."""
    meters.battery(tmp_path, "hidpp_battery_0", scope="Device", power_now=1)
    meters.mains(tmp_path, 1)
    assert battery.folders(str(tmp_path)) == []
    assert {source.name for source in sources.meters(Machine(str(tmp_path)))} == {"rapl", "nvml"}
    meters.battery(tmp_path)
    assert "battery" in {source.name for source in sources.meters(Machine(str(tmp_path)))}
    assert battery.source().open(Machine(str(tmp_path))).devices == ()
