"""The record of a scheduler's job as text, and an array of them: plain, short, no wider than asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from greenrun.reports import terminal, units, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.jobrecord import Attempt, Figures, JobRecord
    from greenrun.reports.record import Energy

_MOST_NODES = 16  # more are in the record
_MOST_TASKS = 100
_MEASURED_BY = {"site": "", "commands": ", while greenrun's commands ran"}


def render(record: JobRecord, width: int = 80) -> str:
    """Give the summary of a job in lines of at most `width` columns."""
    return terminal.lay_out(_headline(record), _entries(record), width)


def render_array(array_id: str, records: Sequence[JobRecord], width: int = 80) -> str:
    """Give the summary of several jobs of one array: one line each."""
    entries = [("task", _task(record)) for record in records[:_MOST_TASKS]]
    if len(records) > _MOST_TASKS:
        entries.append(("task", f"and {len(records) - _MOST_TASKS} more, told by --json"))
    total = [record["energy_joules"]["total"] for record in records]
    known = [joules for joules in total if joules is not None]
    grams = [record["co2e_grams"] for record in records]
    known_grams = [value for value in grams if value is not None]
    sums = [("energy", units.energy(math.fsum(known)) + _of_so_many(known, records) if known else "unknown")]
    sums.append(
        ("CO2e", units.mass(math.fsum(known_grams)) + _of_so_many(known_grams, records) if known_grams else "unknown")
    )
    return terminal.lay_out(f"{len(records)} jobs of the array {array_id}", [*sums, *entries], width)


def _of_so_many(known: Sequence[float], records: Sequence[JobRecord]) -> str:
    return "" if len(known) == len(records) else f", of {len(known)} of them"


def _task(record: JobRecord) -> str:
    joules, grams, job = record["energy_joules"]["total"], record["co2e_grams"], record["job"]
    return ", ".join(
        filter(
            None,
            (
                f"{job['JobID']}",
                units.duration(record["duration_seconds"]),
                "energy unknown" if joules is None else units.energy(joules),
                None if grams is None else units.mass(grams),
                job["State"],
                None if record["status"] == "complete" else "partial",
            ),
        )
    )


def _headline(record: JobRecord) -> str:
    job = record["job"]
    name = f" ({job['JobName']})" if job["JobName"] else ""
    whose = f" of {job['User']}" if job["User"] else ""
    nodes = len({node["NodeName"] for node in record["nodes"]})
    where = f" on {_count(nodes, 'node')}" if nodes else ""
    partial = "partial record: " if record["status"] == "partial" else ""
    return (
        f"{partial}job {job['JobID']}{name}{whose} ran for {units.duration(record['duration_seconds'])}{where}"
        f"{_end(job['State'], job['ExitCode'])}"
    )


def _end(state: str | None, exit_code: str | None) -> str:
    if state is not None:
        return f"; {state}" + (f", exit code {exit_code}" if exit_code not in (None, "0:0") else "")
    if exit_code == "0:0":  # also of a job that was cancelled, ran out of time or lost its node
        return "; SLURM told no error"
    return f"; exit code {exit_code}" if exit_code else ""


def _entries(record: JobRecord) -> Iterator[terminal.Entry]:
    total = record["energy_joules"]["total"]
    if total is None:
        yield "energy", "unknown: nothing was measured or estimated"
    else:
        yield "energy", _energy(record) + _estimated(record)
    for node in record["nodes"][:_MOST_NODES]:
        again = f" (restart {node['Restarts']})" if len(record["attempts"]) > 1 else ""
        text = "unknown" if node["energy_joules"]["total"] is None else f"{_energy(node, total)}{_kinds(node, total)}"
        yield "  node", f"{node['NodeName']}{again}: {text}{_MEASURED_BY[node['measured_by']]}"
    if len(record["nodes"]) > _MOST_NODES:
        yield "  node", f"and {len(record['nodes']) - _MOST_NODES} more, told by --json"
    share = record["job_energy_joules"]
    if share is not None:
        yield "the job's", _share(record, share)
    yield from _footprint(record)
    yield "hours", _hours(record)
    if len(record["attempts"]) > 1:
        for attempt in record["attempts"]:
            yield "run", _attempt(attempt)
    if record["epochs"]:
        epochs = record["epochs"]["epochs"]
        seconds = math.fsum(epoch["duration_seconds"] for epoch in epochs) / len(epochs)
        yield "epochs", f"{len(epochs)}, on average {units.duration(seconds)}, told on {record['epochs']['NodeName']}"
    for warned in record["warnings"]:
        yield "warning", warned["message"]


def _energy(figures: Figures, beside_joules: float | None = None) -> str:
    joules = figures["energy_joules"]["total"]
    return units.energy(joules or 0.0, beside_joules) + terminal.plus_minus(figures["uncertainty_percent"])


def _kinds(figures: Figures, total_joules: float | None) -> str:
    energy = figures["energy_joules"]
    by_kind = {"cpu": energy["cpu"], "dram": energy["dram"], "gpu": energy["gpu"], "other": energy["other"]}
    told = [
        f"{words.KINDS[kind]} {units.energy(joules, total_joules)}"
        for kind, joules in by_kind.items()
        if joules is not None
    ]
    return f" ({', '.join(told)})" if len(told) > 1 else ""


def _estimated(figures: Figures) -> str:
    joules, total = figures["estimated_joules"], figures["energy_joules"]["total"]
    if not joules or not total:
        return ""
    return ", estimated" if joules >= total else f", {units.percent(100.0 * joules / total)} of it estimated"


def _share(figures: Figures, share: Energy) -> str:
    if share["total"] is None:
        return "not known of every part of its nodes"
    grams = figures["job_co2e_grams"]
    return f"share {units.energy(share['total'], figures['energy_joules']['total'])}" + (
        "" if grams is None else f", {units.mass(grams)}"
    )


def _footprint(record: JobRecord) -> Iterator[terminal.Entry]:
    grams, low, high = record["co2e_grams"], record["co2e_low_grams"], record["co2e_high_grams"]
    if grams is None or low is None or high is None:
        yield "CO2e", "unknown"
    else:
        ends = units.interval(units.mass(low), units.mass(high))
        yield "CO2e", f"{units.mass(grams)} ({ends} at 95{units.NO_BREAK}%)"
    if record["pue"] is not None and record["pue_source"] is not None:
        yield "  PUE", f"{record['pue']:g}, {words.PUE_SOURCES[record['pue_source']]}"
    if record["grams_per_kwh"] is not None:
        basis = f"{record['basis']} emissions" if record["basis"] else None
        mean = f"{units.digits(record['grams_per_kwh'], 3)}{units.NO_BREAK}g/kWh in the mean"
        yield "  intensity", ", ".join(filter(None, (mean, basis, record["intensity_source"])))


def _hours(figures: Figures) -> str:
    gpu = figures["gpu_hours"]
    of_gpus = "GPU hours unknown" if gpu is None else f"{_number(gpu)}{units.NO_BREAK}GPU hours"
    return f"{_number(figures['node_hours'])}{units.NO_BREAK}node hours, {of_gpus}"


def _attempt(attempt: Attempt) -> str:
    joules, grams = attempt["energy_joules"]["total"], attempt["co2e_grams"]
    told = (
        f"restart {attempt['Restarts']}" if attempt["Restarts"] else "first",
        units.duration(attempt["duration_seconds"]),
        _count(attempt["nodes"], "node"),
        "energy unknown" if joules is None else units.energy(joules),
        None if grams is None else units.mass(grams),
        attempt["State"],
    )
    return ", ".join(filter(None, told))


def _number(value: float) -> str:
    return units.digits(value, 3)


def _count(number: int, what: str) -> str:
    return f"{number}{units.NO_BREAK}{what}{'s' * (number != 1)}"
