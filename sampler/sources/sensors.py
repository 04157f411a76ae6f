"""Sensors that are files: the kernel writes a number into each, and we read it as often as we need.

What the hardware behind them is stands in the modules that find them (amdgpu, grace, jetson, pmcounters ...). Here it
is only read, and said what may not be read.
"""

from __future__ import annotations

import errno
import math
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from greenrun.sampler.model import BaseSource, Counter, Device, Finding, Machine, Opened, Power

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenrun.sampler.model import Reading

# Half-width of a 95 % interval, per cent, where nobody has held the meter against another one and published it.
UNVALIDATED_PERCENT = 20.0
# Often enough for loads that change once or twice a second.
POLL_SECONDS = 0.1
# For what renews its figure once a second or more rarely, and may take a tenth of it to answer.
SLOW_POLL_SECONDS = 1.0


class Sensor(NamedTuple):
    """A device and the files that tell its number: a sum of products.

    Within each of `terms` the numbers with which the files begin are multiplied, for a power file holds microwatts and
    so does the product of millivolts and milliamperes; the terms are added. `scale` turns the sum into microwatts or
    microjoules. `rests` tells whether the device must or can not be read now: a GPU that reading would wake, a battery
    that is being charged.
    """

    device: Device
    terms: tuple[tuple[str, ...], ...]
    scale: float = 1.0
    rests: Callable[[], bool] | None = None
    resting: str = ""  # the sentence for a device that rests
    signed: bool = False  # some drivers give what flows out a minus


class Found(NamedTuple):
    """What a search for sensors gave."""

    sensors: Sequence[Sensor] = ()
    findings: Sequence[Finding] = ()


class _Open:
    """A sensor with its files open; a file that went away is opened anew at the next reading."""

    def __init__(self, sensor: Sensor) -> None:
        self.sensor = sensor
        self.warned = False
        self._fds: dict[str, int] = {}

    def read(self) -> Reading | None:
        """Read all files; raise OSError where the kernel refuses, give None where a text is empty or torn."""
        before = time.monotonic()
        terms = [[self._value(path) for path in term] for term in self.sensor.terms]
        t = (before + time.monotonic()) / 2  # firmware may take its time
        products = [math.prod(value for value in term if value is not None) for term in terms]
        if any(value is None for term in terms for value in term):
            return None
        number = abs(sum(products)) if self.sensor.signed else sum(products)
        if self.sensor.device.method == "counter":
            return Counter(t, round(number * self.sensor.scale))
        return Power(t, number * self.sensor.scale / 1e6)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _value(self, path: str) -> int | None:
        if path not in self._fds:
            self._fds[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return _number(os.pread(self._fds[path], 64, 0))


class SensorSource(BaseSource):
    """The sensors that `find` finds; those that rest are left to a source for later.

    `leisurely` ones may take a tenth of a second to answer: they are opened in a thread, and read once a second.
    `poll_seconds` is known after `open`: None where all are counters.
    """

    def __init__(
        self, name: str, find: Callable[[Machine], Found], *, leisurely: bool = False, again: bool = False
    ) -> None:
        super().__init__(name=name, slow=leisurely or again)
        self._find = find
        self._leisurely = leisurely
        self._again = again  # that its sensors rest has been told
        self._open: list[_Open] = []

    def open(self, machine: Machine) -> Opened:
        """Find the sensors and read each once."""
        found = self._find(machine)
        findings = list(found.findings)
        resting: list[Sensor] = []
        for sensor in found.sensors:
            if sensor.rests is not None and sensor.rests():
                resting.append(sensor)
                if not self._again:
                    findings.append(Finding(self.name, sensor.device.id, "absent", sensor.resting))
                continue
            opened = _Open(sensor)
            try:
                opened.read()
            except OSError as error:
                opened.close()
                findings.append(_refused(self.name, sensor, error))
                continue
            self._open.append(opened)
            what = "energy" if sensor.device.method == "counter" else "power"
            findings.append(Finding(self.name, sensor.device.id, "ok", f"{sensor.device.name} tells its {what}."))
        devices = tuple(one.sensor.device for one in self._open)
        polled = any(device.method == "power" for device in devices)
        self.poll_seconds: float | None = (SLOW_POLL_SECONDS if self._leisurely else POLL_SECONDS) if polled else None
        later = None
        if resting:
            later = SensorSource(self.name, lambda _: Found(resting), leisurely=self._leisurely, again=True)
        return Opened(devices, tuple(findings), later)

    def read(self) -> Sequence[Reading | None]:
        """Read each sensor: microjoules or watts; None while it rests or gives nothing that makes sense."""
        return [self._read(one) for one in self._open]

    def close(self) -> None:
        """Close the files."""
        for one in self._open:
            one.close()

    def _read(self, one: _Open) -> Reading | None:
        sensor = one.sensor
        if sensor.rests is not None and sensor.rests():
            self._warn(one, f"{sensor.resting} Meanwhile it is not read.")
            return None
        try:
            return one.read()
        except OSError as error:
            one.close()
            why = os.strerror(error.errno or 0)
            self._warn(one, f"{sensor.device.name} could not be read for a time ({why}).")
            return None

    def _warn(self, one: _Open, sentence: str) -> None:
        if not one.warned:
            one.warned = True
            self._warnings.append((one.sensor.device.id, sentence))


def text(path: str) -> str:
    """Read a short file of sysfs, "" where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(4096).strip()
    except OSError:
        return ""


def _number(data: bytes) -> int | None:
    """Give the whole number with which a text begins: "123", "123 J", "123 J 1447097391000 us".

    Without its line end a number may have lost digits too.
    """
    words = data.split()
    if not words or not data.endswith(b"\n"):
        return None
    digits = words[0].removeprefix(b"-")
    return int(words[0]) if digits.isdigit() else None


def _refused(source: str, sensor: Sensor, error: OSError) -> Finding:
    why = os.strerror(error.errno or 0)
    if error.errno in {errno.EACCES, errno.EPERM}:
        sentence = f"This user may not read {sensor.terms[0][0]} ({sensor.device.name})."
        return Finding(source, sensor.device.id, "forbidden", sentence, "Ask for read access to that file.")
    sentence = f"{sensor.terms[0][0]} ({sensor.device.name}) cannot be read ({why})."
    return Finding(source, sensor.device.id, "broken", sentence)
