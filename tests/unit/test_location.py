"""Where the machine stands: told, by time zone, or unknown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from greenrun.intensity import location
from greenrun.intensity.model import Place


def test_what_is_told_counts(tmp_path: Path) -> None:
    """A country or a zone that the user told goes before the machine's own idea."""
    environ = {"TZ": "Europe/Berlin"}
    assert location.find("DK", None, "--country", environ) == Place("DK", None, "--country")
    assert location.find(None, "US-CAL-CISO", "--zone", environ) == Place("US", "US-CAL-CISO", "--zone")


@pytest.mark.parametrize(("zone", "country"), [("DK-DK1", "DK"), ("GB", "GB"), ("XX-1", None), ("DNK", None)])
def test_a_grid_zone_begins_with_its_country(zone: str, country: str | None) -> None:
    """The first two letters are the country's, if there is such a country."""
    assert location.zone_country(zone) == country


@pytest.mark.parametrize(
    ("time_zone", "country"),
    [
        ("Europe/Copenhagen", "DK"),  # a link to Berlin: looked up before it is followed
        ("Atlantic/Reykjavik", "IS"),  # a link to Abidjan
        ("America/Argentina/Buenos_Aires", "AR"),
        ("Asia/Calcutta", "IN"),  # an old name: its link is followed
        ("US/Pacific", "US"),
        ("Europe/Kiev", "UA"),
        ("Africa/Timbuktu", None),  # linked to Abidjan, as eleven countries are
        ("Atlantic/Jan_Mayen", None),  # linked to Berlin
        ("UTC", None),
        ("GMT", None),
        ("Etc/UTC", None),
        ("Etc/GMT+5", None),
        ("GB", None),
        ("EET", None),  # linked to Athens, and no sign of Greece
        ("CET-1CEST,M3.5.0,M10.5.0/3", None),
        ("Middle/Earth", None),
        ("", None),
    ],
)
def test_a_time_zone_names_a_country_or_none(time_zone: str, country: str | None) -> None:
    """A zone of one country names it; what may be several is unknown."""
    assert location.time_zone_country(time_zone) == country


def at(tmp_path: Path, tz: str | None = None, link: str | None = None, file: str | None = None) -> Place:
    """Find the place of a machine with these three signs of its time zone."""
    localtime, timezone = tmp_path / "localtime", tmp_path / "timezone"
    if link is not None:
        os.symlink(link, localtime)
    if file is not None:
        timezone.write_text(file + "\n")
    environ = {"LANG": "de_DE.UTF-8"} | ({} if tz is None else {"TZ": tz})
    return location.find(None, None, None, environ, etc_localtime=str(localtime), etc_timezone=str(timezone))


def test_the_variable_goes_first(tmp_path: Path) -> None:
    """TZ as a name, with a colon or as a path."""
    for text in ("Europe/Oslo", ":Europe/Oslo", "/usr/share/zoneinfo/Europe/Oslo"):
        (tmp_path / "localtime").unlink(missing_ok=True)
        found = at(tmp_path, tz=text, link="/usr/share/zoneinfo/Europe/Paris")
        assert found == Place("NO", None, "time zone Europe/Oslo from TZ")


def test_the_link_tells_the_machine_s_zone(tmp_path: Path) -> None:
    """/etc/localtime leads to the zone by its own name, not by the file at its end."""
    found = at(tmp_path, tz="UTC", link="../usr/share/zoneinfo/posix/Europe/Stockholm", file="Europe/Paris")
    assert found == Place("SE", None, f"time zone Europe/Stockholm from {tmp_path / 'localtime'}")


def test_the_file_is_the_last_sign(tmp_path: Path) -> None:
    """Where /etc/localtime is a copy, /etc/timezone may still tell."""
    (tmp_path / "localtime").write_bytes(b"TZif2")
    assert at(tmp_path, file="Europe/Paris").country == "FR"


def test_no_sign_is_unknown(tmp_path: Path) -> None:
    """UTC everywhere, as on most servers, or nothing at all: unknown, whatever the locale is."""
    assert at(tmp_path) == Place(None, None, "unknown")
    assert at(tmp_path, tz="UTC", link="/usr/share/zoneinfo/Etc/UTC", file="Etc/UTC") == Place(None, None, "unknown")
