"""The tables that are shipped are plausible, and what would be implausible is seen."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from data_checks import (
    CLOUDS,
    COUNTRIES,
    DIRECT,
    ELECTRICITYMAPS,
    FIGURES,
    LEAST_ROWS,
    REGIONS,
    TERRITORIES,
    complaints,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).resolve().parents[2] / "intensity" / "data"
CROSSCHECK = Path(__file__).resolve().parent / "data" / "crosscheck.csv"

Cells = dict[str, str]


def rows_of(path: Path) -> list[Cells]:
    """Read a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def changed(data: Path, name: str, change: Callable[[list[Cells]], None]) -> list[str]:
    """Change the rows of a table in a copy of the data, and give what is said of it."""
    shutil.copytree(DATA, data)
    rows = rows_of(data / name)
    columns = list(rows[0])
    change(rows)
    with (data / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return complaints(data, CROSSCHECK)


def having(column: str, value: str, **new: str) -> Callable[[list[Cells]], None]:
    """Change the one row that has the value in the column."""

    def change(rows: list[Cells]) -> None:
        (row,) = [row for row in rows if row[column] == value]
        row.update(new)

    return change


def times(code: str, factor: float) -> Callable[[list[Cells]], None]:
    """Multiply a country's figure."""

    def change(rows: list[Cells]) -> None:
        (row,) = [row for row in rows if row["iso2"] == code]
        row["gco2e_per_kwh"] = str(factor * float(row["gco2e_per_kwh"]))

    return change


def test_what_is_shipped_is_plausible() -> None:
    """Two hundred countries, the world, zones and clouds hold to all of the checks."""
    assert complaints(DATA, CROSSCHECK) == []


def test_what_is_shipped_is_as_much_as_is_said() -> None:
    """213 countries and the world, 51 states, 30 provinces, 8 states of Australia, 8 Nordic zones, 352 zones."""
    assert len(rows_of(DATA / COUNTRIES)) == 214
    regions = [row["zone"].split("-")[0] for row in rows_of(DATA / REGIONS)]
    assert {code: regions.count(code) for code in set(regions)} == {"US": 51, "CN": 30, "AU": 8, "SE": 3, "NO": 5}
    assert len(rows_of(DATA / ELECTRICITYMAPS)) == 352


def test_what_may_not_be_shipped_is_not() -> None:
    """No single transcription of Canada's provinces or of EPA's subregions, and nothing hourly."""
    zones = [row["zone"] for row in rows_of(DATA / REGIONS)]
    assert not [zone for zone in zones if zone.startswith(("CA-", "EGRID"))]
    assert {path.name for path in DATA.rglob("*.csv")} == {Path(name).name for name in (*FIGURES, TERRITORIES, CLOUDS)}


CHANGES = [
    (COUNTRIES, having("iso2", "FR", gco2e_per_kwh="1500.1"), "FR (lifecycle) has 1500.1 g/kWh"),
    (COUNTRIES, having("iso2", "AW", gco2e_per_kwh="-1"), "AW (lifecycle) has -1 g/kWh"),
    (COUNTRIES, having("iso2", "AW", gco2e_per_kwh="nan"), "AW (lifecycle) has nan g/kWh"),
    (COUNTRIES, having("iso2", "AW", year=""), "AW (lifecycle) has no year"),
    (COUNTRIES, having("iso2", "AW", licence=""), "AW (lifecycle) has no licence"),
    (COUNTRIES, having("iso2", "AW", source="", accounting=""), "AW (lifecycle) has no accounting and no source"),
    (COUNTRIES, having("iso2", "AW", basis="direct"), "AW (direct) is of the basis direct"),
    (COUNTRIES, having("iso2", "AW", year="1985"), "AW (lifecycle) is of the year 1985"),
    (COUNTRIES, having("iso2", "AW", iso2="AWX"), "ABW and AWX are no codes of a country"),
    (COUNTRIES, having("iso2", "AW", iso2="AF"), "AF (lifecycle) is there 2 times"),
    (COUNTRIES, having("iso3", "WLD", gco2e_per_kwh="399"), "the world has [399.0] g/kWh"),
    (COUNTRIES, having("iso3", "WLD", gco2e_per_kwh="521"), "the world has [521.0] g/kWh"),
    (COUNTRIES, having("iso3", "WLD", iso3="ABC"), "the world has [] g/kWh"),
    (COUNTRIES, having("iso2", "ZA", iso2="ZZ"), "ZA has None g/kWh"),
    (COUNTRIES, having("iso2", "AW", iso2="JE"), "JE has a row of its own"),
    (COUNTRIES, lambda rows: rows.__delitem__(slice(20)), "194 rows, fewer than 200"),
    (DIRECT, having("iso2", "SE", gco2e_per_kwh="80"), "SE has 80 g/kWh, more than its life cycle allows"),
    (DIRECT, having("iso2", "SE", iso2="ZZ"), "ZZ is not in country_intensity.csv"),
    (DIRECT, having("iso2", "SE", basis="lifecycle"), "SE (lifecycle) is of the basis lifecycle"),
    (DIRECT, having("iso2", "SE", licence="ODbL 1.0"), "what is under the ODbL has its own file"),
    (REGIONS, having("zone", "US-CA", zone="CA-US"), "CA-US does not begin with its country, US"),
    (REGIONS, having("zone", "US-CA", country="ZZ"), "US-CA is in ZZ, which no table knows"),
    (REGIONS, having("zone", "US-CA", zone="US-CO"), "US-CO (direct) is there 2 times"),
    (REGIONS, having("zone", "US-CA", basis="marginal"), "US-CA (marginal) is of the basis marginal"),
    (REGIONS, having("zone", "US-CA", licence="ODbL 1.0"), "US-CA (direct) is under ODbL 1.0"),
    (REGIONS, lambda rows: rows.__delitem__(slice(10)), f"87 rows, fewer than {LEAST_ROWS[REGIONS]}"),
    (ELECTRICITYMAPS, having("zone", "DE", licence="CC BY 4.0"), "DE (lifecycle) is under CC BY 4.0"),
    (ELECTRICITYMAPS, having("zone", "DE", gco2e_per_kwh="34200"), "DE (lifecycle) has 34200 g/kWh"),
    (ELECTRICITYMAPS, having("zone", "SE-SE3", zone="SE-SE9"), "aws eu-north-1 is in SE-SE3, which is no zone of SE"),
    (TERRITORIES, having("iso2", "JE", parent="ZZ"), "ZZ, which stands in for JE, is not in"),
    (CLOUDS, having("region", "eu-north-1", zone="NO-NO1"), "aws eu-north-1 is in NO-NO1, which is no zone of SE"),
    (CLOUDS, having("region", "us-west-2", country="ZZ"), "aws us-west-2 is in ZZ, which no table knows"),
    (CLOUDS, having("region", "us-west-2", region="us-west-1"), "aws us-west-1 is there 2 times"),
    (CLOUDS, having("region", "us-west-2", place=""), "aws us-west-2 has no place"),
    (CLOUDS, having("region", "us-west-2", provider="asw"), "1 regions of asw"),
    (CLOUDS, lambda rows: rows.__delitem__(slice(10)), "29 regions of aws"),
]


@pytest.mark.parametrize(("name", "change", "words"), CHANGES, ids=[words for _, _, words in CHANGES])
def test_what_is_implausible_is_seen(
    tmp_path: Path, name: str, change: Callable[[list[Cells]], None], words: str
) -> None:
    """One row changed, and the check that is there for it says which."""
    said = changed(tmp_path / "data", name, change)
    assert [line for line in said if line.startswith((name, CLOUDS, TERRITORIES)) and words in line], said


@pytest.mark.parametrize("code", [row["iso2"] for row in rows_of(CROSSCHECK)])
def test_a_figure_twice_as_high_is_seen(tmp_path: Path, code: str) -> None:
    """For each of the twenty countries the other sources bind it closer than a factor of two."""
    (said,) = changed(tmp_path / "data", COUNTRIES, times(code, 2.0))
    assert f"{code} has" in said
    assert "others say" in said


def test_twenty_countries_are_held_against_three_sources() -> None:
    """The cross-check has twenty countries, and no figure of ours among those that they are held against."""
    rows = rows_of(CROSSCHECK)
    assert len(rows) == 20
    ours = {row["iso2"]: float(row["gco2e_per_kwh"]) for row in rows_of(DATA / COUNTRIES)}
    for row in rows:
        others = [float(value) for name, value in row.items() if name not in ("iso2", "codecarbon_year")]
        assert len(others) == 3
        assert ours[row["iso2"]] not in others
