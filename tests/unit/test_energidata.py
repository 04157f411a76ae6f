"""Energi Data Service: five minutes made into hours, the areas of Denmark, and its prognosis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from machine.services import Services

from greenrun.intensity import uncertainty
from greenrun.intensity.energidata import DEFAULT_URL, EnergiData
from greenrun.intensity.http import Client
from greenrun.intensity.model import Basis, Intensity, Place, Unavailable

HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services, at twenty past noon of a day in the past."""
    with Services(lambda hour: 10.0 * hour.hour, now=NOON + timedelta(minutes=20)) as running:
        yield running


def asked(services: Services, begin: datetime, end: datetime, zone: str = "DK-DK1") -> list[Intensity] | Unavailable:
    """Ask for a stretch."""
    return EnergiData(services.url, Client().get).history(zone, "direct", begin, end)


def test_five_minutes_become_hours(services: Services) -> None:
    """Whole hours, in UTC, all rows of one area; the hour that has not ended is an estimate."""
    spans = asked(services, NOON - timedelta(minutes=90), NOON + timedelta(minutes=20))
    assert not isinstance(spans, Unavailable)
    (request,) = services.requests
    assert request.path == "/dataset/CO2Emis"
    assert request.query == {
        "start": "2026-11-20T10:00",
        "end": "2026-11-20T13:00",
        "filter": '{"PriceArea":["DK1"]}',
        "timezone": "UTC",
        "limit": "0",
    }
    assert [(span.from_utc, span.grams_per_kwh, span.estimated) for span in spans] == [
        (NOON - 2 * HOUR, 100.0, False),
        (NOON - HOUR, 110.0, False),
        (NOON, 120.0, True),
    ]
    assert [span.uncertainty_percent for span in spans] == [
        uncertainty.measured("direct"),
        uncertainty.measured("direct"),
        uncertainty.ESTIMATED_PERCENT,
    ]
    first, *_, last = spans
    assert (first.link, first.zone, first.country, first.basis) == ("energidata", "DK-DK1", "DK", "direct")
    assert first.note == "CO2 alone, no other greenhouse gas"
    assert last.note == "CO2 alone, no other greenhouse gas; part of the hour is missing"
    assert "Energinet" in first.source
    assert first.to_utc == NOON - HOUR


def record(minute: int, grams: object, area: str = "DK1") -> dict[str, object]:
    """Give a record as the service writes it."""
    return {"Minutes5UTC": f"2026-11-20T10:{minute:02}:00", "PriceArea": area, "CO2Emission": grams}


def say(services: Services, records: object) -> None:
    """Let the service answer with these records."""
    services.misbehave("", "body", body=json.dumps({"records": records}).encode())


def test_the_mean_is_of_what_is_there(services: Services) -> None:
    """Gaps and nonsense are left out, not counted as 0; a moment told twice counts once."""
    records = [record(minute, 60.0 + minute) for minute in range(0, 60, 5)]
    say(services, list(reversed(records)))
    whole = asked(services, NOON, NOON)
    assert not isinstance(whole, Unavailable)
    assert (whole[0].grams_per_kwh, whole[0].estimated) == (87.5, False)
    say(services, [record(0, 40.0), record(0, 40.0), record(5, None), record(10, -3), record(15, 50.0), {}, None])
    part = asked(services, NOON, NOON)
    assert not isinstance(part, Unavailable)
    assert (part[0].grams_per_kwh, part[0].estimated) == (45.0, True)


def test_the_country_is_the_mean_of_its_areas(services: Services) -> None:
    """Moment by moment; a moment that one area lacks makes the hour an estimate."""
    records = [record(minute, grams, area) for minute in range(0, 60, 5) for grams, area in ((30, "DK1"), (50, "DK2"))]
    say(services, [*records, record(0, 4000, "SE")])
    spans = asked(services, NOON, NOON, "DK")
    assert not isinstance(spans, Unavailable)
    assert services.requests[0].query["filter"] == '{"PriceArea":["DK1","DK2"]}'
    assert (spans[0].grams_per_kwh, spans[0].estimated, spans[0].zone) == (40.0, False, "DK")
    assert "the mean of the areas DK1 and DK2" in spans[0].note
    say(services, records[:-1])
    spans = asked(services, NOON, NOON, "DK")
    assert not isinstance(spans, Unavailable)
    assert spans[0].estimated


def test_only_the_area_that_was_asked_for_counts(services: Services) -> None:
    """Whatever else the answer holds."""
    say(services, [record(0, 30, "DK1"), record(0, 50, "DK2")])
    spans = asked(services, NOON, NOON, "DK-DK2")
    assert not isinstance(spans, Unavailable)
    assert [span.grams_per_kwh for span in spans] == [50.0]


def test_the_prognosis(services: Services) -> None:
    """Another dataset; every hour is an estimate."""
    services.now = None
    services.expected = lambda hour: 33.0
    begin = datetime.now(timezone.utc)
    spans = EnergiData(services.url, Client().get).forecast("DK-DK2", "direct", begin + 6 * HOUR)
    assert not isinstance(spans, Unavailable)
    assert services.requests[0].path == "/dataset/CO2EmisProg"
    assert 6 <= len(spans) <= 8
    assert all(span.estimated and span.note.endswith("; forecast") for span in spans)
    assert {(span.grams_per_kwh, span.uncertainty_percent) for span in spans} == {(33.0, uncertainty.FORECAST_PERCENT)}


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
    answer = asked(services, NOON, NOON)
    assert isinstance(answer, Unavailable)
    assert answer.cause == cause


@pytest.mark.parametrize(("document", "cause"), [({"records": []}, "absent"), ({}, "broken"), ([1], "broken")])
def test_an_answer_without_figures(services: Services, document: object, cause: str) -> None:
    """Nothing is no figure."""
    services.misbehave("", "body", body=json.dumps(document).encode())
    answer = asked(services, NOON, NOON)
    assert isinstance(answer, Unavailable)
    assert answer.cause == cause


@pytest.mark.parametrize(
    ("country", "zone", "basis", "known"),
    [
        ("DK", "DK-DK1", "direct", "DK-DK1"),
        ("DK", "DK-DK2", "direct", "DK-DK2"),
        ("DK", None, "direct", "DK"),
        ("DK", "DK-BHM", "direct", None),
        ("DK", "DK-DK1", "lifecycle", None),
        ("SE", None, "direct", None),
        (None, None, "direct", None),
    ],
)
def test_what_it_serves(country: str | None, zone: str | None, basis: Basis, known: str | None) -> None:
    """Denmark's two areas, and direct emissions; another basis is absent with its reason."""
    found = EnergiData(DEFAULT_URL, Client().get).zone(Place(country, zone, "a test"), basis)
    if known:
        assert found == known
    else:
        assert isinstance(found, Unavailable)
        assert found.cause == "absent"
