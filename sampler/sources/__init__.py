"""The registry of sources: a new one takes a module here and a line in `meters`, or in hwmon's list of chips.

What only some machines have is imported where the kernel shows it: its absence is no finding, and costs a look.

What stands in for meters that are not there or may not be read (the site's agent, the estimate) is not in that list:
it is made after the fast sources were opened and the kinds of hardware still without a meter are known. The modules are
not named like the functions `estimate` and `stand_in`: importing a submodule binds its name here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from greenrun.sampler.model import Finding, Kind, Machine, Source

GUARDED = frozenset({"rapl", "perf", "pyrapl"})
"""The sources of counters that the kernel keeps for root, as findings name them."""


def meters(machine: Machine) -> tuple[Source, ...]:
    """Make one fresh instance of each source that reads a meter of this machine; none of them is open yet."""
    from greenrun.sampler.sources.nvml import Nvml

    return (guarded(machine), *_elsewhere(machine.sysfs), Nvml())


def guarded(machine: Machine) -> Source:
    """Make the source of the counters that the kernel keeps for root, which a site's agent tells to all."""
    from greenrun.sampler.sources import cpu

    return cpu.source(machine)


def _elsewhere(sysfs: str) -> Iterator[Source]:
    """Make the sources that only some machines have."""
    if os.path.isdir(f"{sysfs}/class/hwmon"):
        from greenrun.sampler.sources import hwmon

        yield from hwmon.sources(hwmon.chips(sysfs))
    if os.path.isdir(f"{sysfs}/cray/pm_counters"):
        from greenrun.sampler.sources import pmcounters

        yield pmcounters.source()
    if _lists_something(f"{sysfs}/class/power_supply"):
        from greenrun.sampler.sources import battery

        if battery.folders(sysfs):
            yield battery.source()


def _lists_something(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False


def estimate(missing: Collection[Kind]) -> Source:
    """Make the estimate for the kinds without a meter; it knows cpu and dram and passes over others."""
    from greenrun.sampler.sources.estimation import Estimate

    return Estimate(missing)


def stand_in(
    missing: Collection[Kind], agent: str, forbidden: Sequence[Finding], within: Collection[Kind] = ()
) -> Source:
    """Make what tells the kinds without a readable meter: the agent at a socket, else the estimate.

    Where that socket is there it is a slow source. `forbidden` are the findings that it may make good. The kinds
    `within` the figure of a meter of the whole machine are not estimated, unless the agent tells others apart.
    """
    from greenrun.sampler.sources.standin import StandIn

    return StandIn(missing, agent, forbidden, within)
