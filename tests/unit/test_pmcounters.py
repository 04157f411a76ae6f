"""Cray's pm_counters on copies of their folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from machine import meters

from greenrun.sampler import overlap, sources
from greenrun.sampler.meter import Meter
from greenrun.sampler.model import Counter, Machine
from greenrun.sampler.sources import pmcounters

NODE = {"energy": 10_000, "cpu_energy": 4_000, "memory_energy": 700, "accel0_energy": 2_000, "accel1_energy": 2_100}


@pytest.mark.parametrize("stamped", [True, False])
def test_all_counters_of_a_node(tmp_path: Path, stamped: bool) -> None:
    """Joules with or without a time behind them; powers, caps and the bookkeeping are not read."""
    meters.cray(tmp_path, NODE, stamped=stamped)
    source = pmcounters.source()
    found = source.open(Machine(str(tmp_path)))
    read = {device.id: reading for device, reading in zip(found.devices, source.read(), strict=True)}
    told = {name: reading.microjoules for name, reading in read.items() if isinstance(reading, Counter)}
    assert told == {
        "cray:node": 10_000_000_000,
        "cray:cpu": 4_000_000_000,
        "cray:memory": 700_000_000,
        "cray:accel0": 2_000_000_000,
        "cray:accel1": 2_100_000_000,
    }
    kinds = {device.id: device.kind for device in found.devices}
    assert kinds == {
        "cray:node": "other",
        "cray:cpu": "cpu",
        "cray:memory": "dram",
        "cray:accel0": "gpu",
        "cray:accel1": "gpu",
    }
    assert overlap.counting(found.devices) == kinds.keys() - {"cray:node"}
    assert (source.slow, source.poll_seconds) == (False, None)


def test_whole_joules_ten_times_a_second(tmp_path: Path) -> None:
    """That is what the figure of a short stretch may be off by."""
    meters.cray(tmp_path, NODE)
    for device in pmcounters.source().open(Machine(str(tmp_path))).devices:
        assert (device.resolution_joules, device.resolution_seconds) == (1.0, 0.1)


def test_the_meter_adds_them_up(tmp_path: Path) -> None:
    """Written as the controller writes them, each difference is joules; a controller that restarts is a reset."""
    folder = meters.cray(tmp_path, NODE)
    source = pmcounters.source()
    found = source.open(Machine(str(tmp_path)))
    place = [device.id for device in found.devices].index("cray:cpu")
    meter = Meter(found.devices[place])
    for joules in (4_000, 4_000, 4_120, 4_121, 3, 13):
        meters.write(folder, {"cpu_energy": f"{joules} J 1447097391000 us"})
        meter.update(source.read()[place])
    assert meter.joules == pytest.approx(131.0)
    assert [trouble.code for trouble in meter.troubles()] == ["reset"]


def test_nothing_of_cray(tmp_path: Path) -> None:
    """No such folder is no source; one that was taken away in between gives nothing."""
    assert {source.name for source in sources.meters(Machine(str(tmp_path)))} == {"rapl", "nvml"}
    assert pmcounters.source().open(Machine(str(tmp_path))).devices == ()
    folder = meters.cray(tmp_path, NODE)
    assert "cray" in {source.name for source in sources.meters(Machine(str(tmp_path)))}
    source = pmcounters.source()
    assert len(source.open(Machine(str(tmp_path))).devices) == 5
    for name in os.listdir(folder):
        os.truncate(folder / name, 0)
    assert list(source.read()) == [None] * 5
