"""Spans laid over each other, cut, looked through for holes and held on, against a look at every quarter-hour."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenrun.intensity import series, uncertainty
from greenrun.intensity.model import Intensity

DAY = datetime(2026, 7, 1, tzinfo=timezone.utc)
STEP = timedelta(minutes=15)
STEPS = 60
HOUR = timedelta(hours=1)


def at(step: int) -> datetime:
    """Give the moment so many quarter-hours into the day."""
    return DAY + step * STEP


def span(
    begin: int | None, end: int | None, grams_per_kwh: float = 1.0, fetched: int | None = None, note: str = ""
) -> Intensity:
    """Give an intensity that holds from one quarter-hour to another; None: without that bound."""
    return Intensity(
        grams_per_kwh,
        "electricitymaps",
        "Electricity Maps",
        "DK-DK1",
        "DK",
        None,
        "lifecycle",
        5.0,
        from_utc=None if begin is None else at(begin),
        to_utc=None if end is None else at(end),
        fetched_utc=None if fetched is None else at(fetched),
        note=note,
    )


@st.composite
def spans(draw: st.DrawFn) -> list[Intensity]:
    """Give spans of any length in any order, each with a value of its own, some without a bound or never fetched."""
    out = []
    for _ in range(draw(st.integers(0, 8))):
        begin = draw(st.integers(0, STEPS - 1))
        end = draw(st.integers(begin, STEPS))
        unbounded = draw(st.sampled_from(["no"] * 8 + ["begin", "end"]))
        out.append(
            span(
                None if unbounded == "begin" else begin,
                None if unbounded == "end" else end,
                draw(st.floats(1, 1000)),
                draw(st.none() | st.integers(0, 3)),
            )
        )
    return out


def holding(among: list[Intensity], step: int) -> list[Intensity]:
    """Give those that hold in the quarter-hour that begins at `step`."""
    moment = at(step)
    return [
        one
        for one in among
        if (one.from_utc is None or one.from_utc <= moment) and (one.to_utc is None or moment < one.to_utc)
    ]


def winner(among: list[Intensity], step: int) -> float | None:
    """Give the value of the one that was fetched last, the last in the list where several were."""
    found = holding(among, step)
    never = DAY - HOUR
    ranked = [(one.fetched_utc or never, place) for place, one in enumerate(found)]
    return found[ranked.index(max(ranked))].grams_per_kwh if found else None


def value(among: list[Intensity], step: int) -> float | None:
    """Give the value that holds; more than one is a mistake."""
    found = holding(among, step)
    assert len(found) <= 1
    return found[0].grams_per_kwh if found else None


def in_order(among: list[Intensity]) -> bool:
    """Whether each span ends before the next one begins, and after it began."""
    edges = [
        edge
        for one in among
        for edge in (
            one.from_utc or datetime.min.replace(tzinfo=timezone.utc),
            one.to_utc or datetime.max.replace(tzinfo=timezone.utc),
        )
    ]
    return edges == sorted(edges) and all(one.from_utc is None or one.from_utc != one.to_utc for one in among)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(spans(), spans())
def test_the_newest_counts_at_each_moment(old: list[Intensity], new: list[Intensity]) -> None:
    """Whatever overlaps: one value a moment, in order, and nothing of what is not covered."""
    merged = series.merge(old, new)
    assert in_order(merged)
    # Also before the first and after the last step, where only unbounded ones hold.
    assert [value(merged, step) for step in range(-2, STEPS + 2)] == [
        winner(old + new, step) for step in range(-2, STEPS + 2)
    ]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(spans())
def test_merging_again_changes_nothing(some: list[Intensity]) -> None:
    """What is in order stays as it is, and is not cut into more pieces than it needs."""
    merged = series.merge((), some)
    assert series.merge(merged, ()) == merged
    assert series.merge(merged, merged) == merged


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(spans(), st.integers(0, STEPS), st.integers(0, STEPS))
def test_a_clip_holds_its_stretch_and_no_more(some: list[Intensity], begin: int, end: int) -> None:
    """Inside as before, outside nothing."""
    clipped = series.clip(some, at(begin), at(end))
    assert in_order(clipped)
    for step in range(-2, STEPS + 2):
        assert value(clipped, step) == (winner(some, step) if begin <= step < end else None)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(spans(), st.integers(0, STEPS), st.integers(0, STEPS))
def test_gaps_are_where_nothing_holds(some: list[Intensity], begin: int, end: int) -> None:
    """Each quarter-hour of the stretch is either in a span or in a gap."""
    gaps = series.gaps(some, at(begin), at(end))
    for step in range(-2, STEPS + 2):
        inside = any(from_utc <= at(step) < to_utc for from_utc, to_utc in gaps)
        assert inside == (begin <= step < end and not holding(some, step))
    assert all(from_utc < to_utc for from_utc, to_utc in gaps)
    assert all(one[1] < other[0] for one, other in pairwise(gaps))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(spans(), st.integers(0, STEPS), st.integers(0, 20))
def test_a_value_is_held_on_until_the_next_or_for_long_enough(some: list[Intensity], until: int, most: int) -> None:
    """What was there stays; a hole has the value before it, estimated, for as long as it may be held."""
    held = series.hold(some, at(until), most * STEP)
    assert in_order(held)
    covered = [step for step in range(-2, STEPS + 2) if holding(some, step)]
    for step in range(-2, STEPS + 2):
        before = [one for one in covered if one < step]
        last = max(before, default=None)
        later = any(one > step for one in covered)
        if step in covered:
            expected = winner(some, step)
        elif last is not None and step - last <= most and (step < until or later):
            expected = winner(some, last)
        else:
            expected = None
        assert value(held, step) == expected
        if step not in covered and expected is not None:
            assert holding(held, step)[0].estimated


def test_what_is_held_says_so_and_doubts_more_by_the_hour() -> None:
    """Three pieces, cut at full hours; each with the uncertainty of its age and the time from which it is held."""
    held = series.hold([span(0, 6, 80.0, note="seen")], at(13), timedelta(hours=24))
    assert [(one.from_utc, one.to_utc) for one in held] == [
        (at(0), at(6)),
        (at(6), at(8)),
        (at(8), at(12)),
        (at(12), at(13)),
    ]
    assert [one.uncertainty_percent for one in held] == [5.0, *(uncertainty.held(5.0, age) for age in (0.5, 1.5, 1.75))]
    assert held[1].uncertainty_percent < held[2].uncertainty_percent < held[3].uncertainty_percent
    assert [one.estimated for one in held] == [False, True, True, True]
    assert [one.note for one in held] == ["seen", *["seen; held on from 01:30 UTC"] * 3]
    assert {one.link for one in held} == {"electricitymaps"}


def test_hours_are_those_of_utc() -> None:
    """A span that comes in local time of half an hour's offset is held on in the same hours, and told in UTC."""
    india = timezone(timedelta(hours=5, minutes=30))
    local = span(0, 4)._replace(to_utc=at(4).astimezone(india))
    held = series.hold([local], at(12), timedelta(hours=24))
    assert [one.to_utc for one in held] == [at(4), at(8), at(12)]
    assert held[1].note == "held on from 01:00 UTC"


def test_many_spans_are_quick() -> None:
    """A month in five-minute steps, laid over itself: no work that grows with the square."""
    steps = 12 * 24 * 31
    old = [span(step, step + 1, 1.0, 0) for step in range(steps)]
    new = [span(step, step + 1, 2.0, 1) for step in range(0, steps, 2)]
    merged = series.merge(old, new)
    assert [one.grams_per_kwh for one in merged] == [2.0, 1.0] * (steps // 2)
