"""Epochs from their marks, and predictions against what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.reports.energy import Measured, sum_joules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.life import Life
    from greenrun.reports.record import Amounts, Epoch, Event, Marker, Prediction


def epochs(events: Sequence[Event], life: Life, devices: Sequence[Measured]) -> list[Epoch]:
    """Give the epochs of the command's life.

    Where the job set markers itself, what was read from its output is left aside: it is the same epochs again.
    """
    marks = [event for event in events if event["event"] == "epoch" and life.begin <= event["t"] <= life.end]
    marks.sort(key=lambda mark: float(mark["t"]))  # a marker may be read after a later event was written
    marker: Marker = "marks" if any(mark["from"] == "marks" for mark in marks) else "output"
    return [
        {
            "n": n,
            "from": from_t - life.begin,
            "duration_seconds": to_t - from_t,
            "energy_joules": sum_joules(devices, from_t, to_t),
            "marker": marker,
        }
        for n, from_t, to_t in _stretches([mark for mark in marks if mark["from"] == marker], life)
    ]


def _stretches(marks: Sequence[Event], life: Life) -> Iterator[tuple[int, float, float]]:
    """Give number, begin and end of each epoch, from start marks, end marks or both.

    An epoch without a start mark begins where the one before it ended, the first with the command; one without an
    end mark ends where the next begins, the last with the command, if that was seen to end.
    """
    boundary = life.begin
    running: int | None = None
    for mark in marks:
        n, t = mark["n"], mark["t"]
        if mark["mark"] == "end":
            yield n, boundary, t
            running = None
        elif running == n:  # the same start told twice
            continue
        else:
            if running is not None:
                yield running, boundary, t
            running = n
        boundary = t
    if running is not None and life.ended:
        yield running, boundary, life.end


def prediction(events: Sequence[Event], actual: Amounts, *, anew: bool) -> Prediction | None:
    """Give all predictions and the signed error of the first, in per cent of what it was; None if there were none.

    `anew`: PUE or intensity are not those of the run, so that the grams predicted then say nothing now.
    """
    made = [event for event in events if event["event"] == "prediction"]
    if not made:
        return None
    earliest = made[0]

    def error_percent(predicted: dict[str, float] | None, true: float | None) -> float | None:
        return 100.0 * (predicted["value"] - true) / true if predicted and true else None

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
