"""The sampler's loop on a clock that tests move: when it reads, when it writes a line, and what stands in it."""

from __future__ import annotations

import json
import os
import select
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from greenrun.reports.account import account
from greenrun.sampler import runlog
from greenrun.sampler.clock import Clock
from greenrun.sampler.loop import Sampler
from greenrun.sampler.model import BaseSource, Counter, Device, Finding, Machine, Opened, Power, Reading
from greenrun.sampler.runlog import LAST_NAME, LOG_NAME, Writer

STARTED = 5000.0
WATTS = 150.0
SPAN = 262_143_328_850
CPU = Device("cpu0", "cpu", "package-0", "test", "counter", 5.0, 1000.0, span_microjoules=SPAN)
DRAM = CPU._replace(id="dram0", kind="dram", name="memory of package-0")
GPU = Device("gpu0", "gpu", "GPU 0", "test", "power", 5.0, 1000.0)
RUN = {
    "schema": 1,
    "greenrun": "0",
    "run_id": "r",
    "utc": "2026-01-01T10:00:00.000Z",
    "config": {"pue": 1.0},
}


@dataclass
class MovedClock(Clock):
    """Stands still until somebody moves it; `set_utc` and `sleep` are what happens to real ones."""

    monotonic_now: float = STARTED
    utc_offset: float = 1_767_261_600.0 - STARTED  # 2026-01-01T10:00:00Z
    slept: float = 0.0

    def monotonic(self) -> float:
        """Give the moment."""
        return self.monotonic_now

    def boottime(self) -> float:
        """Give the moment, with the time asleep."""
        return self.monotonic_now + self.slept + 100.0

    def utc(self) -> float:
        """Give the moment as the wall clock has it."""
        return self.monotonic_now + self.utc_offset

    def suspend(self, seconds: float) -> None:
        """Sleep as a laptop does: only CLOCK_MONOTONIC stands still."""
        self.slept += seconds
        self.utc_offset += seconds


@dataclass
class Meters(BaseSource):
    """A source of steady devices, with a list of the moments at which it was read."""

    name: str = "meters"
    slow: bool = False
    poll_seconds: float | None = None
    clock: MovedClock = field(default_factory=MovedClock)
    devices: tuple[Device, ...] = (CPU, DRAM)
    _warnings: list[tuple[str | None, str]] = field(default_factory=list)
    read_at: list[float] = field(default_factory=list)
    failing: bool = False
    findings: tuple[Finding, ...] = ()
    later: Any = None
    gate: threading.Event | None = None
    asked: int = 0

    def open(self, _machine: Machine) -> Opened:
        """Give the devices, once the gate is open."""
        if self.gate is not None:
            self.gate.wait(10)
        return Opened(self.devices, self.findings, self.later)

    def read(self) -> Sequence[Reading | None]:
        """Give counters or powers of a steady use, or nothing."""
        now = self.clock.monotonic()
        self.read_at.append(now)
        if self.failing:
            return [None] * len(self.devices)
        joules = (now - STARTED) * WATTS
        counter = Counter(now, (10**11 + int(joules * 1e6)) % (SPAN + 1))
        return [counter if device.method == "counter" else Power(now, WATTS) for device in self.devices]

    def utilisation(self) -> Sequence[float | None]:
        """Give half, and count how often it was asked for."""
        self.asked += 1
        return [0.5] * len(self.devices)

    def lose(self, device: str | None, sentence: str) -> None:
        """Say that a device is gone, as a source does."""
        self._warnings.append((device, sentence))


class Run:
    """A sampler on a moved clock whose events stay in memory, or go into `folder`."""

    def __init__(
        self,
        *meters: Meters,
        interval: float = 1.0,
        folder: Path | None = None,
        earlier: Sequence[Any] = (),
        procfs: str = "/proc",
        started: float = STARTED,
        aligned: bool = False,
    ) -> None:
        self.started = started
        self.clock = meters[0].clock if meters else MovedClock()
        self.writer = Writer()
        if folder is not None:
            self.writer.open(str(folder))
        self.clock.monotonic_now = max(started, self.clock.monotonic_now)
        self.sampler = Sampler(
            Machine(procfs=procfs), self.writer, interval, started, clock=self.clock, meters=meters, aligned=aligned
        )
        self.sampler.open_fast(earlier)
        self.wake, self._wake_writer = os.pipe()
        if earlier:
            self.sampler.announce()
        else:
            self.sampler.begin(**RUN)
        self.sampler.sample()

    def open_slow(self) -> None:
        """Let the slow sources open in their threads."""
        self.sampler.open_slow(self._wake_writer)

    def take(self) -> None:
        """Wait for one slow source and let it join."""
        assert select.select([self.wake], [], [], 10)[0]
        os.read(self.wake, 1)
        self.sampler.take_arrived()

    def until(self, t: float) -> None:
        """Let the time pass as the daemon does: asleep until something is due."""
        while (due := self.sampler.due()) <= self.started + t:
            self.clock.monotonic_now = max(due, self.clock.monotonic_now)
            self.sampler.tick()
        self.clock.monotonic_now = self.started + t

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Give the events of one kind."""
        return [event for event in self.writer.unwritten if event["event"] == kind]

    def close(self) -> None:
        """Close the pipe."""
        os.close(self.wake)
        os.close(self._wake_writer)


@pytest.fixture
def clock() -> MovedClock:
    """Give a clock at the start of the run."""
    return MovedClock()


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    """Give a list for the runs that are to be closed."""
    made: list[Run] = []
    yield made
    for run in made:
        run.close()


def check_gaps(times: Sequence[float], interval: float) -> None:
    """Hold the lines to the rule of thinning, and see that there are hardly more than it asks for."""
    for before, after in pairwise(times):
        assert after - before <= min(max(interval, before / 2000), 60.0) + 1e-6
    quarters = {t for t in times if (t / 900).is_integer()}
    assert quarters == {900.0 * number for number in range(int(times[-1] // 900) + 1)}
    rule, lines = 0.0, 0
    while rule < times[-1]:
        rule += min(max(interval, rule / 2000), 60.0)
        lines += 1
    assert len(times) <= lines + len(quarters) + 1


def test_thinning_over_a_day(clock: MovedClock, runs: list[Run]) -> None:
    """At one second: a line each second, then each elapsed / 2000, and each quarter of an hour to the point."""
    runs.append(run := Run(Meters(clock=clock), procfs="/nowhere"))
    run.until(86_400.0)
    check_gaps([event["t"] for event in run.events("sample")], 1.0)
    assert run.events("sample")[-1]["j"] == [86_400 * WATTS] * 2


def test_thinning_over_a_week(clock: MovedClock, runs: list[Run]) -> None:
    """At half a minute for a week: a line a minute at the most, and the total is exact."""
    runs.append(run := Run(Meters(clock=clock), interval=30.0, procfs="/nowhere"))
    run.until(7 * 86_400.0)
    check_gaps([event["t"] for event in run.events("sample")], 30.0)
    run.sampler.finish()
    assert run.events("sample")[-1]["j"] == [7 * 86_400 * WATTS] * 2
    assert run.events("warning") == []


def test_the_jobs_of_a_machine_are_sampled_at_the_same_moments(runs: list[Run]) -> None:
    """Whenever each began: the lines of the older one, which come more rarely, fall on lines of the younger one."""
    times = []
    for started, seconds in ((STARTED + 0.3, 40_000.0), (STARTED + 36_000.7, 3_999.0)):
        runs.append(run := Run(Meters(clock=MovedClock()), procfs="/nowhere", started=started, aligned=True))
        run.until(seconds)
        times.append([started + event["t"] for event in run.events("sample")[1:]])
    older, younger = times
    assert {t % 1.0 for t in older + younger} == {0.0}
    shared = [t for t in older if younger[0] <= t <= younger[-1]]
    assert len(shared) > 100
    assert set(shared) <= set(younger)
    assert max(after - before for before, after in pairwise(older)) <= 32.0


def test_a_week_of_twelve_devices_is_small(clock: MovedClock, runs: list[Run]) -> None:
    """Lines as long as they can be, as many as there are in a week: under 9 MB."""
    devices = tuple(GPU._replace(id=f"gpu{number}", method="counter") for number in range(8))
    runs.append(
        run := Run(Meters(clock=clock, devices=(CPU, DRAM, CPU._replace(id="c"), DRAM._replace(id="d"), *devices)))
    )
    run.until(30.0)
    near = len(runlog.encode(run.events("sample")[-1]))
    clock.monotonic_now = STARTED + 604_800.0
    run.sampler.sample()
    far = len(runlog.encode(run.events("sample")[-1]))
    with_raw, lines = 0, 0
    t = 0.0
    while t < 604_800.0:
        gap = min(max(1.0, t / 2000), 60.0)
        with_raw += gap < 10.0
        lines += 1
        t += gap
    lines += 672  # quarter hours
    assert lines < 19_500
    assert with_raw * (near + 40) + (lines - with_raw) * far < 9e6


def test_it_reads_once_for_each_line(clock: MovedClock, runs: list[Run]) -> None:
    """At the default interval a line brings the readings that are due: one a second, not two."""
    meters = Meters(clock=clock)
    runs.append(run := Run(meters))
    run.until(0.5)
    before = len(meters.read_at)
    run.until(100.5)
    assert len(meters.read_at) - before == 100


def test_counters_are_read_often_where_lines_are_rare(clock: MovedClock, runs: list[Run]) -> None:
    """A minute between lines is too long for a counter that wraps in two: it is read each ten seconds at the least."""
    meters = Meters(clock=clock)
    runs.append(run := Run(meters, interval=60.0))
    run.until(3600.0)
    assert max(b - a for a, b in pairwise(meters.read_at)) <= 10.0 + 1e-6
    lines = [event["t"] for event in run.events("sample")]
    assert max(b - a for a, b in pairwise(lines)) == pytest.approx(60.0)


def test_powers_are_polled_and_counters_are_not(clock: MovedClock, runs: list[Run]) -> None:
    """Ten readings a second for a source that needs them, one for its neighbour, one line for both."""
    polled = Meters(clock=clock, devices=(GPU,), poll_seconds=0.1)
    counted = Meters(clock=clock)
    runs.append(run := Run(counted, polled))
    run.until(60.0)
    assert max(b - a for a, b in pairwise(polled.read_at)) <= 0.1 + 1e-6
    assert len(polled.read_at) < 60 * 11 + 5
    assert len(counted.read_at) < 60 + 5
    assert len(run.events("sample")) <= 62
    assert run.events("sample")[-1]["j"][2] == pytest.approx(run.events("sample")[-1]["t"] * WATTS)


def test_no_catching_up_after_a_stop(clock: MovedClock, runs: list[Run]) -> None:
    """Three minutes of standing still are one reading and one line later, not two thousand."""
    polled = Meters(clock=clock, devices=(GPU,), poll_seconds=0.1)
    runs.append(run := Run(Meters(clock=clock), polled))
    run.until(10.0)
    reads, lines = len(polled.read_at), len(run.events("sample"))
    clock.monotonic_now = STARTED + 190.0
    run.until(190.05)
    assert len(polled.read_at) == reads + 1
    assert len(run.events("sample")) == lines + 1
    (gap,) = run.events("warning")
    assert (gap["code"], gap["device"]) == ("gap", "gpu0")
    assert gap["from_t"] == pytest.approx(10.0, abs=0.11)
    assert gap["to_t"] == pytest.approx(190.0)
    assert run.events("sample")[-1]["j"][0] == pytest.approx(190.0 * WATTS)


def test_a_slow_source_joins_late(clock: MovedClock, runs: list[Run]) -> None:
    """Its devices are announced when it is up, count from there, and line up with the columns of the samples."""
    gate = threading.Event()
    slow = Meters(name="slow", slow=True, clock=clock, devices=(GPU,), poll_seconds=0.1, gate=gate)
    runs.append(run := Run(Meters(clock=clock), slow))
    run.open_slow()
    run.until(2.5)
    assert slow.read_at == []
    gate.set()
    run.take()
    run.until(4.5)
    assert [device["id"] for device in run.events("start")[0]["devices"]] == ["cpu0", "dram0"]
    (joined,) = run.events("device")
    assert [(device["id"], device["from_t"]) for device in joined["devices"]] == [("gpu0", 2.5)]
    samples = run.events("sample")
    assert {len(event["j"]) for event in samples if event["t"] < 2.5} == {2}
    assert next(event for event in samples if event["t"] == 2.5)["j"][2] == 0.0
    run.sampler.sample()
    assert run.events("sample")[-1]["j"][2] == pytest.approx(2.0 * WATTS)
    assert run.sampler.total_joules() == pytest.approx((4.5 + 4.5 + 2.0) * WATTS)


def test_a_source_for_later_is_tried_again(clock: MovedClock, runs: list[Run]) -> None:
    """A GPU asleep is looked at each ten seconds, and joins when it is awake."""
    awake = Meters(clock=clock, devices=(GPU,))
    asleep = Meters(clock=clock, devices=(), later=Meters(clock=clock, devices=(), later=awake))
    runs.append(run := Run(Meters(clock=clock), asleep))
    run.open_slow()
    run.until(10.0)
    run.take()
    run.until(19.9)
    assert run.events("device") == []
    run.until(20.0)
    run.take()
    assert [device["from_t"] for device in run.events("device")[0]["devices"]] == [20.0]


def test_findings_are_told(clock: MovedClock, runs: list[Run]) -> None:
    """What is forbidden or broken is a warning with its remedy, from a slow source too; what is absent is none."""
    forbidden = Finding("a", "x", "forbidden", "It may not be read.", "Ask somebody.")
    absent = Finding("a", "y", "absent", "It is not here.")
    broken = Finding("b", "z", "broken", "It broke.")
    slow = Meters(name="slow", slow=True, clock=clock, devices=(), findings=(broken,))
    runs.append(run := Run(Meters(clock=clock, findings=(forbidden, absent)), slow))
    run.open_slow()
    run.take()
    assert [(event["code"], event["message"]) for event in run.events("warning")] == [
        ("source", "It may not be read. Ask somebody."),
        ("source", "It broke."),
    ]
    assert [finding["subject"] for finding in run.events("start")[0]["findings"]] == ["x", "y"]
    assert [finding["subject"] for finding in run.events("device")[0]["findings"]] == ["z"]


def test_an_estimate_stands_in(clock: MovedClock, runs: list[Run]) -> None:
    """What no meter covers is estimated; what one covers is not, even if its meter reads nothing yet."""
    runs.append(none := Run())
    runs.append(half := Run(Meters(clock=clock, devices=(CPU,))))
    beside = CPU._replace(id="psys", kind="other", counted=False)
    runs.append(both := Run(Meters(clock=clock, devices=(CPU, DRAM, beside))))

    def ids(run: Run) -> list[str]:
        return [device["id"] for device in run.events("start")[0]["devices"]]

    assert ids(none) == ["estimate:cpu", "estimate:dram"]
    assert ids(half) == ["cpu0", "estimate:dram"]
    assert ids(both) == ["cpu0", "dram0", "psys"]
    assert both.sampler.total_joules() == 0.0


def test_a_quarter_hour_is_met_whatever_the_interval(clock: MovedClock, runs: list[Run]) -> None:
    """UTC is not the run's clock: a run that began seven seconds after ten meets a quarter past ten at 893 s."""
    clock.utc_offset += 7.0
    runs.append(run := Run(Meters(clock=clock), interval=50.0))
    run.until(900.0)
    assert 893.0 in [event["t"] for event in run.events("sample")]


def test_a_step_of_utc_and_a_suspend_are_told_once(clock: MovedClock, runs: list[Run]) -> None:
    """Both are cumulative against the start; half a second is no step."""
    runs.append(run := Run(Meters(clock=clock)))
    run.until(5.0)
    clock.utc_offset += 0.4
    run.until(10.0)
    assert run.events("clock") == []
    clock.utc_offset -= 7200.0
    run.until(20.0)
    clock.suspend(300.0)
    run.until(30.0)
    told = [(event["t"], event["utc_step_seconds"], event["suspended_seconds"]) for event in run.events("clock")]
    assert told == [(11.0, -7199.6, 0.0), (21.0, -6899.6, 300.0)]
    assert run.events("sample")[-1]["t"] == 30.0, "the lines go by CLOCK_MONOTONIC"


def test_a_device_that_is_lost(clock: MovedClock, runs: list[Run]) -> None:
    """The warning says from when on it is missing, and the end does not say so again."""
    polled = Meters(clock=clock, devices=(GPU,), poll_seconds=0.1)
    runs.append(run := Run(Meters(clock=clock), polled))
    run.until(3.05)
    polled.failing = True
    polled.lose("gpu0", "GPU 0 was lost.")
    run.until(8.0)
    run.sampler.finish()
    (lost,) = run.events("warning")
    assert (lost["code"], lost["device"], lost["message"]) == ("lost", "gpu0", "GPU 0 was lost.")
    assert lost["from_t"] == pytest.approx(3.0, abs=0.11)
    assert run.events("sample")[-1]["j"][2] == pytest.approx(lost["from_t"] * WATTS)


def test_a_device_that_falls_silent(clock: MovedClock, runs: list[Run]) -> None:
    """A source that gives nothing any more, and no reason, is found out at the end."""
    meters = Meters(clock=clock, devices=(CPU, DRAM))
    runs.append(run := Run(meters))
    run.until(5.0)
    meters.failing = True
    run.until(9.0)
    run.sampler.finish()
    told = [(event["code"], event["device"], event["from_t"], event["to_t"]) for event in run.events("warning")]
    assert told == [("gap", "cpu0", 5.0, 9.0), ("gap", "dram0", 5.0, 9.0)]


def test_utilisation_is_asked_for_once_a_second(clock: MovedClock, runs: list[Run]) -> None:
    """However many lines there are: the driver's lock belongs to the job."""
    meters = Meters(clock=clock, devices=(CPU, DRAM, GPU))
    runs.append(run := Run(meters, interval=0.1))
    run.until(10.0)
    assert meters.asked <= 11
    assert run.events("sample")[-1]["gpu"] == [[0.5, None]]


def test_the_job_is_looked_at_seldom(clock: MovedClock, runs: list[Run]) -> None:
    """A scan of all processes may cost a three-thousandth of the time; the first waits for half a second."""
    runs.append(run := Run(Meters(clock=clock), interval=0.1))
    run.sampler.follow(os.getpid())
    run.until(0.4)
    assert {event["cpu"][0] for event in run.events("sample")} == {None}
    scans: list[float] = []
    look = run.sampler._usage.job

    def count(pid: int) -> tuple[float, int] | None:
        scans.append(clock.monotonic() - STARTED)
        found = look(pid)
        run.sampler._usage.job_scan_seconds = 0.002
        return found

    run.sampler._usage.job = count  # counted and passed on
    run.until(60.0)
    assert scans[0] == pytest.approx(0.5, abs=0.11)
    gaps = [b - a for a, b in pairwise(scans)]
    assert len(gaps) >= 8
    assert min(gaps) >= 6.0 - 1e-6
    cpu = run.events("sample")[-1]["cpu"]
    assert cpu[0] > 0.0
    assert len(cpu) == 3


# --- the log on disk, and a second sampler


def test_last_json_is_never_older_than_ten_seconds(clock: MovedClock, tmp_path: Path, runs: list[Run]) -> None:
    """Also where lines are a minute apart, and then it alone carries the counters' own values."""
    runs.append(run := Run(Meters(clock=clock), interval=60.0, folder=tmp_path))
    for t in range(5, 600, 5):
        run.until(float(t))
        last = json.loads((tmp_path / LAST_NAME).read_text())
        assert t - 10.0 - 1e-6 <= last["t"] <= t
        assert last["raw"] == [(10**11 + round(last["t"] * WATTS * 1e6)) % (SPAN + 1)] * 2
        assert runlog.read(str(tmp_path))[-1] == last
    assert not any("raw" in json.loads(line) for line in (tmp_path / LOG_NAME).read_text().splitlines())


@pytest.mark.parametrize(("interval", "died_after"), [(1.0, 4.5), (1.0, 45.0), (60.0, 45.0), (60.0, 125.0)])
def test_a_second_sampler_bridges(
    clock: MovedClock, tmp_path: Path, runs: list[Run], interval: float, died_after: float
) -> None:
    """SIGKILL of the first: the counters went on, the total is exact, and the power's gap is the only loss."""
    polled = Meters(clock=clock, devices=(GPU,), poll_seconds=0.1)
    runs.append(first := Run(Meters(clock=clock), polled, interval=interval, folder=tmp_path))
    first.sampler.write("spawned", pid=1)
    first.until(died_after)
    clock.monotonic_now += 20.0
    again = Meters(clock=clock), Meters(clock=clock, devices=(GPU,), poll_seconds=0.1)
    runs.append(second := Run(*again, interval=interval, folder=tmp_path, earlier=runlog.read(str(tmp_path))))
    assert second.sampler.unbridged == ["GPU 0"]
    second.until(died_after + 40.0)
    second.sampler.finish()
    second.sampler.write("exited", exit_code=0, signal=None)
    events = runlog.read(str(tmp_path))
    assert sum(event["event"] == "start" for event in events) == 1
    assert not any(event["event"] == "device" for event in events), "the same devices keep their columns"
    cpu, dram, gpu = (device["energy_joules"] for device in account(events)["devices"])
    assert cpu == dram == pytest.approx((died_after + 40.0) * WATTS, rel=1e-9)
    assert gpu == pytest.approx((died_after + 20.0) * WATTS, abs=10.1 * WATTS)
    assert not [event for event in events if event["event"] == "warning"]


def test_a_second_sampler_without_the_counters_values(clock: MovedClock, tmp_path: Path, runs: list[Run]) -> None:
    """Where last.json was lost too, the gap is not counted, and every device is named for it."""
    runs.append(first := Run(Meters(clock=clock), interval=60.0, folder=tmp_path))
    first.until(130.0)
    (tmp_path / LAST_NAME).unlink()
    clock.monotonic_now += 20.0
    runs.append(second := Run(Meters(clock=clock), interval=60.0, earlier=runlog.read(str(tmp_path))))
    assert second.sampler.unbridged == ["package-0", "memory of package-0"]
    assert second.events("sample")[0]["j"] == [120.0 * WATTS] * 2


@pytest.mark.parametrize(("meanwhile", "expected"), [(100.0, [(150.0, 150.0)]), (0.0, [])])
def test_a_second_sampler_keeps_to_the_first_clock(
    clock: MovedClock, tmp_path: Path, runs: list[Run], meanwhile: float, expected: list[tuple[float, float]]
) -> None:
    """A suspend while nobody sampled is told against the start; what the first has told is not told again."""
    runs.append(first := Run(Meters(clock=clock), folder=tmp_path))
    clock.suspend(50.0)
    first.until(3.0)
    clock.monotonic_now += 5.0
    clock.suspend(meanwhile)
    runs.append(second := Run(Meters(clock=clock), earlier=runlog.read(str(tmp_path))))
    second.until(20.0)
    assert [(event["utc_step_seconds"], event["suspended_seconds"]) for event in second.events("clock")] == expected


def test_the_total_counts_what_counts(clock: MovedClock, runs: list[Run]) -> None:
    """What stands beside the total is not in it."""
    beside = CPU._replace(id="psys", kind="other", counted=False)
    runs.append(run := Run(Meters(clock=clock, devices=(CPU, DRAM, beside))))
    run.until(10.0)
    assert run.sampler.total_joules() == pytest.approx(20.0 * WATTS)
