"""The one way in: from what is known of the place to the intensities that hold over a stretch of time.

Providers are asked in order of trust; the first that has a figure answers. A live provider is one module and one line
in `_chain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenrun.intensity.model import Intensity, Place, Provider, Unavailable
from greenrun.intensity.table import CountryTable, WorldAverage

if TYPE_CHECKING:
    from datetime import datetime


class Told:
    """The figure that the user gave, in grams of CO2e per kWh, and where ("--intensity"). Taken as exact."""

    name = "told"

    def __init__(self, grams_per_kwh: float, told_by: str) -> None:
        self.grams_per_kwh = grams_per_kwh
        self.told_by = told_by

    def spans(self, place: Place, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:  # noqa: ARG002  a told figure holds for all time
        """Give the figure, for the place that is known."""
        return [
            Intensity(
                grams_per_kwh=self.grams_per_kwh,
                source=f"told by {self.told_by}",
                zone=place.zone,
                country=place.country,
                year=None,
                basis=None,
                uncertainty_percent=0.0,
                note="taken as exact",
            )
        ]


def _chain(told: Told | None) -> list[Provider]:
    providers: list[Provider | None] = [
        told,
        CountryTable(),
        WorldAverage(),
    ]
    return [provider for provider in providers if provider]


def find(told: Told | None, place: Place, from_utc: datetime, to_utc: datetime) -> list[Intensity]:
    """Give the intensities that hold from `from_utc` to `to_utc`; `note` has the reason of each link passed over."""
    reasons: list[str] = []
    for provider in _chain(told):
        answer = provider.spans(place, from_utc, to_utc)
        if isinstance(answer, Unavailable):
            reasons.append(answer.reason)
            continue
        return [span._replace(note="; ".join(filter(None, (span.note, *reasons)))) for span in answer]
    return []


def event_fields(intensity: Intensity, place: Place) -> dict[str, Any]:
    """Give the fields of a run log's `intensity` event: the figure, and how the place is known."""
    return {
        "from_utc": intensity.from_utc.isoformat() if intensity.from_utc else None,
        "to_utc": intensity.to_utc.isoformat() if intensity.to_utc else None,
        "grams_per_kwh": intensity.grams_per_kwh,
        "source": intensity.source,
        "zone": intensity.zone,
        "country": intensity.country,
        "year": intensity.year,
        "basis": intensity.basis,
        "uncertainty_percent": intensity.uncertainty_percent,
        "estimated": intensity.estimated,
        "note": intensity.note,
        "how": place.how,
    }
