"""The account: a pure function from the events of a run log to the record of the run.

No clock and no files, so a killed run can be told like any other, and an old one told again with another PUE or
intensity.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports import budget as budgets
from greenrun.reports import doubts, scopes
from greenrun.reports.carbon import JOULES_PER_KWH, co2e_grams, intensity_used, no_intensity
from greenrun.reports.energy import Measured, measure, sum_half_widths
from greenrun.reports.epochs import epochs, prediction
from greenrun.reports.job import job
from greenrun.reports.life import Clock, Life, first, format_utc, is_number, kind, life
from greenrun.reports.phases import phases
from greenrun.reports.share import share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.job import Job
    from greenrun.reports.record import Amounts, Device, Energy, Event, IntensityUsed, PueSource, Record, Totals, Usage
    from greenrun.sampler.model import Kind

SCHEMA = 1
"""The number of the record's schema; additions keep it."""

ASSUMED_PUE = 1.0
"""No cooling and no losses: right for a laptop, too low for a data centre. Said to be assumed wherever it is used."""

_DESCRIBING = ("start", "device")  # the events that tell of hardware


class WhatIf(NamedTuple):
    """What to tell a run again with: another PUE, other `intensity` events, another scope ("auto", "node" or "job").

    None keeps what the log says.
    """

    pue: float | None = None
    intensities: Sequence[Event] | None = None
    scope: str | None = None


def account(events: Sequence[Event], what_if: WhatIf | None = None) -> Record:
    """Give the record of the run whose log holds these events; the first is `start`."""
    what_if = what_if or WhatIf()
    start = events[0]
    clock = Clock(events)
    lived = life(events)
    devices = measure(events, lived)
    pue, pue_source = _pue(start, what_if)
    joules = _energy(devices)
    belongs_to = _job(start)
    shared = share(events, lived, devices, belongs_to, joules) if lived else None
    whose = scopes.chosen(events, shared, what_if.scope)
    charged = scopes.devices_of(whose.scope, devices, shared)
    intensities = what_if.intensities
    if intensities is None:
        intensities = [event for event in events if event["event"] == "intensity"]

    def used_by(these: Sequence[Measured]) -> IntensityUsed:
        return intensity_used(lived, clock, intensities, these, pue) if lived else no_intensity()

    used = used_by(devices)
    totals = node = _totals(devices, joules, shared and shared.node_static_joules, pue, used)
    of_job: Totals | None = None
    if shared and shared.energy_joules["total"] is not None:  # a part would pass for all
        used_by_job = used_by(shared.devices)
        of_job = _totals(shared.devices, shared.energy_joules, shared.static_joules, pue, used_by_job)
        if whose.scope == "job":
            used, totals = used_by_job, of_job
    total_joules = scopes.energy(whose.scope, joules, shared)["total"]
    grams = totals["co2e_grams"]
    gaps = doubts.gaps(events, lived, devices) if lived else []
    status = doubts.status(events, lived, devices, gaps)
    if status == "complete" and whose.is_partial:
        status = "partial"
    complete = status == "complete"
    budget = budgets.judged(events, lived, status, total_joules, grams)
    actual: Amounts = {
        "duration_seconds": lived.duration_seconds if lived and lived.ended else None,
        "energy_joules": total_joules if complete else None,
        "co2e_grams": grams if complete else None,
    }
    seen = epochs(events, lived, charged) if lived else []
    ending = first(events, "not-started" if lived is None else "exited") or {}
    exit_code, signal = _outcome(events, ending)
    return {
        "schema": SCHEMA,
        "greenrun": start["greenrun"],
        "run_id": start["run_id"],
        "parent_run_id": start.get("parent_run_id"),
        "kind": kind(events),
        "status": status,
        "scope": whose.scope,
        "command": start.get("command"),
        "command_base64": start.get("command_base64"),
        "exit_code": exit_code,
        "signal": signal,
        "started_at": format_utc(clock.utc(lived.begin if lived else 0.0)),
        "duration_seconds": lived.duration_seconds if lived else None,
        "suspended_seconds": clock.suspended_seconds(lived.begin, lived.end) if lived else 0.0,
        "host": start.get("host"),
        "user": belongs_to["User"] if belongs_to and kind(events) == "job" else start.get("user"),
        "name": start.get("name"),
        "job": belongs_to,
        "tags": {},
        "metrics": _metrics(events),
        "devices": [
            _device(device, shared.devices[at] if shared else None, lived) for at, device in enumerate(devices)
        ],
        "energy_joules": joules,
        "job_energy_joules": shared and shared.energy_joules,
        "share": shared and shared.share,
        "scopes": {"node": node, "job": of_job},
        "floor": scopes.floor(start),
        "energy_kwh": totals["energy_kwh"],
        "uncertainty_percent": totals["uncertainty_percent"],
        "pue": pue,
        "pue_source": pue_source,
        "facility_energy_kwh": totals["facility_energy_kwh"],
        "intensity": used,
        "co2e_grams": grams,
        "co2e_low_grams": totals["co2e_low_grams"],
        "co2e_high_grams": totals["co2e_high_grams"],
        "epochs": seen,
        "phases": phases(events, lived, charged) if lived else [],
        "prediction": prediction(
            events,
            actual,
            max((epoch["n"] for epoch in seen), default=0),
            whose.scope,
            anew=what_if._replace(scope=None) != WhatIf(),
        ),
        "budget": budget,
        "findings": [
            finding for event in events if event["event"] in _DESCRIBING for finding in event.get("findings") or ()
        ],
        "gaps": gaps,
        "warnings": [
            *doubts.warnings(events, lived, devices, gaps, used),
            *whose.warnings,
            *budgets.warnings(budget, status),
        ],
        "usage": _usage(events),
    }


def _pue(start: Event, what_if: WhatIf) -> tuple[float, PueSource]:
    if what_if.pue is not None:
        return what_if.pue, "what-if"
    told = (start.get("config") or {}).get("pue")
    return (ASSUMED_PUE, "assumed") if told is None else (float(told), "told")


def _energy(devices: Sequence[Measured]) -> Energy:
    """Sum the counted devices by kind; a kind of which none was measured is unknown, not 0."""

    def of(*kinds: Kind) -> float | None:
        joules = [
            device.energy_joules
            for device in devices
            if device.energy_joules is not None and device.entry["counted"] and device.entry["kind"] in kinds
        ]
        return math.fsum(joules) if joules else None

    return {
        "cpu": of("cpu"),
        "dram": of("dram"),
        "gpu": of("gpu"),
        "other": of("other"),
        "total": of("cpu", "dram", "gpu", "other"),
    }


def _totals(
    devices: Sequence[Measured], joules: Energy, static: Energy | None, pue: float, used: IntensityUsed
) -> Totals:
    """Give the single figures of the machine's devices, or of the job's."""
    total_joules, static_joules = joules["total"], static and static["total"]
    half_width_joules = sum_half_widths(devices)
    grams = co2e_grams(used)
    low_grams, high_grams = _range(grams, pue * half_width_joules / JOULES_PER_KWH, used)
    known = total_joules is not None and static_joules is not None
    return {
        "energy_kwh": None if total_joules is None else total_joules / JOULES_PER_KWH,
        "static_joules": static_joules if known else None,
        "dynamic_joules": (total_joules or 0.0) - (static_joules or 0.0) if known else None,
        "uncertainty_percent": 100.0 * half_width_joules / total_joules if total_joules else None,
        "facility_energy_kwh": None if total_joules is None else pue * total_joules / JOULES_PER_KWH,
        "co2e_grams": grams,
        "co2e_low_grams": low_grams,
        "co2e_high_grams": high_grams,
    }


def _range(grams: float | None, half_width_kwh: float, used: IntensityUsed) -> tuple[float | None, float | None]:
    """Give the ends of the 95 % interval: energy and intensity know nothing of each other; below 0 there is nothing."""
    if grams is None:
        return None, None
    energy_half_width_grams = half_width_kwh * (used["grams_per_kwh"] or 0.0)  # also where the energy reads as 0
    intensity_half_width_grams = grams * (used["uncertainty_percent"] or 0.0) / 100.0
    half_width_grams = math.hypot(energy_half_width_grams, intensity_half_width_grams)
    return max(0.0, grams - half_width_grams), grams + half_width_grams


def _outcome(events: Sequence[Event], ending: Event) -> tuple[int | None, int | None]:
    """Give exit code and signal, of which one is None; of a job a late epilog may have told, as "CODE:SIGNAL"."""
    told = [event["job_exit_code"] for event in events if event["event"] == "exited" and event.get("job_exit_code")]
    code, colon, signal = (told[-1] if told else "").partition(":")
    if not (colon and code.isdecimal() and signal.isdecimal()):
        return ending.get("exit_code"), ending.get("signal")
    return (None, int(signal)) if int(signal) else (int(code), None)


def _device(device: Measured, of_job: Measured | None, lived: Life | None) -> Device:
    entry = device.entry
    begin = lived.begin if lived else 0.0
    return {
        "id": entry["id"],
        "kind": entry["kind"],
        "name": entry["name"],
        "source": entry["source"],
        "method": entry["method"],
        "energy_joules": device.energy_joules,
        "uncertainty_percent": device.uncertainty_percent,
        "counted": entry["counted"],
        "trusted": entry["trusted"],
        "of_job": entry.get("of_job"),
        "job_part": entry.get("job_part"),
        "job_energy_joules": of_job and of_job.energy_joules,
        "job_uncertainty_percent": None if not of_job or of_job.energy_joules is None else of_job.uncertainty_percent,
        "job_method": None if not of_job or of_job.energy_joules is None else of_job.entry["method"],
        "note": entry.get("note") or "",
        "from_t": None if device.from_t is None else device.from_t - begin,
        "until_t": None if device.until_t is None else device.until_t - begin,
        "filled_joules": device.filled_joules,
    }


def _job(start: Event) -> Job | None:
    """Give the scheduler's job. A run of kind "job" was begun by the site, so its user is not the job's."""
    return job(start.get("environment") or {}, None if kind([start]) == "job" else start.get("user"))


def _metrics(events: Sequence[Event]) -> dict[str, float | None]:
    """Give the last value of each metric; JSON has no word for what is not finite (a loss may become NaN)."""
    last = {event["name"]: event["value"] for event in events if event["event"] == "metric"}
    return {name: value if is_number(value) and math.isfinite(value) else None for name, value in last.items()}


def _usage(events: Sequence[Event]) -> Usage:
    """Give what the kernel counted for the command; where nobody could wait for it, the last sample's count."""
    rusage = (first(events, "exited") or {}).get("rusage")
    if rusage:
        return {
            "cpu_seconds": rusage["user_seconds"] + rusage["system_seconds"],
            "max_rss_bytes": rusage["max_rss_bytes"],
        }
    counted = [event["cpu"][0] for event in events if event["event"] == "sample" and event.get("cpu")]
    return {
        "cpu_seconds": next((value for value in reversed(counted) if value is not None), None),
        "max_rss_bytes": None,
    }
