"""What stands in for a meter that this user cannot read: the site's agent where there is one, else the estimate.

Which of the two it is is known when the agent has answered. That is waited for in a thread beside the loop, for its
readings are up to a second old anyway: nothing is won by having them before the command starts.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from greenrun.sampler.model import BaseSource, Device, Finding, Machine, Opened
from greenrun.sampler.sources.estimation import Estimate

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from greenrun.sampler.model import Kind, Reading, Source


class StandIn(BaseSource):
    """The agent at the socket `agent`, and an estimate of the missing kinds of which it has no counter.

    `forbidden` is what the meters found and may not read: handed on, unless the agent tells it. The kinds `within` the
    figure of the whole machine are estimated only where the agent tells others: then that figure does not count.
    """

    def __init__(
        self, missing: Collection[Kind], agent: str, forbidden: Sequence[Finding], within: Collection[Kind] = ()
    ) -> None:
        super().__init__(name="stand-in", slow=_is_socket(agent))
        self.poll_seconds: float | None = None
        self._missing = missing
        self._within = frozenset(within)
        self._forbidden = tuple(forbidden)
        self._parts: list[Source] = []

    def open(self, machine: Machine) -> Opened:
        """Open the agent, and the estimate for what is left."""
        from greenrun.sampler.sources.agent import Agent

        devices: tuple[Device, ...] = ()
        findings = self._forbidden
        if self.slow:
            agent = Agent(self._missing)
            opened = agent.open(machine)
            devices = opened.devices
            findings = opened.findings if opened.devices else self._forbidden + opened.findings
            self._keep(agent, opened)
        elif machine.agent:
            sentence = f"No agent tells the counters of this machine: there is no socket at {machine.agent}."
            findings += (Finding("agent", "agent", "absent", sentence),)
        told = {device.kind for device in devices if device.counted}
        estimate = Estimate(frozenset(self._missing) - (told or self._within))
        estimated = estimate.open(machine)
        self._keep(estimate, estimated)
        return Opened(devices + estimated.devices, findings + estimated.findings)

    def read(self) -> Sequence[Reading | None]:
        """Read both."""
        return [reading for part in self._parts for reading in part.read()]

    def warnings(self) -> Sequence[tuple[str | None, str]]:
        """Hand over the warnings of both."""
        return [warning for part in self._parts for warning in part.warnings()]

    def close(self) -> None:
        """Let go of both."""
        for part in self._parts:
            part.close()

    def _keep(self, part: Source, opened: Opened) -> None:
        if opened.devices:
            self._parts.append(part)
            if part.poll_seconds is not None:
                self.poll_seconds = part.poll_seconds


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
