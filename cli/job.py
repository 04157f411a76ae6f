"""The command to run, what it starts with, and who hears of its life."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenrun.cli.outcome import Outcome
    from greenrun.cli.signals import Inherited


class Job:
    """One command. Whoever runs it tells its life by `started`, `wake` and `ended`; here nobody listens."""

    def __init__(self, command: Sequence[str], environment: Mapping[bytes, bytes], inherited: Inherited) -> None:
        self.command = command
        self.environment = environment
        self.inherited = inherited

    def started(self, pid: int, before: float) -> None:
        """Take note that the command runs, started just after CLOCK_MONOTONIC `before`."""

    def wake(self) -> None:
        """See whether the daemon has sent something."""

    def ended(self, outcome: Outcome) -> None:
        """Take note of how the command ended; its output may still be on its way."""
