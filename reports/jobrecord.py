"""The record of a scheduler's job: every node of it, every requeue and step, as one document.

docs/slurm-records.md tells what each field means. What sacct knows too has sacct's name; unknown is None, never 0.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from greenrun.intensity.model import Basis
from greenrun.reports.record import Energy, Epoch, PueSource, Warned

MeasuredBy = Literal["site", "commands"]
"""site: the daemon that the site's prolog started, for the whole job; commands: greenrun in front of the user's own."""


class Figures(TypedDict):
    """What nodes, runs of a job or whole jobs used; a sum of them has the same fields.

    `job_energy_joules` is the job's share of the nodes' energy, None where that of one node is not known, and
    `job_co2e_grams` what it caused. `estimated_joules` is the part of the total behind which there is no meter. `pue`,
    `pue_source` and `basis` are None where the parts differ.
    """

    node_hours: float
    gpu_hours: float | None
    energy_joules: Energy
    job_energy_joules: Energy | None
    energy_kwh: float | None
    uncertainty_percent: float | None
    estimated_joules: float | None
    pue: float | None
    pue_source: PueSource | None
    facility_energy_kwh: float | None
    grams_per_kwh: float | None
    basis: Basis | None
    intensity_source: str | None
    co2e_grams: float | None
    co2e_low_grams: float | None
    co2e_high_grams: float | None
    job_co2e_grams: float | None


class JobNode(Figures):
    """One node in one run of the job; `run_ids` are the records that it is told from."""

    NodeName: str
    Restarts: int
    measured_by: MeasuredBy
    status: Literal["complete", "partial"]
    run_ids: list[str]
    started_at: str
    ended_at: str


class Attempt(Figures):
    """One run of the job: a job that was requeued has several. `duration_seconds` is from first start to last end."""

    Restarts: int
    State: str | None
    ExitCode: str | None
    status: Literal["complete", "partial"]
    nodes: int
    started_at: str
    ended_at: str
    duration_seconds: float


class JobEpochs(TypedDict):
    """The epochs of the job, from the record that has them; their energy is that record's node's."""

    run_id: str
    NodeName: str
    epochs: list[Epoch]


class Who(TypedDict):
    """The job under sacct's names; `State` is known where the site has joined the records with sacct."""

    Scheduler: str
    JobID: str | None
    JobIDRaw: str
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
    State: str | None
    ExitCode: str | None


class JobRecord(Figures):
    """The whole document; `duration_seconds` is that of all its runs, without the time between them in the queue."""

    schema: int
    kind: Literal["job"]
    status: Literal["complete", "partial"]
    job: Who
    started_at: str
    ended_at: str
    duration_seconds: float
    attempts: list[Attempt]
    nodes: list[JobNode]
    epochs: JobEpochs | None
    warnings: list[Warned]
