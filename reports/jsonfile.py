"""The record as JSON: what summary.json holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenrun.reports.record import Record


# JSON leaves these as they are, and a terminal may obey them: DEL and the second set of control characters.
ESCAPED = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def render(record: Record) -> str:
    """Give the record as indented JSON with a newline at its end. Raises ValueError where a number is not finite."""
    return document(record)


def document(value: object) -> str:
    """Give any other document in the same form. Raises as `render` does."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).translate(ESCAPED) + "\n"
