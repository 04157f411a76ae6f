"""Predictions in words: one line while the command runs, and in the end each beside what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenrun.reports import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from greenrun.reports.record import Made, Prediction

COVERAGE = "90\u00a0%"
"""How often the actual value is to lie within a predicted range; docs/prediction.md has how often it does."""

_ALL_PERCENT = 99.5

_AMOUNTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "duration_seconds": ("time", units.duration),
    "energy_joules": ("energy", units.energy),
    "co2e_grams": ("CO2e", units.mass),
}


def line(prediction: Mapping[str, Any], *, estimated: bool) -> str:
    """Give the line that tells a `prediction` event while the command runs, without a line end.

    `estimated`: no meter stands behind the joules. Their own uncertainty is not in the ranges, and the line says so.
    """
    amounts = [
        f"{_amount(key, told['value'])} ({units.interval(_text(key, told['low']), _text(key, told['high']))})"
        for key, told in _told(prediction)
    ]
    doubt = f"{COVERAGE} ranges of the prediction alone" + (", from energy that is estimated, not measured" * estimated)
    doubt += _forecast(prediction)
    text = f"greenrun: {_after(prediction)}, the whole job is predicted to take {', '.join(amounts)}; {doubt}"
    return text.replace(units.NO_BREAK, " ")


def _forecast(prediction: Mapping[str, Any]) -> str:
    """Say whether the grams rest on a forecast: without one they are those of a constant intensity."""
    percent = (prediction.get("ahead") or {"forecast_percent": 0.0})["forecast_percent"]
    if not percent:
        return ""
    share = "the" if percent > _ALL_PERCENT else f"{percent:.0f}{units.NO_BREAK}% of the"
    return f"; CO2e by the forecast for {share} time to come"


def entries(prediction: Prediction, epochs_done: int) -> Iterator[tuple[str, str]]:
    """Give the summary's entries: a table of what was predicted when, or one line where nothing can be held against.

    `epochs_done` is the number of the last epoch that was seen.
    """
    made, actual = prediction["made"], prediction["actual"]
    keys = [key for key, _ in _told(made[0]) if actual[key] is not None]  # type: ignore[literal-required]  # a key of both
    if prediction["stopped_early"] or not keys:
        amounts = ", ".join(_amount(key, told["value"]) for key, told in _told(made[0]))
        early = "; it ended before, so that this was an upper bound" * prediction["stopped_early"]
        yield "predicted", f"{amounts} for {prediction['planned_epochs']} epochs, {_after(made[0])}{early}"
        return
    rows = [["after", *(_AMOUNTS[key][0] for key in keys)]]
    rows += [
        [f"{one['after_epoch']} of {one['epochs']}", *(_cell(one, key) for key in keys)]
        for one in _telling(made, prediction["planned_epochs"])
    ]
    rows.append(["actual", *(_text(key, actual[key]) for key in keys)])  # type: ignore[literal-required]  # as above
    yield from zip(["predicted", *[""] * len(rows)], _aligned(rows), strict=False)
    outside = [one for one in made if any(one["within"][key] is False for key in keys)]  # type: ignore[literal-required]  # as above
    if outside:
        yield "", f"* the actual value was outside of the {COVERAGE} range ({len(outside)} of {len(made)} predictions)"
    if epochs_done > prediction["planned_epochs"]:
        yield "", f"predicted were {prediction['planned_epochs']} epochs, but the job had {epochs_done}"


def _telling(made: Sequence[Made], planned: int) -> list[Made]:
    """Pick the predictions that tell how they got better: the first two, and after a tenth, a quarter and a half."""
    wanted = sorted({1, 2, planned // 10, planned // 4, planned // 2} - {0})
    picked: list[Made] = []
    for after in wanted:
        one = next((one for one in made if one["after_epoch"] >= after), None)
        if one is not None and one not in picked:
            picked.append(one)
    return picked


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the rows with their columns below each other; no line may break within a row, and its blanks must stay."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield text.rstrip().replace(" ", units.NO_BREAK)


def _cell(one: Made, key: str) -> str:
    told: Any = one
    value, error = told[key], told["error_percent"][key]
    if value is None:
        return "-"
    mark = "*" if told["within"][key] is False else ""
    return _text(key, value["value"]) + ("" if error is None else f" {error:+.1f}{units.NO_BREAK}%{mark}")


def _after(prediction: Mapping[str, Any]) -> str:
    return f"after epoch {prediction['after_epoch']} of {prediction['epochs']}".replace(" ", units.NO_BREAK)


def _told(prediction: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    return ((key, prediction[key]) for key in _AMOUNTS if prediction.get(key))


def _amount(key: str, value: float) -> str:
    return _text(key, value) + (f"{units.NO_BREAK}CO2e" if key == "co2e_grams" else "")


def _text(key: str, value: float) -> str:
    return _AMOUNTS[key][1](value)
