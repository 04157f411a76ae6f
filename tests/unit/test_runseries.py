"""A run over time: thinned, but with the energy and the CO2e of the record; unknown where nothing was measured."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from unit.data import logs, training

from greenrun.reports import account, series
from greenrun.reports.series import Series, Step

GOLDEN = Path(__file__).parent / "data" / "two-sockets"


def of(events: list[logs.Event], most_points: int = series.MOST_POINTS) -> Series:
    """Give the series of a run that has one."""
    found = series.series(account.account(events), events, most_points)
    assert found is not None
    return found


def joules(found: Series, device: str) -> float:
    """Give a device's energy as its plotted powers have it."""
    (watts,) = (line.watts for line in found.lines if line.device == device)
    return sum((b - a) * (power or 0.0) for (a, b), power in zip(pairwise(found.t), watts, strict=True))


def run(
    *samples: logs.Event, seconds: float, intensities: tuple[logs.Event, ...] = (), **more: object
) -> list[logs.Event]:
    """Give the events of a run of two devices, `a` and `b`."""
    start = logs.start(logs.device("a"), logs.device("b"), **more)
    return [start, logs.spawned(0.0), *intensities, *samples, logs.exited(seconds), logs.end(seconds)]


def test_the_golden_run() -> None:
    """100 W a package and 300 W a GPU, two intensities, and the record's CO2e in the end."""
    events = [json.loads(line) for line in (GOLDEN / "run.jsonl").read_text().splitlines()]
    found = of(events)
    assert (found.t[0], found.t[-1]) == (0.0, 120.0)
    powers = {line.device: line.watts for line in found.lines}
    assert powers["rapl:package-0"] == pytest.approx([100.0] * 12)
    assert powers["nvml:GPU-1"] == pytest.approx([300.0] * 12)
    assert found.intensity == [Step(0.0, 59.0, 100.0), Step(59.0, 120.0, 200.0)]
    assert found.grams[0] == 0.0
    assert found.grams[-1] == pytest.approx(json.loads((GOLDEN / "summary.json").read_text())["co2e_grams"], rel=1e-12)


def test_a_week_is_thinned_without_losing_energy() -> None:
    """2,000 points at most a line, each device's energy to nine digits, CO2e too."""
    events = training.events(7 * 86400.0, gpus=2, epochs=10, samples=18_000)
    record = account.account(events)
    found = of(events)
    assert 1000 < len(found.t) <= series.MOST_POINTS + 1
    for device in record["devices"]:
        assert joules(found, device["id"]) == pytest.approx(device["energy_joules"], rel=1e-9)
    assert found.grams[-1] == pytest.approx(record["co2e_grams"], rel=1e-9)
    assert len(of(events, 100).t) <= 101


def test_samples_that_lie_close_together_are_one_stretch() -> None:
    """A counter that moves in steps would show no power between two of them, and a wild one after."""
    regular = [logs.sample(float(t), 10.0 * t, None) for t in range(11)]
    marker = [logs.sample(5.001, 50.0, None), logs.sample(9.999, 99.9, None)]
    found = of(run(*sorted([*regular, *marker], key=lambda one: float(one["t"])), seconds=10.0))
    assert found.lines[0].watts == pytest.approx([10.0] * 10, rel=0.01)


def test_what_was_not_measured_is_unknown() -> None:
    """Before a device's first reading, after its last, in a gap, and of a device that was never read: no 0 W."""
    samples = [
        logs.sample(float(t), 10.0 * t if t < 100 else 1000.0, 5.0 * (t - 90) if t >= 90 else None) for t in range(200)
    ]
    gap = logs.warning(50.0, "gap", "Nothing was measured.", device="a", from_t=40.0, to_t=50.0)
    lost = logs.warning(120.0, "lost", "It is gone.", device="a", from_t=100.0)
    events = run(*sorted([*samples[:101], gap, lost, *samples[101:]], key=lambda one: float(one["t"])), seconds=199.0)
    events[0]["devices"][1]["from_t"] = None
    found = of(events)
    a, b = (line.watts for line in found.lines)
    assert found.t == [float(t) for t in range(200)]
    assert a[39] == pytest.approx(10.0)
    assert a[40:50] == [None] * 10
    assert a[50] == pytest.approx(10.0)
    assert a[100:] == [None] * 99
    assert b[:90] == [None] * 90
    assert b[90] == pytest.approx(5.0)
    unread = of(run(*(logs.sample(float(t), float(t)) for t in range(9)), seconds=8.0))
    assert unread.lines[1].watts == [None] * (len(unread.t) - 1)


def test_the_intensity_follows_the_clock_that_was_set() -> None:
    """An hour begins where the clock showed it: half an hour later on the run's clock when it was set back that far."""
    hours = (
        logs.intensity(100.0, "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"),
        logs.intensity(300.0, "2026-01-01T11:00:00Z", "2026-01-01T13:00:00Z"),
    )
    samples = [logs.sample(60.0 * k, 600.0 * k, None) for k in range(121)]
    set_back = {"event": "clock", "t": 1800.0, "utc_step_seconds": -1800.0, "suspended_seconds": 0.0}
    events = run(*sorted([*samples, set_back], key=lambda one: float(one["t"])), seconds=7200.0, intensities=hours)
    found = of(events)
    assert found.intensity == [Step(0.0, 5400.0, 100.0), Step(5400.0, 7200.0, 300.0)]
    assert found.grams[-1] == pytest.approx(account.account(events)["co2e_grams"])


def test_co2e_is_unknown_from_where_on_the_intensity_is() -> None:
    """What comes after an hour that nobody knows cannot be summed."""
    hour = (logs.intensity(100.0, "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"),)
    events = run(*(logs.sample(60.0 * k, 600.0 * k, None) for k in range(121)), seconds=7200.0, intensities=hour)
    found = of(events)
    assert [step.grams_per_kwh for step in found.intensity] == [100.0, None]
    known = [grams is not None for grams in found.grams]
    assert known == [t <= 3600.0 for t in found.t]


@pytest.mark.parametrize(
    "events",
    [
        [logs.start(logs.device("a")), {"event": "not-started", "t": 0.0, "exit_code": 127, "reason": "No."}],
        [logs.start(logs.device("a")), logs.spawned(1.0), logs.exited(1.0)],
        [logs.start(), logs.spawned(0.0), logs.sample(0.0), logs.exited(5.0)],
        [logs.start(logs.device("a")), logs.spawned(0.0), logs.exited(5.0)],
    ],
)
def test_a_run_without_any_has_none(events: list[logs.Event]) -> None:
    """Never started, of no length, without a device, or without a reading."""
    assert series.series(account.account(events), events) is None
