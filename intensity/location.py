"""Where the machine stands: told, else by the cloud it is a part of, else by its time zone, else unknown.

No geolocation service is asked, the locale never. `find` asks nobody; `refine` asks a cloud's own metadata service. A
time zone names a country by zone.tab of the tz database, as the tzdata package ships it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from greenrun.intensity.model import Place, Unavailable
from greenrun.intensity.table import cloud_region, country_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def find(
    country: str | None,
    zone: str | None,
    told_by: str | None,
    environ: Mapping[str, str],
    *,
    etc_localtime: str = "/etc/localtime",
    etc_timezone: str = "/etc/timezone",
) -> Place:
    """Give the place: what the user told (`told_by` says where), else what the machine's time zone says.

    The variable TZ is looked at first, then the link /etc/localtime, then /etc/timezone; the first that names a
    country counts, since TZ=UTC says how a job wants its times and nothing about the machine.
    """
    if country or zone:
        return Place(country or (zone_country(zone) if zone else None), zone, told_by or "told")
    for time_zone, where in _time_zones(environ, etc_localtime, etc_timezone):
        try:
            found = time_zone_country(time_zone)
        except (ImportError, OSError):
            return Place(None, None, "unknown, since the package tzdata cannot be read")
        if found:
            return Place(found, None, f"time zone {time_zone} from {where}")
    return Place(None, None, "unknown")


def refine(place: Place, sysfs_root: str = "/sys", metadata_url: str | None = None) -> Place:
    """Give the place that the cloud's metadata tell, where the firmware names a cloud; else `place`, which `find` gave.

    For places that nobody told, and not when offline: it asks the metadata service, for half a second at most. Where
    that does not help, `how` says so: a cloud's time zone is mostly UTC, and seldom the region's.
    """
    from greenrun.intensity import cloud, metadata  # sockets, for which the command line's start does not wait

    provider = cloud.provider(sysfs_root)
    if provider is None:
        return place
    region = metadata.region(provider, metadata_url or metadata.DEFAULT_URL)
    if isinstance(region, Unavailable):
        return place._replace(how=f"{place.how} (the metadata service of {cloud.TITLES[provider]}: {region.reason})")
    found = cloud_region(provider, region)
    if found is None:
        return place._replace(how=f"{place.how} (no table knows {cloud.TITLES[provider]}'s region {region})")
    return found


def zone_country(zone: str) -> str | None:
    """Give the country of a grid zone such as DK-DK1 or US-CAL-CISO: its first two letters, if they are a country's."""
    prefix = zone.split("-", 1)[0]
    return country_code(prefix) if len(prefix) == 2 else None


def time_zone_country(time_zone: str) -> str | None:
    """Give the country of a time zone of the tz database, None for UTC, GMT, Etc/* and what is not one country's.

    A name in zone.tab says it itself. Only for an older name (Asia/Calcutta, US/Pacific) its link is followed, and
    only if every name that shares the link's target is of one country: many links lead abroad.
    """
    if time_zone.startswith("Etc/"):
        return None  # the usual one of servers, UTC: not worth reading the tables for
    import tzdata  # type: ignore[import-untyped]  # a package of data without types

    zoneinfo = os.path.join(os.path.dirname(tzdata.__file__), "zoneinfo")
    countries = {}
    for line in _lines(os.path.join(zoneinfo, "zone.tab")):
        code, _, name = line.split("\t")[:3]
        countries[name] = code
    if time_zone in countries:
        return countries[time_zone]
    if "/" not in time_zone:  # EET or CST6CDT: an offset, though it is linked to some city
        return None
    links = {}
    for line in _lines(os.path.join(zoneinfo, "tzdata.zi")):
        if line.startswith("L "):
            _, target, name = line.split()
            links[name] = target
    if time_zone not in links:
        return None
    target = links[time_zone]
    sharing = {code for name, code in countries.items() if links.get(name, name) == target}
    return sharing.pop() if len(sharing) == 1 else None


def _lines(path: str) -> Iterator[str]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                yield line.rstrip("\n")


def _time_zones(environ: Mapping[str, str], etc_localtime: str, etc_timezone: str) -> Iterator[tuple[str, str]]:
    """Give the names of time zones that this machine tells, the nearest to the job first, each with its place."""
    variable = environ.get("TZ", "")
    if variable:
        yield _name(variable.removeprefix(":")), "TZ"
    with contextlib.suppress(OSError):  # not there, or a copy and no link: then it does not tell its name
        yield _name(os.readlink(etc_localtime)), etc_localtime
    with contextlib.suppress(OSError), open(etc_timezone, encoding="utf-8", errors="replace") as file:
        yield file.readline().strip(), etc_timezone


def _name(path: str) -> str:
    """Give the zone's name in a path below a zoneinfo directory; a bare name stays as it is."""
    name = path.rpartition("zoneinfo/")[2]
    return name.removeprefix("posix/").removeprefix("right/")
