"""From marks to epochs: where each begins and ends, and how many one entry stands for."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.sampler.prediction import Cost, predict
from greenrun.sampler.progress import Epoch, Point, Progress

SPAWNED = Point(1.0, 10.0)


def at(t: float) -> Point:
    """Give a moment of a job that uses 10 W."""
    return Point(t, 10.0 * t)


def test_ends_alone() -> None:
    """Only ends are marked: each epoch lasts since the end before it, the first since the spawn."""
    progress = Progress(SPAWNED)
    progress.mark(1, "end", at(4.0))
    progress.mark(2, "end", at(6.0))
    assert progress.finished == [Epoch(1, 1.0, 3.0, 30.0, 1), Epoch(2, 4.0, 2.0, 20.0, 1)]
    assert progress.first == SPAWNED


def test_starts_alone() -> None:
    """Only starts are marked: each ends the one before, the end of the command the last, and set-up is told apart."""
    progress = Progress(SPAWNED)
    for n, t in ((1, 3.0), (2, 5.0), (3, 8.0)):
        progress.mark(n, "start", at(t))
    progress.end(at(9.0))
    assert progress.finished == [Epoch(1, 3.0, 2.0, 20.0, 1), Epoch(2, 5.0, 3.0, 30.0, 1), Epoch(3, 8.0, 1.0, 10.0, 1)]
    assert progress.first == at(3.0)
    assert progress.spawned == SPAWNED


def test_starts_and_ends() -> None:
    """Both are marked: what lies between an end and the next start (a checkpoint) is in no epoch."""
    progress = Progress(SPAWNED)
    for n, kind, t in ((1, "start", 2.0), (1, "end", 4.0), (2, "start", 5.0), (2, "end", 7.0)):
        progress.mark(n, kind, at(t))  # type: ignore[arg-type]  # the words are those of the literal
    progress.end(at(9.0))
    assert progress.finished == [Epoch(1, 2.0, 2.0, 20.0, 1), Epoch(2, 5.0, 2.0, 20.0, 1)]


def test_what_lies_between_epochs_is_predicted_too() -> None:
    """A checkpoint between an end and the next start is in no epoch, but the job pays for it each time."""
    progress = Progress(SPAWNED)
    for n, kind, t in ((1, "start", 2.0), (1, "end", 4.0), (2, "start", 5.0), (2, "end", 7.0)):
        progress.mark(n, kind, at(t))  # type: ignore[arg-type]  # the words are those of the literal
    assert progress.setup == Cost(1.0, 10.0)
    assert progress.costs == [Cost(2.0, 20.0), Cost(3.0, 30.0)]


def test_costs_of_epochs_that_share_a_mark() -> None:
    """Each has its part, and a job that was resumed does only what was left."""
    progress = Progress(SPAWNED)
    for n in (10, 12):
        progress.mark(n, "end", at(float(n)))
    assert progress.costs == [Cost(9.0, 90.0), Cost(1.0, 10.0), Cost(1.0, 10.0)]
    assert progress.setup == Cost(0.0, 0.0)
    assert progress.planned(100) == 91
    resumed = Progress(SPAWNED)
    resumed.mark(11, "start", at(2.0))
    resumed.mark(20, "end", Point(5.0, None))
    assert resumed.costs == [Cost(0.3, None)] * 10
    assert resumed.planned(100) == 90


def test_a_start_told_twice() -> None:
    """By the job and by its output: the first is the one that counts."""
    progress = Progress(SPAWNED)
    progress.mark(1, "start", at(2.0))
    progress.mark(1, "start", at(3.0))
    progress.mark(1, "end", at(4.0))
    assert progress.finished == [Epoch(1, 2.0, 2.0, 20.0, 1)]


def test_every_tenth_epoch_is_marked() -> None:
    """One entry stands for all since the mark before, the first for all before it; of a resumed job for one, or more.

    As long as there is only one mark nobody can tell which of the two it is.
    """
    progress = Progress(SPAWNED)
    for n in (10, 20, 25):
        progress.mark(n, "end", at(float(n)))
    assert [(epoch.n, epoch.epochs) for epoch in progress.finished] == [(10, 10), (20, 10), (25, 5)]
    resumed = Progress(SPAWNED)
    resumed.mark(11, "start", at(2.0))
    resumed.mark(20, "end", at(5.0))
    assert [(epoch.n, epoch.epochs) for epoch in resumed.finished] == [(20, 10)]


def test_unknown_energy_stays_unknown() -> None:
    """Where the joules at either end are not known, those of the epoch are not, and its time is."""
    progress = Progress(SPAWNED)
    progress.mark(1, "end", Point(4.0, None))
    progress.mark(2, "end", at(6.0))
    progress.mark(3, "end", at(7.0))
    assert [epoch.energy_joules for epoch in progress.finished] == [None, None, 10.0]
    assert [epoch.duration_seconds for epoch in progress.finished] == [3.0, 2.0, 1.0]


def test_a_job_without_epochs() -> None:
    """No mark, no epoch."""
    progress = Progress(SPAWNED)
    progress.end(at(9.0))
    assert progress.finished == []


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["start", "end"]), st.floats(0.0, 10.0)), max_size=20))
def test_epochs_never_overlap(marks: list[tuple[int, str, float]]) -> None:
    """Whatever is marked, with rising numbers: epochs follow each other, and together last no longer than the job."""
    progress = Progress(SPAWNED)
    n, t, kind_before = 0, SPAWNED.t, "end"
    for step, kind, seconds in marks:
        if kind == "start" or kind_before == "end":
            n += step
        t += seconds
        progress.mark(n, kind, at(t))  # type: ignore[arg-type]  # the words are those of the literal
        kind_before = kind
    progress.end(at(t))
    now = SPAWNED.t
    for epoch in progress.finished:
        assert epoch.from_t >= now - 1e-9
        assert epoch.duration_seconds >= 0
        assert epoch.epochs >= 1
        assert epoch.energy_joules == pytest.approx(10.0 * epoch.duration_seconds, abs=1e-6)
        now = epoch.from_t + epoch.duration_seconds
    assert now <= t + 1e-9


def test_every_tenth_epoch_is_predicted_as_such() -> None:
    """From the second mark on: the first ten cost a tenth of what they took, each."""
    progress = Progress(SPAWNED)
    progress.mark(10, "end", at(11.0))
    assert progress.is_unclear
    progress.mark(20, "end", at(19.0))
    assert not progress.is_unclear
    assert progress.costs == [pytest.approx(Cost(1.0, 10.0))] * 10 + [pytest.approx(Cost(0.8, 8.0))] * 10
    assert progress.planned(100) == 100
    resumed = Progress(SPAWNED)
    for n in (51, 52):
        resumed.mark(n, "end", at(float(n)))
    assert resumed.costs == [pytest.approx(Cost(50.0, 500.0)), pytest.approx(Cost(1.0, 10.0))]
    assert resumed.planned(100) == 50


def test_what_is_clear_at_once() -> None:
    """The first epoch, and one whose beginning was told: what came before it another run has done."""
    first, begun = Progress(SPAWNED), Progress(SPAWNED)
    first.mark(1, "end", at(1.0))
    begun.mark(7, "start", at(1.0))
    begun.mark(8, "start", at(2.0))
    assert not first.is_unclear
    assert not begun.is_unclear
    begun.mark(14, "end", at(3.0))
    assert [one.epochs for one in begun.finished] == [1, 7]


@given(
    marks=st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from(["start", "end"]),
            st.floats(0, 100),
            st.none() | st.floats(0, 1000),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_moments_and_joules_that_go_backwards(
    marks: list[tuple[int, Literal["start", "end"], float, float | None]],
) -> None:
    """Several tell marks, and meters are counted anew: no epoch lasts less than nothing or gives energy back."""
    progress, n = Progress(SPAWNED), 0
    for step, kind, t, joules in marks:
        n += step
        progress.mark(n, kind, Point(t, joules))
    for epoch in progress.finished:
        assert epoch.duration_seconds >= 0.0
        assert epoch.energy_joules is None or epoch.energy_joules >= 0.0
    assert all(cost.duration_seconds >= 0.0 and (cost.energy_joules or 0.0) >= 0.0 for cost in progress.costs)
    if progress.costs:
        predict(progress.setup, progress.costs, len(progress.costs) + 1)
