"""The chain of links: told, services behind their cache, old answers, then the tables of region, country and world."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from machine.services import Services

from greenrun.intensity import chain, uncertainty
from greenrun.intensity.cache import Cache
from greenrun.intensity.electricitymaps import ElectricityMaps
from greenrun.intensity.energidata import EnergiData
from greenrun.intensity.http import Client
from greenrun.intensity.model import Answer, Basis, Intensity, Passed, Place, Service, Unavailable

NOW = datetime(2026, 7, 1, 10, 30, tzinfo=timezone.utc)
FULL = NOW.replace(minute=0)
HOUR = timedelta(hours=1)
DENMARK = Place("DK", None, "--country")
UNKNOWN = Place(None, None, "unknown")
DOWN = Unavailable("the connection was refused", "broken")


def span(hour: datetime, grams_per_kwh: float = 50.0, **fields: Any) -> Intensity:
    """Give what a service says of one hour."""
    return Intensity(
        grams_per_kwh,
        "one",
        "The One",
        "DK-DK1",
        "DK",
        None,
        "lifecycle",
        5.0,
        from_utc=hour,
        to_utc=hour + HOUR,
    )._replace(**fields)


class Stand:
    """A service that says what it is told to, and remembers what it was asked."""

    def __init__(
        self,
        link: str,
        *answer: Intensity,
        failing: Unavailable | None = None,
        closed: Unavailable | None = None,
    ) -> None:
        self.link = link
        self.address = f"https://{link}"
        self.answer: list[Intensity] | Unavailable = failing or [one._replace(link=link) for one in answer]
        self.asked: list[tuple[str, ...]] = []
        self._closed = closed

    def zone(self, place: Place, basis: Basis) -> str | Unavailable:
        """Give the zone, or why there is none."""
        return self._closed or place.zone or place.country or Unavailable("the place is unknown")

    def history(self, zone: str, basis: Basis, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Give the answer."""
        self.asked.append(("history", zone, basis, from_utc.isoformat(), to_utc.isoformat()))
        return self.answer

    def forecast(self, zone: str, basis: Basis, to_utc: datetime) -> list[Intensity] | Unavailable:
        """Give the answer."""
        self.asked.append(("forecast", zone, basis, to_utc.isoformat()))
        return self.answer


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Give an empty cache."""
    return Cache(str(tmp_path / "cache"))


def live(
    services: list[Stand],
    cache: Cache,
    from_utc: datetime = NOW,
    to_utc: datetime = NOW,
    now: datetime = NOW,
    **how: bool,
) -> Answer:
    """Ask for Denmark."""
    chosen: list[Service] = list(services)
    return chain.live(chosen, cache, DENMARK, "lifecycle", from_utc, to_utc, now, **how)


def forecast(services: list[Stand], cache: Cache, hours: int, now: datetime = NOW, **how: bool) -> Answer:
    """Ask for so many hours from now."""
    chosen: list[Service] = list(services)
    return chain.forecast(chosen, cache, DENMARK, "lifecycle", now + hours * HOUR, now, **how)


def stretches(answer: Answer) -> list[tuple[float, float, float, bool]]:
    """Give of each span from when to when, in hours from the full one, its value and whether it is estimated."""
    out = []
    for one in answer.spans:
        assert one.from_utc is not None
        assert one.to_utc is not None
        out.append(((one.from_utc - FULL) / HOUR, (one.to_utc - FULL) / HOUR, one.grams_per_kwh, one.estimated))
    return out


# --- without a network


def known(told: chain.Told | None, place: Place, basis: Basis = "lifecycle") -> Intensity:
    """Give the only intensity that is known."""
    (found,) = chain.known(told, place, basis).spans
    return found


def test_a_told_figure_goes_first() -> None:
    """It is taken as exact whatever the basis, says who told it, and nothing is passed over."""
    answer = chain.known(chain.Told(12.5, "--intensity"), DENMARK, "direct")
    (found,) = answer.spans
    assert (found.grams_per_kwh, found.uncertainty_percent, found.basis, found.country) == (12.5, 0.0, None, "DK")
    assert (found.link, found.source) == ("told", "told by --intensity")
    assert answer.passed == []


def test_a_told_figure_may_be_nothing() -> None:
    """0 g/kWh is a figure, not the lack of one."""
    assert known(chain.Told(0.0, "--intensity"), DENMARK).grams_per_kwh == 0.0


@pytest.mark.parametrize(
    ("place", "link", "country", "passed"),
    [
        (Place("DK", "DK-DK1", "--zone"), "region table", "DK", []),
        (DENMARK, "country table", "DK", ["region table"]),
        (UNKNOWN, "world", None, ["region table", "country table"]),
        (Place("TV", None, "--country"), "world", None, ["region table", "country table"]),
    ],
)
def test_the_nearest_table_counts(place: Place, link: str, country: str | None, passed: list[str]) -> None:
    """Region, country, world: each link passed over is named with its reason, and holds for all time."""
    answer = chain.known(None, place, "lifecycle")
    (found,) = answer.spans
    assert (found.link, found.country, found.basis) == (link, country, "lifecycle")
    assert (found.from_utc, found.to_utc, found.fetched_utc) == (None, None, None)
    assert [one.link for one in answer.passed] == passed
    assert all(one.cause == "absent" and one.reason for one in answer.passed)


def test_the_reason_names_what_is_missing() -> None:
    """The world's average is never taken in silence."""
    assert "the country is unknown" in chain.known(None, UNKNOWN, "lifecycle").passed[1].reason
    assert "Tuvalu" in chain.known(None, Place("TV", None, "--country"), "lifecycle").passed[1].reason


def test_bases_are_not_mixed() -> None:
    """Where all tables are of the other basis there is no figure, and each says why."""
    assert [known(None, DENMARK, basis).basis for basis in ("lifecycle", "direct")] == ["lifecycle", "direct"]
    answer = chain.known(None, UNKNOWN, "direct")
    assert answer.spans == []
    assert [one.link for one in answer.passed] == ["region table", "country table", "world"]
    assert "lifecycle" in answer.passed[-1].reason


# --- services


def test_the_first_that_answers_gives_the_spans(cache: Cache) -> None:
    """Those after it are not asked; one that does not serve the place is not asked either, but named."""
    closed = Stand("closed", closed=Unavailable("it serves Norway only"))
    down = Stand("down", failing=DOWN)
    one, two = Stand("one", span(FULL)), Stand("two", span(FULL))
    answer = live([closed, down, one, two], cache)
    assert [found.link for found in answer.spans] == ["one"]
    assert answer.passed == [
        Passed("closed", "absent", "it serves Norway only"),
        Passed("down", "broken", "the connection was refused"),
    ]
    assert (closed.asked, two.asked, len(down.asked), len(one.asked)) == ([], [], 1, 1)


def test_all_runs_of_a_day_ask_the_same(cache: Cache) -> None:
    """A whole day in full hours, up to now: so a second run, which began earlier or later, needs no request."""
    one = Stand("one", *(span(FULL - back * HOUR) for back in range(23, -1, -1)))
    begun = [(NOW, 0), (NOW - timedelta(seconds=7), 0), (NOW - 5 * HOUR, -5), (NOW - 23 * HOUR, -23)]
    for seconds, (from_utc, first) in enumerate(begun):
        answer = live([one], cache, from_utc, now=NOW + timedelta(seconds=seconds))
        assert stretches(answer) == [(hour, hour + 1, 50.0, False) for hour in range(first, 1)]
    assert one.asked == [("history", "DK", "lifecycle", (FULL - 23 * HOUR).isoformat(), NOW.isoformat())]


def test_spans_are_whole(cache: Cache) -> None:
    """What holds for an hour is told for the hour, so that the next answer finds the same; others are left out."""
    one = Stand("one", *(span(FULL + hours * HOUR, 10.0 * hours + 100) for hours in range(-4, 1)))
    answer = live([one], cache, NOW - 2 * HOUR)
    assert stretches(answer) == [(-2, -1, 80.0, False), (-1, 0, 90.0, False), (0, 1, 100.0, False)]
    # A moment has the span that holds then: the later one at the full hour.
    assert stretches(live([one], cache, FULL, FULL)) == [(0, 1, 100.0, False)]
    assert stretches(live([one], cache, FULL - HOUR, FULL)) == [(-1, 0, 90.0, False)]


def test_what_is_not_known_yet_is_held_on(cache: Cache) -> None:
    """Holes and the hours since the last value; each is estimated, with an uncertainty that grows."""
    one = Stand("one", span(FULL - 5 * HOUR, 10.0), span(FULL - 3 * HOUR, 20.0))
    answer = live([one], cache, NOW - 7 * HOUR)
    assert stretches(answer) == [
        (-5, -4, 10.0, False),
        (-4, -3, 10.0, True),
        (-3, -2, 20.0, False),
        (-2, -1, 20.0, True),
        (-1, 0, 20.0, True),
        (0, 1, 20.0, True),
    ]
    assert answer.spans[-1].uncertainty_percent == uncertainty.held(5.0, 3.0)
    assert answer.spans[-1].note == "held on from 08:00 UTC"
    assert {found.link for found in answer.spans} == {"one"}


def test_nothing_is_held_on_for_ever(cache: Cache) -> None:
    """24 h after its last value a service has no figure, and its link is passed over with the reason."""
    one, two = Stand("one", span(FULL - 25 * HOUR)), Stand("two", span(FULL, 60.0))
    answer = live([one, two], cache)
    assert stretches(answer) == [(0, 1, 60.0, False)]
    (passed,) = answer.passed
    assert (passed.link, passed.cause) == ("one", "absent")
    assert "2026-06-30 10:00 UTC" in passed.reason
    assert stretches(live([Stand("three", span(FULL - 24 * HOUR, 70.0))], cache)) == [(0, 1, 70.0, True)]


def test_the_future_is_not_for_holding(cache: Cache) -> None:
    """An hour ahead at most, however far is asked; what a service itself says of later hours stands."""
    one = Stand("one", span(FULL - HOUR))
    assert stretches(live([one], cache, to_utc=NOW + 12 * HOUR))[-1] == (1, 2, 50.0, True)
    two = Stand("two", span(FULL), span(FULL + 5 * HOUR))
    assert stretches(live([two], cache, to_utc=NOW + 12 * HOUR)) == [(0, 1, 50.0, False), (1, 2, 50.0, True)]


def test_a_stretch_that_is_over_is_asked_for_as_it_is(cache: Cache) -> None:
    """A run of last week, told anew: whole hours, no others."""
    week = timedelta(days=7)
    one = Stand("one", span(FULL - week), span(FULL - week + HOUR))
    answer = live([one], cache, NOW - week, NOW - week + HOUR)
    assert stretches(answer) == [(-168, -167, 50.0, False), (-167, -166, 50.0, False)]
    asked = ("history", "DK", "lifecycle", (FULL - week).isoformat(), (FULL - week + 2 * HOUR).isoformat())
    assert one.asked == [asked]


def test_a_failing_service_is_asked_again_if_a_person_insists(cache: Cache) -> None:
    """Else the failure holds for a minute."""
    one = Stand("one", failing=DOWN)
    live([one], cache)
    answer = live([one], cache)
    assert "not asked again before 10:31 UTC" in answer.passed[0].reason
    assert len(one.asked) == 1
    live([one], cache, insist=True)
    assert len(one.asked) == 2


# --- old answers


def test_the_newest_old_answer_is_held_on_where_nobody_answers(cache: Cache) -> None:
    """It is flagged, says how old it is, and who was asked in vain."""
    one, two = Stand("one", span(FULL - 3 * HOUR, 10.0)), Stand("two", span(FULL - 2 * HOUR, 20.0))
    live([one], cache, now=NOW - 2 * HOUR, from_utc=NOW - 3 * HOUR)
    live([two], cache, now=NOW - HOUR, from_utc=NOW - 2 * HOUR)
    one.answer = two.answer = DOWN
    answer = live([one, two], cache)
    assert stretches(answer) == [(0, 1, 20.0, True)]
    (found,) = answer.spans
    assert (found.link, found.source) == ("stale cache", "The One")
    assert found.note == "held on from 09:00 UTC; from the cache, fetched 60 min ago"
    assert found.fetched_utc == NOW - HOUR
    assert [passed.link for passed in answer.passed] == ["one", "two"]


def test_what_was_measured_does_not_grow_stale(cache: Cache) -> None:
    """An hour that was over when it was fetched is as good as ever: only what is held on is flagged."""
    one = Stand("one", span(FULL - 4 * HOUR, estimated=True), span(FULL - 3 * HOUR), span(FULL - 2 * HOUR))
    live([one], cache, now=NOW - 2 * HOUR)
    one.answer = DOWN
    answer = live([one], cache, from_utc=NOW - 4 * HOUR)
    assert [(found.link, found.estimated) for found in answer.spans] == [
        ("stale cache", True),
        ("one", False),
        ("stale cache", False),  # it was not over yet
        ("stale cache", True),
        ("stale cache", True),
    ]


def test_an_old_answer_counts_for_a_day(cache: Cache) -> None:
    """24 h after it came it is passed over, too; the tables are then the caller's next link."""
    one = Stand("one", span(FULL + HOUR))  # as one would say that knows the next hour
    live([one], cache)
    one.answer = DOWN
    late = NOW + 24 * HOUR
    assert [found.link for found in live([one], cache, late, late, late).spans] == ["stale cache"]
    late += timedelta(minutes=1)
    answer = live([one], cache, late, late, late)
    assert answer.spans == []
    assert [(passed.link, passed.cause) for passed in answer.passed] == [("one", "broken"), ("stale cache", "absent")]


def test_without_a_service_for_the_place_no_old_answer_is_missed(cache: Cache) -> None:
    """Then only the services themselves are named."""
    answer = live([Stand("closed", closed=Unavailable("no token"))], cache)
    assert answer == Answer([], [Passed("closed", "absent", "no token")])


def test_offline_only_the_cache_is_looked_at(cache: Cache) -> None:
    """A fresh answer keeps its link, an old one is flagged; nobody is asked, and no failure is left for others."""
    one = Stand("one", span(FULL))
    assert live([one], cache, asking=False).spans == []
    assert one.asked == []
    live([one], cache)
    assert [found.link for found in live([one], cache, asking=False).spans] == ["one"]
    later = NOW + HOUR
    answer = live([one], cache, later, later, later, asking=False)
    assert [found.link for found in answer.spans] == ["stale cache"]
    assert answer.passed == [Passed("one", "absent", "not asked (offline)")]
    live([one], cache, later, later, later)
    assert len(one.asked) == 2


# --- what is to come


def test_a_forecast_is_not_held_on(cache: Cache) -> None:
    """What is over is cut off, what was not asked for, too; a hole stays one."""
    one = Stand("one", *(span(FULL + hours * HOUR, 10.0 + hours, estimated=True) for hours in (-1, 0, 1, 3, 4)))
    answer = forecast([Stand("down", failing=DOWN), one], cache, 3)
    assert stretches(answer) == [(0.5, 1, 10.0, True), (1, 2, 11.0, True), (3, 3.5, 13.0, True)]
    assert [passed.link for passed in answer.passed] == ["down"]
    assert one.asked == [("forecast", "DK", "lifecycle", (NOW + 3 * HOUR).isoformat())]
    forecast([one], cache, 3, NOW + timedelta(minutes=20))
    assert len(one.asked) == 1


def test_an_old_forecast_is_better_than_none(cache: Cache) -> None:
    """What is left of it, flagged; once all of it is over there is none."""
    one = Stand("one", *(span(FULL + hours * HOUR, estimated=True) for hours in range(6)))
    forecast([one], cache, 6)
    one.answer = DOWN
    answer = forecast([one], cache, 6, NOW + 4 * HOUR)
    assert stretches(answer) == [(4.5, 5, 50.0, True), (5, 6, 50.0, True)]
    assert {found.link for found in answer.spans} == {"stale cache"}
    over = forecast([one], cache, 6, NOW + 6 * HOUR)
    assert over.spans == []
    assert [passed.link for passed in over.passed] == ["one", "stale cache"]


# --- the run log's event


def test_the_event_is_json_and_says_how_the_place_is_known() -> None:
    """All that the account needs goes into the run log."""
    answer = chain.known(None, DENMARK, "lifecycle")
    event = chain.event_fields(answer.spans[0], DENMARK, answer.passed)
    assert json.loads(json.dumps(event)) == event
    assert (event["how"], event["grams_per_kwh"], event["from_utc"], event["to_utc"], event["fetched_at"]) == (
        "--country",
        114.41,
        None,
        None,
        None,
    )
    assert (event["link"], event["basis"], event["year"]) == ("country table", "lifecycle", 2025)
    assert event["passed"] == [
        {"link": "region table", "cause": "absent", "reason": "no zone is known, only the country"}
    ]


def test_the_event_of_an_hour_has_its_times() -> None:
    """ISO 8601, with the moment at which it was fetched."""
    event = chain.event_fields(span(FULL, fetched_utc=NOW, estimated=True), DENMARK)
    assert (event["from_utc"], event["to_utc"]) == ("2026-07-01T10:00:00+00:00", "2026-07-01T11:00:00+00:00")
    assert (event["fetched_at"], event["estimated"], event["passed"]) == ("2026-07-01T10:30:00+00:00", True, [])


# --- the services themselves, against their stand-in

DENMARK_WEST = Place("DK", "DK-DK1", "--zone")


def real(services: Services) -> list[Service]:
    """Give two services, both for Western Denmark, that ask the stand-in."""
    get = Client().get
    return [
        ElectricityMaps(services.electricitymaps_url, services.token, get),
        EnergiData(services.url, get),
    ]


def test_a_day_of_a_real_service_and_its_next_hour(cache: Cache) -> None:
    """A cold cache and a run of nine hours: one request, every hour as it was; then what is to come."""
    with Services(lambda hour: 100.0 + hour.hour) as services:
        now = services.clock()
        answer = chain.live(real(services), cache, DENMARK_WEST, "lifecycle", now - 9 * HOUR, now, now)
        again = chain.live(real(services), cache, DENMARK_WEST, "lifecycle", now - 5 * HOUR, now, now)
        assert len(services.requests) == 1
    assert len(answer.spans) == 10
    assert all(one.from_utc and one.grams_per_kwh == 100.0 + one.from_utc.hour for one in answer.spans)
    assert {one.link for one in answer.spans} == {"electricitymaps"}
    assert again.spans == answer.spans[-6:]


@pytest.mark.parametrize("kind", ["401 token", "404", "429", "503", "html", "reset", "truncated", "other zone"])
def test_each_failure_ends_in_the_next_link(cache: Cache, tmp_path: Path, kind: str) -> None:
    """With its reason; and neither the reason nor the cache holds the token."""
    with Services() as services:
        services.misbehave("/carbon-intensity/", kind)
        now = services.clock()
        place, first = DENMARK_WEST, real(services)[:1]
        answer = chain.live(first, cache, place, "lifecycle", now - HOUR, now, now)
        assert answer.spans == []
        assert [passed.link for passed in answer.passed] == ["electricitymaps", "stale cache"]
        direct = chain.live(real(services), cache, place, "direct", now - HOUR, now, now)
        assert {one.link for one in direct.spans} == {"energidata"}
        assert [passed.link for passed in direct.passed] == ["electricitymaps"]
        told = repr((answer, direct)).encode()
        kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").iterdir())
    assert services.token.encode() not in told + kept
    assert b"energidata" in kept
