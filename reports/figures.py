"""What nodes used, summed over records that share no moment of a node: energy, hours and CO2e. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from greenrun.reports.carbon import JOULES_PER_KWH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenrun.intensity.model import Basis
    from greenrun.reports.jobrecord import Figures
    from greenrun.reports.record import Energy, PueSource, Record, Totals

Value = TypeVar("Value")

_SECONDS_PER_HOUR = 3600.0


def figures(records: Sequence[Record]) -> Figures:
    """Sum what records tell that share no moment of a node."""
    joules = _sum([record["energy_joules"] for record in records])
    total = joules["total"]
    kwh = None if total is None else total / JOULES_PER_KWH
    facility_kwh = known_sum(_node(record)["facility_energy_kwh"] for record in records)
    measured = [record for record in records if record["energy_joules"]["total"] is not None]
    grams = _whole_sum([_node(record)["co2e_grams"] for record in measured])
    low_grams, high_grams = _range(grams, measured)
    pue_sources: list[PueSource] = [record["pue_source"] for record in records]
    bases: list[Basis | None] = [record["intensity"]["basis"] for record in records]
    return {
        "node_hours": math.fsum((record["duration_seconds"] or 0.0) for record in records) / _SECONDS_PER_HOUR,
        "gpu_hours": _gpu_hours(records),
        "energy_joules": joules,
        "job_energy_joules": _share_sum(measured),
        "energy_kwh": kwh,
        "uncertainty_percent": 100.0 * _half_width(measured, in_grams=False) / total if total else None,
        "estimated_joules": None if total is None else math.fsum(_estimated_joules(measured)),
        "pue": _common([record["pue"] for record in records]),
        "pue_source": _common(pue_sources),
        "facility_energy_kwh": facility_kwh,
        "grams_per_kwh": None if grams is None or not facility_kwh else grams / facility_kwh,
        "basis": _common(bases),
        "intensity_source": "; ".join(
            dict.fromkeys(filter(None, (record["intensity"]["source"] for record in records)))
        )
        or None,
        "co2e_grams": grams,
        "co2e_low_grams": low_grams,
        "co2e_high_grams": high_grams,
        "job_co2e_grams": _whole_sum([_job_grams(record) for record in measured]),
    }


def _sum(energies: Sequence[Energy]) -> Energy:
    """Sum joules by kind; a kind that no record knows is unknown."""
    return {
        "cpu": known_sum(energy["cpu"] for energy in energies),
        "dram": known_sum(energy["dram"] for energy in energies),
        "gpu": known_sum(energy["gpu"] for energy in energies),
        "other": known_sum(energy["other"] for energy in energies),
        "total": known_sum(energy["total"] for energy in energies),
    }


def _share_sum(records: Sequence[Record]) -> Energy | None:
    """Sum the job's shares; of a kind that a node has, each share has to be known. None where none of all is."""
    pairs = [(record["energy_joules"], record["job_energy_joules"]) for record in records]

    joules: Energy = {
        "cpu": _whole_sum([share and share["cpu"] for energy, share in pairs if energy["cpu"] is not None]),
        "dram": _whole_sum([share and share["dram"] for energy, share in pairs if energy["dram"] is not None]),
        "gpu": _whole_sum([share and share["gpu"] for energy, share in pairs if energy["gpu"] is not None]),
        "other": _whole_sum([share and share["other"] for energy, share in pairs if energy["other"] is not None]),
        "total": _whole_sum([share and share["total"] for energy, share in pairs if energy["total"] is not None]),
    }
    return joules if any(value is not None for value in joules.values()) else None


def _half_widths(record: Record) -> Iterator[tuple[str, float]]:
    """Give method and half-width in joules of each device that is in the sums."""
    for device in record["devices"]:
        if device["counted"] and device["energy_joules"] is not None:
            yield device["method"], device["energy_joules"] * (device["uncertainty_percent"] or 0.0) / 100.0


def _half_width(records: Sequence[Record], in_grams: bool) -> float:
    """Give the half-width of the records' sum: within a method the errors add, methods know nothing of each other."""
    by_method: dict[str, float] = {}
    for record in records:
        factor = record["pue"] * (record["intensity"]["grams_per_kwh"] or 0.0) / JOULES_PER_KWH if in_grams else 1.0
        for method, joules in _half_widths(record):
            by_method[method] = by_method.get(method, 0.0) + factor * joules
    return math.hypot(*by_method.values())


def _range(grams: float | None, records: Sequence[Record]) -> tuple[float | None, float | None]:
    """Give the ends of the 95 % interval; nodes draw from one grid, so what is wrong with its figures adds up."""
    if grams is None:
        return None, None
    of_intensity = math.fsum(
        (_node(record)["co2e_grams"] or 0.0) * (record["intensity"]["uncertainty_percent"] or 0.0) / 100.0
        for record in records
    )
    half_width_grams = math.hypot(_half_width(records, in_grams=True), of_intensity)
    return max(0.0, grams - half_width_grams), grams + half_width_grams


def _estimated_joules(records: Sequence[Record]) -> Iterator[float]:
    for record in records:
        for device in record["devices"]:
            if device["counted"] and device["method"] == "estimate":
                yield device["energy_joules"] or 0.0


def _gpu_hours(records: Sequence[Record]) -> float | None:
    numbers = [(gpus(record), record["duration_seconds"] or 0.0) for record in records]
    return _whole_sum([None if number is None else number * seconds / _SECONDS_PER_HOUR for number, seconds in numbers])


def _job_grams(record: Record) -> float | None:
    """Give what the job's share caused, hour by hour."""
    totals = record["scopes"]["job"]
    return totals and totals["co2e_grams"]


def _node(record: Record) -> Totals:
    """Give the figures of the whole node, whatever the record's own are of."""
    return record["scopes"]["node"]


def known_sum(values: Iterable[float | None]) -> float | None:
    """Sum what is known, None if nothing is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _whole_sum(values: Sequence[float | None]) -> float | None:
    """Sum the values, None if one of them is unknown: a part would pass for the whole."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if known and len(known) == len(values) else None


def _common(values: Sequence[Value | None]) -> Value | None:
    """Give the value that all share, None if they differ."""
    return values[0] if values and all(value == values[0] for value in values) else None


def gpus(record: Record) -> int | None:
    """Give how many of the node's GPUs were the job's, None where that is not known."""
    job = record["job"]
    if job is not None and job["GPUsHere"] is not None:
        return len(job["GPUsHere"])
    of_job = [device["of_job"] for device in record["devices"] if device["kind"] == "gpu"]
    return None if None in of_job else sum(map(bool, of_job))
