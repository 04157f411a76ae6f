"""How the CPU's counters are read: through powercap, through perf_event where powercap is shut, or through pyRAPL.

All three tell the same counters, so one of them is used, as `Machine.cpu_source` says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenrun.sampler.model import BaseSource, Machine, Opened
from greenrun.sampler.sources.rapl import Rapl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.sampler.model import Reading, Source

POWER_PMU = "bus/event_source/devices/power"
"""Where the kernel describes the PMU that tells RAPL's counters, below sysfs."""


def source(machine: Machine) -> Source:
    """Make the source of the CPU's counters."""
    if machine.cpu_source == "perf":
        from greenrun.sampler.sources.perfevent import PerfEvent

        return PerfEvent()
    if machine.cpu_source == "pyrapl":
        from greenrun.sampler.sources.pyrapl import PyRapl

        return PyRapl()
    return Rapl() if machine.cpu_source == "rapl" else _Auto()


class _Auto(BaseSource):
    """Powercap, or perf_event where powercap gives nothing; where neither does, it is powercap that says why."""

    def __init__(self) -> None:
        super().__init__(name="rapl")
        self._source: Source = Rapl()

    def open(self, machine: Machine) -> Opened:
        """Open powercap's counters, or else perf_event's."""
        opened = self._source.open(machine)
        if opened.devices:
            return opened
        from_perf = self._through_perf(machine)
        return from_perf if from_perf.devices else opened

    def read(self) -> Sequence[Reading | None]:
        """Read each counter."""
        return self._source.read()

    def warnings(self) -> Sequence[tuple[str | None, str]]:
        """Hand over the warnings since the last call."""
        return self._source.warnings()

    def close(self) -> None:
        """Close the counters."""
        self._source.close()

    def _through_perf(self, machine: Machine) -> Opened:
        if not os.path.isdir(f"{machine.sysfs}/{POWER_PMU}"):
            return Opened()
        from greenrun.sampler.sources.perfevent import PerfEvent

        perf = PerfEvent()
        opened = perf.open(machine)
        if opened.devices:
            self._source = perf
        return opened
