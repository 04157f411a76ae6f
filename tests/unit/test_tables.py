"""Tables for programs: CSV that a spreadsheet cannot run, JSON Lines, Parquet, and text that Prometheus reads."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from typing import Any

import pyarrow.parquet
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as prometheus_families
from unit.data.logs import device, exited, intensity, sample, spawned, start

from greenrun.reports import codecarbon, csvtable, formats, jsonl, openmetrics, parquet, tables
from greenrun.reports.account import account
from greenrun.reports.formats import Told
from greenrun.reports.intervals import intervals

HOSTILE = '=cmd|\' /C calc\'!A0 "x", \\ {y="z"}\n\x1b[31m\u2028\ud800é'


def run(**more: Any) -> Told:
    """Give a run of ten seconds and 1000 J."""
    log = [start(device("cpu"), **more), intensity(360.0), spawned(0.0), sample(0.0, 0.0), sample(10.0, 1000.0)]
    events = [*log, exited(10.0)]
    return Told(account(events), events)


def unknown() -> Told:
    """Give a run of which neither energy nor intensity is known."""
    events = [start(), spawned(0.0), exited(10.0)]
    return Told(account(events), events)


def rows(text: str) -> list[dict[str, str]]:
    """Read CSV."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_gives_the_text_back() -> None:
    """Quotes, commas and new lines come through; a formula does not, nor an escape; and numbers stay numbers."""
    text = csvtable.render_runs([run(name=HOSTILE, host="-1"), run(name="a,b")])
    assert text.count("\r\n") == 3
    first, second = rows(text)
    name = HOSTILE.replace("\x1b", "\ufffd")
    assert (first["name"], first["host"], second["name"]) == (f"'{name}", "'-1", "a,b")
    assert first["energy_joules"] == "1000.0"


@pytest.mark.parametrize("name", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\uff1d1"])
def test_no_formula_in_a_table(name: str) -> None:
    """Whatever a spreadsheet takes for one is text, in codecarbon's columns too."""
    assert rows(csvtable.render_runs([run(name=name)]))[0]["name"] == f"'{name}"
    assert rows(codecarbon.render_runs([run(name=name)]))[0]["project_name"] == f"'{name}"


def test_unknown_is_empty_and_never_0() -> None:
    """In each table."""
    (row,) = rows(csvtable.render_runs([unknown()]))
    assert (row["energy_joules"], row["co2e_grams"], row["grams_per_kwh"], row["estimated"]) == ("", "", "", "false")
    (carbon,) = rows(codecarbon.render_runs([unknown()]))
    assert {carbon[name] for name in ("emissions", "energy_consumed", "cpu_power", "gpu_count", "water_consumed")} == {
        ""
    }
    text = openmetrics.render_runs([unknown()])
    assert "energy_joules" not in text
    assert "co2e" not in text


def test_jsonl_is_a_line_for_each_run() -> None:
    """Each is the whole record; nothing in it ends a line or commands a terminal."""
    told = jsonl.render_runs([run(name=HOSTILE.replace("\ud800", "")), run()])
    lines = told.split("\n")
    assert len(lines) == 3
    assert json.loads(lines[1]) == run().record
    assert "\x1b" not in told
    assert "\x9b" not in jsonl.render_runs([run(name="\x9b2J")])


def test_parquet_has_types() -> None:
    """Moments are timestamps, unknown is null, and any text is taken."""
    data = parquet.render_runs([run(name=HOSTILE), unknown()])
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
    assert str(table.schema.field("started_at").type) == "timestamp[ms, tz=UTC]"
    assert str(table.schema.field("exit_code").type) == "int64"
    assert table["energy_joules"].to_pylist() == [1000.0, None]
    assert table["name"].to_pylist()[0] == HOSTILE.replace("\ud800", "?")


def test_parquet_in_many_pieces() -> None:
    """More rows than are held at once make one file all the same."""
    columns = (tables.Column("n", "whole"),)
    pieces = list(parquet.pieces(tables.Table(columns, ((n,) for n in range(25_001)))))
    assert len(pieces) == 4
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(b"".join(pieces)))
    assert table["n"].to_pylist() == list(range(25_001))


def test_parquet_without_pyarrow() -> None:
    """Where it is missing a sentence says what would bring it."""
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from greenrun.reports import formats, parquet\n"
        "try: parquet.render_runs([])\n"
        "except formats.CannotTell as reason: print(reason)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'greenrun[tables]'" in told.stdout


@pytest.mark.parametrize("parse", [openmetrics_families, prometheus_families])
def test_prometheus_reads_it(parse: Any) -> None:
    """Both the new and the old parser do, and give names back as they were."""
    name = HOSTILE.replace("\x1b", "\ufffd").replace("\u2028", "\ufffd").replace("\ud800", "\ufffd")
    text = openmetrics.render_runs([run(name=HOSTILE), run(run_id="another")])
    families = {family.name: family for family in parse(text)}
    assert [sample.value for sample in families["greenrun_run_energy_joules"].samples] == [1000.0, 1000.0]
    assert families["greenrun_run_info"].samples[0].labels["name"] == name
    assert {family.type for family in families.values()} == {"gauge"}
    assert text.endswith("# EOF\n")


def test_prometheus_reads_intervals() -> None:
    """Each device's counter grows up to what it used, and every sample has its time."""
    (family,) = openmetrics_families(openmetrics.render_intervals([run(), run(run_id="b")], 4.0))
    assert family.type == "counter"
    assert [(sample.value, float(sample.timestamp)) for sample in family.samples[:3]] == [
        (400.0, 1767261604.0),
        (800.0, 1767261608.0),
        (1000.0, 1767261610.0),
    ]


def test_an_unread_stretch_is_unknown() -> None:
    """Before a device's first reading and after its last there is no energy, and no power where it is but a part."""
    log = [start(device("a"), device("b", from_t=70.0)), intensity(100.0), spawned(0.0), sample(0.0, 0.0, None)]
    log += [sample(70.0, 70.0, 0.0), sample(90.0, 90.0, 40.0), sample(100.0, 100.0, None), exited(100.0)]
    found = [i for i in intervals(Told(account(log), log), 20.0) if i.device["id"] == "b"]
    assert [i.energy_joules for i in found] == [None, None, None, 20.0, 20.0]
    assert [i.power_watts for i in found] == [None, None, None, None, None]


def test_hours_of_different_intensity() -> None:
    """An interval across the hour is charged with both, and their mean is by energy."""
    log = [start(device("a")), intensity(100.0, None, "2026-01-01T10:00:50Z"), intensity(300.0, "2026-01-01T10:00:50Z")]
    log += [spawned(0.0), sample(0.0, 0.0), sample(50.0, 3.6e6), sample(100.0, 4.8e6), exited(100.0)]
    (one,) = intervals(Told(account(log), log), 1000.0)
    assert one.co2e_grams == pytest.approx(100.0 + 100.0)
    assert one.grams_per_kwh == pytest.approx(150.0)


def test_too_many_intervals() -> None:
    """They are refused before any is made."""
    with pytest.raises(formats.CannotTell, match="10000000 rows"):
        formats.render_intervals("csv", [run()], 1e-6)
    with pytest.raises(formats.CannotTell, match="csv, jsonl, parquet, openmetrics"):
        formats.render_intervals("codecarbon", [run()], 1.0)


def test_a_command_that_never_ran() -> None:
    """It has a row and no intervals."""
    events = [start(device("cpu")), {"event": "not-started", "t": 0.0, "exit_code": 127, "reason": "not found"}]
    told = Told(account(events), events)
    assert rows(csvtable.render_runs([told]))[0]["status"] == "not-started"
    assert rows(formats.render_intervals("csv", [told], 1.0)) == []  # type: ignore[arg-type]


def test_codecarbon_has_its_units() -> None:
    """kWh, kg and watts, with PUE; the country by its three letters."""
    (row,) = rows(codecarbon.render_runs([run(config={"pue": 2.0})]))
    assert float(row["energy_consumed"]) == pytest.approx(2000.0 / 3.6e6)
    assert float(row["cpu_energy"]) == pytest.approx(2000.0 / 3.6e6)
    assert float(row["cpu_power"]) == pytest.approx(200.0)
    assert float(row["emissions"]) == pytest.approx(2000.0 / 3.6e6 * 0.36)
    assert float(row["emissions_rate"]) * 10.0 == pytest.approx(float(row["emissions"]))
    assert (row["country_name"], row["country_iso_code"], row["ram_energy"]) == ("Denmark", "DNK", "")
    assert row["timestamp"] == "2026-01-01T10:00:10"


@pytest.mark.parametrize(
    "wrong", [{"exit_code": "0"}, {"exit_code": 1 << 64}, {"duration_seconds": "1"}, {"exit_code": True}, {"host": 1}]
)
def test_a_cell_of_the_wrong_type(wrong: dict[str, Any]) -> None:
    """A record that somebody else wrote is refused, and not put into a column that it is not of."""
    with pytest.raises((TypeError, ValueError)):
        tables.row({**run().record, **wrong})  # type: ignore[typeddict-item]


def test_numbers_of_csv_come_back() -> None:
    """Not a digit is lost."""
    (row,) = rows(csvtable.render_runs([run()]))
    assert float(row["energy_kwh"]) == 1000.0 / 3.6e6
    assert math.isclose(float(row["co2e_grams"]), 0.1, rel_tol=1e-12)
