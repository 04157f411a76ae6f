"""What an event of the run log must hold, so that those who read a log can rely on it; docs/run-log.md has the words.

Pure. Events and fields that are not listed are left alone, for a newer greenrun may have written them. A check stands
here for each field that would break the account or the summary if it were something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
_Check = Callable[[Any], bool]

_ABSENT = object()
# Beyond any energy, time or power of a computer, and far from where sums and dates overflow.
_LARGEST_NUMBER = 1e18
_LONGEST_SECONDS = 1e10
_YEARS = range(1970, 3000)


def flaw(event: object) -> str | None:
    """Give what is wrong with one event, as a phrase that names the field; None if nothing is."""
    if not isinstance(event, dict):
        return "it is no JSON object"
    kind = event.get("event")
    if not isinstance(kind, str):
        return "it does not say which event it is"
    for name, check in (_COMMON | _EVENTS.get(kind, {})).items():
        if not check(event.get(name, _ABSENT)):
            return f"{kind} has no valid {name}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST_NUMBER


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_seconds(value: Any) -> bool:
    """Tell whether it is a time since the start of the run, or a step of a clock."""
    return _is_number(value) and abs(value) <= _LONGEST_SECONDS


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    """Tell whether it is text that can be written again: JSON knows half characters, UTF-8 does not."""
    return isinstance(value, str) and value == value.encode("utf-8", "replace").decode()


def _is_value(value: Any) -> bool:
    """Tell whether it is what a metric may have: any number, NaN too, for a loss becomes that."""
    return _is_number(value) or (isinstance(value, float) and not math.isfinite(value))


def _is_utc(value: Any) -> bool:
    from datetime import datetime

    try:
        return isinstance(value, str) and datetime.fromisoformat(value.replace("Z", "+00:00")).year in _YEARS
    except ValueError:
        return False


def _or_null(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _if_there(check: _Check) -> _Check:
    return lambda value: value is _ABSENT or value is None or check(value)


def _one_of(*values: str) -> _Check:
    return lambda value: isinstance(value, str) and value in values


def _list_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object(**fields: _Check) -> _Check:
    return lambda value: (
        isinstance(value, dict) and all(check(value.get(name, _ABSENT)) for name, check in fields.items())
    )


def _is_table_of_text(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(name) and _is_text(text) for name, text in value.items())


def _is_table_of_flags(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(name) and _is_flag(flag) for name, flag in value.items())


def _is_table_of_amounts(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(name) and _is_amount(amount) for name, amount in value.items())


def _is_part(value: Any) -> bool:
    """Tell whether it is a part of a whole."""
    return _is_amount(value) and value <= 1


def _is_use(value: Any) -> bool:
    """Tell whether it is how busy a GPU was and the job's share of that, null where unknown."""
    return _list_of(_or_null(_is_amount))(value) and len(value) == 2


def _is_triple(value: Any) -> bool:
    return _list_of(_or_null(_is_number))(value) and len(value) == 3


def _is_pair(value: Any) -> bool:
    return _list_of(_is_number)(value) and len(value) == 2


_is_basis = _one_of("lifecycle", "direct")
_is_quantity = _one_of("energy_joules", "co2e_grams")
_is_devices = _list_of(
    _object(
        id=_is_text,
        kind=_one_of("cpu", "dram", "gpu", "other"),
        name=_is_text,
        source=_is_text,
        method=_one_of("counter", "power", "estimate"),
        uncertainty_percent=_is_amount,
        counted=_is_flag,
        trusted=_is_flag,
        max_watts=_is_number,
        span_microjoules=_or_null(_is_whole),
        resolution_joules=_if_there(_is_number),
        resolution_seconds=_if_there(_is_amount),
        of_job=_if_there(_is_flag),
        job_part=_if_there(_is_part),
        covers=_if_there(_list_of(_is_text)),
        note=_is_text,
        from_t=_is_seconds,
    )
)
_is_findings = _list_of(_object(source=_is_text, subject=_is_text, status=_is_text, sentence=_is_text, remedy=_is_text))
_is_range = _object(value=_is_number, low=_is_number, high=_is_number)
_is_ahead = _object(
    grams_per_kwh=_is_amount, uncertainty_percent=_is_amount, forecast_percent=_is_amount, links=_list_of(_is_text)
)
_is_floor = _object(
    cpu_watts=_if_there(_is_amount),
    dram_watts=_if_there(_is_amount),
    gpu_watts=_if_there(_is_table_of_amounts),
    measured_at=_if_there(_is_utc),
    seconds=_if_there(_is_amount),
    devices=_if_there(_list_of(_is_text)),
)
_is_allocated = _object(
    cpus=_if_there(_is_amount),
    all_cpus=_if_there(_is_amount),
    memory_bytes=_if_there(_is_amount),
    by=_if_there(_is_text),
)

_COMMON: dict[str, _Check] = {"t": _is_seconds}
_EVENTS: dict[str, dict[str, _Check]] = {
    "start": {
        "schema": _is_whole,
        "greenrun": _is_text,
        "run_id": _is_text,
        "kind": _if_there(_one_of("command", "block", "job")),
        "parent_run_id": _if_there(_is_text),
        "name": _if_there(_is_text),
        "command": _if_there(_list_of(_is_text)),
        "command_base64": _if_there(_list_of(_is_text)),
        "host": _if_there(_is_text),
        "user": _if_there(_is_text),
        "machine": _if_there(_object(cpus=_if_there(_is_amount))),
        "environment": _if_there(_is_table_of_text),
        "output": _if_there(_is_table_of_text),
        "config": _if_there(
            _object(
                pue=_if_there(_is_amount),
                country=_if_there(_is_text),
                zone=_if_there(_is_text),
                basis=_if_there(_is_basis),
                scope=_if_there(_one_of("auto", "node", "job")),
                budget=_if_there(
                    _object(quantity=_is_quantity, limit=_is_amount, action=_one_of("warn", "fail", "stop"))
                ),
            )
        ),
        "utc": _is_utc,
        "monotonic": _is_number,
        "boottime": _is_number,
        "cpu_base": _if_there(_is_pair),
        "for_ranks": _if_there(_is_flag),
        "floor": _if_there(_is_floor),
        "allocated": _if_there(_is_allocated),
        "devices": _is_devices,
        "findings": _if_there(_is_findings),
    },
    "device": {"devices": _is_devices, "findings": _if_there(_is_findings), "counted": _if_there(_is_table_of_flags)},
    "whose": {
        "devices": _list_of(
            _object(
                id=_is_text,
                of_job=_or_null(_is_flag),
                job_part=_if_there(_is_part),
                shared=_is_flag,
                note=_is_text,
            )
        )
    },
    "sample": {
        "j": _list_of(_or_null(_is_number)),
        "raw": _if_there(_list_of(_or_null(_is_whole))),
        "cpu": _if_there(_is_triple),
        "job_t": _if_there(_is_seconds),
        "job_j": _if_there(_is_amount),
        "mem": _if_there(_is_triple),
        "gpu": _if_there(_list_of(_is_use)),
    },
    "not-started": {"exit_code": _or_null(_is_whole), "reason": _is_text},
    "exited": {
        "exit_code": _or_null(_is_whole),
        "signal": _or_null(_is_whole),
        "how": _if_there(_is_text),
        "exception": _if_there(_is_flag),
        "job_exit_code": _if_there(_is_text),
        "rusage": _if_there(_object(user_seconds=_is_number, system_seconds=_is_number, max_rss_bytes=_is_whole)),
    },
    "epoch": {
        "n": _is_whole,
        "of": _if_there(_is_whole),
        "mark": _one_of("start", "end"),
        "from": _one_of("output", "marks"),
    },
    "metric": {"name": _is_text, "value": _is_value},
    "phase": {"name": _is_text, "mark": _one_of("start", "end")},
    "intensity": {
        "from_utc": _if_there(_is_utc),
        "to_utc": _if_there(_is_utc),
        "grams_per_kwh": _or_null(_is_amount),
        "source": _if_there(_is_text),
        "zone": _if_there(_is_text),
        "country": _if_there(_is_text),
        "year": _if_there(_is_whole),
        "basis": _if_there(_is_basis),
        "uncertainty_percent": _if_there(_is_amount),
        "estimated": _if_there(_is_flag),
        "note": _if_there(_is_text),
        "how": _or_null(_is_text),
        "link": _if_there(_is_text),
        "fetched_at": _if_there(_is_utc),
        "passed": _if_there(_list_of(_object(link=_is_text, cause=_is_text, reason=_is_text))),
    },
    "prediction": {
        "after_epoch": _is_whole,
        "rule": _if_there(_is_text),
        "scope": _if_there(_one_of("node", "job")),
        "epochs": _is_whole,
        "duration_seconds": _if_there(_is_range),
        "energy_joules": _if_there(_is_range),
        "co2e_grams": _if_there(_is_range),
        "ahead": _if_there(_is_ahead),
    },
    "budget": {"quantity": _is_quantity, "limit": _is_amount, "spent": _is_amount, "stopped": _is_flag},
    "clock": {"utc_step_seconds": _is_seconds, "suspended_seconds": _is_seconds},
    "warning": {
        "code": _is_text,
        "message": _is_text,
        "device": _if_there(_is_text),
        "from_t": _if_there(_is_seconds),
        "to_t": _if_there(_is_seconds),
    },
}
