"""Those who listen to the agent: let in, told a line a second, and dropped when they do not take it.

Nothing is read from them and nothing is kept for them. A flood of connections costs a tenth of a processor at the most:
however many are waiting, letting them in has its share of the time and not more. Who is in already is told first.
"""

from __future__ import annotations

import collections
import contextlib
import resource
import socket
import struct
import time

MOST_CLIENTS = 1024
MOST_OF_ONE_USER = 256
"""A node of 256 processors may have as many jobs of one user; the rest is for the others."""

# For thirty readings: the kernel doubles it, and takes some 1.3 kB for the shortest line.
_SEND_BUFFER_BYTES = 1 << 14

_TURN_SECONDS = 0.002  # processor time of letting in, and then
_REST_TIMES = 9  # so many times as long of nothing

_CREDENTIALS = struct.Struct("@iII")  # process, user, group
_OTHER_DESCRIPTORS = 64


class Clients:
    """The connections to a listening socket. `rests_until` is CLOCK_MONOTONIC: nobody is let in before that."""

    def __init__(self, listener: socket.socket) -> None:
        self.rests_until = 0.0
        self._listener = listener
        self._users: dict[socket.socket, int] = {}
        self._of_user: collections.Counter[int] = collections.Counter()
        self._most = min(MOST_CLIENTS, _descriptors() - _OTHER_DESCRIPTORS)

    def let_in(self, greeting: bytes) -> None:
        """Let in who is waiting, in the order of their coming, for a turn's time; `greeting` is what they are told."""
        began = time.thread_time()
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # nobody is waiting any more, or there is no memory for one more
                break
            self._welcome(client, greeting)
            if time.thread_time() - began > _TURN_SECONDS:
                break
        self.rests_until = time.monotonic() + _REST_TIMES * (time.thread_time() - began)

    def tell(self, line: bytes) -> None:
        """Send a line to everybody; who is gone, or has not taken those before, is dropped."""
        for client in list(self._users):
            if not _send(client, line):
                self._drop(client)

    def __len__(self) -> int:
        return len(self._users)

    def _welcome(self, client: socket.socket, greeting: bytes) -> None:
        user = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1]
        self._users[client] = user
        self._of_user[user] += 1
        if len(self._users) > self._most or self._of_user[user] > MOST_OF_ONE_USER:
            self._drop(client)
            return
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        with contextlib.suppress(OSError):  # it is gone again
            client.shutdown(socket.SHUT_RD)
        if not _send(client, greeting):
            self._drop(client)

    def _drop(self, client: socket.socket) -> None:
        user = self._users.pop(client)
        self._of_user[user] -= 1
        if not self._of_user[user]:
            del self._of_user[user]
        client.close()


def _send(client: socket.socket, line: bytes) -> bool:
    """Tell whether the whole line went into the kernel's buffer: a part of one is of no use to anybody."""
    try:
        return client.send(line) == len(line)
    except OSError:
        return False


def _descriptors() -> int:
    """Give how many descriptors this process may have, raised as far as it needs and may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CLIENTS + _OTHER_DESCRIPTORS
    if soft < wanted and hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft
