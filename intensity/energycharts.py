"""Energy-Charts: most of Europe by country and quarter-hour, from what plants produce; no key.

By Fraunhofer ISE; CC BY 4.0. It does not state the basis of its figures: they fit life-cycle emissions (the evidence is
in docs/services.md) and are taken for such, with a wider uncertainty and a note. It allows two requests a minute.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from greenrun.intensity import rows, uncertainty
from greenrun.intensity.http import Refused, unavailable
from greenrun.intensity.keyless import Keyless
from greenrun.intensity.model import Intensity, Unavailable

if TYPE_CHECKING:
    from greenrun.intensity.model import Basis, Place

DEFAULT_URL = "https://api.energy-charts.info"
_STEP = timedelta(minutes=15)
_SOURCE = "Energy-Charts, Fraunhofer ISE (CC BY 4.0)"
_NOTE = "the service does not state the basis; its figures fit lifecycle"

# The countries that its documentation lists, by ISO 3166-1 code; GB is named in its own way below.
_COUNTRIES = (
    "AL AM AT AZ BA BE BG BY CH CY CZ DE DK EE ES FI FR GB GE GR HR HU IE IT LT LU LV MD ME MK MT NL NO PL PT RO RS RU "
    "SE SI SK TR UA XK"
)
_OTHER_CODES = {"GB": "uk"}


class EnergyCharts(Keyless):
    """The service at `base_url`."""

    link = "energycharts"

    def zone(self, place: Place, basis: Basis) -> str | Unavailable:
        """Give the country's code; it knows no smaller zones."""
        if place.country is None:
            return Unavailable("the place is unknown")
        if place.country not in _COUNTRIES.split():
            return Unavailable(f"it does not serve {place.country}")
        if place.zone not in (None, place.country):
            return Unavailable(f"it serves whole countries, not {place.zone}")
        if basis != "lifecycle":
            return Unavailable(f"its figures fit lifecycle emissions, this run's are {basis}")
        return place.country

    def history(self, zone: str, basis: Basis, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for the hours that the stretch touches; quarter-hours without a figure yet are as it forecast them."""
        return self._ask(zone, basis, rows.floor(from_utc), rows.ceiling(to_utc), forecast=False)

    def forecast(self, zone: str, basis: Basis, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for the forecast from this hour on; as a rule it ends with the day, in the evening with the next."""
        return self._ask(zone, basis, rows.floor(datetime.now(timezone.utc)), rows.ceiling(to_utc), forecast=True)

    def _ask(
        self, zone: str, basis: Basis, begin: datetime, end: datetime, *, forecast: bool
    ) -> list[Intensity] | Unavailable:
        last = max(end, begin + rows.HOUR) - _STEP  # the end belongs to the stretch
        params = {"country": _OTHER_CODES.get(zone, zone.lower()), "start": _minute(begin), "end": _minute(last)}
        document = self._document("co2eq", params)
        if isinstance(document, Unavailable):
            return document
        quarters = _rows(document)
        if quarters is None:
            return Unavailable("answered with JSON that holds no lists of quarter-hours", "broken")
        hours = rows.hours(quarters, _STEP)
        if not hours:
            return rows.no_figure(zone, _values(document))
        now = datetime.now(timezone.utc)
        return [_span(hour, zone, basis, forecast, now) for hour in hours]

    def _refused(self, refused: Refused) -> Unavailable:
        told = unavailable(refused)
        return told._replace(cause="absent") if refused.status == 404 else told  # of this country, or this time


def _rows(document: object) -> list[rows.Row] | None:
    """Give a row for each quarter-hour with a figure, None where the answer is no such one."""
    if not isinstance(document, dict):
        return None
    moments, measured = document.get("unix_seconds"), document.get("co2eq")
    expected = document.get("co2eq_forecast") or []
    if not isinstance(moments, list) or not isinstance(measured, list) or not isinstance(expected, list):
        return None
    found = []
    for at, seconds in enumerate(moments):
        begin = rows.unix(seconds)
        grams = rows.grams_per_kwh(measured[at]) if at < len(measured) else None
        estimated = grams is None
        if grams is None and at < len(expected):
            grams = rows.grams_per_kwh(expected[at])
        if begin and grams is not None:
            found.append(rows.Row(begin, grams, estimated))
    return found


def _values(document: object) -> list[object]:
    """Give what the answer holds in the places of figures."""
    lists = (document.get("co2eq"), document.get("co2eq_forecast")) if isinstance(document, dict) else ()
    return [value for listed in lists if isinstance(listed, list) for value in listed]


def _span(hour: rows.Row, zone: str, basis: Basis, forecast: bool, now: datetime) -> Intensity:
    if forecast:
        percent, notes = uncertainty.FORECAST_PERCENT, [_NOTE, "forecast"]
    elif hour.estimated:
        percent, notes = uncertainty.ESTIMATED_PERCENT, [_NOTE, "part of the hour is missing, or forecast"]
    else:
        percent, notes = uncertainty.measured(basis), [_NOTE]
    return Intensity(
        grams_per_kwh=hour.grams_per_kwh,
        link=EnergyCharts.link,
        source=_SOURCE,
        zone=zone,
        country=zone,
        year=None,
        basis=basis,
        uncertainty_percent=uncertainty.unstated(percent),
        estimated=forecast or hour.estimated,
        from_utc=hour.begin_utc,
        to_utc=hour.begin_utc + rows.HOUR,
        fetched_utc=now,
        note="; ".join(notes),
    )


def _minute(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
