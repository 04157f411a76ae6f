"""`greenrun slurm epilog`: end the measuring of a job on this node, and see to it that its record is there.

The daemon makes the record when it is told that the job is over. Where it is dead (killed, or gone with a boot before
this one), the record is made here from what its log holds; so are the records of other runs whose daemons died and
whose epilogs never came.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING

from greenrun.cli.slurm import hook

if TYPE_CHECKING:
    from greenrun.cli.config import Config
    from greenrun.cli.slurm.hook import Job
    from greenrun.cli.slurm.spool import Entry

_PATIENCE_SECONDS = 2.5  # two for the record and its copy, and what it takes to come up
_LIMIT_SECONDS = 20
_COPY_SECONDS = 1.0
_MOST_OTHERS = 8  # records of dead daemons that one epilog makes

USAGE = """\
Usage: greenrun slurm epilog

  End the measuring of the job that slurmd has just ended on this node. Only
  slurmd can run it, as root: see contrib/slurm/epilog.sh.
"""


def main(argv: list[str]) -> int:
    """End what the prolog began; 0, whatever happens. UserError where no slurmd runs it."""
    if argv in (["--help"], ["-h"]):
        from greenrun.cli import output

        output.show(USAGE)
        return 0
    return hook.run("epilog", os.environ, end, _PATIENCE_SECONDS, _LIMIT_SECONDS)


def end(config: Config, job: Job) -> None:
    """End the run of a job, finish its record, copy that if its user asks, and see to what others have left.

    Raises OSError, and runlog.Unreadable for a log of which no record can be made.
    """
    from greenrun.cli.slurm import spool

    if not os.path.isdir(config.spool):
        return  # nothing was ever measured here
    spool.check(config.spool)
    entry = spool.live(config.spool, job.job_id, job.node)
    if entry is None:
        run_dir = spool.newest_run_dir(config.spool, job.job_id, job.node)
    else:
        run_dir = entry.handle.run_dir
        _end_daemon(entry, job.exit_code)
    if run_dir is None:
        return
    trouble: Exception | None = None
    try:
        finish(run_dir, job.exit_code)
        if config.copy == "always" or (config.copy == "asked" and job.wants_copy):
            _copy(run_dir, job)
    except Exception as error:  # noqa: BLE001  told at the end: the others' records do not depend on it
        trouble = error
    if entry is not None:
        spool.forget(entry)
    _finish_others(config, job)
    if trouble is not None:
        raise trouble


def _end_daemon(entry: Entry, exit_code: str | None) -> None:
    """Tell the daemon that the job is over, and wait until it has made the record or has had its time."""
    from greenrun.cli import handle
    from greenrun.cli.slurm.spool import ENDING_NAME
    from greenrun.sampler import runlog

    if not handle.is_alive(entry.handle):
        return
    with contextlib.suppress(OSError):
        told = json.dumps({"job_exit_code": exit_code}).encode()
        runlog.replace(os.path.join(entry.handle.run_dir, ENDING_NAME), told)
    handle.end(entry.handle)
    handle.send(entry.handle, signal.SIGKILL)


def finish(run_dir: str, exit_code: str | None) -> None:
    """Make the record of a run whose daemon is gone, where it lacks one or the job's exit code.

    Raises runlog.Unreadable and OSError.
    """
    from greenrun.cli.slurm.spool import ENDING_NAME
    from greenrun.sampler import runlog

    has_record = os.path.exists(os.path.join(run_dir, "summary.json"))
    events = runlog.read(run_dir)
    told = any(event["event"] == "exited" and event.get("job_exit_code") for event in events)
    if has_record and (told or exit_code is None):
        return
    exited = {"event": "exited", "t": max(event["t"] for event in events), "exit_code": None, "signal": None}
    exited |= {"how": "epilog", "rusage": None, "job_exit_code": exit_code}
    if not told:
        runlog.append(run_dir, [exited])
    from greenrun.cli import ending

    ending.make(run_dir, [])
    for name in (ENDING_NAME, "marks"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(run_dir, name))


def _finish_others(config: Config, job: Job) -> None:
    """Make the records of runs on this node whose daemons died, and whose epilog will not come or has come in vain."""
    from itertools import islice

    from greenrun.cli import handle
    from greenrun.cli.slurm import spool

    dead = (entry for entry in spool.of_node(config.spool, job.node) if not handle.is_alive(entry.handle))
    for entry in islice(dead, _MOST_OTHERS):
        with contextlib.suppress(Exception):  # what cannot be told now cannot be told later
            finish(entry.handle.run_dir, None)
        spool.forget(entry)


def _copy(run_dir: str, job: Job) -> None:
    from greenrun.cli.slurm import copying

    try:
        owner = copying.user(job.uid)
    except KeyError:
        raise LookupError(f"the user {job.uid} is unknown on this node, so no copy was made") from None
    copying.copy(run_dir, job.work_dir, f"slurm-{job.job_id}-{os.path.basename(run_dir)}", owner, _COPY_SECONDS)
