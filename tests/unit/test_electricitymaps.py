"""Electricity Maps: what is asked, both versions' shapes, its refusals, and answers that are not to what was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from machine.services import TOKEN, Services

from greenrun.intensity import uncertainty
from greenrun.intensity.electricitymaps import DEFAULT_URL, ElectricityMaps
from greenrun.intensity.http import Client
from greenrun.intensity.model import Intensity, Place, Unavailable

HOUR = timedelta(hours=1)


def grams(hour: datetime) -> float:
    """Give each hour of a month a figure of its own."""
    return 100.0 + hour.day * 24.0 + hour.hour


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services, their clock at the start of the present hour: a test may see the hour change."""
    with Services(grams) as running:
        running.now = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
        yield running


def service(services: Services, version: str = "") -> ElectricityMaps:
    """Give the service under test, at the simulated address."""
    return ElectricityMaps(services.url + version, services.token, Client().get)


def history(services: Services, hours: float = 23, zone: str = "DE", version: str = "") -> list[Intensity]:
    """Ask for the last so many hours, which must be known."""
    answer = asked(services, hours, zone, version)
    assert not isinstance(answer, Unavailable), answer
    return answer


def asked(services: Services, hours: float = 23, zone: str = "DE", version: str = "") -> list[Intensity] | Unavailable:
    """Ask for the last so many hours."""
    now = services.clock()
    return service(services, version).history(zone, "lifecycle", now - hours * HOUR, now)


def refused(answer: list[Intensity] | Unavailable) -> Unavailable:
    """Give the reason, and see that the token is not in it."""
    assert isinstance(answer, Unavailable)
    assert TOKEN not in answer.reason
    return answer


@pytest.mark.parametrize(
    ("version", "path"), [("", "/v4"), ("/", "/v4"), ("/v4", "/v4"), ("/v3", "/v3"), ("/v3/", "/v3")]
)
def test_the_last_day_is_one_request(services: Services, version: str, path: str) -> None:
    """24 hours in the shapes of both versions, with the base as told; /v4 where no version is told."""
    spans = history(services, version=version)
    (request,) = services.requests
    assert request.path == f"{path}/carbon-intensity/history"
    assert request.query == {"zone": "DE", "emissionFactorType": "lifecycle", "disableCallerLookup": "true"}
    assert request.headers["auth-token"] == TOKEN
    last = services.clock()
    assert [span.from_utc for span in spans] == [last - back * HOUR for back in range(23, -1, -1)]
    assert all(span.to_utc == (span.from_utc or last) + HOUR for span in spans)
    assert [span.grams_per_kwh for span in spans] == [grams(last - back * HOUR) for back in range(23, -1, -1)]


def test_a_span_says_where_it_comes_from(services: Services) -> None:
    """Link, credit, zone, country, basis; and what is estimated says by what method."""
    now = services.clock()
    services.estimated = lambda hour: hour == now
    *_, measured, estimated = history(services, zone="US-CAL-CISO")
    assert (measured.link, measured.source) == ("electricitymaps", "Electricity Maps")
    assert (measured.zone, measured.country, measured.basis, measured.year) == ("US-CAL-CISO", "US", "lifecycle", None)
    assert (measured.estimated, measured.note) == (False, "")
    assert measured.uncertainty_percent == uncertainty.measured("lifecycle")
    assert estimated.estimated
    assert estimated.note == "estimated by Electricity Maps (TIME_SLICER_AVERAGE)"
    assert estimated.uncertainty_percent == uncertainty.ESTIMATED_PERCENT
    assert measured.fetched_utc is not None
    assert abs(datetime.now(timezone.utc) - measured.fetched_utc) < timedelta(minutes=1)


def test_the_basis_is_asked_for(services: Services) -> None:
    """And comes back in the span."""
    now = services.clock()
    spans = service(services).history("DE", "direct", now - HOUR, now)
    assert not isinstance(spans, Unavailable)
    assert {span.basis for span in spans} == {"direct"}
    assert services.requests[0].query["emissionFactorType"] == "direct"
    assert spans[0].uncertainty_percent == uncertainty.measured("direct")


def test_farther_back_is_asked_for_in_pieces_of_ten_days(services: Services) -> None:
    """Whole hours that cover the stretch, each once."""
    now = services.clock()
    begin = now - timedelta(days=23) + timedelta(minutes=30)
    spans = service(services).history("DE", "lifecycle", begin, now - timedelta(minutes=30))
    assert not isinstance(spans, Unavailable)
    assert [request.path for request in services.requests] == ["/v4/carbon-intensity/past-range"] * 3
    begins = [span.from_utc for span in spans]
    assert begins == [now - timedelta(days=23) + i * HOUR for i in range(23 * 24)]


def test_a_piece_that_fails_leaves_the_others(services: Services) -> None:
    """What is known is not thrown away."""
    now = services.clock()
    services.grams = lambda hour: None if hour < now - timedelta(days=5) else 50.0
    spans = service(services).history("DE", "lifecycle", now - timedelta(days=9), now)
    assert not isinstance(spans, Unavailable)
    services.grams = grams
    services.misbehave("past-range", "503", times=1)
    assert refused(service(services).history("DE", "lifecycle", now - timedelta(days=15), now)).cause == "limited"

    def after_ten_days(hour: datetime) -> float | None:
        return grams(hour) if hour < now - timedelta(days=5) else None

    services.grams = after_ten_days
    spans = service(services).history("DE", "lifecycle", now - timedelta(days=15), now)
    assert not isinstance(spans, Unavailable)
    assert len(spans) == 240


def test_a_plan_without_the_past_has_the_last_day(services: Services) -> None:
    """The zones are asked once what the token may; the note tells what is lacking."""
    services.plan = ("latest", "history", "forecast")
    spans = history(services, hours=50)
    assert [request.path.rpartition("/")[2] for request in services.requests] == ["past-range", "zones", "history"]
    assert len(spans) == 24
    assert {span.note for span in spans} == {"the token's plan does not include past-range"}


@pytest.mark.parametrize(
    ("tells_plan", "paths"), [(True, ["history", "zones", "latest"]), (False, ["history", "zones", "latest"])]
)
def test_a_plan_without_history_has_the_present_hour(services: Services, tells_plan: bool, paths: list[str]) -> None:
    """Whether the zones tell what the token may or not."""
    services.plan, services.tells_plan = ("latest",), tells_plan
    (span,) = history(services)
    assert [request.path.rpartition("/")[2] for request in services.requests] == paths
    assert (span.from_utc, span.grams_per_kwh) == (services.clock(), grams(services.clock()))
    assert span.note == "the token's plan does not include history"


def test_a_plan_that_has_nothing_of_the_zone(services: Services) -> None:
    """What it says it may not is not asked for; where it says nothing, it is."""
    services.plan = ()
    answer = refused(asked(services))
    assert answer == Unavailable("the token's plan does not include history, latest of DE (401)", "forbidden")
    assert len(services.asked("latest")) == 0
    services.tells_plan = False
    assert refused(asked(services)) == answer
    assert len(services.asked("latest")) == 1
    services.misbehave("zones", "503")
    assert refused(asked(services)) == answer


def test_a_plan_with_everything_says_so_with_a_star(services: Services) -> None:
    """A star lists no endpoint by name."""
    services.misbehave("history", "401 plan")
    services.misbehave("zones", "body", body=json.dumps({"DE": {"access": ["*"]}}).encode())
    assert len(history(services)) == 1


@pytest.mark.parametrize(
    ("kind", "cause", "words"),
    [
        ("401 token", "forbidden", "the token is not valid (401): Invalid auth-token"),
        ("401 too many", "limited", "too many calls with this token (401)"),
        ("400", "broken", "answered with status 400: Something about the request is wrong"),
        ("404", "broken", 'it has no recent data for DE (404): No recent data for zone "DE"'),
        ("429", "limited", "asked for fewer requests (429)"),
        ("503", "limited", "out of service for the moment (503)"),
        ("html", "broken", "answered with HTML instead of JSON"),
        ("truncated", "broken", "the answer was cut off"),
        ("reset", "broken", "the connection was reset"),
        ("redirect", "broken", "answered with a redirect (302), which is not followed"),
        ("other zone", "broken", "asked for DE, answered for FR"),
        ("other basis", "broken", "asked for lifecycle emissions, answered with others"),
    ],
)
def test_what_goes_wrong_is_told_by_its_name(services: Services, kind: str, cause: str, words: str) -> None:
    """One request, one reason; neither is the figure of another zone ever taken."""
    services.misbehave("", kind)
    answer = refused(asked(services))
    assert answer.cause == cause
    assert answer.reason.startswith(words)
    assert len(services.requests) == 1


def test_a_wrong_token(services: Services) -> None:
    """Neither the right nor the wrong one is told."""
    now = services.clock()
    answer = ElectricityMaps(services.url, "wrong-token-1", Client().get).history("DE", "lifecycle", now - HOUR, now)
    assert refused(answer).cause == "forbidden"
    assert "wrong-token-1" not in repr(answer)


def test_how_long_to_wait_is_handed_on(services: Services) -> None:
    """For the cache, which then asks nobody."""
    services.misbehave("history", "429", retry_after="77")
    assert refused(asked(services)).retry_after_seconds == 77.0


def body(services: Services, document: Any) -> list[Intensity] | Unavailable:
    """Let the service say this."""
    services.misbehave("", "body", body=json.dumps(document).encode())
    return asked(services)


def row(grams_per_kwh: object, at: object = "2026-11-22T07:00:00.000Z", **more: object) -> dict[str, object]:
    """Give a row as the service writes it."""
    return {"carbonIntensity": grams_per_kwh, "datetime": at, **more}


def test_odd_rows_are_left_out_and_the_others_stay(services: Services) -> None:
    """A figure is a number between 0 and what no grid emits; 0 is one."""
    odd = [None, "120", True, -1, 5001, 1e300, 10**400, [], {}]
    document = {"zone": "DE", "history": [*map(row, odd), row(0, "2026-11-22T08:00:00Z"), "text", None, row(9, "when")]}
    spans = body(services, document)
    assert not isinstance(spans, Unavailable)
    assert [(span.grams_per_kwh, str(span.from_utc)) for span in spans] == [(0.0, "2026-11-22 08:00:00+00:00")]
    services.misbehave(
        "", "body", body=b'{"zone": "DE", "data": [{"carbonIntensity": NaN, "datetime": "2026-11-22T07:00Z"}]}'
    )
    senseless = "answered with figures or times for DE that make no sense"
    assert refused(asked(services)) == Unavailable(senseless, "broken")


@pytest.mark.parametrize("when", ["0000-01-01T00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:30:00Z"])
def test_a_time_that_nobody_can_reckon_with_is_none(services: Services, when: str) -> None:
    """An hour more, or the day's midnight, would be past the end of all calendars."""
    answer = body(services, {"zone": "DE", "history": [{"carbonIntensity": 9, "datetime": when}]})
    assert refused(answer).cause == "broken"


@pytest.mark.parametrize("document", [[], {}, "text", 5, None, {"zone": "DE"}, {"zone": "DE", "data": {"a": 1}}])
def test_json_of_another_shape(services: Services, document: object) -> None:
    """Not what was asked for, whatever it is."""
    assert refused(body(services, document)).cause == "broken"


@pytest.mark.parametrize(
    "document",
    [
        {"data": [row(1)]},
        {"zone": None, "data": [row(1)]},
        {"zone": "DE", "data": [row(1, zone="FR")]},
        {"zone": "de", "data": [row(1)]},
        {"zone": "F\nR\x1b", "data": [row(1)]},
    ],
)
def test_an_answer_must_name_the_zone(services: Services, document: object) -> None:
    """In its head or in its rows, and nowhere another one."""
    answer = refused(body(services, document))
    assert answer.cause == "broken"
    assert answer.reason.startswith("asked for DE, answered for ")
    assert answer.reason.isprintable()


def test_a_row_may_leave_out_the_basis(services: Services) -> None:
    """As those of forecasts do; null says as little."""
    spans = body(services, {"zone": "DE", "data": [row(1, emissionFactorType=None)]})
    assert not isinstance(spans, Unavailable)


@pytest.mark.parametrize(
    ("granularity", "spacing_minutes", "minutes"),
    [
        ("hourly", 60, 60),
        ("daily", 1440, 1440),
        (None, 60, 60),
        (None, 30, 60),
        ("new_one", 1440, 1440),
        ("hourly", 120, 60),
    ],
)
def test_how_long_a_row_holds(services: Services, granularity: str | None, spacing_minutes: int, minutes: int) -> None:
    """As the answer says, else as the rows lie apart; half-hours and shorter become hours."""
    first = datetime(2026, 11, 1, tzinfo=timezone.utc)
    moments = [first + i * timedelta(minutes=spacing_minutes) for i in range(4)]
    document = {"zone": "DE", "data": [row(1, moment.isoformat()) for moment in moments]}
    if granularity:
        document["temporalGranularity"] = granularity
    spans = body(services, document)
    assert not isinstance(spans, Unavailable)
    assert {(span.to_utc or first) - (span.from_utc or first) for span in spans} == {timedelta(minutes=minutes)}


def test_short_steps_become_the_hour_s_mean(services: Services) -> None:
    """An hour of which a part is missing is estimated."""
    rows = [row(100 + i, f"2026-11-22T0{7 + i // 4}:{i % 4 * 15:02}:00Z") for i in range(7)]
    spans = body(services, {"zone": "DE", "temporalGranularity": "15_minutes", "data": rows})
    assert not isinstance(spans, Unavailable)
    assert [(span.grams_per_kwh, span.estimated) for span in spans] == [(101.5, False), (105.0, True)]


def test_a_single_row_holds_for_an_hour(services: Services) -> None:
    """Where nothing says how long."""
    spans = body(services, {"zone": "DE", "data": [row(5)]})
    assert not isinstance(spans, Unavailable)
    assert (spans[0].to_utc or 0) == datetime(2026, 11, 22, 8, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("ahead_hours", "horizon"), [(0.5, 6), (6, 6), (6.5, 24), (24, 24), (30, 48), (60, 72), (200, 72)]
)
@pytest.mark.parametrize("version", ["/v3", "/v4"])
def test_a_forecast_is_no_longer_than_it_needs_to_be(
    services: Services, version: str, ahead_hours: float, horizon: int
) -> None:
    """The smallest horizon that reaches, counted from the start of the present hour; every hour is an estimate."""
    services.expected = lambda hour: 7.0
    begin = services.clock()
    spans = service(services, version).forecast("DE", "lifecycle", begin + ahead_hours * HOUR)
    if datetime.now(timezone.utc) - begin >= HOUR:  # the hour changed in the middle: once more, in the new one
        services.now, begin = begin + HOUR, begin + HOUR
        services.requests.clear()
        spans = service(services, version).forecast("DE", "lifecycle", begin + ahead_hours * HOUR)
    assert not isinstance(spans, Unavailable)
    assert services.requests[0].query["horizonHours"] == str(horizon)
    assert len(spans) == horizon + 1
    assert all(span.estimated and span.note == "forecast" for span in spans)
    assert {span.uncertainty_percent for span in spans} == {uncertainty.FORECAST_PERCENT}
    assert {span.grams_per_kwh for span in spans} == {7.0}


def test_a_plan_without_forecasts(services: Services) -> None:
    """The plan, not the token."""
    services.plan = ("latest", "history")
    answer = service(services).forecast("DE", "lifecycle", services.clock() + HOUR)
    assert refused(answer) == Unavailable("the token's plan does not include forecast of DE (401)", "forbidden")


def test_the_zones(services: Services) -> None:
    """All of them, with what the token may."""
    zones = service(services).zones()
    assert isinstance(zones, dict)
    assert set(zones) == set(services.zones)
    services.misbehave("zones", "401 token")
    assert isinstance(service(services).zones(), Unavailable)
    services.misbehave("zones", "body", body=b"[]")
    assert service(services).zones() == Unavailable("answered with no list of zones", "broken")


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        (Place("DK", "DK-DK1", "a test"), "DK-DK1"),
        (Place("DE", None, "a test"), "DE"),
        (Place("CL", None, "a test"), "CL-SEN"),
    ],
)
def test_the_zone_of_a_place(place: Place, zone: str) -> None:
    """As it was told, else the country's."""
    never = ElectricityMaps(DEFAULT_URL, TOKEN, Client().get)
    assert never.zone(place, "direct") == zone
    assert isinstance(never.zone(Place(None, None, "unknown"), "lifecycle"), Unavailable)


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1",
        "http://localhost.example",
        "http://127.0.0.1@sink.example",
        "ftp://127.0.0.1",
        "http://[",
        "",
    ],
)
def test_the_token_is_not_sent_where_others_can_read_it(
    services: Services, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Over https, or to this machine itself; else nothing is sent at all: the proxy here would see all of it."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, services.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    now = datetime.now(timezone.utc)
    answer = refused(ElectricityMaps(url, TOKEN, Client().get).history("DE", "lifecycle", now - HOUR, now))
    assert answer.cause == "forbidden"
    assert "https" in answer.reason
    assert services.requests == []
    Client().get("http://192.0.2.1/zones", {}, {})
    assert len(services.requests) == 1, "the proxy sees nothing, so the test shows nothing"


def test_this_machine_and_encrypted_addresses_may_have_the_token(services: Services) -> None:
    """By name or by number; of an encrypted one it is enough that the connection is tried."""
    for url in (services.url, services.url.replace("127.0.0.1", "localhost")):
        assert isinstance(ElectricityMaps(url, TOKEN, Client().get).zones(), dict)
    encrypted = services.url.replace("http:", "https:")
    answer = ElectricityMaps(encrypted, TOKEN, Client().get).zones()
    assert answer == Unavailable("no encrypted connection could be made (TLS)", "broken")


def test_the_address_tells_the_version() -> None:
    """Answers of one address are not those of another."""
    assert ElectricityMaps(DEFAULT_URL, TOKEN, Client().get).address == "https://api.electricitymaps.com/v4"
    assert ElectricityMaps("https://mirror.example/v3/", TOKEN, Client().get).address == "https://mirror.example/v3"
