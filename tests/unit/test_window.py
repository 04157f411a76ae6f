"""The greenest window, against looking at every minute, and at every half second."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from math import lcm

import pytest

from greenrun.intensity import window
from greenrun.intensity.model import Intensity

NIGHT = datetime(2026, 3, 28, 22, 0, tzinfo=timezone.utc)
HOUR = 3600.0


def at(seconds: float) -> datetime:
    """Give the moment so long after the night began."""
    return NIGHT + timedelta(seconds=seconds)


def span(grams_per_kwh: float, from_seconds: float | None, to_seconds: float | None) -> Intensity:
    """Give a forecast that holds from one moment to another."""
    return Intensity(
        grams_per_kwh=grams_per_kwh,
        link="neso",
        source="NESO",
        zone="GB",
        country="GB",
        year=None,
        basis="direct",
        uncertainty_percent=30.0,
        estimated=True,
        from_utc=None if from_seconds is None else at(from_seconds),
        to_utc=None if to_seconds is None else at(to_seconds),
    )


def hours(*levels: float) -> list[Intensity]:
    """Give an hourly forecast from the night's beginning."""
    return [span(level, hour * HOUR, (hour + 1) * HOUR) for hour, level in enumerate(levels)]


def forecast(chance: random.Random, unit_seconds: int) -> list[Intensity]:
    """Make a forecast of steps of any length, with gaps now and then; few levels, so that there are ties."""
    spans = []
    moment = chance.randint(-60, 30) * unit_seconds
    levels = chance.choice([[0, 100, 200], [0.1, 0.2, 0.3], [chance.uniform(0, 900) for _ in range(9)]])
    regular = chance.choice([None, None, 15, 30, 60])
    for _ in range(chance.randint(1, 14)):
        length = (regular or chance.randint(1, 90)) * unit_seconds
        if chance.random() > 0.1:
            spans.append(span(chance.choice(levels), moment, moment + length))
        moment += length
    chance.shuffle(spans)
    return spans


def by_brute_force(
    spans: list[Intensity], now: int, length: int, deadline: int, unit_seconds: int
) -> tuple[Fraction, int] | None:
    """Give cost and start by laying the window on every unit of time and adding up the units."""
    level = {}
    for one in spans:
        assert one.from_utc is not None
        assert one.to_utc is not None
        first = (one.from_utc - NIGHT) // timedelta(seconds=unit_seconds)
        last = (one.to_utc - NIGHT) // timedelta(seconds=unit_seconds)
        level |= dict.fromkeys(range(first, last), Fraction(one.grams_per_kwh))
    scale = lcm(*(value.denominator for value in level.values()))  # whole numbers add up as exactly, and faster
    whole = {unit: int(value * scale) for unit, value in level.items()}
    best = None
    for start in range(now, deadline - length + 1):
        units = [whole[unit] for unit in range(start, start + length) if unit in whole]
        if len(units) == length and (best is None or sum(units) < best[0]):
            best = (sum(units), start)
    return best and (Fraction(best[0], scale * length), best[1])


def test_a_thousand_random_forecasts_against_every_minute() -> None:
    """Same cost and same start, the earliest on a tie; whole minutes throughout."""
    chance = random.Random(20261122)  # noqa: S311  a seed, so that a failure comes back
    found = gaps = 0
    for _ in range(1000):
        spans = forecast(chance, 60)
        now, length = chance.randint(-30, 60), chance.randint(1, 240)
        deadline = now + length + chance.randint(0, 400)
        expected = by_brute_force(spans, now, length, deadline, 60)
        answer = window.greenest(spans, at(now * 60), length * 60.0, at(deadline * 60))
        if expected is None:
            assert answer is None
            gaps += 1
            continue
        cost, start = expected
        assert answer == window.Window(at(start * 60), at((start + length) * 60), float(cost))
        found += 1
    assert min(found, gaps) > 100  # both kinds have been tried


def test_moments_between_the_minutes_against_a_fine_brute_force() -> None:
    """With edges, now, duration and deadline anywhere, no half second is better; the mean is that of the window."""
    chance = random.Random(7)  # noqa: S311  as above
    for _ in range(30):
        spans = forecast(chance, 7)
        now, length = chance.uniform(-100, 200), chance.uniform(1, 900)
        deadline = now + length + chance.uniform(0, 2000)
        answer = window.greenest(spans, at(now), length, at(deadline))
        best = None
        start = now
        while start + length <= deadline:
            cost = window.mean(spans, at(start), at(start + length))
            best = cost if best is None or (cost is not None and cost < best) else best
            start += 0.5
        if best is None:
            continue
        assert answer is not None
        assert at(now) <= answer.start_utc
        assert answer.end_utc <= at(deadline)
        assert answer.grams_per_kwh <= best + 1e-4  # a half second's mean is rounded to microseconds
        assert answer.grams_per_kwh == window.mean(spans, answer.start_utc, answer.end_utc)


def test_partial_steps_at_both_ends_count_by_their_part() -> None:
    """Half of the 300, all of the 100 and a quarter of the 200, over an hour and three quarters."""
    spans = hours(300, 100, 200)
    assert window.mean(spans, at(0.5 * HOUR), at(2.25 * HOUR)) == pytest.approx((150 + 100 + 50) / 1.75, abs=1e-12)
    best = window.greenest(spans, NIGHT, 1.75 * HOUR, at(3 * HOUR))
    assert best == window.Window(at(HOUR), at(2.75 * HOUR), float(Fraction(250 * 4, 7)))


def test_the_window_may_end_on_an_edge() -> None:
    """A job of an hour and a half before a rise begins in the middle of a step."""
    best = window.greenest(hours(200, 100, 300), NIGHT, 1.5 * HOUR, at(3 * HOUR))
    assert best is not None
    assert (best.start_utc, best.grams_per_kwh) == (at(0.5 * HOUR), 400 / 3)


@pytest.mark.parametrize(("levels", "start"), [((100, 100, 100), 0), ((300, 100, 200, 100), 1), ((0, 0), 0)])
def test_the_earliest_of_equals(levels: tuple[float, ...], start: int) -> None:
    """Waiting for nothing is no gain."""
    best = window.greenest(hours(*levels), NIGHT, HOUR, at(len(levels) * HOUR))
    assert best is not None
    assert best.start_utc == at(start * HOUR)


def test_equals_that_floats_would_not_see() -> None:
    """0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 are one cost, though floats add them up to two."""
    best = window.greenest(hours(9, 0.3, 0.2, 0.1, 9, 0.1, 0.2, 0.3), NIGHT, 3 * HOUR, at(8 * HOUR))
    assert best is not None
    assert best.start_utc == at(HOUR)


def test_a_gap_is_no_candidate() -> None:
    """What touches it has no known cost; beside it the search goes on."""
    spans = [span(100, 0, HOUR), span(1, 2 * HOUR, 3 * HOUR), span(50, 3 * HOUR, 5 * HOUR)]
    best = window.greenest(spans, NIGHT, 1.5 * HOUR, at(9 * HOUR))
    assert best is not None
    assert best.start_utc == at(2 * HOUR)
    assert window.greenest(spans, NIGHT, 3.5 * HOUR, at(9 * HOUR)) is None
    assert window.mean(spans, NIGHT, at(1.5 * HOUR)) is None
    assert window.mean(spans, at(HOUR), at(1.5 * HOUR)) is None


def test_nothing_fits() -> None:
    """No forecast, one that is over, one that is too short, a deadline that is too near."""
    assert window.greenest([], NIGHT, HOUR, at(9 * HOUR)) is None
    assert window.greenest(hours(1, 1), at(2 * HOUR), HOUR, at(9 * HOUR)) is None
    assert window.greenest(hours(1), NIGHT, HOUR + 1e-6, at(9 * HOUR)) is None
    assert window.greenest(hours(1, 1), NIGHT, HOUR, at(HOUR - 1e-6)) is None
    assert window.greenest(hours(1, 1), NIGHT, HOUR, at(HOUR)) is not None


def test_a_span_without_ends_holds_throughout() -> None:
    """A told figure or a yearly average; what begins later counts where both hold."""
    assert window.greenest([span(5, None, None)], NIGHT, HOUR, at(9 * HOUR)) == window.Window(NIGHT, at(HOUR), 5.0)
    spans = [*hours(100, 50), span(400, None, None)]
    assert window.mean(spans, NIGHT, at(2 * HOUR)) == 75.0
    assert window.mean(spans[::-1], at(0.5 * HOUR), at(1.5 * HOUR)) == 75.0


def test_of_spans_that_overlap_the_later_counts_from_its_beginning() -> None:
    """Also where both began before the window."""
    spans = [span(30, -0.5 * HOUR, 2 * HOUR), span(90, -HOUR, 3 * HOUR)]
    assert window.mean(spans, NIGHT, at(HOUR)) == 30.0


def test_a_span_of_no_length_changes_nothing() -> None:
    """Nor does one that ends before it begins, though both begin later than what holds."""
    spans = [*hours(100, 200), span(1, 0.5 * HOUR, 0.5 * HOUR), span(1, 0.75 * HOUR, 0.25 * HOUR)]
    assert window.mean(spans, NIGHT, at(2 * HOUR)) == 150.0
    assert window.greenest(spans, NIGHT, HOUR, at(2 * HOUR)) == window.Window(NIGHT, at(HOUR), 100.0)


def test_the_whole_time_until_the_deadline_or_more() -> None:
    """A job as long as the time that is left starts now; one that is longer than the forecast not at all."""
    assert window.greenest(hours(300, 100), NIGHT, 2 * HOUR, at(2 * HOUR)) == window.Window(NIGHT, at(2 * HOUR), 200.0)
    assert window.greenest(hours(300, 100), NIGHT, 2 * HOUR + 1e-6, at(9 * HOUR)) is None


def test_levels_beside_which_others_vanish_in_floats() -> None:
    """The smallest float there is makes one hour worse than another beside a million."""
    spans = hours(1e6, 5e-324, 1e6, 0.0, 1e6, 0.0)
    best = window.greenest(spans, NIGHT, 2 * HOUR, at(6 * HOUR))
    assert best is not None
    assert best.start_utc == at(2 * HOUR)


def test_a_plan_says_what_waiting_saves() -> None:
    """The share of grams that is not emitted; against a now of nothing there is nothing to save."""
    plan = window.plan(hours(200, 100, 50), NIGHT, HOUR, at(9 * HOUR))
    assert plan is not None
    assert (plan.now_grams_per_kwh, plan.best.grams_per_kwh, plan.saving) == (200.0, 50.0, 0.75)
    for levels in ((50, 200), (0, 0)):
        plan = window.plan(hours(*levels), NIGHT, HOUR, at(9 * HOUR))
        assert plan is not None
        assert (plan.best.start_utc, plan.saving) == (NIGHT, 0.0)
    assert window.plan(hours(1), NIGHT, 2 * HOUR, at(9 * HOUR)) is None


def test_a_plan_says_how_far_was_looked() -> None:
    """To the deadline, or to the forecast's end; a span without an end reaches any deadline."""
    ends = []
    for spans, deadline in ((hours(1, 1), 1.5 * HOUR), (hours(1, 1), 9 * HOUR), ([span(5, None, None)], 9 * HOUR)):
        plan = window.plan(spans, NIGHT, HOUR, at(deadline))
        assert plan is not None
        ends.append(plan.until_utc)
    assert ends == [at(1.5 * HOUR), at(2 * HOUR), at(9 * HOUR)]


def test_without_a_figure_for_now_the_saving_is_unknown() -> None:
    """A forecast that begins with the next hour: a plan, and no saving of 0."""
    plan = window.plan(hours(100, 50), at(-60), HOUR, at(9 * HOUR))
    assert plan is not None
    assert (plan.best.start_utc, plan.now_grams_per_kwh, plan.saving) == (at(HOUR), None, None)


def test_no_window_has_no_mean() -> None:
    """A length of nothing is a mistake of the caller's."""
    with pytest.raises(ValueError, match="has no mean"):
        window.greenest(hours(1), NIGHT, 0.0, at(HOUR))
    with pytest.raises(ValueError, match="there is no mean"):
        window.mean(hours(1), NIGHT, NIGHT)
