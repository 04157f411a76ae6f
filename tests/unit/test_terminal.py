"""The summary as text: what it says, in which order, and how wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.logs import device, exited, intensity, sample, spawned, start, warning

from greenrun.reports import predicted, terminal, units
from greenrun.reports.account import account
from greenrun.sampler import runlog

GOLDEN = Path(__file__).parent / "data" / "two-sockets"

ESTIMATED = device("cpu", method="estimate", percent=50.0, name="Xeon")


def log(*more: dict[str, Any], entry: dict[str, Any] = ESTIMATED, joules: float = 100.0) -> list[Any]:
    """Give the log of a run of two seconds on one device."""
    return [start(entry), *more, spawned(0.0), sample(0.0, 0.0), sample(2.0, joules), exited(2.0)]


def test_the_golden_summary() -> None:
    """Two sockets with psys, two GPUs by their power, an hour boundary: word for word."""
    record = account(runlog.read(str(GOLDEN)))
    assert terminal.render(record) == (GOLDEN / "summary.txt").read_text()


def test_an_estimate_says_so_first() -> None:
    """Where nothing is metered the second line says it, before any figure could be taken for measured."""
    lines = terminal.render(account(log())).splitlines()
    assert lines[0] == "greenrun: the command ran for 2.00 s and exited with 0"
    assert lines[1].endswith("100 J +-50 %, estimated, no meter on this machine")
    metered = terminal.render(account(log(entry=device("cpu"))))
    assert "no meter" not in metered
    assert "counted by the hardware" in metered


def test_a_meter_out_of_reach_is_not_called_missing() -> None:
    """Where a counter is there and may not be read, the estimate does not say that there is none."""
    finding = {"source": "rapl", "subject": "package-0", "status": "forbidden", "sentence": "No.", "remedy": "Ask."}
    events = [start(ESTIMATED, findings=[finding]), *log()[1:]]
    assert terminal.render(account(events)).splitlines()[1].endswith("estimated, no meter could be read")


def test_an_estimate_beside_a_meter_says_so_on_its_own_line() -> None:
    """One meter is a meter: the total is called estimated in part, and the part says which."""
    entries = [device("package-0"), device("ram", kind="dram", method="estimate", percent=50.0)]
    events = [start(*entries), spawned(0.0), sample(0.0, 0.0, 0.0), sample(2.0, 10.0, 5.0), exited(2.0)]
    text = terminal.render(account(events))
    assert text.splitlines()[1].endswith(", partly estimated")
    assert "no meter" not in text
    assert "    memory    5.00 J +-50 %, estimated, ram\n" in text


def test_a_modelled_counter_is_not_called_measured() -> None:
    """Under a hypervisor the counter's words are its own."""
    text = terminal.render(account(log(entry=device("cpu", trusted=False))))
    assert "counted by the hardware" not in text
    assert "hypervisor" in text


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (exited(2.0, 7), "exited with 7"),
        (exited(2.0, None, signal=15), "ended by SIGTERM"),
        (exited(2.0, None, signal=40), "ended by signal 40"),
        (exited(2.0, None), "ran for 2.00 s; how it ended is unknown"),
    ],
)
def test_how_the_command_ended(ending: dict[str, Any], words: str) -> None:
    """Exit code, signal by name, or unknown."""
    assert words in terminal.render(account([*log()[:-1], ending])).splitlines()[0]


def test_a_partial_record_says_so_in_its_first_line() -> None:
    """A killed run must not look like a whole one."""
    first = terminal.render(account(log()[:-1])).splitlines()[0]
    assert first == "greenrun: partial record: the command ran for at least 2.00 s"


def test_a_command_that_never_started() -> None:
    """Its exit code and the reason, and no figure."""
    event = {"event": "not-started", "t": 0.1, "exit_code": 127, "reason": "nosuch: not found"}
    text = terminal.render(account([start(ESTIMATED), event]))
    assert text == "greenrun: the command was not started (exit code 127)\n  warning     nosuch: not found\n"


def test_the_range_and_the_source_of_the_grams() -> None:
    """CO2e has its range; the intensity its source, year and reason."""
    event = intensity(360.0, uncertainty_percent=100.0, country=None, note="the world average", how="unknown")
    text = terminal.render(account(log(event)))
    assert "10.0 mg (0 to 21.2 mg at 95 %)" in text
    assert "360 g/kWh +-100 %, the world average, lifecycle emissions of 2025" in text
    assert "PUE       1, assumed" in text


def test_unknown_grams_are_not_nothing() -> None:
    """Without an intensity CO2e is unknown."""
    assert "  CO2e        unknown\n" in terminal.render(account(log()))


def test_the_log_directory_stands_last_and_whole() -> None:
    """A path is there to be copied, however long it is."""
    path = "greenrun-logs/" + "very-long-name-" * 10
    assert terminal.render(account(log()), path).splitlines()[-1] == f"  log         {path}"


@given(st.text(max_size=200), st.floats(min_value=0.0, max_value=1e12), st.integers(min_value=40, max_value=120))
def test_no_line_is_wider_than_asked(text: str, joules: float, width: int) -> None:
    """Whatever devices and warnings are called, lines stay in their columns and no character moves the cursor."""
    entry = device("cpu", name=text)
    events = log(intensity(100.0), warning(1.0, "source", text or "?"), entry=entry, joules=joules)
    rendered = terminal.render(account(events), width=width)
    for line in rendered.splitlines():
        assert len(line) <= width
        assert line.isprintable()
    assert rendered.splitlines() == rendered.rstrip("\n").split("\n")


def test_the_line_of_a_prediction() -> None:
    """Each amount with its range; what is unknown is left out."""
    fields: dict[str, Any] = {
        "after_epoch": 1,
        "epochs": 10,
        "duration_seconds": {"value": 12.0, "low": 11.0, "high": 13.0},
        "energy_joules": {"value": 1000.0, "low": 900.0, "high": 1100.0},
        "co2e_grams": None,
    }
    assert predicted.line(fields, estimated=False) == (
        "greenrun: after epoch 1 of 10, the whole job is predicted to take 12.0 s (11.0 to 13.0 s), "
        "1000 J (900 to 1100 J); 90 % ranges of the prediction alone"
    )
    fields["duration_seconds"] = {"value": 104.0, "low": 73.2, "high": 134.0}
    assert "take 104 s (73.2 s to 2 min 14 s), " in predicted.line(fields, estimated=False)
    fields["duration_seconds"] = {"value": 200.0, "low": 120.0, "high": 300.0}
    assert "(2 min 0 s to 5 min 0 s), " in predicted.line(fields, estimated=False)
    fields["co2e_grams"] = {"value": 0.1, "low": 0.0, "high": 1.2}
    assert ", 100 mg CO2e (0 to 1.20 g); 90 % ranges of the prediction alone, from energy that is estimated" in (
        predicted.line(fields, estimated=True)
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (units.energy(0.0), "0 J"),
        (units.energy(0.0123), "12.3 mJ"),
        (units.energy(0.9999), "1.00 J"),
        (units.energy(3590.0), "3590 J"),
        (units.energy(3600.0), "1.00 Wh"),
        (units.energy(5.4e6), "1.50 kWh"),
        (units.energy(360.0, 7200.0), "0.100 Wh"),
        (units.energy(0.0, 7200.0), "0 Wh"),
        (units.mass(0.0), "0 g"),
        (units.mass(1.5e-7), "0.150 ug"),
        (units.mass(1234.0), "1.23 kg"),
        (units.duration(0.0), "0 s"),
        (units.duration(0.5), "500 ms"),
        (units.duration(119.4), "119 s"),
        (units.duration(119.9), "2 min 0 s"),
        (units.duration(3600.0), "1 h 0 min"),
        (units.duration(90061.0), "1 d 1 h"),
        (units.percent(4.5), "4.5 %"),
        (units.percent(0.0), "0 %"),
        (units.percent(99.9), "100 %"),
    ],
)
def test_amounts_in_units_of_the_right_size(text: str, words: str) -> None:
    """Three digits and a unit; ends of scales are rounded before the unit is chosen."""
    assert text.replace(units.NO_BREAK, " ") == words
