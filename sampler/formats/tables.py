"""Tables with a row an epoch, which mean something only after their header.

- fastai: `epoch  train_loss  valid_loss  mae  time`, rows from 0 that are printed when the epoch is over. The header
  comes before the first epoch. skorch and many scripts of people's own print such tables too, most from 1.
- Ultralytics: `Epoch  GPU_mem  box_loss ...` before each epoch, then a row that is drawn again with each batch and
  begins `3/100  2.1G`. YOLOv5 and its kin, whose headers have other columns, count from 0 to 99 of the same hundred.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from greenrun.sampler.formats.sighting import Sighting
from greenrun.sampler.formats.words import share_of_bar

_HEADER = re.compile(
    rb"[^0-9A-Za-z]{0,40}epoch(?=[\s|,;]{1,40}[A-Za-z_])(?P<columns>[\w\s|,;.()/@%-]{3,1000})", re.IGNORECASE
)
_COLUMN_ENDS = re.compile(rb"[\s|,;]+")
_APART = re.compile(rb"[|,;\t]|  ")
_FIGURE = rb"(?:[-+]?[0-9]{1,20}\.[0-9]{1,30}(?:e[-+]?[0-9]{1,3})?|[-+]?[0-9]e[-+]?[0-9]{1,3}|nan|inf|None|#na#)"
_IS_FIGURE = re.compile(_FIGURE)
_BEFORE = rb"(?:\x1b\[[0-9;?]{0,20}[A-Za-z]|[ \t|\x08])*"
_ROWS = re.compile(rb"\n" + _BEFORE + rb"[0-9]{1,7}(?:[ \t|,;]|\x1b\[[0-9;]{0,20}m)+" + _FIGURE)
_OF_ROWS = re.compile(rb"\n" + _BEFORE + rb"[0-9]{1,7}/[0-9]")
_OF_ROW = re.compile(
    rb"\s*(?P<n>[0-9]{1,7})/(?P<of>[0-9]{1,7})\s+[0-9.]{1,9}[GMK]?B?\s+(?:[0-9.-]|nan|inf)(?P<rest>.*)", re.DOTALL
)


class _Table(NamedTuple):
    """A header that was seen: the kind of table, how many columns it has, and what it calls the first epoch."""

    kind: Literal["table", "fastai", "Ultralytics"]
    columns: int
    first: Literal[0, 1] | None


class Tables:
    """The tables of one stream. `rows` finds the lines that may be rows of the present one, None without one."""

    def __init__(self) -> None:
        self._table: _Table | None = None
        self.rows: re.Pattern[bytes] | None = None

    def sight(self, line: bytes) -> Sighting | None:
        """Understand a header or a row."""
        if (b"poch" in line or b"POCH" in line) and (table := _header(line)) is not None:
            self._table = table
            self.rows = _OF_ROWS if table.kind == "Ultralytics" else _ROWS
            return Sighting("fastai", 0, None, "begins", first=0) if table.kind == "fastai" else None
        if self._table is None:
            return None
        return _row_of(line, self._table) if self._table.kind == "Ultralytics" else _row(line, self._table)


def _header(line: bytes) -> _Table | None:
    found = _HEADER.fullmatch(line)
    if found is None or _APART.search(found["columns"]) is None:
        return None
    columns = [column.lower() for column in _cells(found["columns"])]
    if b"gpu_mem" in columns:
        old = any(column in (b"obj", b"obj_loss", b"labels", b"total") for column in columns)
        return _Table("Ultralytics", 1 + len(columns), 0 if old else 1)
    if not any(b"loss" in column or b"acc" in column for column in columns):
        return None
    if columns[0] == b"train_loss" and columns[-1] == b"time":
        return _Table("fastai", 1 + len(columns), 0)
    return _Table("table", 1 + len(columns), None)


def _row(line: bytes, table: _Table) -> Sighting | None:
    cells = _cells(line)
    # A column may be empty: skorch marks the rows at which it saved the model.
    if len(cells) < 2 or abs(len(cells) - table.columns) > 1:
        return None
    if not (cells[0].isdigit() and len(cells[0]) <= 7 and _IS_FIGURE.fullmatch(cells[1])):
        return None
    return Sighting(table.kind, int(cells[0]), None, "closes", first=table.first)


def _row_of(line: bytes, table: _Table) -> Sighting | None:
    found = _OF_ROW.match(line)
    if found is None:
        return None
    n, of = int(found["n"]), int(found["of"]) + (table.first == 0)
    if n > of:
        return None
    share = share_of_bar(found["rest"])
    return Sighting("Ultralytics", n, of, "closes" if share is not None and share >= 1 else "within", first=table.first)


def _cells(line: bytes) -> list[bytes]:
    return [cell for cell in _COLUMN_ENDS.split(line) if cell]
