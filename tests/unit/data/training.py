"""The log of a long training run as the sampler would have written it, for the page: hours, epochs and predictions."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta, timezone
from typing import Any

from unit.data import logs

_BEGIN = datetime(2026, 1, 1, 10, tzinfo=timezone.utc)  # as logs.start has it
_SETUP_SECONDS = 0.02  # of the whole


def events(seconds: float, *, gpus: int = 4, epochs: int = 20, samples: int = 2000, **more: Any) -> list[logs.Event]:
    """Give the events of a run that took `seconds`; `more` are fields of `start`."""
    chance = random.Random(7)  # noqa: S311  # the same run each time
    cpus = [logs.device(f"rapl:package-{n}", name=f"package-{n}", source="rapl") for n in (0, 1)]
    cpus += [
        logs.device(f"rapl:package-{n}/dram", "dram", percent=10.0, name=f"package-{n} dram", source="rapl")
        for n in (0, 1)
    ]
    cards = [
        logs.device(f"nvml:GPU-{n}", "gpu", "power", name="NVIDIA H100 80GB HBM3", source="nvml") for n in range(gpus)
    ]
    devices = [*cpus, *cards]
    told = [logs.start(*devices, **({"config": {"pue": 1.2}} | more)), logs.spawned(0.0)]
    hours = int(seconds // 3600) + 1
    for n in range(hours):
        begin = _BEGIN + timedelta(hours=n)
        grams = 140.0 + 70.0 * math.sin((n - 6) / 24 * 2 * math.pi) + chance.uniform(-15, 15)
        told.append(
            logs.hour(
                round(grams, 1), begin.isoformat(), (begin + timedelta(hours=1)).isoformat(), link="electricitymaps"
            )
        )
    joules = [0.0] * len(devices)
    level = [1.0] * len(devices)
    inside: list[logs.Event] = [logs.sample(0.0, *joules)]
    for k in range(1, samples + 1):
        t = seconds * k / samples
        validates = (t / seconds * epochs) % 1.0 > 0.85
        for n, device in enumerate(devices):
            level[n] += 0.1 * (1.0 - level[n]) + chance.uniform(-0.03, 0.03)
            watts = {"cpu": 130.0, "dram": 22.0, "gpu": 560.0 - 6.0 * n}[device["kind"]] * level[n]
            if device["kind"] == "gpu":
                watts *= 0.2 if t < _SETUP_SECONDS * seconds else 0.45 if validates else 1.0
            joules[n] += watts * seconds / samples
        inside.append(logs.sample(round(t, 3), *(round(value, 4) for value in joules)))
    power = sum(joules) / seconds
    for n in range(1, epochs + 1):
        t = seconds * n / epochs
        inside.append({**logs.epoch(t, n, "end"), "of": epochs})
        if n < epochs and (n <= 20 or n % 20 == 0):
            off = chance.uniform(-0.09, 0.05) / math.sqrt(n)
            half = 0.16 / math.sqrt(n) * (1.0 - n / epochs)
            inside.append(_prediction(t + 0.01, n, epochs, seconds, power, off * (1.0 - n / epochs), half))
    inside.append({"event": "metric", "t": seconds * 0.999, "name": "val_acc", "value": 0.8731})
    told += sorted(inside, key=lambda event: float(event["t"]))
    return [*told, logs.exited(seconds), logs.end(seconds)]


def _prediction(t: float, after: int, epochs: int, seconds: float, power: float, off: float, half: float) -> logs.Event:
    def amount(actual: float) -> dict[str, float]:
        value = actual * (1.0 + off)
        return {"value": value, "low": value * (1.0 - half), "high": value * (1.0 + half)}

    return {
        "event": "prediction",
        "t": t,
        "after_epoch": after,
        "epochs": epochs,
        "duration_seconds": amount(seconds),
        "energy_joules": amount(power * seconds),
        "co2e_grams": amount(1.2 * power * seconds / 3.6e6 * 130.0),
    }
