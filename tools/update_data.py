"""Make the tables in intensity/data/ anew from the sources' own files: `make data`, or `make data FROM=DIR` offline.

Each source is downloaded, or taken from DIR under the name that is printed. A source that is not there leaves its rows
as they are, and that is said. What cannot be read or is implausible changes nothing. At the end stands what changed:
rows added, removed, and changed by more than 20 %. README.md beside this script tells the sources.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import data_checks
import data_sources
from data_tables import AnyRow, CountryRow, ZoneRow, from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "intensity" / "data"
TRANSCRIBED = ROOT / "tools" / "sources"
CROSSCHECK = ROOT / "tests" / "unit" / "data" / "crosscheck.csv"

CODECARBON = "https://raw.githubusercontent.com/mlco2/codecarbon/master/codecarbon/data/private_infra"
DOWNLOADS = {
    "carbon-intensity-electricity.csv": (
        "https://ourworldindata.org/grapher/carbon-intensity-electricity.csv?v=1&csvType=full&useColumnShortNames=true"
    ),
    "egrid2023_data_rev2.xlsx": "https://www.epa.gov/system/files/documents/2025-06/egrid2023_data_rev2.xlsx",
    "nordic_emissions.json": f"{CODECARBON}/nordic_emissions.json",
    "china_provincial_emissions.json": f"{CODECARBON}/2023/china_provincial_emissions.json",
}
ELECTRICITYMAPS_PATTERN = "*yearly*.csv"  # as the data portal names them; behind a form, so never downloaded

LARGE_CHANGE = 0.2
TIMEOUT_SECONDS = 60.0

TRANSCRIPTIONS = {  # in tools/sources/: licence and source
    "australia.csv": ("CC BY 4.0", "DCCEEW National Greenhouse Accounts Factors 2025"),
    "europe.csv": ("CC BY 4.0", "EEA greenhouse gas emission intensity of electricity generation"),
    "united_kingdom.csv": ("OGL v3.0", "DESNZ greenhouse gas conversion factors 2025"),
}


class Tables(NamedTuple):
    """The four tables that this script makes."""

    countries: list[CountryRow]
    direct: list[CountryRow]
    regions: list[ZoneRow]
    electricitymaps: list[ZoneRow]


def read(data: Path) -> Tables:
    """Read the tables as they are."""

    def text(name: str) -> str:
        return (data / name).read_text(encoding="utf-8")

    return Tables(
        from_text(CountryRow, text(data_checks.COUNTRIES)),
        from_text(CountryRow, text(data_checks.DIRECT)),
        from_text(ZoneRow, text(data_checks.REGIONS)),
        from_text(ZoneRow, text(data_checks.ELECTRICITYMAPS)),
    )


def texts(tables: Tables) -> dict[str, str]:
    """Give each table as text, by its name."""
    return {
        data_checks.COUNTRIES: to_text(CountryRow, tables.countries),
        data_checks.DIRECT: to_text(CountryRow, tables.direct),
        data_checks.REGIONS: to_text(ZoneRow, tables.regions),
        data_checks.ELECTRICITYMAPS: to_text(ZoneRow, tables.electricitymaps),
    }


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[Path]:
    """Name the file in what is wrong with it."""
    try:
        yield file
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from None
    except (KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file.name} is of another shape than expected ({type(error).__name__}: {error})") from None


def renew(old: Tables, sources: Path, transcribed: Path, data: Path, say: Callable[[str], None]) -> Tables:
    """Give the tables made from the files in `sources` and `transcribed`; rows of a missing source are kept."""
    countries, electricitymaps = old.countries, old.electricitymaps
    direct = {row.key: row for row in old.direct}
    regions = {row.key: row for row in old.regions}
    if (file := sources / "carbon-intensity-electricity.csv").exists():
        with _reading(file):
            countries, unknown = data_sources.ember(file.read_text(encoding="utf-8"), _iso2_of(old.countries, data))
        if unknown:
            say(f"{file.name}: no table knows the codes {', '.join(unknown)}; they are left out")
    if (file := sources / "egrid2023_data_rev2.xlsx").exists():
        names = {row.zone: row.name for row in old.regions if row.country == "US"}
        with _reading(file):
            states, nation = data_sources.egrid(file, names)
        _replace(regions, ["US"], states)
        direct[nation.key] = nation
    if (file := sources / "nordic_emissions.json").exists():
        with _reading(file):
            _replace(regions, ["SE", "NO"], data_sources.nordic(file.read_text(encoding="utf-8")))
    if (file := sources / "china_provincial_emissions.json").exists():
        with _reading(file):
            _replace(regions, ["CN"], data_sources.china(file.read_text(encoding="utf-8")))
    if files := sorted(sources.glob(ELECTRICITYMAPS_PATTERN)):
        zones_read = []
        for file in files:
            with _reading(file):
                zones_read += data_sources.electricitymaps(file.read_text(encoding="utf-8"))
        electricitymaps = data_sources.newest(zones_read)
    by_iso2 = {row.iso2: row for row in countries}
    for name, (licence, source) in TRANSCRIPTIONS.items():
        rows = data_sources.transcribed((transcribed / name).read_text(encoding="utf-8"))
        zones = [_zone(row, licence, source) for row in rows if "-" in row.code]
        _replace(regions, [zone.country for zone in zones], zones)
        for row in rows:
            if "-" not in row.code:
                like = by_iso2[row.code]
                direct[like.key] = like._replace(
                    year=row.year, gco2e_per_kwh=row.gco2e_per_kwh, basis="direct", licence=licence, source=source
                )
    return Tables(countries, list(direct.values()), list(regions.values()), electricitymaps)


def _replace(regions: dict[str, ZoneRow], countries: Sequence[str], rows: Iterable[ZoneRow]) -> None:
    """Put the rows in the place of all that these countries had."""
    for key in [key for key, row in regions.items() if row.country in countries]:
        del regions[key]
    regions.update((row.key, row) for row in rows)


def _iso2_of(countries: list[CountryRow], data: Path) -> dict[str, str]:
    """Give the two-letter code of each country that a table knows by its three letters."""
    found = {row.iso3: row.iso2 for row in countries}
    for line in (data / data_checks.TERRITORIES).read_text(encoding="utf-8").splitlines()[1:]:
        iso3, iso2 = line.split(",")[:2]
        found[iso3] = iso2
    return found


def _zone(row: data_sources.Transcribed, licence: str, source: str) -> ZoneRow:
    return ZoneRow(
        zone=row.code,
        country=row.code.split("-")[0],
        year=row.year,
        gco2e_per_kwh=row.gco2e_per_kwh,
        basis="direct",
        accounting="generation",
        licence=licence,
        source=source,
        note="",
        name=row.name,
    )


def differences(name: str, old: Sequence[AnyRow], new: Sequence[AnyRow]) -> list[str]:
    """Tell how the rows differ: the counts, then each row that is added, removed or changed by more than 20 %."""
    before, after = {row.key: row for row in old}, {row.key: row for row in new}
    added, removed = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    changed = [key for key in before if key in after and before[key] != after[key]]
    told: list[str] = [f"  added    {key}: {after[key].gco2e_per_kwh:g} g/kWh" for key in added]
    told += [f"  removed  {key}: {before[key].gco2e_per_kwh:g} g/kWh" for key in removed]
    for key in sorted(changed):
        was, now = before[key].gco2e_per_kwh, after[key].gco2e_per_kwh
        if abs(now - was) > LARGE_CHANGE * was:
            told.append(f"  changed  {key}: {was:g} to {now:g} g/kWh, {before[key].year} to {after[key].year}")
    counts = f"{len(after)} rows: {len(added)} added, {len(removed)} removed, {len(changed)} changed"
    return [f"{name}: {counts}", *told]


def fetch(into: Path, downloads: dict[str, str], say: Callable[[str], None]) -> bool:
    """Download the sources into a folder; False if one could not be had, and says which."""
    import httpx

    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:

        def fetched(name: str, url: str) -> bool:
            try:
                content = client.get(url).raise_for_status().content
            except httpx.HTTPError as error:
                say(f"{name}: {url} gave no file ({str(error) or type(error).__name__}); its rows stay as they are")
                return False
            (into / name).write_bytes(content)
            return True

        complete = [fetched(name, url) for name, url in downloads.items()]  # each is tried, also after a failure
    return all(complete)


def put(data: Path, files: dict[str, str]) -> None:
    """Replace the tables, each in one step."""
    for name, text in files.items():
        path = data / name
        partial = path.with_name(f".{path.name}.new")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)


def update(
    sources: Path,
    data: Path,
    say: Callable[[str], None],
    *,
    transcribed: Path = TRANSCRIBED,
    crosscheck: Path = CROSSCHECK,
) -> bool:
    """Make the tables in `data` anew from the files in `sources`; False and nothing changed if they are implausible."""
    try:
        old = read(data)
        new = renew(old, sources, transcribed, data, say)
        files = texts(new)
    except (ValueError, KeyError, OSError) as error:
        say(f"nothing is changed: {error}")
        return False
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch) / "data"
        shutil.copytree(data, staged)
        put(staged, files)
        wrong = data_checks.complaints(staged, crosscheck)
    for line in wrong:
        say(line)
    if wrong:
        say("nothing is changed: the new tables are implausible")
        return False
    put(data, files)
    for line in (
        *differences(data_checks.COUNTRIES, old.countries, new.countries),
        *differences(data_checks.DIRECT, old.direct, new.direct),
        *differences(data_checks.REGIONS, old.regions, new.regions),
        *differences(data_checks.ELECTRICITYMAPS, old.electricitymaps, new.electricitymaps),
    ):
        say(line)
    return True


def main(argv: Sequence[str]) -> int:
    """Run from the command line: 0 if the tables are new and every source was there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="sources", type=Path, metavar="DIR", help="take files from DIR, ask no network")
    parser.add_argument("--into", dest="data", type=Path, default=DATA, metavar="DIR", help="the folder of the tables")
    arguments = parser.parse_args(argv)
    if arguments.sources:
        missing = [name for name in DOWNLOADS if not (arguments.sources / name).exists()]
        if not list(arguments.sources.glob(ELECTRICITYMAPS_PATTERN)):
            missing.append(ELECTRICITYMAPS_PATTERN)
        for name in missing:
            print(f"{name}: not in {arguments.sources}; its rows stay as they are")
        if len(missing) > len(DOWNLOADS):
            print(f"{arguments.sources} has none of the sources' files")
            return 1
        return 0 if update(arguments.sources, arguments.data, print) else 1
    with tempfile.TemporaryDirectory() as scratch:
        complete = fetch(Path(scratch), DOWNLOADS, print)
        print(
            f"{ELECTRICITYMAPS_PATTERN}: behind a form, so its rows stay as they are; FROM=DIR takes downloaded files"
        )
        return 0 if update(Path(scratch), arguments.data, print) and complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
