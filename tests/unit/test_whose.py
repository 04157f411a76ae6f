"""What becomes known of whose a GPU is while the job runs: in the log, in the account, and after a sampler's death."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from unit.data.logs import device, end, exited, joined, sample, spawned, start

from greenrun.reports.account import account
from greenrun.sampler.clock import Clock
from greenrun.sampler.events import flaw
from greenrun.sampler.loop import Sampler
from greenrun.sampler.model import BaseSource, Device, Machine, Opened, Power, Reading, Whose
from greenrun.sampler.runlog import Writer

STARTED = 5000.0
GPUS = tuple(Device(f"gpu{n}", "gpu", "GPU", "test", "power", 5.0, 1000.0) for n in range(2))
ALONE = Whose("gpu0", True, None, False, "")
SHARED = Whose("gpu0", None, None, True, "shared")
NOT_SEEN = Whose("gpu0", False, None, False, "not seen")
UNTOLD = Whose("gpu0", None, None, False, "not known")
CUT = Whose("gpu0", None, 0.25, False, "a slice")


@dataclass
class MovedClock(Clock):
    """Stands where it was put."""

    now: float = STARTED

    def monotonic(self) -> float:
        """Give the moment."""
        return self.now


@dataclass
class Gpus(BaseSource):
    """Two GPUs whose shares and whose words are chosen."""

    name: str = "gpus"
    slow: bool = False
    poll_seconds: float | None = None
    part: float | None = None
    words: list[Whose] = field(default_factory=list)
    last_words: list[Whose] = field(default_factory=list)
    asked: list[tuple[int, float]] = field(default_factory=list)
    _warnings: list[tuple[str | None, str]] = field(default_factory=list)

    def open(self, _machine: Machine) -> Opened:
        """Give both."""
        return Opened(GPUS)

    def read(self) -> Sequence[Reading | None]:
        """Give a steady power."""
        return [Power(STARTED, 100.0)] * 2

    def utilisation(self) -> Sequence[float | None]:
        """Give half."""
        return [0.5, 0.5]

    def shares(self, job: int, seconds: float) -> Sequence[float | None]:
        """Give the chosen part of the first, and note the question."""
        self.asked.append((job, seconds))
        return [self.part, None]

    def whose(self, *, over: bool = False) -> Sequence[Whose]:
        """Hand over the words, and at the end the last ones."""
        told, self.words = [*self.words, *(self.last_words if over else ())], []
        return told


class Run:
    """A sampler that reads the two GPUs; its log stays in memory."""

    def __init__(self, source: Gpus, earlier: Sequence[dict[str, Any]] = ()) -> None:
        self.clock = MovedClock()
        self.writer = Writer()
        self.sampler = Sampler(Machine(), self.writer, 1.0, STARTED, clock=self.clock, meters=(source,))
        self.sampler.open_fast(earlier)
        if earlier:
            self.sampler.announce()
        else:
            self.sampler.begin(schema=1, greenrun="0", run_id="r", utc="2026-01-01T10:00:00.000Z", config={})

    def sample(self, t: float) -> None:
        """Write a line at a time since the start."""
        self.clock.now = STARTED + t
        self.sampler.sample()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Give the events of one kind."""
        return [event for event in self.writer.unwritten if event["event"] == kind]


def test_a_share_is_asked_for_while_there_is_a_job() -> None:
    """Not before it is there, with the time since then, and no more when it is over; rounded to what it is worth."""
    source = Gpus(part=1 / 3)
    run = Run(source)
    run.sample(0.5)
    run.clock.now = STARTED + 2.0
    run.sampler.follow(os.getpid())
    run.sample(3.25)
    run.sampler.finish()
    assert source.asked == [(os.getpid(), 1.25)]
    told = [event["gpu"] for event in run.events("sample")]
    assert told[0] == [[0.5, None], [0.5, None]]
    assert told[1:] == [[[0.5, 0.3333], [0.5, None]]] * 2


def test_words_are_written_as_they_come_and_the_last_at_the_end() -> None:
    """In events of their own, which are in order; whoever asks the sampler's devices is told the same."""
    source = Gpus(words=[ALONE], last_words=[NOT_SEEN._replace(id="gpu1")])
    run = Run(source)
    run.sampler.follow(os.getpid())
    run.sample(1.5)
    assert [meter.device.of_job for meter in run.sampler.meters if meter.device.kind == "gpu"] == [True, None]
    run.sample(2.5)
    run.sampler.finish()
    written = run.events("whose")
    assert [event["devices"] for event in written] == [[ALONE._asdict()], [NOT_SEEN._replace(id="gpu1")._asdict()]]
    assert [flaw(event) for event in written] == [None, None]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (ALONE, NOT_SEEN, ALONE),
        (ALONE, UNTOLD, ALONE),
        (SHARED, ALONE, SHARED),
        (CUT, UNTOLD, CUT),
        (ALONE, SHARED, SHARED),
        (UNTOLD, NOT_SEEN, NOT_SEEN),
    ],
)
def test_a_sampler_that_takes_over_forgets_nothing(before: Whose, after: Whose, expected: Whose) -> None:
    """What one before it has seen stands, though the job is no longer on that GPU; what is more than that is told."""
    first = Run(Gpus(words=[before]))
    first.sampler.follow(os.getpid())
    first.sample(1.5)
    second = Run(Gpus(last_words=[after]), earlier=first.writer.unwritten)
    second.sampler.follow(os.getpid())
    second.sample(3.5)
    second.sampler.finish()
    gpu = next(meter.device for meter in second.sampler.meters if meter.device.id == "gpu0")
    assert (gpu.of_job, gpu.job_part, gpu.note) == (expected.of_job, expected.job_part, expected.note)
    assert [event["devices"] for event in second.events("whose")] == ([] if expected is before else [[after._asdict()]])


def test_the_last_word_holds_in_the_record() -> None:
    """Also of a device that joined; what was never named keeps what its entry says."""
    late = device("gpu1", kind="gpu", of_job=None, note="no word")
    events = [
        start(device("gpu0", kind="gpu", of_job=True, note="given")),
        spawned(0.0),
        joined(1.0, late, device("gpu2", kind="gpu", of_job=True)),
        {"event": "whose", "t": 2.0, "devices": [{**SHARED._asdict(), "note": "shared now"}]},
        sample(5.0, 100.0, 50.0, 20.0),
        {"event": "whose", "t": 6.0, "devices": [NOT_SEEN._replace(id="gpu1")._asdict()]},
        sample(10.0, 200.0, 100.0, 40.0),
        exited(10.0),
        end(10.0),
    ]
    assert [flaw(event) for event in events] == [None] * len(events)
    told = [(gpu["of_job"], gpu["note"]) for gpu in account(events)["devices"]]
    assert told == [(None, "shared now"), (False, "not seen"), (True, "")]


@pytest.mark.parametrize(
    "change",
    [{"id": 1}, {"of_job": "yes"}, {"job_part": 1.5}, {"job_part": -0.1}, {"shared": None}, {"note": None}],
)
def test_a_word_that_is_none_is_refused(change: dict[str, Any]) -> None:
    """A log with it is told to be broken, and where."""
    event = {"event": "whose", "t": 1.0, "devices": [ALONE._asdict() | change]}
    assert flaw(event) == "whose has no valid devices"
