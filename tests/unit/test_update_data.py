"""`make data`: the sources' own formats are read, and no table is replaced by one that is not right.

The files are written here, in the shapes that the sources publish; no network is asked but this machine's own.
"""

from __future__ import annotations

import csv
import http.server
import json
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data_checks
import data_sources
import data_tables
import openpyxl  # type: ignore[import-untyped]
import pytest
import update_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DATA = Path(__file__).resolve().parents[2] / "intensity" / "data"
POUNDS_PER_GRAM_PER_KWH = 1000.0 / 453.59237  # lb/MWh for 1 g/kWh

OWID_2024 = ("Entity", "Code", "Year", "Carbon intensity of electricity - gCO2/kWh")
OWID_2026 = ("entity", "code", "year", "co2_intensity__gco2_kwh", "owid_region")
MAPS_2024 = (
    "Datetime (UTC)",
    "Country",
    "Zone Name",
    "Zone Id",
    "Carbon Intensity gCO₂eq/kWh (direct)",
    "Carbon Intensity gCO₂eq/kWh (life cycle assessment)",
    "Low Carbon Percentage",
    "Renewable Percentage",
)
MAPS_2025 = (
    "Datetime (UTC)",
    "Country",
    "Zone name",
    "Zone id",
    "Carbon intensity gCO₂eq/kWh (direct)",
    "Carbon intensity gCO₂eq/kWh (Life cycle)",
    "Carbon-free energy percentage (CFE%)",
    "Renewable energy percentage (RE%)",
)


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Write a file as the sources do."""
    lines = [columns, *rows]
    return "".join(",".join(f'"{cell}"' if "," in str(cell) else str(cell) for cell in line) + "\n" for line in lines)


def workbook(path: Path, states: dict[str, float], nation: float, year: str = "23") -> Path:
    """Write a workbook with eGRID's sheets: descriptions, field names, data in lb/MWh; and others beside them."""
    book = openpyxl.Workbook()
    book.active.title = "Contents"
    book.create_sheet(f"PLNT{year}").append(["Plant state abbreviation"])
    sheet = book.create_sheet(f"ST{year}")
    sheet.append(["Data Year", "State abbreviation", "State annual CO2 equivalent total output emission rate (lb/MWh)"])
    sheet.append(["YEAR", "PSTATABB", "STC2ERTA"])
    for state, pounds in states.items():
        sheet.append([2000 + int(year), state, pounds])
    sheet = book.create_sheet(f"US{year}")
    sheet.append(["Data Year", "U.S. annual CO2 equivalent total output emission rate (lb/MWh)"])
    sheet.append(["YEAR", "USC2ERTA"])
    sheet.append([2000 + int(year), nation])
    book.save(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a copy of the tables."""
    return shutil.copytree(DATA, tmp_path / "data")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Give a folder with files in the sources' shapes, of which the tables as they are shipped come out."""
    folder = tmp_path / "sources"
    folder.mkdir()
    old = update_data.read(DATA)
    owid_codes = {"WLD": "OWID_WRL"}
    lines = [
        (row.name, owid_codes.get(row.iso3, row.iso3), year, grams, "")
        for row in old.countries
        for year, grams in ((row.year - 1, 999.0), (row.year, row.gco2e_per_kwh))
    ]
    groups = [("ASEAN (Ember)", "", 2025, 500.0, ""), ("European Union (27)", "OWID_EU27", 2025, 200.0, "")]
    (folder / "carbon-intensity-electricity.csv").write_text(csv_text(OWID_2026, [*groups, *lines]))
    pounds = {
        row.zone.removeprefix("US-"): row.gco2e_per_kwh * POUNDS_PER_GRAM_PER_KWH
        for row in old.regions
        if row.country == "US"
    }
    (nation,) = [row for row in old.direct if row.iso2 == "US"]
    workbook(
        folder / "egrid2023_data_rev2.xlsx", {**pounds, "PR": 1500.0}, nation.gco2e_per_kwh * POUNDS_PER_GRAM_PER_KWH
    )
    provinces = {
        row.zone: {
            "emission_factor": row.gco2e_per_kwh,
            "unit": "gCO2/kWh",
            "description": row.name,
            "year": row.year,
            "names": [],
        }
        for row in old.regions
        if row.country == "CN"
    }
    (folder / "china_provincial_emissions.json").write_text(json.dumps({"data": provinces, "metadata": {}}))
    zones = {
        row.zone[3:]: {
            "emission_factor": row.gco2e_per_kwh,
            "unit": "gCO2eq/kWh",
            "description": "",
            "year": row.year,
            "coverage": "99.59% (uncovered: Other 0.41%)",
        }
        for row in old.regions
        if row.country in ("SE", "NO")
    }
    (folder / "nordic_emissions.json").write_text(json.dumps({"data": zones, "metadata": {}}))
    for row in old.electricitymaps:
        line = ["2025-01-01 00:00:00", "", row.name, row.zone, "1.5", f"{row.gco2e_per_kwh + 0.31}", "50", "40"]
        (folder / f"{row.zone}_2025_yearly.csv").write_text(csv_text(MAPS_2025, [line]), encoding="utf-8")
    return folder


def run(sources: Path, data: Path) -> int:
    """Run the script offline."""
    return update_data.main(["--from", str(sources), "--into", str(data)])


def same(one: Path, other: Path) -> bool:
    """Tell whether two folders of tables are the same to the byte, with nothing beside the tables."""
    names = {path.relative_to(one) for path in one.rglob("*")}
    assert names == {path.relative_to(other) for path in other.rglob("*")}
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names if (one / name).is_file())


def test_the_sources_make_the_tables_that_are_shipped(
    sources: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From files of every source come the tables, to the byte, and nothing is said to differ."""
    assert run(sources, data) == 0
    assert same(data, DATA)
    assert capsys.readouterr().out.splitlines() == [
        "country_intensity.csv: 214 rows: 0 added, 0 removed, 0 changed",
        "direct_intensity.csv: 13 rows: 0 added, 0 removed, 0 changed",
        "region_intensity.csv: 97 rows: 0 added, 0 removed, 0 changed",
        "electricitymaps/zone_intensity.csv: 352 rows: 0 added, 0 removed, 0 changed",
    ]


def test_what_changed_is_told(sources: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows added and removed, and those that changed by more than a fifth; a smaller change only counts."""
    file = sources / "carbon-intensity-electricity.csv"
    rows = [line for line in file.read_text().splitlines() if "ASM" not in line]
    (algeria,) = [row.gco2e_per_kwh for row in update_data.read(DATA).countries if row.iso3 == "DZA"]
    rows += ["Albania,ALB,2026,30.3,", f"Algeria,DZA,2026,{1.19 * algeria},", "Atlantis,ATL,2026,1,"]
    file.write_text("\n".join(rows) + "\n")
    book = openpyxl.load_workbook(sources / "egrid2023_data_rev2.xlsx")
    book["ST23"].delete_rows(3)  # the first below the two headers
    book.save(sources / "egrid2023_data_rev2.xlsx")
    provinces = json.loads((sources / "china_provincial_emissions.json").read_text())
    del provinces["data"]["CN-AH"]
    (sources / "china_provincial_emissions.json").write_text(json.dumps(provinces))
    (sources / "DK-DK1_2025_yearly.csv").unlink()
    line = ["2025-01-01 00:00:00", "Denmark", "Middle Denmark", "DK-DK3", "1", "100", "1", "1"]
    (sources / "DK-DK3_2025_yearly.csv").write_text(csv_text(MAPS_2025, [line]), encoding="utf-8")
    assert run(sources, data) == 0
    assert capsys.readouterr().out.splitlines() == [
        "carbon-intensity-electricity.csv: no table knows the codes ATL; they are left out",
        "country_intensity.csv: 213 rows: 0 added, 1 removed, 2 changed",
        "  removed  ASM: 611.11 g/kWh",
        "  changed  ALB: 25.18 to 30.3 g/kWh, 2024 to 2026",
        "direct_intensity.csv: 13 rows: 0 added, 0 removed, 0 changed",
        "region_intensity.csv: 95 rows: 0 added, 2 removed, 0 changed",
        "  removed  CN-AH (direct): 655.3 g/kWh",
        "  removed  US-AK (direct): 369.4 g/kWh",
        "electricitymaps/zone_intensity.csv: 352 rows: 1 added, 1 removed, 0 changed",
        "  added    DK-DK3 (lifecycle): 100 g/kWh",
        "  removed  DK-DK1 (lifecycle): 112 g/kWh",
    ]
    assert len(update_data.read(data).countries) == 213


def test_a_territory_that_has_figures_now_is_told(
    sources: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A place may not be both a country with a row and a territory without one: territories.csv is kept by hand."""
    with (sources / "carbon-intensity-electricity.csv").open("a") as file:
        file.write("Palau,PLW,2026,500,\n")
    assert run(sources, data) == 1
    assert "territories.csv: PW has a row of its own in country_intensity.csv now" in capsys.readouterr().out
    assert same(data, DATA)


def test_what_is_implausible_changes_nothing(sources: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tonnes taken for grams, or kilograms: the tables stay, and the reason is said."""
    file = sources / "carbon-intensity-electricity.csv"
    file.write_text(file.read_text() + "World,OWID_WRL,2026,0.458,\n")
    assert run(sources, data) == 1
    told = capsys.readouterr().out
    assert "country_intensity.csv: the world has [0.46] g/kWh, not one figure between 400 and 520" in told
    assert "nothing is changed" in told
    assert same(data, DATA)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("carbon-intensity-electricity.csv", "<!doctype html>\n", "the file of Our World in Data has the columns"),
        ("carbon-intensity-electricity.csv", "entity,code,year,a\n", "not those expected"),
        ("egrid2023_data_rev2.xlsx", "no workbook", "File is not a zip file"),
        ("nordic_emissions.json", "<html>", "Expecting value"),
        ("nordic_emissions.json", "{}", "is of another shape than expected (KeyError: 'data')"),
        ("china_provincial_emissions.json", '{"data": {"CN-BJ": {"unit": "kg/kWh"}}}', "CN-BJ is in kg/kWh"),
        ("DE_2025_yearly.csv", "a,b\n1,2\n", "a file of Electricity Maps has the columns"),
    ],
)
def test_a_file_of_another_shape_changes_nothing(
    sources: Path, data: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, words: str
) -> None:
    """A page instead of a file, or other columns: a sentence, and the tables stay."""
    (sources / name).write_text(content)
    assert run(sources, data) == 1
    told = capsys.readouterr().out
    assert "nothing is changed: " in told
    assert words in told
    assert name in told
    assert same(data, DATA)


def test_a_source_that_is_missing_leaves_its_rows(
    sources: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one file alone the others' rows stay, and each of the others is named; with none nothing is done."""
    for path in sources.iterdir():
        if path.name != "nordic_emissions.json":
            path.unlink()
    fields = json.loads((sources / "nordic_emissions.json").read_text())
    fields["data"]["SE1"]["emission_factor"] = 18.0
    (sources / "nordic_emissions.json").write_text(json.dumps(fields))
    assert run(sources, data) == 0
    told = capsys.readouterr().out.splitlines()
    assert "  changed  SE-SE1 (lifecycle): 25.9 to 18 g/kWh, 2025 to 2025" in told
    assert "region_intensity.csv: 97 rows: 0 added, 0 removed, 1 changed" in told
    assert len([line for line in told if line.endswith("its rows stay as they are")]) == 4
    (sources / "nordic_emissions.json").unlink()
    assert run(sources, data) == 1
    assert "has none of the sources' files" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [OWID_2024, OWID_2026])
def test_our_world_in_data(columns: tuple[str, ...]) -> None:
    """The newest year with a figure of each country, whatever the columns are called; groups of countries are none."""
    lines = [
        ("Africa", "", 2024, 500.1, "")[: len(columns)],
        ("Denmark", "DNK", 2025, 114.414, "Europe")[: len(columns)],
        ("Denmark", "DNK", 2024, 120.0, "Europe")[: len(columns)],
        ("Denmark", "DNK", 2026, "", "Europe")[: len(columns)],
        ("Kosovo", "OWID_KOS", 2024, 1000.0, "Europe")[: len(columns)],
        ("World", "OWID_WRL", 2025, 458.29, "")[: len(columns)],
        ("European Union (27)", "OWID_EU27", 2025, 200.0, "")[: len(columns)],
        ("Nowhere", "NWH", 2025, 1.0, "")[: len(columns)],
    ]
    codes = {"DNK": "DK", "WLD": "", "XKX": "XK"}
    rows, unknown = data_sources.ember("\ufeff" + csv_text(columns, lines), codes)
    assert [(row.iso3, row.iso2, row.year, row.gco2e_per_kwh) for row in rows] == [
        ("DNK", "DK", 2025, 114.41),
        ("XKX", "XK", 2024, 1000.0),
        ("WLD", "", 2025, 458.29),
    ]
    assert unknown == ["NWH"]
    assert {(row.basis, row.accounting, row.licence) for row in rows} == {("lifecycle", "generation", "CC BY 4.0")}


def test_egrid(tmp_path: Path) -> None:
    """Pounds a megawatt hour become grams a kilowatt hour; Alabama's and Alaska's rates are those of 2023."""
    book = workbook(tmp_path / "book.xlsx", {"AL": 713.976, "AK": 814.457, "PR": 1548.6}, 770.884)
    states, nation = data_sources.egrid(book, {"US-AL": "Alabama", "US-AK": "Alaska"})
    assert [(row.zone, row.year, row.gco2e_per_kwh, row.name) for row in states] == [
        ("US-AL", 2023, 323.9, "Alabama"),
        ("US-AK", 2023, 369.4, "Alaska"),
    ]
    assert (nation.iso3, nation.year, nation.gco2e_per_kwh, nation.basis) == ("USA", 2023, 349.7, "direct")


def test_egrid_of_another_year_or_shape(tmp_path: Path) -> None:
    """The year is the sheets'; a workbook without them is refused in a sentence."""
    states, _ = data_sources.egrid(workbook(tmp_path / "b.xlsx", {"AL": 700.0}, 700.0, "24"), {"US-AL": "Alabama"})
    assert (states[0].year, states[0].source) == (2024, "EPA eGRID2024")
    openpyxl.Workbook().save(tmp_path / "empty.xlsx")
    with pytest.raises(ValueError, match="not one such as ST23"):
        data_sources.egrid(tmp_path / "empty.xlsx", {})
    book = openpyxl.Workbook()
    book.active.title = "ST23"
    book.save(tmp_path / "other.xlsx")
    with pytest.raises(ValueError, match="has no field PSTATABB"):
        data_sources.egrid(tmp_path / "other.xlsx", {})


def test_a_nordic_zone_that_is_poorly_covered_is_left_out() -> None:
    """What counts a seventh of the generation as 0 is no figure; one that says no coverage is none either."""
    fields = {"unit": "gCO2eq/kWh", "year": 2025}
    text = json.dumps(
        {
            "data": {
                "SE3": {**fields, "emission_factor": 27.0, "coverage": "94.58% (uncovered: Other 5.42%)"},
                "SE4": {**fields, "emission_factor": 24.7, "coverage": "85.05% (uncovered: Other 14.95%)"},
                "FI": {**fields, "emission_factor": 72.0},
            }
        }
    )
    (row,) = data_sources.nordic(text)
    assert (row.zone, row.country, row.gco2e_per_kwh, row.basis) == ("SE-SE3", "SE", 27.0, "lifecycle")


@pytest.mark.parametrize("columns", [MAPS_2024, MAPS_2025])
def test_electricity_maps(columns: tuple[str, ...]) -> None:
    """The life cycle, not the direct emissions; the newest year; a name with a comma; a year without a figure."""

    def line(year: int, zone: str, name: str, grams: str) -> list[str]:
        return [f"{year}-01-01 00:00:00", "USA", name, zone, "33.3", grams, "95.1", "88.9"]

    yadkin = "Alcoa Power Generating, Inc. Yadkin Division"
    first = csv_text(columns, [line(2024, "US-CAR-YAD", yadkin, "52.4"), line(2025, "US-CAR-YAD", yadkin, "57.44")])
    second = csv_text(columns, [line(2025, "DE", "Germany", "341.5"), line(2026, "DE", "Germany", "")])
    rows = data_sources.newest(data_sources.electricitymaps(first) + data_sources.electricitymaps(second))
    assert [(row.zone, row.country, row.year, row.gco2e_per_kwh, row.name) for row in rows] == [
        ("US-CAR-YAD", "US", 2025, 57.0, yadkin),
        ("DE", "DE", 2025, 342.0, "Germany"),
    ]
    assert {(row.basis, row.accounting, row.licence) for row in rows} == {("lifecycle", "consumption", "ODbL 1.0")}


def test_what_was_typed_in_says_where_it_is_from() -> None:
    """Each file in tools/sources/ has its title, author, licence and address in comments."""
    for name, (licence, _) in update_data.TRANSCRIPTIONS.items():
        text = (update_data.TRANSCRIBED / name).read_text(encoding="utf-8")
        comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
        assert "https://" in comments
        assert licence.replace("OGL", "Open Government Licence") in comments
        assert data_sources.transcribed(text)


def test_what_was_typed_in_is_the_table(tmp_path: Path, data: Path) -> None:
    """A zone or a country that is mended or struck out in tools/sources/ is mended or struck out in the tables."""
    transcribed = shutil.copytree(update_data.TRANSCRIBED, tmp_path / "transcribed")
    file = transcribed / "australia.csv"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("AU-ACT")]
    text = "\n".join(lines).replace("AU-VIC,2025,780", "AU-VIC,2026,700").replace("AU,2025,620", "AU,2026,600")
    file.write_text(text, encoding="utf-8")
    said: list[str] = []
    assert update_data.update(tmp_path / "nowhere", data, said.append, transcribed=transcribed)
    assert "  removed  AU-ACT (direct): 640 g/kWh" in said
    new = update_data.read(data)
    assert [(row.year, row.gco2e_per_kwh) for row in new.regions if row.zone == "AU-VIC"] == [(2026, 700.0)]
    assert [(row.year, row.gco2e_per_kwh) for row in new.direct if row.iso2 == "AU"] == [(2026, 600.0)]


def test_a_cell_that_greenrun_could_not_read_is_refused() -> None:
    """A comma is allowed in the last column alone, where the reader looks for no more."""
    row = data_tables.ZoneRow("DE", "DE", 2025, 342.0, "lifecycle", "consumption", "MIT", "us", "", "Germany, all")
    text = data_tables.to_text(data_tables.ZoneRow, [row])
    assert text.splitlines()[1] == 'DE,DE,2025,342.0,lifecycle,consumption,MIT,us,,"Germany, all"'
    assert data_tables.from_text(data_tables.ZoneRow, text) == [row]
    for wrong in (row._replace(source="us, them"), row._replace(note='"'), row._replace(name='"DE"')):
        with pytest.raises(ValueError, match="a comma, quotation mark or line's end"):
            data_tables.to_text(data_tables.ZoneRow, [wrong])


def test_every_table_is_written_as_the_script_writes_it() -> None:
    """The tables as they are shipped are the script's own: sorted, and without a change by hand that it would undo."""
    for name, text in update_data.texts(update_data.read(DATA)).items():
        assert (DATA / name).read_text(encoding="utf-8") == text
    for name in (data_checks.CLOUDS, data_checks.TERRITORIES):
        with (DATA / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))[1:]
        assert rows == sorted(rows)


@pytest.fixture
def server() -> Iterator[str]:
    """Give the address of a server on this machine that has one file, moved, and knows no other."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/file")
                self.end_headers()
                return
            self.send_response(200 if self.path == "/file" else 404)
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_downloads(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is fetched, also where it has moved to; one that cannot be had is named, and no page is taken for it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    said: list[str] = []
    downloads = {"gone.csv": f"{server}/gone", "dead.csv": "http://127.0.0.1:1/", "one.csv": f"{server}/moved"}
    assert not update_data.fetch(tmp_path, downloads, said.append)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"one.csv": b"content"}
    assert [line.partition(":")[0] for line in said] == ["gone.csv", "dead.csv"]
    assert "404" in said[0]
    assert update_data.fetch(tmp_path, {"one.csv": f"{server}/file"}, said.append)
