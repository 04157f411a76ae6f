"""Where the machine stands: told, by the cloud's metadata, by time zone, or unknown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tzdata  # type: ignore[import-untyped]  # a package of data without types
from machine.services import Services

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


def cross_country_links() -> dict[str, tuple[str, str]]:
    """Give the names that are links to a name of another country: their own country, and that of the link's target."""
    zoneinfo = Path(tzdata.__file__).parent / "zoneinfo"
    rows = [line.split("\t") for line in (zoneinfo / "zone.tab").read_text().splitlines() if not line.startswith("#")]
    own = {row[2]: row[0] for row in rows}
    links = [line.split() for line in (zoneinfo / "tzdata.zi").read_text().splitlines() if line.startswith("L ")]
    targets = {name: target for _, target, name in links}
    return {
        name: (code, own[targets[name]])
        for name, code in own.items()
        if targets.get(name) in own and own[targets[name]] != code
    }


def test_a_link_into_another_country_is_not_followed() -> None:
    """Oslo is a link to Berlin, and Norway all the same: each such name is its own country's."""
    links = cross_country_links()
    assert len(links) >= 100
    wrong = {name: found for name in links if (found := location.time_zone_country(name)) != links[name][0]}
    assert wrong == {}


@pytest.mark.parametrize(
    "time_zone",
    [
        "UTC",
        "UCT",
        "GMT",
        "GMT0",
        "GMT-0",
        "Greenwich",
        "Universal",
        "Zulu",
        "Etc/GMT",
        "Etc/Greenwich",
        "Etc/UTC",
        "Etc/Zulu",
        "Factory",
        "WET",
        "EST5EDT",
    ],
)
def test_no_time_of_the_world_is_great_britain_s(time_zone: str) -> None:
    """Names of an offset from UTC are no place."""
    assert location.time_zone_country(time_zone) is None


@pytest.mark.parametrize("variable", ["LANG", "LC_ALL", "LC_TIME", "LANGUAGE"])
def test_the_locale_is_never_asked(tmp_path: Path, variable: str) -> None:
    """A German keyboard is no German socket."""
    nowhere = str(tmp_path / "nowhere")
    environ = {variable: "de_DE.UTF-8"}
    found = location.find(None, None, None, environ, etc_localtime=nowhere, etc_timezone=nowhere)
    assert found == Place(None, None, "unknown")


# --- in a cloud

SOMEWHERE = Place("DE", None, "time zone Europe/Berlin from TZ")


def firmware(tmp_path: Path, **says: str) -> str:
    """Give a sysfs whose firmware says this."""
    directory = tmp_path / "sys" / "class" / "dmi" / "id"
    directory.mkdir(parents=True)
    for name, text in says.items():
        (directory / name).write_text(text + "\n")
    return str(tmp_path / "sys")


AZURE = {
    "sys_vendor": "Microsoft Corporation",
    "product_name": "Virtual Machine",
    "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77",
}
FIRMWARE = {
    "aws": {"sys_vendor": "Amazon EC2"},
    "azure": AZURE,
    "gcp": {"sys_vendor": "Google", "product_name": "Google Compute Engine"},
}


@pytest.mark.parametrize(
    ("cloud", "how", "country"),
    [
        ("aws", "cloud metadata: AWS eu-central-1", "DE"),
        ("azure", "cloud metadata: Azure westeurope", "NL"),
        ("gcp", "europe-west1", "BE"),
    ],
)
def test_the_cloud_s_region_goes_before_the_time_zone(tmp_path: Path, cloud: str, how: str, country: str) -> None:
    """The metadata service of the cloud that the firmware names, as it is documented."""
    with Services() as services:
        found = location.refine(SOMEWHERE, firmware(tmp_path, **FIRMWARE[cloud]), services.url)
    assert found.country == country
    assert how in found.how


def test_no_cloud_is_asked_that_the_firmware_does_not_name(tmp_path: Path) -> None:
    """On other machines the address may be anyone's."""
    with Services() as services:
        assert location.refine(SOMEWHERE, firmware(tmp_path, sys_vendor="Dell Inc."), services.url) == SOMEWHERE
        assert location.refine(SOMEWHERE, str(tmp_path / "nowhere"), services.url) == SOMEWHERE
        assert services.requests == []


def test_a_cloud_that_does_not_tell_leaves_the_time_zone_and_the_reason(tmp_path: Path) -> None:
    """What was known before stays, and `how` says why it is no better."""
    sysfs = firmware(tmp_path, **FIRMWARE["aws"])
    with Services(regions={}) as services:
        found = location.refine(SOMEWHERE, sysfs, services.url)
    assert found[:2] == SOMEWHERE[:2]
    assert found.how == f"{SOMEWHERE.how} (the metadata service of AWS: it answered with status 404)"
    with Services(regions={"aws": "moon-north-1"}) as services:
        found = location.refine(Place(None, None, "unknown"), sysfs, services.url)
    assert found == Place(None, None, "unknown (no table knows AWS's region moon-north-1)")
