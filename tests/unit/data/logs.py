"""Run logs in the making, for tests of the account and the reports: small events with fields that may be changed."""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]


def device(device_id: str, kind: str = "cpu", method: str = "counter", percent: float = 5.0, **more: Any) -> Event:
    """Give an entry of `devices`; it is read from the start unless `from_t` says otherwise."""
    entry = {
        "id": device_id,
        "kind": kind,
        "name": device_id,
        "source": "test",
        "method": method,
        "uncertainty_percent": percent,
        "counted": True,
        "trusted": True,
        "span_microjoules": None,
        "max_watts": 1000.0,
        "note": "",
        "from_t": 0.0,
    }
    return entry | more


def start(*devices: Event, **more: Any) -> Event:
    """Give the `start` event of a run that began at 10:00 UTC on New Year's Day of 2026."""
    event = {
        "event": "start",
        "t": 0.0,
        "schema": 1,
        "greenrun": "0.1.0",
        "run_id": "019b7800-0000-7000-8000-000000000000",
        "parent_run_id": None,
        "name": "job",
        "command": ["python", "train.py"],
        "host": "node1",
        "user": "ada",
        "cwd": "/home/ada",
        "machine": {},
        "environment": {},
        "config": {"pue": None},
        "utc": "2026-01-01T10:00:00.000Z",
        "monotonic": 1000.0,
        "boottime": 1000.0,
        "boot_id": "b",
        "devices": list(devices),
        "findings": [],
    }
    return event | more


def joined(t: float, *devices: Event) -> Event:
    """Give the `device` event of devices that came up later."""
    return {"event": "device", "t": t, "devices": list(devices)}


def sample(t: float, *joules: float | None, **more: Any) -> Event:
    """Give a sample of cumulative joules, one for each device."""
    return {"event": "sample", "t": t, "j": list(joules), "raw": [None] * len(joules)} | more


def spawned(t: float) -> Event:
    """Give the start of the command."""
    return {"event": "spawned", "t": t, "pid": 100}


def exited(t: float, exit_code: int | None = 0, **more: Any) -> Event:
    """Give the end of the command."""
    return {"event": "exited", "t": t, "exit_code": exit_code, "signal": None, "how": "wait", "rusage": None} | more


def intensity(grams_per_kwh: float, from_utc: str | None = None, to_utc: str | None = None, **more: Any) -> Event:
    """Give an intensity that is exact and holds between two times."""
    event = {
        "event": "intensity",
        "t": 0.0,
        "from_utc": from_utc,
        "to_utc": to_utc,
        "grams_per_kwh": grams_per_kwh,
        "source": "a test",
        "zone": None,
        "country": "DK",
        "year": 2025,
        "basis": "lifecycle",
        "uncertainty_percent": 0.0,
        "estimated": False,
        "note": "",
        "how": "--country",
    }
    return event | more


def hour(grams_per_kwh: float, from_utc: str, to_utc: str, **more: Any) -> Event:
    """Give an hour's intensity as a service told it, measured."""
    event = {
        "link": "electricitymaps",
        "source": "Electricity Maps",
        "zone": "DK-DK1",
        "year": None,
        "uncertainty_percent": 15.0,
        "fetched_at": "2026-01-01T10:05:00+00:00",
        "passed": [],
        "how": "--zone",
    }
    return intensity(grams_per_kwh, from_utc, to_utc, **(event | more))


def yearly(grams_per_kwh: float, **more: Any) -> Event:
    """Give a country's yearly average, which holds for all time."""
    event = {
        "link": "country table",
        "source": "Ember",
        "uncertainty_percent": 50.0,
        "fetched_at": None,
        "passed": [{"link": "region table", "cause": "absent", "reason": "no zone is known, only the country"}],
    }
    return intensity(grams_per_kwh, None, None, **(event | more))


def warning(t: float, code: str, message: str, **more: Any) -> Event:
    """Give a warning of the sampler's."""
    return {
        "event": "warning",
        "t": t,
        "code": code,
        "message": message,
        "device": None,
        "from_t": None,
        "to_t": None,
    } | more


def epoch(t: float, n: int, mark: str, marker: str = "marks") -> Event:
    """Give a marker."""
    return {"event": "epoch", "t": t, "n": n, "of": 3, "mark": mark, "from": marker}


def end(t: float = 0.0, reason: str = "exited") -> Event:
    """Give the last event."""
    return {"event": "end", "t": t, "reason": reason}
