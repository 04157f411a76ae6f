"""A start as sbatch --begin= reads it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from greenrun.cli.when import slurm_begin

COPENHAGEN = ZoneInfo("Europe/Copenhagen")


def utc(text: str) -> datetime:
    """Read a moment of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("now", "start", "told"),
    [
        ("2026-11-22 12:00:00", "2026-11-22 12:00:00", "now"),
        ("2026-11-22 12:00:00", "2026-11-22 11:59:00", "now"),
        ("2026-11-22 12:00:00", "2026-11-22 12:00:01", "2026-11-22T13:00:01"),
        ("2026-11-22 12:00:00", "2026-11-22 23:30:00", "2026-11-23T00:30:00"),
        ("2026-11-22 12:00:00", "2026-11-22 12:00:00.000001", "2026-11-22T13:00:01"),
        ("2026-07-01 12:00:00", "2026-07-01 13:00:00", "2026-07-01T15:00:00"),
        # The night in which summer time begins: 02:00 to 03:00 is not there.
        ("2026-03-28 20:00:00", "2026-03-29 00:59:59", "2026-03-29T01:59:59"),
        ("2026-03-28 20:00:00", "2026-03-29 01:00:00", "2026-03-29T03:00:00"),
        # The night in which it ends: 02:00 to 03:00 is there twice.
        ("2026-10-24 20:00:00", "2026-10-24 23:59:59", "2026-10-25T01:59:59"),
        ("2026-10-24 20:00:00", "2026-10-25 00:00:00", "now+14400"),
        ("2026-10-24 20:00:00", "2026-10-25 01:59:59", "now+21599"),
        ("2026-10-24 20:00:00", "2026-10-25 02:00:00", "2026-10-25T03:00:00"),
    ],
)
def test_a_start_in_local_time(now: str, start: str, told: str) -> None:
    """Never earlier than the start, to the second; where the clock shows an hour twice, so many seconds from now."""
    assert slurm_begin(utc(start), utc(now), COPENHAGEN) == told


def test_every_local_time_means_one_moment() -> None:
    """Through a year, in steps that meet every minute: what is written reads back as the start itself."""
    now = utc("2026-01-01 00:00:00")
    for step in range(8760 * 2):
        start = now + timedelta(minutes=31 * step)
        told = slurm_begin(start, now, COPENHAGEN)
        if told.startswith("now"):
            assert timedelta(seconds=int(told[4:] or 0)) == start - now
        else:
            assert datetime.fromisoformat(told).replace(tzinfo=COPENHAGEN).astimezone(timezone.utc) == start
