r"""Runs as CSV (RFC 4180): a row for each, in UTF-8, lines ended by CR LF, empty cells for what is unknown.

Spreadsheets take a cell that begins with = + - @, a tab or a carriage return for a formula, and a formula may start
programs or send cells elsewhere. Text comes from outside (a run's name, a command), so where it begins like that an
apostrophe is put before it, which a spreadsheet takes for "this is text". Numbers are left as they are. What would
command a terminal that the table is shown on is replaced.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from greenrun.reports import intervals, tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenrun.reports.formats import Told
    from greenrun.reports.record import Record
    from greenrun.reports.tables import Cell, Table

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide ones too

# All control characters but those that text has: tab and line ends.
_COMMANDS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"}


def render_runs(runs: Sequence[Told]) -> str:
    """Give a row for each run."""
    return "".join(pieces(tables.of_runs(run.record for run in runs)))


def render_intervals(runs: Sequence[Told], seconds: float) -> str:
    """Give a row for each device and interval. Raises CannotTell."""
    return "".join(pieces(intervals.table(runs, seconds)))


def of_records(records: Iterable[Record]) -> Iterator[str]:
    """Give a row for each run, one after the other."""
    return pieces(tables.of_runs(records))


def pieces(table: Table) -> Iterator[str]:
    """Give the lines, the header first."""
    yield _line([column.name for column in table.columns])
    for row in table.rows:
        yield _line([_cell(cell) for cell in row])


def _line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    return guarded(cell) if isinstance(cell, str) else repr(cell)


def guarded(text: str) -> str:
    """Give text that no spreadsheet takes for a formula, and no terminal for a command."""
    text = text.translate(_COMMANDS)
    return f"'{text}" if text.startswith(_BEGINS_A_FORMULA) else text
