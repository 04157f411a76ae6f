"""What can go wrong before the command starts, as values."""

from __future__ import annotations

EXIT_OVER_BUDGET = 3  # the command succeeded, and --budget-action says that this is not enough
EXIT_USAGE = 125  # as env, timeout and nohup: the wrapper's own mistake
EXIT_CANNOT_INVOKE = 126
EXIT_NOT_FOUND = 127


class UserError(Exception):
    """A mistake in what the user told greenrun: one sentence that names the place and what would be right.

    It ends greenrun with 125 before the command starts. Everything else that fails in greenrun fails open.
    """


class CannotRun(Exception):  # noqa: N818  the name says what happened to the command, not to greenrun
    """The command could not be started: `exit_code` is 127 (not found) or 126 (found, but not executable)."""

    def __init__(self, exit_code: int, reason: str) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.reason = reason
