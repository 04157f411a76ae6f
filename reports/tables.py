"""Runs as the rows of a table that programs read: a column has one unit, one type and one meaning. Pure.

Text comes from outside and is handed on as it is: each format escapes it for its own readers.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from greenrun.reports import scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from greenrun.reports.record import Record

Type = Literal["text", "whole", "number", "flag", "moment"]
Cell = str | int | float | bool | None
"""None where a value is unknown; a moment is ISO 8601 in UTC."""


_TYPES: dict[Type, tuple[type, ...]] = {
    "text": (str,),
    "whole": (int,),
    "number": (int, float),
    "flag": (bool,),
    "moment": (str,),
}


class Column(NamedTuple):
    """The name has the unit in it."""

    name: str
    type: Type


class Table(NamedTuple):
    """`rows` may be read only once, and has a cell for each column."""

    columns: tuple[Column, ...]
    rows: Iterable[tuple[Cell, ...]]


def of_runs(records: Iterable[Record]) -> Table:
    """Give one row for each run."""
    return Table(tuple(column for column, _ in _RUN), map(row, records))


def row(record: Record) -> tuple[Cell, ...]:
    """Give the row of a run. Raises TypeError or ValueError for a cell that is not of its column's type."""
    return tuple(_checked(cell(record), column) for column, cell in _RUN)


def _checked(cell: Cell, column: Column) -> Cell:
    wanted, is_flag = _TYPES[column.type], isinstance(cell, bool)
    if cell is None or (isinstance(cell, wanted) and is_flag == (column.type == "flag")):
        if column.type == "whole" and cell is not None and not -(1 << 63) <= float(cell) < 1 << 63:
            raise ValueError(f"{column.name} is {cell!r}, which has more than 64 bits")
        return cell
    raise TypeError(f"{column.name} is {cell!r}")


def command_line(record: Record) -> str | None:
    """Give the command as a shell would take it, None where it was not recorded."""
    command = record["command"]
    return None if command is None else shlex.join(command)


def is_estimated(record: Record) -> bool:
    """Tell whether a part of the energy was worked out from load and tables."""
    return any(device["counted"] and device["method"] == "estimate" for device in scopes.devices_in(record))


def gpu_models(record: Record) -> Counter[str]:
    """Give how many GPUs of each model there were."""
    return Counter(
        device["name"] for device in scopes.devices_in(record) if device["kind"] == "gpu" and device["counted"]
    )


def job_id(record: Record) -> str | None:
    """Give the scheduler's number for the job, as its own tools print it; None without a scheduler."""
    job: dict[str, Any] = dict(record["job"] or {})
    return next((str(job[name]) for name in _JOB_IDS if job.get(name)), None)


# A record has the scheduler's fields under sacct's names, or in an older version the variables themselves.
_JOB_IDS = ("JobID", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "OAR_JOB_ID")


def _gpus(record: Record) -> str | None:
    return " + ".join(f"{count} x {name}" for name, count in gpu_models(record).items()) or None


def _job_joules(record: Record) -> float | None:
    joules = record["job_energy_joules"]
    return joules and joules["total"]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


_RUN: tuple[tuple[Column, Callable[[Record], Cell]], ...] = (
    (Column("run_id", "text"), lambda run: run["run_id"]),
    (Column("parent_run_id", "text"), lambda run: run["parent_run_id"]),
    (Column("kind", "text"), lambda run: run["kind"]),
    (Column("status", "text"), lambda run: run["status"]),
    (Column("name", "text"), lambda run: run["name"]),
    (Column("command", "text"), command_line),
    (Column("host", "text"), lambda run: run["host"]),
    (Column("user", "text"), lambda run: run["user"]),
    (Column("job_id", "text"), job_id),
    (Column("started_at", "moment"), lambda run: run["started_at"]),
    (Column("duration_seconds", "number"), lambda run: run["duration_seconds"]),
    (Column("suspended_seconds", "number"), lambda run: run["suspended_seconds"]),
    (Column("exit_code", "whole"), lambda run: run["exit_code"]),
    (Column("signal", "whole"), lambda run: run["signal"]),
    (Column("energy_joules", "number"), lambda run: scopes.energy_of(run)["total"]),
    (Column("cpu_energy_joules", "number"), lambda run: scopes.energy_of(run)["cpu"]),
    (Column("dram_energy_joules", "number"), lambda run: scopes.energy_of(run)["dram"]),
    (Column("gpu_energy_joules", "number"), lambda run: scopes.energy_of(run)["gpu"]),
    (Column("other_energy_joules", "number"), lambda run: scopes.energy_of(run)["other"]),
    (Column("scope", "text"), lambda run: run["scope"]),
    (Column("node_energy_joules", "number"), lambda run: run["energy_joules"]["total"]),
    (Column("job_energy_joules", "number"), _job_joules),
    (Column("energy_kwh", "number"), lambda run: run["energy_kwh"]),
    (Column("uncertainty_percent", "number"), lambda run: run["uncertainty_percent"]),
    (Column("estimated", "flag"), is_estimated),
    (Column("pue", "number"), lambda run: run["pue"]),
    (Column("pue_source", "text"), lambda run: run["pue_source"]),
    (Column("facility_energy_kwh", "number"), lambda run: run["facility_energy_kwh"]),
    (Column("grams_per_kwh", "number"), lambda run: run["intensity"]["grams_per_kwh"]),
    (Column("intensity_uncertainty_percent", "number"), lambda run: run["intensity"]["uncertainty_percent"]),
    (Column("intensity_basis", "text"), lambda run: run["intensity"]["basis"]),
    (Column("intensity_source", "text"), lambda run: run["intensity"]["source"]),
    (Column("zone", "text"), lambda run: run["intensity"]["zone"]),
    (Column("country", "text"), lambda run: run["intensity"]["country"]),
    (Column("co2e_grams", "number"), lambda run: run["co2e_grams"]),
    (Column("co2e_low_grams", "number"), lambda run: run["co2e_low_grams"]),
    (Column("co2e_high_grams", "number"), lambda run: run["co2e_high_grams"]),
    (Column("gpus", "text"), _gpus),
    (Column("epochs", "whole"), lambda run: len(run["epochs"])),
    (Column("warnings", "whole"), lambda run: len(run["warnings"])),
    (Column("cpu_seconds", "number"), lambda run: run["usage"]["cpu_seconds"]),
    (Column("max_rss_bytes", "whole"), lambda run: run["usage"]["max_rss_bytes"]),
    (Column("metrics", "text"), lambda run: _json(run["metrics"])),
    (Column("tags", "text"), lambda run: _json(run["tags"])),
    (Column("greenrun", "text"), lambda run: run["greenrun"]),
)
