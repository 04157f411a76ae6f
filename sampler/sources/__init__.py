"""The registry of sources: a new one takes a module here and a line in `meters`.

What stands in for meters that are not there or may not be read (the site's agent, the estimate) is not in that list:
it is made after the fast sources were opened and the kinds of hardware still without a meter are known. The modules are
not named like the functions `estimate` and `stand_in`: importing a submodule binds its name here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from greenrun.sampler.model import Finding, Kind, Source


def meters() -> tuple[Source, ...]:
    """Make one fresh instance of each source that reads a meter; none of them is open yet."""
    from greenrun.sampler.sources.nvml import Nvml
    from greenrun.sampler.sources.rapl import Rapl

    return (
        Rapl(),
        Nvml(),
    )


def fast() -> tuple[Source, ...]:
    """Make the meters that are read before the command starts."""
    return tuple(source for source in meters() if not source.slow)


def slow() -> tuple[Source, ...]:
    """Make the meters that are opened in a thread beside the loop."""
    return tuple(source for source in meters() if source.slow)


def estimate(missing: Collection[Kind]) -> Source:
    """Make the estimate for the kinds without a meter; it knows cpu and dram and passes over others."""
    from greenrun.sampler.sources.estimation import Estimate

    return Estimate(missing)


def stand_in(missing: Collection[Kind], agent: str, forbidden: Sequence[Finding]) -> Source:
    """Make what tells the kinds without a readable meter: the agent at a socket, else the estimate.

    Where that socket is there it is a slow source. `forbidden` are the findings that it may make good.
    """
    from greenrun.sampler.sources.standin import StandIn

    return StandIn(missing, agent, forbidden)
