"""sacct and sacctmgr as programs: started by argument vector, in an environment of our own, for a limited time."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from greenrun.reports import accounting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.accounting import Accounted

_TIMEOUT_SECONDS = 120.0  # slurmdbd answers about hundreds of jobs in less than a second, but it may be busy
_JOBS_AT_ONCE = 200  # an argument of 2 kB, and an answer that nobody waits for
_DELIMITER_BYTES = 16
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NoAccounting(Exception):  # noqa: N818  the name says what there is not
    """There is no sacct here, or it gives no answer: a sentence without its full stop."""


def ask(job_ids: Sequence[str]) -> list[Accounted]:
    """Give what sacct knows of these jobs, all runs of each, with times in UTC. Raises NoAccounting."""
    rows: list[Accounted] = []
    for at in range(0, len(job_ids), _JOBS_AT_ONCE):
        delimiter = f"|{os.urandom(_DELIMITER_BYTES).hex()}|"
        argv = ["--allusers", "--allocations", "--duplicates", "--parsable2", "--noheader"]
        argv += [f"--delimiter={delimiter}", f"--format={','.join(accounting.FIELDS)}"]
        argv.append(f"--jobs={','.join(job_ids[at : at + _JOBS_AT_ONCE])}")
        text = _run("sacct", argv)
        try:
            rows += accounting.rows(text, delimiter)
        except accounting.Unexpected as error:
            raise NoAccounting(f"sacct gave an answer that cannot be read: {error}") from None
    return rows


def comment(job_id: str, text: str) -> None:
    """Put a text into the AdminComment of the newest job with this id. Raises NoAccounting."""
    _run("sacctmgr", ["--immediate", "modify", "job", "where", f"jobid={job_id}", "set", f"AdminComment={text}"])


def _run(program: str, argv: Sequence[str]) -> str:
    search = os.environ.get("PATH") or _PATH
    path = shutil.which(program, path=search)
    if path is None:
        raise NoAccounting(f"there is no {program} in {search}: it comes with SLURM and needs slurmdbd")
    environment = {"PATH": search, "TZ": "UTC", "LC_ALL": "C"}
    environment |= {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    try:
        done = subprocess.run(
            [path, *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAccounting(f"{program} gave no answer within {_TIMEOUT_SECONDS:g} s") from None
    except OSError as error:
        raise NoAccounting(f"{path} cannot be started: {os.strerror(error.errno or 0)}") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).decode("utf-8", "replace").split())[:300]
        raise NoAccounting(f"{program} failed with {done.returncode}{f': {said}' if said else ''}")
    return done.stdout.decode("utf-8", "replace")
