"""The processes of plain runs are killed and stopped at random moments, seeded: 200 runs, some minutes.

However it hits them, the job runs to its end and its exit status arrives (unless greenrun itself was killed), the
record is right or says that it is partial, and nothing stays behind. The simulated machine tells what is right.
`greenrun ends` is the longest time from the job's end to greenrun's, where greenrun lived: at most 2 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from _harness import show
from machine.command import Greenrun
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine
from machine.stamp import Stamp

pytestmark = pytest.mark.soak

RUNS = 200
WATTS = 80.0
SLACK_SECONDS = 0.25  # of a machine that does something else, too


def hit(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def samplers(greenrun: Greenrun) -> list[int]:
    """Give the sampler daemons: one, or none before it is born and after it has ended."""
    return [pid for pid, name in greenrun.processes().items() if name == "greenrun-daemon"]


def kill_greenrun(_greenrun: Greenrun, pid: int) -> None:
    """SIGKILL for the process that waits for the command."""
    hit(pid, signal.SIGKILL)


def kill_sampler(greenrun: Greenrun, _pid: int) -> None:
    """SIGKILL for the sampler; greenrun makes another."""
    for sampler in samplers(greenrun):
        hit(sampler, signal.SIGKILL)


def kill_sampler_again(greenrun: Greenrun, pid: int) -> None:
    """SIGKILL for the sampler and for each that follows, more often than greenrun makes new ones."""
    for _ in range(6):
        kill_sampler(greenrun, pid)
        time.sleep(0.03)


def kill_both(greenrun: Greenrun, pid: int) -> None:
    """SIGKILL for all that is greenrun's, greenrun first: it would make another sampler."""
    hit(pid, signal.SIGKILL)
    kill_sampler(greenrun, pid)


def stop_sampler(greenrun: Greenrun, _pid: int) -> None:
    """SIGSTOP for the sampler, for good."""
    for sampler in samplers(greenrun):
        hit(sampler, signal.SIGSTOP)


def stop_greenrun(_greenrun: Greenrun, pid: int) -> None:
    """SIGSTOP for greenrun, and SIGCONT a little later."""
    hit(pid, signal.SIGSTOP)
    time.sleep(0.2)
    hit(pid, signal.SIGCONT)


BLOWS: dict[str, Callable[[Greenrun, int], None]] = {
    "greenrun killed": kill_greenrun,
    "sampler killed": kill_sampler,
    "sampler killed six times": kill_sampler_again,
    "both killed": kill_both,
    "sampler stopped": stop_sampler,
    "greenrun stopped, continued": stop_greenrun,
}
FATAL = {kill_greenrun, kill_both}  # greenrun's own exit status is SIGKILL's then
LAST_OF_ALL = {kill_both, kill_sampler_again, stop_sampler}  # no other sampler follows
ALWAYS_RECORDED = {kill_sampler, stop_greenrun}  # whatever the moment, somebody is left who begins the log


@dataclass
class Tally:
    """What became of the runs of one kind."""

    outcomes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    greenrun_ends_seconds: list[float] = field(default_factory=list)


@pytest.fixture(scope="module")
def machine() -> Iterator[SimulatedMachine]:
    """Give a machine whose package draws the same all the time."""
    with SimulatedMachine(packages=[Zone("package-0", constant(WATTS))]) as simulated:
        yield simulated


@pytest.fixture(scope="module")
def tallies(request: pytest.FixtureRequest) -> Iterator[defaultdict[str, Tally]]:
    """Collect what became of the runs; told where all were made and right."""
    found: defaultdict[str, Tally] = defaultdict(Tally)
    yield found
    if request.session.testsfailed or sum(sum(tally.outcomes.values()) for tally in found.values()) < RUNS:
        return
    kinds = ("complete", "partial", "no record", "job not started")
    rows = [
        [
            name,
            str(sum(tally.outcomes.values())),
            *(str(tally.outcomes[kind]) for kind in kinds),
            f"{max(tally.greenrun_ends_seconds):.2f} s" if tally.greenrun_ends_seconds else "",
        ]
        for name, tally in found.items()
    ]
    figures = {
        name: {**tally.outcomes, "greenrun_ends_seconds": tally.greenrun_ends_seconds} for name, tally in found.items()
    }
    show("soak", __doc__, ["", "runs", *kinds, "greenrun ends"], rows, figures)


@pytest.mark.parametrize("seed", range(RUNS))
def test_random_blow(
    greenrun: Greenrun, stamp: Stamp, machine: SimulatedMachine, tallies: defaultdict[str, Tally], seed: int
) -> None:
    """The job is not affected, its record is right or partial, and nothing is left."""
    chance = random.Random(seed)  # noqa: S311  to be repeated, not to be secret
    name, blow = list(BLOWS.items())[seed % len(BLOWS)]
    seconds, code = chance.uniform(0.2, 0.9), chance.randrange(100)

    process = greenrun.start(*stamp.command(seconds, code), env=machine.environment, stderr=subprocess.DEVNULL)
    time.sleep(chance.uniform(0.0, 1.2 * seconds))
    blow(greenrun, process.pid)
    status = process.wait(30)
    ended = time.monotonic()

    left = greenrun.leftovers(seconds + 4.0)
    if blow in LAST_OF_ALL:  # a file that the last sampler was about to put in place
        left = [what for what in left if not (what.endswith(".tmp") and "/greenrun-logs/" in what)]
    assert left == []
    tally = tallies[name]
    if stamp.born() is None:
        assert blow in FATAL, "the command was not started, and greenrun lived"
        tally.outcomes["job not started"] += 1
        return
    life = wait_for_end(stamp)
    assert life[1] - life[0] >= seconds
    if status == -signal.SIGKILL:
        assert blow in FATAL
    else:
        assert status == code
        assert ended - life[1] < 2.0 + SLACK_SECONDS
        tally.greenrun_ends_seconds.append(ended - life[1])
    outcome = judge(greenrun, machine, life, code)
    assert outcome != "no record" or blow not in ALWAYS_RECORDED
    tally.outcomes[outcome] += 1


def wait_for_end(stamp: Stamp) -> tuple[float, float]:
    """Give the life of a command that may still run because greenrun was killed."""
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(ValueError):
            return stamp.life()
        assert time.monotonic() < deadline, "the command did not come to its end"
        time.sleep(0.02)


def judge(greenrun: Greenrun, machine: SimulatedMachine, life: tuple[float, float], code: int) -> str:
    """Hold the record against the truth and give its status; `no record` where the log ends before the command."""
    record = read_record(greenrun)
    if record is None:
        return "no record"
    if record["duration_seconds"] is None:
        assert record["status"] == "partial", "the command ran"
        return "no record"
    assert record["exit_code"] in (code, None)
    truth = machine.energy_joules("cpu", *life)
    told = record["energy_joules"]["cpu"] or 0.0
    if record["status"] == "complete":
        assert record["duration_seconds"] == pytest.approx(life[1] - life[0], abs=SLACK_SECONDS)
        assert told == pytest.approx(truth, abs=WATTS * SLACK_SECONDS)
    else:
        assert record["status"] == "partial"
        assert told <= truth + WATTS * SLACK_SECONDS
    return str(record["status"])


def read_record(greenrun: Greenrun) -> dict[str, Any] | None:
    """Give the record as `greenrun report` tells it, which must be what summary.json says where there is one."""
    top = os.path.join(greenrun.cwd, "greenrun-logs")
    run_dirs = [name for name in os.listdir(top) if name != ".gitignore"] if os.path.isdir(top) else []
    if not run_dirs:
        return None
    (run_dir,) = (os.path.join(top, name) for name in run_dirs)
    told = greenrun("report", "--json", run_dir)
    if told.returncode != 0:
        assert told.stderr.count("\n") == 1, told.stderr
        return None
    record: dict[str, Any] = json.loads(told.stdout)
    if os.path.exists(os.path.join(run_dir, "summary.json")):
        with open(os.path.join(run_dir, "summary.json")) as file:
            assert json.load(file) == record
    return record
