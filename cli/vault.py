"""The process that holds greenrun's token, so that no other one does.

The command runs as the same user as greenrun, and a user may look into the user's own processes: their environment,
their memory, their core dumps. So a token that came by the environment is left, before anything else is done, to a
process that the kernel lets nobody look into but root: it is not dumpable, and never becomes another program, which
would undo that. In this process, and so in the sampler and in all others that are forked from it, the token is then
wiped out. Services that want it are asked by children of its keeper (`fetching` passes them on), and it goes to the
address that was in force before the command ran, whatever a request says.

What this cannot shut: before greenrun's first lines have run, and in the shell that set the variable, the token is to
be seen by the user's other processes. docs/security.md has the rest.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, NoReturn

from greenrun.cli import procstat
from greenrun.cli.descriptors import above, bind_to_pipe, close_all_but, pipe

if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping

_TOKEN = b"GREENRUN_ELECTRICITYMAPS_TOKEN"
_NAME = b"greenrun-token"  # the kernel keeps 15 bytes
_ENV_START, _ENV_END = 47, 48  # as in procstat: where the environment lies that the process was started with
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4  # linux/prctl.h
_LARGEST_REQUEST_BYTES = 1 << 17  # below what a socket of the kernel's own size takes in one piece
_SHORTEST = 2  # the bytes objects of one byte are everybody's
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

_door: _socket.socket | None = None  # to the keeper; None: the token is here, or there is none
_lifeline = -1  # a pipe's writing end: the keeper lives until the last process that may ask has closed it


def put_away(address: str | None = None) -> str | None:
    """Leave the token of the environment, if there is one, to a process of its own; call it single-threaded.

    `address` is where the token may go, "" the service's own; None: what the user and the site have set. Gives None, or
    in words why the token could not be put away: then it is where it was. Never raises.
    """
    global _door
    if not os.environb.get(_TOKEN):
        return None
    try:
        memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)  # before that takes root, too
    except OSError:
        memory = -1
    try:
        dumpable = _prctl(_PR_GET_DUMPABLE)
        _prctl(_PR_SET_DUMPABLE, 0)
        _door = _start_keeper(address)
        if memory >= 0 and _wipe(memory):
            _prctl(_PR_SET_DUMPABLE, dumpable)  # there is nothing to hide any more
    except (OSError, ImportError, AttributeError) as error:  # an interpreter without the modules, or an odd kernel
        return f"{type(error).__name__}: {error}"
    finally:
        if memory >= 0:
            os.close(memory)
    os.environb.pop(_TOKEN, None)
    return None


def is_used() -> bool:
    """Whether the token is with its keeper."""
    return _door is not None


def descriptors() -> set[int]:
    """Give what is to stay open in a process that is to ask."""
    return set() if _door is None else {_door.fileno(), _lifeline}


def ask(request: Mapping[str, Any], reader: int, writer: int) -> None:
    """Have a child of the keeper answer a request of `fetching`; it reads and writes there. Raises OSError."""
    import _socket
    import json
    import struct

    if _door is None:
        raise RuntimeError("the token was not put away")
    data = json.dumps(request).encode()
    if len(data) > _LARGEST_REQUEST_BYTES:
        raise OSError(f"{len(data)} bytes are too much to ask")
    passed = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("2i", reader, writer))
    try:
        _door.sendmsg([data], [passed], _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
    except OSError as error:
        raise OSError(error.errno, f"the process that keeps the token is gone: {error.strerror}") from None


def _start_keeper(address: str | None) -> _socket.socket:
    global _lifeline
    import _socket  # the module above it costs ten times as much to import

    ours, theirs = _above(_socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET))
    reader, _lifeline = pipe()
    child = os.fork()
    if child == 0:
        try:
            # The keeper is nobody's child: who waits for any child of ours, the command for one, meets no stranger.
            keeper = os.fork()
            if keeper == 0:
                _keep(theirs, address, reader)
            bind_to_pipe(reader, keeper)
        finally:
            os._exit(0)
    theirs.close()
    os.close(reader)
    with contextlib.suppress(ChildProcessError):  # SIGCHLD was ignored when we were started
        os.waitpid(child, 0)
    return ours


def _above(pair: tuple[_socket.socket, _socket.socket]) -> tuple[_socket.socket, _socket.socket]:
    """Keep clear of the standard descriptors."""
    import _socket

    first, second = (_socket.socket(fileno=above(one.detach())) for one in pair)
    return first, second


# --- in the keeper


def _keep(door: _socket.socket, address: str | None, lifeline: int) -> NoReturn:
    """Start a child for each request; the kernel ends this when nobody is there any more to ask."""
    import _socket

    global _door
    _door = None
    os.setsid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)  # it ends with those who ask
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel is to bury the children
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    close_all_but({0, 1, 2, door.fileno(), lifeline})
    if bind_to_pipe(lifeline, os.getpid()):
        os._exit(0)
    os.chdir("/")
    # /proc/self/comm is root's alone in a process that is not dumpable; its own threads may write this one.
    with contextlib.suppress(OSError), open("/proc/thread-self/comm", "wb") as file:
        file.write(_NAME)
    if address is None:
        from greenrun.cli import config

        address = config.load({}, os.environ, cwd="/").electricitymaps_url
    while True:
        data, ancillary, _, _ = door.recvmsg(_LARGEST_REQUEST_BYTES, _socket.CMSG_SPACE(8), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        passed = _passed(ancillary)
        if len(passed) == 2:
            child = os.fork()
            if child == 0:
                _answer(data, passed[0], passed[1], address)
            # Here, and not by the child alone: somebody may stop it before it comes to that.
            if bind_to_pipe(passed[0], child):
                os.kill(child, signal.SIGKILL)
        for descriptor in passed:
            os.close(descriptor)


def _passed(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    import struct

    found = [struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4]) for _, _, data in ancillary]
    return [descriptor for group in found for descriptor in group]


def _answer(data: bytes, reader: int, writer: int, address: str | None) -> NoReturn:
    import json

    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(reader, 0)
        os.dup2(writer, 1)
        close_all_but({0, 1, 2})
        request = json.loads(data)
        request["config"]["electricitymaps_url"] = address or None
        from greenrun.cli import fetcher

        fetcher.main(request)
    finally:
        os._exit(1)


# --- the memory of this process


def _prctl(option: int, value: int = 0) -> int:
    """Call prctl(2). ctypes, of which this is the core, would cost four milliseconds more to import."""
    import _ctypes

    function = _ctypes.dlsym(_ctypes.dlopen(None, os.RTLD_NOW), "prctl")  # type: ignore[arg-type]  # None: what is loaded
    result: int = _ctypes.call_function(function, (option, value, 0, 0, 0))
    if result < 0:
        raise OSError("prctl failed")
    return result


def _wipe(memory: int) -> bool:
    """Overwrite the token wherever it lies here; False where that cannot be done or seen.

    It lies in the environment that the kernel has laid down, and in one object that Python has made of that. Nothing
    here may make another one: the block is read into an array that is emptied again.
    """
    told = procstat.fields(os.getpid())
    begin, end = int(told[_ENV_START]), int(told[_ENV_END])
    block = bytearray(end - begin)
    try:
        if begin == 0 or os.preadv(memory, [block], begin) < len(block):
            return False
        for at, length in _values(block):
            os.pwrite(memory, b"\0" * length, begin + at)
        value = os.environb[_TOKEN]
        if len(value) < _SHORTEST:
            return False
        os.pwrite(memory, b"\0" * len(value), id(value) + bytes.__basicsize__ - 1)  # its bytes, and one that ends them
        os.preadv(memory, [block], begin)
        return not any(any(block[at : at + length]) for at, length in _values(block)) and not any(value)
    except OSError:
        return False
    finally:
        block[:] = bytes(len(block))


def _values(block: bytearray) -> list[tuple[int, int]]:
    """Give where the values of the token's variable lie in a block of NAME=VALUE, each with a 0 behind it."""
    found, at = [], 0
    mark = _TOKEN + b"="
    while at < len(block):
        end = block.find(b"\0", at)
        end = len(block) if end < 0 else end
        if block.startswith(mark, at):
            found.append((at + len(mark), end - at - len(mark)))
        at = end + 1
    return found
