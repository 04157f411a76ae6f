"""What of the environment goes into the log, and whether SLURM set it for this job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenrun.cli import procstat
from greenrun.cli.identity import RECORDED_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_A_STEP = ("SLURM_STEP_", "SLURMD_TRES_BIND")


def surroundings(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the recorded variables.

    A batch script that was submitted from within a step inherits that step's number, nodes and GPUs, and SLURM lets
    them stand; they are another job's, and left out.
    """
    found = {name: text(environ[name]) for name in RECORDED_VARIABLES if name in environ}
    if "SLURM_STEP_ID" in found and _is_batch_script(environ):
        found = {name: value for name, value in found.items() if not name.startswith(_OF_A_STEP)}
    return found


def text(value: str) -> str:
    """Give text that is valid Unicode: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(value).decode("utf-8", "replace")


def _is_batch_script(environ: Mapping[str, str]) -> bool:
    """Whether the task that we are in is the job's batch script, by the name that its slurmstepd has given itself.

    Where that cannot be seen (a container with process ids of its own) it is taken for no batch script.
    """
    task = environ.get("SLURM_TASK_PID", "")
    if not (task.isascii() and task.isdigit() and len(task) < 10):
        return False
    stat = procstat.fields(int(task))
    if not stat:
        return False
    try:
        with open(f"/proc/{stat[procstat.PARENT]}/cmdline", "rb") as file:
            title = file.read(256).rstrip(b"\0 ")
    except OSError:
        return False
    return title == os.fsencode(f"slurmstepd: [{environ.get('SLURM_JOB_ID')}.batch]")
