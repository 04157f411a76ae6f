"""Asking intensity services from outside their process: a child does it, with a time limit.

A service that hangs, a name that does not resolve and a heavy import then touch neither the job nor the sampler, and
what a request leaves in memory goes with the child.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from greenrun.cli import vault
from greenrun.cli.descriptors import pipe
from greenrun.intensity.model import Answer, Passed, Place

if TYPE_CHECKING:
    from datetime import datetime

    from greenrun.cli.config import Config
    from greenrun.intensity.model import Basis

LIMIT_SECONDS = 20.0
"""A child lives no longer: three requests of five seconds each, and the wait for another process that asks the same."""

PATIENT_LIMIT_SECONDS = 60.0
"""The same for one that nobody waits for."""

_REAP_SECONDS = 0.1

What = Literal["now", "history", "forecast"]

# In isolated mode nothing of the job's (PYTHONPATH, the working directory, a user's site) is imported. `site` is left
# out for its 10 ms: the import path is handed over whole.
_PROGRAM = """
import json, sys
request = json.loads(sys.stdin.buffer.readline())
sys.path[:] = request["path"]
from greenrun.cli import fetcher
fetcher.main(request)
"""


class Reply(NamedTuple):
    """Where the machine stands, and what the chain found there."""

    place: Place
    answer: Answer


class Fetch:
    """A child that asks since `begun` (CLOCK_MONOTONIC); `descriptor` is readable when there is news of it."""

    def __init__(
        self,
        config: Config,
        what: What,
        *,
        place: Place | None = None,
        basis: Basis | None = None,
        from_utc: datetime | None = None,
        to_utc: datetime | None = None,
        now_utc: datetime | None = None,
        insist: bool = False,
        patient: bool = False,
    ) -> None:
        """Start it. OSError where that cannot be done.

        `place`: None, to find it as for a run; `basis`: None, as configured; the times: None, now; `insist`: ask also
        where a call has just failed, because a person wants to know; `patient`: nobody waits for the answer.
        """
        if not sys.executable:
            raise FileNotFoundError("this Python does not know its own path")
        self._limit_seconds = PATIENT_LIMIT_SECONDS if patient else LIMIT_SECONDS
        self._pid: int | None = None  # None: it is no child of ours
        request = {
            "path": sys.path,
            "config": config._asdict(),
            "what": what,
            "place": place and place._asdict(),
            "basis": basis or config.basis,
            "from_utc": from_utc and from_utc.isoformat(),
            "to_utc": to_utc and to_utc.isoformat(),
            "now_utc": now_utc and now_utc.isoformat(),
            "insist": insist,
            "patient": patient,
            "limit_seconds": self._limit_seconds,
        }
        reader, self._request = pipe()  # while it is open the child lives: it dies with this process, however that dies
        try:
            self.descriptor, writer = pipe()
        except OSError:
            os.close(reader)
            os.close(self._request)
            raise
        try:
            if vault.is_used():
                vault.ask(request, reader, writer)
            else:
                _write_at_once(self._request, json.dumps(request).encode() + b"\n")
                self._pid = _spawn(reader, writer)
        except BaseException:
            os.close(self._request)
            os.close(self.descriptor)
            raise
        finally:
            os.close(reader)
            os.close(writer)
        self._told = b""
        self.begun = time.monotonic()

    def read(self) -> Reply | None:
        """Take what is there without waiting for more than that; the reply when the child has ended, else None."""
        data = os.read(self.descriptor, 1 << 16)
        if data:
            self._told += data
            return None
        status = self._end()  # it has closed its side, so it is about to end
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return _reply(json.loads(self._told))
        ran_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        if ran_out or (self._pid is None and time.monotonic() - self.begun >= self._limit_seconds):
            return failed(f"no answer within {self._limit_seconds:g} s")
        return failed(f"the process that asks ended without an answer (wait status {status})")

    def kill(self) -> None:
        """End it, whatever it is doing."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._end()

    def wait(self) -> Reply:
        """Wait for the reply; as long as the child lives at most."""
        while (left := self.begun + self._limit_seconds - time.monotonic()) > 0:
            if select.select([self.descriptor], [], [], left)[0] and (reply := self.read()) is not None:
                return reply
        self.kill()
        return failed(f"no answer within {self._limit_seconds:g} s")

    def _end(self) -> int:
        os.close(self._request)  # which is the end of one that is no child of ours
        os.close(self.descriptor)
        if self._pid is None:
            return 0
        # One that waits for a dead file system cannot even be killed; it is left to the system.
        deadline = time.monotonic() + _REAP_SECONDS
        with contextlib.suppress(ChildProcessError):  # somebody else has waited for it
            while (ended := os.waitpid(self._pid, os.WNOHANG))[0] == 0:
                if time.monotonic() >= deadline:
                    return 0
                time.sleep(_REAP_SECONDS / 20)
            return ended[1]
        return 0


def _spawn(reader: int, writer: int) -> int:
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", _PROGRAM],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, reader, 0),
            (os.POSIX_SPAWN_DUP2, writer, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setsigmask=(),
        setsigdef=(signal.SIGALRM,),
    )


def _write_at_once(descriptor: int, data: bytes) -> None:
    """Write without waiting for a reader. OSError where the pipe cannot hold so much: 64 KiB, less for a busy user."""
    os.set_blocking(descriptor, False)
    if os.write(descriptor, data) < len(data):
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))


def ask(config: Config, what: What, **details: Any) -> Reply:
    """Ask and wait for the reply, as long as the child may live; `details` are those of `Fetch`. Never raises."""
    try:
        return Fetch(config, what, **details).wait()
    except OSError as error:
        return failed(f"no process could be started ({error.strerror or error})")


def failed(reason: str) -> Reply:
    """Give the reply in place of one that did not come."""
    return Reply(Place(None, None, "unknown"), Answer([], [Passed("services", "broken", reason)]))


def _reply(fields: Any) -> Reply:
    from greenrun.intensity import exchange

    return Reply(exchange.place_from_json(fields["place"]), exchange.answer_from_json(fields["answer"]))
