"""The record as JSON: what summary.json holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenrun.reports.record import Record


def render(record: Record) -> str:
    """Give the record as indented JSON with a newline at its end. Raises ValueError where a number is not finite."""
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
