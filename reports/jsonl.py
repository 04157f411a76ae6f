"""Runs as JSON Lines: each run's whole record in one line, as summary.json has it; intervals as small objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from greenrun.reports import intervals, jsonfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenrun.reports.formats import Told
    from greenrun.reports.record import Record
    from greenrun.reports.tables import Table


def render_runs(runs: Sequence[Told]) -> str:
    """Give a line for each run. Raises ValueError where a number is not finite."""
    return "".join(of_records(run.record for run in runs))


def render_intervals(runs: Sequence[Told], seconds: float) -> str:
    """Give a line for each device and interval. Raises CannotTell."""
    return "".join(pieces(intervals.table(runs, seconds)))


def of_records(records: Iterable[Record]) -> Iterator[str]:
    """Give the lines of runs, one after the other."""
    return map(_line, records)


def pieces(table: Table) -> Iterator[str]:
    """Give a line for each row, with the columns' names as keys."""
    names = [column.name for column in table.columns]
    return (_line(dict(zip(names, row, strict=True))) for row in table.rows)


def _line(document: object) -> str:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.translate(jsonfile.ESCAPED) + "\n"
