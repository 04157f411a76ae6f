"""What may be wrong around a run: greenrun's surroundings, what its command does; and what the record is held to."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from machine.blows import LATEST_END_SECONDS, WATTS, read_record
from machine.build import preload_library
from machine.command import Greenrun
from machine.simulated import SimulatedMachine
from machine.ways import PLAIN, TERMINAL, WAYS, Running, Seen, Talk

SLACK_SECONDS = 0.3
LATE_SECONDS = 1.5  # of a machine that has several runs to start at once


class Trial(NamedTuple):
    """One run under a fault, over: what it was to do, what its user saw, and its record if there is one."""

    way: str
    talk: Talk
    seen: Seen
    record: dict[str, Any] | None
    machine: SimulatedMachine

    @property
    def told(self) -> str:
        """Give what greenrun said on stderr, in one line."""
        printed = (self.seen.out if self.way == TERMINAL else self.seen.err).decode()
        begin = printed.find("greenrun: ")
        return " ".join(printed[begin:].split()) if begin >= 0 else ""

    def warnings(self) -> list[str]:
        """Give the codes of the record's warnings."""
        assert self.record is not None, self.told
        return [warning["code"] for warning in self.record["warnings"]]

    @property
    def was_crowded_out(self) -> bool:
        """Whether the machine was so busy that the sampler came late, and the record may be partial for that alone."""
        return "The sampler was late" in self.told

    def is_exact(self) -> None:
        """Check that the record is complete, and right in time and energy; no more than that where it is partial."""
        assert self.record is not None, self.told
        joules = self.record["energy_joules"]["cpu"]
        if self.was_crowded_out and self.record["status"] == "partial":
            assert joules is None or joules <= WATTS * (self.record["duration_seconds"] + SLACK_SECONDS), joules
            return
        assert self.record["status"] == "complete", self.record["warnings"]
        born, ended = self.talk.moments()
        over = self.record["duration_seconds"] - (ended - born)
        assert -0.01 < over < LATE_SECONDS, f"the record tells {over:.3f} s too much"
        assert abs(joules - WATTS * self.record["duration_seconds"]) < WATTS * SLACK_SECONDS, joules

    def is_told_without_a_log(self, reason: str) -> None:
        """Check that the summary is whole and has one warning, which names the reason."""
        assert reason in self.told, self.told
        if not self.was_crowded_out:
            assert "greenrun: the command ran for" in self.told, self.told
            assert "+-" in self.told, self.told
            assert self.told.count(" warning ") == 1, self.told


class Fault(NamedTuple):
    """What is wrong, and what the record is held to.

    `trouble` is what the C library does (machine/preload.c), `prefix` what starts greenrun in other surroundings
    ({cwd} is its working directory), `trick` what the command does (machine/talk.c), `script` what a shell does before
    it becomes the command.
    """

    judge: Callable[[Trial], None]
    trouble: str = ""
    prefix: Sequence[str] = ()
    options: Sequence[str] = ()
    trick: str = ""
    script: str = ""
    seconds: float = 0.3
    status: int | None = None  # other than the command's own
    status_on_terminal: int | None = None  # where that has a process group of its own
    env: Mapping[str, str | None] = {}  # None takes away what the simulated machine has put there
    ways: Sequence[str] = WAYS


def _inside(script: str) -> list[str]:
    """Start greenrun in mounts of its own that a script makes."""
    return ["unshare", "-m", "sh", "-c", f'{script}; exec "$@"', "sh"]


def _exact(trial: Trial) -> None:
    trial.is_exact()


def _stepped(trial: Trial) -> None:
    """UTC counts for the hours alone: time and energy go by a clock that nobody sets."""
    trial.is_exact()
    assert trial.record is not None, trial.told
    assert trial.record["suspended_seconds"] in (0, None), trial.record["suspended_seconds"]


def _slept(trial: Trial) -> None:
    trial.is_exact()
    assert trial.record is not None, trial.told
    assert abs(trial.record["suspended_seconds"] - 100) < 1, trial.record["suspended_seconds"]


def _no_space(trial: Trial) -> None:
    trial.is_told_without_a_log("No space left on device")


def _over_quota(trial: Trial) -> None:
    trial.is_told_without_a_log("Disk quota exceeded")


def _read_only(trial: Trial) -> None:
    trial.is_told_without_a_log("Read-only file system")


def _broken_disk(trial: Trial) -> None:
    trial.is_told_without_a_log("Input/output error")


def _removed(trial: Trial) -> None:
    assert trial.record is None, "the log is back"
    trial.is_told_without_a_log("removed while the command ran")


def _few_descriptors(trial: Trial) -> None:
    """Right, or partial and saying so, or not measured and saying so."""
    if trial.record is None or trial.record["duration_seconds"] is None:
        assert trial.told.startswith("greenrun: "), "nothing says that it was not measured"
    elif trial.record["status"] == "complete":
        trial.is_exact()
    else:
        assert trial.record["status"] == "partial", trial.record["status"]
        assert trial.told.startswith("greenrun: "), "nothing says that it is partial"


def _without_proc(trial: Trial) -> None:
    """Complete, by the meters; root finds no safe way to a log directory without /proc, and says so."""
    if trial.record is None and os.geteuid() == 0:
        trial.is_told_without_a_log("leaves no log")
    else:
        trial.is_exact()


def _nothing_known(trial: Trial) -> None:
    assert "energy unknown" in trial.told, trial.told
    if trial.record is None:
        assert "leaves no log" in trial.told, trial.told
        return
    assert (trial.record["status"], trial.record["energy_joules"]["total"]) == ("partial", None)
    assert "unread" in trial.warnings(), trial.warnings()


def _estimated(trial: Trial) -> None:
    assert trial.record is not None, trial.told
    assert {device["method"] for device in trial.record["devices"]} == {"estimate"}, trial.record["devices"]
    assert "estimated" in trial.told, trial.told


def _terminated(trial: Trial) -> None:
    trial.is_exact()
    assert trial.record is not None, trial.told
    assert trial.record["signal"] == signal.SIGTERM, trial.record["signal"]


def _slain(trial: Trial) -> None:
    """Plain, greenrun is slain with its group: what the command died of the kernel tells from 6.15 on."""
    assert trial.record is not None, trial.told
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
    known = (signal.SIGKILL,) if kernel >= (6, 15) else (signal.SIGKILL, None)
    assert trial.record["signal"] in known, trial.record["signal"]
    if trial.record["signal"] is not None:
        trial.is_exact()


def few_descriptors(number: int) -> Fault:
    """Give the fault that there are only so many descriptors; with fewer than five no Python starts."""
    return Fault(_few_descriptors, prefix=["prlimit", f"--nofile={number}", "--"])


_AFTER_THE_LOG = "until ls {cwd}/greenrun-logs/*/run.jsonl; do sleep 0.01; done >/dev/null 2>&1"

FAULTS: dict[str, Fault] = {
    "disk full meanwhile": Fault(_no_space, trouble="no space", seconds=0.9),
    "quota exceeded meanwhile": Fault(_over_quota, trouble="over quota", seconds=0.9, ways=(PLAIN,)),
    "file system read-only meanwhile": Fault(_read_only, trouble="read-only", seconds=0.9, ways=(PLAIN,)),
    "disk broken meanwhile": Fault(_broken_disk, trouble="broken disk", seconds=0.9, ways=(PLAIN,)),
    "disk full": Fault(_no_space, prefix=_inside("mount -t tmpfs -o size=4k,nr_inodes=2 none {cwd}; : > {cwd}/full")),
    "file system read-only": Fault(_read_only, prefix=_inside("mount -t tmpfs -o ro none {cwd}")),
    "log directory removed meanwhile": Fault(
        _removed,
        script=f"{_AFTER_THE_LOG}; rm -r {{cwd}}/greenrun-logs",
    ),
    "working directory removed": Fault(
        _removed,
        script=f"{_AFTER_THE_LOG}; cd /; rm -r {{cwd}}",
    ),
    **{f"{number} descriptors": few_descriptors(number) for number in (5, 8, 10, 13, 16)},
    "no /proc": Fault(_without_proc, prefix=_inside("mount -t tmpfs none /proc")),
    "no /proc and no meter": Fault(
        _nothing_known,
        prefix=_inside("mount -t tmpfs none /proc"),
        env={"GREENRUN_PROCFS_ROOT": None, "GREENRUN_SYSFS_ROOT": "/nowhere"},
    ),
    "masked /sys": Fault(_estimated, prefix=_inside("mount -t tmpfs none /sys"), env={"GREENRUN_SYSFS_ROOT": None}),
    "clock stepped forward": Fault(_stepped, trouble="clock forward", seconds=0.9, ways=(PLAIN,)),
    "clock stepped back": Fault(_stepped, trouble="clock back", seconds=0.9, ways=(PLAIN,)),
    "clock stepped to and fro": Fault(_stepped, trouble="clock to and fro", seconds=1.1),
    "machine suspended": Fault(_slept, trouble="suspend", seconds=0.9),
    "10,000 short children": Fault(_exact, trick="forks"),
    "command leaves a daemon": Fault(_exact, trick="daemon"),
    "command closes all descriptors": Fault(_exact, trick="closes"),
    "command terminates its process group": Fault(_terminated, trick="group", status=128 + signal.SIGTERM),
    "command kills its process group": Fault(_slain, trick="slay", status=128 + signal.SIGKILL),
}
# What is tried in one go.
GROUPS = {
    "disk": ("disk full", "quota", "file system", "disk broken", "log directory", "working directory"),
    "descriptors": tuple(name for name in FAULTS if name.endswith(" descriptors") and name[0].isdigit()),
    "surroundings": ("no /proc", "masked", "machine suspended", "clock"),
    "command": ("10,000", "command "),
}


def group(name: str) -> str:
    """Give the group of a fault."""
    return next(group for group, starts in GROUPS.items() if name.startswith(starts))


def try_fault(name: str, fault: Fault, way: str, directory: Path, machine: SimulatedMachine) -> str | None:
    """Run a command under a fault and judge it; give in words what is wrong, None where nothing is."""
    try:
        _judge(fault, way, directory, machine)
    except AssertionError as failure:
        return f"{name}, {way}: {failure} (in {directory})"
    return None


def _judge(fault: Fault, way: str, directory: Path, machine: SimulatedMachine) -> None:
    greenrun = Greenrun(directory)
    talk = Talk(str(directory / "life"), fault.seconds, 23, trick=fault.trick)
    env: dict[str, str | None] = {**machine.environment, **fault.env}
    if fault.trouble:
        env |= {"LD_PRELOAD": preload_library(), "SIMULATED_TROUBLE": fault.trouble, "SIMULATED_SINCE": talk.path}
    command = talk.command()
    if fault.script:
        command = ["sh", "-c", f'{fault.script.format(cwd=greenrun.cwd)}; exec "$@"', "sh", *command]
    prefix = [word.format(cwd=greenrun.cwd) for word in fault.prefix]
    run = Running(greenrun, way, command, env, options=("--interval", "0.1", *fault.options), prefix=prefix)
    seen = run.finish()

    status = talk.code if fault.status is None else fault.status
    assert seen.status == status, f"the exit status is {seen.status}: {seen}"
    printed = [(seen.out, talk.both())] if way == TERMINAL else [(seen.out, talk.out()), (seen.err, talk.err())]
    for stream, (got, expected) in enumerate(printed):
        own = re.sub(rb"(\r\n)?greenrun: (cannot|no pseudo-terminal) .*\r?\n", b"", got)  # before the command runs
        assert own.startswith(expected), (got, expected)
        rest = own[len(expected) :].strip()
        assert not rest or ((stream or way == TERMINAL) and rest.startswith(b"greenrun: ")), got
    born, ended = talk.moments()
    assert ended - born >= talk.seconds, ended - born
    assert seen.ended - ended < LATEST_END_SECONDS, f"greenrun ended {seen.ended - ended:.2f} s after the command"
    left = greenrun.leftovers()
    assert not left, f"this is still there: {left}"
    deadline = time.monotonic() + 5.0
    while marked := greenrun.marked():
        assert time.monotonic() < deadline, f"these are still there: {marked}"
        time.sleep(0.02)
    record = read_record(greenrun) if os.path.isdir(greenrun.cwd) else None
    fault.judge(Trial(way, talk, seen, record, machine))
