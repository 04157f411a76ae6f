"""`greenrun slurm prolog`: begin to measure a job on this node.

All it does is to start the job's daemon and to wait until that has taken its first readings. The daemon alone touches
the spool.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from greenrun.cli.slurm import hook

if TYPE_CHECKING:
    from greenrun.cli.config import Config
    from greenrun.cli.slurm.hook import Job

_PATIENCE_SECONDS = 1.5  # the daemon has one of them to be ready; the job goes on anyway
_LIMIT_SECONDS = 10
_CACHES = (
    "/var/cache"  # the Filesystem Hierarchy Standard's: what services told is asked for once per node, not per job
)

USAGE = """\
Usage: greenrun slurm prolog

  Begin to measure the job that slurmd is about to start on this node. Only
  slurmd can run it, as root: see contrib/slurm/prolog.sh.
"""


def main(argv: list[str]) -> int:
    """Begin to measure the job that slurmd tells of; 0, whatever happens. UserError where no slurmd runs it."""
    if argv in (["--help"], ["-h"]):
        from greenrun.cli import output

        output.show(USAGE)
        return 0
    return hook.run("prolog", os.environ, begin, _PATIENCE_SECONDS, _LIMIT_SECONDS)


def begin(config: Config, job: Job) -> None:
    """Start the daemon of a job. Raises OSError."""
    from greenrun.cli import handle
    from greenrun.cli.identity import Run, uuid7
    from greenrun.cli.slurm import spool

    os.environ["XDG_CACHE_HOME"] = _CACHES
    utc = time.time()
    run_id = uuid7(utc)
    run = Run(
        run_id=run_id,
        run_dir=spool.run_dir(config.spool, job.job_id, job.node, run_id),
        name=f"slurm-{job.job_id}",
        command=(),
        cwd=job.work_dir or "/",
        monotonic=time.monotonic(),
        utc=utc,
        kind="job",
    )
    # What the site has set for epochs is for commands whose output greenrun sees.
    config = config._replace(epochs=None, epoch_pattern=None, epoch_marks=None)
    begun = handle.Begun(config, run, follow=None, job={"job_id": job.job_id, "node": job.node, "uid": job.uid})
    begun.let_go()  # it goes on by itself, also where it comes late
    if begun.handle is None:
        raise TimeoutError(f"the sampler was not there after {handle.READY_WAIT_SECONDS:g} s; what it misses is lost")
