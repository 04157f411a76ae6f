"""NESO: half-hours of Great Britain, measured or as forecast, in stretches of 14 days at most."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from machine.services import Services

from greenrun.intensity import uncertainty
from greenrun.intensity.http import Client
from greenrun.intensity.model import Basis, Intensity, Place, Unavailable
from greenrun.intensity.neso import DEFAULT_URL, Neso

HALF_HOUR = timedelta(minutes=30)
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services, at noon of a day in the past."""
    with Services(lambda hour: 100.0 + hour.hour, expected=lambda hour: 500.0 + hour.hour, now=NOON) as running:
        yield running


def history(services: Services, begin: datetime, end: datetime) -> list[Intensity]:
    """Ask for a stretch that must be known."""
    spans = Neso(services.url, Client().get).history("GB", "direct", begin, end)
    assert not isinstance(spans, Unavailable), spans
    return spans


def test_half_hours_as_measured_and_the_rest_as_forecast(services: Services) -> None:
    """The half-hour that has not ended has no measured value: its forecast stands in, and is an estimate."""
    spans = history(services, NOON - timedelta(hours=2), NOON + timedelta(minutes=10))
    (request,) = services.requests
    assert request.path == "/intensity/2026-11-20T10:00Z/2026-11-20T12:30Z"
    assert [(str(span.from_utc)[11:16], span.grams_per_kwh) for span in spans] == [
        ("09:30", 109.0),  # NESO gives the one that ends with the first moment too
        ("10:00", 110.0),
        ("10:30", 110.0),
        ("11:00", 111.0),
        ("11:30", 111.0),
        ("12:00", 512.0),
    ]
    assert all((span.to_utc or NOON) - (span.from_utc or NOON) == HALF_HOUR for span in spans)
    measured, forecast = spans[4], spans[5]
    assert (measured.estimated, measured.note) == (False, "")
    assert measured.uncertainty_percent == uncertainty.measured("direct")
    assert (forecast.estimated, forecast.note) == (True, "forecast")
    assert forecast.uncertainty_percent == uncertainty.FORECAST_PERCENT
    assert (measured.link, measured.zone, measured.country, measured.basis) == ("neso", "GB", "GB", "direct")
    assert "CC BY 4.0" in measured.source


def test_a_long_stretch_is_asked_for_in_pieces_of_14_days(services: Services) -> None:
    """Every half-hour once, in order."""
    begin = NOON - timedelta(days=30)
    spans = history(services, begin, NOON)
    assert len(services.requests) == 3
    assert [span.from_utc for span in spans] == [begin + i * HALF_HOUR for i in range(-1, 30 * 48)]
    services.misbehave("2026-11-18", "503")  # the day on which the second piece ends
    assert len(history(services, begin, NOON)) == 14 * 48 + 1


def test_a_moment_is_a_stretch_of_one_half_hour(services: Services) -> None:
    """What holds at that moment."""
    assert history(services, NOON - HALF_HOUR, NOON - HALF_HOUR)[-1].from_utc == NOON - HALF_HOUR


def test_the_next_two_days(services: Services) -> None:
    """From the present half-hour by the real clock."""
    services.now = None
    spans = Neso(services.url, Client().get).forecast("GB", "direct", datetime.now(timezone.utc) + HALF_HOUR)
    assert not isinstance(spans, Unavailable)
    assert services.requests[0].path.endswith("/fw48h")
    assert len(spans) == 97
    assert all(span.estimated for span in spans[2:])


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("429", "limited"),
        ("503", "limited"),
        ("400", "broken"),
        ("html", "broken"),
        ("reset", "broken"),
        ("404", "broken"),
    ],
)
def test_what_goes_wrong(services: Services, kind: str, cause: str) -> None:
    """No figure, and the reason."""
    services.misbehave("", kind)
    answer = Neso(services.url, Client().get).history("GB", "direct", NOON - HALF_HOUR, NOON)
    assert isinstance(answer, Unavailable)
    assert answer.cause == cause


FIGURE = {"from": "2026-11-20T10:00Z", "to": "2026-11-20T10:30Z", "intensity": {"forecast": 1, "actual": 2}}


@pytest.mark.parametrize(
    "row",
    [
        {**FIGURE, "intensity": {"forecast": "1", "actual": -2}},
        {**FIGURE, "from": None},
        {**FIGURE, "to": "2026-11-20T10:00Z"},
        {**FIGURE, "to": "2026-11-21T10:00Z"},
    ],
)
def test_an_answer_in_another_form_is_told_as_broken(services: Services, row: object) -> None:
    """A service that changes its form must not fall back to a table in silence."""
    services.misbehave("", "body", body=json.dumps({"data": [row]}).encode())
    answer = Neso(services.url, Client().get).history("GB", "direct", NOON, NOON)
    assert answer == Unavailable("answered with figures or times for GB that make no sense", "broken")


@pytest.mark.parametrize(
    ("row", "grams"),
    [
        (FIGURE, 2.0),
        ({**FIGURE, "intensity": {"forecast": 0, "actual": None}}, 0.0),
        ({**FIGURE, "intensity": {"forecast": None, "actual": None}}, None),
        ({**FIGURE, "intensity": None}, None),
    ],
)
def test_odd_rows_are_left_out(services: Services, row: object, grams: float | None) -> None:
    """A row without a figure is none, not 0."""
    services.misbehave("", "body", body=json.dumps({"data": [row, None, "text"]}).encode())
    answer = Neso(services.url, Client().get).history("GB", "direct", NOON, NOON)
    if grams is None:
        assert answer == Unavailable("answered without a figure for GB", "absent")
    else:
        assert not isinstance(answer, Unavailable)
        assert [span.grams_per_kwh for span in answer] == [grams]


@pytest.mark.parametrize("document", [[], {"data": {}}, {"error": "x"}, 5])
def test_json_of_another_shape(services: Services, document: object) -> None:
    """Not what was asked for."""
    services.misbehave("", "body", body=json.dumps(document).encode())
    answer = Neso(services.url, Client().get).history("GB", "direct", NOON, NOON)
    assert isinstance(answer, Unavailable)
    assert answer.cause == "broken"


@pytest.mark.parametrize(
    ("country", "zone", "basis", "known"),
    [
        ("GB", None, "direct", True),
        ("GB", "GB", "direct", True),
        ("GB", "GB-NIR", "direct", False),
        ("GB", None, "lifecycle", False),
        ("IE", None, "direct", False),
        (None, None, "direct", False),
    ],
)
def test_what_it_serves(country: str | None, zone: str | None, basis: Basis, known: bool) -> None:
    """Great Britain, and direct emissions; another basis is absent with its reason."""
    found = Neso(DEFAULT_URL, Client().get).zone(Place(country, zone, "a test"), basis)
    assert found == "GB" if known else isinstance(found, Unavailable)
    assert known or found.cause == "absent"  # type: ignore[union-attr]
