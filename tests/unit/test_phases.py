"""Phases: from marks to what the log holds, and from the log to what the record tells."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.data.logs import device, end, exited, intensity, sample, spawned, start

from greenrun import reports
from greenrun.reports import jsonfile, terminal
from greenrun.reports.account import account
from greenrun.reports.phases import MOST_STRETCHES_TOLD
from greenrun.sampler import events
from greenrun.sampler.phases import MOST_NAMES, MOST_STRETCHES, OpenPhases, PhaseMark

VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((Path(reports.__file__).parent / "summary.schema.json").read_text())
)


def mark(t: float, name: str, which: str) -> dict[str, Any]:
    """Give a `phase` event."""
    return {"event": "phase", "t": t, "name": name, "mark": which}


def record(*marks: dict[str, Any], until: float = 11.0, **about: Any) -> Any:
    """Give the record of a command that lived from 1 to `until` at 20 W, then at 40 W from 6 s on."""
    meter = [sample(0.0, 0.0), sample(6.0, 120.0), sample(until, 120.0 + 40.0 * (until - 6.0))]
    found = account([start(device("cpu:0"), **about), spawned(1.0), *meter, *marks, exited(until), end(until)])
    VALIDATOR.validate(json.loads(jsonfile.render(found)))
    return found


def test_the_schema_is_that_of_an_event() -> None:
    """A phase without a name, or one that neither begins nor ends, is damage."""
    assert events.flaw(mark(1.0, "train", "start")) is None
    assert events.flaw(mark(1.0, "train", "stop")) == "phase has no valid mark"
    assert events.flaw({"event": "phase", "t": 1.0, "mark": "end"}) == "phase has no valid name"


def test_phases_in_figures() -> None:
    """Computed by hand: 20 W until 6 s, 40 W from there on; moments count from the spawn at 1 s."""
    found = record(
        mark(2.0, "train", "start"),
        mark(5.0, "train", "end"),
        mark(5.0, "eval", "start"),
        mark(7.0, "eval", "end"),
        mark(8.0, "train", "start"),
        mark(9.5, "train", "end"),
    )
    train, evaluation = found["phases"]
    assert (train["name"], train["times"], train["duration_seconds"]) == ("train", 2, 4.5)
    assert train["energy_joules"] == pytest.approx(3 * 20 + 1.5 * 40)
    assert train["stretches"] == [
        {"from": 1.0, "duration_seconds": 3.0, "energy_joules": pytest.approx(60.0)},
        {"from": 7.0, "duration_seconds": 1.5, "energy_joules": pytest.approx(60.0)},
    ]
    assert (evaluation["duration_seconds"], evaluation["energy_joules"]) == (2.0, pytest.approx(60.0))
    assert "phases      train 4.50 s and 120 J in 2; eval 2.00 s and 60.0 J\n" in terminal.render(found)


def test_a_phase_without_an_end_lasts_as_long_as_the_command() -> None:
    """And an end without a start is nothing."""
    found = record(mark(4.0, "eval", "end"), mark(9.0, "train", "start"))
    assert [(phase["name"], phase["duration_seconds"]) for phase in found["phases"]] == [("train", 2.0)]


def test_a_start_that_is_told_twice() -> None:
    """Counts from the first time on."""
    (phase,) = record(mark(3.0, "a", "start"), mark(4.0, "a", "start"), mark(5.0, "a", "end"))["phases"]
    assert (phase["times"], phase["duration_seconds"]) == (1, 2.0)


def test_marks_from_before_and_after() -> None:
    """What lies outside of the command's life does not count."""
    found = record(mark(0.0, "a", "start"), mark(3.0, "a", "end"), mark(10.0, "b", "start"), mark(99.0, "b", "end"))
    assert [(phase["name"], phase["duration_seconds"]) for phase in found["phases"]] == [("a", 2.0), ("b", 1.0)]


def test_a_run_without_phases_has_none() -> None:
    """In the record and in the summary."""
    assert record()["phases"] == []
    assert "phases" not in terminal.render(record())


def test_where_nothing_was_measured_the_energy_is_unknown() -> None:
    """Not 0."""
    found = account([start(), spawned(0.0), mark(1.0, "a", "start"), mark(2.0, "a", "end"), exited(3.0)])
    (phase,) = found["phases"]
    assert (phase["energy_joules"], phase["stretches"][0]["energy_joules"]) == (None, None)
    assert "phases      a 1.00 s\n" in terminal.render(found)


def test_of_many_stretches_the_first_are_told_and_all_are_summed() -> None:
    """A phase in each step of a long job."""
    count = MOST_STRETCHES_TOLD + 100
    marks = [mark(1.0 + index * 0.008 + half * 0.004, "s", which) for index in range(count) for half, which in BOTH]
    (phase,) = record(*marks)["phases"]
    assert (phase["times"], len(phase["stretches"])) == (count, MOST_STRETCHES_TOLD)
    assert phase["duration_seconds"] == pytest.approx(count * 0.004)


BOTH = ((0, "start"), (1, "end"))


def test_the_summary_tells_the_longest() -> None:
    """Six of them, in the order in which they began."""
    marks = [one for n in range(9) for one in (mark(1.0 + n, f"p{n}", "start"), mark(1.1 + n + n / 10, f"p{n}", "end"))]
    text = " ".join(terminal.render(record(*marks)).split())
    assert [f"p{n} " in text for n in range(9)] == [False] * 3 + [True] * 6
    assert "; and 3 more" in text


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.sampled_from("abc"), st.sampled_from(["start", "end"]))))
def test_any_marks_make_a_valid_record(told: list[tuple[float, str, str]]) -> None:
    """No phase is longer than the command or takes more than all, and its stretches are apart."""
    found = record(*(mark(*one) for one in told))
    for phase in found["phases"]:
        assert phase["duration_seconds"] <= found["duration_seconds"] + 1e-9
        assert phase["energy_joules"] <= found["energy_joules"]["total"] + 1e-6
        assert phase["times"] == len(phase["stretches"])
        ends = [one["from"] + one["duration_seconds"] for one in phase["stretches"]]
        assert all(a <= b["from"] + 1e-9 for a, b in zip(ends, phase["stretches"][1:], strict=False))


# --- which marks the log gets


def accepted(*marks: str) -> list[str]:
    """Give those of the marks, such as "a+" and "a-", that begin or end a phase."""
    phases = OpenPhases()
    return [one for one in marks if phases.accept(PhaseMark(one[:-1], "start" if one[-1] == "+" else "end"))]


def test_of_one_name_the_first_start_and_the_last_end_count() -> None:
    """A function that calls itself, or two processes in one phase."""
    assert accepted("a+", "a+", "a-", "a-", "a+", "a-") == ["a+", "a-", "a+", "a-"]
    assert accepted("a+", "b+", "a-", "b-") == ["a+", "b+", "a-", "b-"]
    assert accepted("a-", "a+", "a-", "a-") == ["a+", "a-"]


def test_too_many_stretches() -> None:
    """Those that begin then are left out, with their ends; one that is open still ends."""
    phases = OpenPhases()
    assert phases.accept(PhaseMark("open", "start"))
    for _ in range(MOST_STRETCHES - 1):
        assert phases.accept(PhaseMark("a", "start"))
        assert phases.accept(PhaseMark("a", "end"))
    assert not phases.is_full
    assert not phases.accept(PhaseMark("a", "start"))
    assert phases.is_full
    assert not phases.accept(PhaseMark("a", "end"))
    assert phases.accept(PhaseMark("open", "end"))


def test_too_many_names() -> None:
    """A name made anew at each step must not fill the record."""
    phases = OpenPhases()
    kept = [phases.accept(PhaseMark(f"n{number}", "start")) for number in range(MOST_NAMES + 1)]
    assert kept == [True] * MOST_NAMES + [False]
    assert phases.is_full


def test_a_sampler_that_replaces_another_goes_on() -> None:
    """A phase that was open still is."""
    phases = OpenPhases()
    phases.restore([mark(1.0, "a", "start"), mark(2.0, "b", "start"), mark(3.0, "b", "end"), spawned(0.0)])
    assert not phases.accept(PhaseMark("b", "end"))
    assert phases.accept(PhaseMark("a", "end"))


# --- the end of a block


def block(how: str = "told", **about: Any) -> Any:
    """Give the record of a block at 20 W from 1 to 3 s."""
    events = [
        start(device("cpu:0"), kind="block"),
        spawned(1.0),
        sample(0.0, 0.0),
        sample(4.0, 80.0),
        intensity(100.0),
        exited(3.0, None, **({"how": how} | about)),
    ]
    found = account(events)
    VALIDATOR.validate(json.loads(jsonfile.render(found)))
    return found


def test_a_block_has_no_exit_code() -> None:
    """And needs none to be whole."""
    found = block()
    assert (found["kind"], found["status"], found["exit_code"], found["warnings"]) == ("block", "complete", None, [])
    assert math.isclose(found["energy_joules"]["total"], 40.0)
    assert terminal.render(found).startswith("greenrun: the block ran for 2.00 s\n")


def test_a_block_that_ended_with_an_exception() -> None:
    """Is whole all the same, and says so."""
    found = block(exception=True)
    assert (found["status"], [warned["code"] for warned in found["warnings"]]) == ("complete", ["exception"])
    assert terminal.render(found).startswith("greenrun: the block ran for 2.00 s and ended with an exception\n")


def test_a_block_whose_process_ended_first() -> None:
    """Is a part of what was to be measured."""
    found = block("pidfd", signal=9)
    assert (found["status"], [warned["code"] for warned in found["warnings"]]) == ("partial", ["cut-short"])
    headline = "greenrun: partial record: the block ran for 2.00 s and its process was ended by\n  SIGKILL\n"
    assert terminal.render(found).startswith(headline)
    assert terminal.render(block("unknown")).startswith("greenrun: partial record: the block ran for 2.00 s\n")


def test_a_command_is_a_command() -> None:
    """Also in a log that is older than blocks; and how it ended may be unknown without a loss."""
    found = record()
    assert (found["kind"], found["status"]) == ("command", "complete")
    orphan = account(
        [start(device("cpu:0")), spawned(0.0), sample(0.0, 0.0), sample(2.0, 1.0), exited(2.0, how="pidfd")]
    )
    assert (orphan["kind"], orphan["status"]) == ("command", "complete")
