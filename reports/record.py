"""The run record: the document that summary.json holds, schema 1. docs/summary.md tells what each field means.

Every moment in it is in seconds since the command was spawned; unknown is None, never 0.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from greenrun.intensity.model import Basis
from greenrun.reports.job import Job
from greenrun.sampler.model import Kind, Method

RunStatus = Literal["complete", "partial", "not-started"]
PueSource = Literal["told", "assumed", "what-if"]
Marker = Literal["output", "marks"]
RunKind = Literal["command", "block", "job"]
Quantity = Literal["energy_joules", "co2e_grams"]
"""What a budget may be of, by its name in the record."""
Scope = Literal["node", "job"]
"""Whose a figure is: all that the machine used meanwhile, or the job's part of it."""
SharedBy = Literal["busy-time", "allocated-memory", "used-memory", "devices", "slices", "utilisation"]


class Device(TypedDict):
    """One device's share of the energy.

    `counted` is False for one that stands beside the total. `of_job` tells whether it is the job's alone (None: shared,
    or not known), `job_part` what slice of it is. The job's part of the energy has a method of its own: an estimate
    where the device is shared.
    """

    id: str
    kind: Kind
    name: str
    source: str
    method: Method
    energy_joules: float | None
    uncertainty_percent: float | None
    counted: bool
    trusted: bool
    of_job: bool | None
    job_part: float | None
    job_energy_joules: float | None
    job_uncertainty_percent: float | None
    job_method: Method | None
    note: str
    from_t: float | None
    until_t: float | None
    filled_joules: float


class Energy(TypedDict):
    """Joules by kind of device, None where no device of the kind was measured; `total` is their sum."""

    cpu: float | None
    dram: float | None
    gpu: float | None
    other: float | None
    total: float | None


# "from" is a word of Python's own, hence not a class
Span = TypedDict(
    "Span",
    {
        "from": str,
        "to": str,
        "grams_per_kwh": float | None,
        "basis": Basis | None,
        "source": str | None,
        "zone": str | None,
        "country": str | None,
        "year": int | None,
        "uncertainty_percent": float | None,
        "estimated": bool,
        "fetched_at": str | None,
        "link": str | None,
        "note": str,
        "facility_energy_kwh": float | None,
        "co2e_grams": float | None,
    },
)
"""A stretch of time with one intensity, and the facility's energy and emissions in it."""


class PassedOver(TypedDict):
    """A link of the chain that gave no figure of those in use, and why."""

    link: str
    cause: str
    reason: str


class IntensityUsed(TypedDict):
    """The intensity over the whole run, weighted by energy; a field is None where the spans do not agree on it."""

    grams_per_kwh: float | None
    basis: Basis | None
    source: str | None
    zone: str | None
    country: str | None
    year: int | None
    link: str | None
    uncertainty_percent: float | None
    note: str
    how: str | None
    passed_over: list[PassedOver]
    spans: list[Span]


Epoch = TypedDict(
    "Epoch", {"n": int, "from": float, "duration_seconds": float, "energy_joules": float | None, "marker": Marker}
)
Stretch = TypedDict("Stretch", {"from": float, "duration_seconds": float, "energy_joules": float | None})
Gap = TypedDict("Gap", {"device": str | None, "from": float, "duration_seconds": float, "code": str})


class Phase(TypedDict):
    """A part of the job that it has named, and how often it came; of many stretches the first ones are told."""

    name: str
    times: int
    duration_seconds: float
    energy_joules: float | None
    stretches: list[Stretch]


class Range(TypedDict):
    """A predicted value with the ends of its 90 % interval."""

    value: float
    low: float
    high: float


class Amounts(TypedDict):
    """What the job took in the end, or by how many per cent a prediction was off (signed)."""

    duration_seconds: float | None
    energy_joules: float | None
    co2e_grams: float | None


class Within(TypedDict):
    """Whether what the job took lay within the predicted interval, None where one of the two is not known."""

    duration_seconds: bool | None
    energy_joules: bool | None
    co2e_grams: bool | None


class Ahead(TypedDict):
    """The carbon intensity that the hours to come were predicted with.

    `forecast_percent` is how much of that time a forecast covered; `links` are what the figures are of, the one for
    most of the time first.
    """

    grams_per_kwh: float
    uncertainty_percent: float
    forecast_percent: float
    links: list[str]


class Made(TypedDict):
    """One prediction of the whole job, made after an epoch, by a rule; and what came of it."""

    after_epoch: int
    epochs: int
    rule: str | None
    duration_seconds: Range | None
    energy_joules: Range | None
    co2e_grams: Range | None
    ahead: Ahead | None
    error_percent: Amounts
    within: Within


class Prediction(TypedDict):
    """All predictions, what came of them, and the signed error of the first.

    `stopped_early`: fewer than the planned epochs were seen, so that the predictions, of all of them, are upper bounds.
    """

    made: list[Made]
    actual: Amounts
    error_percent: Amounts
    planned_epochs: int
    stopped_early: bool


class Budget(TypedDict):
    """What the run was allowed, in joules or grams, and what came of it.

    `exceeded` is None where that is unknown. `used_up_at` is when the sampler noticed it, None if it did not;
    `stopped`: the command was ended for it.
    """

    quantity: Quantity
    limit: float
    action: Literal["warn", "fail", "stop"]
    spent: float | None
    exceeded: bool | None
    used_up_at: float | None
    stopped: bool


class Finding(TypedDict):
    """What a source found out about one piece of hardware, and what the user can do about it."""

    source: str
    subject: str
    status: str
    sentence: str
    remedy: str


class Warned(TypedDict):
    """Something that makes the figures less sure, as a sentence."""

    code: str
    message: str


class Usage(TypedDict):
    """What the command used: CPU seconds of user and system together, and its largest resident set."""

    cpu_seconds: float | None
    max_rss_bytes: int | None


class Share(TypedDict):
    """By what a job's part of its machine's energy was told, by kind of device; None where it was not.

    `method` is "split" where the CPUs' idle floor is known, and `static` tells by what that was shared out. `fraction`
    is the job's energy over the machine's. `known_percent` is the part of the job's life of which the CPU time, the
    memory and the use of GPUs are known: what it used later is not in its share.
    """

    method: Literal["split", "unsplit"]
    cpu: SharedBy | None
    static: Literal["allocated-cpus", "busy-time"] | None
    dram: SharedBy | None
    gpu: SharedBy | None
    fraction: Energy
    known_percent: float | None


class Totals(TypedDict):
    """What the machine, or the job, used in all, and what that caused.

    `static_joules` is the idle floor of the counted devices, `dynamic_joules` the rest; None where no floor of all of
    them is known. `facility_energy_kwh` and CO2e are with PUE.
    """

    energy_kwh: float | None
    static_joules: float | None
    dynamic_joules: float | None
    uncertainty_percent: float | None
    facility_energy_kwh: float | None
    co2e_grams: float | None
    co2e_low_grams: float | None
    co2e_high_grams: float | None


class Scopes(TypedDict):
    """The same figures of both; `job` is None where the job's part of something that counts is not known."""

    node: Totals
    job: Totals | None


class Floor(TypedDict):
    """The machine's idle power, as it was calibrated; `gpu_watts` by device."""

    cpu_watts: float | None
    dram_watts: float | None
    gpu_watts: dict[str, float]
    measured_at: str | None
    seconds: float | None


class Record(TypedDict):
    """The whole document."""

    schema: int
    greenrun: str
    run_id: str
    parent_run_id: str | None
    kind: RunKind
    status: RunStatus
    scope: Scope
    command: list[str] | None
    command_base64: list[str] | None
    exit_code: int | None
    signal: int | None
    started_at: str
    duration_seconds: float | None
    suspended_seconds: float
    host: str | None
    user: str | None
    name: str | None
    job: Job | None
    tags: dict[str, str]
    metrics: dict[str, float | None]
    devices: list[Device]
    energy_joules: Energy
    job_energy_joules: Energy | None
    share: Share | None
    scopes: Scopes
    floor: Floor | None
    energy_kwh: float | None
    uncertainty_percent: float | None
    pue: float
    pue_source: PueSource
    facility_energy_kwh: float | None
    intensity: IntensityUsed
    co2e_grams: float | None
    co2e_low_grams: float | None
    co2e_high_grams: float | None
    epochs: list[Epoch]
    phases: list[Phase]
    prediction: Prediction | None
    budget: Budget | None
    findings: list[Finding]
    gaps: list[Gap]
    warnings: list[Warned]
    usage: Usage


Event = dict[str, Any]
"""An event of the run log, as docs/run-log.md describes it."""
