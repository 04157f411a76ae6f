"""The record as Markdown, for the summary of a CI job or a comment on a pull request.

What comes from outside is escaped for Markdown and for HTML, and names nobody: an `@` is kept from its name, on GitHub
too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.reports import budget as budgets
from greenrun.reports import origin, scopes, statement, tables, units, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greenrun.reports.record import Device, Record

_METHODS = {"counter": "counted by the hardware", "power": "from its power, polled", "estimate": "estimated"}
_PUES = {"told": "as told", "assumed": "assumed, since nobody told it", "what-if": "as this report was asked"}
_LONGEST_COMMAND = 300
_MOST_WARNINGS = 10  # more are in the record


def render(record: Record) -> str:
    """Give a heading, a table of what the run cost, and what makes its figures less sure."""
    heading = f"### What {_code(record['name'])} cost" if record["name"] else "### What this run cost"
    lines = [heading, "", "| | |", "|---|---|"]
    lines += [f"| {label} | {text} |" for label, text in _rows(record)]
    warnings = record["warnings"]
    if warnings:
        lines += ["", *(f"- {_text(warned['message'])}" for warned in warnings[:_MOST_WARNINGS])]
    if len(warnings) > _MOST_WARNINGS:
        lines.append(f"- and {len(warnings) - _MOST_WARNINGS} more warnings in the record")
    lines += ["", f"greenrun {_text(record['greenrun'])}, run {_code(record['run_id'])}"]
    return "\n".join(lines) + "\n"


def _rows(record: Record) -> Iterator[tuple[str, str]]:
    command = tables.command_line(record)
    if command is not None:
        cut = command if len(command) <= _LONGEST_COMMAND else f"{command[:_LONGEST_COMMAND]}..."
        yield "command", _code(cut)
    yield "time", _text(_time(record))
    if record["status"] == "not-started":
        return
    yield "energy", _text(_energy(record))
    whole = record["energy_joules"]["total"]
    if scopes.is_of_job(record) and whole is not None:
        yield "machine", _text(f"{units.energy(whole)} in all; the energy is the job's part of it")
    total_joules = scopes.energy_of(record)["total"]
    for kind, name in words.KINDS.items():
        devices = [device for device in _counted(record) if device["kind"] == kind]
        if devices:
            yield name, _text(_devices(devices, total_joules))
    yield "CO2e", _text(_emissions(record))
    yield "PUE", _text(f"{record['pue']:g}, {_PUES[record['pue_source']]}")
    intensity = origin.words(record["intensity"])
    if intensity:
        yield "carbon intensity", _text(intensity)
    if record["epochs"]:
        yield "epochs", str(len(record["epochs"]))
    if record["budget"] is not None:
        yield "budget", _text(_budget(record))


def _time(record: Record) -> str:
    seconds = record["duration_seconds"]
    if seconds is None:
        return "not started" if record["status"] == "not-started" else "unknown"
    if record["signal"] is not None:
        ended = f", ended by signal {record['signal']}"
    else:
        ended = "" if record["exit_code"] is None else f", exit status {record['exit_code']}"
    partial = " (the record is partial)" if record["status"] == "partial" else ""
    return f"{units.duration(seconds)}{ended}{partial}"


def _energy(record: Record) -> str:
    joules, doubt = scopes.energy_of(record)["total"], record["uncertainty_percent"]
    if joules is None:
        return "unknown: nothing was measured or estimated"
    sure = "" if doubt is None else f" +-{units.percent(doubt)}"
    if all(device["method"] == "estimate" for device in _counted(record)):
        return f"{units.energy(joules)}{sure}, estimated, not measured"
    return f"{units.energy(joules)}{sure}{', partly estimated' if tables.is_estimated(record) else ''}"


def _counted(record: Record) -> list[Device]:
    return [device for device in scopes.devices_in(record) if device["counted"] and device["energy_joules"] is not None]


def _devices(devices: list[Device], total_joules: float | None) -> str:
    joules = sum(device["energy_joules"] or 0.0 for device in devices)
    methods = dict.fromkeys(
        _METHODS[device["method"]] if device["trusted"] else "from a counter that the hypervisor models"
        for device in devices
    )
    names = dict.fromkeys(device["name"] for device in devices)
    return f"{units.energy(joules, total_joules)}, {' and '.join(methods)}, {' + '.join(names)}"


def _emissions(record: Record) -> str:
    grams, low, high = record["co2e_grams"], record["co2e_low_grams"], record["co2e_high_grams"]
    if grams is None or low is None or high is None:
        return "unknown"
    return f"{units.mass(grams)} ({units.interval(units.mass(low), units.mass(high))} at 95{units.NO_BREAK}%)"


def _budget(record: Record) -> str:
    budget = record["budget"]
    if budget is None:
        return "none"
    words = {True: "exceeded", False: "kept", None: "whether it was kept is unknown"}[budget["exceeded"]]
    stopped = "; the command was stopped for it" if budget["stopped"] else ""
    return f"{budgets.limit(budget)}: {words}{stopped}"


def _text(text: str) -> str:
    # GitHub looks for names behind an @, and for numbers behind a #, in what is left when Markdown has been read.
    told = statement.escaped(statement.plain(text))
    return told.replace("&#64;", "&#64;<!-- -->").replace("\\#", "&#35;<!-- -->")


def _code(text: str) -> str:
    return f"<code>{statement.escaped(statement.plain(text))}</code>"
