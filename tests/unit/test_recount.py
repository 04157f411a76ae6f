"""When devices join that tell the same joules: the log says what counts now, and all who read it agree."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from greenrun.cli.spending import joules_at_spawn
from greenrun.reports.account import account
from greenrun.reports.live import Live
from greenrun.sampler import events as checks
from greenrun.sampler import runlog
from greenrun.sampler.clock import Clock
from greenrun.sampler.loop import Sampler
from greenrun.sampler.model import BaseSource, Counter, Device, Machine, Opened, Reading
from greenrun.sampler.runlog import Writer

STARTED = 5000.0
CORES = Device("grace:cpu-0", "cpu", "cores", "grace", "counter", 5.0, 1000.0, covers=("cpu/0",))
MODULE = Device("nvml:GPU-m", "gpu", "module", "nvml", "counter", 5.0, 3000.0, covers=("gpu/m", "cpu/#m"))
BOARD = Device("acpi:0", "other", "whole machine", "acpi", "counter", 20.0, 3000.0, covers=("",))
GPU = Device("nvml:GPU-a", "gpu", "GPU", "nvml", "counter", 5.0, 3000.0)
WATTS = {CORES.id: 100.0, MODULE.id: 700.0, BOARD.id: 900.0, GPU.id: 300.0}
RUN = {
    "schema": 1,
    "greenrun": "0",
    "run_id": "r",
    "utc": "2026-01-01T10:00:00.000Z",
    "config": {"pue": 1.0, "scope": "node"},
}


@dataclass
class MovedClock(Clock):
    """Stands still until somebody moves it."""

    now: float = STARTED

    def monotonic(self) -> float:
        """Give the moment."""
        return self.now

    def boottime(self) -> float:
        """Give the moment."""
        return self.now

    def utc(self) -> float:
        """Give the moment as the wall clock has it."""
        return self.now + 1_767_261_600.0 - STARTED


@dataclass
class Counters(BaseSource):
    """Devices of a steady power."""

    name: str
    clock: MovedClock
    devices: tuple[Device, ...]
    slow: bool = False
    poll_seconds: float | None = None
    _warnings: list[tuple[str | None, str]] = field(default_factory=list)

    def open(self, machine: Machine) -> Opened:
        """Give the devices."""
        return Opened(self.devices)

    def read(self) -> Sequence[Reading | None]:
        """Give what they have used since the start."""
        t = self.clock.monotonic()
        return [Counter(t, round((t - STARTED) * WATTS[device.id] * 1e6)) for device in self.devices]


class Run:
    """A sampler with fast devices, whose log is in a folder; others join when they are told to."""

    def __init__(
        self, folder: Path, clock: MovedClock, *fast: Device, earlier: Sequence[Any] = (), procfs: str = "/nowhere"
    ) -> None:
        self.folder, self.clock = folder, clock
        self.writer = Writer()
        self.writer.open(str(folder))
        source = Counters("fast", clock, fast)
        self.sampler = Sampler(Machine("/nowhere", procfs), self.writer, 1.0, STARTED, clock=clock, meters=[source])
        self.sampler.open_fast(earlier)
        if earlier:
            self.sampler.announce()
        else:
            self.sampler.begin(**RUN)
            self.sampler.sample()
            self.sampler.write("spawned", pid=1)

    def until(self, seconds: float) -> None:
        """Let the time pass, with a sample each second."""
        while self.clock.now < STARTED + seconds - 1e-9:
            self.clock.now += 1.0
            self.sampler.sample()

    def join(self, *devices: Device) -> None:
        """Let devices come up now."""
        reader, writer = os.pipe()
        self.sampler._sources = [Counters("late", self.clock, devices, slow=True)]
        self.sampler.open_slow(writer)
        os.read(reader, 1)
        os.close(reader)
        os.close(writer)
        self.sampler.take_arrived()

    def end(self) -> list[Any]:
        """End the run and give its events."""
        self.sampler.write("exited", exit_code=0, signal=None)
        self.sampler.finish()
        self.sampler.write("end", reason="exited")
        return self.events()

    def events(self) -> list[Any]:
        """Give what the log holds until now."""
        return runlog.read(str(self.folder))


@pytest.fixture
def clock() -> Iterator[MovedClock]:
    """Give a clock that stands at the start."""
    return MovedClock()


def live_joules(events: Sequence[Any]) -> float | None:
    """Give the joules that `greenrun status` shows."""
    live = Live(events[0])
    for event in events[1:]:
        live.take(event)
    return live.state(STARTED + 20.0).energy_joules


def test_a_module_that_comes_up_takes_the_place_of_its_cpu(clock: MovedClock, tmp_path: Path) -> None:
    """The log's last word holds for the whole run: the CPU within the module is not added to it."""
    run = Run(tmp_path, clock, CORES)
    run.until(4.0)
    run.join(MODULE)
    before = run.sampler.total_joules()
    assert before == pytest.approx(4.0 * 100.0), "live: what the CPU has told until then stays"
    run.until(20.0)
    assert run.sampler.total_joules() == pytest.approx(before + 16.0 * 700.0), "live: each joule once, from then on"
    events = run.end()
    (joined,) = (event for event in events if event["event"] == "device")
    assert joined["counted"] == {CORES.id: False}
    record = account(events)
    counted = {device["id"]: device["counted"] for device in record["devices"]}
    assert (counted[CORES.id], counted[MODULE.id]) == (False, True)
    assert record["energy_joules"]["cpu"] is None
    assert record["energy_joules"]["gpu"] == pytest.approx(20.0 * 700.0), "what came before it joined is filled"
    assert live_joules(events) == pytest.approx(16.0 * 700.0, abs=700.0), "without what is filled"
    assert [checks.flaw(event) for event in events] == [None] * len(events)


def test_the_whole_machine_counts_where_nothing_tells_the_cpu(clock: MovedClock, tmp_path: Path) -> None:
    """Nothing within it is estimated beside it, and a GPU that comes up stands beside it."""
    run = Run(tmp_path, clock, BOARD, procfs="/proc")  # where an estimate would find what it needs
    assert [meter.device.id for meter in run.sampler.meters] == [BOARD.id]
    run.join(GPU)
    run.until(20.0)
    record = account(run.end())
    assert {device["id"]: device["counted"] for device in record["devices"]} == {BOARD.id: True, GPU.id: False}
    assert record["energy_joules"]["total"] == pytest.approx(20.0 * 900.0)
    assert record["energy_joules"]["gpu"] is None


def test_who_comes_after_a_minute_takes_nobodys_place(clock: MovedClock, tmp_path: Path) -> None:
    """Its joules before are not known: the sum would miss what the other has told of them."""
    run = Run(tmp_path, clock, CORES)
    run.until(61.0)
    run.join(MODULE)
    run.until(70.0)
    events = run.end()
    assert not any(event.get("counted") for event in events if event["event"] == "device")
    record = account(events)
    assert {device["id"]: device["counted"] for device in record["devices"]}[MODULE.id] is False
    assert record["energy_joules"]["cpu"] == pytest.approx(70.0 * 100.0)


def test_a_second_sampler_goes_on_with_the_last_word(clock: MovedClock, tmp_path: Path) -> None:
    """After SIGKILL of the first what counted goes on counting, before its source is up again and after."""
    run = Run(tmp_path, clock, CORES)
    run.until(4.0)
    run.join(MODULE)
    run.until(10.0)
    earlier = run.events()
    assert joules_at_spawn(earlier) == 0.0, "of the module, which had not joined at the spawn"
    clock.now += 5.0
    second = Run(tmp_path, clock, CORES, earlier=earlier)
    counts = {meter.device.id: meter.device.counted for meter in second.sampler.meters}
    assert (counts[CORES.id], counts[MODULE.id]) == (False, True)
    second.join(MODULE)
    second.until(30.0)
    events = second.end()
    assert [event["counted"] for event in events if event.get("counted")] == [{CORES.id: False}], "nothing has changed"
    record = account(events)
    assert record["energy_joules"]["gpu"] == pytest.approx(30.0 * 700.0)
    assert record["energy_joules"]["cpu"] is None
