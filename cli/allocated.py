"""What of the machine the job may use: as its scheduler tells, else its cgroup, else the CPUs that it may run on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from greenrun.sampler import cgroups, usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenrun.cli.identity import Run
    from greenrun.sampler.model import Machine


def allocated(
    run: Run, machine: Machine, all_cpus: int | None, environment: Mapping[str, str]
) -> dict[str, Any] | None:
    """Give the field of the `start` event; `environment` are the recorded variables. None where nobody knows.

    `by` tells who said how many CPUs: "all" is no limit. A record of the site's is made by root around the job, so that
    only its scheduler's word is of the job.
    """
    if all_cpus is None:
        return None
    cpus, memory_bytes, by = _of_scheduler(environment)
    if run.kind == "job":
        return _fields(min(cpus, all_cpus), all_cpus, memory_bytes, by) if cpus is not None else None
    if memory_bytes is None:
        memory_bytes = _memory_limit_bytes(machine)
    if cpus is not None:
        return _fields(min(cpus, all_cpus), all_cpus, memory_bytes, by)
    limit = cgroups.cpu_limit(machine)
    able = len(os.sched_getaffinity(0))
    if limit is not None and limit < all_cpus and (limit <= able or not _is_bound(able)):
        return _fields(limit, all_cpus, memory_bytes, "cgroup")
    if _is_bound(able) and able < all_cpus:
        return _fields(able, all_cpus, memory_bytes, "affinity")
    return _fields(all_cpus, all_cpus, memory_bytes, "all")


def _fields(cpus: float, all_cpus: int, memory_bytes: int | None, by: str) -> dict[str, Any]:
    whole = int(cpus) if cpus == int(cpus) else round(cpus, 4)
    return {"cpus": whole, "all_cpus": all_cpus, "memory_bytes": memory_bytes, "by": by}


def _of_scheduler(environment: Mapping[str, str]) -> tuple[int | None, int | None, str]:
    if "SLURM_JOB_ID" not in environment:
        return None, None, ""
    from greenrun.reports.job import job

    told = job(environment, None)
    # 0 is no number of CPUs that a job could run on.
    return (told["AllocCPUSHere"] or None, told["AllocMemBytesHere"], "slurm") if told else (None, None, "")


def _is_bound(able: int) -> bool:
    """Whether we may run on `able` CPUs only because somebody chose them for us (taskset, a scheduler)."""
    return able < (os.cpu_count() or able)


def _memory_limit_bytes(machine: Machine) -> int | None:
    limit = cgroups.memory_limit_bytes(machine)
    size = usage.memory_bytes(machine.procfs)
    return limit if limit is not None and size is not None and limit < size["MemTotal"] else None
