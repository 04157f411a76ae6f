"""Every format of the registry, from the same record: as its golden file, and with the figures of summary.json.

To make the golden files anew after a change that is meant, run this file with the name of a folder.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest

from greenrun.reports import formats, intervals, tables
from greenrun.reports.account import account
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parent / "data" / "two-sockets"
JOULES = {"MWh": 3.6e9, "kWh": 3.6e6, "Wh": 3.6e3, "kJ": 1e3, "J": 1.0, "mJ": 1e-3}
GRAMS = {"t": 1e6, "kg": 1e3, "g": 1.0, "mg": 1e-3, "ug": 1e-6, "\u00b5g": 1e-6}
NUMBER = r"(?<![\w.-])(\d+(?:\.\d+)?(?:e-?\d+)?)"

FILES = {
    "csv": "csv.golden.csv",
    "jsonl": "jsonl.golden.jsonl",
    "openmetrics": "openmetrics.golden.prom",
    "codecarbon": "codecarbon.golden.csv",
    "carbontracker": "carbontracker.golden.log",
    "carbontracker-output": "carbontracker-output.golden.log",
    "markdown": "markdown.golden.md",
    "statement": "statement.golden.md",
    "latex": "latex.golden.tex",
    "bibtex": "bibtex.golden.bib",
    "huggingface": "huggingface.golden.yaml",
}
INTERVALS = {"csv": "intervals.golden.csv", "openmetrics": "intervals.golden.prom"}

# What a format is not about: its own readers want neither.
WITHOUT_ENERGY = {"bibtex", "huggingface", "carbontracker"}
WITHOUT_EMISSIONS = {"bibtex", "carbontracker"}


def golden_run() -> formats.Told:
    """Give the run of the golden files."""
    events = runlog.read(str(GOLDEN))
    return formats.Told(account(events), events)


RUN = golden_run()


def told(name: str) -> str:
    """Give the run in a format; what a table has in columns is given in words, with names and units."""
    data = formats.render_runs(name, [RUN])
    if isinstance(data, str):
        return data
    assert name == "parquet", "a format that is no text has to be judged here"
    return json.dumps(pyarrow.parquet.read_table(pyarrow.BufferReader(data)).to_pylist(), default=str)


@pytest.mark.parametrize("name", sorted(FILES))
def test_golden_file(name: str) -> None:
    """What is written is what was looked at."""
    assert (GOLDEN / FILES[name]).read_bytes().decode() == told(name)


@pytest.mark.parametrize("name", sorted(INTERVALS))
def test_golden_intervals(name: str) -> None:
    """By the interval too."""
    assert (GOLDEN / INTERVALS[name]).read_bytes().decode() == formats.render_intervals(name, [RUN], 50.0)


@pytest.mark.parametrize("name", sorted(formats.FORMATS))
def test_figures_agree(name: str) -> None:
    """Each energy and each mass with a unit is a figure of summary.json, to the digit shown."""
    text = visible(told(name))
    for unit, joules in JOULES.items():
        for shown in re.findall(rf"{NUMBER}[ \xa0]{unit}(?![\w/])", text):
            assert any(agrees(shown, value / joules) for value in energies()), f"{shown} {unit}"
    for unit, grams in GRAMS.items():
        for shown in re.findall(rf"{NUMBER}[ \xa0]{unit}(?![\w/])", text):
            assert any(agrees(shown, value / grams) for value in masses()), f"{shown} {unit}"
    for shown in re.findall(rf"{NUMBER}[ \xa0]g(?:CO2eq)?/kWh", text):
        assert any(agrees(shown, value) for value in of_names(RUN.record, "grams_per_kwh")), f"{shown} g/kWh"


@pytest.mark.parametrize("name", sorted(set(formats.FORMATS) - WITHOUT_ENERGY))
def test_energy_is_told(name: str) -> None:
    """The energy is there, without PUE or with it, to three digits at least."""
    wanted = (RUN.record["energy_joules"]["total"], (RUN.record["facility_energy_kwh"] or 0.0) * 3.6e6)
    assert shows(told(name), [value / unit for value in wanted if value for unit in (1.0, 3.6e3, 3.6e6)])


@pytest.mark.parametrize("name", sorted(set(formats.FORMATS) - WITHOUT_EMISSIONS))
def test_emissions_are_told(name: str) -> None:
    """And so are the emissions."""
    grams = RUN.record["co2e_grams"]
    assert grams
    assert shows(told(name), [grams, grams / 1000.0])


def test_intervals_add_up() -> None:
    """Whatever their length, their energies are the run's, and so are their emissions."""
    for seconds in (0.7, 7.0, 50.0, 1000.0):
        found = list(intervals.intervals(RUN, seconds))
        counted = [interval for interval in found if interval.device["counted"]]
        assert math.fsum(i.energy_joules or 0.0 for i in counted) == pytest.approx(97200.0, rel=1e-12)
        assert math.fsum(i.co2e_grams or 0.0 for i in counted) == pytest.approx(4.887, rel=1e-9)
        assert {i.to_seconds for i in found} == {min(120.0, (n + 1) * seconds) for n in range(math.ceil(120 / seconds))}


def test_the_same_in_every_table() -> None:
    """CSV and Parquet have the same cells; each number is the record's to the last digit."""
    row = dict(zip((column.name for column in tables.of_runs([]).columns), tables.row(RUN.record), strict=True))
    (stored,) = json.loads(told("parquet"))
    assert stored | {"started_at": None} == row | {"started_at": None}
    assert stored["started_at"] == "2026-01-01 10:59:01+00:00"
    assert row["energy_joules"] == RUN.record["energy_joules"]["total"]
    assert row["co2e_high_grams"] == RUN.record["co2e_high_grams"]


def visible(text: str) -> str:
    """Give the text of a page without its scripts and styles, and any other text as it is.

    Without the course of the run too: its figures are of moments in between, which summary.json does not have.
    """
    text = re.sub(r"(?is)<(script|style)\b.*?</\1>", " ", text)
    text = re.sub(r"(?s)<table><caption>The run over time.*?</table>", " ", text)
    return re.sub(r"<[^>]*>", " ", text).replace("&nbsp;", "\xa0") if "<html" in text else text


def agrees(shown: str, value: float) -> bool:
    """Tell whether a number is a value, rounded to the digits that are shown."""
    mantissa, _, exponent = shown.partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return abs(float(shown) - value) <= 0.5000001 * 10.0**-digits


def shows(text: str, values: list[float]) -> bool:
    """Tell whether one of some values is in a text, to three digits at least."""
    numbers = [shown for shown in re.findall(NUMBER, visible(text)) if len(re.sub(r"\D|^[0.]+", "", shown)) >= 3]
    return any(agrees(shown, value) and value > 0.5 * float(shown) for shown in numbers for value in values)


def of_names(document: Any, *endings: str) -> Iterator[float]:
    """Give the numbers of a document whose name, or the name of what they are in, ends in one of some words."""

    def walk(value: Any, named: bool) -> Iterator[float]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, name.endswith(endings) or (named and name != "uncertainty_percent"))
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner, named)
        elif named and isinstance(value, (int, float)):
            yield float(value)

    return walk(document, False)


def energies() -> list[float]:
    """Give all energies of the record in joules, and the few that are made of them."""
    joules = [*of_names(RUN.record, "joules"), *(kwh * 3.6e6 for kwh in of_names(RUN.record, "_kwh"))]
    epochs = [epoch["energy_joules"] or 0.0 for epoch in RUN.record["epochs"]]
    by_name: dict[tuple[str, str], float] = {}
    for device in RUN.record["devices"]:
        key = (device["kind"], device["method"])
        by_name[key] = by_name.get(key, 0.0) + (device["energy_joules"] or 0.0)
    return [*joules, math.fsum(epochs) / len(epochs), *by_name.values()]


def masses() -> list[float]:
    """Give all emissions of the record in grams."""
    return list(of_names(RUN.record, "_grams"))


if __name__ == "__main__":
    for format_name, file_name in FILES.items():
        Path(sys.argv[1], file_name).write_bytes(told(format_name).encode())
    for format_name, file_name in INTERVALS.items():
        data = formats.render_intervals(format_name, [RUN], 50.0)
        assert isinstance(data, str)
        Path(sys.argv[1], file_name).write_bytes(data.encode())
