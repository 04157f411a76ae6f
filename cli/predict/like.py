"""As a run that greenrun has measured: `predict --like`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from greenrun.cli import settle
from greenrun.cli.errors import UserError
from greenrun.cli.predict.source import Source, count, plus_minus, told_intensity, told_pue
from greenrun.intensity import chain, location
from greenrun.reports import ahead, scopes, units
from greenrun.reports.likeness import likeness
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greenrun.cli.config import Config
    from greenrun.intensity.model import Basis, Place
    from greenrun.reports.likeness import Likeness
    from greenrun.reports.record import Event
    from greenrun.sampler.prediction import Cost


def like(run_dir: str, epochs: int | None, flags: dict[str, Any], settings: Config) -> Source:
    """Tell a second run of the job in `run_dir`, with so many epochs (None: as many). Raises UserError.

    PUE, place, basis and intensity are those of `flags` (their values are in `settings`), else those of the run.
    """
    try:
        events = runlog.read(run_dir)
    except runlog.Unreadable as error:
        raise UserError(str(error).rstrip(".")) from None
    try:
        found = likeness(events)
        if found is None:
            raise UserError(f"no command ran in {run_dir}, so it tells nothing about another")
        return _source(run_dir, found, epochs, events, flags, settings)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        # JSON that is no run log of ours fails in as many ways as there are fields.
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"the run log in {run_dir} is damaged: its events lack what a run log has ({reason})") from None


def _source(
    run_dir: str,
    found: Likeness,
    epochs: int | None,
    events: Sequence[Event],
    flags: dict[str, Any],
    settings: Config,
) -> Source:
    record = found.record
    name, day = record["name"] or os.path.basename(os.path.abspath(run_dir)), record["started_at"][:10]
    if found.epochs:
        epochs = epochs or len(found.epochs)
        costs = ahead.again(found.once, found.epochs, epochs, record["uncertainty_percent"])
        headline = f"{count(epochs)} of {name}, as predicted from the {count(len(found.epochs))} of its run of {day}"
    else:
        costs = ahead.repeated(_whole(run_dir, found, epochs), record["uncertainty_percent"])
        headline = f"{name} once more, as it ran on {day}"
    its = events[0].get("config") or {}
    pue, pue_source = _pue(its, flags, settings)
    place, basis, told = _grid(its, events, flags, settings)
    return Source("run", headline, epochs, costs, pue, pue_source, place, basis, told, list(_assumed(found)))


def _whole(run_dir: str, found: Likeness, epochs: int | None) -> Cost:
    if epochs is not None:
        raise UserError(
            f"the run in {run_dir} has no epochs to predict from: leave --epochs out to tell it as a whole, "
            "or measure it with --epochs auto"
        )
    if found.whole is None:
        raise UserError(f"the run in {run_dir} was not seen to end and has no epochs: it does not tell what one takes")
    return found.whole


def _assumed(found: Likeness) -> Iterator[ahead.Assumed]:
    yield ahead.Assumed("job", "the same machine, data and settings as in that run")
    if found.epochs:
        what = "set-up and what came after the last epoch" if found.whole else "set-up"
        yield ahead.Assumed("once", f"once, beside the epochs: {what}, {units.duration(found.once.duration_seconds)}")
        if not found.whole:
            yield ahead.Assumed("end", "that run did not come to its end: what comes after the last epoch is missing")
    elif found.record["exit_code"] or found.record["signal"]:
        yield ahead.Assumed("end", "that run failed: one that comes to its end may take longer")
    yield ahead.Assumed("variation", f"two runs of one job differ by {plus_minus(ahead.ANOTHER_RUN_PERCENT)}")
    yield ahead.Assumed("energy", f"that run's energy {_how_measured(found)}")
    if found.record["status"] == "partial" and found.whole:
        yield ahead.Assumed("partial", "the record of that run is partial: a part of its energy is missing")


def _how_measured(found: Likeness) -> str:
    percent = found.record["uncertainty_percent"]
    if percent is None:
        return "is unknown"
    estimated = [device["method"] == "estimate" for device in scopes.devices_in(found.record) if device["counted"]]
    how = "estimated, not measured" if all(estimated) else "partly estimated" if any(estimated) else "measured"
    return f"was {how}, {plus_minus(ahead.at_90(percent))}"


def _pue(its: Mapping[str, Any], flags: Mapping[str, Any], settings: Config) -> tuple[float, ahead.PueFrom]:
    if "pue" in flags or its.get("pue") is None:
        return told_pue(settings.pue if "pue" in flags else None)
    return float(its["pue"]), "run"


def _grid(
    its: Mapping[str, Any], events: Sequence[Event], flags: Mapping[str, Any], settings: Config
) -> tuple[Place, Basis, chain.Told | None]:
    basis = settings.basis if "basis" in flags else settle.logged_basis(events)
    if "country" in flags or "zone" in flags:
        place = location.find(settings.country, settings.zone, settings.place_from, os.environ)
        return place, basis, told_intensity(settings) if "intensity" in flags else None
    place = settle.logged_place(events)
    if "intensity" in flags:
        return place, basis, told_intensity(settings)
    if "basis" in flags or its.get("intensity") is None:
        return place, basis, None
    return place, basis, chain.Told(float(its["intensity"]), "that run")
