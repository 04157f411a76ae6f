"""What prolog and epilog have in common: they know their job from slurmd, and nothing holds them up or fails them.

The work is done by a child in a session of its own: slurmd kills the hook's process group and reads its output to the
end, and a file system that hangs must hang neither. The hook waits for the child's word, and no longer than it may.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from greenrun.cli.descriptors import close_all_but, pipe
from greenrun.cli.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from greenrun.cli.config import Config

CONTEXT = "SLURM_SCRIPT_CONTEXT"  # slurm.conf(5), "Prolog and Epilog": which of the hooks a script runs as
_LOG_SOCKET = "/dev/log"
_PRIORITY = 3 << 3 | 4  # syslog(3): LOG_DAEMON, LOG_WARNING
_LONGEST_SENTENCE = 900  # a datagram that any syslog takes
_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)  # slurm.conf(5): names of hosts
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_WISH = re.compile(r"(?<![\w-])greenrun(?![\w-])", re.ASCII | re.IGNORECASE)


class Job(NamedTuple):
    """The job that a hook runs for. Its user chose `work_dir` and `comment`; the rest is slurmd's."""

    job_id: str
    node: str
    uid: int
    work_dir: str
    comment: str
    exit_code: str | None  # CODE:SIGNAL, in the epilog

    @property
    def wants_copy(self) -> bool:
        """Whether the job's user asked for greenrun's record."""
        return _WISH.search(self.comment) is not None


def job(environ: Mapping[str, str]) -> Job:
    """Give the job of slurmd's variables. ValueError says what is wrong with them."""
    job_id, uid = environ.get("SLURM_JOB_ID", ""), environ.get("SLURM_JOB_UID", "")
    if not _NUMBER.fullmatch(job_id) or not _NUMBER.fullmatch(uid):
        raise ValueError(f"slurmd told no job: SLURM_JOB_ID is {job_id!r}, SLURM_JOB_UID is {uid!r}")
    node = environ.get("SLURMD_NODENAME") or os.uname().nodename
    if not _NODE.fullmatch(node):
        raise ValueError(f"{node!r} is no name of a node")
    exit_code = environ.get("SLURM_JOB_EXIT_CODE2", "")
    return Job(
        job_id=job_id,
        node=node,
        uid=int(uid),
        work_dir=environ.get("SLURM_JOB_WORK_DIR", ""),
        comment=environ.get("SLURM_JOB_COMMENT", ""),
        exit_code=exit_code if re.fullmatch(r"[0-9]{1,5}:[0-9]{1,5}", exit_code) else None,
    )


def run(name: str, environ: Mapping[str, str], work: Callable[[Config, Job], None], seconds: float, limit: int) -> int:
    """Do the work of the hook `name` (prolog, epilog) and give 0, after `seconds` at the latest.

    What `work` raises becomes one line on stderr and for the system's log. `limit`: seconds after which the work is
    killed that the hook no longer waits for. Raises UserError where no slurmd runs it: somebody typed it.
    """
    if environ.get(CONTEXT) != f"{name}_slurmd":
        raise UserError(
            f"slurm {name} is run by slurmd, as {name.capitalize()} in slurm.conf, and knows its job from there alone; "
            f"here {CONTEXT} is {repr(environ[CONTEXT]) if CONTEXT in environ else 'not set'}"
        )
    try:
        reader, writer = pipe()
        child = os.fork()
        if child == 0:
            _work(environ, work, writer, limit)
        os.close(writer)
        trouble = _hear(reader, time.monotonic() + seconds)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, os.WNOHANG)
    except Exception as error:  # noqa: BLE001  no node is to be lost for it
        trouble = _reason(error)
    if trouble:
        _say(f"greenrun: slurm {name} of job {environ.get('SLURM_JOB_ID')}: {trouble}")
    return 0


def _work(environ: Mapping[str, str], work: Callable[[Config, Job], None], writer: int, limit: int) -> NoReturn:
    trouble = ""
    try:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(limit)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        close_all_but({0, 1, 2, writer})
        os.chdir("/")
        trouble = _try(environ, work)
        with contextlib.suppress(OSError):
            os.write(writer, trouble.encode("utf-8", "replace")[:_LONGEST_SENTENCE])
    finally:
        os._exit(0)


def _try(environ: Mapping[str, str], work: Callable[[Config, Job], None]) -> str:
    """Do the work; give what is wrong in one sentence, "" for nothing."""
    try:
        if os.geteuid() != 0:
            raise PermissionError("it needs to run as root, as slurmd does on most clusters; the job is not measured")
        from greenrun.cli import config

        work(config.load_site(environ), job(environ))
    except Exception as error:  # noqa: BLE001  whatever it is, no node is to be lost for it
        return _reason(error)
    return ""


def _hear(reader: int, deadline: float) -> str:
    """Give the child's word, which ends with its end."""
    said = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
        data = os.read(reader, 1 << 12)
        if not data:
            return said.decode("utf-8", "replace")
        said += data
    return "it takes too long, so SLURM goes on without it; a file system may hang"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _say(sentence: str) -> None:
    """Tell whoever administers the node: syslog too, for slurmd drops what a hook that succeeds prints."""
    line = "".join(character if character.isprintable() else "?" for character in sentence)[:_LONGEST_SENTENCE]
    with contextlib.suppress(OSError):
        os.write(2, line.encode() + b"\n")
    with contextlib.suppress(OSError, ImportError):
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as log:
            log.sendto(f"<{_PRIORITY}>{line}".encode(), _LOG_SOCKET)  # syslog(3) would wait for a log that is full
