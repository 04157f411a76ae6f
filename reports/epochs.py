"""Epochs from their marks, and predictions against what came of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from greenrun.reports.energy import Measured, sum_joules
from greenrun.reports.life import first
from greenrun.sampler.progress import Point, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.life import Life
    from greenrun.reports.record import Amounts, Epoch, Event, Made, Prediction, Range, Scope


def epochs(events: Sequence[Event], life: Life, devices: Sequence[Measured]) -> list[Epoch]:
    """Give the epochs of the command's life.

    Where the job set markers itself, what was read from its output is left aside: it is the same epochs again. An epoch
    that only began ends with the command, unless that failed: then nobody knows how much of the epoch was done.
    """
    marks = [event for event in events if event["event"] == "epoch" and life.begin <= event["t"]]
    marker: Literal["output", "marks"] = "marks" if any(mark["from"] == "marks" for mark in marks) else "output"
    progress = Progress(Point(life.begin, None))
    for mark in sorted(marks, key=lambda mark: float(mark["t"])):
        if mark["from"] == marker:
            # What a relay reads last arrives after the command's end, but was written before it.
            progress.mark(mark["n"], mark["mark"], Point(min(mark["t"], life.end), None))
    if life.ended and not has_failed(events):
        progress.end(Point(life.end, None))
    return [
        {
            "n": epoch.n,
            "from": epoch.from_t - life.begin,
            "duration_seconds": epoch.duration_seconds,
            "energy_joules": sum_joules(devices, epoch.from_t, epoch.from_t + epoch.duration_seconds),
            "marker": marker,
        }
        for epoch in progress.finished
    ]


def has_failed(events: Sequence[Event]) -> bool:
    """Tell whether what was measured is known to have ended otherwise than well."""
    exited = first(events, "exited") or {}
    return bool(exited.get("exit_code") or exited.get("signal") or exited.get("exception"))


def prediction(
    events: Sequence[Event], actual: Amounts, epochs_done: int, scope: Scope, *, anew: bool
) -> Prediction | None:
    """Give all predictions, each held against what came of it; None if there were none.

    A job that stopped before its last epoch was predicted as a whole: then nothing is held against anything. `anew`:
    PUE or intensity are not those of the run, so that the grams predicted then say nothing now; nor do joules and grams
    of another `scope`.
    """
    told = [event for event in events if event["event"] == "prediction"]
    if not told:
        return None
    planned = told[-1]["epochs"]
    stopped_early = epochs_done < planned
    held_against: Amounts = _UNKNOWN if stopped_early else actual
    if anew:
        held_against = {**held_against, "co2e_grams": None}
    made = [_made(event, held_against, is_ours=(event.get("scope") or "node") == scope, anew=anew) for event in told]
    return {
        "made": made,
        "actual": actual,
        "error_percent": made[0]["error_percent"],
        "planned_epochs": planned,
        "stopped_early": stopped_early,
    }


_UNKNOWN: Amounts = {"duration_seconds": None, "energy_joules": None, "co2e_grams": None}


def _made(event: Event, actual: Amounts, *, is_ours: bool, anew: bool) -> Made:
    duration, joules = event.get("duration_seconds"), event.get("energy_joules") if is_ours else None
    grams = event.get("co2e_grams") if is_ours and not anew else None
    return {
        "after_epoch": event["after_epoch"],
        "epochs": event["epochs"],
        "rule": event.get("rule"),
        "duration_seconds": duration,
        "energy_joules": joules,
        "co2e_grams": grams,
        "ahead": event.get("ahead") if is_ours and not anew else None,
        "error_percent": {
            "duration_seconds": _error_percent(duration, actual["duration_seconds"]),
            "energy_joules": _error_percent(joules, actual["energy_joules"]),
            "co2e_grams": _error_percent(grams, actual["co2e_grams"]),
        },
        "within": {
            "duration_seconds": _within(duration, actual["duration_seconds"]),
            "energy_joules": _within(joules, actual["energy_joules"]),
            "co2e_grams": _within(grams, actual["co2e_grams"]),
        },
    }


def _error_percent(predicted: Range | None, true: float | None) -> float | None:
    if not predicted or not true:
        return None
    error = 100.0 * (predicted["value"] - true) / true
    return error if math.isfinite(error) else None  # next to nothing as the actual value


def _within(predicted: Range | None, true: float | None) -> bool | None:
    return None if not predicted or true is None else predicted["low"] <= true <= predicted["high"]
