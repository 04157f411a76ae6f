"""The daemon's heart: which source is read when, and when a line goes into the run log.

The sampler owns no clock loop of its own: it says when it next wants to be called (`due`), and the daemon, which also
listens to the command line and to the command, calls it then.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from greenrun.sampler import overlap, sources
from greenrun.sampler.clock import Clock
from greenrun.sampler.meter import Meter
from greenrun.sampler.model import Device, Kind, Machine, Whose
from greenrun.sampler.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from greenrun.sampler.events import Event
    from greenrun.sampler.livejoules import LiveJoules, Scope
    from greenrun.sampler.model import Finding, Opened, Source
    from greenrun.sampler.runlog import Writer

# The log thins itself: lines come each elapsed / 2000, a minute apart at most, about 18,000 in a week.
_LINES_BEFORE_THINNING = 2000
_LONGEST_LINE_GAP_SECONDS = 60.0
# A 32-bit RAPL counter of 65.5 kJ wraps in 2.7 minutes at 400 W: it is read well before, whatever the interval.
_LONGEST_READ_GAP_SECONDS = 30.0
_LAST_JSON_SECONDS = 10.0
# Where lines come no closer than last.json is renewed, it alone carries `raw`: a third of a line that only the newest
# reading needs.
_RAW_LINE_GAP_SECONDS = _LAST_JSON_SECONDS
_RETRY_LATER_SECONDS = 10.0
_UTILISATION_SECONDS = 1.0  # NVML calls take a lock that the job's own calls need too
_FIRST_SCAN_SECONDS = 0.5  # after the spawn there is nothing to see yet, and the GPUs' opening is not to wait for it
_SCAN_BUDGET = 3000  # a scan of /proc may take one part in so many of the time: 0.03 % of a core
_QUARTER_HOUR_SECONDS = 900
_CLOCK_STEP_SECONDS = 0.5


class _Reader:
    """An open source with the meters of its devices; `due` is the CLOCK_MONOTONIC time to read it at the latest."""

    def __init__(self, source: Source, meters: list[Meter], due: float) -> None:
        self.source = source
        self.meters = meters
        self.due = due


class Sampler:
    """Reads the sources, runs the meters and writes `device`, `sample`, `clock` and `warning` events.

    `started` is CLOCK_MONOTONIC at the start of the run: every `t` in the log counts from it. `unbridged` names the
    devices whose use between an earlier sampler's death and now nobody can tell. `clock` and `meters` (the sources
    that read a meter) are the machine's own unless told. `aligned`: lines come at whole seconds of the machine's clock,
    as those of other samplers do.
    """

    def __init__(
        self,
        machine: Machine,
        writer: Writer,
        interval_seconds: float,
        started: float,
        *,
        clock: Clock | None = None,
        meters: Sequence[Source] | None = None,
        aligned: bool = False,
    ) -> None:
        self.started = started
        self.meters: list[Meter] = []
        self.from_t: list[float] = []
        self.findings: list[Finding] = []
        self.unbridged: list[str] = []
        self._clock = clock or Clock()
        self._sources = sources.meters(machine) if meters is None else meters
        self._machine = machine
        self._writer = writer
        self._interval = interval_seconds
        self._aligned = aligned
        self._readers: list[_Reader] = []
        self._announced = 0  # how many meters the log knows
        self._may_count: dict[str, bool] = {}  # as their sources say
        self._told_counted: dict[str, bool] = {}  # as the log says
        self._tally = overlap.Tally()
        self._has_begun = False  # whether there is a log
        self.job_joules: LiveJoules | None = None  # from the begin of the log on
        self._job_read_at: float | None = None
        self._findings_told = 0
        self._usage = Usage(machine)
        self._cpu_base = self._usage.machine_cpu_seconds()
        self._job_pid: int | None = None
        self._job_usage: Callable[[], tuple[float, int] | None] | None = None
        self._job: tuple[float, int] | None = None
        self._job_base_seconds = 0.0
        self._job_seconds_before = 0.0  # as an earlier sampler of this run has seen them
        self._told_at_end: Callable[[], float | None] = lambda: None
        self._job_lives_on = False
        self._next_scan = 0.0
        self._next_utilisation = 0.0
        self._utilisation: dict[str, float | None] = {}
        self._shares: dict[str, float | None] = {}  # the job's part in the use of a device
        self._whose: dict[str, Whose] = {}  # the last word on it
        self._followed_at = 0.0
        self._job_is_over = False
        self._next_line = 0.0
        self._next_last = started + _LAST_JSON_SECONDS
        self._later: list[tuple[float, Source]] = []
        self._arrived: list[tuple[Source, Opened]] = []
        self._threads: list[threading.Thread] = []
        self._wake = -1
        self._clock_base = self._clock_offsets()
        self._clock_told = (0.0, 0.0)
        self._told_silent: dict[str, float | None] = {}  # device to the time from which on its source gave it up

    # --- opening

    def open_fast(self, earlier: Sequence[Event] = ()) -> None:
        """Open and read what answers at once; an estimate, or a site's agent, stands in for kinds without a meter.

        The agent is asked with the slow sources. `earlier` is the log of a sampler of this run that died: its counters
        bridge the time since.
        """
        if earlier:
            self._share_out(earlier[0]).go_on()
        self._take_over(earlier)
        for event in earlier:
            for device in event["devices"] if event["event"] == "whose" else ():
                self._take_whose(Whose(*(device.get(name) for name in Whose._fields)))
        for source in self._sources:
            if not source.slow:
                self._join(source, source.open(self._machine))
        devices = [meter.device for reader in self._readers for meter in reader.meters]
        missing = overlap.untold_apart(("cpu", "dram"), devices)
        if missing:
            within = missing - overlap.untold(missing, devices)
            self._stand_in(missing | (frozenset[Kind](("other",)) - {device.kind for device in devices}), within)

    def _stand_in(self, missing: frozenset[Kind], within: frozenset[Kind]) -> None:
        # What is forbidden matters only where no agent tells it, which is known later.
        forbidden = [
            finding for finding in self.findings if finding.status == "forbidden" and finding.source in sources.GUARDED
        ]
        self.findings = [finding for finding in self.findings if finding not in forbidden]
        source = sources.stand_in(missing, self._machine.agent, forbidden, within)
        if source.slow:
            self._sources = (*self._sources, source)
        else:
            self._join(source, source.open(self._machine))

    def _take_over(self, earlier: Sequence[Event]) -> None:
        names = set(Device._fields)
        last: Event | None = None
        for event in earlier:
            if event["event"] == "start":
                if event["cpu_base"] is not None:
                    self._cpu_base = tuple(event["cpu_base"])
                monotonic = event["monotonic"]
                self._clock_base = (_unix_seconds(event["utc"]) - monotonic, event["boottime"] - monotonic)
            if event["event"] in ("start", "device"):
                for device in event["devices"]:
                    known = Device(**{name: device[name] for name in names if name in device})
                    self.meters.append(Meter(known._replace(covers=tuple(known.covers))))
                    self.from_t.append(device["from_t"])
                self._take_counted(event)
            elif event["event"] == "clock":
                self._clock_told = (event["utc_step_seconds"], event["suspended_seconds"])
            elif event["event"] == "sample":
                last = event
        self._announced = len(self.meters)
        self._has_begun = bool(earlier)
        if last is not None:
            self._job_seconds_before = _job_seconds(last)
            raws = [*last.get("raw", ()), *(None for _ in self.meters)]
            for meter, joules, raw in zip(self.meters, last["j"], raws, strict=False):
                if joules is not None:
                    meter.resume(self.started + last["t"], joules, raw)
                if not meter.bridges or raw is None:
                    self.unbridged.append(meter.device.name)

    def _take_counted(self, event: Event) -> None:
        """Take from an earlier log which devices counted, by its last word."""
        self._told_counted |= {device["id"]: device["counted"] for device in event["devices"]}
        self._told_counted |= event.get("counted") or {}
        for meter in self.meters:
            meter.device = meter.device._replace(counted=self._told_counted[meter.device.id])

    def open_slow(self, wake: int) -> None:
        """Begin to open what may take seconds, each in a thread; a byte to `wake` says that one is up."""
        self._wake = wake
        for source in self._sources:
            if source.slow:
                self._begin_opening(source)

    def _begin_opening(self, source: Source) -> None:
        thread = threading.Thread(target=self._open_in_thread, args=(source,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait_for_slow(self, seconds: float) -> None:
        """Wait until the slow sources are up, at most `seconds` for each; not for the thread that samples."""
        for thread in self._threads:
            thread.join(seconds)

    def _open_in_thread(self, source: Source) -> None:
        opened = source.open(self._machine)
        self._arrived.append((source, opened))
        os.write(self._wake, b"o")

    def take_arrived(self) -> None:
        """Let the sources that came up since the last call join."""
        while self._arrived:
            source, opened = self._arrived.pop(0)
            self._join(source, opened)
        self.announce()

    def _join(self, source: Source, opened: Opened) -> None:
        now = self._clock.monotonic()
        by_id = {meter.device.id: meter for meter in self.meters}
        mine: list[Meter] = []
        known = len(self.meters)
        for device in opened.devices:
            meter = by_id.get(device.id)
            if meter is None:
                meter = Meter(device)
                self.meters.append(meter)
                self.from_t.append(now - self.started)
            self._may_count[device.id] = device.counted
            mine.append(meter)
        self.findings.extend(opened.findings)
        if opened.later is not None:
            self._later.append((now + _RETRY_LATER_SECONDS, opened.later))
        if mine:
            self._readers.append(_Reader(source, mine, now))
            self._read(self._readers[-1])
        for index, meter in enumerate(self.meters[known:], known):
            if meter.known_at is not None and meter.known_at < now:  # a reading that was made before it came
                self.from_t[index] = max(meter.known_at - self.started, 0.0)
        self._recount(now)
        if self._has_begun:
            self._warn_of_findings(opened.findings)

    def _recount(self, now: float) -> None:
        """Decide which devices count, now that others have joined; late ones take nobody's place."""
        counted = {meter.device.id for meter in self.meters if self._told_counted.get(meter.device.id, False)}
        if now - self.started <= overlap.RECONSIDER_SECONDS:
            counted -= self._may_count.keys()  # an earlier sampler's devices that have not joined again yet
        devices = [meter.device for meter in self.meters]
        asked = [device._replace(counted=self._may_count.get(device.id, device.counted)) for device in devices]
        counting = overlap.counting(asked, counted)
        for meter in self.meters:
            self._tally.move(meter, meter.device.id in counting)

    def announce(self) -> None:
        """Write the devices that the log does not know yet, and which of the others count now, or do not any more.

        The first ones stand in `start`.
        """
        new = self.described()[self._announced :]
        findings = [finding._asdict() for finding in self.findings[self._findings_told :]]
        recounted = {
            meter.device.id: meter.device.counted
            for meter in self.meters[: self._announced]
            if meter.device.counted != self._told_counted.get(meter.device.id)
        }
        self._announced, self._findings_told = len(self.meters), len(self.findings)
        self._told_counted = {meter.device.id: meter.device.counted for meter in self.meters}
        if new or findings or recounted:
            self.write("device", devices=new, findings=findings, **({"counted": recounted} if recounted else {}))
        if new:
            self.sample()

    def described(self) -> list[Event]:
        """Give the devices as the log describes them; the log then knows them."""
        return [
            {**meter.device._asdict(), "from_t": round(from_t, 6)}
            for meter, from_t in zip(self.meters, self.from_t, strict=True)
        ]

    def begin(self, **fields: object) -> None:
        """Write the `start` event: the devices and findings of now, and what the caller knows of the run."""
        self._has_begun = True
        self._share_out(fields)
        self._announced, self._findings_told = len(self.meters), len(self.findings)
        self._told_counted = {meter.device.id: meter.device.counted for meter in self.meters}
        self._writer.append(
            {
                "event": "start",
                "t": 0.0,
                **fields,
                "monotonic": self.started,
                "boottime": self.started + self._clock_base[1],
                "cpu_base": self._cpu_base,
                "devices": self.described(),
                "findings": [finding._asdict() for finding in self.findings],
            }
        )
        self._warn_of_findings(self.findings)

    def _share_out(self, start: Mapping[str, object]) -> LiveJoules:
        """Begin to tell the job's part of the energy, from what the log's first event says."""
        from greenrun.sampler.livejoules import LiveJoules  # when greenrun is not waiting any more

        self.job_joules = LiveJoules(start)
        return self.job_joules

    def _warn_of_findings(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding.status in ("forbidden", "broken"):
                self.warn("source", f"{finding.sentence} {finding.remedy}".strip())

    # --- reading

    def follow(self, pid: int, *, from_now: bool = False, launcher: int | None = None) -> None:
        """From now on tell the CPU time and memory of this process and its descendants.

        `from_now`: what they have used until now does not count, for it is their present that is measured. `launcher`
        is the greenrun that started it, if it was one.
        """
        self._job_pid = pid
        self._followed_at = self._clock.monotonic()
        self._usage.expect(pid, launcher, self._job_seconds_before)
        self._next_scan = self._clock.monotonic() + _FIRST_SCAN_SECONDS
        if from_now:
            found = self._usage.job(pid)
            self._job_base_seconds = found[0] if found else 0.0
            self._job_lives_on = True

    def follow_usage(self, usage: Callable[[], tuple[float, int] | None]) -> None:
        """From now on tell the CPU seconds and the bytes of memory that somebody else knows of the job."""
        self._job_usage = usage

    def due(self) -> float:
        """Give the CLOCK_MONOTONIC time at which `tick` wants to be called next."""
        times = [self._next_line, self._next_last]
        times.extend(reader.due for reader in self._readers)
        times.extend(when for when, _ in self._later)
        return min(times)

    def tick(self) -> None:
        """Read what is due, and write a line if one is."""
        now = self._clock.monotonic()
        for when, source in self._later:
            if when <= now:
                self._later.remove((when, source))
                self._begin_opening(source)
                break
        if now >= self._next_line:
            self.sample()  # reads everything
        elif now >= self._next_last:
            self._keep_last(now, self._line(self.read_all()))
        else:
            for reader in self._readers:
                if reader.due <= now:
                    self._read(reader)

    def read_all(self) -> float:
        """Read every source and give the CLOCK_MONOTONIC time in the middle of it."""
        before = self._clock.monotonic()
        for reader in self._readers:
            self._read(reader)
        return (before + self._clock.monotonic()) / 2

    def _read(self, reader: _Reader) -> None:
        # From now on, whatever was planned: what a stop or suspend has missed is not caught up on.
        gap = reader.source.poll_seconds or min(self._interval, _LONGEST_READ_GAP_SECONDS)
        reader.due = self._clock.monotonic() + gap
        for meter, reading in zip(reader.meters, reader.source.read(), strict=True):
            meter.update(reading)

    # --- writing

    def sample(self) -> None:
        """Read everything and write one line."""
        before = self._clock.monotonic()
        middle = self.read_all()
        event = self._line(middle)
        self._tell_troubles()
        self._tell_clock(middle)
        gap = min(max(self._interval, (middle - self.started) / _LINES_BEFORE_THINNING), _LONGEST_LINE_GAP_SECONDS)
        # Counted from before the readings, so that the next ones are due after the line that makes them, not beside it.
        to_go = self._until_step(before, gap) if self._aligned else gap
        self._next_line = before + min(to_go, _until_quarter_hour(self._clock.utc()))
        if middle + gap >= self._next_last:
            self._keep_last(middle, event)
        if gap >= _RAW_LINE_GAP_SECONDS:
            del event["raw"]
        self._complete(event)
        self._writer.append(event)

    def _complete(self, event: Event) -> None:
        """Put what the job's parent has seen into the last line, where that is more."""
        seconds = self._told_at_end()
        if seconds is not None and "cpu" in event:
            event["cpu"][0] = max(round(seconds, 2), event["cpu"][0] or 0.0)
            event.pop("job_t", None)

    def _until_step(self, now: float, gap: float) -> float:
        """Give the seconds to the next line where all jobs of a machine write theirs at the same moments.

        What is due each second or eight seconds is due at whole multiples of that, so that rare lines fall on moments
        at which frequent ones fall, too. A job's share of an interval can then be held against the other jobs'.
        """
        step = self._interval
        while step < gap and 2.0 * step <= _LONGEST_LINE_GAP_SECONDS:
            step *= 2.0
        return step - now % step

    def finish(self, job_seconds: Callable[[], float | None] = lambda: None) -> None:
        """Write the last line, and which devices had fallen silent before it.

        `job_seconds` gives the CPU time that the job's parent has seen at its end, None where nobody tells it soon. It
        is asked once all is read, and completes the line: of what lived between two looks nobody else knows.
        """
        if self._job_lives_on or self._usage.counts_to_the_end:  # what it has used can still be seen
            self._next_scan = 0.0
        self._told_at_end = job_seconds
        self._job_is_over = True
        self.sample()
        self._tell_whose()
        now = self._clock.monotonic()
        for meter in self.meters:
            if meter.known_at != self._told_silent.get(meter.device.id):
                meter.end(now)
        self._tell_troubles()

    def _keep_last(self, now: float, event: Event) -> None:
        self._writer.keep_last(event)
        self._next_last = now + _LAST_JSON_SECONDS

    def _line(self, now: float) -> Event:
        event: Event = {
            "event": "sample",
            "t": round(now - self.started, 6),
            "j": [None if meter.joules is None else _short(meter.joules) for meter in self.meters],
            "raw": [meter.raw_microjoules if meter.bridges else None for meter in self.meters],
        }
        self._scan_job(now)
        cpu = self._usage.machine_cpu_seconds()
        if cpu is not None and self._cpu_base is not None:
            busy, total = (round(a - b, 2) for a, b in zip(cpu, self._cpu_base, strict=True))
            event["cpu"] = [None if self._job is None else round(self._job[0], 2), busy, total]
            if self._job is not None and self._job_read_at is not None and self._job_read_at < now:
                event["job_t"] = round(self._job_read_at - self.started, 6)  # it was read before this line
        memory = self._usage.memory()
        if memory is not None:
            event["mem"] = [None if self._job is None else self._job[1], *memory]
        gpus = [meter.device.id for meter in self.meters if meter.device.kind == "gpu"]
        if gpus:
            self._read_utilisation(now)
            event["gpu"] = [[self._utilisation.get(gpu), _part(self._shares.get(gpu))] for gpu in gpus]
        if self.job_joules is not None and (self._job_pid is not None or self._job_usage is not None):
            self.job_joules.take(now, event, self.meters, is_new=self._job_read_at == now)
            if self.job_joules.scope == "job":
                event["job_j"] = _short(self.job_joules.joules(self.meters))
        return event

    def _scan_job(self, now: float) -> None:
        """Look for the command's processes, as seldom as the time that it takes demands."""
        if self._job_usage is not None:
            self._job = self._job_usage()
            self._job_read_at = now
            return
        if self._job_pid is None or now < self._next_scan:
            return
        found = self._usage.job(self._job_pid)
        self._next_scan = now + self._usage.job_scan_seconds * _SCAN_BUDGET
        if found is not None:
            self._job = (found[0] - self._job_base_seconds, found[1])
            self._job_read_at = now

    def _read_utilisation(self, now: float) -> None:
        if now < self._next_utilisation:
            return
        self._next_utilisation = now + _UTILISATION_SECONDS
        for reader in self._readers:
            for meter, value in zip(reader.meters, reader.source.utilisation(), strict=False):
                self._utilisation[meter.device.id] = value
            if self._job_pid is not None and not self._job_is_over:
                shares = reader.source.shares(self._job_pid, now - self._followed_at)
                for meter, share in zip(reader.meters, shares, strict=False):
                    self._shares[meter.device.id] = share
        self._tell_whose()

    def _tell_whose(self) -> None:
        """Write what has become known of whose the devices are."""
        found = [one for reader in self._readers for one in reader.source.whose(over=self._job_is_over)]
        told = [one._asdict() for one in found if self._take_whose(one)]
        if told:
            self.write("whose", devices=told)

    def _take_whose(self, one: Whose) -> bool:
        """Take the word on a device; False where an earlier sampler of this run has seen more."""
        before = self._whose.get(one.id)
        if before is not None and _seen(one) < _seen(before):
            return False
        self._whose[one.id] = one
        for meter in self.meters:
            if meter.device.id == one.id:
                meter.device = meter.device._replace(of_job=one.of_job, job_part=one.job_part, note=one.note)
        return True

    def _tell_troubles(self) -> None:
        for reader in self._readers:
            for device_id, sentence in reader.source.warnings():
                since = next((meter.known_at for meter in reader.meters if meter.device.id == device_id), None)
                if device_id is not None:
                    self._told_silent[device_id] = since
                from_t = None if since is None else since - self.started
                self.warn("lost", sentence, device=device_id, from_t=from_t)
        for meter in self.meters:
            for trouble in meter.troubles():
                self.warn(
                    trouble.code,
                    trouble.sentence,
                    device=meter.device.id,
                    from_t=trouble.from_t - self.started,
                    to_t=trouble.to_t - self.started,
                )

    def _tell_clock(self, now: float) -> None:
        step, suspended = (a - b for a, b in zip(self._clock_offsets(), self._clock_base, strict=True))
        told_step, told_suspended = self._clock_told
        if abs(step - told_step) > _CLOCK_STEP_SECONDS or suspended - told_suspended > _CLOCK_STEP_SECONDS:
            self._clock_told = (step, suspended)
            self.write("clock", now, utc_step_seconds=round(step, 3), suspended_seconds=round(suspended, 3))

    def _clock_offsets(self) -> tuple[float, float]:
        """Give by how much UTC and CLOCK_BOOTTIME are ahead of CLOCK_MONOTONIC; only changes of it mean something."""
        monotonic = self._clock.monotonic()
        return self._clock.utc() - monotonic, self._clock.boottime() - monotonic

    def warn(
        self,
        code: str,
        message: str,
        *,
        device: str | None = None,
        from_t: float | None = None,
        to_t: float | None = None,
    ) -> None:
        """Write a warning: one sentence for the user."""
        self.write("warning", code=code, message=message, device=device, from_t=from_t, to_t=to_t)

    def write(self, event: str, at: float | None = None, /, **fields: object) -> None:
        """Write any event; `at` is a CLOCK_MONOTONIC time, now unless told."""
        t = (self._clock.monotonic() if at is None else at) - self.started
        self._writer.append({"event": event, "t": round(max(t, 0.0), 6), **fields})

    def total_joules(self) -> float:
        """Give the cumulative joules of all devices that count, as last read."""
        return self._tally.joules(self.meters)

    def joules(self, scope: Scope) -> float:
        """Give the cumulative joules of all, or the job's since its begin as far as they are known."""
        if scope == "node" or self.job_joules is None:
            return self.total_joules()
        return self.job_joules.joules(self.meters)

    @property
    def scope(self) -> Scope:
        """Whose joules budgets and predictions are of."""
        return "node" if self.job_joules is None else self.job_joules.scope

    def close(self) -> None:
        """Let go of the hardware."""
        for reader in self._readers:
            reader.source.close()


def _part(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _seen(one: Whose) -> int:
    """Rank what can be said of a device by how much must have been seen for it."""
    return 3 if one.shared else 2 if one.of_job or one.job_part is not None else 1 if one.of_job is False else 0


def _short(joules: float) -> float:
    """Keep what matters: a tenth of a millijoule, and ten digits of it in a log that is to last for weeks."""
    return float(f"{round(joules, 4):.10g}")


def _job_seconds(sample: Event) -> float:
    return (sample.get("cpu") or (None,))[0] or 0.0


def _until_quarter_hour(utc: float) -> float:
    return _QUARTER_HOUR_SECONDS - utc % _QUARTER_HOUR_SECONDS


def _unix_seconds(utc: str) -> float:
    from datetime import datetime  # only to take over an earlier log

    return datetime.fromisoformat(utc.replace("Z", "+00:00")).timestamp()
