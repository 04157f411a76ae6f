"""The agent's side of the socket: where it may stand, and whom it lets in."""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenrun.cli.agent.clients import MOST_OF_ONE_USER, Clients
from greenrun.cli.agent.place import Place, Unsuitable

LINE = b'{"t":1234.567891,"microjoules":[113598498,12233684]}\n'


def call(path: str) -> socket.socket:
    """Connect to a socket."""
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    caller.settimeout(10.0)
    caller.connect(path)
    return caller


def heard(caller: socket.socket) -> bytes:
    """Give what has come, b"" where the other end has hung up."""
    try:
        return caller.recv(1 << 16)
    except ConnectionResetError:
        return b""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a path in a directory that is not there yet."""
    return str(tmp_path / "run" / "agent.sock")


@pytest.fixture
def place(path: str) -> Iterator[Place]:
    """Give a socket that listens."""
    found = Place(path)
    yield found
    if found.listener.fileno() >= 0:
        found.leave()


# --- the place


@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_everybody_may_connect_and_nobody_may_change(path: str, mask: int) -> None:
    """Whatever the umask of who starts it: 0755 and 0666; and it goes without a trace but the directory."""
    before = os.umask(mask)
    try:
        place = Place(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o755
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    assert place.is_ours()
    place.leave()
    assert os.listdir(os.path.dirname(path)) == []


def test_one_agent_at_a_time(place: Place) -> None:
    """The second leaves the first alone."""
    with pytest.raises(Unsuitable, match="already running"):
        Place(place.path)
    assert place.is_ours()
    call(place.path).close()


def test_what_a_dead_agent_left_is_replaced(place: Place) -> None:
    """A socket behind which nobody listens."""
    place.listener.close()
    again = Place(place.path)
    call(place.path).close()
    assert again.is_ours()
    again.leave()


@pytest.mark.parametrize("kind", ["file", "directory", "link to a file", "link to nothing", "link to a socket"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, path: str, kind: str) -> None:
    """Nothing is written through a link, nothing that is not an agent's is removed."""
    os.mkdir(os.path.dirname(path))
    target = tmp_path / "target"
    if kind == "file":
        Path(path).write_text("kept")
    elif kind == "directory":
        os.mkdir(path)
    else:
        if kind == "link to a file":
            target.write_text("kept")
        elif kind == "link to a socket":
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
                dead.bind(str(target))
        os.symlink(target, path)
    before = os.lstat(path)
    with pytest.raises(Unsuitable, match="no socket; it was left alone"):
        Place(path)
    assert os.lstat(path) == before
    assert os.path.lexists(target) == (kind in ("link to a file", "link to a socket"))


def test_a_directory_in_which_others_may_write(path: str) -> None:
    """Anybody could put a socket of his own there."""
    os.mkdir(os.path.dirname(path))
    os.chmod(os.path.dirname(path), 0o777)  # noqa: S103  that is what is wrong
    with pytest.raises(Unsuitable, match="nobody else may write"):
        Place(path)
    assert os.listdir(os.path.dirname(path)) == []


def test_a_directory_that_is_another_users(path: str) -> None:
    """Root does not work in a user's directory."""
    os.mkdir(os.path.dirname(path))
    os.chown(os.path.dirname(path), 65534, 65534)
    with pytest.raises(Unsuitable, match="must be root's"):
        Place(path)


def test_a_directory_that_is_a_link(tmp_path: Path, path: str) -> None:
    """Where it leads may change."""
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", os.path.dirname(path))
    with pytest.raises(Unsuitable, match="cannot be made"):
        Place(path)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_socket_that_is_not_ours_any_more_stays(place: Place) -> None:
    """Somebody, root, has replaced it: ending does not take the other's away."""
    os.unlink(place.path)
    assert not place.is_ours()
    other = Place(place.path)
    place.leave()
    assert other.is_ours()
    other.leave()


# --- the clients


def test_all_hear_the_same_and_nothing_is_read(place: Place) -> None:
    """Who comes is greeted at once; what a client says goes nowhere."""
    clients = Clients(place.listener)
    callers = [call(place.path) for _ in range(3)]
    clients.let_in(b"welcome\n")
    clients.tell(LINE)
    assert [heard(caller) for caller in callers] == [b"welcome\n" + LINE] * 3
    with pytest.raises(BrokenPipeError):
        callers[0].sendall(b"give me more")
    assert len(clients) == 3
    callers[0].close()
    clients.tell(LINE)
    assert len(clients) == 2


def test_a_slow_reader_is_dropped(place: Place) -> None:
    """After no fewer lines than ten seconds' and long before it costs memory; others do not notice."""
    clients = Clients(place.listener)
    slow, quick = call(place.path), call(place.path)
    clients.let_in(b"welcome\n")
    assert heard(quick) == b"welcome\n"
    lines = 0
    while len(clients) == 2:
        clients.tell(LINE)
        lines += 1
        assert heard(quick) == LINE
        assert lines < 1000
    assert lines > 12
    slow.settimeout(0.0)
    data = b""
    while more := heard(slow):
        data += more
    assert data == b"welcome\n" + LINE * (lines - 1), "whole lines, to the last"


def crowd(path: str, clients: Clients, number: int) -> list[socket.socket]:
    """Connect so many, as the agent lets them in."""
    callers = []
    for at in range(number):
        callers.append(call(path))
        if at % 32 == 31:
            clients.let_in(b"welcome\n")
    clients.let_in(b"welcome\n")
    return callers


def test_one_user_has_a_part_of_the_places(place: Place) -> None:
    """Who comes after that is sent away; when some have gone there is room again."""
    clients = Clients(place.listener)
    callers = crowd(place.path, clients, MOST_OF_ONE_USER + 3)
    assert len(clients) == MOST_OF_ONE_USER
    assert [heard(caller) for caller in callers] == [b"welcome\n"] * MOST_OF_ONE_USER + [b""] * 3
    callers[0].close()
    clients.tell(LINE)
    late = call(place.path)
    clients.let_in(b"welcome\n")
    assert heard(late) == b"welcome\n"
    for caller in callers:
        caller.close()


def test_letting_in_has_its_share_of_the_time(place: Place) -> None:
    """It rests nine times as long as it took, and a crowd does not keep it from the others."""
    clients = Clients(place.listener)
    callers = [call(place.path) for _ in range(60)]
    began = time.thread_time()
    clients.let_in(b"welcome\n")
    took, now = time.thread_time() - began, time.monotonic()
    assert 0.0 < clients.rests_until - now < 9 * took
    assert took < 0.02
    for caller in callers:
        caller.close()


def test_a_crowd_waits_for_the_next_turn(tmp_path: Path) -> None:
    """However many are in the queue, a turn ends after its time, and the rest are served in the next ones."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "agent.sock"))
        listener.setblocking(False)
        listener.listen(4096)
        clients = Clients(listener)
        callers = [call(str(tmp_path / "agent.sock")) for _ in range(900)]
        poll = select.poll()
        for caller in callers:
            poll.register(caller, select.POLLIN)
        clients.let_in(b"welcome\n")
        assert 0 < len(poll.poll(0)) < 900
        for _ in range(900):
            clients.let_in(b"welcome\n")
        assert len(poll.poll(0)) == 900
        for caller in callers:
            caller.close()


def test_a_full_queue_keeps_nobody_out_who_waits(place: Place) -> None:
    """A connection that cannot wait is refused by the kernel; the others come in the order of their coming."""
    callers = []
    with pytest.raises(BlockingIOError):
        for _ in range(1000):
            caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            caller.setblocking(False)
            callers.append(caller)
            caller.connect(place.path)
    with pytest.raises(Unsuitable, match="already running"):
        Place(place.path)
    for caller in callers:
        caller.close()
