"""A run under way, told from its log so far; and the table that shows it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.logs import device, exited, joined, sample, spawned, start

from greenrun.reports import statustext
from greenrun.reports.account import account
from greenrun.reports.live import Live, State
from greenrun.reports.statustext import Seen
from greenrun.sampler import runlog
from greenrun.sampler.prediction import Interval

GOLDEN = Path(__file__).parent / "data" / "two-sockets"
BEGAN = 1000.0  # of CLOCK_MONOTONIC, as in `start`

CPU = device("cpu")


def state(*events: Any, entry: Any = CPU, at: float = 10.0, **more: Any) -> State:
    """Give the state after these events, so many seconds after the start."""
    live = Live(start(entry, **more))
    for event in events:
        live.take(event)
    return live.state(BEGAN + at)


def predicted(seconds: float, joules: float = 300.0, after: int = 1) -> dict[str, Any]:
    """Give a prediction of the whole job."""
    ranges = {
        key: {"value": value, "low": value * 0.9, "high": value * 1.2}
        for key, value in (("duration_seconds", seconds), ("energy_joules", joules))
    }
    return {"event": "prediction", "t": 1.0, "after_epoch": after, "epochs": 4, "co2e_grams": None, **ranges}


def epoch(n: int, mark: str = "end", of: int | None = 4) -> dict[str, Any]:
    """Give the mark of an epoch."""
    return {"event": "epoch", "t": 1.0, "n": n, "of": of, "mark": mark, "from": "output"}


def test_energy_since_the_command_began() -> None:
    """What was used before it is not its own; psys and the like stand beside the total."""
    beside = device("psys", kind="other", counted=False)
    live = Live(start(CPU, beside))
    for event in (sample(0.0, 0.0, 0.0), sample(1.0, 50.0, 70.0), spawned(1.0), sample(2.0, 90.0, 170.0)):
        live.take(event)
    assert live.state(BEGAN + 2.0).energy_joules == 40.0
    later = state(sample(0.0, 0.0), spawned(1.0), sample(1.0, 50.0), sample(2.0, 90.0))
    assert later.energy_joules == 40.0


def test_the_same_as_the_account_of_the_golden_run() -> None:
    """Two ways to one sum: but for the stretch that the account cuts off at the exit."""
    events = runlog.read(str(GOLDEN))
    live = Live(events[0])
    for event in events[1:]:
        live.take(event)
    told, record = live.state(BEGAN + 200.0), account(events)
    assert told.energy_joules == pytest.approx(record["energy_joules"]["total"], rel=0.02)
    assert told.elapsed_seconds == record["duration_seconds"]
    assert (told.phase, told.epochs_done, told.job) == ("ending", 3, "42")


def test_a_device_that_came_late_counts_from_its_first_reading() -> None:
    """NVML takes seconds to come up."""
    told = state(spawned(0.0), sample(0.0, 0.0), joined(1.0, device("gpu", kind="gpu")), sample(2.0, 10.0, 500.0))
    assert told.energy_joules == 10.0
    more = state(
        spawned(0.0),
        sample(0.0, 0.0),
        joined(1.0, device("gpu", kind="gpu")),
        sample(2.0, 10.0, 500.0),
        sample(3.0, 10.0, 600.0),
    )
    assert more.energy_joules == 110.0


def test_power_is_the_mean_over_about_a_second() -> None:
    """Samples of marks lie milliseconds apart: what they say of power is noise."""
    told = state(spawned(0.0), sample(0.0, 0.0), sample(4.0, 40.0), sample(5.0, 70.0), sample(5.01, 71.0))
    assert told.power_watts == pytest.approx(31.0 / 1.01)
    assert state(spawned(0.0), sample(0.0, 0.0)).power_watts is None
    assert state(spawned(0.0), sample(0.0, 0.0), sample(0.5, 5.0)).power_watts == 10.0


def test_unknown_is_not_nothing() -> None:
    """No reading, no command, no epoch: None."""
    told = state()
    assert (told.power_watts, told.energy_joules, told.elapsed_seconds) == (None, None, None)
    assert (told.epochs_done, told.epochs_planned, told.left_seconds, told.phase) == (None, None, None, "starting")
    assert state(spawned(0.0), sample(0.0, None), sample(2.0, None)).energy_joules is None


def test_last_json_and_the_log_may_hold_the_same_sample() -> None:
    """Neither twice nor backwards."""
    told = state(spawned(0.0), sample(0.0, 0.0), sample(9.0, 90.0), sample(9.0, 90.0), sample(6.0, 60.0))
    assert (told.energy_joules, told.power_watts) == (90.0, 10.0)
    assert told.reading_age_seconds == 1.0


def test_epochs_and_the_time_to_go() -> None:
    """What is predicted of the whole job, less what has passed of it; never less than nothing."""
    told = state(spawned(2.0), epoch(1, "start"), epoch(1), epoch(2, "start"), predicted(20.0), at=10.0)
    assert (told.epochs_done, told.epochs_planned) == (1, 4)
    assert told.left_seconds == Interval(12.0, 10.0, 16.0)
    assert state(spawned(0.0), predicted(5.0), at=5.5).left_seconds == pytest.approx(Interval(0.0, 0.0, 0.5))
    assert state(spawned(0.0), epoch(3, of=None)).epochs_planned is None


@pytest.mark.parametrize(("methods", "words"), [("cc", "no"), ("ce", "partly"), ("ee", "all")])
def test_an_estimate_is_known_as_one(methods: str, words: str) -> None:
    """By the devices that count."""
    names = {"c": "counter", "e": "estimate"}
    live = Live(start(*(device(f"d{at}", method=names[letter]) for at, letter in enumerate(methods))))
    assert live.state(BEGAN).estimated == words


RUN = state(spawned(0.0), sample(0.0, 0.0), epoch(1), predicted(60.0), sample(10.0, 100.0))


def seen(told: State = RUN, **more: Any) -> Seen:
    """Give a run whose sampler is alive."""
    return Seen(77, "ada", "/home/ada/greenrun-logs/RUN", told, **more)


def test_the_table() -> None:
    """A line a run, its directory below, and no mark where all was measured."""
    assert statustext.render([seen()]) == (
        "greenrun: one run is being measured on this host\n"
        "  run   power          energy  epoch  runs for  to go\n"
        "  job  10.0 W  100 J of 300 J    1/4      10 s   50 s\n"
        "    /home/ada/greenrun-logs/RUN\n"
    )
    assert statustext.render([]) == "greenrun: nothing is being measured on this host\n"
    assert "  ada  " in statustext.render([seen()], users=True)
    assert "greenrun-logs" not in statustext.render([seen()], paths=False)


def test_an_estimate_is_marked() -> None:
    """At each figure, with a line that says what the mark means."""
    text = statustext.render([seen(RUN._replace(estimated="partly"))])
    assert "10.0 W*  100 J* of 300 J" in text
    assert "* estimated in whole or in part, not measured" in text
    assert "*" not in statustext.render([seen()])


def test_what_cannot_be_read_is_listed_with_the_reason() -> None:
    """Beside the others, and whose it is."""
    text = statustext.render([seen(), Seen(78, "eve", None, None, "its log has not answered within 2 s")])
    assert "greenrun: 2 runs are being measured" in text
    assert "  sampler 78 of eve: its log has not answered within 2 s\n" in text
    assert statustext.render([Seen(78, None, None, None, "no")]).endswith("on this host\n  sampler 78: no\n")


def test_an_old_reading_is_said_to_be_old() -> None:
    """A daemon that was stopped shows figures of the past."""
    assert "the newest reading is 40 s old" not in statustext.render([seen(RUN._replace(reading_age_seconds=9.0))])
    assert "the newest reading is 40.0 s old" in statustext.render([seen(RUN._replace(reading_age_seconds=40.0))])


def test_one_line_for_where_nothing_is_redrawn() -> None:
    """Unknown figures are left out."""
    assert statustext.line(seen()) == ("job: power 10.0 W, energy 100 J of 300 J, epoch 1/4, runs for 10 s, to go 50 s")
    assert statustext.line(seen(state(spawned(0.0)))) == "job: runs for 10 s"
    assert statustext.line(Seen(5, None, None, None, "gone")) == "sampler 5: gone"


def test_the_document() -> None:
    """Figures as they are; unknown is null."""
    (told,) = json.loads(statustext.document([seen()]))["runs"]
    assert (told["energy_joules"], told["power_watts"], told["epochs_done"]) == (100.0, 10.0, 1)
    assert told["left_seconds"] == {"value": 50.0, "low": 44.0, "high": 62.0}
    assert told["prediction"]["co2e_grams"] is None
    assert (told["run_dir"], told["user"], told["reason"]) == ("/home/ada/greenrun-logs/RUN", "ada", None)
    (broken,) = json.loads(statustext.document([Seen(5, None, None, None, "gone")]))["runs"]
    assert broken == {"sampler_pid": 5, "user": None, "run_dir": None, "reason": "gone"}


def columns(text: str) -> int:
    """Give the columns of a terminal that a text takes."""
    wide = sum(unicodedata.east_asian_width(letter) in ("W", "F") for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def test_wide_letters_keep_the_columns_below_each_other() -> None:
    """Letters of East Asia take two columns each."""
    wide = RUN._replace(name="\u9031" * 50)
    _, header, first, _, second, _ = statustext.render([seen(wide), seen()]).splitlines()
    assert columns(first) == columns(second) == columns(header) == 80
    assert first.startswith("  \u9031\u9031")


@given(st.text(max_size=60), st.floats(0.0, 1e15), st.floats(0.0, 1e8), st.integers(70, 80), st.booleans())
def test_no_line_is_wider_than_asked(name: str, joules: float, seconds: float, width: int, users: bool) -> None:
    """Whatever a run is called, and no character moves the cursor."""
    told = RUN._replace(name=name, energy_joules=joules, power_watts=joules, elapsed_seconds=seconds)
    text = statustext.render([seen(told, reason=None), seen()], width, users=users, paths=False)
    for line in text.splitlines():
        assert columns(line) <= width
        assert line.isprintable()


def test_after_the_exit_the_time_stands_still() -> None:
    """The sampler has work left; the command has not."""
    told = state(spawned(0.0), sample(0.0, 0.0), sample(4.0, 4.0), exited(4.0), at=6.0)
    assert (told.phase, told.elapsed_seconds) == ("ending", 4.0)
    assert statustext.line(seen(told)).endswith("to go ending")
