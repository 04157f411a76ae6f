"""The logs that carbontracker leaves behind, versions 1 and 2: what its epochs took, by its own measurement. Pure.

It writes two. The standard log (`..._carbontracker.log`) has a block for each finished epoch:

    2026-01-31 12:00:09 - Epoch 1:
    2026-01-31 12:00:09 - Duration: 0:00:03.10
    2026-01-31 12:00:09 - Average power usage (W) for gpu: [201.3 199.8]
    2026-01-31 12:00:09 - Average power usage (W) for cpu: None

with one power per device, a plain number in place of a list, or None where none was read. They are without PUE. An
array of many devices goes on over several lines. The output log (`..._carbontracker_output.log`) has the sums over all
epochs alone, multiplied by a PUE that it does not name.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from greenrun.sampler.prediction import Cost

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD_SUFFIX = "_carbontracker.log"
OUTPUT_SUFFIX = "_carbontracker_output.log"

FAULTS = (
    "in a comparison on simulated hardware, version 2.4.7 told between 61\u00a0% too little and 1\u00a0% too much: it "
    "reads no memory, counts what it cannot read as 0\u00a0W, and loses a counter's wraps"
)
"""What is known of its figures; the comparison was with its default settings."""

_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:,\d+)? - (.*)", re.DOTALL)
_VERSION = re.compile(r"carbontracker version (\S{1,40})")
_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d?(?:\.\d+)?)")
_POWER = re.compile(r"Average power usage \(W\) for (\w+): (.*)", re.DOTALL)
_FOUND = "The following components were found: "


class Log(NamedTuple):
    """What a standard log holds.

    `unread` are the components of which an epoch has no power, or all have 0 W: what carbontracker cannot read counts
    as nothing there. An epoch's energy is None where a component's power is missing. `totals`: it is an output log.
    """

    version: str | None
    components: str
    epochs: list[Cost]
    unread: tuple[str, ...]
    totals: bool


class _Epoch(NamedTuple):
    duration_seconds: float
    watts: dict[str, float | None]


def parse(text: str) -> Log:
    """Read a log; one without a finished epoch has no `epochs`."""
    version, components, totals = None, "", False
    epochs: list[_Epoch] = []
    for message in _messages(text):
        if found := _VERSION.fullmatch(message):
            version = found[1]
        elif message.startswith(_FOUND):
            components = message.removeprefix(_FOUND)
        elif found := _DURATION.fullmatch(message):
            epochs.append(_Epoch(int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]), {}))
        elif epochs and (found := _POWER.fullmatch(message)):
            epochs[-1].watts[found[1]] = _watts(found[2])
        totals |= message.startswith("CarbonTracker: ")
    return Log(version, components, [_cost(epoch) for epoch in epochs], _unread(epochs), totals)


def _messages(text: str) -> Iterator[str]:
    """Give the messages without their times, each with the lines that it goes on over."""
    message: str | None = None
    for line in text.splitlines():
        stamped = _STAMP.fullmatch(line)
        if stamped is None:
            message = None if message is None else f"{message} {line}"
            continue
        if message is not None:
            yield message.strip()
        message = stamped[1]
    if message is not None:
        yield message.strip()


def _watts(text: str) -> float | None:
    """Add the devices of a component; None where one was not read."""
    try:
        watts = math.fsum(float(word) for word in text.strip("[] ").split())
    except ValueError:
        return None
    return watts if text.strip("[] ") and math.isfinite(watts) else None


def _cost(epoch: _Epoch) -> Cost:
    watts = [value for value in epoch.watts.values() if value is not None]
    known = len(watts) == len(epoch.watts) and any(watts)
    return Cost(epoch.duration_seconds, math.fsum(watts) * epoch.duration_seconds if known else None)


def _unread(epochs: list[_Epoch]) -> tuple[str, ...]:
    names = dict.fromkeys(name for epoch in epochs for name in epoch.watts)
    powers = {name: [epoch.watts.get(name) for epoch in epochs] for name in names}
    return tuple(name for name, watts in powers.items() if None in watts or not any(watts))
