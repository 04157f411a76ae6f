"""The one way in: from what is known of the place to the intensities that hold over a stretch of time.

Links are asked in order of trust, and the first that has a figure answers: what the user told, services on the network
(each behind the cache), what they said earlier, tables. Each link passed over is in the answer, with its reason. A
live service is one module behind `model.Service`; which ones there are is the caller's affair.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.intensity import series, table
from greenrun.intensity.cache import Question
from greenrun.intensity.model import Answer, Intensity, Passed, Place, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from greenrun.intensity.cache import Cache, Kind
    from greenrun.intensity.model import Basis, Service

STALE = "stale cache"

_HOUR = timedelta(hours=1)
_LONGEST_STALE = timedelta(hours=24)
"""Longer an answer is not used, nor a value held on: by then the same hour of another day is no worse a guess."""
_AHEAD = timedelta(hours=1)  # so far into the future a figure is held on; who wants to know more asks for a forecast
_LOOK_BACK = timedelta(hours=23)
"""So far back is asked at least, in whole hours: then all runs of a day ask the same, and one answer serves them."""
_MOMENT = timedelta(microseconds=1)


class Told(NamedTuple):
    """The figure that the user gave, in grams of CO2e per kWh, and where ("--intensity"). Taken as exact."""

    grams_per_kwh: float
    told_by: str


def known(told: Told | None, place: Place, basis: Basis) -> Answer:
    """Give the figure that is there without a network: one span for all time, or none where no table has one.

    A told figure counts whatever its basis is: only the user knows. A table's figure of the other basis does not.
    """
    if told:
        return Answer([_told(told, place)], [])
    tables: tuple[tuple[str, Callable[[], Intensity | Unavailable]], ...] = (
        ("region table", lambda: table.region(place, basis)),
        ("country table", lambda: table.country(place, basis)),
        ("world", lambda: table.world(basis)),
    )
    passed: list[Passed] = []
    for link, figure in tables:
        found = figure()
        if not isinstance(found, Unavailable):
            return Answer([found], passed)
        passed.append(_passed(link, found))
    return Answer([], passed)


def live(
    services: Sequence[Service],
    cache: Cache,
    place: Place,
    basis: Basis,
    from_utc: datetime,
    to_utc: datetime,
    now: datetime,
    *,
    insist: bool = False,
    asking: bool = True,
) -> Answer:
    """Give what held from `from_utc` to `to_utc`: the first service that answers, else the newest of the stale cache.

    The spans are whole, so they may begin before and end after the stretch. What the service does not know (yet) is
    held on from the value before, 24 h at most and no farther than an hour from `now`; before its first value there
    may be a gap. `to_utc` may be `from_utc`: what holds at that moment. Where nobody answers, an answer of at most
    24 h ago is held on: "stale cache", but for hours that it had measured.

    `insist`: ask also where a call has just failed; `asking`: False, to look only in the cache.
    """
    until = max(min(to_utc, now + _AHEAD), from_utc + _MOMENT)

    def usable(spans: list[Intensity]) -> list[Intensity]:
        held = series.hold(spans, _next_hour(until), _LONGEST_STALE)
        return [span for span in held if _reaches(span, from_utc, until)]

    asked_from = min(_start_of_hour(from_utc), _start_of_hour(now) - _LOOK_BACK)
    asked_to = min(_next_hour(until), now)
    return _first(services, cache, place, basis, "history", asked_from, asked_to, now, usable, insist, asking)


def forecast(
    services: Sequence[Service],
    cache: Cache,
    place: Place,
    basis: Basis,
    to_utc: datetime,
    now: datetime,
    *,
    insist: bool = False,
    asking: bool = True,
) -> Answer:
    """Give what is expected from `now` to `to_utc`, as far as the first service that answers knows; nothing is held.

    Where nobody answers, what is left of a forecast of at most 24 h ago: "stale cache". `insist` and `asking` as for
    `live`.
    """

    def usable(spans: list[Intensity]) -> list[Intensity]:
        return series.clip(spans, now, to_utc)

    return _first(services, cache, place, basis, "forecast", now, to_utc, now, usable, insist, asking)


def event_fields(intensity: Intensity, place: Place, passed: Iterable[Passed] = ()) -> dict[str, Any]:
    """Give the fields of a run log's `intensity` event: the figure, how the place is known, the links passed over."""
    return {
        "from_utc": intensity.from_utc.isoformat() if intensity.from_utc else None,
        "to_utc": intensity.to_utc.isoformat() if intensity.to_utc else None,
        "grams_per_kwh": intensity.grams_per_kwh,
        "link": intensity.link,
        "source": intensity.source,
        "zone": intensity.zone,
        "country": intensity.country,
        "year": intensity.year,
        "basis": intensity.basis,
        "uncertainty_percent": intensity.uncertainty_percent,
        "estimated": intensity.estimated,
        "fetched_at": intensity.fetched_utc.isoformat() if intensity.fetched_utc else None,
        "note": intensity.note,
        "how": place.how,
        "passed": [one._asdict() for one in passed],
    }


def from_event(event: Mapping[str, Any]) -> Intensity:
    """Give the figure of such an event, which must have one, back."""
    values = {name: event[name] for name in Intensity._fields if name in event}
    values["fetched_utc"] = event["fetched_at"]
    for name in ("from_utc", "to_utc", "fetched_utc"):
        values[name] = None if values[name] is None else datetime.fromisoformat(values[name])
    return Intensity(**values)


def _told(told: Told, place: Place) -> Intensity:
    return Intensity(
        grams_per_kwh=told.grams_per_kwh,
        link="told",
        source=f"told by {told.told_by}",
        zone=place.zone,
        country=place.country,
        year=None,
        basis=None,
        uncertainty_percent=0.0,
        note="taken as exact",
    )


def _first(
    services: Sequence[Service],
    cache: Cache,
    place: Place,
    basis: Basis,
    kind: Kind,
    from_utc: datetime,
    to_utc: datetime,
    now: datetime,
    usable: Callable[[list[Intensity]], list[Intensity]],
    insist: bool,
    asking: bool,
) -> Answer:
    """Give what the first service has that is `usable`, else what the newest of their old answers has."""
    passed: list[Passed] = []
    old: list[list[Intensity]] = []
    asked = False
    for service in services:
        zone = service.zone(place, basis)
        if isinstance(zone, Unavailable):
            passed.append(_passed(service.link, zone))
            continue
        asked = True
        question = Question(service.link, service.address, zone, basis, kind, from_utc, to_utc)
        cached = cache.ask(question, now, _request(service, question) if asking else None, insist=insist)
        spans = usable(cached.spans)
        if spans and cached.failure is None:
            return Answer(spans, passed)
        passed.append(_passed(service.link, cached.failure or _beside(cached.spans)))
        if spans and now - _fetched_utc(spans) <= _LONGEST_STALE:
            old.append(spans)
    if old:
        return Answer([_stale(span, now) for span in max(old, key=_fetched_utc)], passed)
    if asked:
        hours = _LONGEST_STALE // _HOUR
        passed.append(Passed(STALE, "absent", f"it has nothing for this time that is younger than {hours} h"))
    return Answer([], passed)


def _request(service: Service, question: Question) -> Callable[[], list[Intensity] | Unavailable]:
    if question.kind == "forecast":
        return lambda: service.forecast(question.zone, question.basis, question.to_utc)
    return lambda: service.history(question.zone, question.basis, question.from_utc, question.to_utc)


def _passed(link: str, unavailable: Unavailable) -> Passed:
    return Passed(link, unavailable.cause, unavailable.reason)


def _beside(spans: list[Intensity]) -> Unavailable:
    """Say that an answer is of another time than was asked for."""
    if not spans:
        return Unavailable("its figures are of another time")
    begin, end = spans[0].from_utc, spans[-1].to_utc
    return Unavailable(f"its figures are of another time ({begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC)")


def _fetched_utc(spans: list[Intensity]) -> datetime:
    """Give when the newest of the spans was fetched; of the cache each was."""
    return max(span.fetched_utc for span in spans if span.fetched_utc)


def _stale(span: Intensity, now: datetime) -> Intensity:
    """Mark what an old answer says of a time that it had not measured; what it had is as good as ever."""
    fetched_utc = span.fetched_utc or now
    if not span.estimated and span.to_utc and span.to_utc <= fetched_utc:
        return span
    minutes = (now - fetched_utc) // timedelta(minutes=1)
    age = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
    return span._replace(link=STALE, note="; ".join(filter(None, (span.note, f"from the cache, fetched {age} ago"))))


def _reaches(span: Intensity, from_utc: datetime, until: datetime) -> bool:
    return (span.from_utc is None or span.from_utc < until) and (span.to_utc is None or span.to_utc > from_utc)


def _start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _next_hour(moment: datetime) -> datetime:
    """Give the first full hour that is not before `moment`."""
    start = _start_of_hour(moment)
    return start if start == moment else start + _HOUR
