"""What an answer of `predict` is told from, and the words that all its kinds share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from greenrun.reports import ahead, units
from greenrun.reports.account import ASSUMED_PUE

if TYPE_CHECKING:
    from greenrun.cli.config import Config
    from greenrun.intensity.chain import Told
    from greenrun.intensity.model import Basis, Place


class Source(NamedTuple):
    """What the answer is told from, without its CO2e. `place` and `told`: None, as configured."""

    told_from: Literal["run", "hardware", "carbontracker"]
    headline: str
    epochs: int | None
    costs: ahead.Costs
    pue: float
    pue_source: ahead.PueFrom
    place: Place | None
    basis: Basis
    told: Told | None
    assumed: list[ahead.Assumed]


def told_intensity(settings: Config) -> Told | None:
    """Give the intensity that the user told, by an option or in a file; None where nobody did."""
    from greenrun.intensity import chain

    if settings.intensity is None:
        return None
    return chain.Told(settings.intensity, settings.intensity_from or "the configuration")


def told_pue(told: float | None) -> tuple[float, ahead.PueFrom]:
    """Give the PUE and where it is from; 1 is assumed where nobody told one."""
    return (ASSUMED_PUE, "assumed") if told is None else (told, "told")


def count(number: int) -> str:
    """Write a number of epochs."""
    return f"{number}{units.NO_BREAK}epoch{'s' * (number != 1)}"


def plus_minus(percent: float) -> str:
    """Write the half-width of a range."""
    return f"+-{units.percent(percent)}"


def share_of(share: ahead.Share) -> str:
    """Write a part of something with the ends of its range."""
    usual, least, most = (f"{100.0 * part:.0f}" for part in share)
    return f"{usual}{units.NO_BREAK}% ({least} to {most}{units.NO_BREAK}%)"
