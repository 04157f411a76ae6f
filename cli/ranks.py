"""Who measures on a node where one command runs many times: the first rank there, for all of them.

The others become their command at once, with no process, file or descriptor more than without greenrun: a hundred
daemons on a node would each count all of its energy. There is nothing to agree on, for the launcher has told each rank
its number on its node.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# A launcher's variable for the number of a rank on its node, and one that must be there too for it to be that. A batch
# script and a shell of salloc's have SLURM_LOCALID without being one rank of several; LOCAL_RANK is a name that
# scripts use for much.
_LOCAL_RANKS = (
    ("SLURM_LOCALID", "SLURM_STEP_ID"),
    ("OMPI_COMM_WORLD_LOCAL_RANK", ""),  # Open MPI and what descends from it
    ("MPI_LOCALRANKID", ""),  # Hydra: MPICH, Intel MPI
    ("MV2_COMM_WORLD_LOCAL_RANK", ""),  # MVAPICH2
    ("PALS_LOCAL_RANKID", ""),  # HPE Cray's mpiexec
    ("FLUX_TASK_LOCAL_ID", ""),
    ("JSM_NAMESPACE_LOCAL_RANK", ""),  # LSF's jsrun
    ("LOCAL_RANK", "TORCHELASTIC_RUN_ID"),  # torchrun
)
# The number of ranks on this node, by the launchers that tell it.
_LOCAL_SIZES = (
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "PALS_LOCAL_SIZE",
    "JSM_NAMESPACE_LOCAL_SIZE",
    "LOCAL_WORLD_SIZE",
)


def measured_by(environment: Mapping[str, str]) -> str | None:
    """Tell who measures for this process: JOB.STEP/NODE, or NODE alone where there is no SLURM; None: itself.

    Launchers within one another count together: of the ranks that an mpirun starts in each task of a step, the first
    one in the first task measures.
    """
    for variable, with_it in _LOCAL_RANKS:
        if _is_above_zero(environment.get(variable, "")) and (not with_it or environment.get(with_it)):
            break
    else:
        return None
    node = environment.get("SLURMD_NODENAME") or os.uname().nodename
    job = environment.get("SLURM_JOB_ID")
    return f"{job}.{environment.get('SLURM_STEP_ID') or 'batch'}/{node}" if job else node


def are_several(environment: Mapping[str, str]) -> bool:
    """Tell whether this process is one of several ranks on its node, or may be."""
    ranked = [
        variable
        for variable, with_it in _LOCAL_RANKS
        if variable in environment and (not with_it or with_it in environment)
    ]
    sizes = [environment[name] for name in _LOCAL_SIZES if name in environment]
    if "SLURM_LOCALID" in ranked:
        from greenrun.sampler.nodelist import on_node

        ranked.remove("SLURM_LOCALID")
        counts, names = environment.get("SLURM_STEP_TASKS_PER_NODE", ""), environment.get("SLURM_STEP_NODELIST", "")
        if on_node(counts, names, environment.get("SLURMD_NODENAME", "")) != 1:
            return True
    return bool(ranked) and (not sizes or any(size.strip() != "1" for size in sizes))


def _is_above_zero(text: str) -> bool:
    return text.isascii() and text.isdigit() and text.strip("0") != ""
