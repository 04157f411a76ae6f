"""Where the agent's socket stands: a directory in which nobody but root, or the agent's own user, can put anything.

Everything is done through a descriptor of that directory, so what the path leads to cannot change in between. A socket
that a dead agent has left is replaced; one behind which an agent lives is not, and what is no socket is not touched.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

# Short: in a flood one waits behind so many who are in the kernel's queue, and then each in the order of his coming.
_BACKLOG = 64


class Unsuitable(Exception):  # noqa: N818  it says what the place is
    """There can be no socket here: a sentence that says why."""


class Place:
    """The socket at an absolute path, for all users to connect to, while this object holds it."""

    def __init__(self, path: str) -> None:
        """Bind it. Raises Unsuitable."""
        self.path = path
        folder, self._name = os.path.split(path)
        try:
            self._folder = _open(folder)
            self._clear()
            self.listener = self._bind()
            self._own = _identity(os.stat(self._name, dir_fd=self._folder, follow_symlinks=False))
        except OSError as error:
            raise Unsuitable(f"{path} cannot be made: {error.strerror or error}") from None

    def is_ours(self) -> bool:
        """Whether who connects to the path still reaches us: somebody may have removed the socket or its directory."""
        try:
            return _identity(os.stat(self.path)) == self._own
        except OSError:
            return False

    def leave(self) -> None:
        """Listen no longer, and remove the socket if it is still ours."""
        self.listener.close()
        with contextlib.suppress(OSError):
            if _identity(os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)) == self._own:
                os.unlink(self._name, dir_fd=self._folder)
        os.close(self._folder)

    def _clear(self) -> None:
        """Remove what a dead agent has left."""
        try:
            mode = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise Unsuitable(f"{self.path} is there already and is no socket; it was left alone")
        if self._is_alive():
            raise Unsuitable(f"an agent is already running: somebody listens at {self.path}")
        os.unlink(self._name, dir_fd=self._folder)

    def _is_alive(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.setblocking(False)
            try:
                caller.connect(self._from_descriptor)
            except ConnectionRefusedError:
                return False
            except BlockingIOError:  # so many are waiting
                return True
        return True

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o111)  # to connect takes the right to write: the socket is made with it for all
        try:
            listener.bind(self._from_descriptor)
            listener.setblocking(False)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(mask)
        return listener

    @property
    def _from_descriptor(self) -> str:
        return f"/proc/self/fd/{self._folder}/{self._name}"  # there is no bind() relative to a directory


def _open(folder: str) -> int:
    """Open the directory, made where only its last part is missing; Unsuitable where another user could change it."""
    mask = os.umask(0o022)  # all users are to reach the socket
    try:
        os.mkdir(folder)
    except FileExistsError:
        pass
    finally:
        os.umask(mask)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & 0o022:
        os.close(descriptor)
        raise Unsuitable(
            f"the directory {folder} must be root's, or of the user who runs the agent, and nobody else may write there"
        )
    return descriptor


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
