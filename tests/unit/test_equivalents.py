"""What grams compare to: chosen by size, with their sources, and nothing for what is small or unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.logs import device, exited, intensity, sample, spawned, start

from greenrun.reports import equivalents, terminal, units
from greenrun.reports.account import account


def words(grams: float | None) -> list[str]:
    """Give the comparisons in words."""
    return [one.words.replace(units.NO_BREAK, " ") for one in equivalents.of(grams)]


@pytest.mark.parametrize("grams", [None, 0.0, 1e-6, 12.3])
def test_nothing_for_what_is_small_or_unknown(grams: float | None) -> None:
    """Less than one of the smallest thing there is is compared with nothing."""
    assert words(grams) == []


def test_by_size() -> None:
    """Charges, then kilometres, then a person's year; two at most."""
    assert words(100.0) == ["8.1 smartphone charges in the USA (EPA 2024)"]
    assert words(488.4) == [
        "39 smartphone charges in the USA (EPA 2024)",
        "2.0 km by the average petrol car of the USA (EPA 2024)",
    ]
    assert words(10e3) == ["41 km by the average petrol car of the USA (EPA 2024)"]
    assert words(652e3) == [
        "2670 km by the average petrol car of the USA (EPA 2024)",
        "10 % of what a person emits in a year (EDGAR 2025, UN 2024)",
    ]


@given(st.floats(min_value=12.4, max_value=1e12))
def test_there_is_always_one_and_never_three(grams: float) -> None:
    """Each is worth what it says."""
    found = equivalents.of(grams)
    assert 1 <= len(found) <= 2
    for one in found:
        assert one.amount >= 1.0
        assert one.amount * one.grams == pytest.approx(grams)


def test_the_summary_tells_them_below_the_grams() -> None:
    """As equivalents of the run's CO2e, and not at all where there is none."""
    events = [start(device("cpu")), spawned(0.0), sample(0.0, 0.0), sample(2.0, 3.6e6), exited(2.0)]
    known = terminal.render(account([*events[:1], intensity(1000.0), *events[1:]]))
    assert "  CO2e        1.00 kg (" in known
    assert "    about     81 smartphone charges in the USA (EPA 2024); 4.1 km by the average" in known
    assert "about" not in terminal.render(account(events))
