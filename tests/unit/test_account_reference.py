"""The account against a slow reference that shares nothing with it: a sum over quarters of a second, in fractions."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.data.logs import device, exited, intensity, sample, spawned, start

from greenrun.reports.account import account

BEGIN = datetime(2026, 1, 1, 10, tzinfo=timezone.utc)
CELL = Fraction(1, 4)  # seconds; every moment of a case is a whole number of them


class Hold(NamedTuple):
    """An intensity from one moment to another, in cells since BEGIN by the clock on the wall; None is no bound."""

    grams_per_kwh: int | None
    uncertainty_percent: int
    begin: int | None
    end: int | None


class Case(NamedTuple):
    """A run; all moments in cells since its start."""

    begin: int
    length: int
    watts: list[tuple[int, int]]  # of two devices, a pair for each second
    pue: int  # in hundredths
    holds: list[Hold]
    steps: list[tuple[int, int]]  # the clock on the wall: when it is moved, and by how much


class Sums(NamedTuple):
    """What the reference makes of a case; None where an intensity or the energy is unknown."""

    kwh: Fraction
    grams: Fraction | None
    mean: Fraction | None
    intensity_half_width: Fraction | None


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Make a run of up to a minute, under intensities of any overlap and a clock that is moved to and fro."""
    begin, length = draw(st.integers(0, 20)), draw(st.integers(1, 200))
    edge = st.none() | st.integers(-50, 300)
    hold = st.builds(Hold, st.none() | st.integers(0, 900) | st.just(0), st.integers(0, 120), edge, edge)
    steps = draw(st.lists(st.tuples(st.integers(0, 240), st.integers(-120, 120)), max_size=3))
    seconds = math.ceil((begin + length) / 4)
    watts = st.tuples(st.integers(0, 300), st.integers(0, 300))
    return Case(
        begin=begin,
        length=length,
        watts=draw(st.lists(watts, min_size=seconds, max_size=seconds)),
        pue=draw(st.integers(100, 200)),
        holds=draw(st.lists(hold, max_size=6)),
        steps=sorted(dict(steps).items()),
    )


def log(case: Case) -> list[dict[str, Any]]:
    """Write the case as a run log."""
    joules = [(0, 0)]
    for one, other in case.watts:
        joules.append((joules[-1][0] + one, joules[-1][1] + other))
    beside = device("psys", kind="other", counted=False)
    return [
        start(device("cpu0"), device("gpu0", kind="gpu"), beside, config={"pue": case.pue / 100}),
        *(_intensity(hold) for hold in case.holds),
        spawned(case.begin / 4),
        *(
            {"event": "clock", "t": at / 4, "utc_step_seconds": total / 4, "suspended_seconds": 0.0}
            for at, total in case.steps
        ),
        *(sample(float(t), float(one), float(other), 9.0 * t) for t, (one, other) in enumerate(joules)),
        exited((case.begin + case.length) / 4),
    ]


def _intensity(hold: Hold) -> dict[str, Any]:
    def utc(cells: int | None) -> str | None:
        return None if cells is None else (BEGIN + timedelta(seconds=cells / 4)).isoformat()

    figures = {"grams_per_kwh": hold.grams_per_kwh, "uncertainty_percent": float(hold.uncertainty_percent)}
    return intensity(0.0, utc(hold.begin), utc(hold.end)) | figures


def holding(case: Case, cell: int) -> Hold | None:
    """Look through all intensities for the one that holds in the cell."""
    wall = cell + next((total for at, total in reversed(case.steps) if at <= cell), 0)
    found = None
    for hold in sorted(case.holds, key=lambda hold: hold.begin is not None or hold.end is not None):
        if (hold.begin is None or hold.begin <= wall) and (hold.end is None or wall < hold.end):
            found = hold
    return found


def sums(case: Case) -> Sums:
    """Add up cell by cell."""
    cells = range(case.begin, case.begin + case.length)
    kwh = [sum(case.watts[cell // 4]) * CELL * Fraction(case.pue, 100) / 3_600_000 for cell in cells]
    holds = [holding(case, cell) for cell in cells]
    levels = [None if hold is None else hold.grams_per_kwh for hold in holds]
    if None in levels:
        return Sums(sum(kwh, Fraction(0)), None, None, None)
    grams = [part * (level or 0) for part, level in zip(kwh, levels, strict=True)]
    weights = kwh if any(kwh) else [Fraction(1)] * len(kwh)
    mean = sum(weight * (level or 0) for weight, level in zip(weights, levels, strict=True)) / sum(weights)
    half = sum(
        (part * hold.uncertainty_percent / 100 for part, hold in zip(grams, holds, strict=True) if hold), Fraction(0)
    )
    return Sums(sum(kwh, Fraction(0)), sum(grams, Fraction(0)), mean, half)


@given(cases())
@example(Case(0, 8, [(0, 0), (0, 0)], 100, [Hold(100, 10, None, 1), Hold(500, 10, 1, None)], []))  # no energy at all
@example(Case(3, 40, [(9, 0)] * 11, 150, [Hold(100, 10, None, None), Hold(500, 90, 12, 30)], [(8, -8), (20, 40)]))
def test_any_run_against_the_reference(case: Case) -> None:
    """Energy, grams, mean and interval; the spans lie end to end, and their grams are the run's."""
    expected, record = sums(case), account(log(case))
    used = record["intensity"]
    assert record["facility_energy_kwh"] == pytest.approx(float(expected.kwh), rel=1e-12)
    if expected.grams is None or expected.mean is None or expected.intensity_half_width is None:
        assert record["co2e_grams"] is used["grams_per_kwh"] is record["co2e_low_grams"] is None
    else:
        grams = float(expected.grams)
        assert record["co2e_grams"] == pytest.approx(grams, rel=1e-12)
        assert used["grams_per_kwh"] == pytest.approx(float(expected.mean), rel=1e-12)
        half = math.hypot(0.05 * grams, float(expected.intensity_half_width))
        assert record["co2e_low_grams"] == pytest.approx(max(0.0, grams - half), rel=1e-9, abs=1e-12 * grams)
        assert record["co2e_high_grams"] == pytest.approx(grams + half, rel=1e-12)
        assert math.fsum(span["co2e_grams"] or 0.0 for span in used["spans"]) == record["co2e_grams"]
        assert record["facility_energy_kwh"] is not None
        assert used["grams_per_kwh"] * record["facility_energy_kwh"] == pytest.approx(grams, rel=1e-12)
    assert_tiled(case, used["spans"])


def assert_tiled(case: Case, spans: Any) -> None:
    """Hold the spans' times against the clock on the wall: end to end, but where the clock was moved."""
    end = case.begin + case.length
    moved = dict(case.steps)
    moment = case.begin
    for span in spans:
        offset = next((total for at, total in reversed(case.steps) if at <= moment), 0)
        assert span["from"] == wall(moment + offset)
        level = holding(case, moment)
        stop = moment + 1
        while stop < end and holding(case, stop) is level:
            stop += 1
        assert span["grams_per_kwh"] == (None if level is None else level.grams_per_kwh)
        before = next((total for at, total in reversed(case.steps) if at < stop), 0)
        assert span["to"] == wall(stop + before), moved
        moment = stop
    assert moment == end


def wall(cells: int) -> str:
    """Write a moment as the record does."""
    return (BEGIN + timedelta(seconds=cells / 4)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
