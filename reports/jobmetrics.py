"""What runs cost as metrics that are compared from one CI job to the next, in OpenMetrics text.

A sample has the run's name as its label and nothing that differs each time, or no two jobs would have a metric in
common. One file takes several runs of one job: of each name the newest. The label is spelt so that readers who take a
line for words of a shell, as GitLab does, read it too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from greenrun.reports import scopes, tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenrun.reports.record import Record


class NotOurs(Exception):  # noqa: N818  the name is the sentence's predicate
    """A text that was not written by `merged`."""


class _Family(NamedTuple):
    name: str
    unit: str
    text: str
    of: Callable[[Record], float | bool | None]


_FAMILIES = (
    _Family("duration_seconds", "seconds", "From spawn to exit.", lambda run: run["duration_seconds"]),
    _Family("energy_joules", "joules", "Energy without PUE.", lambda run: scopes.energy_of(run)["total"]),
    _Family(
        "uncertainty_percent",
        "percent",
        "Half-width of the energy's 95 % interval.",
        lambda run: run["uncertainty_percent"],
    ),
    _Family("estimated", "", "1: a part of the energy is estimated; 0: all of it was measured.", tables.is_estimated),
    _Family("co2e_grams", "grams", "Emissions, with PUE.", lambda run: run["co2e_grams"]),
    _Family("co2e_low_grams", "grams", "Low end of their 95 % interval.", lambda run: run["co2e_low_grams"]),
    _Family("co2e_high_grams", "grams", "High end of their 95 % interval.", lambda run: run["co2e_high_grams"]),
    _Family(
        "budget_exceeded",
        "",
        "1: the run went over its budget.",
        lambda run: run["budget"] and run["budget"]["exceeded"],
    ),
)
_SAMPLE = re.compile(r'greenrun_(\w+)\{name="([\w.-]+)"\} ([-+.\de]+)', re.ASCII)
_NOT_PLAIN = re.compile(r"[^\w.-]+", re.ASCII)


def merged(before: str, record: Record) -> str:
    """Give the metrics of a run, and those of other names in the text `before`. Raises NotOurs for another's text."""
    own = _NOT_PLAIN.sub("-", record["name"] or "").strip("-") or "run"
    samples: dict[tuple[str, str], str] = {}
    for line in before.splitlines():
        told = _SAMPLE.fullmatch(line)
        if told is not None and told[2] != own:
            samples[told[1], told[2]] = told[3]
        elif told is None and line and not line.startswith("# "):
            raise NotOurs
    for family in _FAMILIES:
        value = family.of(record)
        if value is not None:
            samples[family.name, own] = f"{int(value)}" if isinstance(value, bool) else f"{value:.6g}"
    lines: list[str] = []
    for family in _FAMILIES:
        values = [(name, value) for (which, name), value in samples.items() if which == family.name]
        if values:
            lines.append(f"# TYPE greenrun_{family.name} gauge")
            lines += [f"# UNIT greenrun_{family.name} {family.unit}"] if family.unit else []
            lines.append(f"# HELP greenrun_{family.name} {family.text}")
            lines += [f'greenrun_{family.name}{{name="{name}"}} {value}' for name, value in values]
    return "\n".join((*lines, "# EOF")) + "\n"
