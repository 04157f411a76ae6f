"""Where the machine stands and what a kilowatt-hour means there: the configuration meets the intensity room."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from greenrun.intensity import chain, location

if TYPE_CHECKING:
    from greenrun.cli.config import Config


def find(config: Config, utc: float) -> list[dict[str, Any]]:
    """Give the fields of the `intensity` events for a run that starts at `utc` (Unix seconds)."""
    told = None
    if config.intensity is not None:
        told = chain.Told(config.intensity, config.intensity_from or "the configuration")
    place = location.find(config.country, config.zone, config.place_from, os.environ)
    now = datetime.fromtimestamp(utc, timezone.utc)
    return [chain.event_fields(intensity, place) for intensity in chain.find(told, place, now, now)]
