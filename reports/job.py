"""The scheduler's job that a run belongs to, under the names that SLURM's sacct has for it: pure.

It is made from the variables that the scheduler had set where the run began. They are anybody's to set: what has not
the form of its field is None.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from greenrun.sampler.allocation import allocation
from greenrun.sampler.nodelist import on_node

if TYPE_CHECKING:
    from collections.abc import Mapping

# slurm/slurm.h, SLURM_BATCH_SCRIPT and its neighbours: the numbers of the steps that have names.
_NAMED_STEPS = {"4294967290": "interactive", "4294967291": "batch", "4294967292": "extern"}
_BYTES_PER_SLURM_MEGABYTE = 1 << 20  # sbatch(1), --mem: units of 1024
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
# Other schedulers, by the variable that holds the job's id: the scheduler's name, and the variable of the job's
# name, if there is one.
_OTHERS = {
    "PBS_JOBID": ("pbs", "PBS_JOBNAME"),
    "LSB_JOBID": ("lsf", "LSB_JOBNAME"),
    "FLUX_JOB_ID": ("flux", ""),
    "OAR_JOB_ID": ("oar", "OAR_JOB_NAME"),
}


class Job(TypedDict):
    """A job as one record of it sees it; a field is None where it is not known.

    `StepID` is None for the whole job, `NodeName` the record's node, `TaskID` the rank that measured, `TasksHere` how
    many ranks of its node it stands for. `GPUsHere` are minor numbers: the job's, or where only those are told the
    step's.
    """

    Scheduler: str
    JobID: str | None
    JobIDRaw: str | None
    StepID: str | None
    ArrayJobID: str | None
    ArrayTaskID: str | None
    JobName: str | None
    User: str | None
    UID: int | None
    Account: str | None
    Partition: str | None
    Cluster: str | None
    NodeList: str | None
    NNodes: int | None
    NodeName: str | None
    NTasks: int | None
    TasksHere: int | None
    TaskID: int | None
    Restarts: int | None
    AllocCPUSHere: int | None
    AllocMemBytesHere: int | None
    GPUsHere: list[int] | None


def job(environment: Mapping[str, str], user: str | None) -> Job | None:
    """Give the job whose recorded variables these are; `user` began the run. None where there was no scheduler."""
    if "SLURM_JOB_ID" in environment:
        return _slurm(environment, user)
    told = _Told(environment)
    for variable, (scheduler, name) in _OTHERS.items():
        if variable in environment:
            job_id = told.text(variable)
            return {
                "Scheduler": scheduler,
                "JobID": job_id,
                "JobIDRaw": job_id,
                "StepID": None,
                "ArrayJobID": None,
                "ArrayTaskID": None,
                "JobName": told.text(name),
                "User": user,
                "UID": None,
                "Account": None,
                "Partition": None,
                "Cluster": None,
                "NodeList": None,
                "NNodes": None,
                "NodeName": None,
                "NTasks": told.whole("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"),
                "TasksHere": told.whole("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"),
                "TaskID": told.whole("OMPI_COMM_WORLD_RANK", "PMI_RANK"),
                "Restarts": None,
                "AllocCPUSHere": None,
                "AllocMemBytesHere": None,
                "GPUsHere": None,
            }
    return None


class _Told(NamedTuple):
    """The variables, read by the first of some names that is set and in form."""

    environment: Mapping[str, str]

    def text(self, *names: str) -> str | None:
        return next((self.environment[name] for name in names if self.environment.get(name)), None)

    def whole(self, *names: str) -> int | None:
        values = (self.environment.get(name, "") for name in names)
        return next((int(value) for value in values if _NUMBER.fullmatch(value)), None)


class _Ranks(NamedTuple):
    """Which rank measured, of how many in the step and on its node."""

    rank: int | None
    step: int | None
    here: int | None


def _slurm(environment: Mapping[str, str], user: str | None) -> Job:
    told = _Told(environment)
    raw, array, task = told.text("SLURM_JOB_ID"), told.text("SLURM_ARRAY_JOB_ID"), told.text("SLURM_ARRAY_TASK_ID")
    step, node = _step(told), told.text("SLURMD_NODENAME")
    cpus = _on_node(told, "SLURM_JOB_CPUS_PER_NODE", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    cpus = told.whole("SLURM_CPUS_ON_NODE") if cpus is None and node else cpus
    ranks = _ranks(told, step)
    gpus = allocation(environment)
    # SLURM sets it from the first restart on, in the job's own environment; a Prolog has it always or never.
    never = None if step is None else 0
    restarts = told.whole("SLURM_RESTART_COUNT", "SLURM_JOB_RESTART_COUNT", "RESTART_COUNT")
    return {
        "Scheduler": "slurm",
        "JobID": f"{array}_{task}" if array and task else raw,
        "JobIDRaw": raw,
        "StepID": step,
        "ArrayJobID": array,
        "ArrayTaskID": task,
        "JobName": told.text("SLURM_JOB_NAME"),
        "User": told.text("SLURM_JOB_USER") or user,
        "UID": told.whole("SLURM_JOB_UID"),
        "Account": told.text("SLURM_JOB_ACCOUNT"),
        "Partition": told.text("SLURM_JOB_PARTITION"),
        "Cluster": told.text("SLURM_CLUSTER_NAME"),
        "NodeList": told.text("SLURM_JOB_NODELIST", "SLURM_NODELIST"),
        "NNodes": told.whole("SLURM_JOB_NUM_NODES", "SLURM_NNODES"),
        "NodeName": node,
        "NTasks": ranks.step,
        "TasksHere": ranks.here,
        "TaskID": ranks.rank,
        "Restarts": never if restarts is None else restarts,
        "AllocCPUSHere": cpus,
        "AllocMemBytesHere": _memory_bytes(told, cpus),
        "GPUsHere": None if gpus is None or gpus.indices is None else sorted(gpus.indices),
    }


def _step(told: _Told) -> str | None:
    """Name the step as sacct does. A batch script has no number, but is a task, which no Prolog and no salloc is."""
    step = told.text("SLURM_STEP_ID")
    if step is None:
        return None if told.text("SLURM_PROCID") is None else "batch"
    return _NAMED_STEPS.get(step, step)


def _ranks(told: _Told, step: str | None) -> _Ranks:
    """Count the ranks: those of an MPI launcher where there is one, for SLURM sees one task in all of them."""
    for rank, of_step, here in (
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
        ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    ):
        local = told.whole(here)
        if local is not None:
            return _Ranks(told.whole(rank), told.whole(of_step), local)
    if step is None:
        return _Ranks(None, told.whole("SLURM_NTASKS", "SLURM_JOB_NTASKS"), None)
    if step in _NAMED_STEPS.values():
        return _Ranks(0, 1, 1)
    tasks_here = _on_node(told, "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST")
    return _Ranks(told.whole("SLURM_PROCID"), told.whole("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), tasks_here)


def _on_node(told: _Told, counts: str, *lists: str) -> int | None:
    values, node = told.text(counts), told.text("SLURMD_NODENAME")
    return on_node(values, told.text(*lists) or "", node) if values and node else None


def _memory_bytes(told: _Told, cpus: int | None) -> int | None:
    """Give what the job may use on its node, in bytes; 0 is SLURM's word for all of it, however much that is."""
    megabytes = told.whole("SLURM_MEM_PER_NODE")
    per_cpu = told.whole("SLURM_MEM_PER_CPU")
    if megabytes is None and per_cpu and cpus is not None:
        megabytes = per_cpu * cpus
    return megabytes * _BYTES_PER_SLURM_MEGABYTE if megabytes else None
