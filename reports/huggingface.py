"""The front matter of a model card on the Hugging Face Hub: `co2_eq_emissions`, in grams of CO2e, as YAML.

`training_type` (pre-training or fine-tuning) is left out: greenrun does not know it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from greenrun.intensity import countries
from greenrun.reports import statement, units
from greenrun.reports.formats import CannotTell

if TYPE_CHECKING:
    from greenrun.reports.record import Record


def render(record: Record) -> str:
    """Give the YAML. Raises CannotTell where the emissions are unknown: the Hub has no word for that."""
    grams, used = record["co2e_grams"], record["intensity"]
    if grams is None:
        raise CannotTell("the format huggingface is about emissions, and of this run none are known")
    country = used["country"]
    place = [
        used["zone"] if used["zone"] != country else None,
        country and (countries.country_name(country) or country),
    ]
    fields = {
        "source": _source(record),
        "geographical_location": ", ".join(filter(None, place)),
        "hardware_used": statement.hardware(record),
    }
    lines = [f"  {name}: {_quoted(statement.plain(text))}" for name, text in fields.items() if text]
    return "\n".join(("co2_eq_emissions:", f"  emissions: {units.digits(grams, 6)}", *lines, ""))


def _source(record: Record) -> str:
    low, high = record["co2e_low_grams"], record["co2e_high_grams"]
    within = "" if low is None or high is None else f" ({units.interval(units.mass(low), units.mass(high))} at 95 %)"
    kept = [
        text for text in statement.sentences(record) if " estimate" in text or text.startswith("The record is partial")
    ]
    return " ".join((f"greenrun {record['greenrun']}{within}, run {record['run_id']}.", *kept))


def _quoted(text: str) -> str:
    """Quote text: a JSON string is one of YAML's too, where all of it is printed; `plain` leaves nothing else."""
    return json.dumps(text, ensure_ascii=False)
