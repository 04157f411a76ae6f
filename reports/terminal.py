"""The record as text for a terminal and for summary.txt: plain, short, and at most as wide as asked for.

Every figure comes with its unit, how it was come by and how sure it is. The first lines say what matters most: how
the command ended, and whether anything was measured at all.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from greenrun.reports import units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greenrun.reports.record import Device, Record

_LABEL_WIDTH = 12
_PREFIX = "greenrun: "

_KINDS = {"cpu": "CPU", "dram": "memory", "gpu": "GPU", "other": "other"}
_METHODS = {"counter": "counted by the hardware", "power": "from polled power", "estimate": "estimated"}


def render(record: Record, width: int = 80, run_dir: str | None = None) -> str:
    """Give the summary, lines of at most `width` columns. The path `run_dir` is never cut: it is there to be copied."""
    lines = textwrap.wrap(_PREFIX + _clean(_headline(record)), width, subsequent_indent="  ")
    for label, text in _entries(record):
        lines += textwrap.wrap(
            _clean(text),
            width,
            initial_indent=f"  {label:{_LABEL_WIDTH - 2}}",
            subsequent_indent=" " * _LABEL_WIDTH,
            break_on_hyphens=False,
        )
    if run_dir is not None:
        lines.append(f"  {'log':{_LABEL_WIDTH - 2}}{_clean(run_dir)}")
    return "\n".join(lines) + "\n"


def prediction_line(prediction: Mapping[str, Any]) -> str:
    """Give the line for a `prediction` event, while the command runs."""
    amounts = [
        f"{_amount(key, prediction[key]['value'])} ({_range(key, prediction[key]['low'], prediction[key]['high'])})"
        for key in _AMOUNTS
        if prediction.get(key)
    ]
    after = f"after epoch {prediction['after_epoch']} of {prediction['epochs']}"
    return f"{_PREFIX}{after}, the whole job is predicted to take {', '.join(amounts)}"


_AMOUNTS = {"duration_seconds": units.duration, "energy_joules": units.energy, "co2e_grams": units.mass}


def _amount(key: str, value: float) -> str:
    return _AMOUNTS[key](value) + (" of CO2e" if key == "co2e_grams" else "")


def _range(key: str, low: float, high: float) -> str:
    return f"{_AMOUNTS[key](low)} to {_AMOUNTS[key](high)}"


def _headline(record: Record) -> str:
    seconds = record["duration_seconds"]
    if seconds is None:
        return f"the command was not started{_exit_code(record)}"
    ran = f"the command ran for {units.duration(seconds)}"
    if record["signal"] is not None:
        end = f"and was ended by {_signal_name(record['signal'])}"
    elif record["exit_code"] is not None:
        end = f"and exited with {record['exit_code']}"
    else:
        end = "as far as is known; how it ended is not"
    return f"{ran} {end}" + ("; this record is partial" if record["status"] == "partial" else "")


def _exit_code(record: Record) -> str:
    return "" if record["exit_code"] is None else f" (exit code {record['exit_code']})"


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return f"signal {number}"


def _entries(record: Record) -> Iterator[tuple[str, str]]:
    """Give label and text of each paragraph; an empty label goes on with the one before."""
    if record["status"] != "not-started":
        yield from _energy(record)
        yield from _footprint(record)
        yield from _epochs(record)
    if record["suspended_seconds"]:
        yield "suspended", f"{units.duration(record['suspended_seconds'])}, not counted in the duration"
    for warning in record["warnings"]:
        yield "warning", warning["message"]


def _energy(record: Record) -> Iterator[tuple[str, str]]:
    measured = [device for device in record["devices"] if device["energy_joules"] is not None]
    counted = [device for device in measured if device["counted"]]
    total_joules = record["energy_joules"]["total"]
    if total_joules is None:
        yield "energy", "unknown: nothing was measured or estimated"
        return
    estimated = all(device["method"] == "estimate" for device in counted)
    text = units.energy(total_joules) + _plus_minus(record["uncertainty_percent"])
    yield "energy", text + (", estimated: no meter on this machine" if estimated else "")
    for group in _alike(counted):
        yield "", _devices(group)
    for device in measured:
        if not device["counted"]:
            yield "", f"beside the total: {_devices([device])}"


def _alike(devices: list[Device]) -> list[list[Device]]:
    """Group the devices that differ in nothing but their number."""
    groups: dict[tuple[str, str, str, bool], list[Device]] = {}
    for device in devices:
        groups.setdefault((device["kind"], device["method"], device["name"], device["trusted"]), []).append(device)
    return list(groups.values())


def _devices(group: list[Device]) -> str:
    """Tell devices of one kind, method and name in a line; being of one method, their uncertainties add."""
    first = group[0]
    joules = sum(device["energy_joules"] or 0.0 for device in group)
    half_widths = [(device["energy_joules"] or 0.0) * (device["uncertainty_percent"] or 0.0) for device in group]
    percent = sum(half_widths) / joules if joules else first["uncertainty_percent"]
    method = _METHODS[first["method"]] if first["trusted"] else "counted, but modelled by a hypervisor"
    name = f"{len(group)} x {first['name']}" if len(group) > 1 else first["name"]
    note = f": {first['note']}" if first["note"] else ""
    return f"{_KINDS[first['kind']]} {units.energy(joules)}{_plus_minus(percent)}, {method} ({name}{note})"


def _footprint(record: Record) -> Iterator[tuple[str, str]]:
    grams, low, high = record["co2e_grams"], record["co2e_low_grams"], record["co2e_high_grams"]
    if grams is None or low is None or high is None:
        yield "CO2e", "unknown"
    else:
        yield "CO2e", f"{units.mass(grams)} ({units.mass(low)} to {units.mass(high)})"
    yield "", f"PUE {record['pue']:g}, {_PUE[record['pue_source']]}"
    used = record["intensity"]
    if used["grams_per_kwh"] is None:
        return
    mean = ", mean of the hours" if len(used["spans"]) > 1 else ""
    details = (
        used["zone"] or used["country"],
        None if used["year"] is None else str(used["year"]),
        used["basis"] and f"{used['basis']} emissions",
        used["source"],
        used["note"],
        None if used["how"] in (None, "unknown") else f"place by {used['how']}",
    )
    text = f"{units.digits(used['grams_per_kwh'], 3)} g/kWh{_plus_minus(used['uncertainty_percent'])}{mean}"
    yield "", "; ".join([text, *filter(None, details)])


_PUE = {"told": "as told", "assumed": "assumed: nobody told it (--pue)", "what-if": "as asked for in this report"}


def _epochs(record: Record) -> Iterator[tuple[str, str]]:
    epochs = record["epochs"]
    if epochs:
        seconds = sum(epoch["duration_seconds"] for epoch in epochs) / len(epochs)
        known = [epoch["energy_joules"] for epoch in epochs if epoch["energy_joules"] is not None]
        energy = f" and {units.energy(sum(known) / len(known))}" if known else ""
        yield "epochs", f"{len(epochs)}, of {units.duration(seconds)}{energy} each on average"
    prediction = record["prediction"]
    if prediction:
        made: Any = prediction["made"][0]
        errors: Any = prediction["error_percent"]
        amounts = [
            _amount(key, made[key]["value"]) + ("" if errors[key] is None else f" (off by {errors[key]:+.1f} %)")
            for key in _AMOUNTS
            if made[key]
        ]
        yield "predicted", f"after epoch {made['after_epoch']} of {made['epochs']}: {', '.join(amounts)}"


def _plus_minus(percent: float | None) -> str:
    return "" if percent is None else f" +-{units.percent(percent)}"


def _clean(text: str) -> str:
    """Replace what would move the cursor: names and paths come from outside."""
    return "".join(character if character.isprintable() else "?" for character in text)
