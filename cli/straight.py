"""A way to a directory that nobody can bend, for root in other users' directories.

Whoever may write in a directory can put a link in the place of what was there, at any moment, and root would follow it
to wherever root may write. So root goes from one directory into the next by descriptors, and follows a link only where
nobody but root could have put it. What is then written goes by the descriptor of the last one, whatever becomes of the
names that led to it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

_MOST_LINKS = 40  # as many as the kernel follows
_THROUGH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def enter(path: str, *, make: bool = False) -> int:
    """Open a directory by its absolute path; with `make` what is missing of it is made.

    Raises OSError; PermissionError with a sentence where the way leads over a link that others than root could have
    put there.
    """
    folder = os.open("/", _THROUGH)
    left = _parts(path)
    proc = os.stat("/proc").st_dev
    links = 0
    try:
        while left:
            name = left.pop(0)
            inner = _inner(folder, name, make)
            status = os.fstat(inner)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if status.st_dev == proc:  # what it says is not where it leads
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
                target = _target(folder, inner, status, name, path)
                os.close(inner)
                if links > _MOST_LINKS:
                    raise OSError(f"there are too many links on the way to {path}")
                left = [*_parts(target), *left]
                if not target.startswith("/"):
                    continue
                inner = os.open("/", _THROUGH)
            os.close(folder)
            folder = inner
        return os.open(".", _OPEN, dir_fd=folder)
    finally:
        os.close(folder)


def reach(run_dir: str, *, make: bool = False) -> str:
    """Give the path by which to write into a run directory, as long as this process lives: for root by a descriptor.

    With `make` the directory is made, and what is missing above it; the log directory, where it is made too, is told
    to git to be left alone. Raises OSError; PermissionError with a sentence where another user could lead root astray.
    """
    log_dir, name = os.path.split(run_dir)
    if os.geteuid() != 0:
        if make:
            made = _make_all(log_dir)
            os.mkdir(run_dir, 0o700)
            if made:
                _leave_to_nobody(log_dir)
        return run_dir
    made = make and not os.path.lexists(log_dir)
    folder = enter(log_dir, make=make)
    try:
        if make:
            os.mkdir(name, 0o700, dir_fd=folder)
            if made:
                _leave_to_nobody(_by_descriptor(folder))
        place = os.open(name, _OPEN, dir_fd=folder)
    finally:
        os.close(folder)
    status = os.fstat(place)
    if status.st_uid != 0 or status.st_mode & 0o077:
        os.close(place)
        raise PermissionError(f"{run_dir} is not root's alone")
    return _by_descriptor(place)


def _make_all(log_dir: str) -> bool:
    try:
        os.makedirs(log_dir)
    except FileExistsError:
        return False
    return True


def _leave_to_nobody(log_dir: str) -> None:
    """Only in a directory of our own making: in somebody's project it would hide everything from git."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        ignore = os.open(os.path.join(log_dir, ".gitignore"), flags, 0o644)
        os.write(ignore, b"*\n")
        os.close(ignore)


def _by_descriptor(folder: int) -> str:
    return f"/proc/self/fd/{folder}"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _inner(folder: int, name: str, make: bool) -> int:
    if make:
        with contextlib.suppress(FileExistsError):
            try:
                return os.open(name, _THROUGH, dir_fd=folder)
            except FileNotFoundError:
                os.mkdir(name, 0o777, dir_fd=folder)
    return os.open(name, _THROUGH, dir_fd=folder)


def _target(folder: int, link: int, status: os.stat_result, name: str, path: str) -> str:
    """Give what a link says, where root alone can have said it."""
    above = os.fstat(folder)
    # In a folder with the sticky bit, as /tmp, nobody removes or renames what is another's.
    open_to_others = above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX
    if status.st_uid != 0 or above.st_uid != 0 or open_to_others:
        raise PermissionError(f"{name}, on the way to {path}, is a link that others than root can change")
    return os.readlink("", dir_fd=link)
