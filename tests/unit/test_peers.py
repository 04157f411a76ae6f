"""The comparison with the peers: what they told is read right, and the tables say it, also where we are not first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import _document
import _harness
import pytest
from peers import tables, tools

LABELS = {"greenrun": "greenrun 9", "other": "other 1.2"}
TRUE = {"cpu": 200.0, "dram": 50.0, "gpu": 100.0, "total": 350.0, "cpu and dram": 250.0}


def told(status: int = 0, *, says_so: bool = False, alone: bool = False, **joules: float) -> dict[str, Any]:
    """Give one round in which a tool told these joules."""
    return {"told": joules, "true": TRUE, "status": status, "left_the_command_alone": alone, "says_so": says_so}


def energy(ours: list[dict[str, Any]], others: list[dict[str, Any]], name: str = "waves") -> tables.Table:
    """Give the table of one scenario."""
    return tables.energy({name: {"greenrun": ours, "other": others}}, {**LABELS, "perf": "perf 6"})


def cells(table: tables.Table, row: str) -> list[str]:
    """Give the cells of a row, without its name."""
    (found,) = (cells for name, *cells in table.rows if name == row)
    return found


def test_energy_errors() -> None:
    """An error is that of the kind, over several rounds a range; what is not told is no zero."""
    rounds = [told(cpu=202.0, gpu=90.0), told(cpu=190.0, gpu=90.0)]
    table = energy([told(cpu=201.0, dram=0.0, gpu=100.0, total=301.0)], rounds)
    assert table.columns == ["error of the energy told", "greenrun 9", "other 1.2"]
    assert cells(table, "waves: processors") == ["+0.5 %", "-5.0 to +1.0 %"]
    assert cells(table, "waves: memory") == ["-100.0 %", "not told"]
    assert cells(table, "waves: GPUs") == ["+0.0 %", "-10.0 %"]


def test_energy_in_one_figure() -> None:
    """Processors with their memory are held against both, and marked."""
    table = energy([told(cpu=200.0)], [told(cpu=250.0, joined=1.0)])
    assert cells(table, "waves: processors") == ["+0.0 %", "+0.0 % *"]
    assert any("`*`" in note for note in table.notes)


def test_no_record() -> None:
    """A tool without a record shows its status, and whether it left the command to itself."""
    table = energy([told(total=350.0)], [told(70, alone=True)])
    assert cells(table, "waves: all") == ["+0.0 %", "no record, exits 70, command left alone"]


def test_unreadable() -> None:
    """Whether a user is told of counters that may not be read is a row of its own."""
    table = energy([told(cpu=300.0, says_so=True)], [told(cpu=0.1)], "RAPL unreadable")
    assert cells(table, "RAPL unreadable: says so") == ["yes", "no"]


def test_not_first() -> None:
    """Where another is better the notes say by how much; the worst round counts, and a tenth of a point is noise."""
    behind = energy([told(cpu=200.0), told(cpu=206.0)], [told(cpu=198.0)])
    assert behind.notes[-1] == "- waves: processors: other -1.0 %, greenrun +0.0 to +3.0 % (2.0 points more)."
    equal = energy([told(cpu=200.1)], [told(cpu=200.0)])
    assert equal.notes == ["Greenrun is first, or equal, in every row where there is a first."]
    unknown = energy([told()], [told(cpu=200.0)])
    assert unknown.notes[-1] == "- waves: processors: other +0.0 %, greenrun no record, exits 0."


def test_cost() -> None:
    """Times have their ratio to a bare start; who is leaner is named."""
    figures = {
        "python_seconds": 0.020,
        "begins_seconds": {"greenrun": 0.050, "other": 2.0},
        "added_seconds": {"greenrun": 0.1, "other": 2.5},
        "megabytes": {"greenrun": 20.0, "other": 5.0},
        "processor_seconds_a_minute": {"greenrun": 0.05, "other": 0.0},
        "installed_megabytes": {"greenrun": 22.0, "other": None},
        "distributions": {"greenrun": 15, "other": 31},
    }
    table = tables.cost(figures, LABELS)
    assert cells(table, "until the command begins") == ["50 ms (2.5)", "2000 ms (100.0)"]
    assert cells(table, "installed") == ["22 MB", "-"]
    behind = [note for note in table.notes if note.startswith("- ")]
    assert behind == [
        "- memory, peak of all processes: other 5.0 MB, greenrun 20.0 MB (4.0 times as much).",
        "- processor time of a steady minute: other 0.000 s, greenrun 0.050 s "
        "(the other takes nothing that can be measured).",
    ]


def test_behaviour() -> None:
    """What becomes of the command and of the record is told in words."""
    seen = {
        "exit_7": 7,
        "died_by_term": -15,
        "bytes_on_stdout": 0,
        "option_arrives": True,
        "term": {"status": -15, "command_goes_on": False, "record": True},
        "kill": {"status": -9, "command_goes_on": True, "record": True},
        "unanswered_begins_seconds": 0.05,
    }
    worse = {**seen, "died_by_term": 0, "option_arrives": False, "kill": {**seen["kill"], "record": False}}
    table = tables.behaviour({"greenrun": seen, "other": worse}, LABELS)
    assert cells(table, "command dies by SIGTERM: status") == ["dies by SIGTERM, too", "0"]
    assert cells(table, "its own option among the command's") == ["arrives", "is taken away"]
    assert cells(table, "SIGTERM: the command") == ["ends", "ends"]
    assert cells(table, "SIGKILL: the command") == ["goes on", "goes on"]
    assert cells(table, "SIGKILL: a record") == ["yes", "no"]


def test_codecarbon_is_read(tmp_path: Path) -> None:
    """Its last line counts, in joules; without a file nothing is told."""
    assert tools.codecarbon_joules(str(tmp_path)) == {}
    rows = "cpu_energy,ram_energy,gpu_energy,energy_consumed\n1,1,1,1\n0.001,0.002,0.003,0.006\n"
    (tmp_path / "emissions.csv").write_text(rows)
    told = tools.codecarbon_joules(str(tmp_path))
    assert told == pytest.approx({"cpu": 3600.0, "dram": 7200.0, "gpu": 10800.0, "total": 21600.0})


def test_carbontracker_is_read(tmp_path: Path) -> None:
    """The total is without its PUE; of a kind it tells the mean power, which the time makes joules."""
    assert tools.carbontracker_joules(str(tmp_path)) == {}
    logs = tmp_path / "logs"
    logs.mkdir()
    power = "Average power usage (W) for"
    log = f"Epoch 1:\nDuration: 0:00:10.00\n{power} gpu: 200.5\n{power} cpu: None\n"
    (logs / "1_carbontracker.log").write_text(log)
    (logs / "1_carbontracker_output.log").write_text("Actual consumption:\n\tTime:\t0:00:10\n\tEnergy:\t0.00158 kWh\n")
    told = tools.carbontracker_joules(str(tmp_path))
    assert told == pytest.approx({"total": 3600.0, "gpu": 2005.0, "joined": 1.0})


@pytest.mark.parametrize("name", ["energy", "cost", "behaviour"])
def test_recorded(name: str) -> None:
    """The tables that are kept are those of the figures that are kept."""
    kept = json.loads((_harness.RESULTS / f"peers_{name}.json").read_text())
    table = getattr(tables, name)(kept["figures"]["measured"], kept["figures"]["labels"])
    assert table == tables.Table(kept["columns"], kept["rows"], kept.get("notes", []))


def test_page() -> None:
    """The page of figures is the one that the kept results make: nobody has written in it by hand."""
    assert _document.PAGE.read_text() == _document.page()
