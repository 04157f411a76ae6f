"""What one training run cost, epoch by epoch: the unit that the corpus is made of, and how it is kept.

A corpus file holds one trace a line, as JSON. The class of a trace says how it was made, never how it looks.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HERE = Path(__file__).resolve().parent
TUNING, HELD_OUT = HERE / "traces" / "tuning.jsonl", HERE / "traces" / "held-out.jsonl"
FROZEN = HERE / "HELD_OUT.sha256"
CLASSES = ("warm-up", "stationary", "drift", "periodic", "contention")


class Trace(NamedTuple):
    """One run: `origin` is real or simulated, `made` what it was made with. Joules only where they are known."""

    name: str
    kind: str  # one of CLASSES
    origin: str
    made: dict[str, Any]
    setup_seconds: float
    epoch_seconds: Sequence[float]
    setup_joules: float | None = None
    epoch_joules: Sequence[float] | None = None


def line(trace: Trace) -> str:
    """Give a trace as one line of JSON; five figures are more than any clock of a job is good for."""
    fields = trace._asdict()
    for name in ("epoch_seconds", "epoch_joules"):
        values = fields[name]
        fields[name] = None if values is None else [float(f"{value:.5g}") for value in values]
    for name in ("setup_seconds", "setup_joules"):
        fields[name] = None if fields[name] is None else float(f"{fields[name]:.5g}")
    return json.dumps(fields)


def write(path: Path, traces: Iterable[Trace]) -> None:
    """Write a corpus file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(line(trace) + "\n" for trace in traces))


def read(path: Path) -> list[Trace]:
    """Read a corpus file. Raises ValueError where the held-out half is not the one that was frozen."""
    data = path.read_bytes()
    if path == HELD_OUT and hashlib.sha256(data).hexdigest() != FROZEN.read_text().split()[0]:
        raise ValueError(f"{path} is not the half that {FROZEN.name} froze; restore it")
    return [Trace(**json.loads(text)) for text in data.decode().splitlines()]
