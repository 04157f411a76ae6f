"""The verb `calibrate`: measure once what this machine draws while nobody uses it, and keep it.

A run then knows which part of a machine's energy would have been used anyway. Only what a meter tells is kept: an
estimate's idle power is known without measuring, and is no better for it.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import click

from greenrun import __version__
from greenrun.cli import config, floor, output, parse
from greenrun.cli.errors import UserError
from greenrun.cli.run import say
from greenrun.sampler.hardware import read_processor
from greenrun.sampler.loop import Sampler
from greenrun.sampler.model import Machine
from greenrun.sampler.runlog import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.sampler.events import Event
    from greenrun.sampler.meter import Meter
    from greenrun.sampler.model import Device

IDLE_PERCENT = 2.0
"""A machine whose processors are busy for more of the time than this is in use: system services need less."""

_LOOK_SECONDS = 3.0  # ticks are hundredths of a second: before this an idle machine of two CPUs may look busy
_SLOW_SECONDS = 10.0  # NVML may need seconds for each GPU
_STRETCHES = 12  # of which the spread is told
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 3600.0


class InUse(Exception):  # noqa: N818  it says what the machine is
    """The machine is not idle: the clause that says who uses it."""


def main(argv: list[str]) -> int:
    """Calibrate; 0 if a floor was kept, shown or forgotten, else 1. Raises UserError."""
    return 1 if parse.invoke(command, argv, "greenrun calibrate") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.option("--seconds", "told_seconds", metavar="SECONDS", default="60", help="how long to measure; default: 60")
@click.option("--to", "path", metavar="FILE", help="keep it there, not where runs look for it by themselves")
@click.option("--anyway", is_flag=True, help="also while the machine is in use")
@click.option("--show", is_flag=True, help="show the floor that runs here use")
@click.option("--forget", is_flag=True, help="remove it")
def command(told_seconds: str, path: str | None, anyway: bool, show: bool, forget: bool) -> int:
    """Measure what this machine draws while nobody uses it, and keep it for all later runs.

    Root keeps it for all users of the machine (/etc/greenrun/floor.json), anybody else for himself. A job's share can
    then be split: of the idle part by the CPUs that it was given, of the rest by the CPU time that it used.

    The exit status is 0 if a floor was kept (with --show: if one is in use), else 1.
    """
    settings = config.load({}, os.environ, cwd="/")
    if path is not None:
        if not path:
            raise UserError("--to must be the path of a file")
        settings = settings._replace(floor=path)
    if show and forget:
        raise UserError("--show and --forget must not be told together")
    for warning in settings.warnings:
        say(f"greenrun: {warning}")
    try:
        if forget:
            return _forget(floor.place_to_keep(settings, os.environ))
        if show:
            return _show(settings)
        seconds = _seconds(told_seconds)
        return _calibrate(settings, floor.place_to_keep(settings, os.environ), seconds, anyway=anyway)
    except floor.Unusable as reason:
        say(f"greenrun: {reason}")
        return 1


def _seconds(told: str) -> float:
    try:
        seconds = float(told)
    except ValueError:
        seconds = math.nan
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise UserError(f"--seconds must be a number from {_SHORTEST_SECONDS:g} to {_LONGEST_SECONDS:g}, not {told!r}")
    return seconds


def _calibrate(settings: config.Config, path: str, seconds: float, *, anyway: bool) -> int:
    machine = Machine(settings.sysfs_root, settings.procfs_root, agent=settings.agent, cpu_source=settings.cpu_source)
    say(f"greenrun: measuring the idle power of this machine for {seconds:g} s; leave it alone meanwhile.")
    try:
        found = measure(machine, seconds, anyway=anyway)
    except InUse as reason:
        say(
            f"greenrun: this machine is not idle ({reason}), so nothing was kept; end what runs and try again, "
            "or tell --anyway."
        )
        return 1
    if found is None:
        say(
            "greenrun: no meter on this machine can be read, so there is no idle floor to keep; "
            "greenrun doctor says what would help."
        )
        return 1
    try:
        floor.write(found, path, __version__)
    except OSError as error:
        say(f"greenrun: {error.filename or path} cannot be written: {error.strerror or error}")
        return 1
    output.show("\n".join([_headline(found), *floor.describe(found.devices), f"Kept in {path}."]))
    return 0


def _headline(found: floor.Floor) -> str:
    busy = "" if found.busy_percent is None else f", the CPUs busy {found.busy_percent:.1f} % of the time"
    return f"Idle power, measured for {found.seconds:.0f} s at {found.measured_at}{busy}:"


def _forget(path: str) -> int:
    try:
        os.unlink(path)
    except FileNotFoundError:
        output.show(f"There is no idle floor in {path}.")
    except OSError as error:
        say(f"greenrun: {path} cannot be removed: {error.strerror}")
        return 1
    else:
        output.show(f"The idle floor in {path} is forgotten.")
    return 0


def _show(settings: config.Config) -> int:
    machine = Machine(settings.sysfs_root, settings.procfs_root, agent=settings.agent, cpu_source=settings.cpu_source)
    found = floor.find(settings, os.environ, read_processor(machine.procfs).brand, _fast_devices(machine))
    if found.floor is None:
        say(f"greenrun: {found.trouble or 'no idle floor of this machine is kept; greenrun calibrate measures one.'}")
        return 1
    lines = [_headline(found.floor), *floor.describe(found.floor.devices), f"Kept in {found.path}."]
    output.show("\n".join(lines))
    return 0


def _fast_devices(machine: Machine) -> list[Device]:
    sampler = Sampler(machine, Writer(), 1.0, time.monotonic())
    sampler.open_fast()
    sampler.close()
    return [meter.device for meter in sampler.meters]


# --- measuring


class _Log(Writer):
    """Keeps the samples, and nothing on a disk."""

    def __init__(self) -> None:
        super().__init__()
        self.samples: list[Event] = []

    def append(self, event: Event) -> None:
        if event["event"] == "sample":
            self.samples.append(event)


class _State(NamedTuple):
    joules: float
    t: float


def measure(machine: Machine, seconds: float, *, anyway: bool) -> floor.Floor | None:
    """Measure the idle power of each device that has a meter; None where there is none. Raises InUse."""
    log = _Log()
    sampler = Sampler(machine, log, 1.0, time.monotonic())
    try:
        _open(sampler)
        metered = [meter for meter in sampler.meters if _is_metered(meter.device)]
        if not metered:
            return None
        log.samples.clear()
        sampler.sample()
        began = _state(metered)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            time.sleep(min(left, max(0.0, sampler.due() - time.monotonic())))
            sampler.tick()
            if not anyway:
                _check_idle(log.samples, sampler.meters, at_end=False)
        sampler.sample()
        if not anyway:
            _check_idle(log.samples, sampler.meters, at_end=True)
        places = {meter.device.id: place for place, meter in enumerate(sampler.meters)}
        ended = _state(metered)
        parts = [
            _part(meter.device, began[name], ended[name], _stretches(log.samples, places[name]))
            for meter in metered
            if (name := meter.device.id) in began
        ]
    finally:
        sampler.close()
    return floor.Floor(
        measured_at=time.strftime(floor.MOMENT, time.gmtime()),
        seconds=round(log.samples[-1]["t"] - log.samples[0]["t"], 3),
        host=floor.host(),
        cpu=read_processor(machine.procfs).brand,
        busy_percent=_busy_percent(log.samples),
        devices=tuple(part for part in parts if part),
    )


def _open(sampler: Sampler) -> None:
    sampler.open_fast()
    _, wake = os.pipe()  # nobody reads it; both ends stay, for a source that is later still will write to it
    sampler.open_slow(wake)
    sampler.wait_for_slow(_SLOW_SECONDS)
    sampler.take_arrived()


def _is_metered(device: Device) -> bool:
    return device.method != "estimate" and device.trusted


def _state(meters: Sequence[Meter]) -> dict[str, _State]:
    """Give the joules of now and the moment up to which they hold, by device; those not read are left out."""
    return {
        meter.device.id: _State(meter.joules, meter.known_at)
        for meter in meters
        if meter.joules is not None and meter.known_at is not None
    }


def _part(device: Device, began: _State, ended: _State, stretches: list[float]) -> floor.Part | None:
    """Give the power of a device; None where its counter has never moved."""
    seconds = ended.t - began.t
    if seconds <= 0.0:
        return None
    return floor.Part(
        id=device.id.removeprefix(floor.AGENT),
        kind=device.kind,
        name=device.name,
        counted=device.counted,
        watts=round((ended.joules - began.joules) / seconds, 4),
        spread_watts=round(statistics.stdev(stretches), 4) if len(stretches) > 1 else None,
    )


def _stretches(samples: Sequence[Event], place: int) -> list[float]:
    """Give the power of a device in each of some stretches of the time that it was measured."""
    shortest = max(1.0, (samples[-1]["t"] - samples[0]["t"]) / _STRETCHES)
    found: list[float] = []
    last: tuple[float, float] | None = None
    for event in samples:
        joules = event["j"][place] if place < len(event["j"]) else None
        if joules is None:
            continue
        if last is None:
            last = event["t"], joules
        elif event["t"] - last[0] >= 0.9 * shortest:
            found.append((joules - last[1]) / (event["t"] - last[0]))
            last = event["t"], joules
    return found


def _busy_percent(samples: Sequence[Event]) -> float | None:
    read = [event["cpu"] for event in samples if event.get("cpu")]
    if len(read) < 2 or read[-1][2] <= read[0][2]:
        return None
    busy, every = (float(read[-1][place] - read[0][place]) for place in (1, 2))
    return round(100.0 * busy / every, 2)


def _check_idle(samples: Sequence[Event], meters: Sequence[Meter], *, at_end: bool) -> None:
    """Raise InUse where the processors or a GPU have work; where nobody tells, there is nothing to hold against it."""
    names = [meter.device.name for meter in meters if meter.device.kind == "gpu"]
    for (utilisation, *_), name in zip(samples[-1].get("gpu", ()), names, strict=False):
        if utilisation is not None and utilisation > 0.0:
            raise InUse(f"{name} is busy {100.0 * utilisation:.0f} % of the time")
    if samples[-1]["t"] - samples[0]["t"] < _LOOK_SECONDS and not at_end:
        return
    busy = _busy_percent(samples)
    if busy is not None and busy > IDLE_PERCENT:
        raise InUse(f"its CPUs are busy {busy:.1f} % of the time, more than {IDLE_PERCENT:g} %")
