"""Simulated traces, from a seed: the same ones each time.

Each epoch costs base x shape x noise. The noise is lognormal, of 0.3 to 8 per cent. The shape makes the class:

- warm-up: the first 1 to 3 epochs cost up to 1.2 to 8 times as much, the surplus constant or decaying by 0.2 to 0.7.
- stationary: nothing.
- drift: linear, or saturating with a time constant of 0.1 to 0.5 of the run; 10 to 100 % up, or 10 to 40 % down.
- periodic: every 2nd, 3rd, 5th, 10th or 20th epoch costs 1.2 to 3 times as much, counted from 1 or (a third) from 0.
- contention: AR(1) slowness (0.7 to 0.97 from epoch to epoch, spread 5 to 25 %), or bursts, on and off, that slow the
  epochs within by 1.3 to 2.

A third of the last three warm up as well (1.2 to 3 times, one epoch), as real jobs do. The energy is that of a load of
50 to 500 W, 2 per cent of noise; waiting for a contended machine draws 40 per cent of it.
"""

from __future__ import annotations

import math
import random
from typing import Any

from _trace import CLASSES, Trace

PER_CLASS = 26
SEED = 20_261_122  # the day that the corpus was made
PERIODS = (2, 3, 5, 10, 20)
WAITING_POWER = 0.4  # of the power at work


def traces() -> list[Trace]:
    """Give all simulated traces."""
    return [simulate(kind, SEED + 1000 * at + number) for at, kind in enumerate(CLASSES) for number in range(PER_CLASS)]


def simulate(kind: str, seed: int) -> Trace:
    """Make one trace of a class from its seed."""
    chance = random.Random(seed)  # noqa: S311  noise, no secret
    epochs = round(_between(chance, 20, 300))
    base, noise = _between(chance, 0.5, 600), _between(chance, 0.003, 0.08)
    made: dict[str, Any] = {"seed": seed, "base_seconds": base, "noise": noise}
    shape = [1.0] * epochs
    slow = [1.0] * epochs
    if kind == "warm-up":
        _warm_up(chance, shape, made, _between(chance, 1.2, 8), chance.randint(1, 3))
    elif kind == "drift":
        _drift(chance, shape, made)
    elif kind == "periodic":
        _periods(chance, shape, made)
    elif kind == "contention":
        _contention(chance, slow, made)
    if kind in ("drift", "periodic", "contention") and chance.random() < 1 / 3:
        _warm_up(chance, shape, made, _between(chance, 1.2, 3), 1)
    work = [base * factor * math.exp(chance.gauss(0, noise)) for factor in shape]
    seconds = [busy * factor for busy, factor in zip(work, slow, strict=True)]
    watts = _between(chance, 50, 500)
    joules = [
        watts * (busy + WAITING_POWER * (whole - busy)) * math.exp(chance.gauss(0, 0.02))
        for busy, whole in zip(work, seconds, strict=True)
    ]
    setup = base * chance.uniform(0, 5)
    name = f"simulated-{kind}-{seed - SEED}"
    return Trace(name, kind, "simulated", _short(made), setup, seconds, 0.5 * watts * setup, joules)


def _between(chance: random.Random, low: float, high: float) -> float:
    """Draw, each ratio as likely as any other."""
    return low * (high / low) ** chance.random()


def _warm_up(chance: random.Random, shape: list[float], made: dict[str, Any], factor: float, epochs: int) -> None:
    decay = 1.0 if chance.random() < 0.5 else chance.uniform(0.2, 0.7)
    made |= {"warm_up_factor": factor, "warm_up_epochs": epochs, "warm_up_decay": decay}
    for at in range(epochs):
        shape[at] *= 1 + (factor - 1) * decay**at


def _drift(chance: random.Random, shape: list[float], made: dict[str, Any]) -> None:
    total = _between(chance, 0.1, 1.0) if chance.random() < 0.7 else -_between(chance, 0.1, 0.4)
    n = len(shape)
    made["drift"] = total
    if chance.random() < 0.5:
        growth = [at / (n - 1) for at in range(n)]
    else:
        made["time_constant_epochs"] = constant = n * chance.uniform(0.1, 0.5)
        growth = [1 - math.exp(-at / constant) for at in range(n)]
    shape[:] = [1 + total * share for share in growth]


def _periods(chance: random.Random, shape: list[float], made: dict[str, Any]) -> None:
    every = chance.choice([period for period in PERIODS if period * 4 <= len(shape)])
    factor = _between(chance, 1.2, 3)
    first = 0 if chance.random() < 1 / 3 else every - 1
    made |= {"every": every, "factor": factor, "first": first + 1}
    for at in range(first, len(shape), every):
        shape[at] *= factor


def _contention(chance: random.Random, slow: list[float], made: dict[str, Any]) -> None:
    if chance.random() < 0.5:
        correlation, spread = chance.uniform(0.7, 0.97), _between(chance, 0.05, 0.25)
        made |= {"correlation": correlation, "spread": spread}
        state = chance.gauss(0, spread)
        for at in range(len(slow)):
            slow[at] = math.exp(max(0.0, state + spread))  # about its own level; nothing is faster than alone
            state = correlation * state + spread * math.sqrt(1 - correlation**2) * chance.gauss(0, 1)
        return
    factor, on, off = _between(chance, 1.3, 2), _between(chance, 1, 10), _between(chance, 2, 20)
    made |= {"slowed_by": factor, "on_epochs": on, "off_epochs": off}
    at, busy = chance.expovariate(1 / off), False
    for epoch in range(len(slow)):
        while at <= 0:
            busy = not busy
            at += chance.expovariate(1 / (on if busy else off))
        slow[epoch] = factor if busy else 1.0
        at -= 1


def _short(made: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in made.items()}
