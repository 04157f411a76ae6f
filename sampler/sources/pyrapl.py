"""pyRAPL as the source of the CPU's counters, for those who ask for it (`greenrun[pyrapl]`, `cpu-source = "pyrapl"`).

Only its raw counters are taken; our own meter unwraps them, which pyRAPL does not. What it falls short on stays as it
is: machines whose packages have several dies, no memory on AMD, /sys where it always is. It is imported when it is
chosen, not before: that takes 60 ms, and ten times as much where pandas is installed. It is a second opinion in
`greenrun doctor`, too.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from greenrun.sampler.hardware import read_processor
from greenrun.sampler.model import BaseSource, Counter, Device, Finding, Machine, Opened
from greenrun.sampler.sources import rapl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.sampler.model import Reading

_INSTALL = "Install it: pip install greenrun[pyrapl]. Or choose another source: cpu-source = auto."


class PyRapl(BaseSource):
    """The packages and their memory as pyRAPL tells them."""

    def __init__(self) -> None:
        super().__init__(name="pyrapl")
        self._domains: list[tuple[Any, tuple[int, ...]]] = []  # pyRAPL's API, and the sockets that it tells
        self._devices: list[Device] = []
        self._warned = False

    def open(self, machine: Machine) -> Opened:
        """Import pyRAPL and read each of its counters once."""
        if os.path.realpath(machine.sysfs) != "/sys":
            sentence = f"pyRAPL reads /sys and nothing else, and this machine's sysfs is at {machine.sysfs}."
            return Opened(findings=(Finding("pyrapl", "pyRAPL", "broken", sentence, "Choose cpu-source = auto."),))
        try:
            with _silence():
                import pyRAPL
        except Exception as error:  # noqa: BLE001  whatever its import does
            sentence = f"pyRAPL cannot be imported ({type(error).__name__}: {error})."
            return Opened(findings=(Finding("pyrapl", "pyRAPL", "broken", sentence, _INSTALL),))
        processor = read_processor(machine.procfs)
        findings = []
        for domain, api in (("", pyRAPL.PkgAPI), ("/dram", pyRAPL.DramAPI)):
            try:
                with _silence():
                    opened = api()
                    values = opened.energy()
            except Exception as error:  # noqa: BLE001  its own exceptions have no text, and OSError comes through
                if not domain or isinstance(error, OSError):
                    findings.append(_failure(error, "memory" if domain else "packages"))
                continue
            sockets = tuple(socket for socket, value in enumerate(values) if value >= 0)
            self._domains.append((opened, sockets))
            self._devices += (_device(socket, domain, machine, processor) for socket in sockets)
        if self._devices:
            labels = ", ".join(device.id.partition(":")[2] for device in self._devices)
            findings.insert(0, Finding("pyrapl", labels, "ok", "RAPL's counters can be read through pyRAPL."))
        return Opened(tuple(self._devices), tuple(findings))

    def read(self) -> Sequence[Reading | None]:
        """Read each counter, microjoules (its docstring says joules); None where it cannot."""
        readings: list[Reading | None] = []
        for api, sockets in self._domains:
            t = time.monotonic()
            try:
                values = api.energy()
                readings += (Counter(t, int(values[socket])) for socket in sockets)
            except Exception as error:  # noqa: BLE001  an empty read is a ValueError, an offline package an OSError
                readings += [None] * len(sockets)
                if not self._warned:
                    self._warned = True
                    why = f"{type(error).__name__}: {error}"
                    self._warnings.append((None, f"pyRAPL could not read for a time ({why})."))
        return readings


def _device(socket: int, domain: str, machine: Machine, processor: Any) -> Device:
    label = f"package-{socket}{domain}"
    found = rapl.device(label, rapl.span_microjoules(machine.sysfs, label), processor)
    if found is None:
        raise LookupError(label)
    note = f"Read through pyRAPL. {found.note}".strip()
    return found._replace(id=f"pyrapl:{label}", source="pyrapl", note=note)


def _failure(error: Exception, what: str) -> Finding:
    words = f"{type(error).__name__}{f': {error}' if str(error) else ''}"
    if isinstance(error, PermissionError):
        sentence = f"This user may not read the counters of the {what} through pyRAPL ({words})."
        return Finding("pyrapl", what, "forbidden", sentence, rapl.FORBIDDEN_REMEDY)
    absent = isinstance(error, FileNotFoundError) or "CantInit" in words
    sentence = f"pyRAPL finds no counters of the {what} ({words})."
    return Finding("pyrapl", what, "absent" if absent else "broken", sentence)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep off stderr what it says through the root logger, which it also sets up, and through warnings."""
    import logging
    import warnings

    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
