"""The tables in data/, read line by line with plain string methods.

The command line checks a country's name before the command starts, and the csv module costs milliseconds. So no cell
but a row's last may hold a comma; `tools/data_tables.py`, which writes the tables, sees to that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines(file_name: str, columns: int) -> Iterator[list[str]]:
    """Give the rows of a table in data/, without its header; only the last of the columns may hold commas."""
    path = os.path.join(os.path.dirname(__file__), "data", file_name)
    with open(path, encoding="utf-8") as file:
        next(file)
        for line in file:
            yield [cell.strip('"') for cell in line.rstrip("\n").split(",", columns - 1)]
