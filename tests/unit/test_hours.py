"""The account hour by hour: each stretch of energy is charged with what held then, against sums made by hand."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.logs import device, end, exited, hour, intensity, sample, spawned, start, warning, yearly

from greenrun.reports.account import account
from greenrun.reports.carbon import Timeline

CPU = device("cpu0")
BEGIN = datetime(2026, 1, 1, 10, tzinfo=timezone.utc)  # the hour in which the logs start
FAILED = {"link": "electricitymaps", "cause": "broken", "reason": "no answer within 5 s"}


def at(hours: float) -> str:
    """Give the time so many hours after 10:00 UTC."""
    return (BEGIN + timedelta(hours=hours)).isoformat()


def hourly(grams: list[float], **more: Any) -> list[dict[str, Any]]:
    """Give an intensity for each hour from 10:00 on."""
    return [hour(value, at(index), at(index + 1), **more) for index, value in enumerate(grams)]


def run(seconds: int, *more: dict[str, Any], utc: str = at(0.5), watts: float = 100.0) -> list[dict[str, Any]]:
    """Give the log of a run at constant power that begins at 10:30 and is sampled each minute."""
    times = sorted({*map(float, range(0, seconds, 60)), float(seconds)})
    samples = [sample(t, watts * t) for t in times]
    return [start(CPU, utc=utc), *more, spawned(0.0), *samples, exited(float(seconds)), end(float(seconds))]


def codes(record: Any) -> list[str]:
    """Give the codes of a record's warnings."""
    return [warned["code"] for warned in record["warnings"]]


def test_26_hours_that_swing_tenfold() -> None:
    """From 10:17:23 at a power that follows the grid's swing, sampled every 47 s: the sum made by hand, to 1e-9."""
    swing = [[60.0, 80.0, 150.0, 420.0, 600.0, 330.0][index % 6] for index in range(28)]
    begin_seconds, life_seconds = 17 * 60 + 23.0, 26 * 3600.0
    times, joules, power = [0.0], [0.0], []
    while times[-1] < life_seconds:
        clock_hour = int((begin_seconds + times[-1]) // 3600)
        power.append(50.0 + swing[clock_hour] + 7.0 * math.sin(times[-1]))
        times.append(times[-1] + 47.0)
        joules.append(joules[-1] + 47.0 * power[-1])
    pue = 1.3
    grams = kwh = 0.0
    for index, watts in enumerate(power):  # by hand: second by second would do the same, hour by hour is exact
        moment, stop = begin_seconds + times[index], begin_seconds + min(times[index + 1], life_seconds)
        while moment < stop:
            clock_hour = int(moment // 3600)
            until = min(stop, (clock_hour + 1) * 3600.0)
            part = pue * watts * (until - moment) / 3.6e6
            kwh += part
            grams += part * swing[clock_hour]
            moment = until
    events = [
        start(CPU, utc="2026-01-01T10:17:23.000Z", config={"pue": pue}),
        yearly(777.0),
        *hourly(swing),
        spawned(0.0),
        *(sample(t, value) for t, value in zip(times, joules, strict=True)),
        exited(life_seconds),
        end(life_seconds),
    ]
    record = account(events)
    assert record["co2e_grams"] == pytest.approx(grams, rel=1e-9)
    assert record["facility_energy_kwh"] == pytest.approx(kwh, rel=1e-9)
    assert record["intensity"]["grams_per_kwh"] == pytest.approx(grams / kwh, rel=1e-9)
    spans = record["intensity"]["spans"]
    assert len(spans) == 27
    assert [span["grams_per_kwh"] for span in spans] == swing[:27]
    assert (spans[0]["from"], spans[0]["to"]) == ("2026-01-01T10:17:23.000Z", "2026-01-01T11:00:00.000Z")
    assert (spans[-1]["from"], spans[-1]["to"]) == ("2026-01-02T12:00:00.000Z", "2026-01-02T12:17:23.000Z")
    plain_mean = sum(swing[:24]) / 24.0  # what a table would have for this grid
    factor = grams / (kwh * plain_mean)
    print(f"one yearly figure of {plain_mean:.0f} g/kWh is off by a factor of {factor:.2f}")  # noqa: T201  -s shows it
    assert factor > 1.3


def test_a_run_within_one_hour_has_one_span() -> None:
    """Ten minutes from 10:30 are charged with the hour from ten, and the table is not asked."""
    record = account(run(600, yearly(700.0), *hourly([50.0, 60.0])))
    (span,) = record["intensity"]["spans"]
    assert span["grams_per_kwh"] == record["intensity"]["grams_per_kwh"] == 50.0
    assert record["co2e_grams"] == pytest.approx(60000.0 / 3.6e6 * 50.0, rel=1e-12)


def test_half_hours() -> None:
    """A grid with half-hours, and a run that begins at half past: two halves and a quarter."""
    halves = [hour(value, at(index / 2), at(index / 2 + 0.5)) for index, value in enumerate([9.0, 10.0, 20.0, 40.0])]
    record = account(run(75 * 60, *halves, watts=1000.0))
    assert [span["facility_energy_kwh"] for span in record["intensity"]["spans"]] == pytest.approx([0.5, 0.5, 0.25])
    assert record["co2e_grams"] == pytest.approx(0.5 * 10.0 + 0.5 * 20.0 + 0.25 * 40.0, rel=1e-12)


def test_a_gap_is_the_table_s() -> None:
    """An hour of which no service told is charged with the figure that holds for all time, and says so."""
    told = hourly([10.0, 20.0, 30.0])
    record = account(run(2 * 3600, yearly(500.0), told[0], told[2], watts=1000.0))
    spans = record["intensity"]["spans"]
    assert [span["link"] for span in spans] == ["electricitymaps", "country table", "electricitymaps"]
    assert record["co2e_grams"] == pytest.approx(0.5 * 10.0 + 500.0 + 0.5 * 30.0, rel=1e-12)
    assert record["intensity"]["link"] is record["intensity"]["zone"] is None
    assert record["intensity"]["country"] == "DK"


def test_a_yearly_average_that_comes_late_gives_way() -> None:
    """When the service fails, the table is logged again: it fills what is missing, and takes nothing back."""
    record = account(run(2 * 3600, *hourly([10.0, 20.0]), yearly(500.0, passed=[FAILED]), watts=1000.0))
    assert [span["grams_per_kwh"] for span in record["intensity"]["spans"]] == [10.0, 20.0, 500.0]


def test_a_revised_hour_counts_once() -> None:
    """An estimate that the service replaces later: the whole hour has the newer figure, also after the run's end."""
    estimate = hour(90.0, at(1), at(2), estimated=True)
    log = run(2 * 3600, *hourly([10.0]), estimate, hour(30.0, at(2), at(3)), watts=1000.0)
    assert account(log)["co2e_grams"] == pytest.approx(5.0 + 90.0 + 15.0, rel=1e-12)
    revised = account([*log, hour(60.0, at(1), at(2))])
    assert revised["co2e_grams"] == pytest.approx(5.0 + 60.0 + 15.0, rel=1e-12)
    assert [span["estimated"] for span in revised["intensity"]["spans"]] == [False, False, False]


def test_a_part_of_an_hour_is_revised() -> None:
    """Of an hour that is told anew from half past on, the first half stays."""
    record = account(run(3600, *hourly([10.0, 20.0]), hour(80.0, at(1.25), at(2)), watts=1000.0))
    assert [span["grams_per_kwh"] for span in record["intensity"]["spans"]] == [10.0, 20.0, 80.0]
    assert record["co2e_grams"] == pytest.approx(0.5 * 10.0 + 0.25 * 20.0 + 0.25 * 80.0, rel=1e-12)


def test_asleep_over_two_hour_boundaries() -> None:
    """The machine sleeps from 10:40 to 12:50: what follows is the later hour's, and no span reaches into the sleep."""
    slept = {"event": "clock", "t": 600.0, "utc_step_seconds": 7800.0, "suspended_seconds": 7800.0}
    record = account(run(1800, *hourly([10.0, 20.0, 30.0, 40.0]), slept, watts=1000.0))
    spans = record["intensity"]["spans"]
    assert [(span["from"][11:19], span["to"][11:19]) for span in spans] == [
        ("10:30:00", "10:40:00"),
        ("12:50:00", "13:00:00"),
        ("13:00:00", "13:10:00"),
    ]
    assert record["co2e_grams"] == pytest.approx((10.0 + 30.0 + 40.0) / 6.0, rel=1e-12)


def test_a_clock_set_back_makes_no_span_run_backwards() -> None:
    """At 11:10 the clock goes back by half an hour: the spans end where the clock had come to."""
    step = {"event": "clock", "t": 2400.0, "utc_step_seconds": -1800.0, "suspended_seconds": 0.0}
    record = account(run(4800, *hourly([10.0, 20.0]), step, watts=1000.0))
    assert [(span["from"][11:19], span["to"][11:19]) for span in record["intensity"]["spans"]] == [
        ("10:30:00", "11:00:00"),
        ("11:00:00", "11:10:00"),
        ("10:40:00", "11:00:00"),
        ("11:00:00", "11:20:00"),
    ]
    assert record["co2e_grams"] == pytest.approx((50 * 10.0 + 30 * 20.0) / 60.0, rel=1e-12)


def test_local_time_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Across a change to summer time, and with times written in local ones: hours are those of UTC."""
    log = run(2 * 3600, *hourly([10.0, 20.0, 30.0]), utc="2026-01-01T10:30:00Z")
    local = run(
        2 * 3600,
        hour(10.0, "2026-01-01T12:00:00+02:00", "2026-01-01T13:00:00+02:00"),
        hour(20.0, "2026-01-01T06:00:00-05:00", "2026-01-01T07:00:00-05:00"),
        hour(30.0, "2026-01-01T12:00:00", "2026-01-01T13:00:00Z"),
        utc="2026-01-01T16:00:00+05:30",
    )
    assert account(local) == account(log)
    spring = "2026-03-29T00:30:00Z"  # in Copenhagen 02:00 to 03:00 does not happen on that day
    hours = [hour(10.0 * index, f"2026-03-29T0{index}:00:00Z", f"2026-03-29T0{index + 1}:00:00Z") for index in range(4)]
    before = account(run(2 * 3600, *hours, utc=spring))
    monkeypatch.setenv("TZ", "Europe/Copenhagen")
    time.tzset()
    try:
        assert account(run(2 * 3600, *hours, utc=spring)) == before
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [span["grams_per_kwh"] for span in before["intensity"]["spans"]] == [0.0, 10.0, 20.0]


def test_where_each_span_is_from() -> None:
    """Link, zone, basis, whether estimated and when fetched stand with every span; an older log has none of it."""
    record = account(run(600, hour(50.0, at(0), at(1), estimated=True, note="TIME_SLICER_AVERAGE")))
    (span,) = record["intensity"]["spans"]
    assert (span["link"], span["zone"], span["basis"]) == ("electricitymaps", "DK-DK1", "lifecycle")
    assert (span["estimated"], span["fetched_at"]) == (True, "2026-01-01T10:05:00.000Z")
    assert span["source"] == "Electricity Maps"
    old = account(run(600, intensity(50.0)))["intensity"]
    assert old["link"] is old["spans"][0]["link"] is old["spans"][0]["fetched_at"] is None
    assert old["passed_over"] == []


def passed(link: str, reason: str, cause: str = "absent") -> dict[str, str]:
    """Give a link that was passed over."""
    return {"link": link, "cause": cause, "reason": reason}


def test_what_was_passed_over() -> None:
    """Each link once with its last reason, of the events that count, and none that is in use."""
    table = yearly(500.0, passed=[passed("electricitymaps", "no answer", "broken"), passed("neso", "not GB")])
    first = hour(10.0, at(0), at(1), link="energidata", passed=[passed("neso", "not GB at all")])
    used = account(run(3600, table, first))["intensity"]
    assert used["passed_over"] == [passed("electricitymaps", "no answer", "broken"), passed("neso", "not GB at all")]
    second = hour(20.0, at(1), at(2), passed=[passed("energidata", "no figure for 11:00"), passed("told", "nobody")])
    covered = account(run(3600, yearly(500.0, passed=[passed("world", "not asked")]), first, second))["intensity"]
    assert covered["passed_over"] == [passed("neso", "not GB at all"), passed("told", "nobody")]


def test_the_uncertainty_of_unequal_hours() -> None:
    """Half-widths add in grams: 1 kWh of 100 g +-10 % and 1 kWh of 300 g +-50 % are 400 g +-160 g."""
    first, second = hour(100.0, at(0), at(1)), hour(300.0, at(1), at(2))
    first["uncertainty_percent"], second["uncertainty_percent"] = 10.0, 50.0
    record = account(run(3600, first, second, watts=2000.0))
    assert record["co2e_grams"] == pytest.approx(400.0, rel=1e-12)
    assert record["intensity"]["uncertainty_percent"] == pytest.approx(40.0, rel=1e-12)
    half_width = 400.0 * math.hypot(0.40, 0.05)  # the CPU's own 5 %
    assert record["co2e_high_grams"] == pytest.approx(400.0 + half_width, rel=1e-12)
    clean = account(run(3600, first | {"grams_per_kwh": 0.0}, second | {"grams_per_kwh": 0.0}))
    assert clean["intensity"]["uncertainty_percent"] == pytest.approx(30.0)


FAILURE = warning(1.0, "intensity", "Not every service gave a carbon intensity.")


def test_a_failure_that_was_made_good_is_no_warning() -> None:
    """A service that failed and then told every hour as measured leaves nothing to warn of."""
    table = yearly(500.0, passed=[FAILED])
    hours = hourly([10.0, 20.0])
    assert codes(account(run(3600, FAILURE, table, *hours))) == []


@pytest.mark.parametrize(
    "hours",
    [
        [],
        hourly([10.0]),
        [*hourly([10.0]), hour(20.0, at(1), at(2), estimated=True)],
        hourly([10.0, 20.0], link="neso", passed=[FAILED]),
    ],
)
def test_a_failure_that_was_not_made_good_is_told(hours: list[Any]) -> None:
    """A table in some hour, an estimate, or another service in its place: the sentence stays, once."""
    record = account(run(3600, FAILURE, yearly(500.0, passed=[FAILED]), *hours))
    assert codes(record) == ["intensity"]


def test_a_failure_of_a_command_that_never_started_is_told() -> None:
    """Without a span nothing has been made good."""
    not_started = {"event": "not-started", "t": 0.1, "exit_code": 127, "reason": "nosuch: not found"}
    assert codes(account([start(CPU), FAILURE, not_started])) == ["intensity", "not-started"]


def test_two_bases_in_one_run_are_warned_of() -> None:
    """One basis a run is the rule; where a log breaks it, the sum is called a mixture. A told figure has none."""
    mixed = account(run(3600, yearly(500.0), hour(10.0, at(0), at(1), basis="direct")))
    assert codes(mixed) == ["basis"]
    assert mixed["intensity"]["basis"] is None
    assert codes(account(run(3600, yearly(500.0), hour(10.0, at(0), at(1), basis=None)))) == []


def test_unknown_with_its_reasons() -> None:
    """Where no table has the basis asked for the warning says why; services that were not meant to be asked do not."""
    reasons = [passed("electricitymaps", "no token"), passed("country table", "the figure is of another basis")]
    nothing = {"event": "intensity", "t": 0.0, "grams_per_kwh": None, "how": "--country", "passed": reasons}
    record = account(run(3600, nothing))
    assert record["co2e_grams"] is None
    assert record["intensity"]["passed_over"] == reasons
    why = "so its CO2e is unknown: the figure is of another basis; --intensity tells one."
    assert [warned["message"] for warned in record["warnings"]] == [f"No carbon intensity is known for the run, {why}"]
    partly = account(run(3600, nothing, *hourly([10.0])))
    assert [warned["message"] for warned in partly["warnings"]] == [
        f"No carbon intensity is known for a part of the run, {why}"
    ]


bounds = st.one_of(st.none(), st.integers(0, 12))


@given(st.lists(st.tuples(bounds, bounds), max_size=12))
def test_the_timeline_against_its_definition(pairs: list[tuple[int | None, int | None]]) -> None:
    """At every moment the last of those that cover it; those that hold for all time only where no other does."""
    events = [
        intensity(float(number), None if low is None else at(low), None if high is None else at(high))
        for number, (low, high) in enumerate(pairs)
    ]
    timeline = Timeline(events)
    for quarter in range(-4, 56):
        covering = [
            event
            for event, (low, high) in zip(events, pairs, strict=True)
            if (low is None or low * 4 <= quarter) and (high is None or quarter < high * 4)
        ]
        of_some_time = [event for event in covering if (event["from_utc"], event["to_utc"]) != (None, None)]
        expected = (of_some_time or covering or [None])[-1]
        assert timeline.at(BEGIN + timedelta(minutes=15 * quarter)) is expected
    assert timeline.moments == sorted(set(timeline.moments))
