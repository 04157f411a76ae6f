"""How the command ended."""

from __future__ import annotations

import os
from typing import NamedTuple


class Outcome(NamedTuple):
    """The command's wait status, as wait(2) gives it, and what it used; None where nobody could wait for it."""

    status: int
    user_seconds: float | None = None
    system_seconds: float | None = None
    max_rss_bytes: int | None = None

    @property
    def exit_code(self) -> int | None:
        """The exit code, None if a signal ended the command."""
        return os.WEXITSTATUS(self.status) if os.WIFEXITED(self.status) else None

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended the command, None if it exited."""
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else None
