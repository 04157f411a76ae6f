"""What a job will cost, told before it runs, as text in the summary's columns and as a document for JSON."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from greenrun.intensity import exchange
from greenrun.reports import ahead, forecast, terminal, units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenrun.intensity.model import Intensity
    from greenrun.reports.ahead import Ahead
    from greenrun.sampler.prediction import Interval

_PUE_SOURCES = {
    "told": "as told",
    "run": "as told to that run",
    "assumed": f"assumed, since nobody told it (--pue); the mean data centre's {ahead.AVERAGE_PUE:g} "
    f"({ahead.AVERAGE_PUE_SOURCE}) makes the CO2e {100.0 * (ahead.AVERAGE_PUE - 1.0):.0f}{units.NO_BREAK}% more",
}
_YEARLY = ("region table", "country table")


def render(told: Ahead, width: int = 80) -> str:
    """Give the answer in lines of at most `width` columns: the figures first, then all that was assumed for them."""
    headline = textwrap.wrap(f"greenrun: {forecast.plain(told.headline)}", width, subsequent_indent="  ")
    return "\n".join(headline) + "\n" + "".join(terminal.entry(label, text, width) for label, text in _entries(told))


def document(told: Ahead) -> str:
    """Give the answer as indented JSON with a newline at its end; unknown is null."""
    seconds, joules, rule = told.costs
    intensity = told.grid.intensity
    fields = {
        "told_from": told.told_from,
        "headline": forecast.plain(told.headline),
        "epochs": told.epochs,
        "interval_percent": ahead.COVERAGE_PERCENT,
        "duration_seconds": _fields(seconds),
        "energy_joules": _fields(joules),
        "co2e_grams": _fields(told.co2e_grams),
        "rule": rule,
        "pue": told.pue,
        "pue_source": told.pue_source,
        "intensity": intensity and exchange.intensity_to_json(intensity),
        "passed_over": [passed._asdict() for passed in told.grid.passed],
        "place": told.grid.place._asdict(),
        "assumptions": [{"about": one.about, "text": forecast.plain(one.phrase)} for one in told.assumed],
    }
    return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _fields(interval: Interval | None) -> dict[str, float] | None:
    return interval and interval._asdict()


def _entries(told: Ahead) -> Iterator[tuple[str, str]]:
    seconds, joules, rule = told.costs
    yield "time", _amount(seconds, units.duration)
    yield "energy", "unknown" if joules is None else _amount(joules, units.energy)
    yield "CO2e", "unknown" if told.co2e_grams is None else _amount(told.co2e_grams, units.mass)
    yield "  PUE", f"{told.pue:g}, {_PUE_SOURCES[told.pue_source]}"
    if told.grid.intensity:
        yield "  intensity", _intensity(told.grid.intensity, told.grid.place.how)
    for reason in forecast.reasons(one for one in told.grid.passed if one.cause != "absent"):
        yield "passed over", reason
    label = "assumed"
    phrases = [one.phrase for one in told.assumed]
    if rule is not None:
        phrases.insert(1, f"epochs beyond those that ran are told from: {rule}")
    for phrase in phrases:
        yield label, phrase
        label = ""
    share = f"{ahead.COVERAGE_PERCENT}{units.NO_BREAK}%"
    yield "ranges", f"they and +- are of {share}: so often the actual value lies within, if all that is assumed holds"


def _amount(interval: Interval, write: Any) -> str:
    if interval.low == interval.high:
        text: str = write(interval.value)
        return text
    return f"{write(interval.value)} ({units.interval(write(interval.low), write(interval.high))})"


def _intensity(intensity: Intensity, how: str) -> str:
    told = intensity.link == "told"
    doubt = "" if told else f"{units.NO_BREAK}+-{units.percent(ahead.at_90(intensity.uncertainty_percent))}"
    of_year = f" of {intensity.year}" if intensity.year else ""
    place = intensity.zone or intensity.country
    yearly = place and intensity.link in _YEARLY
    parts = (
        f"{units.digits(intensity.grams_per_kwh, 3)}{units.NO_BREAK}g/kWh{doubt}",
        None if told else f"yearly average of {place}" if yearly else place,
        None if told else how,
        intensity.note,
        f"{intensity.basis} emissions{of_year}" if intensity.basis else None,
        intensity.source,
    )
    return ", ".join(filter(None, parts))
