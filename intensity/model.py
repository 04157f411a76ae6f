"""An intensity holds for a span of time at a place, and says where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

Basis = Literal["lifecycle", "direct"]


class Place(NamedTuple):
    """Where the machine stands, as far as is known.

    `country` is ISO 3166-1 alpha-2, None if unknown; `zone` is a grid zone within or across countries, None if only
    the country is known. `how` says in a few words how we know ("--country", "GREENRUN_COUNTRY", "time zone
    Europe/Copenhagen", "unknown").
    """

    country: str | None
    zone: str | None
    how: str


class Intensity(NamedTuple):
    """Grams of CO2e per kWh of electricity, from `from_utc` to `to_utc` (None: for all time that way).

    `uncertainty_percent` is the half-width of a 95 % interval for the use made of the figure: a yearly average is a
    poor guess for two hours of one day. None as `basis`: the user gave the figure and only the user knows.
    `note` says why this link of the chain was taken where a better one was passed over.
    """

    grams_per_kwh: float
    source: str
    zone: str | None
    country: str | None
    year: int | None
    basis: Basis | None
    uncertainty_percent: float
    estimated: bool = False
    from_utc: datetime | None = None
    to_utc: datetime | None = None
    note: str = ""


class Unavailable(NamedTuple):
    """Why a provider has no figure for this place and time, as a sentence for the record."""

    reason: str


class Provider(Protocol):
    """One source of intensities. `spans` never raises: it gives the intensities it knows for the stretch asked for."""

    name: str

    def spans(self, place: Place, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Give the intensities known for `place` from `from_utc` to `to_utc`, or why there are none."""
        ...
