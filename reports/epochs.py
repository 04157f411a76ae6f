"""Epochs from their marks, and predictions against what came of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from greenrun.reports.energy import Measured, sum_joules
from greenrun.sampler.progress import Point, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.life import Life
    from greenrun.reports.record import Amounts, Epoch, Event, Prediction


def epochs(events: Sequence[Event], life: Life, devices: Sequence[Measured]) -> list[Epoch]:
    """Give the epochs of the command's life.

    Where the job set markers itself, what was read from its output is left aside: it is the same epochs again.
    """
    marks = [event for event in events if event["event"] == "epoch" and life.begin <= event["t"]]
    marker: Literal["output", "marks"] = "marks" if any(mark["from"] == "marks" for mark in marks) else "output"
    progress = Progress(Point(life.begin, None))
    for mark in sorted(marks, key=lambda mark: float(mark["t"])):
        if mark["from"] == marker:
            # What a relay reads last arrives after the command's end, but was written before it.
            progress.mark(mark["n"], mark["mark"], Point(min(mark["t"], life.end), None))
    if life.ended:
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


def prediction(events: Sequence[Event], actual: Amounts, *, anew: bool) -> Prediction | None:
    """Give all predictions and the signed error of the first, in per cent of what it was; None if there were none.

    `anew`: PUE or intensity are not those of the run, so that the grams predicted then say nothing now.
    """
    made = [event for event in events if event["event"] == "prediction"]
    if not made:
        return None
    earliest = made[0]

    def error_percent(predicted: dict[str, float] | None, true: float | None) -> float | None:
        if not predicted or not true:
            return None
        error = 100.0 * (predicted["value"] - true) / true
        return error if math.isfinite(error) else None  # next to nothing as the actual value

    return {
        "made": [
            {
                "after_epoch": event["after_epoch"],
                "epochs": event["epochs"],
                "duration_seconds": event.get("duration_seconds"),
                "energy_joules": event.get("energy_joules"),
                "co2e_grams": None if anew else event.get("co2e_grams"),
            }
            for event in made
        ],
        "actual": actual,
        "error_percent": {
            "duration_seconds": error_percent(earliest.get("duration_seconds"), actual["duration_seconds"]),
            "energy_joules": error_percent(earliest.get("energy_joules"), actual["energy_joules"]),
            "co2e_grams": None if anew else error_percent(earliest.get("co2e_grams"), actual["co2e_grams"]),
        },
    }
