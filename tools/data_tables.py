"""The tables in intensity/data/ as rows, to and from text.

greenrun reads them with plain string methods (intensity/datafiles.py): no cell but a row's last may hold a comma, and
none a quotation mark or a line's end. What would break that is refused here.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class CountryRow(NamedTuple):
    """A country's average over one year, in grams of CO2e per kWh."""

    iso3: str
    iso2: str
    name: str
    year: int
    gco2e_per_kwh: float
    basis: str
    accounting: str  # generation: of what is produced in the country; consumption: of what is used there
    licence: str
    source: str

    @property
    def key(self) -> str:
        """What names the row in its table."""
        return self.iso3


class ZoneRow(NamedTuple):
    """A grid zone's average over one year, in grams of CO2e per kWh."""

    zone: str
    country: str
    year: int
    gco2e_per_kwh: float
    basis: str
    accounting: str
    licence: str
    source: str
    note: str
    name: str

    @property
    def key(self) -> str:
        """What names the row in its table."""
        return f"{self.zone} ({self.basis})"


AnyRow = TypeVar("AnyRow", CountryRow, ZoneRow)


def to_text(kind: type[AnyRow], rows: Iterable[AnyRow]) -> str:
    """Give the table as text, header first, sorted by its first column; ValueError for a cell that cannot be read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(kind._fields)
    for row in sorted(rows, key=lambda row: row.key):
        *first, last = (str(cell) for cell in row)
        if any(mark in cell for cell in first for mark in ',"\n') or '"' in last or "\n" in last:
            raise ValueError(f"{row.key}: a comma, quotation mark or line's end in {row}")
        writer.writerow([*first, last])
    return text.getvalue()


def from_text(kind: type[AnyRow], text: str) -> list[AnyRow]:
    """Read the table back; ValueError for another header or a year or figure that is no number."""
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != kind._fields:
        raise ValueError(f"the columns are {reader.fieldnames}, not {list(kind._fields)}")
    convert = {"year": int, "gco2e_per_kwh": float}
    return [kind._make(convert.get(name, str)(cell) for name, cell in cells.items()) for cells in reader]
