"""Amounts as people read them: three digits and a unit of the right size."""

from __future__ import annotations

import math

_JOULES_PER_WH = 3600.0


def energy(joules: float) -> str:
    """Write an energy: joules while they are few, then Wh and kWh, which electricity is sold by."""
    if joules < _JOULES_PER_WH:
        return _scaled(joules, ((1.0, "J"), (1e-3, "mJ")))
    return _scaled(joules / _JOULES_PER_WH, ((1e6, "MWh"), (1e3, "kWh"), (1.0, "Wh")))


def mass(grams: float) -> str:
    """Write a mass of CO2e."""
    return _scaled(grams, ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"), (1e-6, "ug")))


def duration(seconds: float) -> str:
    """Write a duration: seconds up to two minutes, then minutes, hours and days with seconds where they matter."""
    if seconds < 120.0:
        return _scaled(seconds, ((1.0, "s"), (1e-3, "ms")))
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {whole_seconds} s"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h {minutes} min" if days else f"{hours} h {minutes} min {whole_seconds} s"


def percent(value: float) -> str:
    """Write a number of per cent: two digits, since an uncertainty has no more."""
    return f"{digits(value, 2)} %"


def digits(value: float, count: int) -> str:
    """Write a number with `count` significant digits and no exponent; larger ones keep their whole part."""
    if value == 0.0:
        return "0"
    decimals = count - 1 - math.floor(math.log10(abs(float(f"{value:.{count - 1}e}"))))
    return f"{value:.{max(0, decimals)}f}"


def _scaled(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """Write a value in the largest unit of which there is one at least, else in the smallest; 0 in the plain one."""
    if value == 0.0:
        return "0 " + next(name for size, name in units if size == 1.0)
    for size, name in units:
        if float(f"{value / size:.2e}") >= 1.0:
            return f"{digits(value / size, 3)} {name}"
    size, name = units[-1]
    return f"{digits(value / size, 3)} {name}"
