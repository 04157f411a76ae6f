"""One question at a time to a process that asks services, in a loop that waits for other things, too."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

from greenrun.cli import fetching

if TYPE_CHECKING:
    from greenrun.cli.config import Config

PATIENCE_SECONDS = fetching.PATIENT_LIMIT_SECONDS + 1.0
"""How long such a process may take. It ends itself before that, unless it was stopped or hangs in the kernel."""


class Asking:
    """The question under way, if there is one; `poll` hears of its answer."""

    def __init__(self, poll: select.poll, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._poll = poll
        self._patience_seconds = patience_seconds
        self._fetch: fetching.Fetch | None = None

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when there is an answer; None: nothing was asked."""
        return None if self._fetch is None else self._fetch.descriptor

    @property
    def is_overdue(self) -> bool:
        """Whether the process that asks has had its time."""
        return self._fetch is not None and time.monotonic() - self._fetch.begun > self._patience_seconds

    def begin(self, config: Config, what: fetching.What, **details: Any) -> None:
        """Ask, while nothing else is asked; `details` are those of `Fetch`. OSError where that cannot be done."""
        self._fetch = fetching.Fetch(config, what, patient=True, **details)
        self._poll.register(self._fetch.descriptor, select.POLLIN)

    def look(self) -> fetching.Reply | None:
        """Take the answer, if it is there."""
        fetch = self._fetch
        if fetch is None or not select.select([fetch.descriptor], [], [], 0)[0]:
            return None
        descriptor = fetch.descriptor
        reply = fetch.read()
        if reply is not None:
            self._forget(descriptor)
        return reply

    def wait(self, deadline: float) -> fetching.Reply | None:
        """Wait for the answer, at most until `deadline` on time.monotonic()."""
        while self._fetch is not None and (left := deadline - time.monotonic()) > 0:
            if select.select([self._fetch.descriptor], [], [], left)[0] and (reply := self.look()) is not None:
                return reply
        return None

    def stop(self) -> bool:
        """Give up; whether there was something to give up."""
        fetch = self._fetch
        if fetch is None:
            return False
        self._forget(fetch.descriptor)
        fetch.kill()
        return True

    def _forget(self, descriptor: int) -> None:
        self._fetch = None
        self._poll.unregister(descriptor)
