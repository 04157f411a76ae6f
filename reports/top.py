"""Who used how much: the jobs of a cluster summed by user, account or partition. Pure.

A job is charged with its share of its nodes; where that is not known, with all that they drew, and the table says of
how many jobs that is so. What is estimated or partial is told beside the sums that it is in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from greenrun.reports import units
from greenrun.reports.figures import known_sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenrun.reports.jobrecord import JobRecord

By = Literal["user", "account", "partition"]

NOT_KNOWN = "(not known)"
_WIDEST_NAME = 24


class Row(TypedDict):
    """The jobs of one user, account or partition; `name` is None for those of which it is not known.

    `energy_joules` and `co2e_grams` are what the jobs are charged with, `node_energy_joules` and `node_co2e_grams` what
    their nodes drew, and `estimated_joules` the part of the charge behind which there is no meter. Each sum leaves out
    the jobs of which it is not known: `energy_unknown` and `co2e_unknown` count them, `whole_nodes` those that are
    charged with all of their nodes.
    """

    name: str | None
    jobs: int
    partial: int
    whole_nodes: int
    energy_unknown: int
    co2e_unknown: int
    node_hours: float
    gpu_hours: float | None
    energy_joules: float | None
    estimated_joules: float | None
    co2e_grams: float | None
    node_energy_joules: float | None
    node_co2e_grams: float | None


class Charge(NamedTuple):
    """What one job is charged with; `whole_nodes`: its share is not known."""

    joules: float | None
    grams: float | None
    estimated_joules: float | None
    whole_nodes: bool


def charge(record: JobRecord) -> Charge:
    """Give what a job is charged with: its share, or where that is not known all that its nodes drew."""
    share, nodes, estimated = record["job_energy_joules"], record["energy_joules"]["total"], record["estimated_joules"]
    joules = share and share["total"]
    if joules is None:
        return Charge(nodes, record["co2e_grams"], estimated, whole_nodes=nodes is not None)
    part = joules / nodes if nodes else 0.0
    return Charge(joules, record["job_co2e_grams"], None if estimated is None else part * estimated, whole_nodes=False)


def rank(records: Iterable[JobRecord], by: By) -> list[Row]:
    """Sum jobs, the greatest energy first."""
    groups: dict[str | None, list[JobRecord]] = {}
    for record in records:
        names = {"user": record["job"]["User"], "account": record["job"]["Account"]}
        groups.setdefault(names.get(by, record["job"]["Partition"]), []).append(record)
    rows = [total(group, name) for name, group in groups.items()]
    return sorted(rows, key=lambda row: (-(row["energy_joules"] or 0.0), row["name"] or ""))


def total(records: Sequence[JobRecord], name: str | None = None) -> Row:
    """Sum jobs to one row."""
    charges = [charge(record) for record in records]
    return {
        "name": name,
        "jobs": len(records),
        "partial": sum(record["status"] == "partial" for record in records),
        "whole_nodes": sum(charged.whole_nodes for charged in charges),
        "energy_unknown": sum(charged.joules is None for charged in charges),
        "co2e_unknown": sum(charged.grams is None for charged in charges),
        "node_hours": math.fsum(record["node_hours"] for record in records),
        "gpu_hours": known_sum(record["gpu_hours"] for record in records),
        "energy_joules": known_sum(charged.joules for charged in charges),
        "estimated_joules": known_sum(charged.estimated_joules for charged in charges),
        "co2e_grams": known_sum(charged.grams for charged in charges),
        "node_energy_joules": known_sum(record["energy_joules"]["total"] for record in records),
        "node_co2e_grams": known_sum(record["co2e_grams"] for record in records),
    }


def render(rows: Sequence[Row], of_all: Row, by: By) -> str:
    """Give the table, one line for each row and one for all, and below it what its sums are not sure of."""
    cells: list[tuple[str, ...]] = [(by, "jobs", "partial", "node h", "GPU h", "energy", "CO2e", "estimated")]
    cells += [_cells(row) for row in rows]
    if len(rows) > 1:
        cells.append(("all", *_cells(of_all)[1:]))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    return "\n".join([*(line.rstrip() for line in lines), *_notes(of_all)]).replace(units.NO_BREAK, " ") + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    joules, grams, estimated = row["energy_joules"], row["co2e_grams"], row["estimated_joules"]
    return (
        NOT_KNOWN if row["name"] is None else _short(row["name"]),
        str(row["jobs"]),
        str(row["partial"] or "-"),
        units.digits(row["node_hours"], 3),
        "?" if row["gpu_hours"] is None else units.digits(row["gpu_hours"], 3),
        "?" if joules is None else units.energy(joules),
        "?" if grams is None else units.mass(grams),
        units.percent(100.0 * estimated / joules) if estimated and joules else "-",
    )


def _short(name: str) -> str:
    """Give a name that fits and moves no cursor: it may have been chosen to do so."""
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain if len(plain) <= _WIDEST_NAME else plain[: _WIDEST_NAME - 3] + "..."


def _notes(row: Row) -> Iterator[str]:
    if row["whole_nodes"]:
        yield f"{_jobs(row['whole_nodes'])} charged with all that the nodes drew: the share of them is not known."
    if row["energy_unknown"]:
        yield f"{_jobs(row['energy_unknown'])} in no energy: nothing was measured or estimated."
    if row["co2e_unknown"]:
        yield f"{_jobs(row['co2e_unknown'])} in no CO2e: no carbon intensity is known."


def _jobs(number: int) -> str:
    return f"{number} job{' is' if number == 1 else 's are'}"
