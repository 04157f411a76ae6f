"""What /proc/PID/stat tells of a process: its state, its parent, its start, its end."""

from __future__ import annotations

STATE, PARENT, START, EXIT_CODE = 0, 1, 19, 49  # fields of proc_pid_stat(5), counted after the name


def fields(pid: int) -> list[str]:
    """Give the fields after the name, which itself may hold anything; empty where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return []


def is_stopped(pid: int) -> bool:
    """Whether a process stands still by job control or SIGSTOP."""
    return _state(pid) == "T"


def is_runnable(pid: int) -> bool:
    """Whether a process runs, or would if a processor were free."""
    return _state(pid) == "R"


def _state(pid: int) -> str | None:
    told = fields(pid)
    return told[STATE] if told else None


def descends(pid: int, ancestor: int) -> bool:
    """Whether `pid` is `ancestor` or a living descendant of it."""
    while pid > 1:
        if pid == ancestor:
            return True
        told = fields(pid)
        if not told:
            return False
        pid = int(told[PARENT])
    return pid == ancestor
