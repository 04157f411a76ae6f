"""The paragraph for a paper or a model card, as Markdown: what ran on what, what it used, and how sure that is.

`sentences` is the paragraph before it is escaped; the same one stands in `latex`. Every figure is rounded as on the
terminal. What is unknown is said to be, and so is what was estimated or is but a part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.reports import origin, scopes, tables, units, words
from greenrun.reports.life import parse_utc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenrun.reports.record import Device, Record

_KINDS = {"cpu": "CPU", "dram": "memory", "gpu": "GPU", "other": "other devices"}
_METHODS = {
    "counter": "counted by the hardware",
    "power": "integrated from polled power",
    "estimate": "estimated from load and tables, not measured",
}
_PUES = {"told": "as told", "assumed": "assumed, since none was told", "what-if": "as this statement was asked for"}
_MARKUP = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]<>|~#$!"} | {"&": "&amp;", "@": "&#64;"})


def render(record: Record) -> str:
    """Give the paragraph as Markdown."""
    return escaped(plain(" ".join(sentences(record)))) + "\n"


def escaped(text: str) -> str:
    """Give text that is no Markdown and no HTML."""
    return text.translate(_MARKUP)


def plain(text: str) -> str:
    """Put words for what only a terminal wants, and leave nothing that is not printed."""
    text = text.replace(units.NO_BREAK, " ").replace("+-", "\u00b1")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def hardware(record: Record) -> str:
    """Name what was measured, or estimated: the GPUs first, for they are what papers ask for."""
    parts = [f"{count} x {name}" for name, count in tables.gpu_models(record).items()]
    for kind in ("cpu", "dram", "other"):
        names = [device["name"] for device in _counted(record) if device["kind"] == kind]
        if names:
            parts.append(f"{_KINDS[kind]} ({', '.join(names)})")
    return ", ".join(parts)


def sentences(record: Record) -> Iterator[str]:
    """Give the sentences of the paragraph, unescaped."""
    yield from _run(record)
    yield from _energy(record)
    yield from _footprint(record)
    if record["status"] == "partial":
        yield "The record is partial: a part of the run is in none of these figures, so the sums are lower bounds."
    yield f"This was told by greenrun {record['greenrun']} (run {record['run_id']})."


def _run(record: Record) -> Iterator[str]:
    seconds = record["duration_seconds"]
    name = f' "{record["name"]}"' if record["name"] else ""
    if seconds is None:
        yield f"The {record['kind']}{name} did not run, or nothing is known of it."
        return
    on = hardware(record)
    started = parse_utc(record["started_at"]).strftime("%Y-%m-%d %H:%M")
    yield (
        f"The {record['kind']}{name} ran for {units.duration(seconds)} from {started} UTC on"
        f"{f' {on}' if on else ', of which no device could be read'}."
    )


def _energy(record: Record) -> Iterator[str]:
    total, doubt = scopes.energy_of(record)["total"], record["uncertainty_percent"]
    if total is None:
        yield "The energy that it used is unknown."
        return
    sure = "" if doubt is None else f" (+-{units.NO_BREAK}{units.percent(doubt)}, a 95{units.NO_BREAK}% interval)"
    whose = "the energy of the whole machine in that time"
    if scopes.is_of_job(record):
        whole = record["energy_joules"]["total"]
        whose = f"its part of what the machine used in that time{'' if whole is None else f' ({units.energy(whole)})'}"
    yield f"It used {units.energy(total)} of electricity{sure}, {whose}: {_by_kind(record)}."
    yield from _shared(record)
    if any(device["counted"] and not device["trusted"] for device in scopes.devices_in(record)):
        yield "A part of it is from a counter that the hypervisor models, which is no measurement."
    if all(device["method"] == "estimate" for device in _counted(record)):
        yield "All of it is an estimate: nothing was measured."
    elif tables.is_estimated(record):
        yield "A part of it is an estimate, not a measurement."


def _shared(record: Record) -> Iterator[str]:
    """Say by what a job's part was told, for it is no measurement alone."""
    share = record["share"]
    if share is None or not scopes.is_of_job(record):
        return
    by = {"cpu": share["cpu"], "dram": share["dram"], "gpu": share["gpu"]}
    told = [f"{_KINDS[kind]} by {words.SHARED_BY[way]}" for kind, way in by.items() if way is not None]
    idle = "with" if share["method"] == "split" else "without"
    yield f"That part is told by models ({', '.join(told)}), {idle} a calibrated idle floor of the processors."


def _by_kind(record: Record) -> str:
    parts = []
    joules = scopes.energy_of(record)
    for kind, amount in (
        ("cpu", joules["cpu"]),
        ("dram", joules["dram"]),
        ("gpu", joules["gpu"]),
        ("other", joules["other"]),
    ):
        if amount is not None:
            methods = dict.fromkeys(_METHODS[device["method"]] for device in _counted(record) if device["kind"] == kind)
            told = units.energy(amount, joules["total"])
            parts.append(f"{_KINDS[kind]} {told} ({' and '.join(methods)})")
    return ", ".join(parts)


def _footprint(record: Record) -> Iterator[str]:
    facility_kwh, grams = record["facility_energy_kwh"], record["co2e_grams"]
    low, high = record["co2e_low_grams"], record["co2e_high_grams"]
    if facility_kwh is not None:
        facility = units.energy(facility_kwh * 3.6e6)
        yield (
            f"With a power usage effectiveness (PUE) of {record['pue']:g} ({_PUES[record['pue_source']]}), "
            f"that is {facility} at the facility."
        )
    if grams is None or low is None or high is None:
        yield "Its emissions are unknown."
        return
    yield (
        f"At a carbon intensity of {origin.words(record['intensity'])}, this amounts to {units.mass(grams)} of CO2e "
        f"({units.interval(units.mass(low), units.mass(high))}, a 95{units.NO_BREAK}% interval)."
    )


def _counted(record: Record) -> list[Device]:
    """Give the devices whose energy is in the sum."""
    return [device for device in scopes.devices_in(record) if device["counted"] and device["energy_joules"] is not None]
