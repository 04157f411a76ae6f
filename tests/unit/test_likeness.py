"""What a run that was measured says about the next one: set-up, epochs, the whole."""

from __future__ import annotations

from typing import Any

import pytest
from unit.data.logs import device, epoch, exited, sample, spawned, start

from greenrun.reports.likeness import likeness
from greenrun.sampler.prediction import Cost


def mark(t: float, n: int, kind: str = "end", source: str = "output") -> dict[str, Any]:
    """Give a mark; the end of an epoch, and from what the job prints, unless told."""
    return epoch(t, n, kind, source)


def run(
    *marks: dict[str, Any], ended: bool = True, watts: float = 10.0, how: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Give the log of a run from 1 s to 41 s at constant power, with these marks.

    `how` it ended: well, unless told.
    """
    events = [start(device("cpu")), sample(0.0, 0.0), spawned(1.0), *marks, sample(41.0, 41.0 * watts)]
    return [*events, exited(41.0, **(how or {})), sample(42.0, 42.0 * watts)] if ended else events


def at(watts: float, *seconds: float) -> list[Cost]:
    """Give the costs of stretches at that power."""
    return [Cost(length, pytest.approx(length * watts)) for length in seconds]


def test_epochs_from_start_to_end() -> None:
    """What comes before the first and after the last is there once a run; a pause between two belongs to the first."""
    marks = [mark(5.0, 1, "start"), mark(15.0, 1), mark(17.0, 2, "start"), mark(27.0, 2)]
    found = likeness(run(*marks))
    assert found is not None
    assert found.epochs == at(10.0, 12.0, 10.0)
    assert [found.once, found.whole] == at(10.0, 4.0 + 14.0, 40.0)


def test_epochs_that_only_end() -> None:
    """The first begins with the command."""
    found = likeness(run(mark(11.0, 1), mark(16.0, 2), mark(21.0, 3)))
    assert found is not None
    assert found.epochs == at(10.0, 10.0, 5.0, 5.0)
    assert [found.once] == at(10.0, 20.0)


def test_a_job_that_marks_some_of_its_epochs() -> None:
    """An entry for several epochs is divided among them, also the first; a resumed job has not done all of them."""
    skipping = likeness(run(mark(1.0, 1, "start"), mark(17.0, 5, "start"), mark(41.0, 8)))
    assert skipping is not None
    assert skipping.epochs == at(10.0, *[4.0] * 4, *[6.0] * 4)
    resumed = likeness(run(mark(11.0, 90), mark(41.0, 95)))
    assert resumed is not None
    assert resumed.epochs == at(10.0, 10.0, *[6.0] * 5)


def test_markers_count_before_output() -> None:
    """As in the record: what the job tells itself is not told twice."""
    found = likeness(run(mark(11.0, 1), mark(12.0, 1, source="marks"), mark(32.0, 2, source="marks"), mark(31.0, 2)))
    assert found is not None
    assert found.epochs == at(10.0, 11.0, 20.0)
    other = likeness(run(mark(1.0, 1, "start"), mark(11.0, 6, source="marks"), mark(31.0, 7, source="marks")))
    assert other is not None
    assert other.epochs == at(10.0, 10.0, 20.0)  # resumed: the output's number is not the marks'


def test_a_run_that_was_killed() -> None:
    """It has no whole, and nothing came after its last epoch."""
    found = likeness(run(mark(5.0, 1, "start"), mark(15.0, 1), ended=False))
    assert found is not None
    assert (found.whole, found.epochs, [found.once]) == (None, at(10.0, 10.0), at(10.0, 4.0))


@pytest.mark.parametrize("how", [{"exit_code": 3}, {"exit_code": None, "signal": 15}, {"exception": True}])
def test_a_run_that_failed(how: dict[str, Any]) -> None:
    """The epoch that it was in is none, and what came after the last whole one is not what comes after the last."""
    marks = [mark(5.0, 1, "start"), mark(15.0, 2, "start")]
    found = likeness(run(*marks, how=how))
    assert found is not None
    assert (found.whole, found.epochs, [found.once]) == (None, at(10.0, 10.0), at(10.0, 4.0))
    assert [epoch["n"] for epoch in found.record["epochs"]] == [1]
    well = likeness(run(*marks))
    assert well is not None
    assert well.epochs == at(10.0, 10.0, 26.0)
    without_epochs = likeness(run(how=how))
    assert without_epochs is not None
    assert [without_epochs.whole] == at(10.0, 40.0)


def test_a_run_without_epochs() -> None:
    """Its whole cost is what there is."""
    found = likeness(run())
    assert found is not None
    assert (found.epochs, [found.whole]) == ([], at(10.0, 40.0))


def test_energy_that_nobody_measured() -> None:
    """It is unknown, in every part."""
    found = likeness([start(), spawned(1.0), mark(11.0, 1), exited(41.0)])
    assert found is not None
    assert (found.epochs, found.once, found.whole) == ([Cost(10.0, None)], Cost(30.0, None), Cost(40.0, None))


def test_a_command_that_never_ran() -> None:
    """It tells nothing."""
    assert likeness([start(device("cpu")), {"event": "not-started", "t": 1.0, "reason": "gone"}]) is None
