"""The tables of yearly averages: names and codes, whose figure answers for which place, and how sure it is."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest

from greenrun.intensity import countries, datafiles, table
from greenrun.intensity.model import Basis, Intensity, Place, Unavailable

DATA = Path(__file__).resolve().parents[2] / "intensity" / "data"


def place(country: str | None, zone: str | None = None) -> Place:
    """Give a place that is known."""
    return Place(country, zone, "a test")


def figure(answer: Intensity | Unavailable) -> Intensity:
    """Give the intensity that a table has."""
    assert isinstance(answer, Intensity), answer
    return answer


def reason(answer: Intensity | Unavailable) -> str:
    """Give the reason why a table has none; it is not there, and nothing broke."""
    assert isinstance(answer, Unavailable), answer
    assert answer.cause == "absent"
    return answer.reason


def read(name: str) -> list[dict[str, str]]:
    """Read a table as the csv module does."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DK", "DK"),
        ("dnk", "DK"),
        ("denmark", "DK"),
        ("  united   KINGDOM ", "GB"),
        ("UK", "GB"),
        ("el", "GR"),
        ("Czech Republic", "CZ"),
        ("Türkiye", "TR"),
        ("NA", "NA"),
        ("jersey", "JE"),
        ("MCO", "MC"),
        ("AQ", "AQ"),
        ("World", None),
        ("WLD", None),
        ("", None),
        ("XX", None),
        ("Denmark,", None),
    ],
)
def test_a_country_by_code_or_name(text: str, code: str | None) -> None:
    """Two letters, three letters or the English name, in any case; all else is no country."""
    assert table.country_code(text) == code


def test_a_name_is_looked_up_without_the_csv_module() -> None:
    """The command line checks a country before the command starts: what costs milliseconds is not imported for it."""
    program = "import sys; from greenrun.intensity.table import country_code as c; print(c('DK'), *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    code, *modules = done.stdout.split()
    assert code == "DK"
    assert not {"csv", "json", "httpx"} & set(modules)


def test_the_row_of_a_country() -> None:
    """The figure comes with its link, year, source, licence, basis and uncertainty."""
    found = figure(table.country(place("DK"), "lifecycle"))
    assert (found.grams_per_kwh, found.year, found.basis, found.country) == (114.41, 2025, "lifecycle", "DK")
    assert (found.link, found.zone, found.uncertainty_percent, found.note) == ("country table", None, 50.0, "")
    assert found.source == "Ember (2026) via Our World in Data, CC BY 4.0"
    assert (found.from_utc, found.to_utc, found.fetched_utc, found.estimated) == (None, None, None, False)


def test_a_country_on_the_other_basis() -> None:
    """Direct emissions have a table of their own, each row with its own source and licence."""
    assert figure(table.country(place("DK"), "direct")).grams_per_kwh == 94.0
    found = figure(table.country(place("GB"), "direct"))
    assert (found.grams_per_kwh, found.basis, found.year) == (177.0, "direct", 2025)
    assert found.source.endswith(", OGL v3.0")


def test_a_basis_is_never_mixed() -> None:
    """A figure of another basis is none, and the reason says which it is of."""
    assert reason(table.country(place("JP"), "direct")) == (
        "the country table's figure for Japan is of lifecycle emissions, not direct"
    )
    assert reason(table.region(place("US", "US-CA"), "lifecycle")) == (
        "the region table's figure for US-CA is of direct emissions, not lifecycle"
    )
    assert reason(table.region(place("DE", "IT-NO"), "direct")).endswith("IT-NO is of lifecycle emissions, not direct")
    assert reason(table.world("direct")) == "the world's figure is of lifecycle emissions, not direct"


def test_a_country_s_average_for_a_zone_is_told_and_unsure() -> None:
    """The country's figure may stand in for a zone; a zone may be far from it."""
    found = figure(table.country(place("DK", "DK-DK9"), "lifecycle"))
    assert found.zone is None
    assert found.note == "a yearly average of the whole country, not of zone DK-DK9"
    assert found.uncertainty_percent == 100.0
    assert figure(table.country(place("DK", "dk"), "lifecycle")).note == ""


def test_a_territory_takes_its_parent_s_row_and_says_so() -> None:
    """Jersey has no row: the United Kingdom's stands in, with the doubt of a stranger's figure."""
    bases: tuple[Basis, ...] = ("lifecycle", "direct")
    for basis in bases:
        found = figure(table.country(place("JE"), basis))
        assert found.grams_per_kwh == figure(table.country(place("GB"), basis)).grams_per_kwh
        assert found.country == "JE"
        assert found.note == "there is no figure for Jersey, that of United Kingdom stands in"
        assert found.uncertainty_percent == 100.0


def test_a_figure_of_long_ago_is_told_and_unsure() -> None:
    """The newest figure of Western Sahara is of 2009; one of 2022 is no matter."""
    found = figure(table.country(place("EH"), "lifecycle"))
    assert (found.note, found.uncertainty_percent) == ("the newest figure is of 2009", 100.0)
    found = figure(table.country(place("UA"), "lifecycle"))
    assert (found.year, found.note, found.uncertainty_percent) == (2022, "", 50.0)


@pytest.mark.parametrize(
    ("country", "words"), [(None, "the country is unknown"), ("MH", "Marshall Islands"), ("ZZ", "no figure for ZZ")]
)
def test_what_the_country_table_does_not_know(country: str | None, words: str) -> None:
    """No country and a country without a row are no figures, and not the world's in silence."""
    assert words in reason(table.country(place(country), "lifecycle"))


def test_the_world_average() -> None:
    """The last link has a figure for any place, and belongs to no country."""
    found = figure(table.world("lifecycle"))
    assert (found.grams_per_kwh, found.country, found.uncertainty_percent) == (458.29, None, 100.0)
    assert (found.link, found.basis) == ("world", "lifecycle")


@pytest.mark.parametrize(
    ("zone", "basis", "grams", "country", "licence"),
    [
        ("US-CA", "direct", 179.1, "US", "US public domain"),
        ("us-ca", "direct", 179.1, "US", "US public domain"),
        ("AU-TAS", "direct", 200.0, "AU", "CC BY 4.0"),
        ("AU-TAS", "lifecycle", 69.0, "AU", "ODbL 1.0"),
        ("CN-SC", "direct", 156.4, "CN", "MIT"),
        ("SE-SE3", "lifecycle", 27.0, "SE", "MIT"),
        ("SE-SE4", "lifecycle", 37.0, "SE", "ODbL 1.0"),
        ("DK-DK1", "lifecycle", 112.0, "DK", "ODbL 1.0"),
        ("US-CAR-YAD", "lifecycle", 57.0, "US", "ODbL 1.0"),
    ],
)
def test_the_row_of_a_zone(zone: str, basis: Basis, grams: float, country: str, licence: str) -> None:
    """A zone on the basis asked for; Electricity Maps' table answers only where the other has no row of the basis."""
    found = figure(table.region(place(country, zone), basis))
    assert (found.grams_per_kwh, found.country, found.zone, found.basis) == (grams, country, zone.upper(), basis)
    assert (found.link, found.uncertainty_percent) == ("region table", 50.0)
    assert found.source.endswith(", " + licence)
    assert found.year in (2023, 2025)


def test_china_s_figures_say_that_they_are_co2_alone() -> None:
    """CO2 is not CO2e, and the figure says so."""
    assert "CO2 alone" in figure(table.region(place("CN", "CN-BJ"), "direct")).note


@pytest.mark.parametrize(
    ("country", "zone", "words"),
    [
        (None, None, "the place is unknown"),
        ("DK", None, "no zone is known, only the country"),
        ("MH", None, "no zone is known, only the country"),
        ("DE", "DE", "zone DE is the whole of Germany"),
        ("US", "US-XX", "the region table has no zone US-XX"),
        (None, "NOWHERE", "the region table has no zone NOWHERE"),
    ],
)
def test_what_the_region_table_does_not_know(country: str | None, zone: str | None, words: str) -> None:
    """A country is no zone: the country table has its figure, of the source that the README names."""
    assert reason(table.region(place(country, zone), "lifecycle")) == words


@pytest.mark.parametrize(("country", "grams"), [("XK", 605.0), ("PW", 489.0), ("CW", 517.0), ("AX", 17.0)])
def test_a_territory_with_a_zone_of_its_own(country: str, grams: float) -> None:
    """Kosovo, Palau or Curacao have no row among the countries, but one among the zones: better than a stranger's."""
    found = figure(table.region(place(country), "lifecycle"))
    assert (found.grams_per_kwh, found.zone, found.country) == (grams, country, country)


@pytest.mark.parametrize(
    ("provider", "name", "country", "zone", "how"),
    [
        ("aws", "eu-north-1", "SE", "SE-SE3", "cloud metadata: AWS eu-north-1"),
        ("aws", "us-west-2", "US", None, "cloud metadata: AWS us-west-2"),
        ("azure", "WestEurope", "NL", "NL", "cloud metadata: Azure westeurope"),
        ("gcp", "us-central1", "US", "US-MIDW-MISO", "cloud metadata: Google Cloud us-central1"),
        ("aws", "eu-south-2", "ES", "ES", "cloud metadata: AWS eu-south-2"),
    ],
)
def test_the_place_of_a_cloud_s_region(provider: str, name: str, country: str, zone: str | None, how: str) -> None:
    """A region says country and zone; none where the place leaves the zone open."""
    assert table.cloud_region(provider, name) == Place(country, zone, how)


@pytest.mark.parametrize(("provider", "name"), [("aws", "westeurope"), ("aws", ""), ("azure", "nowhere"), ("ibm", "x")])
def test_a_region_that_no_table_knows(provider: str, name: str) -> None:
    """A region that opened since is no place, and not another cloud's."""
    assert table.cloud_region(provider, name) is None


def test_every_cloud_region_has_a_figure() -> None:
    """Each region ends in the row of its zone or of its country."""
    for row in read("cloud_regions.csv"):
        found = table.cloud_region(row["provider"], row["region"])
        assert found is not None
        figures = (table.region(found, "lifecycle"), table.country(found, "lifecycle"))
        assert any(isinstance(answer, Intensity) for answer in figures), row


@pytest.mark.parametrize("path", sorted(DATA.rglob("*.csv")), ids=lambda path: path.name)
def test_plain_string_methods_split_a_table_as_the_csv_module_does(path: Path) -> None:
    """A comma or a quotation mark in a cell would split it differently; in the last column it may stand."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert list(datafiles.lines(str(path.relative_to(DATA)), len(header))) == rows


def test_every_row_is_found() -> None:
    """What stands in the tables is what is given for the place, row by row."""
    for row in read("country_intensity.csv"):
        if row["iso3"] == "WLD":
            continue
        found = figure(table.country(place(row["iso2"]), "lifecycle"))
        assert (found.grams_per_kwh, found.year) == (float(row["gco2e_per_kwh"]), int(row["year"]))
        assert found.source == f"{row['source']}, {row['licence']}"
        assert table.country_name(row["iso2"]) == row["name"]
        assert {table.country_code(row[column]) for column in ("iso2", "iso3", "name")} == {row["iso2"]}
    for row in read("direct_intensity.csv"):
        assert figure(table.country(place(row["iso2"]), "direct")).grams_per_kwh == float(row["gco2e_per_kwh"])
    own = {(row["zone"], row["basis"]) for row in read("region_intensity.csv")}
    for row in read("region_intensity.csv") + read("electricitymaps/zone_intensity.csv"):
        zone, licence = row["zone"], row["licence"]
        if table.country_code(zone) in countries.tables().rows or ("ODbL" in licence and (zone, row["basis"]) in own):
            continue
        found = figure(table.region(place(row["country"], zone), row["basis"]))  # type: ignore[arg-type]
        assert (found.grams_per_kwh, found.year, found.note) == (
            float(row["gco2e_per_kwh"]),
            int(row["year"]),
            row["note"],
        )
        assert found.source == f"{row['source']}, {licence}"
    for row in read("territories.csv"):
        assert table.country_name(row["iso2"]) == row["name"]
    for row in read("cloud_regions.csv"):
        found_place = table.cloud_region(row["provider"], row["region"])
        assert found_place is not None
        assert found_place[:2] == (row["country"], row["zone"] or None)


def test_the_uncertainty_of_an_unknown_place_follows_from_the_table() -> None:
    """95 % of the countries lie within 97 % of the world's figure; with a country's own 50 % that is over 100 %."""
    tables = countries.tables()
    world = tables.world.grams_per_kwh
    grams = sorted(row.grams_per_kwh for row in tables.rows.values())
    low, high = grams[int(0.025 * len(grams))], grams[int(0.975 * len(grams))]
    spread_percent = 100.0 * max(world - low, high - world) / world
    assert spread_percent == pytest.approx(97.0, abs=0.5)
    both = math.hypot(spread_percent, table.COUNTRY_UNCERTAINTY_PERCENT)
    assert min(100.0, both) == table.UNKNOWN_UNCERTAINTY_PERCENT


def test_the_uncertainty_of_a_country_s_figure_follows_from_the_tables() -> None:
    """Two tables of the same countries differ by 12 % in the median and by 49 % at the 90th percentile."""
    ours = countries.tables().rows
    off = sorted(
        abs(100.0 * float(row["gco2e_per_kwh"]) / ours[row["zone"]].grams_per_kwh - 100.0)
        for row in read("electricitymaps/zone_intensity.csv")
        if row["zone"] in ours
    )
    assert len(off) == 198
    assert off[len(off) // 2] == pytest.approx(12.0, abs=0.5)
    assert off[int(0.9 * len(off))] == pytest.approx(49.0, abs=0.5)


def test_the_uncertainty_of_a_zone_without_a_row_follows_from_the_tables() -> None:
    """Half of the zones lie over 29 % off their country's figure, a fifth over 85 %, a tenth over 217 %."""
    ours = countries.tables().rows
    off = sorted(
        abs(100.0 * float(row["gco2e_per_kwh"]) / ours[row["country"]].grams_per_kwh - 100.0)
        for row in read("electricitymaps/zone_intensity.csv")
        if "-" in row["zone"] and row["country"] in ours
    )
    assert len(off) == 147
    for share, percent in ((0.5, 29.0), (0.8, 85.0), (0.9, 217.0)):
        assert off[int(share * len(off))] == pytest.approx(percent, abs=0.5)
