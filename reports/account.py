"""The account: a pure function from the events of a run log to the record of the run.

No clock and no files, so a killed run can be told like any other, and an old one told again with another PUE or
intensity.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports import budget as budgets
from greenrun.reports import doubts
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
    from greenrun.reports.record import Amounts, Device, Energy, Event, IntensityUsed, PueSource, Record, Usage
    from greenrun.sampler.model import Kind

SCHEMA = 1
"""The number of the record's schema; additions keep it."""

ASSUMED_PUE = 1.0
"""No cooling and no losses: right for a laptop, too low for a data centre. Said to be assumed wherever it is used."""


class WhatIf(NamedTuple):
    """What to tell a run again with: another PUE, other `intensity` events; None keeps what the log says."""

    pue: float | None = None
    intensities: Sequence[Event] | None = None


def account(events: Sequence[Event], what_if: WhatIf | None = None) -> Record:
    """Give the record of the run whose log holds these events; the first is `start`."""
    what_if = what_if or WhatIf()
    start = events[0]
    clock = Clock(events)
    lived = life(events)
    devices = measure(events, lived)
    pue, pue_source = _pue(start, what_if)
    joules = _energy(devices)
    total_joules = joules["total"]
    half_width_joules = sum_half_widths(devices)
    energy_percent = 100.0 * half_width_joules / total_joules if total_joules else None
    intensities = what_if.intensities
    if intensities is None:
        intensities = [event for event in events if event["event"] == "intensity"]
    used = intensity_used(lived, clock, intensities, devices, pue) if lived else no_intensity()
    grams = co2e_grams(used)
    low_grams, high_grams = _range(grams, pue * half_width_joules / JOULES_PER_KWH, used)
    gaps = doubts.gaps(events, lived, devices) if lived else []
    status = doubts.status(events, lived, devices, gaps)
    complete = status == "complete"
    budget = budgets.judged(events, lived, status, total_joules, grams)
    actual: Amounts = {
        "duration_seconds": lived.duration_seconds if lived and lived.ended else None,
        "energy_joules": total_joules if complete else None,
        "co2e_grams": grams if complete else None,
    }
    seen = epochs(events, lived, devices) if lived else []
    belongs_to = _job(start)
    ending = first(events, "not-started" if lived is None else "exited") or {}
    exit_code, signal = _outcome(events, ending)
    shared = share(events, lived, devices, belongs_to, joules) if lived and kind(events) == "job" else None
    return {
        "schema": SCHEMA,
        "greenrun": start["greenrun"],
        "run_id": start["run_id"],
        "parent_run_id": start.get("parent_run_id"),
        "kind": kind(events),
        "status": status,
        "scope": "node",
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
        "devices": [_device(device, lived) for device in devices],
        "energy_joules": joules,
        "job_energy_joules": shared and shared.energy_joules,
        "share": shared and shared.share,
        "energy_kwh": None if total_joules is None else total_joules / JOULES_PER_KWH,
        "uncertainty_percent": energy_percent,
        "pue": pue,
        "pue_source": pue_source,
        "facility_energy_kwh": None if total_joules is None else pue * total_joules / JOULES_PER_KWH,
        "intensity": used,
        "co2e_grams": grams,
        "co2e_low_grams": low_grams,
        "co2e_high_grams": high_grams,
        "epochs": seen,
        "phases": phases(events, lived, devices) if lived else [],
        "prediction": prediction(
            events, actual, max((epoch["n"] for epoch in seen), default=0), anew=what_if != WhatIf()
        ),
        "budget": budget,
        "findings": [finding for event in events for finding in event.get("findings") or ()],
        "gaps": gaps,
        "warnings": [*doubts.warnings(events, lived, devices, gaps, used), *budgets.warnings(budget, status)],
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


def _device(device: Measured, lived: Life | None) -> Device:
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
