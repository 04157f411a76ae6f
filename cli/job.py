"""The command to run, what it starts with, and who hears of its life."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from greenrun.cli.outcome import Outcome
    from greenrun.cli.signals import Inherited


class Note(NamedTuple):
    """Something for the user, told while the command runs; not `lasting`: only where the next one takes its place."""

    text: str
    lasting: bool


class Job:
    """One command. Whoever runs it tells its life by `started`, `wake` and `ended`; here nobody listens.

    Whoever has a better place for notes than a line on stderr puts itself into `tell`.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[bytes, bytes],
        inherited: Inherited,
        tell: Callable[[Note], None] = lambda _note: None,
    ) -> None:
        self.command = command
        self.environment = environment
        self.inherited = inherited
        self.tell = tell

    def started(self, pid: int, before: float) -> None:
        """Take note that the command runs, started just after CLOCK_MONOTONIC `before`."""

    def wake(self) -> None:
        """See whether the daemon has sent something."""

    def ended(self, outcome: Outcome) -> None:
        """Take note of how the command ended; its output may still be on its way."""
