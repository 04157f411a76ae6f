"""What it costs in certainty that a device's readings are up to a second old."""

from __future__ import annotations

from typing import Any

import pytest
from unit.data.logs import device, exited, sample, spawned, start

from greenrun.reports.account import account

AGENT = device("agent:package-0", percent=5.0, resolution_seconds=1.0)


def record(joules: list[tuple[float, float]], finish: float) -> dict[str, Any]:
    """Give the record of a run from 0 s to `finish` whose device was seen to have used so much at those times."""
    samples = [sample(t, value) for t, value in joules]
    return dict(account([start(AGENT), spawned(0.0), *samples, exited(finish)]))


def half_width_joules(told: dict[str, Any]) -> float:
    """Give the half-width of the one device."""
    (one,) = told["devices"]
    return float(one["energy_joules"] * one["uncertainty_percent"] / 100.0)


def test_a_second_of_power_is_added() -> None:
    """65 W for ten seconds: 5 % of 650 J, and 65 J."""
    told = record([(float(t), 65.0 * t) for t in range(11)], 10.0)
    assert half_width_joules(told) == pytest.approx(0.05 * 650.0 + 65.0)
    assert told["uncertainty_percent"] == pytest.approx(15.0)
    assert told["status"] == "complete"


def test_it_is_the_power_at_the_ends_where_that_is_more() -> None:
    """A job that idles for a minute and then works: at its end a second is a second of work."""
    points = [(float(t), 10.0 * t) for t in range(61)] + [(float(t), 600.0 + 200.0 * (t - 60)) for t in range(61, 71)]
    assert half_width_joules(record(points, 70.0)) == pytest.approx(0.05 * 2600.0 + 200.0)
    backwards = [(float(t), 200.0 * t) for t in range(11)]
    backwards += [(float(t), 2000.0 + 10.0 * (t - 10)) for t in range(11, 71)]
    assert half_width_joules(record(backwards, 70.0)) == pytest.approx(0.05 * 2600.0 + 200.0)


def test_a_command_shorter_than_the_time_between_two_readings() -> None:
    """Where none came nothing is known, which is not 0 J; where one came, no more than it is doubted."""
    told = record([(0.0, 0.0), (0.4, 0.0)], 0.4)
    assert told["energy_joules"]["total"] is None
    assert told["status"] == "partial"
    assert [warned["code"] for warned in told["warnings"]][:1] == ["unread"]
    told = record([(0.0, 0.0), (0.4, 65.0)], 0.4)
    assert half_width_joules(told) == pytest.approx(65.0 * 1.05)


def test_a_device_that_is_read_at_once_is_as_sure_as_before() -> None:
    """Without such a resolution nothing is added, and 0 J stay 0 J."""
    plain = account([start(device("cpu0")), spawned(0.0), sample(0.0, 0.0), sample(0.4, 0.0), exited(0.4)])
    assert plain["devices"][0]["energy_joules"] == 0.0
    steady = account([start(device("cpu0")), spawned(0.0), sample(0.0, 0.0), sample(2.0, 100.0), exited(2.0)])
    assert steady["devices"][0]["uncertainty_percent"] == pytest.approx(5.0)
