"""The job's joules while it runs, for budgets and predictions; the account makes better ones of the whole log.

Pure but for what it remembers: each line of the log is handed over as a moment. The CPU time of a job with many
processes is read seldom. Until there is a new reading the window stays open, and is charged as the one before; what was
charged is never taken back, but made good by charging less later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from greenrun.sampler import attribution

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greenrun.sampler.events import Event
    from greenrun.sampler.meter import Meter
    from greenrun.sampler.model import Device

Scope = Literal["node", "job"]


class _Moment(NamedTuple):
    """Cumulative joules of a kind at `t`, with the CPU seconds of the job and of all."""

    t: float
    joules: float
    job_cpu_seconds: float
    busy_cpu_seconds: float


class LiveJoules:
    """Takes the lines of one run; `start` is its first event, or has the same fields."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        floor, self._allocated = start.get("floor") or {}, start.get("allocated")
        self._floor_watts: float | None = floor.get("cpu_watts")
        self._floor_devices = frozenset(floor.get("devices") or ())
        self._for_ranks = bool(start.get("for_ranks"))
        self._asked = (start.get("config") or {}).get("scope")
        self._given = attribution.given_fraction(self._allocated)
        self._window: _Moment | None = None  # where the open one began
        self._before: dict[str, float] = {}  # joules of memory and GPUs that are charged already, by device
        self._fraction: float | None = None  # of the CPUs' energy, in the window before
        self._joules = 0.0  # of closed windows, of memory and of GPUs
        self._told = 0.0
        self._unknown: set[str] = set()  # devices of which a part was not known at some line
        self._known: set[str] = set()  # and of which it was
        self._is_shared = self._has_a_part = False
        self._begins_here = True  # with the job, which has used nothing yet; False: after an earlier sampler's death
        self._is_whole = not self._for_ranks  # nothing is missing of what it used, as other ranks' CPU time

    def go_on(self) -> None:
        """Take note that an earlier sampler of this run has died: what it had counted is not known here."""
        self._begins_here = self._is_whole = False

    def add(self, joules: float) -> None:
        """Take what the job had used by the death of the earlier sampler; what it used until now is not in it."""
        self._joules += joules
        self._is_whole = not self._for_ranks

    @property
    def is_known(self) -> bool:
        """Whether the job's part can be told: its CPU time was read, and its part of all that counts is known."""
        return self._fraction is not None and self._unknown <= self._known and self._is_whole

    @property
    def scope(self) -> Scope:
        """Whose joules budgets and predictions are of, by the same rule as in the record, as far as it is known yet."""
        wanted = self._asked == "job" or (self._asked == "auto" and self._has_a_part)
        return "job" if wanted and self.is_known else "node"

    def take(self, t: float, event: Event, meters: Sequence[Meter], *, is_new: bool) -> None:
        """Take a line of the log; `is_new`: the job's CPU time in it was read just now."""
        read = [(meter.device, meter.joules) for meter in meters if meter.device.counted]
        counted = [(device, joules) for device, joules in read if joules is not None]
        used, busy, _ = event.get("cpu") or (None, None, None)
        if self._window is None:
            begun = 0.0 if self._begins_here else used if is_new else None
            if begun is None:
                return
            self._window = _Moment(t, _of_cpus(counted), begun, busy or 0.0)
        elif is_new and used is not None and busy is not None and t - self._window.t >= attribution.WINDOW_SECONDS:
            self._close(_Moment(t, _of_cpus(counted), used, busy), [device for device, _ in counted])
        self._take_others(event, counted, [meter.device.id for meter in meters if meter.device.kind == "gpu"])

    def _close(self, now: _Moment, counted: Iterable[Device]) -> None:
        begun = self._window or now
        joules = max(0.0, now.joules - begun.joules)
        fraction = attribution.busy_fraction(
            now.job_cpu_seconds - begun.job_cpu_seconds, now.busy_cpu_seconds - begun.busy_cpu_seconds
        )
        is_calibrated = {device.id for device in counted if device.kind == "cpu"} <= self._floor_devices
        watts = self._floor_watts if is_calibrated else None
        static = attribution.floor_joules(joules, now.t - begun.t, watts)
        part = attribution.by_cpu_time(joules, static, fraction, self._given)
        self._joules += part.joules
        self._fraction = part.joules / joules if joules > 0.0 else fraction
        self._window = now

    def _take_others(self, event: Event, counted: Sequence[tuple[Device, float]], gpus: Sequence[str]) -> None:
        """Charge memory and GPUs at once: their parts are known at each line, or not at all."""
        uses: list[Any] = event.get("gpu") or []
        shares: dict[str, float | None] = {gpu: use[1] for gpu, use in zip(gpus, uses, strict=False)}
        states = [(device.of_job, device.job_part) for device, _ in counted if device.kind == "gpu"]
        self._is_shared |= any(share is not None and 0.0 < share < 1.0 for share in shares.values())
        self._has_a_part = self._is_shared or attribution.has_a_part(self._allocated, states)
        for device, joules in counted:
            if device.kind == "cpu":
                continue
            if device.kind == "dram":
                fraction = self._of_memory(event, is_given=device.of_job is True)
            elif device.kind == "gpu":
                fraction = attribution.gpu_fraction(device.of_job, device.job_part, shares.get(device.id))
            else:
                fraction = None
            used = max(0.0, joules - self._before.setdefault(device.id, joules))
            if fraction is not None:
                self._known.add(device.id)
                self._joules += fraction * used
                self._before[device.id] = joules
            elif used > 0.0:  # charged as soon as it is known whose it is
                self._unknown.add(device.id)

    def _of_memory(self, event: Event, *, is_given: bool) -> float | None:
        used, _, size = event.get("mem") or (None, None, None)
        if not size:
            return None
        given = attribution.given_memory_fraction(self._allocated, size, is_given=is_given)
        if given is not None or used is None:
            return given
        return min(1.0, float(used) / float(size))

    def joules(self, meters: Iterable[Meter]) -> float:
        """Give the job's joules since the spawn, by what the meters show now."""
        if self._window is not None:
            now = _of_cpus((meter.device, meter.joules) for meter in meters if meter.device.counted)
            open_joules = max(0.0, now - self._window.joules)
            self._told = max(self._told, self._joules + (self._fraction or 0.0) * open_joules)
        return self._told


def _of_cpus(counted: Iterable[tuple[Device, float | None]]) -> float:
    return sum(joules or 0.0 for device, joules in counted if device.kind == "cpu")
