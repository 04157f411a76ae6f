"""How sure a service's figure is: better known is narrower, and all are narrower than a yearly average."""

from __future__ import annotations

from greenrun.intensity import table, uncertainty


def test_the_order_of_trust() -> None:
    """Measured, estimated, forecast, and each of them below a country's yearly average."""
    order = [
        uncertainty.measured("direct"),
        uncertainty.measured("lifecycle"),
        uncertainty.ESTIMATED_PERCENT,
        uncertainty.FORECAST_PERCENT,
        uncertainty.unstated(uncertainty.FORECAST_PERCENT),
        uncertainty.MOST_HELD_PERCENT,
        table.COUNTRY_UNCERTAINTY_PERCENT,
    ]
    assert order == sorted(set(order))


def test_a_value_that_is_held_on_gets_less_sure() -> None:
    """From what it was, hour by hour, to a limit that is still below a yearly average's."""
    base = uncertainty.measured("lifecycle")
    grown = [uncertainty.held(base, hours) for hours in (-1, 0, 0.5, 1, 2, 6, 12, 24, 24_000)]
    assert grown[0] == grown[1] == base
    assert grown[1:-1] == sorted(grown[1:-1])
    assert base < grown[2] < grown[3] < grown[5]
    assert grown[-1] == uncertainty.MOST_HELD_PERCENT


def test_holding_makes_nothing_surer() -> None:
    """Not even what was less sure than the limit to begin with."""
    assert uncertainty.held(60.0, 3.0) == 60.0
