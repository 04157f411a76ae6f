"""The account against records worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from unit.data.logs import (
    device,
    end,
    epoch,
    exited,
    intensity,
    joined,
    sample,
    spawned,
    start,
    warning,
)

from greenrun.reports.account import WhatIf, account

CPU = device("cpu0")


def steady(watts: float, begin: float, finish: float, *more: dict[str, Any], until: int | None = None) -> list[Any]:
    """Give the log of a run on one CPU at constant power, sampled each second."""
    last = math.ceil(finish) if until is None else until
    samples = [sample(float(t), watts * t) for t in range(last + 1)]
    return [start(CPU), *more, spawned(begin), *samples, exited(finish), end(finish)]


def codes(record: Any) -> list[str]:
    """Give the codes of a record's warnings."""
    return [warned["code"] for warned in record["warnings"]]


def test_constant_power_over_a_life_between_samples() -> None:
    """100 W from 0.5 s to 10.25 s are 975 J, though no sample lies at either end."""
    record = account(steady(100.0, 0.5, 10.25, intensity(360.0)))
    assert record["status"] == "complete"
    assert record["duration_seconds"] == 9.75
    assert record["energy_joules"]["cpu"] == pytest.approx(975.0, rel=1e-12)
    assert record["energy_joules"]["total"] == record["energy_joules"]["cpu"]
    assert record["energy_kwh"] == pytest.approx(975.0 / 3.6e6, rel=1e-12)
    assert record["co2e_grams"] == pytest.approx(0.0975, rel=1e-12)
    assert record["uncertainty_percent"] == pytest.approx(5.0, rel=1e-12)
    assert record["co2e_low_grams"] == pytest.approx(0.0975 * 0.95, rel=1e-12)
    assert record["co2e_high_grams"] == pytest.approx(0.0975 * 1.05, rel=1e-12)
    assert record["started_at"] == "2026-01-01T10:00:00.500Z"
    assert record["warnings"] == []


def test_square_wave_with_samples_at_its_edges() -> None:
    """Ten times 200 W for a second and 50 W for a second, from within a high to within a low: 1,162.5 J."""
    joules = [0.0]
    for second in range(10):
        joules.append(joules[-1] + (200.0 if second % 2 == 0 else 50.0))
    samples = [sample(float(t), value) for t, value in enumerate(joules)]
    record = account([start(CPU), spawned(0.25), *samples, exited(9.25), end()])
    # 0.75 s and 4 s at 200 W, 4 s and 0.25 s at 50 W
    assert record["energy_joules"]["total"] == pytest.approx(4.75 * 200.0 + 4.25 * 50.0, rel=1e-12)


def test_kinds_that_are_not_there_are_null() -> None:
    """A machine without GPU has no GPU energy, not 0 J of it."""
    energy = account(steady(10.0, 0.0, 2.0))["energy_joules"]
    assert energy == {"cpu": 20.0, "dram": None, "gpu": None, "other": None, "total": 20.0}


def test_psys_stands_beside_the_total() -> None:
    """A device that contains others is listed and not summed."""
    psys = device("psys", kind="other", counted=False)
    record = account([start(CPU, psys), spawned(0.0), sample(0.0, 0.0, 0.0), sample(2.0, 20.0, 50.0), exited(2.0)])
    assert record["devices"][1]["energy_joules"] == 50.0
    assert record["energy_joules"]["other"] is None
    assert record["energy_joules"]["total"] == 20.0


def test_uncertainties_add_within_a_method_and_as_squares_between() -> None:
    """Two counters of 100 J +-5 % and an estimate of 100 J +-50 %: the root of 10^2 + 50^2 over 300 J."""
    devices = [CPU, device("cpu1"), device("ram", kind="dram", method="estimate", percent=50.0)]
    record = account(
        [
            start(*devices),
            intensity(100.0, uncertainty_percent=20.0),
            spawned(0.0),
            sample(0.0, 0.0, 0.0, 0.0),
            sample(1.0, 100.0, 100.0, 100.0),
            exited(1.0),
        ]
    )
    energy_percent = math.sqrt(10.0**2 + 50.0**2) / 3.0
    assert record["uncertainty_percent"] == pytest.approx(energy_percent, rel=1e-12)
    both = math.sqrt(energy_percent**2 + 20.0**2) / 100.0
    grams = record["co2e_grams"]
    assert grams is not None
    assert record["co2e_low_grams"] == pytest.approx(grams * (1 - both), rel=1e-12)
    assert record["co2e_high_grams"] == pytest.approx(grams * (1 + both), rel=1e-12)


def test_emissions_below_nothing_are_not_told() -> None:
    """The low end of the interval stops at 0."""
    record = account(steady(10.0, 0.0, 1.0, intensity(100.0, uncertainty_percent=150.0)))
    assert record["co2e_low_grams"] == 0.0


def test_two_intensities_over_an_hour_boundary() -> None:
    """36 s of 100 kW before eleven at 100 g/kWh and 72 s after it at 300 g/kWh: 1 kWh and 2 kWh, 700 g."""
    events = [
        start(CPU, utc="2026-01-01T10:59:00.000Z"),
        intensity(100.0, "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"),
        intensity(300.0, "2026-01-01T11:00:00Z", "2026-01-01T12:00:00Z"),
        spawned(24.0),
        *(sample(float(t), 1e5 * t) for t in range(0, 140, 7)),
        exited(132.0),
    ]
    record = account(events)
    assert record["co2e_grams"] == pytest.approx(700.0, abs=1e-9)
    spans = record["intensity"]["spans"]
    assert [span["to"] for span in spans] == ["2026-01-01T11:00:00.000Z", "2026-01-01T11:01:12.000Z"]
    assert [span["facility_energy_kwh"] for span in spans] == pytest.approx([1.0, 2.0], abs=1e-12)
    assert record["intensity"]["grams_per_kwh"] == pytest.approx(700.0 / 3.0, abs=1e-9)
    parts = [span["co2e_grams"] for span in spans]
    assert None not in parts
    assert sum(part for part in parts if part is not None) == pytest.approx(record["co2e_grams"], abs=1e-9)


def test_the_newer_intensity_of_an_hour_wins() -> None:
    """What was logged later replaces what was logged earlier, also for the time before it."""
    assert account(steady(10.0, 0.0, 3.0, intensity(100.0), intensity(200.0)))["intensity"]["grams_per_kwh"] == 200.0


def test_an_hour_without_an_intensity_makes_the_grams_unknown() -> None:
    """Half a sum would pass for a whole one."""
    events = steady(10.0, 0.0, 10.0, intensity(100.0, None, "2026-01-01T10:00:05Z"))
    record = account(events)
    assert record["co2e_grams"] is record["co2e_low_grams"] is record["intensity"]["grams_per_kwh"] is None
    assert [span["co2e_grams"] is None for span in record["intensity"]["spans"]] == [False, True]
    assert "intensity" in codes(record)


def test_pue_is_told_or_assumed_or_asked() -> None:
    """The facility draws PUE times as much, and the record says where the PUE came from."""
    events = steady(36.0, 0.0, 100.0, intensity(100.0))
    assumed = account(events)
    assert (assumed["pue"], assumed["pue_source"]) == (1.0, "assumed")
    told = account([start(CPU, config={"pue": 1.5}), *events[1:]])
    assert (told["pue"], told["pue_source"]) == (1.5, "told")
    assert told["energy_kwh"] == pytest.approx(0.001, rel=1e-12)
    assert told["facility_energy_kwh"] == pytest.approx(0.0015, rel=1e-12)
    assert told["co2e_grams"] == pytest.approx(0.15, rel=1e-12)
    asked = account(events, WhatIf(pue=2.0, intensities=[intensity(50.0)]))
    assert (asked["pue"], asked["pue_source"]) == (2.0, "what-if")
    assert asked["co2e_grams"] == pytest.approx(0.1, rel=1e-12)
    assert asked["energy_joules"] == assumed["energy_joules"]


def test_a_device_that_joins_late_is_filled_and_doubted() -> None:
    """50 W from 5 s on, spawned at 1 s: 4 s x 50 W are filled, and are all of the doubt that the fill adds."""
    gpu = device("gpu0", kind="gpu", from_t=5.0)
    events = [
        start(CPU),
        spawned(1.0),
        *(sample(float(t), 10.0 * t) for t in range(5)),
        joined(5.0, gpu),
        *(sample(float(t), 10.0 * t, 50.0 * (t - 5)) for t in range(5, 12)),
        exited(11.0),
    ]
    record = account(events)
    told = record["devices"][1]
    assert told["filled_joules"] == pytest.approx(200.0, rel=1e-12)
    assert told["energy_joules"] == pytest.approx(500.0, rel=1e-12)
    assert told["from_t"] == pytest.approx(4.0, rel=1e-12)
    assert told["uncertainty_percent"] == pytest.approx((0.05 * 300.0 + 200.0) / 5.0, rel=1e-12)
    assert record["status"] == "complete"
    assert codes(record) == ["late", "intensity"]


def test_a_device_that_joins_after_a_minute_is_not_filled() -> None:
    """What it did so long before is anybody's guess: the stretch is a gap."""
    gpu = device("gpu0", kind="gpu", from_t=70.0)
    events = [
        start(CPU, gpu),
        spawned(0.0),
        sample(0.0, 0.0),
        sample(70.0, 700.0, 0.0),
        sample(100.0, 1000.0, 1500.0),
        exited(100.0),
    ]
    record = account(events)
    assert record["energy_joules"]["gpu"] == 1500.0
    assert record["gaps"] == [{"device": "gpu0", "from": 0.0, "duration_seconds": 70.0, "code": "late"}]
    assert record["status"] == "partial"


def test_a_device_that_comes_after_the_end_is_unknown() -> None:
    """A GPU that is up when the job is over has used an unknown amount, not 0 J."""
    gpu = device("gpu0", kind="gpu", from_t=3.0)
    record = account([start(CPU, gpu), spawned(0.0), sample(0.0, 0.0), sample(3.0, 30.0, 0.0), exited(2.0)])
    assert record["energy_joules"]["gpu"] is None
    assert record["energy_joules"]["total"] == pytest.approx(20.0)
    assert record["status"] == "partial"
    assert "unread" in codes(record)


def test_a_lost_device_keeps_its_joules() -> None:
    """A GPU lost after 4 of 10 s keeps what it had; nothing is made up for the rest."""
    gpu = device("gpu0", kind="gpu")
    events = [
        start(CPU, gpu),
        spawned(0.0),
        *(sample(float(t), 10.0 * t, 100.0 * min(t, 4)) for t in range(11)),
        warning(4.0, "lost", "gpu0 has fallen off the bus.", device="gpu0"),
        exited(10.0),
    ]
    record = account(events)
    assert record["devices"][1]["energy_joules"] == 400.0
    assert record["devices"][1]["until_t"] == 4.0
    assert record["devices"][0]["until_t"] is None
    assert record["status"] == "partial"
    assert record["gaps"] == [{"device": "gpu0", "from": 4.0, "duration_seconds": 6.0, "code": "ended"}]
    assert codes(record) == ["lost", "intensity"]  # one sentence for it, not two


def test_steps_of_a_reading_count_most_in_short_runs() -> None:
    """What a step amounts to is added to the device's half-width: nothing for an hour, everything for a moment."""
    entry = device("cpu", method="estimate", percent=50.0, resolution_joules=3.0)
    short = account([start(entry), spawned(0.0), sample(0.0, 0.0), sample(2.0, 1.0), exited(2.0)])
    assert short["devices"][0]["uncertainty_percent"] == pytest.approx(350.0)
    long = account([start(entry), spawned(0.0), sample(0.0, 0.0), sample(2.0, 3000.0), exited(2.0)])
    assert long["devices"][0]["uncertainty_percent"] == pytest.approx(50.1)


def test_an_energy_that_reads_as_nothing_is_not_sure() -> None:
    """0 J from an estimate with steps of 3.6 J may be 3.6 J: at 100 g/kWh up to 0.1 mg."""
    entry = device("cpu", method="estimate", percent=50.0, resolution_joules=3.6)
    samples = [sample(0.0, 0.0), sample(2.0, 0.0)]
    record = account([start(entry), intensity(100.0), spawned(0.0), *samples, exited(2.0)])
    assert (record["co2e_grams"], record["co2e_low_grams"]) == (0.0, 0.0)
    assert record["co2e_high_grams"] == pytest.approx(1e-4, rel=1e-12)


def test_a_log_that_ends_before_the_command() -> None:
    """The sampler was killed early: whether a command ran nobody knows, so the run is partial and tells no figure."""
    record = account([start(CPU), sample(0.0, 0.0), sample(0.2, 3.0)])
    assert record["status"] == "partial"
    assert (record["duration_seconds"], record["energy_joules"]["total"], record["co2e_grams"]) == (None, None, None)
    assert [warned["code"] for warned in record["warnings"]] == ["killed"]


def test_a_device_lost_before_the_command_is_unknown() -> None:
    """Its last reading says nothing about the command: null, not 0 J."""
    gpu = device("gpu0", kind="gpu")
    gone = warning(1.0, "lost", "gpu0 has fallen off the bus.", device="gpu0")
    samples = [sample(float(t), 10.0 * t, 30.0) for t in range(6)]
    record = account([start(CPU, gpu), gone, spawned(2.0), *samples, exited(5.0)])
    assert record["energy_joules"]["gpu"] is None


def test_a_device_that_came_back_is_not_lost() -> None:
    """A package whose reading failed once and went on is whole."""
    events = steady(10.0, 0.0, 10.0, warning(4.0, "lost", "cpu0 did not answer.", device="cpu0"))
    assert account(events)["status"] == "complete"


def test_a_gap_is_told_and_bridged() -> None:
    """Between two readings of a counter the energy is exact; the hole is told all the same."""
    events = [
        start(CPU),
        spawned(1.0),
        sample(0.0, 0.0),
        sample(2.0, 20.0),
        warning(7.0, "gap", "The sampler was killed.", from_t=2.0, to_t=7.0),
        sample(7.0, 70.0),
        sample(11.0, 110.0),
        exited(11.0),
    ]
    record = account(events)
    assert record["energy_joules"]["total"] == pytest.approx(100.0, rel=1e-12)
    assert record["gaps"] == [{"device": None, "from": 1.0, "duration_seconds": 5.0, "code": "gap"}]
    assert record["status"] == "partial"


def test_samples_that_stop_early_leave_a_gap() -> None:
    """The daemon died at 6 of 10 s: the energy reaches to there, and the record says so."""
    record = account(steady(10.0, 0.0, 10.0, until=6))
    assert record["energy_joules"]["total"] == 60.0
    assert record["duration_seconds"] == 10.0
    assert record["gaps"] == [{"device": "cpu0", "from": 6.0, "duration_seconds": 4.0, "code": "ended"}]
    assert record["status"] == "partial"
    assert "gap" in codes(record)


def test_a_killed_run_lives_until_its_last_sample() -> None:
    """Without `exited` nobody knows more than the last sample."""
    record = account(steady(10.0, 0.5, 8.0, intensity(100.0))[:-2])
    assert record["status"] == "partial"
    assert record["duration_seconds"] == 7.5
    assert record["energy_joules"]["total"] == pytest.approx(75.0, rel=1e-12)
    assert record["exit_code"] is None
    assert codes(record) == ["killed"]


def test_a_command_that_never_started_has_no_energy() -> None:
    """Nothing ran, so nothing is known: nulls and the reason."""
    not_started = {"event": "not-started", "t": 0.1, "exit_code": 127, "reason": "nosuch: not found"}
    record = account([start(CPU), sample(0.0, 0.0), sample(0.2, 3.0), not_started, end(0.2, "not-started")])
    assert record["status"] == "not-started"
    assert record["exit_code"] == 127
    assert record["duration_seconds"] is record["energy_kwh"] is record["co2e_grams"] is None
    assert record["devices"][0]["energy_joules"] is None
    assert record["warnings"] == [{"code": "not-started", "message": "nosuch: not found"}]


def test_nothing_that_measures_is_unknown() -> None:
    """A log without devices has a duration and an intensity, and no energy."""
    record = account([start(), intensity(100.0), spawned(0.0), sample(1.0), exited(1.0)])
    assert record["energy_joules"]["total"] is None
    assert record["co2e_grams"] is None
    assert record["intensity"]["grams_per_kwh"] == 100.0
    assert record["status"] == "partial"


def test_a_suspend_moves_utc_and_is_told() -> None:
    """Asleep from 10:00:04 for an hour: what follows belongs to the next hour's intensity."""
    events = steady(
        36.0,
        0.0,
        10.0,
        intensity(100.0, None, "2026-01-01T11:00:00Z"),
        intensity(300.0, "2026-01-01T11:00:00Z", None),
        {"event": "clock", "t": 4.0, "utc_step_seconds": 3600.0, "suspended_seconds": 3600.0},
    )
    record = account(events)
    assert record["duration_seconds"] == 10.0
    assert record["suspended_seconds"] == 3600.0
    assert [span["facility_energy_kwh"] for span in record["intensity"]["spans"]] == pytest.approx([4e-5, 6e-5])
    assert record["co2e_grams"] == pytest.approx(4e-5 * 100.0 + 6e-5 * 300.0, rel=1e-9)


def test_a_clock_set_back_repeats_an_hour_boundary() -> None:
    """At 11:00:02 the clock goes back by 4 s: two seconds of the old hour come again."""
    events = [
        start(CPU, utc="2026-01-01T10:59:56.000Z"),
        intensity(100.0, None, "2026-01-01T11:00:00Z"),
        intensity(300.0, "2026-01-01T11:00:00Z", None),
        spawned(0.0),
        *(sample(float(t), 36.0 * t) for t in range(11)),
        {"event": "clock", "t": 6.0, "utc_step_seconds": -4.0, "suspended_seconds": 0.0},
        exited(10.0),
    ]
    spans = account(events)["intensity"]["spans"]
    assert [(span["grams_per_kwh"], span["facility_energy_kwh"]) for span in spans] == [
        (100.0, pytest.approx(4e-5)),
        (300.0, pytest.approx(2e-5)),
        (100.0, pytest.approx(2e-5)),
        (300.0, pytest.approx(2e-5)),
    ]


def stretches(*marks: dict[str, Any]) -> list[tuple[int, float, float]]:
    """Give number, begin and duration of the epochs of a 10 s run at 10 W, after checking their energy."""
    record = account(steady(10.0, 1.0, 11.0, *marks))
    for one in record["epochs"]:
        assert one["energy_joules"] == pytest.approx(10.0 * one["duration_seconds"], abs=1e-9)
    return [(one["n"], one["from"], one["duration_seconds"]) for one in record["epochs"]]


def test_epochs_from_end_marks() -> None:
    """Each begins where the one before ended, the first with the command."""
    assert stretches(epoch(4.0, 1, "end"), epoch(6.0, 2, "end")) == [(1, 0.0, 3.0), (2, 3.0, 2.0)]


def test_epochs_from_start_marks() -> None:
    """Each ends where the next begins, the last with the command; a start told twice counts once."""
    marks = [epoch(3.0, 1, "start"), epoch(3.5, 1, "start"), epoch(7.0, 2, "start")]
    assert stretches(*marks) == [(1, 2.0, 4.0), (2, 6.0, 4.0)]


def test_an_epoch_that_was_killed_is_none() -> None:
    """Where nobody saw the command end, the epoch that was running is left out."""
    events = steady(10.0, 0.0, 10.0, epoch(1.0, 1, "start"), epoch(5.0, 2, "start"))
    assert [one["n"] for one in account(events[:-2])["epochs"]] == [1]


def test_epochs_from_both_marks() -> None:
    """What lies between an end and the next start belongs to no epoch."""
    marks = [epoch(2.0, 1, "start"), epoch(5.0, 1, "end"), epoch(6.0, 2, "start"), epoch(9.0, 2, "end")]
    assert stretches(*marks) == [(1, 1.0, 3.0), (2, 5.0, 3.0)]


def test_markers_of_the_job_go_before_its_output() -> None:
    """The same epoch seen twice counts once, and marks written out of order are put in order."""
    marks = [epoch(6.0, 2, "end"), epoch(4.1, 1, "end", "output"), epoch(4.0, 1, "end"), epoch(6.1, 2, "end", "output")]
    assert stretches(*marks) == [(1, 0.0, 3.0), (2, 3.0, 2.0)]


def predicted(seconds: float, joules: float, grams: float | None) -> dict[str, Any]:
    """Give a prediction after the first of three epochs."""

    def around(value: float | None) -> dict[str, float] | None:
        return None if value is None else {"value": value, "low": 0.9 * value, "high": 1.1 * value}

    return {
        "event": "prediction",
        "t": 4.0,
        "after_epoch": 1,
        "epochs": 3,
        "duration_seconds": around(seconds),
        "energy_joules": around(joules),
        "co2e_grams": around(grams),
    }


def all_three() -> list[dict[str, Any]]:
    """Give the marks of a job that had its three epochs."""
    return [epoch(4.0, 1, "end"), epoch(7.0, 2, "end"), epoch(9.0, 3, "end")]


def test_each_prediction_is_held_against_the_end() -> None:
    """The error is signed: 12 s predicted for 10 s is +20 %, 90 J for 100 J is -10 %; the range is 10 % wide."""
    told_then = [predicted(12.0, 90.0, None), predicted(10.5, 111.2, 0.01)]
    events = steady(10.0, 0.0, 10.0, intensity(360.0), *all_three(), *told_then)
    told = account(events)["prediction"]
    assert told is not None
    assert [made["after_epoch"] for made in told["made"]] == [1, 1]
    assert told["actual"]["co2e_grams"] == pytest.approx(0.01, rel=1e-12)
    assert told["error_percent"]["duration_seconds"] == pytest.approx(20.0)
    assert told["error_percent"]["energy_joules"] == pytest.approx(-10.0)
    assert told["error_percent"]["co2e_grams"] is None
    first, second = told["made"]
    assert first["error_percent"] == told["error_percent"]
    assert first["within"] == {"duration_seconds": False, "energy_joules": False, "co2e_grams": None}
    assert second["error_percent"]["duration_seconds"] == pytest.approx(5.0)
    assert second["within"] == {"duration_seconds": True, "energy_joules": False, "co2e_grams": True}
    assert (told["planned_epochs"], told["stopped_early"]) == (3, False)


def test_a_job_that_stopped_early_is_no_yardstick() -> None:
    """Three epochs were predicted and two came: the prediction was of something else, an upper bound."""
    events = steady(10.0, 0.0, 10.0, intensity(360.0), *all_three()[:2], predicted(12.0, 90.0, 0.02))
    told = account(events)["prediction"]
    assert told is not None
    assert told["stopped_early"] is True
    assert told["actual"]["duration_seconds"] == 10.0
    (made,) = told["made"]
    assert set(made["error_percent"].values()) == set(made["within"].values()) == {None}


def test_predicted_grams_say_nothing_about_another_place() -> None:
    """Told again with another intensity, the old grams are left out."""
    events = steady(10.0, 0.0, 10.0, intensity(360.0), *all_three(), predicted(12.0, 90.0, 0.02))
    told = account(events, WhatIf(intensities=[intensity(100.0)]))["prediction"]
    assert told is not None
    assert told["made"][0]["co2e_grams"] is told["error_percent"]["co2e_grams"] is None


def test_half_the_energy_is_no_yardstick() -> None:
    """With a part of the energy missing only the duration can be held against the prediction."""
    log = steady(10.0, 0.0, 10.0, intensity(360.0), predicted(12.0, 90.0, 0.02), until=6)
    told = account(log)["prediction"]
    assert told is not None
    assert told["actual"] == {"duration_seconds": 10.0, "energy_joules": None, "co2e_grams": None}


def test_a_killed_run_is_no_yardstick() -> None:
    """Nobody knows what the whole job would have taken."""
    told = account(steady(10.0, 0.0, 10.0, predicted(12.0, 90.0, None))[:-2])["prediction"]
    assert told is not None
    assert set(told["actual"].values()) == set(told["error_percent"].values()) == {None}


def test_usage_is_the_kernel_s_or_the_last_sample_s() -> None:
    """CPU seconds of user and system together; without a parent's word what was seen of the job."""
    log = steady(10.0, 0.0, 2.0)
    rusage = {"user_seconds": 1.5, "system_seconds": 0.25, "max_rss_bytes": 4096}
    assert account([*log[:-2], exited(2.0, rusage=rusage)])["usage"] == {"cpu_seconds": 1.75, "max_rss_bytes": 4096}
    seen = [sample(3.0, 30.0, cpu=[1.25, 5.0, 8.0]), sample(4.0, 40.0, cpu=[None, 6.0, 9.0])]
    assert account([*log[:-2], *seen])["usage"] == {"cpu_seconds": 1.25, "max_rss_bytes": None}


def test_metrics_keep_the_last_finite_value() -> None:
    """A loss that became NaN is null: JSON has no word for it."""
    told = [("loss", 0.5), ("accuracy", 0.9), ("loss", math.nan)]
    metrics = [{"event": "metric", "t": 1.0, "name": name, "value": value} for name, value in told]
    assert account(steady(10.0, 0.0, 2.0, *metrics))["metrics"] == {"loss": None, "accuracy": 0.9}


def test_the_scheduler_s_variables_make_the_job() -> None:
    """Of the recorded environment the job's are the scheduler's; without one it is null."""
    environment = {"SLURM_JOB_ID": "17", "CI": "true"}
    log = steady(10.0, 0.0, 2.0)
    made = account([start(CPU, environment=environment), *log[1:]])["job"]
    assert made is not None
    assert (made["Scheduler"], made["JobID"], made["User"]) == ("slurm", "17", "ada")
    assert account([start(CPU, environment={"CI": "true"}), *log[1:]])["job"] is None


def test_a_site_s_record_is_the_job_s_user_s() -> None:
    """The Prolog runs as root; the record is the user's whose job it is, and nobody's where that is not told."""
    log = steady(10.0, 0.0, 2.0)
    environment = {"SLURM_JOB_ID": "17", "SLURM_JOB_USER": "bob"}
    for more, user in ((environment, "bob"), ({"SLURM_JOB_ID": "17"}, None)):
        record = account([start(CPU, kind="job", user="root", environment=more), *log[1:]])
        assert record["job"] is not None
        assert (record["user"], record["job"]["User"]) == (user, user)
    assert account([start(CPU, user="ada", environment=environment), *log[1:]])["user"] == "ada"
