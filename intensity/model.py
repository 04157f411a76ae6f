"""An intensity holds for a span of time at a place, and says where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

Basis = Literal["lifecycle", "direct"]
"""lifecycle: with building the plants and bringing the fuel; direct: what leaves the chimney."""

Cause = Literal["absent", "forbidden", "limited", "broken"]
"""Why a link has no figure. absent: it has none for this place, basis or time, or was not meant to be asked;
forbidden: the token or its plan; limited: asked to wait; broken: everything that should not have happened."""


TITLES = {
    "electricitymaps": "Electricity Maps",
    "neso": "NESO",
    "energidata": "Energi Data Service",
    "energycharts": "Energy-Charts",
}
"""What people call the services, by the link that names each in records."""


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

    `link` is the link of the chain that gave it, as the record names it ("electricitymaps", "country table");
    `source` is whom to credit, in words. `uncertainty_percent` is the half-width of a 95 % interval for the use made of
    the figure: a yearly average is a poor guess for two hours of one day. None as `basis`: the user gave the figure and
    only the user knows. `estimated`: no measurement stands behind the hour (yet). `fetched_utc`: when it was told.
    """

    grams_per_kwh: float
    link: str
    source: str
    zone: str | None
    country: str | None
    year: int | None
    basis: Basis | None
    uncertainty_percent: float
    estimated: bool = False
    from_utc: datetime | None = None
    to_utc: datetime | None = None
    fetched_utc: datetime | None = None
    note: str = ""


class Unavailable(NamedTuple):
    """Why a link has no figure, as a phrase for the record that begins in lower case and needs no full stop."""

    reason: str
    cause: Cause = "absent"
    retry_after_seconds: float | None = None  # what a service asked for (429, 503)


class Passed(NamedTuple):
    """A link of the chain that was passed over, and why."""

    link: str
    cause: Cause
    reason: str


class Answer(NamedTuple):
    """What the chain found: spans in order of time, empty where no link had a figure; and the links passed over."""

    spans: list[Intensity]
    passed: list[Passed]


class Service(Protocol):
    """A service on the network. Nothing here raises: what goes wrong is an Unavailable.

    `link` names it in the record and in the cache; TITLES has its name for people.
    """

    link: str

    @property
    def address(self) -> str:
        """The base URL in force: answers of one address are not those of another."""
        ...

    def zone(self, place: Place, basis: Basis) -> str | Unavailable:
        """Give the service's name for the zone of `place`, or why it has no figures for it; asks nobody."""
        ...

    def history(self, zone: str, basis: Basis, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for what held from `from_utc` to `to_utc` (not after now), in order of time; it may be more or less."""
        ...

    def forecast(self, zone: str, basis: Basis, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Ask for what is expected from now to `to_utc`, in order of time; it may be more or less."""
        ...
