r"""Runs as OpenMetrics text, which older Prometheus parsers (node_exporter's textfile collector) read as well.

That is why there are only gauges, and neither timestamps nor the types that came with OpenMetrics. Each name ends in
its unit, what is unknown has no sample, and each sample says whose it is: run_id, name and host.

By the interval it is another document: counters of each device with timestamps, which `promtool tsdb create-blocks-from
openmetrics` takes as history. The textfile collector refuses timestamps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports import scopes, tables
from greenrun.reports.intervals import intervals, refuse_too_many
from greenrun.reports.life import parse_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from greenrun.reports.formats import Told
    from greenrun.reports.record import Record
    from greenrun.reports.tables import Table

_Labels = dict[str, str]
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class _Family(NamedTuple):
    name: str
    unit: str
    text: str


class _Sample(NamedTuple):
    labels: _Labels
    value: float | int | bool | None


_INFO = _Family("greenrun_run_info", "", "What ran, and with which version it was measured; always 1.")
_STARTED = _Family("greenrun_run_started_timestamp_seconds", "seconds", "When the command was spawned.")
_ENDED_WELL = _Family("greenrun_run_complete", "", "1: the record is complete; 0: partial, or the command never ran.")
_ESTIMATED = _Family("greenrun_run_estimated", "", "1: a part of the energy is estimated; 0: all of it was measured.")
_ENERGY = _Family("greenrun_run_energy_joules", "joules", "Energy of the run by its scope, without PUE.")
_DEVICE = _Family("greenrun_run_device_energy_joules", "joules", "Energy of one device while the command ran.")
_METRIC = _Family("greenrun_run_metric", "", "The last value of a metric that the job told.")
_NUMBERS = (
    (_Family("greenrun_run_duration_seconds", "seconds", "From spawn to exit."), ("duration_seconds",)),
    (_Family("greenrun_run_exit_code", "", "How the command ended."), ("exit_code",)),
    (
        _Family("greenrun_run_node_energy_joules", "joules", "Energy of the whole machine meanwhile, without PUE."),
        ("energy_joules", "total"),
    ),
    (
        _Family("greenrun_run_job_energy_joules", "joules", "The job's part of it, without PUE."),
        ("job_energy_joules", "total"),
    ),
    (
        _Family(
            "greenrun_run_uncertainty_percent", "percent", "Half-width of the energy's 95 % interval, of the energy."
        ),
        ("uncertainty_percent",),
    ),
    (
        _Family("greenrun_run_pue_ratio", "ratio", "Power usage effectiveness that the emissions were told with."),
        ("pue",),
    ),
    (
        _Family("greenrun_run_intensity_grams_per_kwh", "grams_per_kwh", "Grams of CO2e per kWh, weighted by energy."),
        ("intensity", "grams_per_kwh"),
    ),
    (_Family("greenrun_run_co2e_grams", "grams", "Emissions, with PUE."), ("co2e_grams",)),
    (_Family("greenrun_run_co2e_low_grams", "grams", "Low end of their 95 % interval."), ("co2e_low_grams",)),
    (_Family("greenrun_run_co2e_high_grams", "grams", "High end of their 95 % interval."), ("co2e_high_grams",)),
)


def render_runs(runs: Sequence[Told]) -> str:
    """Give the samples of all runs, family by family."""
    records = [run.record for run in runs]
    return "".join(_document(_families(records)))


def render_intervals(runs: Sequence[Told], seconds: float) -> str:
    """Give each device's cumulative energy at the end of each interval, with timestamps. Raises CannotTell."""
    refuse_too_many(runs, seconds)
    energy = _DEVICE.name
    lines = [f"# TYPE {energy} counter\n# UNIT {energy} joules\n# HELP {energy} {_DEVICE.text}\n"]
    for run in runs:
        lines += _counted(run, seconds)
    return "".join((*lines, "# EOF\n"))


def of_groups(by: str, table: Table) -> Iterator[str]:
    """Give the sums of many runs: a row for each group, its name in the first column, numbers in the others."""
    rows = list(table.rows)
    families = (
        (
            _Family(f"greenrun_sum_{column.name}", column.name.rpartition("_")[2], f"Of all runs, by {by}."),
            [_Sample({"by": by, "group": str(row[0])}, _number(row[at])) for row in rows],
        )
        for at, column in enumerate(table.columns)
        if at
    )
    return _document(families)


def _document(families: Iterable[tuple[_Family, Sequence[_Sample]]]) -> Iterator[str]:
    for family, samples in families:
        known = [sample for sample in samples if sample.value is not None]
        if known:
            yield f"# TYPE {family.name} gauge\n"
            if family.unit and family.name.endswith(f"_{family.unit}"):
                yield f"# UNIT {family.name} {family.unit}\n"
            yield f"# HELP {family.name} {family.text}\n"
            for sample in known:
                yield f"{family.name}{_labels(sample.labels)} {_value(sample.value)}\n"
    yield "# EOF\n"


def _families(records: Sequence[Record]) -> Iterator[tuple[_Family, list[_Sample]]]:
    yield _INFO, [_Sample(_about(record), 1) for record in records]
    yield _STARTED, [_Sample(_whose(record), parse_utc(record["started_at"]).timestamp()) for record in records]
    yield _ENDED_WELL, [_Sample(_whose(record), record["status"] == "complete") for record in records]
    yield _ESTIMATED, [_Sample(_whose(record), tables.is_estimated(record)) for record in records]
    yield _ENERGY, [_Sample(_whose(record), scopes.energy_of(record)["total"]) for record in records]
    for family, path in _NUMBERS:
        yield family, [_Sample(_whose(record), _at(record, path)) for record in records]
    yield (
        _DEVICE,
        [
            _Sample(_whose(record) | _of_device(device), device["energy_joules"])
            for record in records
            for device in scopes.devices_in(record)
        ],
    )
    yield (
        _METRIC,
        [
            _Sample(_whose(record) | {"metric": name}, value)
            for record in records
            for name, value in record["metrics"].items()
        ],
    )


def _whose(record: Record) -> _Labels:
    return {"run_id": record["run_id"], "name": record["name"] or "", "host": record["host"] or ""}


def _about(record: Record) -> _Labels:
    return {
        **_whose(record),
        "user": record["user"] or "",
        "command": tables.command_line(record) or "",
        "job_id": tables.job_id(record) or "",
        "status": record["status"],
        "scope": record["scope"],
        "greenrun": record["greenrun"],
    }


def _of_device(device: Mapping[str, object]) -> _Labels:
    return {
        "device": str(device["id"]),
        "kind": str(device["kind"]),
        "device_name": str(device["name"]),
        "method": str(device["method"]),
        "counted": str(device["counted"]).lower(),
    }


def _counted(run: Told, seconds: float) -> list[str]:
    """Give the lines of one run: a device's samples stand together, as the format wants it."""
    totals: dict[str, float] = {}
    lines: dict[str, list[str]] = {}
    for interval in intervals(run, seconds):
        if interval.energy_joules is not None:
            device = interval.device
            total = totals[device["id"]] = totals.get(device["id"], 0.0) + interval.energy_joules
            labels = _labels(_whose(run.record) | _of_device(device))
            lines.setdefault(device["id"], []).append(
                f"{_DEVICE.name}_total{labels} {_value(total)} {interval.to_utc.timestamp():.3f}\n"
            )
    return [line for of_device in lines.values() for line in of_device]


def _at(record: Record, path: tuple[str, ...]) -> float | int | None:
    value: object = record
    for name in path:
        value = value[name] if isinstance(value, dict) else None
    return _number(value)


def _number(value: object) -> float | int | None:
    return value if isinstance(value, (int, float)) else None


def _labels(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{_text(value)}"' for name, value in labels.items()) + "}"


def _text(value: str) -> str:
    """Escape what ends a value or a line; the rest of the control characters is nobody's name."""
    clean = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in value)
    return clean.translate(_ESCAPED)


def _value(value: float | int | bool | None) -> str:
    return repr(int(value) if isinstance(value, bool) else value)
