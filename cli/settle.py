"""`report --settle`: hours of a past run that no service had told, or only estimated, asked for again.

What is surer than what the log has is added to it as `intensity` events, and the record is made anew.
"""

from __future__ import annotations

import contextlib
import os
import time
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from greenrun.cli import fetching
from greenrun.cli.errors import UserError
from greenrun.intensity import chain, location
from greenrun.intensity.model import Place
from greenrun.reports import forecast, formats, units
from greenrun.reports.account import account
from greenrun.reports.carbon import Timeline
from greenrun.reports.life import parse_utc
from greenrun.reports.origin import hours, is_sure
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.cli.config import Config
    from greenrun.intensity.model import Answer, Basis, Intensity
    from greenrun.reports.record import Event, Record, Span

_QUIET_SECONDS = 60.0  # last.json is renewed each ten seconds while a run lasts
_HOUR = timedelta(hours=1)
_MILLISECOND = timedelta(milliseconds=1)  # the record's times are cut to it


class NotSettled(Exception):  # noqa: N818  nobody's mistake: the services had nothing
    """No service told anything: one sentence that says why. The run is as it was."""


class Settled(NamedTuple):
    """The record as it now is, and what has changed in a few words."""

    record: Record
    words: str


def settle(run_dir: str, events: Sequence[Event], config: Config, told: Place | None) -> Settled:
    """Fill what services can tell by now about the run in `run_dir`, whose log holds `events`.

    `told`: where the machine stood; None, as the log says. Raises UserError where this cannot be asked for, NotSettled.
    """
    if config.offline:
        raise UserError("--settle asks services on the network, and greenrun is set to stay offline")
    if not _has_ended(run_dir, events):
        raise UserError(f"the run in {run_dir} has not ended, and its sampler still asks: settle it when it is over")
    before = account(events)
    spans = before["intensity"]["spans"]
    if not spans:
        return Settled(before, "nothing, for no command was measured")
    if (events[0].get("config") or {}).get("intensity") is not None:
        return Settled(before, f"nothing, for the intensity was {before['intensity']['source'] or 'told'}")
    if all(map(is_sure, spans)):
        return Settled(before, "nothing, for every hour is measured")
    path = os.path.join(run_dir, runlog.LOG_NAME)
    if not os.access(path, os.W_OK):
        raise UserError(f"{path} may not be written, so nothing can be settled")
    return _ask_and_add(run_dir, events, config, told or logged_place(events), before)


def _ask_and_add(run_dir: str, events: Sequence[Event], config: Config, place: Place, before: Record) -> Settled:
    if place.country is None and place.zone is None:
        raise NotSettled("nothing was settled: where the run took place is unknown (--zone or --country tells it)")
    spans = before["intensity"]["spans"]
    from_utc = min(parse_utc(span["from"]) for span in spans)
    to_utc = max(parse_utc(span["to"]) for span in spans) + _MILLISECOND
    asked_from, asked_to = _start_of_hour(from_utc), _start_of_hour(to_utc) + _HOUR
    basis = logged_basis(events)
    answer = fetching.ask(
        config,
        "history",
        place=place,
        basis=basis,
        from_utc=asked_from,
        to_utc=min(asked_to, datetime.now(timezone.utc)),
        insist=True,
    ).answer
    surer = list(better(answer, events, basis, from_utc, to_utc))
    if not surer:
        if not any(map(_is_live, answer.spans)):
            raise NotSettled(f"nothing was settled: {_why(answer)}")
        return Settled(before, _changes(before, before) + _failures(answer))
    last_t = max(event["t"] for event in events)
    added = [{"event": "intensity", "t": last_t, **chain.event_fields(span, place, answer.passed)} for span in surer]
    record = account([*events, *added])
    try:
        runlog.append(run_dir, added)
    except OSError as error:
        raise UserError(f"the run log in {run_dir} cannot be written: {os.strerror(error.errno or 0)}") from None
    try:
        formats.write(record, run_dir)
    except OSError as error:
        reason = f"{error.filename or run_dir}: {os.strerror(error.errno or 0)}"
        raise UserError(f"the hours are in the run log, but the summary cannot be written ({reason})") from None
    return Settled(record, _changes(before, record) + _failures(answer))


def logged_basis(events: Sequence[Event]) -> Basis:
    """Give the basis that the run asked for; logs from before there was a choice are of life cycles."""
    return "direct" if (events[0].get("config") or {}).get("basis") == "direct" else "lifecycle"


def logged_place(events: Sequence[Event]) -> Place:
    """Give where the run took place: what was told to it, else what its intensities are of."""
    told = events[0].get("config") or {}
    logged = [event for event in reversed(events) if event["event"] == "intensity"]
    country: str | None = told.get("country") or next(
        (event["country"] for event in logged if event.get("country")), None
    )
    zone: str | None = told.get("zone") or next((event["zone"] for event in logged if event.get("zone")), None)
    if zone is not None and (zone == country or (country and location.zone_country(zone) != country)):
        zone = None  # a service's own name for it
    how = next((event["how"] for event in logged if event["how"]), None)
    return Place(country or (location.zone_country(zone) if zone else None), zone, how or "the run log")


def _has_ended(run_dir: str, events: Sequence[Event]) -> bool:
    """Tell whether nobody writes the log any more: it has its end, or its sampler was killed."""
    if any(event["event"] == "end" for event in events):
        return True
    for name in (runlog.LAST_NAME, runlog.LOG_NAME):  # the log itself is renewed by being settled
        with contextlib.suppress(OSError):
            return abs(time.time() - os.stat(os.path.join(run_dir, name)).st_mtime) >= _QUIET_SECONDS
    return True


def better(
    answer: Answer, events: Sequence[Event], basis: Basis, from_utc: datetime, to_utc: datetime
) -> Iterator[Intensity]:
    """Give what a service told that is surer than what the log has, where it touches the run; of a span, the part."""
    timeline = Timeline([event for event in events if event["event"] == "intensity"])
    for span in answer.spans:
        begin, end = span.from_utc, span.to_utc
        if begin is None or end is None or not _is_live(span) or span.basis != basis:
            continue
        if end <= from_utc or to_utc <= begin:
            continue
        inside = timeline.moments[bisect_right(timeline.moments, begin) : bisect_left(timeline.moments, end)]
        begun: datetime | None = None
        for edge, next_edge in pairwise([begin, *inside, end]):
            if not _is_better(span, timeline.at(edge)):
                if begun:
                    yield span._replace(from_utc=begun, to_utc=edge)
                begun = None
            else:
                begun = begun or edge
                if next_edge == end:
                    yield span._replace(from_utc=begun, to_utc=end)


def _is_better(span: Intensity, logged: Event | None) -> bool:
    """Tell whether a service's figure is surer: any is than none or a table's, and a measured one than an estimate.

    Of two estimates the newer one is better if it is the less uncertain, so that asking twice changes nothing.
    """
    if logged is None or logged.get("grams_per_kwh") is None:
        return True
    if not logged.get("fetched_at") or logged.get("link") == "stale cache":
        return True
    if not logged.get("estimated"):
        return False
    doubt = logged.get("uncertainty_percent")
    return not span.estimated or doubt is None or span.uncertainty_percent < doubt


def _is_live(span: Intensity) -> bool:
    return span.fetched_utc is not None and span.link != "stale cache"


def _changes(before: Record, after: Record) -> str:
    """Say how many hours have become sure, what is left, and what that makes of the grams."""
    old, new = before["intensity"]["spans"], after["intensity"]["spans"]
    settled = len(_unsure(old) - _unsure(new))
    left = hours([span for span in new if span["fetched_at"] and span["estimated"]])
    untold = hours([span for span in new if not span["fetched_at"]])
    amounts = ", ".join(
        filter(
            None,
            (
                _count(settled) if settled else "no hour yet",
                f"{len(left)} still estimated" if left else "",
                f"{len(untold)} that no service tells of" if untold else "",
            ),
        )
    )
    was, is_now = _grams(before), _grams(after)
    return f"{amounts}; CO2e {f'{was} -> {is_now}' if was != is_now else f'stays {was}'}"


def _unsure(spans: Sequence[Span]) -> set[datetime]:
    return hours([span for span in spans if not is_sure(span)])


def _count(number: int) -> str:
    return f"{number} hour{'s' * (number != 1)}"


def _grams(record: Record) -> str:
    grams = record["co2e_grams"]
    return "unknown" if grams is None else units.mass(grams)


def _failures(answer: Answer) -> str:
    """Say which service failed, so that another one answered in its place."""
    return "".join(f"; {reason}" for reason in forecast.reasons(one for one in answer.passed if one.cause != "absent"))


def _why(answer: Answer) -> str:
    """Say what was wrong: with those that failed, or if none did, with all."""
    reasons = _failures(answer).removeprefix("; ") or "; ".join(forecast.reasons(answer.passed))
    return reasons or "no service has figures for this place and time"


def _start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
