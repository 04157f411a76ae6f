"""Electricity Maps: the intensity of electricity consumed, by zone and hour, for most of the world; needs a token.

Both versions of its API that are in service are understood. It is asked for as little as can be: the last 24 hours in
one request. docs/services.md tells the paths, and what is known of its plans.
"""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from greenrun.intensity import rows, uncertainty
from greenrun.intensity.http import Refused, unavailable
from greenrun.intensity.model import TITLES, Intensity, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greenrun.intensity.http import Get
    from greenrun.intensity.model import Basis, Place

DEFAULT_URL = "https://api.electricitymaps.com"
_VERSIONS = ("v3", "v4")

_HISTORY_REACHES = timedelta(hours=24)
_LONGEST_RANGE = timedelta(days=10)  # of past-range, in hourly steps
_HORIZONS_HOURS = (6, 24, 48, 72)
_LISTS = ("history", "data", "forecast")  # names of the list: v3 history; v4, past-range; forecast

_STEPS = {
    "5_minutes": timedelta(minutes=5),
    "15_minutes": timedelta(minutes=15),
    "hourly": rows.HOUR,
    "daily": timedelta(days=1),
}

_OTHER_ZONES = {"CL": "CL-SEN"}
"""Where the zone of a whole country has another name than the country's code: Chile's one grid."""


class _Lacking(NamedTuple):
    """What the token's plan does not include."""

    endpoint: str


class ElectricityMaps:
    """The service at `base_url`, asked with `token`; /v4 is added to a base that ends in no version."""

    link = "electricitymaps"

    def __init__(self, base_url: str, token: str, get: Get) -> None:
        self._address = base_url.rstrip("/")
        if self._address.rpartition("/")[2] not in _VERSIONS:
            self._address += f"/{_VERSIONS[-1]}"
        self._token = token
        self._get = get

    @property
    def address(self) -> str:
        """The base URL with its version."""
        return self._address

    def zone(self, place: Place, basis: Basis) -> str | Unavailable:  # noqa: ARG002  it has both for every zone
        """Give the zone that was told, else the country's."""
        if place.zone:
            return place.zone
        if place.country is None:
            return Unavailable("the place is unknown")
        return _OTHER_ZONES.get(place.country, place.country)

    def history(self, zone: str, basis: Basis, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for the last 24 hours if they reach back to `from_utc`, else for the stretch itself.

        What the token's plan does not include is passed over for what it does: 24 hours instead of the stretch, the
        present hour instead of 24. The note then says so.
        """
        recent = from_utc >= datetime.now(timezone.utc) - _HISTORY_REACHES
        endpoints = ("history", "latest") if recent else ("past-range", "history", "latest")
        lacking: list[str] = []
        allowed: set[str] | None = None
        for endpoint in endpoints:
            if allowed is not None and endpoint not in allowed:
                lacking.append(endpoint)
                continue
            if endpoint == "past-range":
                answer = self._past_range(zone, basis, from_utc, to_utc)
            else:
                answer = self._spans(endpoint, zone, basis, {})
            if not isinstance(answer, _Lacking):
                return answer if isinstance(answer, Unavailable) else _noted(answer, lacking)
            lacking.append(endpoint)
            if len(lacking) == 1:
                allowed = self._access(zone)
        return _forbidden(lacking, zone)

    def forecast(self, zone: str, basis: Basis, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for the shortest forecast that reaches to `to_utc`, or the longest there is: 72 hours."""
        ahead = to_utc - rows.floor(datetime.now(timezone.utc))
        horizon = next((one for one in _HORIZONS_HOURS if one * rows.HOUR >= ahead), _HORIZONS_HOURS[-1])
        answer = self._spans("forecast", zone, basis, {"horizonHours": str(horizon)})
        return _forbidden([answer.endpoint], zone) if isinstance(answer, _Lacking) else answer

    def zones(self) -> dict[str, object] | Unavailable:
        """Ask for all zones by their names, each an object with `zoneName` and, as a rule, what the token may ask."""
        document = self._fetch("zones", {})
        if isinstance(document, Refused):
            document = _refusal(document, "zones", None)
        if isinstance(document, _Lacking):
            return _forbidden([document.endpoint], None)
        if isinstance(document, Unavailable):
            return document
        return document if isinstance(document, dict) else Unavailable("answered with no list of zones", "broken")

    def _access(self, zone: str) -> set[str] | None:
        """Ask which endpoints the token may use for `zone`; None if that is not said."""
        zones = self.zones()
        about = None if isinstance(zones, Unavailable) else zones.get(zone)
        listed = about.get("access") if isinstance(about, dict) else None
        if not isinstance(listed, list) or "*" in listed:
            return None
        return {one.rpartition("carbon-intensity/")[2] for one in listed if isinstance(one, str)}

    def _past_range(
        self, zone: str, basis: Basis, from_utc: datetime, to_utc: datetime
    ) -> list[Intensity] | _Lacking | Unavailable:
        begin, end = rows.floor(from_utc), rows.ceiling(to_utc)
        spans: list[Intensity] = []
        for start, stop in rows.chunks(begin, max(end, begin + rows.HOUR), _LONGEST_RANGE):
            params = {"start": _iso(start), "end": _iso(stop)}
            answer = self._spans("past-range", zone, basis, params)
            if isinstance(answer, (_Lacking, Unavailable)):
                return spans or answer  # what is there is there
            spans += answer
        return spans

    def _spans(
        self, endpoint: str, zone: str, basis: Basis, params: Mapping[str, str]
    ) -> list[Intensity] | _Lacking | Unavailable:
        # Without disableCallerLookup an unknown zone becomes the one that the caller's address is in.
        asked = {"zone": zone, "emissionFactorType": basis, "disableCallerLookup": "true", **params}
        document = self._fetch(f"carbon-intensity/{endpoint}", asked)
        if isinstance(document, Refused):
            return _refusal(document, endpoint, zone)
        if isinstance(document, Unavailable):
            return document
        return _read(document, endpoint, zone, basis)

    def _fetch(self, path: str, params: Mapping[str, str]) -> object | Refused | Unavailable:
        if not _is_private(self._address):
            told = "the token is sent over https only, or to this machine itself; the service's address is neither"
            return Unavailable(told, "forbidden")
        return self._get(f"{self._address}/{path}", params, {"auth-token": self._token})


def _is_private(address: str) -> bool:
    """Whether nobody on the way can read what is sent to `address`."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https":
        return True
    try:
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def _refusal(refused: Refused, endpoint: str, zone: str | None) -> _Lacking | Unavailable:
    """Tell the kinds of 401 apart by what the service says, and what its 404 means."""
    said = refused.words.lower()
    if refused.status == 401:
        if "too many" in said or "rate limit" in said:
            told = f"too many calls with this token (401): {refused.words}"
            return Unavailable(told, "limited", refused.retry_after_seconds)
        if "unauthorized for zonekey" in said:
            return _Lacking(endpoint)
        if "token" in said:
            return Unavailable(f"the token is not valid (401): {refused.words}", "forbidden")
    if refused.status == 404 and zone:
        return Unavailable(f"it has no recent data for {zone} (404): {refused.words or 'no reason given'}", "broken")
    return unavailable(refused)


def _forbidden(lacking: list[str], zone: str | None) -> Unavailable:
    of = f" of {zone}" if zone else ""
    return Unavailable(f"the token's plan does not include {', '.join(lacking)}{of} (401)", "forbidden")


def _noted(spans: list[Intensity], lacking: list[str]) -> list[Intensity]:
    if not lacking:
        return spans
    lacks = f"the token's plan does not include {', '.join(lacking)}"
    return [span._replace(note="; ".join(filter(None, (span.note, lacks)))) for span in spans]


def _read(document: object, endpoint: str, zone: str, basis: Basis) -> list[Intensity] | Unavailable:
    """Make spans of an answer to what was asked, and of no other; rows without a figure are left out."""
    listed = [document] if endpoint == "latest" and isinstance(document, dict) else rows.items(document, *_LISTS)
    if listed is None or not isinstance(document, dict):
        return Unavailable("answered with JSON that holds no list of hours", "broken")
    told = {told for one in (document, *listed) if isinstance(told := one.get("zone"), str)}
    if told != {zone}:
        named = sorted(repr(one[:40])[1:-1] for one in told - {zone})[:3]  # repr: on one line, whatever it is
        others = ", ".join(named) or "a zone that it does not name"
        return Unavailable(f"asked for {zone}, answered for {others}", "broken")
    if any((one.get("emissionFactorType") or basis) != basis for one in (document, *listed)):
        return Unavailable(f"asked for {basis} emissions, answered with others", "broken")
    figures: dict[datetime, tuple[rows.Row, str]] = {}
    for one in listed:
        begin, grams = rows.utc(one.get("datetime")), rows.grams_per_kwh(one.get("carbonIntensity"))
        if begin and grams is not None:
            row = rows.Row(begin, grams, endpoint == "forecast" or one.get("isEstimated") is True)
            figures[begin] = (row, _method(one))
    if not figures:
        return rows.no_figure(zone, (one.get("carbonIntensity") for one in listed))
    step = _step(document, figures)
    if step < rows.HOUR and rows.HOUR % step == timedelta(0):
        figures = {row.begin_utc: (row, "") for row in rows.hours((row for row, _ in figures.values()), step)}
        step = rows.HOUR
    now = datetime.now(timezone.utc)
    return [_span(*figures[begin], step, zone, basis, endpoint, now) for begin in sorted(figures)]


def _span(
    row: rows.Row, method: str, step: timedelta, zone: str, basis: Basis, endpoint: str, now: datetime
) -> Intensity:
    if endpoint == "forecast":
        percent, note = uncertainty.FORECAST_PERCENT, "forecast"
    elif row.estimated:
        percent, note = uncertainty.ESTIMATED_PERCENT, f"estimated by Electricity Maps{method}"
    else:
        percent, note = uncertainty.measured(basis), ""
    return Intensity(
        grams_per_kwh=row.grams_per_kwh,
        link=ElectricityMaps.link,
        source=TITLES[ElectricityMaps.link],
        zone=zone,
        country=zone[:2],
        year=None,
        basis=basis,
        uncertainty_percent=percent,
        estimated=row.estimated,
        from_utc=row.begin_utc,
        to_utc=row.begin_utc + step,
        fetched_utc=now,
        note=note,
    )


def _method(row: dict[str, object]) -> str:
    method = row.get("estimationMethod")
    return f" ({method[:60]})" if isinstance(method, str) and method.isprintable() and method else ""


def _step(document: dict[str, object], begins: Iterable[datetime]) -> timedelta:
    """Give how long a row holds: as the answer says, else as its rows lie apart, else an hour."""
    granularity = document.get("temporalGranularity")
    if isinstance(granularity, str) and granularity in _STEPS:
        return _STEPS[granularity]
    apart = [later - earlier for earlier, later in pairwise(sorted(begins))]
    return min(apart) if apart and min(apart) <= timedelta(days=1) else rows.HOUR


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
