"""Amounts as people read them: three digits and a unit of the right size.

Number and unit are joined by NO_BREAK, a space at which no line ends; a format puts a plain one in its place.
"""

from __future__ import annotations

import math

NO_BREAK = "\u00a0"

_ENERGIES = ((3.6e9, "MWh"), (3.6e6, "kWh"), (3.6e3, "Wh"), (1.0, "J"), (1e-3, "mJ"))


def energy(joules: float, beside_joules: float | None = None) -> str:
    """Write an energy: joules while they are few, then Wh and kWh, which electricity is sold by.

    `beside_joules` is another energy whose unit this one takes, so that the two can be compared.
    """
    return _scaled(joules, _ENERGIES, beside_joules)


def power(watts: float) -> str:
    """Write a power."""
    return _scaled(watts, ((1e6, "MW"), (1e3, "kW"), (1.0, "W"), (1e-3, "mW")))


def mass(grams: float) -> str:
    """Write a mass of CO2e."""
    return _scaled(grams, ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"), (1e-6, "ug")))


def duration(seconds: float) -> str:
    """Write a duration: seconds up to two minutes, above that in minutes, hours and days."""
    if seconds < 119.5:
        return _scaled(seconds, ((1.0, "s"), (1e-3, "ms")))
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (whole_seconds, "s"))
    first = next(index for index, (value, _) in enumerate(parts) if value)
    return NO_BREAK.join(f"{value}{NO_BREAK}{unit}" for value, unit in parts[first : first + 2])


def percent(value: float) -> str:
    """Write per cent with two digits: an uncertainty has no more."""
    return f"{digits(value, 2)}{NO_BREAK}%"


def interval(low: str, high: str) -> str:
    """Write the ends of an interval; the unit once, where both have the same one, and none with a 0."""
    number, *low_units = low.split(NO_BREAK)
    once = number == "0" or (len(low_units) == 1 and low_units == high.split(NO_BREAK)[1:])
    return f"{number if once else low} to {high}"


def digits(value: float, count: int) -> str:
    """Write a number with `count` significant digits and no exponent; a larger one keeps its whole part."""
    if value == 0.0:
        return "0"
    decimals = count - 1 - math.floor(math.log10(abs(float(f"{value:.{count - 1}e}"))))
    return f"{value:.{max(0, decimals)}f}"


def _scaled(value: float, units: tuple[tuple[float, str], ...], beside: float | None = None) -> str:
    """Write a value in the largest unit of which there is one at least, else in the smallest; nothing is a plain 0."""
    measure = value if beside is None else beside
    if measure == 0.0:
        size, name = next(unit for unit in units if unit[0] == 1.0)
    else:
        # As rounded: 999.9 mJ is 1.00 J.
        size, name = next((unit for unit in units if float(f"{measure / unit[0]:.2e}") >= 1.0), units[-1])
    return f"{digits(value / size, 3)}{NO_BREAK}{name}"
