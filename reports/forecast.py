"""Carbon intensity now and to come as text: a figure with where it came from, a chart, a plan for a job.

Moments are shown in the local time of `zone` (None: this machine's own).
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.intensity import exchange, window
from greenrun.intensity.model import TITLES
from greenrun.reports import origin, terminal, units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo

    from greenrun.intensity.model import Intensity, Passed, Place
    from greenrun.intensity.window import Plan

WIDTH = 80
CHART_HOURS = 24
_ROWS = 6
_COLUMNS_PER_HOUR = 3  # at most; fewer where the terminal is narrow
_MARGIN = 8  # columns left of the chart
_HOUR = timedelta(hours=1)
_SECOND = timedelta(seconds=1)
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:#"


class Outlook(NamedTuple):
    """What is known of a place: the figure that holds now, the forecast, and what was passed over for each."""

    place: Place
    now: Intensity | None
    now_passed: Sequence[Passed]
    forecast: Sequence[Intensity]
    forecast_passed: Sequence[Passed]


def outlook(told: Outlook, at: datetime, zone: tzinfo | None, *, blocks: bool, width: int = WIDTH) -> str:
    """Tell the intensity at the moment `at` and for the day after it, with a chart where there is a forecast.

    `blocks`: the chart may be drawn with block characters, else with ASCII.
    """
    rows: list[tuple[str, str]] = []
    if told.now is None:
        rows.append(("now", "unknown"))
    else:
        rows += [("now", _figure(told.now, at, zone)), ("source", _provenance(told.now, at, zone))]
    rows += [("passed over", text) for text in reasons(told.now_passed)]
    until = at + CHART_HOURS * _HOUR
    coming = [span for span in told.forecast if _overlap(span, at, until)]
    drawn: list[str] = []
    if coming:
        rows += [("next 24 h", _extremes(coming, at, until, zone)), ("source", _provenance(coming[0], at, zone))]
        drawn = ["", *chart(coming, at, zone, blocks=blocks, width=width)]
    else:
        rows.append(("next 24 h", "no forecast"))
        rows += [("", text) for text in reasons(one for one in told.forecast_passed if one not in told.now_passed)]
    return _text([f"Carbon intensity of {where(told.place)}", *_entries(rows, width), *drawn])


def outlook_document(told: Outlook) -> dict[str, Any]:
    """Give what `outlook` tells as a document for JSON; times are ISO 8601."""
    return {
        "place": told.place._asdict(),
        "now": told.now and exchange.intensity_to_json(told.now),
        "passed_over": [passed._asdict() for passed in told.now_passed],
        "forecast": [exchange.intensity_to_json(span) for span in told.forecast],
        "forecast_passed_over": [passed._asdict() for passed in told.forecast_passed],
    }


class Job(NamedTuple):
    """A plan, what it is for, and the first span of the forecast that it was made from."""

    plan: Plan
    place: Place
    source: Intensity
    asked_utc: datetime  # what counted as now
    deadline_utc: datetime


def job(told: Job, zone: tzinfo | None, *, width: int = WIDTH) -> str:
    """Tell when to start a job, what it saves, and what that is known from."""
    plan, now = told.plan, told.asked_utc
    best = plan.best
    seconds = (best.end_utc - best.start_utc).total_seconds()
    rows = [("start", f"{start(plan, now, zone)}, for {length(seconds)}, in {where(told.place)}")]
    figure = f"{_grams(best.grams_per_kwh)} {_sure(told.source)}"
    rows.append(("forecast", ", ".join(filter(None, (figure, "the mean over the job", _counted(told.source))))))
    if plan.now_grams_per_kwh is None:
        rows.append(("saving", "unknown, because the forecast does not begin with now"))
    elif best.start_utc > now:
        rows.append(
            (
                "saving",
                f"{saving(plan)} of the CO2e of starting now, at {_grams(plan.now_grams_per_kwh)} by that forecast",
            )
        )
    else:
        rows.append(("saving", "none by waiting: now is the greenest time"))
    if plan.until_utc < told.deadline_utc:
        ends = clock(plan.until_utc, now, zone)
        rows.append(("searched", f"until {ends}, where the forecast ends; the deadline is later"))
    rows.append(("source", _provenance(told.source, now, zone)))
    return _text(_entries(rows, width))


def job_document(told: Job) -> dict[str, Any]:
    """Give what `job` tells as a document for JSON; times are ISO 8601, the saving is null where it is unknown."""
    plan, source = told.plan, told.source
    return {
        "start": plan.best.start_utc.isoformat(),
        "end": plan.best.end_utc.isoformat(),
        "duration_seconds": (plan.best.end_utc - plan.best.start_utc).total_seconds(),
        "now": told.asked_utc.isoformat(),
        "deadline": told.deadline_utc.isoformat(),
        "searched_until": plan.until_utc.isoformat(),
        "grams_per_kwh": plan.best.grams_per_kwh,
        "now_grams_per_kwh": plan.now_grams_per_kwh,
        "saving_percent": None if plan.saving is None else 100.0 * plan.saving,
        "place": told.place._asdict(),
        "zone": source.zone,
        "basis": source.basis,
        "uncertainty_percent": source.uncertainty_percent,
        "link": source.link,
        "source": source.source,
        "fetched_at": source.fetched_utc and source.fetched_utc.isoformat(),
    }


def start(plan: Plan, now: datetime, zone: tzinfo | None) -> str:
    """Tell a plan's start: "now", or the local time and how long until then."""
    ahead = plan.best.start_utc - now
    if ahead <= timedelta(0):
        return "now"
    return f"{clock(plan.best.start_utc, now, zone, named=True)}, in {length(ahead.total_seconds())}"


def saving(plan: Plan) -> str:
    """Tell a plan's saving in per cent; what is less than half a per cent is told as such."""
    if plan.saving is None:
        return "unknown"
    percent = 100.0 * plan.saving
    return f"less than 1{units.NO_BREAK}%" if percent < 0.5 else f"{percent:.0f}{units.NO_BREAK}%"


def no_plan(
    place: Place,
    spans: Sequence[Intensity],
    passed: Sequence[Passed],
    now: datetime,
    duration_seconds: float,
    zone: tzinfo | None,
) -> str:
    """Say why nothing could be planned, as the beginning of a sentence without its full stop."""
    if not spans:
        failed = [one for one in passed if one.cause != "absent"]  # what is not meant for this place is no news then
        if not failed and place.country is None and place.zone is None:
            return "there is no forecast, because the place is unknown (--zone or --country tells it)"
        why = "; ".join(reasons(failed or passed))
        return plain(f"there is no forecast for {where(place)}" + (f": {why}" if why else ""))
    source, job_length, until = spans[0].source, length(duration_seconds), window.end(spans)
    if until is not None and until < now + timedelta(seconds=duration_seconds):
        what = f"ends at {clock(until, now, zone)}, too early for a job of {job_length}"
    else:
        what = f"has gaps, and nowhere before the deadline {job_length} in one piece"
    return plain(f"the forecast of {source} for {where(place)} {what}")


def where(place: Place) -> str:
    """Name a place and how it is known."""
    name = place.zone or place.country
    if name is None and place.how == "unknown":
        return "an unknown place"
    return f"{name or 'an unknown place'} ({place.how})"


def length(seconds: float) -> str:
    """Write a duration without the part of a second, or of what else is too small to matter beside it."""
    if seconds < 119.5:
        return f"{ceil(seconds)}{units.NO_BREAK}s"
    words = units.duration(seconds).split(units.NO_BREAK)
    return units.NO_BREAK.join(words[:-2] if words[-2] == "0" else words)  # 3 h, not 3 h 0 min


def clock(moment: datetime, now: datetime, zone: tzinfo | None, *, named: bool = False) -> str:
    """Write a moment in local time: of the same day the time alone; `named`: with the name of the time zone."""
    local, today = moment.astimezone(zone), now.astimezone(zone)
    days = abs((local.date() - today.date()).days)
    pattern = "%H:%M" if days == 0 else "%a %H:%M" if days < 7 else "%a %d %b %H:%M"
    return local.strftime(pattern + (" %Z" if named else "")).replace(" ", units.NO_BREAK)


def reasons(passed: Iterable[Passed]) -> Iterator[str]:
    """Tell why links were passed over, those with the same reason together."""
    links: dict[str, list[str]] = {}
    for one in passed:
        links.setdefault(one.reason, []).append(TITLES.get(one.link, one.link))
    return (f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in links.items())


def chart(
    spans: Sequence[Intensity], at: datetime, zone: tzinfo | None, *, blocks: bool, width: int = WIDTH
) -> list[str]:
    """Draw the 24 hours from the hour of `at` on: columns from 0 to the highest, three an hour or as many as fit.

    Where the forecast has a gap nothing stands; where it has a figure something does, be it 0.
    """
    per_hour = min(max(1, (width - _MARGIN) // CHART_HOURS), _COLUMNS_PER_HOUR)
    step = _HOUR / per_hour
    begin = at.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    moments = [_later(begin, index * step, zone) for index in range(CHART_HOURS * per_hour)]
    # A forecast begins with now; what is left of its first step stands for what has gone of the hour.
    levels = [_level(spans, max(moment, at), max(moment + step, at + _SECOND)) for moment in moments]
    top = max((level for level in levels if level is not None), default=0.0)
    glyphs = _BLOCKS if blocks else _ASCII
    steps = len(glyphs) - 1
    heights = [0 if level is None else max(1, round(level / top * _ROWS * steps)) if top else 1 for level in levels]
    lines = []
    for row in reversed(range(_ROWS)):
        label = {_ROWS - 1: top, _ROWS // 2 - 1: top / 2}.get(row)
        cells = "".join(glyphs[min(max(height - row * steps, 0), steps)] for height in heights)
        lines.append(f"{'' if label is None else units.digits(label, 3):>{_MARGIN - 1}}|{cells}".rstrip())
    return [*lines, *_axis(moments, per_hour)]


def _axis(moments: list[datetime], per_hour: int) -> list[str]:
    """Draw the line at 0, and below it the times; one takes five columns."""
    each_hours = 3 if per_hour > 1 else 6
    line, times = f"{'0':>{_MARGIN - 1}}+", " g/kWh"
    for index, moment in enumerate(moments):
        labelled = moment.hour % each_hours == 0 and moment.minute < 60 // per_hour
        line += "+" if labelled else "-"
        text = moment.strftime("%H:%M")
        if labelled and index + len(text) <= len(moments):
            times = times.ljust(_MARGIN + index) + text
    return [line, times]


def _later(moment: datetime, by: timedelta, zone: tzinfo | None) -> datetime:
    """Give the local moment that is so much later, across a change of the clocks too."""
    return (moment.astimezone(timezone.utc) + by).astimezone(zone)


def _level(spans: Sequence[Intensity], begin: datetime, end: datetime) -> float | None:
    """Give the mean over the part of a stretch that the spans cover, None where they cover nothing."""
    parts = [(_overlap(span, begin, end), span.grams_per_kwh) for span in spans]
    seconds = sum(part for part, _ in parts)
    return sum(part * grams for part, grams in parts) / seconds if seconds else None


def _overlap(span: Intensity, begin: datetime, end: datetime) -> float:
    first = begin if span.from_utc is None else max(begin, span.from_utc)
    last = end if span.to_utc is None else min(end, span.to_utc)
    return max(0.0, (last - first).total_seconds())


def _extremes(spans: Sequence[Intensity], at: datetime, until: datetime, zone: tzinfo | None) -> str:
    lowest = min(spans, key=lambda span: span.grams_per_kwh)
    highest = max(spans, key=lambda span: span.grams_per_kwh)

    def said(word: str, span: Intensity) -> str:
        return f"{word} {_grams(span.grams_per_kwh)} at {clock(max(at, span.from_utc or at), at, zone)}"

    ends = max(span.to_utc or until for span in spans)
    parts = [
        said("lowest", lowest),
        said("highest", highest),
        _sure(highest),
        _counted(highest),
        f"the forecast ends at {clock(ends, at, zone)}" if ends < until else "",
        f"hours of local time ({at.astimezone(zone):%Z})",
    ]
    return ", ".join(filter(None, parts))


def _figure(span: Intensity, at: datetime, zone: tzinfo | None) -> str:
    """Tell a figure with how sure it is, when it holds, and what it counts; a year's average is no figure of now."""
    holds = "yearly average" if span.link in origin.YEARLY else ""
    if span.from_utc and span.to_utc:
        holds = f"from {clock(span.from_utc, at, zone)} to {clock(span.to_utc, at, zone)}"
    sure = "" if span.link == "told" else f" {_sure(span)}"
    parts = [f"{_grams(span.grams_per_kwh)}{sure}", holds, "estimated" if span.estimated else "", _counted(span)]
    return ", ".join(filter(None, parts))


def _counted(span: Intensity) -> str:
    """Say what a span counts."""
    basis = span.basis and f"{span.basis} emissions"
    return " of ".join(filter(None, (basis, str(span.year) if span.year else None)))


def _provenance(span: Intensity, at: datetime, zone: tzinfo | None) -> str:
    """Say where a span came from, and what there is to know of it."""
    known = (
        span.source,
        span.zone and f"zone {span.zone}",
        span.note,
        f"fetched at {clock(span.fetched_utc, at, zone)}" if span.fetched_utc else "",
    )
    return ", ".join(filter(None, known))


def _sure(span: Intensity) -> str:
    return f"+-{units.percent(span.uncertainty_percent)}"


def _grams(grams_per_kwh: float) -> str:
    return f"{units.digits(grams_per_kwh, 3)}{units.NO_BREAK}g/kWh"


def _entries(rows: Iterable[tuple[str, str]], width: int) -> list[str]:
    return [line for label, text in rows for line in terminal.entry(label, text, width).splitlines()]


def _text(lines: list[str]) -> str:
    return "\n".join(plain(line) for line in lines)


def plain(text: str) -> str:
    """Put plain spaces, and replace what would move the cursor: names and reasons come from outside."""
    text = text.replace(units.NO_BREAK, " ")
    return "".join(character if character.isprintable() else "?" for character in text)
