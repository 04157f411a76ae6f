"""An agent that says what a test has it say, on a real socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from types import TracebackType
from typing import Any

from greenrun.sampler import published
from greenrun.sampler.model import Counter, Device

PACKAGE = Device("rapl:package-0", "cpu", "package-0 of a CPU", "rapl", "counter", 5.0, 1000.0, 262_143_328_850)
DRAM = PACKAGE._replace(id="rapl:package-0/dram", kind="dram", name="memory of package-0")


def greeting(*devices: Device, **changes: Any) -> bytes:
    """Give a greeting of this machine's, with other values for some fields."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        told = published.greeting(published.Greeting(file.read().strip(), devices or (PACKAGE, DRAM)))
    return json.dumps(json.loads(told) | changes).encode() + b"\n"


def reading(*microjoules: int | None, t: float | None = None) -> bytes:
    """Give a reading of now."""
    now = time.monotonic() if t is None else t
    return published.reading(now, [None if value is None else Counter(now, value) for value in microjoules])


class FakeAgent:
    """Listens at `path` and says `first` to everybody who comes; a context manager."""

    def __init__(self, path: str | os.PathLike[str], first: bytes = b"", *, hangs_up: bool = False) -> None:
        self.path = str(path)
        self.first = first
        self.hangs_up = hangs_up
        self.clients: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def say(self, data: bytes) -> None:
        """Say more to all who are there."""
        for client in self.clients:
            with contextlib.suppress(OSError):
                client.sendall(data)

    def close(self) -> None:
        """End, as an agent that was killed does: the socket file stays."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        for client in self.clients:
            client.close()

    def __enter__(self) -> FakeAgent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(5.0)  # more may be said than anybody takes
            if not self.hangs_up:
                self.clients.append(client)  # first: who has heard the greeting is one of them
            with contextlib.suppress(OSError):
                client.sendall(self.first)
            if self.hangs_up:
                client.close()
