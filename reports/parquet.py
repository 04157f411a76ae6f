"""Runs as Parquet, with the columns of the CSV and their types: moments are timestamps in UTC, unknown is null.

pyarrow writes it, the format's reference implementation; it is large, so it comes with the extra `tables` alone.
"""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

from greenrun.reports import intervals, tables
from greenrun.reports.formats import CannotTell
from greenrun.reports.life import parse_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenrun.reports.formats import Told
    from greenrun.reports.record import Record
    from greenrun.reports.tables import Cell, Column, Table

_ROWS_AT_ONCE = 10_000  # held in memory as Python's objects, and one row group of the file


def render_runs(runs: Sequence[Told]) -> bytes:
    """Give a row for each run. Raises CannotTell where pyarrow is missing."""
    return b"".join(pieces(tables.of_runs(run.record for run in runs)))


def render_intervals(runs: Sequence[Told], seconds: float) -> bytes:
    """Give a row for each device and interval. Raises CannotTell."""
    return b"".join(pieces(intervals.table(runs, seconds)))


def of_records(records: Iterable[Record]) -> Iterator[bytes]:
    """Give the file of runs, piece by piece. Raises CannotTell."""
    return pieces(tables.of_runs(records))


def pieces(table: Table) -> Iterator[bytes]:
    """Give the file, piece by piece: never more than one row group is held. Raises CannotTell."""
    arrow, parquet = _library("pyarrow"), _library("pyarrow.parquet")
    types = {
        "text": arrow.string(),
        "whole": arrow.int64(),
        "number": arrow.float64(),
        "flag": arrow.bool_(),
        "moment": arrow.timestamp("ms", tz="UTC"),
    }
    schema = arrow.schema([(column.name, types[column.type]) for column in table.columns])
    sink = _Sink()
    writer = parquet.ParquetWriter(arrow.PythonFile(sink, mode="w"), schema, compression="snappy")
    rows = iter(table.rows)
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        columns = zip(table.columns, zip(*some, strict=True), strict=True)
        arrays = [
            arrow.array([_value(cell, column) for cell in cells], types[column.type]) for column, cells in columns
        ]
        writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
        yield sink.take()
    writer.close()
    yield sink.take()


def _value(cell: Cell, column: Column) -> Any:
    if isinstance(cell, str):
        # A lone surrogate, which JSON may hold, is no text.
        return parse_utc(cell) if column.type == "moment" else cell.encode("utf-8", "replace").decode()
    return cell


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise CannotTell(
            "the format parquet needs pyarrow, which is not installed here: pip install 'greenrun[tables]' brings it"
        ) from None


class _Sink:
    """A file that holds only what nobody has taken yet."""

    closed = False

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> int:
        """Take more of the file."""
        held = bytes(data)
        self._held.append(held)
        self._size += len(held)
        return len(held)

    def tell(self) -> int:
        """Give how much has been written in all."""
        return self._size

    def flush(self) -> None:
        """Do nothing: there is nothing behind it."""

    def close(self) -> None:
        """Stay open: the end of the file is still to be taken."""

    def readable(self) -> bool:
        """Tell that it cannot be read."""
        return False

    def writable(self) -> bool:
        """Tell that it can be written."""
        return True

    def seekable(self) -> bool:
        """Tell that it goes only forward."""
        return False

    def take(self) -> bytes:
        """Give what was written since the last time."""
        data = b"".join(self._held)
        self._held.clear()
        return data
