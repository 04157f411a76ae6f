"""Intensity now and to come as text: columns, labels, moments, reasons."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from greenrun.intensity import window
from greenrun.intensity.model import Intensity, Passed, Place
from greenrun.reports import forecast

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
CET = ZoneInfo("Europe/Copenhagen")
PLACE = Place("DK", "DK-DK1", "--zone")


def span(grams_per_kwh: float, from_hours: float, to_hours: float, **changes: object) -> Intensity:
    """Give a forecast of a stretch, in hours from noon."""
    one = Intensity(
        grams_per_kwh=grams_per_kwh,
        link="electricitymaps",
        source="Electricity Maps",
        zone="DK-DK1",
        country="DK",
        year=None,
        basis="lifecycle",
        uncertainty_percent=30.0,
        estimated=True,
        from_utc=NOON + timedelta(hours=from_hours),
        to_utc=NOON + timedelta(hours=to_hours),
        fetched_utc=NOON,
    )
    return one._replace(**changes)  # type: ignore[arg-type]


def hourly(*levels: float) -> list[Intensity]:
    """Give an hourly forecast from noon on."""
    return [span(level, hour, hour + 1) for hour, level in enumerate(levels)]


def column(lines: list[str], index: int) -> str:
    """Give one column of a chart's body, from the bottom up."""
    return "".join(line.ljust(80)[8 + index] for line in reversed(lines[:6]))


# --- the chart


@pytest.mark.parametrize(
    ("blocks", "drawn"),
    [
        (True, ["██████", "███   ", "▁     ", "▁     ", "▅     "]),
        (False, ["######", "###   ", ".     ", ".     ", ":     "]),
    ],
)
def test_columns_stand_on_zero_and_the_highest_fills_the_chart(blocks: bool, drawn: list[str]) -> None:
    """Half is half; what is nearly nothing, or nothing at all, can still be seen."""
    lines = forecast.chart(hourly(400, 200, 1, 0, 400 / 6 * 0.65), NOON, timezone.utc, blocks=blocks)
    assert [column(lines, 3 * hour + third) for hour in range(5) for third in range(3)] == [
        shape for shape in drawn for _ in range(3)
    ]
    assert {column(lines, index) for index in range(15, 72)} == {"      "}


def test_the_axis_names_heights_and_local_hours() -> None:
    """The highest, its half and 0; every third hour of local time below its own column."""
    lines = forecast.chart(hourly(*([412.0] * 24)), NOON + timedelta(minutes=37), CET, blocks=True)
    heights = ["    412|", "       |", "       |", "    206|", "       |", "       |", "      0+", " g/kWh  "]
    assert [line[:8] for line in lines] == heights
    assert all(len(line) <= 80 for line in lines)
    times = lines[-1]
    for text, hour in (("15:00", 2), ("18:00", 5), ("00:00", 11), ("09:00", 20)):  # 12:00 UTC is 13:00 there
        at = 8 + 3 * hour
        assert times[at : at + 5] == text
        assert lines[-2][at] == "+"
    assert lines[-2].count("+") == 1 + 8
    assert "12:00" not in times  # of it there would be but a part


def test_where_local_time_is_half_an_hour_off_the_columns_follow_it() -> None:
    """The chart begins with the local hour, and the forecast's hours lie across it."""
    lines = forecast.chart(hourly(300, 100), NOON, ZoneInfo("Asia/Kolkata"), blocks=True)  # 17:30 there
    heights = [column(lines, index).count("█") for index in range(9)]
    assert heights[:2] == [6, 6]  # the forecast begins at 17:30, and what was before it is taken to be the same
    assert heights[2:8] == [6, 6, 4, 2, 2, 2]  # 18:20 to 18:40 is the mean of both
    assert lines[-1][8 + 3 : 8 + 8] == "18:00"


def test_the_hours_go_on_where_the_clocks_go_back() -> None:
    """The night of October 2026 that has 02:00 twice: 24 hours later it is 23:00."""
    evening = datetime(2026, 10, 24, 22, 0, tzinfo=timezone.utc)  # 00:00 in Copenhagen, summer time
    lines = forecast.chart([], evening, CET, blocks=True)
    assert lines[-1].split() == ["g/kWh", "00:00", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00"]
    assert lines[-1].index("03:00") - lines[-1].index("00:00") == 12  # four hours lie between the two


@pytest.mark.parametrize(("width", "per_hour", "times"), [(200, 3, 8), (79, 2, 8), (56, 2, 8), (55, 1, 4), (20, 1, 4)])
def test_a_narrow_terminal_gets_a_narrow_chart(width: int, per_hour: int, times: int) -> None:
    """As many columns an hour as fit, three at most; below them times that do not run together, each at its hour."""
    lines = forecast.chart(hourly(400, 200, *[100] * 22), NOON, timezone.utc, blocks=True, width=width)
    assert [column(lines, index).count("█") for index in range(3 * per_hour)] == [
        height for height in (6, 3, 1) for _ in range(per_hour)
    ]
    assert max(map(len, lines)) == 8 + 24 * per_hour
    assert len(lines[-1].split()) == 1 + times
    for text in lines[-1].split()[1:]:
        at = lines[-1].index(text)
        assert (at - 8) // per_hour == (int(text[:2]) - 12) % 24
        assert lines[-2][at] == "+"


# --- words


def test_the_outlook_with_everything() -> None:
    """As it is printed."""
    now = span(123.4, 0, 1, uncertainty_percent=15.0, estimated=False)
    passed = [Passed("neso", "absent", "it serves Great Britain"), Passed("country table", "absent", "no row")]
    told = forecast.Outlook(PLACE, now, passed, hourly(250, 300, 200, *[240] * 30), [])
    text = forecast.outlook(told, NOON + timedelta(minutes=5), CET, blocks=False)
    assert text.splitlines()[:10] == [
        "Carbon intensity of DK-DK1 (--zone)",
        "  now         123 g/kWh +-15 %, from 13:00 to 14:00, lifecycle emissions",
        "  source      Electricity Maps, zone DK-DK1, fetched at 13:00",
        "  passed over NESO: it serves Great Britain",
        "  passed over country table: no row",
        "  next 24 h   lowest 200 g/kWh at 15:00, highest 300 g/kWh at 14:00, +-30 %,",
        "              lifecycle emissions, hours of local time (CET)",
        "  source      Electricity Maps, zone DK-DK1, fetched at 13:00",
        "",
        "    300|   ###",
    ]
    assert len(text.splitlines()) == 17
    assert max(map(len, text.splitlines())) <= 80


def test_the_outlook_of_a_table() -> None:
    """A year's figure, no forecast, and why; what was said of now is not said again."""
    table = {"link": "country table", "source": "Ember", "year": 2024, "zone": None, "estimated": False}
    now = span(100, 0, 1, from_utc=None, to_utc=None, fetched_utc=None, **table)
    token, closed = Passed("electricitymaps", "absent", "no token"), Passed("energidata", "broken", "timed\nout")
    told = forecast.Outlook(Place("DK", None, "time zone"), now, [token], [], [token, closed])
    assert forecast.outlook(told, NOON, CET, blocks=True).splitlines() == [
        "Carbon intensity of DK (time zone)",
        "  now         100 g/kWh +-30 %, yearly average, lifecycle emissions of 2024",
        "  source      Ember",
        "  passed over Electricity Maps: no token",
        "  next 24 h   no forecast",
        "              Energi Data Service: timed?out",
    ]


def test_what_the_user_told_has_no_range() -> None:
    """It is taken as exact: "+-0 %" would be a claim."""
    told = span(120, 0, 1, link="told", source="told by --intensity", zone=None, basis=None, uncertainty_percent=0.0)
    told = told._replace(from_utc=None, to_utc=None, fetched_utc=None, estimated=False, note="taken as exact")
    text = forecast.outlook(forecast.Outlook(PLACE, told, [], [], []), NOON, CET, blocks=True)
    assert text.splitlines()[1:3] == ["  now         120 g/kWh", "  source      told by --intensity, taken as exact"]


def test_lines_are_no_wider_than_the_terminal() -> None:
    """The words as well as the chart."""
    told = forecast.Outlook(PLACE, span(123.4, 0, 1), [], hourly(*[240] * 24), [])
    assert max(map(len, forecast.outlook(told, NOON, CET, blocks=True, width=60).splitlines())) <= 60
    assert max(map(len, forecast.job(job((400, 100), 1, 18), CET, width=60).splitlines())) <= 60


def test_nothing_known_is_unknown_and_not_zero() -> None:
    """No figure, no forecast, no place."""
    told = forecast.Outlook(Place(None, None, "unknown"), None, [], [], [])
    assert forecast.outlook(told, NOON, CET, blocks=True).splitlines() == [
        "Carbon intensity of an unknown place",
        "  now         unknown",
        "  next 24 h   no forecast",
    ]
    document = forecast.outlook_document(told)
    assert (document["now"], document["forecast"]) == (None, [])


def job(levels: tuple[float, ...], duration_hours: float, deadline_hours: float, now: datetime = NOON) -> forecast.Job:
    """Plan a job."""
    deadline = now + timedelta(hours=deadline_hours)
    plan = window.plan(hourly(*levels), now, duration_hours * 3600, deadline)
    assert plan is not None
    return forecast.Job(plan, PLACE, hourly(*levels)[0], now, deadline)


def test_a_plan_in_words() -> None:
    """When, for how long, where, what it saves, and that the forecast ends before the deadline."""
    assert forecast.job(job((400, 400, 100, 100, 300), 2, 18), CET).splitlines() == [
        "  start       15:00 CET, in 2 h, for 2 h, in DK-DK1 (--zone)",
        "  forecast    100 g/kWh +-30 %, the mean over the job, lifecycle emissions",
        "  saving      75 % of the CO2e of starting now, at 400 g/kWh by that forecast",
        "  searched    until 18:00, where the forecast ends; the deadline is later",
        "  source      Electricity Maps, zone DK-DK1, fetched at 13:00",
    ]


def test_now_is_best_in_words() -> None:
    """No saving is said to be none; a deadline within the forecast needs no word."""
    assert forecast.job(job((100, 400, 400), 1, 3), CET).splitlines()[:3] == [
        "  start       now, for 1 h, in DK-DK1 (--zone)",
        "  forecast    100 g/kWh +-30 %, the mean over the job, lifecycle emissions",
        "  saving      none by waiting: now is the greenest time",
    ]
    assert "searched" not in forecast.job(job((100, 400, 400), 1, 3), CET)


def test_without_a_figure_for_now_no_saving_is_told() -> None:
    """The forecast begins with the next hour."""
    early = job((100, 50), 1, 3, NOON - timedelta(minutes=10))
    assert "  saving      unknown, because the forecast does not begin with now" in forecast.job(early, CET)
    assert forecast.job_document(early)["saving_percent"] is None


def test_a_plan_as_a_document() -> None:
    """All that a script needs, in whole names and plain units."""
    document = forecast.job_document(job((400, 400, 100, 300), 1, 18))
    wanted = {
        "start": "2026-11-22T14:00:00+00:00",
        "end": "2026-11-22T15:00:00+00:00",
        "duration_seconds": 3600.0,
        "deadline": "2026-11-23T06:00:00+00:00",
        "searched_until": "2026-11-22T16:00:00+00:00",
        "grams_per_kwh": 100.0,
        "now_grams_per_kwh": 400.0,
        "saving_percent": 75.0,
        "zone": "DK-DK1",
        "link": "electricitymaps",
        "basis": "lifecycle",
    }
    assert {key: document[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("spans", "passed", "sentence"),
    [
        ([], [], "there is no forecast for DK-DK1 (--zone)"),
        (
            [],
            [
                Passed("neso", "absent", "it serves GB"),
                Passed("electricitymaps", "forbidden", "the token is not valid"),
            ],
            "there is no forecast for DK-DK1 (--zone): Electricity Maps: the token is not valid",
        ),
        (
            [],
            [Passed("neso", "absent", "unknown place"), Passed("energidata", "absent", "unknown place")],
            "there is no forecast for DK-DK1 (--zone): NESO, Energi Data Service: unknown place",
        ),
        (
            hourly(1, 1),
            [],
            "the forecast of Electricity Maps for DK-DK1 (--zone) ends at 15:00, too early for a job of 3 h",
        ),
        (
            [*hourly(1, 1), span(1, 2.5, 5)],
            [],
            "the forecast of Electricity Maps for DK-DK1 (--zone) has gaps, and nowhere before the deadline 3 h "
            "in one piece",
        ),
    ],
)
def test_why_there_is_no_plan(spans: list[Intensity], passed: list[Passed], sentence: str) -> None:
    """One sentence with the cause; a service that was not meant for the place is no cause beside one that failed."""
    assert forecast.no_plan(PLACE, spans, passed, NOON, 3 * 3600.0, CET) == sentence


def test_no_plan_for_an_unknown_place_says_what_would_help() -> None:
    """But for a failure, which comes first: a place may be unknown because nothing could be asked at all."""
    unknown, absent = Place(None, None, "unknown"), Passed("neso", "absent", "it serves Great Britain only")
    told = forecast.no_plan(unknown, [], [absent], NOON, 3600.0, CET)
    assert told == "there is no forecast, because the place is unknown (--zone or --country tells it)"
    failed = forecast.no_plan(unknown, [], [Passed("services", "broken", "no process")], NOON, 3600.0, CET)
    assert failed == "there is no forecast for an unknown place: services: no process"


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0, "13:00"),
        (10.5, "23:30"),
        (11, "Mon 00:00"),
        (24 * 6, "Sat 13:00"),
        (24 * 7, "Sun 29 Nov 13:00"),
        (-24, "Sat 13:00"),
    ],
)
def test_moments_are_as_short_as_they_are_clear(hours: float, text: str) -> None:
    """Today the time, this week the day, else the date."""
    assert forecast.plain(forecast.clock(NOON + timedelta(hours=hours), NOON, CET)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59.4, "60 s"),
        (119.0, "119 s"),
        (120, "2 min"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (86400, "1 d"),
    ],
)
def test_lengths_have_no_idle_parts(seconds: float, text: str) -> None:
    """3 h, not 3 h 0 min; no part of a second."""
    assert forecast.plain(forecast.length(seconds)) == text


@pytest.mark.parametrize(("best", "text"), [(25.0, "75 %"), (99.4, "1 %"), (99.6, "less than 1 %"), (0.0, "100 %")])
def test_a_saving_is_told_in_whole_per_cent(best: float, text: str) -> None:
    """A small one is not told as none."""
    assert forecast.plain(forecast.saving(job((100, best), 1, 3).plan)) == text
