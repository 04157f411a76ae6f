"""A run as carbontracker's standard log: what each epoch took, which its own parser reads (version 2.4.7).

The parser wants one plain number for each component and epoch, so the devices of a kind are added up. A run without
epochs is one epoch, as in carbontracker's own command line. Powers are without PUE there; the sums with PUE are in the
output log, see `carbontracker_output`. A power that is unknown is None, which the parser reads as 0 W.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from greenrun.reports import scopes
from greenrun.reports.energy import Measured
from greenrun.reports.formats import CannotTell
from greenrun.reports.intervals import used
from greenrun.reports.life import life, parse_utc
from greenrun.reports.origin import words
from greenrun.reports.units import NO_BREAK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.formats import Told
    from greenrun.reports.life import Life
    from greenrun.reports.record import Record

_COMPONENTS = {"gpu": "GPU", "cpu": "CPU", "dram": "DRAM", "other": "Other"}
# What ends a name or a list of names for the parser, and a line for everybody.
_NO_NAME = str.maketrans(dict.fromkeys(",.()", " "))


def render_runs(runs: Sequence[Told]) -> str:
    """Give the log of one run. Raises CannotTell."""
    if len(runs) > 1:
        raise CannotTell(
            f"the format carbontracker tells one run at a time, not {len(runs)}: its logs are one for each"
        )
    (run,) = runs
    if run.record["duration_seconds"] is None:
        raise CannotTell("the format carbontracker tells what epochs took, and this command never ran")
    return "".join(f"{_stamp(run.record, seconds)} - {message}\n" for seconds, message in _messages(run))


def _stamp(record: Record, seconds: float) -> str:
    return (parse_utc(record["started_at"]) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


def _messages(run: Told) -> Iterator[tuple[float, str]]:
    """Give each message with when it was due, in seconds since the spawn."""
    record, lived = run.record, life(run.events)
    devices = [
        device for device in scopes.charged(run.events, lived, run.record) if device.entry["counted"] and device.curve
    ]
    yield 0.0, f"greenrun {_line(record['greenrun'])} in the form of carbontracker version 2.4.7"
    yield 0.0, f"Only predicted and actual consumptions are multiplied by a PUE coefficient of {record['pue']:g}."
    kinds = {kind: [device for device in devices if device.entry["kind"] == kind] for kind in _COMPONENTS}
    found = " ".join(
        f"{_COMPONENTS[kind]} with device(s) {','.join(_name(device) for device in of_kind)}."
        for kind, of_kind in kinds.items()
        if of_kind
    )
    yield 0.0, f"The following components were found: {found}"
    duration_seconds = record["duration_seconds"] or 0.0
    epochs = [(epoch["n"], epoch["from"], epoch["duration_seconds"]) for epoch in record["epochs"]]
    for n, from_seconds, seconds in epochs or [(1, 0.0, duration_seconds)]:
        end = from_seconds + seconds
        yield end, f"Epoch {n}:"
        yield end, f"Duration: {_clock(seconds)}"
        for kind, of_kind in kinds.items():
            if of_kind and lived:
                yield end, f"Average power usage (W) for {kind}: {_watts(of_kind, lived, from_seconds, seconds)}"
    grams_per_kwh = record["intensity"]["grams_per_kwh"]
    if grams_per_kwh is not None:
        yield duration_seconds, _line(f"Carbon intensity: {words(record['intensity'])}")
        yield duration_seconds, f"Average carbon intensity during training was {grams_per_kwh:.2f} gCO2eq/kWh."
    if record["status"] == "partial":
        yield duration_seconds, "The record is partial: a part of the run is in none of these figures."


def _watts(devices: Sequence[Measured], lived: Life, from_seconds: float, seconds: float) -> str:
    from_t = lived.begin + from_seconds
    joules = [used(device, from_t, from_t + seconds, lived.begin)[0] for device in devices]
    known = [value for value in joules if value is not None]
    return f"{math.fsum(known) / seconds:.6f}" if seconds > 0.0 and len(known) == len(joules) else "None"


def _name(device: Measured) -> str:
    return " ".join(_line(str(device.entry["name"])).translate(_NO_NAME).split()) or "unnamed"


def _line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text.replace(NO_BREAK, " "))


def _clock(seconds: float) -> str:
    """Write a duration as carbontracker does, to the hundredth."""
    hundredths = round(seconds * 100.0)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest // 100:02d}.{rest % 100:02d}"
