"""What the page's plots are drawn from: a run's series in numbers of few digits, and the same in a table's few rows."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.reports import scopes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.record import Device, Record
    from greenrun.reports.series import Series

MOST_VALUES = 30_000
"""In all lines of a page together: some 200 kB."""

FEWEST_POINTS = 100
"""For each line, however many runs and devices share the page."""

MOST_MARKS = 500
"""More epochs than a plot has room for are marked each second, third ... one."""

TABLE_ROWS = 12

_DIGITS = 4
_AMOUNTS = ("energy_joules", "co2e_grams", "duration_seconds")


class Row(NamedTuple):
    """A part of the run in the table over time; power by device, in the order of the series. None is unknown."""

    from_t: float
    to_t: float
    watts: list[float | None]
    grams_per_kwh: float | None
    grams: float | None


def points_for(lines: int) -> int:
    """Give how many points each of so many lines may have."""
    return max(FEWEST_POINTS, MOST_VALUES // max(1, lines))


def labels(record: Record) -> dict[str, str]:
    """Give the devices' names by their ids; those of one name are numbered in their order."""
    names = Counter(device["name"] for device in scopes.devices_in(record))
    seen: Counter[str] = Counter()
    out: dict[str, str] = {}
    for device in scopes.devices_in(record):
        name = device["name"]
        seen[name] += 1
        out[device["id"]] = name if names[name] == 1 else f"{name} #{seen[name]}"
    return out


def plotted(record: Record, series: Series | None) -> dict[str, Any]:
    """Give what the script draws of a run, as JSON."""
    by_id = {device["id"]: device for device in scopes.devices_in(record)}
    names = labels(record)
    out: dict[str, Any] = {
        "duration": record["duration_seconds"],
        "devices": [
            _bar(device, names[device["id"]])
            for device in scopes.devices_in(record)
            if device["energy_joules"] is not None
        ],
        "epochs": marks(record),
        "predicted": {key: made for key in _AMOUNTS if (made := _predicted(record, key)) is not None},
        "share": _share(record),
    }
    if series is not None:
        decimals = max(0, 4 - math.floor(math.log10(series.t[-1])))
        out["t"] = [_plain(round(t, decimals)) for t in series.t]
        out["lines"] = [
            {
                "name": names[line.device],
                "kind": by_id[line.device]["kind"],
                "counted": by_id[line.device]["counted"],
                "watts": [_short(value) for value in line.watts],
            }
            for line in series.lines
            if any(value is not None for value in line.watts)
        ]
        out["grams"] = [_short(value, _DIGITS + 1) for value in series.grams]
        out["intensity"] = [
            [_plain(round(step.from_t, decimals)), _plain(round(step.to_t, decimals)), _short(step.grams_per_kwh)]
            for step in series.intensity
        ]
    return out


def marks(record: Record) -> list[list[float | int]]:
    """Give the ends of epochs and their numbers, all of them or evenly chosen ones."""
    epochs = record["epochs"]
    each = math.ceil(len(epochs) / MOST_MARKS) or 1
    return [[_plain(round(one["from"] + one["duration_seconds"], 3)), one["n"]] for one in epochs[each - 1 :: each]]


def rows(series: Series) -> Iterator[Row]:
    """Give the series in a few parts of the run, of about the same length; power is the mean of each part."""
    stretches = list(pairwise(series.t))
    count = min(TABLE_ROWS, len(stretches))
    bounds = [round(len(stretches) * part / count) for part in range(count + 1)]
    if len(stretches) > count:  # by time and not by count: samples are closer at the beginning
        wanted = [series.t[-1] * part / count for part in range(count + 1)]
        bounds = sorted({min(range(len(series.t)), key=lambda k: abs(series.t[k] - t)) for t in wanted})
    for first, last in pairwise(bounds):
        seconds = [b - a for a, b in stretches[first:last]]
        from_t, to_t = series.t[first], series.t[last]
        yield Row(
            from_t=from_t,
            to_t=to_t,
            watts=[_mean(line.watts[first:last], seconds) for line in series.lines],
            grams_per_kwh=_intensity(series, from_t, to_t),
            grams=series.grams[last],
        )


def _mean(values: Sequence[float | None], seconds: Sequence[float]) -> float | None:
    """Give the mean over the time in which the value is known."""
    known = [(value, weight) for value, weight in zip(values, seconds, strict=True) if value is not None]
    total = math.fsum(weight for _, weight in known)
    return math.fsum(value * weight for value, weight in known) / total if total else None


def _intensity(series: Series, from_t: float, to_t: float) -> float | None:
    overlaps = [
        (step.grams_per_kwh, min(step.to_t, to_t) - max(step.from_t, from_t))
        for step in series.intensity
        if step.from_t < to_t and step.to_t > from_t
    ]
    if not overlaps or any(value is None for value, _ in overlaps):
        return None
    return _mean([value for value, _ in overlaps], [seconds for _, seconds in overlaps])


def _bar(device: Device, name: str) -> dict[str, Any]:
    """Give a device's energy with the ends of its interval."""
    joules = device["energy_joules"] or 0.0
    half_width = joules * (device["uncertainty_percent"] or 0.0) / 100.0
    return {
        "name": name,
        "kind": device["kind"],
        "counted": device["counted"],
        "value": _short(joules),
        "low": _short(max(0.0, joules - half_width)),
        "high": _short(joules + half_width),
    }


def _predicted(record: Record, key: str) -> dict[str, Any] | None:
    """Give the predictions of an amount and what it came to, None where it was not predicted."""
    told = record["prediction"]
    if told is None:
        return None
    amounts: list[tuple[int, Any]] = [(made["after_epoch"], dict(made).get(key)) for made in told["made"]]
    known = [(after, value) for after, value in amounts if value]
    if not known:
        return None
    return {
        "planned": told["planned_epochs"],
        "stopped": told["stopped_early"],
        "after": [after for after, _ in known],
        "value": [_short(value["value"]) for _, value in known],
        "low": [_short(value["low"]) for _, value in known],
        "high": [_short(value["high"]) for _, value in known],
        "actual": _short(dict(told["actual"]).get(key)),  # type: ignore[arg-type]  # of amounts
    }


def _share(record: Record) -> list[float | int | None] | None:
    """Give the joules of the job and those of the rest of its node, None where they were not told apart."""
    job, node = job_joules(record), record["energy_joules"]["total"]
    return None if job is None or node is None else [_short(job), _short(max(0.0, node - job))]


def job_joules(record: Record) -> float | None:
    """Give the job's part of the node's energy: a number, or a sum by kind of device."""
    told: Any = record["job_energy_joules"]
    return told.get("total") if isinstance(told, dict) else told


def _short(value: float | None, digits: int = _DIGITS) -> float | int | None:
    return None if value is None else _plain(float(f"{value:.{digits}g}"))


def _plain(value: float) -> float | int:
    """Give a whole number as one: it is written without the point."""
    return int(value) if value.is_integer() else value
