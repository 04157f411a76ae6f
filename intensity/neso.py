"""NESO's Carbon Intensity API: Great Britain by half-hours, what leaves the chimney, 48 hours ahead; no key.

By the National Energy System Operator with Environmental Defense Fund Europe, Oxford University and WWF; CC BY 4.0.
Northern Ireland is another grid.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from greenrun.intensity import rows, uncertainty
from greenrun.intensity.keyless import Keyless
from greenrun.intensity.model import Intensity, Unavailable

if TYPE_CHECKING:
    from greenrun.intensity.model import Basis, Place

DEFAULT_URL = "https://api.carbonintensity.org.uk"
_ZONE = "GB"
_STEP = timedelta(minutes=30)
_LONGEST_RANGE = timedelta(days=14)
_SOURCE = "NESO Carbon Intensity API (CC BY 4.0)"


class Neso(Keyless):
    """The service at `base_url`."""

    link = "neso"

    def zone(self, place: Place, basis: Basis) -> str | Unavailable:
        """Give GB for the whole of Great Britain."""
        if place.country != "GB":
            return Unavailable("it serves Great Britain only")
        if place.zone not in (None, _ZONE):
            return Unavailable(f"it serves the grid of Great Britain as a whole, not {place.zone}")
        if basis != "direct":
            return Unavailable(f"its figures are of direct emissions, this run's are {basis}")
        return _ZONE

    def history(self, zone: str, basis: Basis, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for the half-hours of the stretch; one that was not metered yet is as NESO forecast it."""
        begin, end = rows.floor(from_utc, _STEP), rows.ceiling(to_utc, _STEP)
        spans: list[Intensity] = []
        for start, stop in rows.chunks(begin, max(end, begin + _STEP), _LONGEST_RANGE):
            answer = self._ask(f"{_minute(start)}/{_minute(stop)}", zone, basis)
            if isinstance(answer, Unavailable):
                return spans or answer  # what is there is there
            known = {span.from_utc for span in spans}  # a piece brings the half-hour that ends with its start
            spans += [span for span in answer if span.from_utc not in known]
        return spans

    def forecast(self, zone: str, basis: Basis, to_utc: datetime) -> list[Intensity] | Unavailable:  # noqa: ARG002  it has one length
        """Ask for the next 48 hours."""
        return self._ask(f"{_minute(rows.floor(datetime.now(timezone.utc), _STEP))}/fw48h", zone, basis)

    def _ask(self, stretch: str, zone: str, basis: Basis) -> list[Intensity] | Unavailable:
        document = self._document(f"intensity/{stretch}", {})
        if isinstance(document, Unavailable):
            return document
        listed = rows.items(document, "data")
        if listed is None:
            return Unavailable("answered with JSON that holds no list of half-hours", "broken")
        now = datetime.now(timezone.utc)
        found = {span.from_utc: span for one in listed if (span := _span(one, zone, basis, now))}
        if not found:
            told = [one.get("intensity") for one in listed]
            values = [
                value for one in told if isinstance(one, dict) for value in (one.get("actual"), one.get("forecast"))
            ]
            return rows.no_figure(zone, values)
        return sorted(found.values(), key=lambda span: span.from_utc or now)


def _span(row: dict[str, object], zone: str, basis: Basis, now: datetime) -> Intensity | None:
    """Make a span of a row; None where it has no figure, or its times are odd."""
    intensity = row.get("intensity")
    begin, end = rows.utc(row.get("from")), rows.utc(row.get("to"))
    if not isinstance(intensity, dict) or begin is None or end is None or not begin < end <= begin + rows.HOUR:
        return None
    grams = rows.grams_per_kwh(intensity.get("actual"))
    measured = grams is not None
    if grams is None:
        grams = rows.grams_per_kwh(intensity.get("forecast"))
    if grams is None:
        return None
    return Intensity(
        grams_per_kwh=grams,
        link=Neso.link,
        source=_SOURCE,
        zone=zone,
        country="GB",
        year=None,
        basis=basis,
        uncertainty_percent=uncertainty.measured(basis) if measured else uncertainty.FORECAST_PERCENT,
        estimated=not measured,
        from_utc=begin,
        to_utc=end,
        fetched_utc=now,
        note="" if measured else "forecast",
    )


def _minute(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
