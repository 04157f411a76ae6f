"""The processes of a run are killed and stopped at random moments, seeded: 500 runs, some minutes.

However it hits them, the job runs to its end and its exit status arrives (unless greenrun itself was killed, or the
relay of what the command prints), the record is right or says that it is partial, and nothing stays behind. A third of
the runs each is plain, watched through pipes and watched on a terminal; `sampler` is the daemon, `asker` the process
that asks services. Four runs share the machine. `greenrun ends` is the longest time from the job's end to greenrun's,
where greenrun lived.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _harness import show
from machine.blows import BLOWS, bear_all, steady_machine
from machine.build import program
from machine.command import ENTRY, Greenrun
from machine.faults import few_descriptors, try_fault
from machine.simulated import SimulatedMachine
from machine.ways import WAYS

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

RUNS = 500
OF_A_TEST = 20
AT_ONCE = 4
OUTPUT_BYTES = 2**31
_KINDS = ("complete", "partial", "no record", "not started")


@dataclass
class Tally:
    """What became of the runs of one kind."""

    outcomes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    greenrun_ends_seconds: list[float] = field(default_factory=list)


@pytest.fixture(scope="module")
def machine() -> Iterator[SimulatedMachine]:
    """Give a machine whose package draws the same all the time."""
    with steady_machine() as simulated:
        yield simulated


@pytest.fixture(scope="module")
def tallies(request: pytest.FixtureRequest) -> Iterator[dict[str, Tally]]:
    """Collect what became of the runs; told where all were made and right."""
    found = {name: Tally() for name in BLOWS}
    yield found
    if request.session.testsfailed or sum(sum(tally.outcomes.values()) for tally in found.values()) < RUNS:
        return
    rows = [
        [
            name,
            str(sum(tally.outcomes.values())),
            *(str(tally.outcomes[kind]) for kind in _KINDS),
            f"{max(tally.greenrun_ends_seconds):.2f} s" if tally.greenrun_ends_seconds else "",
        ]
        for name, tally in found.items()
    ]
    figures = {
        name: {**tally.outcomes, "greenrun_ends_seconds": tally.greenrun_ends_seconds} for name, tally in found.items()
    }
    show("soak", __doc__, ["", "runs", *_KINDS, "greenrun ends"], rows, figures)


@pytest.mark.parametrize("first", range(0, RUNS, OF_A_TEST))
def test_random_blows(tmp_path: Path, machine: SimulatedMachine, tallies: dict[str, Tally], first: int) -> None:
    """The job is not affected, its record is right or partial, and nothing is left."""
    verdicts, failures = bear_all(range(first, first + OF_A_TEST), str(tmp_path), machine, AT_ONCE)
    assert not failures, "\n".join(failures)
    for verdict in verdicts:
        tally = tallies[verdict.case.blow]
        tally.outcomes[verdict.outcome] += 1
        if verdict.late_seconds is not None:
            tally.greenrun_ends_seconds.append(verdict.late_seconds)


def test_any_number_of_descriptors(tmp_path: Path, machine: SimulatedMachine) -> None:
    """Whichever descriptor is the one too many, the command runs once and as it would."""
    program("talk")  # not several times at once
    tasks = [(number, way) for number in range(5, 40) for way in WAYS]

    def one(task: tuple[int, str]) -> str | None:
        number, way = task
        return try_fault(f"{number} descriptors", few_descriptors(number), way, tmp_path / f"{number}-{way}", machine)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(one, tasks)
        wrong = [one for one in found if one]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("way", WAYS)
def test_output_of_two_gigabytes(greenrun: Greenrun, way: str) -> None:
    """Not one byte is lost, added or changed."""
    options = [] if way == "plain" else ["--epochs", "auto"]
    words = [ENTRY, "--quiet", *options, "head", "-c", str(OUTPUT_BYTES), "/dev/zero"]
    if way == "terminal":
        master, slave = os.openpty()
        command = subprocess.Popen(["setsid", "-c", *words], env=greenrun.environment(), cwd=greenrun.cwd,
                                   stdin=slave, stdout=slave, stderr=slave)  # fmt: skip
        os.close(slave)
    else:
        command = subprocess.Popen(words, env=greenrun.environment(), cwd=greenrun.cwd, stdout=subprocess.PIPE)
        assert command.stdout is not None
        master = os.dup(command.stdout.fileno())
        command.stdout.close()
    digest, size = hashlib.sha256(), 0
    try:
        while piece := os.read(master, 1 << 20):
            digest.update(piece)
            size += len(piece)
    except OSError:  # EIO: everybody has left the terminal
        pass
    os.close(master)
    assert command.wait(60) == 0
    assert size == OUTPUT_BYTES
    expected = hashlib.sha256()
    for _ in range(OUTPUT_BYTES >> 20):
        expected.update(bytes(1 << 20))
    assert digest.digest() == expected.digest()
    assert greenrun.leftovers() == []
