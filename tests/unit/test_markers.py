"""Markers on their way from where they are told to predictions."""

from __future__ import annotations

import re
import select
import time
from pathlib import Path

import pytest

from greenrun.cli.config import Config
from greenrun.cli.foresight import Foresight
from greenrun.cli.hourly import Hourly
from greenrun.cli.markers import Markers
from greenrun.sampler.loop import Sampler
from greenrun.sampler.model import Machine
from greenrun.sampler.runlog import Writer


class Told:
    """Markers of a run that nobody has started yet, with a marks file; keeps what is told the user."""

    def __init__(self, folder: Path) -> None:
        writer = Writer()
        sampler = Sampler(Machine(), writer, 1.0, time.monotonic(), meters=[])
        sampler.open_fast()
        sampler.read_all()
        self.sampler, self.writer = sampler, writer
        config = Config(offline=True)
        self.file = folder / "marks"
        self.file.touch()
        self.notes: list[tuple[int, bool]] = []
        poll = select.poll()
        foresight = Foresight(config, Hourly(sampler, config, time.time()), poll)
        self.markers = Markers(sampler, config, foresight, self._note, poll)
        self.markers.open(str(self.file), None, {}, 0)

    def _note(self, text: str, /, *, lasting: bool) -> None:
        (after,) = re.findall(r"after epoch (\d+)", text)
        self.notes.append((int(after), lasting))

    def mark(self, line: str) -> None:
        """Append a marker and have it taken."""
        with self.file.open("a") as file:
            file.write(line + "\n")
        self.markers.look()


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """Give markers of a run."""
    return Told(tmp_path)


def test_epoch_before_the_command_is_known_to_run(told: Told) -> None:
    """A marker may come before the word that the command runs: it counts all the same."""
    told.mark("epoch 1 4")
    assert told.notes == []
    told.markers.spawned(0.0)
    told.mark("epoch 2 4")
    assert told.notes == [(1, True), (2, True)]


def test_word_of_the_start_that_comes_long_after_an_epoch(told: Told) -> None:
    """What was used meanwhile is the second epoch's; the first has its part of what was used until its mark."""
    begun = told.sampler.started
    time.sleep(0.1)
    told.mark("epoch 1 4")
    marked, used = time.monotonic(), told.sampler.total_joules()
    time.sleep(0.3)
    told.sampler.sample()
    assert told.sampler.total_joules() > 2 * used > 0.0
    told.markers.spawned((marked - begun) / 2)
    assert told.notes == [(1, True)]
    (predicted,) = (event for event in told.writer.unwritten if event["event"] == "prediction")
    # Half of its joules were used before the command began, which is none of its own: half in the first of four.
    assert predicted["energy_joules"]["value"] == pytest.approx(4 * used / 2, rel=0.2)
    assert predicted["duration_seconds"]["value"] == pytest.approx(4 * (marked - begun) / 2, rel=0.2)


def test_what_lasts(told: Told) -> None:
    """Each prediction is told, those after 1, 2, 4, 8 ... epochs to last; after the last epoch there is none."""
    told.markers.spawned(0.0)
    for n in range(1, 11):
        told.mark(f"epoch {n} 10")
    assert told.notes == [(n, n in (1, 2, 4, 8)) for n in range(1, 10)]


def test_resumed(told: Told) -> None:
    """A job that goes on with its 51st epoch has its own doubling."""
    told.markers.spawned(0.0)
    for n in range(51, 56):
        told.mark(f"epoch {n} 100")
    assert told.notes == [(52, True), (53, False), (54, True), (55, False)]  # 51 alone may stand for 51 epochs
