"""The record as text for a terminal and for summary.txt: plain, short, and no wider than asked for.

Every figure comes with its unit, how it was come by and how sure it is (+- is the half-width of a 95 % interval). The
first lines say what matters most: how the command ended, and whether anything was measured at all.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from greenrun.reports import equivalents, origin, predicted, scopes, units, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from greenrun.reports.record import Device, Phase, Record, Share


_TEXT_COLUMN = 14
_PREFIX = "greenrun: "
_MOST_PHASES = 6  # more are in the record

Entry = tuple[str, str]  # a label, indented where it belongs to the one above, and its text


def render(record: Record, run_dir: str | None = None, width: int = 80) -> str:
    """Give the summary in lines of at most `width` columns; only the path `run_dir` is never cut, to be copied."""
    text = lay_out(_headline(record), _entries(record), width)
    return text if run_dir is None else text + path_entry("log", run_dir)


def lay_out(headline: str, entries: Iterable[Entry], width: int = 80) -> str:
    """Give a summary of other things in the same columns: a first line, and entries below it."""
    lines = _wrap(_PREFIX, "  ", headline, width)
    for label, text in entries:
        lines += _entry(label, text, width)
    return "\n".join(lines).replace(units.NO_BREAK, " ") + "\n"


def path_entry(label: str, text: str) -> str:
    """Give an entry with a path, which is never cut."""
    return f"  {label:{_TEXT_COLUMN - 2}}{_clean(text)}\n"


def entry(label: str, text: str, width: int = 80) -> str:
    """Give one more entry for below a summary, in its columns."""
    return "\n".join(_entry(label, text, width)).replace(units.NO_BREAK, " ") + "\n"


def _headline(record: Record) -> str:
    seconds, what = record["duration_seconds"], record["kind"]
    if seconds is None and record["status"] == "partial":
        return f"partial record: nothing is known of the {what}"
    if seconds is None:
        code = record["exit_code"]
        return f"the {what} was not started" + ("" if code is None else f" (exit code {code})")
    partial = "partial record: " if record["status"] == "partial" else ""
    codes = {warned["code"] for warned in record["warnings"]}
    if "killed" in codes:
        return f"{partial}the {what} ran for at least {units.duration(seconds)}"
    its_process = "its process " if what == "block" else ""
    if what == "job":
        end = _end_of_job(record)
    elif record["signal"] is not None:
        end = f" and {its_process}was ended by {_signal_name(record['signal'])}"
    elif record["exit_code"] is not None:
        end = f" and {its_process}exited with {record['exit_code']}"
    elif what == "command":
        end = "; how it ended is unknown"
    else:
        end = " and ended with an exception" if "exception" in codes else ""
    return f"{partial}the {what} ran for {units.duration(seconds)}{end}"


def _end_of_job(record: Record) -> str:
    if record["exit_code"] == 0:  # also for a job that was cancelled, ran out of time or lost its node
        return "; SLURM told no error"
    if record["signal"] is not None:
        return f" and was ended by {_signal_name(record['signal'])}"
    return "" if record["exit_code"] is None else f" and exited with {record['exit_code']}"


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name of their own
        return f"signal {number}"


def _entries(record: Record) -> Iterator[Entry]:
    if record["status"] != "not-started":
        yield from _energy(record)
        yield from _footprint(record)
        yield from _epochs(record)
    if record["suspended_seconds"]:
        yield "suspended", f"{units.duration(record['suspended_seconds'])}, not part of the duration"
    for warning in record["warnings"]:
        yield "warning", warning["message"]


def _energy(record: Record) -> Iterator[Entry]:
    devices = scopes.devices_in(record)
    measured = [device for device in devices if device["energy_joules"] is not None]
    total_joules = scopes.energy_of(record)["total"]
    if total_joules is None:
        yield "energy", "unknown: nothing was measured or estimated"
    else:
        text = units.energy(total_joules) + plus_minus(record["uncertainty_percent"])
        whose = "the job's part of the machine" if scopes.is_of_job(record) else ""
        yield "energy", ", ".join(filter(None, (text, whose, _how_much_is_estimated(record, devices))))
    for group in _alike(measured):
        yield f"  {words.KINDS[group[0]['kind']]}", _devices(group, total_joules)
    idle = _idle(record, total_joules)
    if idle:
        yield "  idle", idle
    if record["share"] is not None and scopes.is_of_job(record):
        yield "  machine", _machine(record, record["share"])
    elif record["share"] is not None and record["kind"] == "job":
        yield "  the job's", _share(record, record["share"])


def _idle(record: Record, total_joules: float | None) -> str | None:
    """Tell how much of the energy the machine would have used idle, where that was calibrated."""
    totals, floor = record["scopes"]["job" if scopes.is_of_job(record) else "node"], record["floor"]
    if totals is None or totals["static_joules"] is None or not total_joules or floor is None:
        return None
    percent = units.percent(100.0 * totals["static_joules"] / total_joules)
    when = "" if floor["measured_at"] is None else f", calibrated {floor['measured_at'][:10]}"
    return f"{percent} of it is the idle floor{when}"


def _how_much_is_estimated(record: Record, devices: Iterable[Device]) -> str:
    """Say first what matters most: that a figure is no measurement, and whether a meter is missing or out of reach."""
    estimated = [device["method"] == "estimate" for device in devices if device["counted"]]
    if not all(estimated):
        return "partly estimated" if any(estimated) else ""
    if any(device["counted"] and device["method"] != "estimate" for device in record["devices"]):
        return "estimated"  # the job's part of what was measured
    out_of_reach = any(finding["status"] in ("forbidden", "broken") for finding in record["findings"])
    return "estimated, no meter could be read" if out_of_reach else "estimated, no meter on this machine"


def _alike(devices: Iterable[Device]) -> list[list[Device]]:
    """Group the devices by kind and method; those that stand beside the total come last."""
    groups: dict[tuple[object, ...], list[Device]] = {}
    for device in sorted(devices, key=lambda device: (not device["counted"], list(words.KINDS).index(device["kind"]))):
        alike = (device["kind"], device["method"], device["trusted"], device["counted"])
        groups.setdefault(alike, []).append(device)
    return list(groups.values())


def _devices(group: list[Device], total_joules: float | None) -> str:
    """Tell devices of one kind and method; being of one method, their uncertainties add."""
    one = group[0]
    joules = sum(device["energy_joules"] or 0.0 for device in group)
    half_widths = sum((device["energy_joules"] or 0.0) * (device["uncertainty_percent"] or 0.0) for device in group)
    percent = half_widths / joules if joules else one["uncertainty_percent"]
    method = words.METHODS[one["method"]] if one["trusted"] else words.MODELLED
    names = Counter(device["name"] for device in group)  # eight GPUs of one model are one word
    name = " + ".join(name if count == 1 else f"{count} x {name}" for name, count in names.items())
    beside = "" if one["counted"] else "; beside the total"
    return f"{units.energy(joules, total_joules)}{plus_minus(percent)}, {method}, {name}{beside}"


def _share(record: Record, share: Share) -> str:
    """Tell the job's part of its node's energy, and by what it was told."""
    joules = record["job_energy_joules"]
    if joules is None or all(value is None for value in joules.values()):
        return "unknown: neither its CPU time nor its memory was seen"
    total = record["energy_joules"]["total"]
    by = {"cpu": share["cpu"], "dram": share["dram"], "gpu": share["gpu"]}
    values = {"cpu": joules["cpu"], "dram": joules["dram"], "gpu": joules["gpu"]}
    parts = [
        f"{words.KINDS[kind]} {units.energy(value, total)} by {words.SHARED_BY[told]}"
        for kind, told in by.items()
        if told is not None and (value := values[kind]) is not None
    ]
    whole = units.energy(joules["total"], total) if joules["total"] is not None else "in part"
    return ", ".join([whole, *parts, *_how_well_known(share)])


def _machine(record: Record, share: Share) -> str:
    """Tell what the whole machine used, and which part of it the job's was and by what."""
    total = record["energy_joules"]["total"]
    by = {"cpu": share["cpu"], "dram": share["dram"], "gpu": share["gpu"]}
    fractions = {"cpu": share["fraction"]["cpu"], "dram": share["fraction"]["dram"], "gpu": share["fraction"]["gpu"]}
    parts = [
        f"{words.KINDS[kind]} {units.percent(100.0 * fraction)} by {words.SHARED_BY[told]}"
        for kind, told in by.items()
        if told is not None and (fraction := fractions[kind]) is not None
    ]
    whole = "" if total is None else f"{units.energy(total)} in all; of it the job's: "
    return whole + ", ".join([*parts, *_how_well_known(share)])


def _how_well_known(share: Share) -> Iterator[str]:
    seen = share["known_percent"]
    if seen is not None and seen < scopes.NEARLY_ALL_PERCENT:
        yield f"of {units.percent(seen)} of its time"
    if share["cpu"] is not None and share["method"] == "unsplit":
        yield "unsplit (no idle floor is known)"


def _footprint(record: Record) -> Iterator[Entry]:
    grams, low, high = record["co2e_grams"], record["co2e_low_grams"], record["co2e_high_grams"]
    if grams is None or low is None or high is None:
        yield "CO2e", "unknown"
    else:
        yield (
            "CO2e",
            f"{units.mass(grams)} ({units.interval(units.mass(low), units.mass(high))} at 95{units.NO_BREAK}%)",
        )
        compared = [equivalent.words for equivalent in equivalents.of(grams)]
        if compared:
            yield "  about", "; ".join(compared)
    yield "  PUE", f"{record['pue']:g}, {words.PUE_SOURCES[record['pue_source']]}"
    intensity = origin.words(record["intensity"])
    if intensity:
        yield "  intensity", intensity


def _epochs(record: Record) -> Iterator[Entry]:
    epochs = record["epochs"]
    if epochs:
        seconds = sum(epoch["duration_seconds"] for epoch in epochs) / len(epochs)
        joules = [epoch["energy_joules"] for epoch in epochs if epoch["energy_joules"] is not None]
        energy = f" and {units.energy(sum(joules) / len(joules))}" if joules else ""
        yield "epochs", f"{len(epochs)}, on average {units.duration(seconds)}{energy}"
    if record["phases"]:
        yield "phases", _phases(record["phases"])
    if record["prediction"]:
        yield from predicted.entries(record["prediction"], max((epoch["n"] for epoch in epochs), default=0))


def _phases(phases: list[Phase]) -> str:
    """Tell the longest phases, in the order in which they began."""
    longest = sorted(phases, key=lambda phase: -phase["duration_seconds"])[:_MOST_PHASES]
    told = [
        f"{phase['name']} {units.duration(phase['duration_seconds'])}"
        + ("" if phase["energy_joules"] is None else f" and {units.energy(phase['energy_joules'])}")
        + (f" in {phase['times']}" if phase["times"] > 1 else "")
        for phase in phases
        if phase in longest
    ]
    left = len(phases) - len(told)
    return "; ".join(told) + (f"; and {left} more" if left else "")


def plus_minus(percent: float | None) -> str:
    """Write an uncertainty behind its figure; "" where there is none."""
    return "" if percent is None else f"{units.NO_BREAK}+-{units.percent(percent)}"


def _entry(label: str, text: str, width: int) -> list[str]:
    return _wrap(f"  {label:{_TEXT_COLUMN - 2}}", " " * _TEXT_COLUMN, text, width)


def _wrap(first_indent: str, indent: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        _clean(text), width, initial_indent=first_indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _clean(text: str) -> str:
    """Replace what would move the cursor or cannot be encoded: names and paths come from outside."""
    return "".join(character if character.isprintable() or character == units.NO_BREAK else "?" for character in text)
