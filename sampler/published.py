"""What an agent tells, and how it is believed: lines of JSON, a greeting that names the counters, then the readings.

A counter is told as the kernel shows it, in microjoules with the span after which it begins again. So its reader's own
meter unwraps it, finds resets, and loses nothing when the agent was away in between.

Pure. The reader trusts who speaks, not what is said: a line that is not exactly what it should be is a ValueError.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from greenrun.sampler.model import Counter, Device, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

PROTOCOL = 1
EACH_SECONDS = 1.0
"""How old a reading may be. Counters that are read quickly betray what other users' processes compute, which is why the
kernel keeps them for root (CVE-2020-8694; Lipp et al. 2021, PLATYPUS): a second is coarse on purpose."""

MOST_BYTES = 1 << 16
"""No line is longer: a greeting for eight packages takes 3 kB."""

_MOST_DEVICES = 64
_LONGEST_TEXT = 500
_MOST_WATTS = 1e6
_LONGEST_SECONDS = 1e10
_MOST_MICROJOULES = (1 << 63) - 1


class Greeting(NamedTuple):
    """What comes first: the counters in the order of the readings. `boot_id` is None where it cannot be read."""

    boot_id: str | None
    devices: tuple[Device, ...]


class Reading(NamedTuple):
    """All counters at `t`, CLOCK_MONOTONIC seconds, by the id of the device; None is one that gave nothing."""

    t: float
    counters: dict[str, Counter | None]


def greeting(told: Greeting) -> bytes:
    """Write the first line."""
    devices = [{name: value for name, value in device._asdict().items() if name in _CHECKS} for device in told.devices]
    return _line({"agent": PROTOCOL, "boot_id": told.boot_id, "devices": devices})


def reading(t: float, counters: Sequence[Counter | None]) -> bytes:
    """Write one reading of all counters, in the order of the greeting's devices; it was begun at `t`."""
    values = [None if counter is None else counter.microjoules for counter in counters]
    return _line({"t": round(t, 6), "microjoules": values})


def parse_greeting(line: bytes) -> Greeting:
    """Read the first line; every device is a counter whose source is the agent. Raises ValueError."""
    told = _object(line)
    if told.get("agent") != PROTOCOL:
        raise ValueError("it does not begin as this version's agents do")
    boot_id, entries = told.get("boot_id"), told.get("devices")
    if not (boot_id is None or _is_text(boot_id)):
        raise ValueError("its boot_id is no text")
    if not isinstance(entries, list) or len(entries) > _MOST_DEVICES:
        raise ValueError("it has no list of devices")
    devices = tuple(map(_device, entries))
    if len({device.id for device in devices}) < len(devices):
        raise ValueError("two devices have one id")
    return Greeting(boot_id, devices)


def parse_reading(line: bytes, devices: Sequence[Device]) -> Reading:
    """Read the counters of the greeting's devices. Raises ValueError."""
    told = _object(line)
    t: Any = told.get("t")
    values = told.get("microjoules")
    if not _is_amount(t, _LONGEST_SECONDS):
        raise ValueError("a reading has no time")
    if not isinstance(values, list) or len(values) != len(devices):
        raise ValueError("a reading is not of the devices that were named")
    if not all(value is None or _is_whole(value) for value in values):
        raise ValueError("a reading is no number of microjoules")
    counters = [None if value is None else Counter(float(t), value) for value in values]
    return Reading(float(t), dict(zip((device.id for device in devices), counters, strict=True)))


def _device(entry: Any) -> Device:
    if not isinstance(entry, dict):
        raise ValueError("a device is no JSON object")
    for name, check in _CHECKS.items():
        if not check(entry.get(name)):
            raise ValueError(f"a device has no valid {name}")
    return Device(source="agent", method="counter", **{name: entry[name] for name in _CHECKS})


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested without end") from None
    if not isinstance(told, dict):
        raise ValueError("it is no JSON object")
    return told


def _is_text(value: Any) -> bool:
    """Tell whether it can be shown and written: half characters, which JSON knows, are not printable."""
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable()


def _is_amount(value: Any, most: float) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= most  # NaN is not


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_MICROJOULES


_CHECKS = {
    "id": lambda value: _is_text(value) and value != "",
    "kind": lambda value: isinstance(value, str) and value in get_args(Kind),
    "name": _is_text,
    "uncertainty_percent": lambda value: _is_amount(value, _MOST_WATTS),
    "max_watts": lambda value: _is_amount(value, _MOST_WATTS),
    "span_microjoules": lambda value: value is None or (_is_whole(value) and value > 0),
    "counted": lambda value: isinstance(value, bool),
    "trusted": lambda value: isinstance(value, bool),
    "note": _is_text,
}
