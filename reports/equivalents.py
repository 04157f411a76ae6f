"""What an amount of CO2e compares to: one or two things that people know, each with its source.

They are chosen by size, so that no figure is tiny or endless; of a few grams there is nothing to tell. All of them are
averages that say what the amount is like, to two digits, not what it is.
"""

from __future__ import annotations

from typing import NamedTuple

from greenrun.reports import units

_MOST = 2


class Equivalent(NamedTuple):
    """One comparison: `amount` of what `unit` says, each `grams` of CO2e, by `source`."""

    amount: float
    unit: str
    grams: float
    source: str

    @property
    def words(self) -> str:
        """The comparison as a phrase, with spaces at which no line ends within its figure."""
        return f"{units.digits(self.amount, 2)}{units.NO_BREAK}{self.unit} ({self.source})"


class _Known(NamedTuple):
    grams: float
    unit: str
    source: str
    least: float  # of the unit
    most: float


_CHARGED = _Known(12.4, "smartphone charges in the USA", "EPA 2024", 1.0, 100.0)
"""1.24e-5 t for a charge: Greenhouse Gas Equivalencies Calculator of the US EPA, revised in 2024, public domain."""

_KM_DRIVEN = _Known(393.0 / 1.609344, "km by the average petrol car of the USA", "EPA 2024", 1.0, 1e6)
"""3.93e-4 t for a mile: the same calculator."""

_PERSON_YEAR = _Known(53.2e15 / 8.16e9 / 100.0, "% of what a person emits in a year", "EDGAR 2025, UN 2024", 1.0, 1e9)
"""The world's mean: 53.2 Gt in 2024 (EDGAR's report of 2025, European Commission, CC BY 4.0) of 8.16 billion people
(World Population Prospects 2024, United Nations, CC BY 3.0 IGO)."""

_BY_SIZE = (_CHARGED, _KM_DRIVEN, _PERSON_YEAR)


def of(grams: float | None) -> list[Equivalent]:
    """Give what so many grams of CO2e compare to, two things at most; nothing where they are unknown or few."""
    if grams is None:
        return []
    fitting = [
        Equivalent(grams / known.grams, known.unit, known.grams, known.source)
        for known in _BY_SIZE
        if known.least <= grams / known.grams < known.most
    ]
    return fitting[-_MOST:]
