"""A budget as people type it: 50Wh, 0.2 kWh, 90000J, 20g, 1.5kg."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from greenrun.reports.record import Quantity


class Budget(NamedTuple):
    """So much of one quantity, in its own unit; both are named as in the record."""

    quantity: Quantity
    limit: float


# No prefixes beyond these: mJ and MJ would be a slip of the shift key apart.
_UNITS: dict[str, tuple[Quantity, float]] = {
    "wh": ("energy_joules", 3.6e3),
    "kwh": ("energy_joules", 3.6e6),
    "j": ("energy_joules", 1.0),
    "g": ("co2e_grams", 1.0),
    "kg": ("co2e_grams", 1e3),
}
_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,15})?) ?([a-z]+)", re.ASCII | re.IGNORECASE)


def read(text: str) -> Budget:
    """Read a budget of more than nothing; ValueError carries the end of a sentence: "must be ..."."""
    told = _AMOUNT.fullmatch(text.strip())
    unit = _UNITS.get(told[2].lower()) if told else None
    if told is None or unit is None:
        raise ValueError("must be an energy in J, Wh or kWh, or a mass of CO2e in g or kg, such as 50Wh or 20g")
    quantity, size = unit
    limit = float(told[1]) * size
    if not (limit > 0.0 and math.isfinite(limit)):
        raise ValueError("must be more than nothing, such as 50Wh or 20g")
    return Budget(quantity, limit)
