"""Whose the figures of a record are: the whole machine's while the job ran, or the job's part of it. Pure.

Asked for or not, both are in the record; the scope says which of them the single figures are (energy in kWh,
uncertainty, CO2e, epochs, phases, budget, prediction). "auto" is the job's where it was given a part of the machine and
its part is known, else the machine's: that is then measured and no share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports.energy import device_entries, measure
from greenrun.reports.job import job
from greenrun.reports.life import kind
from greenrun.sampler import attribution

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.energy import Measured
    from greenrun.reports.life import Life
    from greenrun.reports.record import Device, Energy, Event, Floor, Record, Scope, Warned
    from greenrun.reports.share import Shared

NEARLY_ALL_PERCENT = 99.0
"""From here on what is not known of a share is between two samples."""


class Chosen(NamedTuple):
    """Whose the single figures are, what there is to say of that, and whether a part of the job's life is in none."""

    scope: Scope
    warnings: list[Warned]
    is_partial: bool = False


def chosen(events: Sequence[Event], shared: Shared | None, asked: str | None) -> Chosen:
    """Choose between node and job; `asked` goes before what the log says, and a log that says nothing is of before."""
    told = asked or (events[0].get("config") or {}).get("scope") or "node"
    if told == "node" or shared is None:
        return Chosen("node", [])
    is_known = shared.energy_joules["total"] is not None
    if not is_known and told == "job":
        sentence = (
            f"The job's part of the energy was asked for and is not known, so all is the machine's: {_why(shared)}."
        )
        return Chosen("node", [{"code": "scope", "message": sentence}])
    if not is_known or (told == "auto" and not is_given_a_part(events)):
        return Chosen("node", [])
    percent = shared.share["known_percent"]
    if percent is None or percent >= NEARLY_ALL_PERCENT:
        return Chosen("job", [])
    sentence = (
        f"What the job used is known of {percent:.0f} % of its time; what it used in the rest is not in its share."
    )
    return Chosen("job", [{"code": "scope", "message": sentence}], is_partial=True)


def is_given_a_part(events: Sequence[Event]) -> bool:
    """Tell whether the job was given a part of the machine, or has not all of its GPUs.

    A GPU on which the job was not seen was not kept from it, and is known to be idle only when all is over.
    """
    gpus = [entry for entry in device_entries(events) if entry["kind"] == "gpu"]
    shared = any(entry.get("shared") for entry in gpus)
    told = {entry["id"]: entry.get("of_job") for event in events for entry in _first_told(event)}
    whose = [(told.get(entry["id"]), entry.get("job_part")) for entry in gpus]
    return shared or attribution.has_a_part(events[0].get("allocated"), whose)


def _first_told(event: Event) -> Sequence[Event]:
    return event.get("devices") or () if event["event"] in ("start", "device") else ()


def _why(shared: Shared) -> str:
    """Say what is missing, the first of it."""
    if shared.stands_for_ranks:
        return "the record stands for several ranks, and of the others the CPU time was not seen"
    if shared.share["cpu"] is None and shared.energy_joules["cpu"] is None:
        return "no CPU time of the job was seen while a processor was measured"
    missing = {
        "dram": "neither how much memory it was given nor how much it used was seen",
        "gpu": "a GPU may or may not have been the job's, or others used it too",
    }
    for of, sentence in missing.items():
        device = next((one for one in shared.devices if one.entry["kind"] == of and one.entry["counted"]), None)
        if device is not None and device.energy_joules is None:
            return sentence
    return "something that was measured is of the whole machine and cannot be shared out"


def devices_of(scope: Scope, devices: list[Measured], shared: Shared | None) -> list[Measured]:
    """Give the devices that the figures of a scope are summed from."""
    return devices if scope == "node" or shared is None else shared.devices


def energy(scope: Scope, node_joules: Energy, shared: Shared | None) -> Energy:
    """Give the energy by kind of a scope."""
    return node_joules if scope == "node" or shared is None else shared.energy_joules


def charged(events: Sequence[Event], lived: Life | None, record: Record) -> list[Measured]:
    """Give the devices over time that a record's figures are of."""
    devices = measure(events, lived)
    if record["scope"] == "node" or lived is None:
        return devices
    from greenrun.reports.share import share

    belongs_to = job(events[0].get("environment") or {}, None if kind(events) == "job" else events[0].get("user"))
    ours = share(events, lived, devices, belongs_to, record["energy_joules"]).devices
    return [device for device in ours if device.entry.get("of_job") is not False]


def floor(start: Event) -> Floor | None:
    """Give the machine's idle power that was known when the run began."""
    told = start.get("floor")
    if not told:
        return None
    return {
        "cpu_watts": told.get("cpu_watts"),
        "dram_watts": told.get("dram_watts"),
        "gpu_watts": dict(told.get("gpu_watts") or {}),
        "measured_at": told.get("measured_at"),
        "seconds": told.get("seconds"),
    }


# --- for those who tell a record


def energy_of(record: Record) -> Energy:
    """Give the energy by kind that the record's figures are of. A record from before scopes is the machine's."""
    joules = record["job_energy_joules"] if is_of_job(record) else None
    return record["energy_joules"] if joules is None else joules


def is_of_job(record: Record) -> bool:
    """Tell whether a record's figures are those of a job's part of its machine."""
    return record.get("scope") == "job"


def devices_in(record: Record) -> list[Device]:
    """Give the devices as the record's figures hold them: of a job's its parts, without what is another's."""
    if not is_of_job(record):
        return record["devices"]
    return [_of_job(device) for device in record["devices"] if device["of_job"] is not False]


def _of_job(device: Device) -> Device:
    return {
        **device,
        "energy_joules": device["job_energy_joules"] if device["counted"] else device["energy_joules"],
        "uncertainty_percent": device["job_uncertainty_percent"]
        if device["counted"]
        else device["uncertainty_percent"],
        "method": device["job_method"] or device["method"],
    }
