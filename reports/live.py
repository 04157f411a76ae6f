"""A run under way, told from its log so far: what it draws, what it has used, how far it is, and how long it will take.

Pure, and in one pass: events go in as the log grows and little of them is kept, so that a watcher of a run that lasts
a week works no more than that of a minute's. The account of a run that is over is made from all its events (`account`);
here energy is the difference between two readings, and a device that came late counts from its first one.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from greenrun.reports.life import kind
from greenrun.sampler.prediction import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenrun.reports.record import Event, RunKind, Scope

Estimated = Literal["no", "partly", "all"]

_POWER_SECONDS = 0.9
"""Power is the mean over this at least, where there are readings so far apart: what is shorter jumps about."""

_LATE_SECONDS = 30.0
"""An older reading is said to be old: `last.json` is renewed each 10 s, and a busy disk may take its time."""


class State(NamedTuple):
    """What is known of a run at one moment; None is unknown. Times are in seconds, `left_seconds` to the job's end."""

    run_id: str
    kind: RunKind
    name: str | None
    command: Sequence[str] | None
    host: str | None
    user: str | None
    job: str | None  # the scheduler's number
    started_at: str  # UTC
    phase: Literal["starting", "running", "ending"]
    elapsed_seconds: float | None
    power_watts: float | None
    energy_joules: float | None
    estimated: Estimated
    reading_age_seconds: float | None
    epochs_done: int | None
    epochs_planned: int | None
    prediction: Mapping[str, Any] | None
    left_seconds: Interval | None
    scope: Scope = "node"  # whose the energy is; the power is the machine's

    @property
    def is_late(self) -> bool:
        """Whether its newest reading is old: a daemon that was stopped, a disk that hangs."""
        return self.reading_age_seconds is not None and self.reading_age_seconds > _LATE_SECONDS


class Live:
    """Takes the events of one run as they are written. Each must hold what `sampler.events` demands."""

    def __init__(self, start: Event) -> None:
        self._start = start
        self._devices: list[Event] = list(start["devices"])
        self._base: list[float | None] = []  # joules when the command began
        self._samples: deque[tuple[float, list[float | None]]] = deque(maxlen=8)
        self._spawned: float | None = None
        self._exited: float | None = None
        self._epoch: Event | None = None
        self._prediction: Event | None = None
        self._job_joules: float | None = None  # where the run's figures are of the job

    def take(self, event: Event) -> None:
        """Take the next event; those that tell nothing here are passed over."""
        what = event["event"]
        if what == "sample":
            self._take_sample(event)
        elif what == "device":
            counted = event.get("counted") or {}
            known = [device | {"counted": counted.get(device["id"], device["counted"])} for device in self._devices]
            self._devices = known + event["devices"]
        elif what == "spawned" and self._spawned is None:
            self._spawned = event["t"]
        elif what in ("exited", "not-started", "end"):
            self._exited = event["t"] if self._exited is None else self._exited
        elif what == "epoch":
            self._epoch = event
        elif what == "prediction":
            self._prediction = event

    def _take_sample(self, event: Event) -> None:
        t, joules = event["t"], event["j"]
        if self._samples and t <= self._samples[-1][0]:  # last.json, of which the log had it
            return
        self._samples.append((t, joules))
        self._job_joules = event.get("job_j")
        self._base += [None] * (len(joules) - len(self._base))
        for index, value in enumerate(joules):
            if value is not None and (self._base[index] is None or self._spawned is None or t <= self._spawned):
                self._base[index] = value

    def state(self, monotonic: float) -> State:
        """Tell how it stands at a time of CLOCK_MONOTONIC of the machine on which it runs."""
        start, newest = self._start, self._samples[-1][0] if self._samples else None
        now = max(monotonic - start["monotonic"], newest or 0.0)
        elapsed = None
        if self._spawned is not None:
            elapsed = max(0.0, (now if self._exited is None else self._exited) - self._spawned)
        counted = [device["method"] == "estimate" for device in self._devices if device["counted"]]
        environment = start.get("environment") or {}
        return State(
            run_id=start["run_id"],
            kind=kind([start]),
            name=start.get("name"),
            command=start.get("command"),
            host=start.get("host"),
            user=start.get("user"),
            job=environment.get("SLURM_JOB_ID") or environment.get("PBS_JOBID") or environment.get("LSB_JOBID"),
            started_at=start["utc"],
            phase="starting" if self._spawned is None else "running" if self._exited is None else "ending",
            elapsed_seconds=elapsed,
            power_watts=self._power(),
            energy_joules=self._energy(),
            estimated="no" if not any(counted) else "all" if all(counted) else "partly",
            reading_age_seconds=None if newest is None else now - newest,
            epochs_done=None if self._epoch is None else self._epoch["n"] - (self._epoch["mark"] == "start"),
            epochs_planned=self._epochs_planned(),
            prediction=self._prediction,
            left_seconds=self._left(elapsed),
            scope="node" if self._job_joules is None else "job",
        )

    def _counted(self) -> list[int]:
        return [index for index, device in enumerate(self._devices) if device["counted"]]

    def _energy(self) -> float | None:
        if not self._samples or self._spawned is None:
            return None
        if self._job_joules is not None:
            return self._job_joules
        return _sum(self._base, self._samples[-1][1], self._counted())

    def _power(self) -> float | None:
        """Give the mean between the newest reading and the last one before it that is far enough away."""
        if len(self._samples) < 2 or self._spawned is None:
            return None
        newest_t, newest = self._samples[-1]
        earlier = list(self._samples)[:-1]
        from_t, joules = next(
            (one for one in reversed(earlier) if newest_t - one[0] >= _POWER_SECONDS),
            earlier[0],
        )
        used = _sum(joules, newest, self._counted())
        return None if used is None or newest_t <= from_t else used / (newest_t - from_t)

    def _epochs_planned(self) -> int | None:
        told: int | None = (self._epoch or {}).get("of")
        return told or (self._prediction or {}).get("epochs")

    def _left(self, elapsed: float | None) -> Interval | None:
        whole = (self._prediction or {}).get("duration_seconds")
        if whole is None or elapsed is None:
            return None
        return Interval(*(max(0.0, whole[key] - elapsed) for key in Interval._fields))


def _sum(earlier: Sequence[float | None], later: Sequence[float | None], indices: Sequence[int]) -> float | None:
    """Sum the joules between two readings, over those devices that both have; None if there is no such one."""
    used = []
    for index in indices:
        begin = earlier[index] if index < len(earlier) else None
        end = later[index] if index < len(later) else None
        if begin is not None and end is not None:
            used.append(max(0.0, end - begin))
    return math.fsum(used) if used else None
