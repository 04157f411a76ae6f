"""carbontracker's logs: the lines that its own parser takes, and what that parser made of them when it was asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from unit.data.logs import device, epoch, exited, intensity, sample, spawned, start

from greenrun.reports import carbontracker, carbontracker_log, carbontracker_output
from greenrun.reports.account import account
from greenrun.reports.formats import CannotTell, Told

GOLDEN = Path(__file__).parent / "data" / "two-sockets"


def told(*events: Any) -> Told:
    """Give a run."""
    return Told(account(list(events)), list(events))


def test_its_parser_found_our_figures() -> None:
    """What carbontracker 2.4.7 read in the golden logs (benchmarks/other_tools.py asks it) is in summary.json."""
    summary = json.loads((GOLDEN / "summary.json").read_text())
    (parsed,) = json.loads((GOLDEN / "carbontracker.parsed.json").read_text())
    assert parsed["actual"]["energy (kWh)"] == pytest.approx(summary["facility_energy_kwh"], abs=1e-12)
    assert parsed["actual"]["co2eq (g)"] == pytest.approx(summary["co2e_grams"], abs=1e-12)
    assert parsed["actual"]["duration (s)"] == summary["duration_seconds"]
    components = parsed["components"]
    assert set(components) == {"cpu", "gpu", "dram"}
    for at, one in enumerate(summary["epochs"]):
        joules = sum(component["avg_energy_usages (J)"][at][0] for component in components.values())
        assert joules == pytest.approx(one["energy_joules"], abs=1e-4)
        assert components["cpu"]["epoch_durations (s)"][at] == one["duration_seconds"]


def test_our_own_reader_takes_it() -> None:
    """`greenrun predict --like` reads carbontracker's logs, and so these."""
    log = carbontracker.parse((GOLDEN / "carbontracker.golden.log").read_text())
    assert [epoch.energy_joules for epoch in log.epochs] == pytest.approx([24300.0] * 3)
    assert log.unread == ()
    assert not log.totals
    assert carbontracker.parse((GOLDEN / "carbontracker-output.golden.log").read_text()).totals


def test_a_run_without_epochs_is_one() -> None:
    """As in carbontracker's own command line."""
    text = carbontracker_log.render_runs(
        [told(start(device("c")), spawned(0.0), sample(0.0, 0.0), sample(90.5, 905.0), exited(90.5))]
    )
    assert text.count("Epoch ") == 1
    assert "Duration: 0:01:30.50\n" in text
    assert "for cpu: 10.000000\n" in text


def test_an_unread_epoch_is_none() -> None:
    """A device that was not read has no power, and nothing is left out of a sum in silence."""
    log = [start(device("a"), device("b", from_t=70.0)), spawned(0.0), sample(0.0, 0.0, None), epoch(0.0, 1, "start")]
    log += [epoch(50.0, 1, "end"), epoch(75.0, 2, "start"), sample(70.0, 70.0, 0.0), epoch(95.0, 2, "end")]
    text = carbontracker_log.render_runs([told(*log, sample(100.0, 100.0, 60.0), exited(100.0))])
    assert re.findall("for cpu: (.*)", text) == ["None", "3.000000"]


def test_names_stay_in_their_place() -> None:
    """A name cannot end the list that the parser reads, nor a line."""
    text = carbontracker_log.render_runs(
        [
            told(
                start(device("c", name="Xeon. GPU with device(s) x,\ny")),
                spawned(0.0),
                sample(0.0, 0.0),
                sample(1.0, 5.0),
                exited(1.0),
            )
        ]
    )
    assert "components were found: CPU with device(s) Xeon GPU with device s x y.\n" in text
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - ", line) for line in text.splitlines())


def test_what_it_cannot_tell() -> None:
    """Sums that are unknown, a command that never ran, two runs."""
    unknown = told(start(), spawned(0.0), exited(10.0))
    with pytest.raises(CannotTell, match="no energy is known"):
        carbontracker_output.render(unknown.record)
    no_grams = told(start(device("c")), spawned(0.0), sample(0.0, 0.0), sample(9.0, 9.0), exited(9.0))
    with pytest.raises(CannotTell, match="no CO2e is known"):
        carbontracker_output.render(no_grams.record)
    never = told(start(), {"event": "not-started", "t": 0.0, "exit_code": 127, "reason": "no"})
    with pytest.raises(CannotTell, match="never ran"):
        carbontracker_log.render_runs([never])
    with pytest.raises(CannotTell, match="one run at a time"):
        carbontracker_log.render_runs([unknown, unknown])
    assert intensity(1.0)
