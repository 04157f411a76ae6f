"""Durations as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.cli import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h", 10800.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("90m", 5400.0),
        ("90min", 5400.0),
        ("1 h 30 min", 5400.0),
        ("45s", 45.0),
        ("2d", 172800.0),
        ("1d2h3m4s", 93784.0),
        ("1.5h", 5400.0),
        ("0.5s", 0.5),
        ("0h5m", 300.0),
        (" 3H ", 10800.0),
        ("365d", 365 * 86400.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    """Days, hours, minutes and seconds, the larger unit first."""
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "h",
        "3x",
        "-3h",
        "+3h",
        "3h-",
        "0s",
        "1h1h",
        "30m1h",
        "90m90min",
        "1e3s",
        "nan",
        "inf",
        "3,5h",
        ".5h",
        "3.h",
        "366d",
        "9" * 10 + "s",
        "9" * 5000 + "h",
        "٣h",
        "12:00:00",
        "3 hours",
        "3hh",
        "3h  5m",
    ],
)
def test_what_is_no_duration_says_what_it_must_be(text: str) -> None:
    """The error is the end of a sentence that begins with the place."""
    with pytest.raises(ValueError, match=r"^must be a duration, such as 3h, 1h30m, 90m, 45s or 2d, and at most 365d$"):
        durations.seconds(text)


@pytest.mark.parametrize("text", ["3", "90", "1.5", "0"])
def test_a_number_without_a_unit_is_asked_for_it(text: str) -> None:
    """Nobody can know whether minutes or hours were meant."""
    with pytest.raises(ValueError, match=r"^must be a duration, with its unit, such as 3h"):
        durations.seconds(text)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_parts_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    """Whatever the numbers are."""
    told = durations.seconds(f"{days}d{hours}h{minutes}m{seconds}s")
    assert told == days * 86400 + hours * 3600 + minutes * 60 + seconds
