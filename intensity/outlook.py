"""What a kilowatt-hour of a stretch of time is to be taken for when not all of it is known. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from greenrun.intensity import series

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from greenrun.intensity.model import Intensity

_PRESENT_HOLDS = timedelta(hours=1)
"""So long the figure of now is taken for what comes: what a grid does in one hour says little about the next day."""


class Outlook(NamedTuple):
    """The mean over a stretch of time, in grams of CO2e per kWh, and what it was made of.

    `told_percent` is how much of the time is covered by spans that were told for it; the rest is the figure of now, or
    that for all time. `uncertainty_percent` is the half-width of a 95 % interval, where all parts are wrong in the same
    direction. `links` are those of the parts, the longest first.
    """

    grams_per_kwh: float
    uncertainty_percent: float
    told_percent: float
    links: list[str]


def over(
    spans: Iterable[Intensity],
    present: Intensity | None,
    always: Intensity | None,
    from_utc: datetime,
    to_utc: datetime,
) -> Outlook | None:
    """Give the outlook from `from_utc` to `to_utc`, None where nothing is known of a part of it.

    What the `spans` leave open is filled with `present` for an hour, then with `always`; where there is only one of
    the two, with that. Raises ValueError where there is no time between the two moments.
    """
    if from_utc >= to_utc:
        raise ValueError(f"from {from_utc} to {to_utc} there is no mean")
    told = series.clip(spans, from_utc, to_utc)
    parts = [(span, (span.to_utc or to_utc) - (span.from_utc or from_utc)) for span in told]
    for begin, end in series.gaps(told, from_utc, to_utc):
        border = min(max(from_utc + _PRESENT_HOLDS, begin), end)
        for filling, length in ((present or always, border - begin), (always or present, end - border)):
            if length:
                if filling is None:
                    return None
                parts.append((filling, length))
    total = to_utc - from_utc
    shares = [(span, length / total) for span, length in parts]
    grams = sum(span.grams_per_kwh * share for span, share in shares)
    doubt = sum(span.grams_per_kwh * share * span.uncertainty_percent for span, share in shares)
    by_link: dict[str, float] = {}
    for span, share in shares:
        by_link[span.link] = by_link.get(span.link, 0.0) + share
    return Outlook(
        grams,
        doubt / grams if grams else 0.0,
        100.0 * sum(share for _, share in shares[: len(told)]),
        sorted(by_link, key=lambda link: -by_link[link]),
    )
