"""Which GPUs of a node SLURM gave to a job: pure, from the variables that it sets.

SLURM numbers a node's GPUs by their device files: index 1 is /dev/nvidia1, which NVML calls the minor number. Neither
NVML's own index nor CUDA_VISIBLE_DEVICES will do: where a job may open its own GPUs alone (ConstrainDevices), both
begin at 0 whichever GPU that is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from greenrun.sampler.nodelist import nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_INDICES = re.compile(r"\d{1,6}(?:,\d{1,6})*", re.ASCII)
_PER_TASK = "gpu:"  # how SLURMD_TRES_BIND begins where each task got GPUs of its own


class Allocation(NamedTuple):
    """The GPUs that a job, or one step of it, has on this node.

    `indices` are their minor numbers and `number` how many they are, each None where SLURM does not tell.
    `whole_node`: the record is of the node, so that the neighbours' GPUs count too.
    """

    of: Literal["job", "step"]
    indices: frozenset[int] | None
    number: int | None = None
    whole_node: bool = False


def allocation(environment: Mapping[str, str]) -> Allocation | None:
    """Give what is known of the GPUs of the job in whose environment this is; None outside of SLURM."""
    if "SLURM_JOB_ID" not in environment:
        return None
    number = _whole(environment.get("SLURM_GPUS_ON_NODE", ""))
    of_job, of_step = (_indices(environment.get(name, "")) for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS"))
    node = environment.get("SLURMD_NODENAME")
    if "MIG" in environment.get("CUDA_VISIBLE_DEVICES", "") or node is None:
        # Parts of a GPU have numbers of their own; and a shell of salloc's is on no node of its job.
        return Allocation("job", None)
    if not environment.get("SLURM_STEP_ID", "").isdigit():
        return Allocation("job", of_job, None if of_job is None else len(of_job))
    if of_job is not None and _is_batch_host(environment, node):
        return Allocation("job", of_job, len(of_job))
    # On any other node SLURM_JOB_GPUS came along from the batch script: those are another node's GPUs. And where each
    # task has GPUs of its own, one task's are not the step's.
    bound = environment.get("SLURMD_TRES_BIND", "").startswith(_PER_TASK)
    if bound and (of_step is None or len(of_step) != number):
        of_step = None
    return Allocation("step", of_step, number if of_step is None else len(of_step))


def is_of_job(allocated: Allocation, minors: Sequence[int | None]) -> list[bool | None]:
    """Tell of each GPU that can be read, by its minor number, whether it is the job's; None: not known."""
    if allocated.indices is not None:
        return [None if minor is None else minor in allocated.indices for minor in minors]
    if minors and len(minors) == allocated.number:  # no other GPU is open to us: these are what we were given
        return [True] * len(minors)
    return [None] * len(minors)


def unread(allocated: Allocation, minors: Collection[int | None]) -> int:
    """Give how many of the job's GPUs are not among those that can be read, as far as that is known."""
    if allocated.indices is not None and None not in minors:
        return len(allocated.indices - set(minors))
    return max(0, (allocated.number or 0) - len(minors))


def _is_batch_host(environment: Mapping[str, str], node: str) -> bool:
    """Whether this is the first node of the job: the one its batch script runs on."""
    names = nodes(environment.get("SLURM_JOB_NODELIST", environment.get("SLURM_NODELIST", "")))
    return names is not None and names[0] == node


def _indices(text: str) -> frozenset[int] | None:
    return frozenset(map(int, text.split(","))) if _INDICES.fullmatch(text) else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
