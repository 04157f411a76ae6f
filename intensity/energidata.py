"""Energi Data Service: Denmark in steps of five minutes, what leaves the chimney, to the end of the next day; no key.

By Energinet; CC BY 4.0. The figures are of CO2 alone, of electricity consumed (production and exchange), heat that is
made with it charged as by a boiler of 125 %. A run log of a week would hold two thousand of them: they become hours.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from greenrun.intensity import rows, uncertainty
from greenrun.intensity.keyless import Keyless
from greenrun.intensity.model import Intensity, Unavailable

if TYPE_CHECKING:
    from greenrun.intensity.model import Basis, Place

DEFAULT_URL = "https://api.energidataservice.dk"
_STEP = timedelta(minutes=5)
_SOURCE = "Energi Data Service, Energinet (CC BY 4.0)"
_AREAS = {"DK-DK1": ("DK1",), "DK-DK2": ("DK2",), "DK": ("DK1", "DK2")}
"""Its price areas by zone. Both had the same value for years and now differ: the country's is the mean of the two."""


class EnergiData(Keyless):
    """The service at `base_url`."""

    link = "energidata"

    def zone(self, place: Place, basis: Basis) -> str | Unavailable:
        """Give DK-DK1 or DK-DK2, or DK where only the country is known."""
        if place.country != "DK":
            return Unavailable("it serves Denmark only")
        zone = place.zone or "DK"
        if zone not in _AREAS:
            return Unavailable(f"it serves DK-DK1 and DK-DK2, not {zone}")
        if basis != "direct":
            return Unavailable(f"its figures are of direct emissions, this run's are {basis}")
        return zone

    def history(self, zone: str, basis: Basis, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for the hours that the stretch touches."""
        return self._ask("CO2Emis", zone, basis, rows.floor(from_utc), rows.ceiling(to_utc))

    def forecast(self, zone: str, basis: Basis, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for the prognosis from this hour on; it ends with the next day."""
        return self._ask("CO2EmisProg", zone, basis, rows.floor(datetime.now(timezone.utc)), rows.ceiling(to_utc))

    def _ask(
        self, dataset: str, zone: str, basis: Basis, begin: datetime, end: datetime
    ) -> list[Intensity] | Unavailable:
        areas = ",".join(f'"{area}"' for area in _AREAS[zone])
        params = {
            "start": _minute(begin),
            "end": _minute(max(end, begin + rows.HOUR)),
            "filter": f'{{"PriceArea":[{areas}]}}',
            "timezone": "UTC",  # of start and end; else they are Danish
            "limit": "0",  # all; else the newest 100
        }
        document = self._document(f"dataset/{dataset}", params)
        if isinstance(document, Unavailable):
            return document
        listed = rows.items(document, "records")
        if listed is None:
            return Unavailable("answered with JSON that holds no list of records", "broken")
        prognosis = dataset == "CO2EmisProg"
        hours = rows.hours(_rows(listed, _AREAS[zone], prognosis), _STEP)
        if not hours:
            return rows.no_figure(zone, (record.get("CO2Emission") for record in listed))
        now = datetime.now(timezone.utc)
        return [_span(hour, zone, basis, prognosis, now) for hour in hours]


def _rows(records: list[dict[str, object]], areas: tuple[str, ...], prognosis: bool) -> list[rows.Row]:
    """Give a row for each moment, the mean of the areas; estimated where an area is missing."""
    found: dict[datetime, dict[str, float]] = {}
    for record in records:
        begin, grams = rows.utc(record.get("Minutes5UTC")), rows.grams_per_kwh(record.get("CO2Emission"))
        area = record.get("PriceArea")
        if begin and grams is not None and isinstance(area, str) and area in areas:
            found.setdefault(begin, {})[area] = grams
    return [
        rows.Row(begin, math.fsum(parts.values()) / len(parts), prognosis or len(parts) < len(areas))
        for begin, parts in found.items()
    ]


def _span(hour: rows.Row, zone: str, basis: Basis, prognosis: bool, now: datetime) -> Intensity:
    notes = ["CO2 alone, no other greenhouse gas"]
    if zone == "DK":
        notes.append("the mean of the areas DK1 and DK2")
    if prognosis:
        notes.append("forecast")
        percent = uncertainty.FORECAST_PERCENT
    elif hour.estimated:
        notes.append("part of the hour is missing")
        percent = uncertainty.ESTIMATED_PERCENT
    else:
        percent = uncertainty.measured(basis)
    return Intensity(
        grams_per_kwh=hour.grams_per_kwh,
        link=EnergiData.link,
        source=_SOURCE,
        zone=zone,
        country="DK",
        year=None,
        basis=basis,
        uncertainty_percent=percent,
        estimated=hour.estimated,
        from_utc=hour.begin_utc,
        to_utc=hour.begin_utc + rows.HOUR,
        fetched_utc=now,
        note="; ".join(notes),
    )


def _minute(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M")
