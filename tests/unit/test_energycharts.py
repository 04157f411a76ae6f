"""Energy-Charts: quarter-hours made into hours, measured before forecast, and a basis that it does not state."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from machine.services import Services

from greenrun.intensity import uncertainty
from greenrun.intensity.energycharts import DEFAULT_URL, EnergyCharts
from greenrun.intensity.http import Client
from greenrun.intensity.model import Basis, Intensity, Place, Unavailable

HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services, at noon of a day in the past."""
    with Services(lambda hour: 300.0 + hour.hour, expected=lambda hour: 700.0 + hour.hour, now=NOON) as running:
        yield running


def asked(services: Services, begin: datetime, end: datetime, zone: str = "DE") -> list[Intensity] | Unavailable:
    """Ask for a stretch."""
    return EnergyCharts(services.url, Client().get).history(zone, "lifecycle", begin, end)


def test_quarter_hours_become_hours(services: Services) -> None:
    """Measured where it is, else as it was forecast; a forecast in it makes the hour an estimate."""
    spans = asked(services, NOON - timedelta(minutes=90), NOON + timedelta(minutes=20))
    assert not isinstance(spans, Unavailable)
    (request,) = services.requests
    assert request.path == "/co2eq"
    assert request.query == {"country": "de", "start": "2026-11-20T10:00Z", "end": "2026-11-20T12:45Z"}
    assert [(span.from_utc, span.grams_per_kwh, span.estimated) for span in spans] == [
        (NOON - 2 * HOUR, 310.0, False),
        (NOON - HOUR, 311.0, False),
        (NOON, 712.0, True),
    ]
    assert (spans[0].link, spans[0].zone, spans[0].country, spans[0].basis) == ("energycharts", "DE", "DE", "lifecycle")
    assert "Fraunhofer ISE" in spans[0].source
    assert spans[0].to_utc == NOON - HOUR


def test_the_doubt_about_the_basis_is_in_the_note_and_in_the_uncertainty(services: Services) -> None:
    """It is never taken for a figure whose basis is known."""
    spans = asked(services, NOON - 2 * HOUR, NOON)
    assert not isinstance(spans, Unavailable)
    assert all(span.note.startswith("the service does not state the basis") for span in spans)
    assert spans[0].uncertainty_percent == math.hypot(uncertainty.MEASURED_LIFECYCLE_PERCENT, 20.0) == 25.0
    services.now = NOON - timedelta(minutes=30)
    spans = asked(services, NOON - HOUR, NOON)
    assert not isinstance(spans, Unavailable)
    assert spans[0].grams_per_kwh == (2 * 311.0 + 2 * 711.0) / 4
    assert spans[0].uncertainty_percent == math.hypot(uncertainty.ESTIMATED_PERCENT, 20.0)


def test_the_forecast(services: Services) -> None:
    """From the present hour by the real clock; every hour is an estimate."""
    service = EnergyCharts(services.url, Client().get)
    services.now = datetime.now(timezone.utc) + 9 * HOUR  # its clock is wrong: it calls all of it measured
    spans = service.forecast("DE", "lifecycle", datetime.now(timezone.utc) + 3 * HOUR)
    assert not isinstance(spans, Unavailable)
    assert all(span.estimated for span in spans)
    services.now = None
    spans = service.forecast("DE", "lifecycle", datetime.now(timezone.utc) + 3 * HOUR)
    assert not isinstance(spans, Unavailable)
    assert 4 <= len(spans) <= 5
    assert all(span.estimated and span.note.endswith("; forecast") for span in spans)
    assert spans[1].uncertainty_percent == math.hypot(uncertainty.FORECAST_PERCENT, 20.0)
    assert spans[-1].grams_per_kwh >= 700.0


def test_the_united_kingdom_has_a_name_of_its_own_there(services: Services) -> None:
    """GB with us."""
    spans = asked(services, NOON - HOUR, NOON, "GB")
    assert not isinstance(spans, Unavailable)
    assert services.requests[0].query["country"] == "uk"
    assert (spans[0].zone, spans[0].country) == ("GB", "GB")


@pytest.mark.parametrize(
    ("document", "grams"),
    [
        ({"unix_seconds": [1795168800], "co2eq": [491.5], "co2eq_forecast": [505.0]}, 491.5),
        ({"unix_seconds": [1795168800], "co2eq": [None], "co2eq_forecast": [505.0]}, 505.0),
        ({"unix_seconds": [1795168800], "co2eq": [0]}, 0.0),
        ({"unix_seconds": [1795168800, 1795169700], "co2eq": [None, 6], "co2eq_forecast": [4]}, 5.0),
        ({"unix_seconds": [1795168800, 1795169700], "co2eq": [5], "co2eq_forecast": [None, 7]}, 6.0),
        ({"unix_seconds": [1795168800, "x", None, True, 1e300], "co2eq": [9, 1, 1, 1, 1], "co2eq_forecast": None}, 9.0),
    ],
)
def test_lists_with_holes(services: Services, document: object, grams: float) -> None:
    """Each place in the lists on its own; too short a list is one with holes."""
    services.misbehave("", "body", body=json.dumps(document).encode())
    spans = asked(services, NOON, NOON)
    assert not isinstance(spans, Unavailable)
    assert [span.grams_per_kwh for span in spans] == [grams]


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ({"unix_seconds": [1795168800], "co2eq": [None], "co2eq_forecast": [None]}, "absent"),
        ({"unix_seconds": [], "co2eq": []}, "absent"),
        ({"unix_seconds": [1795168800]}, "broken"),
        ({"unix_seconds": "x", "co2eq": "x"}, "broken"),
        ([], "broken"),
    ],
)
def test_an_answer_without_figures(services: Services, document: object, cause: str) -> None:
    """Nothing is no figure."""
    services.misbehave("", "body", body=json.dumps(document).encode())
    answer = asked(services, NOON, NOON)
    assert isinstance(answer, Unavailable)
    assert answer.cause == cause


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("429", "limited"), ("503", "limited"), ("html", "broken"), ("truncated", "broken"), ("404", "absent")],
)
def test_what_goes_wrong(services: Services, kind: str, cause: str) -> None:
    """No figure, and the reason."""
    services.misbehave("", kind)
    answer = asked(services, NOON, NOON)
    assert isinstance(answer, Unavailable)
    assert answer.cause == cause


def test_a_country_that_it_has_nothing_of(services: Services) -> None:
    """Its documentation lists more countries than have figures."""
    answer = asked(services, NOON, NOON, "AL")
    assert answer == Unavailable("has nothing there (404): no content available", "absent")


@pytest.mark.parametrize(
    ("country", "zone", "basis", "known"),
    [
        ("DE", None, "lifecycle", True),
        ("DE", "DE", "lifecycle", True),
        ("FR", None, "lifecycle", True),
        ("DE", None, "direct", False),
        ("SE", "SE-SE3", "lifecycle", False),
        ("US", None, "lifecycle", False),
        (None, None, "lifecycle", False),
    ],
)
def test_what_it_serves(country: str | None, zone: str | None, basis: Basis, known: bool) -> None:
    """Countries of Europe as a whole; another basis is absent with its reason."""
    found = EnergyCharts(DEFAULT_URL, Client().get).zone(Place(country, zone, "a test"), basis)
    if known:
        assert found == country
    else:
        assert isinstance(found, Unavailable)
        assert found.cause == "absent"
