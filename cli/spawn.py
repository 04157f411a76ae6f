"""Start the command as env(1) would: same session and process group, every descriptor, the signals as they came."""

from __future__ import annotations

import errno
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

from greenrun.cli.errors import EXIT_CANNOT_INVOKE, EXIT_NOT_FOUND, CannotRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenrun.cli.signals import Inherited

# Python ignores these at its start; the command gets them as programs expect them. Whether they were ignored when
# greenrun was started cannot be told from inside Python.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_NO_PROCESS_LEFT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)  # or no descriptor to make it with


def spawn(
    command: Sequence[str], environment: Mapping[bytes, bytes], inherited: Inherited, *, own_group: bool = False
) -> int:
    """Start `command` and give its process id; it gets the signals as greenrun got them.

    With `own_group` it leads a process group of its own.

    Raises CannotRun where the command is not found or not executable, OSError where no process can be made at all.
    """
    try:
        return _start(command, environment, inherited, own_group)
    except OSError as error:
        if error.errno in _NO_PROCESS_LEFT:
            raise
        if error.errno == errno.ENOEXEC:  # a script without "#!": the shell's, as execvp(3) has it
            script = ["/bin/sh", resolve(command[0], environment), *command[1:]]
            return _start(script, environment, inherited, own_group)
        code = EXIT_NOT_FOUND if error.errno == errno.ENOENT else EXIT_CANNOT_INVOKE
        raise CannotRun(code, os.strerror(error.errno or errno.EINVAL)) from None


def _start(command: Sequence[str], environment: Mapping[bytes, bytes], inherited: Inherited, own_group: bool) -> int:
    if not command[0]:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # posix_spawnp would call it a ValueError
    if inherited.ignored:
        return _fork_and_exec(command, environment, inherited, own_group)
    start = partial(os.posix_spawnp, setpgroup=0) if own_group else os.posix_spawnp
    return start(command[0], list(command), environment, setsigmask=inherited.mask, setsigdef=_IGNORED_BY_PYTHON)


def _fork_and_exec(
    command: Sequence[str], environment: Mapping[bytes, bytes], inherited: Inherited, own_group: bool
) -> int:
    """Start the command where posix_spawn cannot: it knows how to default a signal, not how to ignore one."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if own_group:
                os.setpgid(0, 0)
            for number in inherited.ignored:
                signal.signal(number, signal.SIG_IGN)
            for number in _IGNORED_BY_PYTHON:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, inherited.mask)
            os.execvpe(command[0], list(command), environment)  # noqa: S606  an argument vector, no shell
        except OSError as error:
            os.write(writer, str(error.errno).encode())
        finally:
            os._exit(EXIT_NOT_FOUND)
    os.close(writer)
    failure = os.read(reader, 16)
    os.close(reader)
    if failure:
        os.waitpid(pid, 0)
        raise OSError(int(failure), os.strerror(int(failure)))
    return pid


def resolve(name: str, environment: Mapping[bytes, bytes]) -> str:
    """Find the file that posix_spawnp found: the first executable one of that name on PATH."""
    if "/" in name:
        return name
    for folder in os.fsdecode(environment.get(b"PATH", os.fsencode(os.defpath))).split(os.pathsep):
        path = os.path.join(folder or ".", name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    return name
