"""The carbon intensity that a job to come is charged with, as if it started now.

A forecast for the whole of it counts first; for a job of an hour or less the figure of now; else a yearly average: what
the grid does in one hour says little about the next day. What was passed over is said.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from greenrun.cli import fetching
from greenrun.intensity import chain, location, window
from greenrun.reports.ahead import Grid

if TYPE_CHECKING:
    from greenrun.cli.config import Config
    from greenrun.intensity.model import Basis, Intensity, Passed, Place

_LONGEST_FORECAST = timedelta(hours=72)  # nobody of whom greenrun asks looks farther
_HOLDS = timedelta(hours=1)  # so long the figure of now is used


def grid(config: Config, place: Place | None, basis: Basis, told: chain.Told | None, seconds: float) -> Grid:
    """Find the intensity for a job of `seconds`. `place`: None, to find it as for a run; `told`: it is known."""
    length = timedelta(seconds=max(seconds, 1.0))
    passed: list[Passed] = []
    if told is None and length <= _LONGEST_FORECAST:
        now = datetime.now(timezone.utc)
        place, answer = fetching.ask(
            config, "forecast", place=place, basis=basis, now_utc=now, to_utc=now + length, insist=True
        )
        passed += answer.passed
        mean = window.mean(answer.spans, now, now + length)
        if mean is not None:
            return Grid(_over(answer.spans, mean, now, now + length), passed, place)
        if length <= _HOLDS:
            place, answer = fetching.ask(
                config, "now", place=place, basis=basis, now_utc=now, from_utc=now, to_utc=now, insist=True
            )
            if answer.spans:
                return Grid(answer.spans[-1], [*passed, *answer.passed], place)
    if place is None:
        place = location.find(config.country, config.zone, config.place_from, os.environ)
    spans, more = chain.known(told, place, basis)
    return Grid(spans[0] if spans else None, [*passed, *more], place)


def _over(spans: list[Intensity], mean: float, from_utc: datetime, to_utc: datetime) -> Intensity:
    """Give the mean over a stretch as one intensity; it is as unsure as the least sure of its hours."""
    return spans[0]._replace(
        grams_per_kwh=mean,
        from_utc=from_utc,
        to_utc=to_utc,
        uncertainty_percent=max(span.uncertainty_percent for span in spans),
        note="the mean of the forecast if it starts now",
    )
