"""One process of a run is killed or stopped at a random moment; all of it follows from a seed.

`python -m machine.blows SEED ...` (in tests/) repeats cases alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from greenrun.reports import jsonfile
from greenrun.reports.account import account
from greenrun.sampler import runlog
from machine.build import program
from machine.command import Greenrun
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine
from machine.ways import PIPE, TERMINAL, WAYS, Running, Seen, Talk

WATTS = 80.0
SLACK_SECONDS = 0.25
LATEST_END_SECONDS = 6.0  # two, and four more where processors are scarce
LATE_SECONDS = 1.0  # a start, or an end, that waits for a processor: ten runs share two
_STOP_SECONDS = 0.2


class Blow(NamedTuple):
    """What is done to a run, and what its user may notice of it.

    `strike` gets the run and does it. `fatal`: greenrun itself dies. `silent`: nobody is left who ends the record.
    `cuts`: a relay dies, and with it the command. `asks`: a service, which does not answer. `ways`: those that have
    such a process.
    """

    strike: Callable[[Running], None]
    fatal: bool = False
    silent: bool = False
    cuts: bool = False
    kills_command: bool = False
    asks: bool = False
    ways: tuple[str, ...] = WAYS


class Case(NamedTuple):
    """One run and what befalls it. `after_birth`: the moment counts from the command's birth, else from the start."""

    seed: int
    way: str
    blow: str
    talk: Talk
    moment_seconds: float
    after_birth: bool


class Verdict(NamedTuple):
    """What became of a run; `late_seconds`: how much later than the command greenrun ended, where it was not killed."""

    case: Case
    outcome: str  # complete, partial, no record, not started
    late_seconds: float | None


def hit(pids: Sequence[int], number: int) -> None:
    """Send a signal to processes that may be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _halt(pids: Sequence[int]) -> None:
    hit(pids, signal.SIGSTOP)
    time.sleep(_STOP_SECONDS)
    hit(pids, signal.SIGCONT)


def _greenrun(run: Running) -> list[int]:
    pid = run.greenrun_pid()
    return [] if pid is None else [pid]


def _kill_sampler_again(run: Running) -> None:
    for _ in range(6):  # more often than greenrun makes new ones
        hit(run.daemon_pids(), signal.SIGKILL)
        time.sleep(0.03)


def _kill_all(run: Running) -> None:
    """Do as the kernel does where a memory cgroup is killed as a whole."""
    hit([*_greenrun(run), *run.relay_pids(), *run.daemon_pids(), *run.command_pids()], signal.SIGKILL)
    hit(run.daemon_pids(), signal.SIGKILL)  # one that was made in between


def _kill_both(run: Running) -> None:
    hit(_greenrun(run), signal.SIGKILL)  # first: it would make another sampler
    hit(run.daemon_pids(), signal.SIGKILL)


BLOWS: dict[str, Blow] = {
    "greenrun killed": Blow(lambda run: hit(_greenrun(run), signal.SIGKILL), fatal=True),
    "greenrun stopped, continued": Blow(lambda run: _halt(_greenrun(run))),
    "sampler killed": Blow(lambda run: hit(run.daemon_pids(), signal.SIGKILL)),
    "sampler killed six times": Blow(_kill_sampler_again, silent=True),
    "sampler stopped": Blow(lambda run: hit(run.daemon_pids(), signal.SIGSTOP), silent=True),
    "sampler stopped, continued": Blow(lambda run: _halt(run.daemon_pids())),
    "greenrun and sampler killed": Blow(_kill_both, fatal=True, silent=True, asks=True),
    "relay killed": Blow(lambda run: hit(run.relay_pids()[:1], signal.SIGKILL), cuts=True, ways=(PIPE, TERMINAL)),
    "relay stopped, continued": Blow(lambda run: _halt(run.relay_pids()), ways=(PIPE, TERMINAL)),
    "command killed": Blow(lambda run: hit(run.command_pids(), signal.SIGKILL), kills_command=True),
    "all killed": Blow(_kill_all, fatal=True, silent=True, kills_command=True),
    "asker killed": Blow(lambda run: hit(run.asker_pids(), signal.SIGKILL), asks=True),
    "asker stopped": Blow(lambda run: hit(run.asker_pids(), signal.SIGSTOP), asks=True),
}
_NEEDS_A_COMMAND = ("relay killed", "relay stopped, continued", "command killed", "all killed")


def case(seed: int, directory: str) -> Case:
    """Make the case of a seed."""
    chance = random.Random(seed)  # noqa: S311  to be repeated, not to be secret
    name, blow = list(BLOWS.items())[seed % len(BLOWS)]
    way = blow.ways[seed // len(BLOWS) % len(blow.ways)]
    path, lines = os.path.join(directory, "life"), chance.randrange(4, 20)
    talk = Talk(path, chance.uniform(0.2, 0.9), chance.randrange(100), lines)
    if name in _NEEDS_A_COMMAND or chance.random() < 0.6:
        return Case(seed, way, name, talk, chance.uniform(0.0, 1.1 * talk.seconds), after_birth=True)
    return Case(seed, way, name, talk, chance.uniform(0.0, 0.5), after_birth=False)


@contextlib.contextmanager
def hanging_service() -> Iterator[dict[str, str]]:
    """Give the environment in which greenrun asks a service that takes every question and answers none."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(512)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield {"GREENRUN_OFFLINE": "0", "GREENRUN_ZONE": "GB", "GREENRUN_NESO_URL": address}


def bear(case: Case, directory: str, machine: SimulatedMachine) -> Verdict:
    """Make the run, strike it, and judge it. AssertionError where it does not bear it."""
    greenrun = Greenrun(directory)
    blow = BLOWS[case.blow]
    with contextlib.ExitStack() as stack:
        env = dict(machine.environment)
        if blow.asks:
            env |= stack.enter_context(hanging_service())
        run = Running(greenrun, case.way, case.talk.command(), env)
        if case.after_birth:
            deadline = time.monotonic() + 30
            while not case.talk.moments():
                assert time.monotonic() < deadline, "the command was not started"
                time.sleep(0.005)
        time.sleep(case.moment_seconds)
        blow.strike(run)
        struck = time.monotonic()
        seen = run.finish()
    return _judge(case, blow, greenrun, seen, struck)


def _judge(case: Case, blow: Blow, greenrun: Greenrun, seen: Seen, struck: float) -> Verdict:
    talk = case.talk
    moments = _life(talk, may_be_cut=blow.cuts or blow.kills_command)
    left = greenrun.leftovers(talk.seconds + 4.0)
    if blow.silent:  # a file that the last sampler was about to put in place
        left = [what for what in left if not (what.endswith(".tmp") and "/greenrun-logs/" in what)]
    assert not left, f"this is still there: {left}"
    _wait_for_nobody(greenrun)
    if not moments:
        assert blow.fatal, "the command was not started, and greenrun lived"
        return Verdict(case, "not started", None)
    whole = len(moments) == 2
    _judge_output(case, blow, seen, whole=whole)
    late = None
    # A relay that is killed just after the command has ended cannot tell any more how.
    untold = not whole or (blow.cuts and moments[1] < struck)
    if seen.status == 128 + signal.SIGKILL and (blow.fatal or untold):
        pass
    elif whole:
        assert seen.status == talk.code, f"the exit status is {seen.status}, not {talk.code}"
        late = seen.ended - moments[1]
        assert late < LATEST_END_SECONDS, f"greenrun ended {late:.2f} s after the command"
    else:
        assert blow.cuts, f"the command did not come to its end: {seen.status}"
        assert seen.status == 128 + signal.SIGPIPE, f"the exit status is {seen.status}"
    outcome = _judge_record(case, blow, greenrun, moments, seen)
    assert outcome != "no record" or blow.silent, "there is no record"
    return Verdict(case, outcome, late)


def _wait_for_nobody(greenrun: Greenrun) -> None:
    """Wait until none of the processes of a run is there any more, those that ask services and the command included."""
    deadline = time.monotonic() + 3.0
    while marked := greenrun.marked():
        assert time.monotonic() < deadline, f"these are still there: {marked}"
        time.sleep(0.02)


def _life(talk: Talk, *, may_be_cut: bool) -> list[float]:
    """Give the life of a command that may still run because greenrun was killed."""
    deadline = time.monotonic() + (0.0 if may_be_cut else 10.0)
    while len(moments := talk.moments()) == 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert may_be_cut or len(moments) != 1, "the command did not come to its end"
    if len(moments) == 2:
        assert moments[1] - moments[0] >= talk.seconds, moments
    return moments


def _judge_output(case: Case, blow: Blow, seen: Seen, *, whole: bool) -> None:
    """Hold what was printed against what the command prints; greenrun's own words follow it, or are not there."""
    # The moment in which greenrun is killed on a terminal may cost the line ends: the terminal is another's again.
    told = [(seen.out.replace(b"\r\r\n", b"\r\n") if blow.fatal else seen.out, case.talk.both())]
    if case.way != TERMINAL:
        told = [(seen.out, case.talk.out()), (seen.err, case.talk.err())]
    for number, (printed, expected) in enumerate(told):
        if number == 1 or case.way == TERMINAL:  # hit at its start, it says so before the command runs
            printed = re.sub(rb"greenrun: cannot measure [^\n]*\n", b"", printed, count=1)
        if not whole or blow.cuts:
            assert expected.startswith(printed.partition(b"greenrun: ")[0].rstrip()), printed
            continue
        assert printed.startswith(expected), (printed, expected)
        rest = printed[len(expected) :].strip()
        assert not rest or ((number == 1 or case.way == TERMINAL) and rest.startswith(b"greenrun: ")), rest


def _judge_record(case: Case, blow: Blow, greenrun: Greenrun, moments: list[float], seen: Seen) -> str:
    record = read_record(greenrun)
    if record is None:
        return "no record"
    if record["duration_seconds"] is None:
        assert record["status"] == "partial", "the command ran"
        return "no record"
    assert record["exit_code"] in (case.talk.code, None), record["exit_code"]
    assert blow.silent or blow.fatal or blow.cuts or _tells_the_end(record), (
        "how the command ended is not in the record"
    )
    told, duration = record["energy_joules"]["cpu"] or 0.0, record["duration_seconds"]
    truth = WATTS * duration
    assert told <= truth + WATTS * SLACK_SECONDS, f"{told} J in {duration} s"
    if len(moments) == 2:
        over = duration - (moments[1] - moments[0])
        if _tells_the_end(record):
            assert over < LATE_SECONDS, f"the record tells {duration} s"
        else:  # the log ends where its last sampler did
            assert over < seen.ended - moments[1] + LATE_SECONDS, f"the record tells {duration} s"
    if record["status"] == "complete":
        assert len(moments) != 2 or over > -0.01, f"the record tells {duration} s"
        assert told >= truth - WATTS * SLACK_SECONDS, f"{told} J in {duration} s"
    else:
        assert record["status"] == "partial", record["status"]
        assert record["warnings"], "it is partial and does not say why"
    return str(record["status"])


def _tells_the_end(record: dict[str, Any]) -> bool:
    return record["exit_code"] is not None or record["signal"] is not None


def read_record(greenrun: Greenrun) -> dict[str, Any] | None:
    """Give the record as `greenrun report` would tell it, which must be what summary.json says where there is one."""
    top = os.path.join(greenrun.cwd, "greenrun-logs")
    run_dirs = [name for name in os.listdir(top) if name != ".gitignore"] if os.path.isdir(top) else []
    if not run_dirs:
        return None
    (run_dir,) = (os.path.join(top, name) for name in run_dirs)
    try:
        events = runlog.read(run_dir)
    except runlog.Unreadable:
        assert not os.path.exists(os.path.join(run_dir, "summary.json"))
        return None
    record: dict[str, Any] = json.loads(jsonfile.render(account(events)))
    path = os.path.join(run_dir, "summary.json")
    if os.path.exists(path):
        with open(path) as file:
            assert json.load(file) == record
    return record


@contextlib.contextmanager
def steady_machine() -> Iterator[SimulatedMachine]:
    """Give a machine whose package draws the same all the time."""
    with SimulatedMachine(packages=[Zone("package-0", constant(WATTS))], load=constant(0.3)) as machine:
        yield machine


def bear_all(
    seeds: Sequence[int], directory: str, machine: SimulatedMachine, at_once: int = 10
) -> tuple[list[Verdict], list[str]]:
    """Make the runs of many seeds, some at once; give what became of them, and in words what did not bear its blow."""
    program("talk")  # not ten times at once

    def one(seed: int) -> Verdict | str:
        folder = os.path.join(directory, str(seed))
        os.makedirs(folder)
        made = case(seed, folder)
        try:
            return bear(made, folder, machine)
        except AssertionError as failure:
            alone = f"cd tests; python -m machine.blows {seed}"
            return f"{made}: {failure} (in {folder}; to repeat it: {alone})"

    with ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(one, seeds))
    return [one for one in results if isinstance(one, Verdict)], [one for one in results if isinstance(one, str)]


def _main() -> int:
    with steady_machine() as machine:
        verdicts, failures = bear_all([int(word) for word in sys.argv[1:]], tempfile.mkdtemp(), machine)
    for line in [*verdicts, *failures]:
        sys.stdout.write(f"{line}\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(_main())
