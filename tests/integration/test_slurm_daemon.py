"""The job's daemon without an epilog: it finds the job's cgroup, and ends when that has been gone for long enough."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine.build import preload_library

from greenrun.cli import handle
from greenrun.cli.config import Config
from greenrun.cli.handle import Handle
from greenrun.cli.identity import Run, uuid7
from greenrun.cli.slurm import epilog, spool
from greenrun.cli.slurm.jobdaemon import Watch

# A Python that computes for a while before it comes up.
LATE = """#!{python} -ISs
import os, sys, time
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    pass
os.execv("{python}", ["{python}", *sys.argv[1:]])
"""
JOB = {"job_id": "1234", "node": "n1", "uid": 1000}
PATIENCE_SECONDS = 30.0


class Site:
    """A spool and a tree for cgroups; `begin` is what a prolog does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.begun: list[Handle] = []
        self.cgroup = root / "sys/fs/cgroup/system.slice/slurmstepd.scope/job_1234"
        (root / "sys/fs/cgroup").mkdir(parents=True)

    def begin(self, **waits: float) -> Handle:
        """Begin to measure; `waits` are those of the daemon's job."""
        config, run = self._run()
        begun = handle.Begun(config, run, follow=None, job={**JOB, **waits})
        begun.let_go()
        assert begun.handle is not None
        self.begun.append(begun.handle)
        return begun.handle

    def begin_late(self, **waits: float) -> Handle:
        """Begin to measure without waiting for the daemon at all."""
        config, run = self._run()
        request = handle.Request(config._asdict(), run._asdict(), None, time.monotonic(), False, None, {**JOB, **waits})
        child, news = handle._spawn(request)
        os.close(news)
        os.waitpid(child, 0)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (entry := spool.live(config.spool, "1234", "n1")) is None:
            assert time.monotonic() < deadline, "it has not come"
            time.sleep(0.02)
        self.begun.append(entry.handle)
        return entry.handle

    def _run(self) -> tuple[Config, Run]:
        config = Config(spool=str(self.root / "spool"), sysfs_root=str(self.root / "sys"), offline=True)
        run_id = uuid7(time.time())
        run_dir = spool.run_dir(config.spool, "1234", "n1", run_id)
        return config, Run(run_id, run_dir, "slurm-1234", (), "/", time.monotonic(), time.time(), "job")

    def use(self, seconds: float) -> None:
        """Let the job have processes that have used so much."""
        self.cgroup.mkdir(parents=True, exist_ok=True)
        _replace(self.cgroup / "cpu.stat", f"usage_usec {seconds * 1e6:.0f}\n")
        _replace(self.cgroup / "memory.stat", "anon 4096\n")
        _replace(self.cgroup / "cgroup.events", "populated 1\n")

    def leave(self) -> None:
        """Let the job have no process."""
        _replace(self.cgroup / "cgroup.events", "populated 0\n")

    def live(self) -> list[str]:
        """Give the names of the runs that go on."""
        return os.listdir(self.root / "spool/live")


def _replace(path: Path, text: str) -> None:
    path.with_name("new").write_text(text)
    os.replace(path.with_name("new"), path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Give a site, and end what is left of its daemons."""
    site = Site(tmp_path)
    yield site
    for begun in site.begun:
        handle.send(begun, signal.SIGKILL)


def wait_for_end(begun: Handle) -> None:
    """Wait until the daemon is gone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while handle.is_alive(begun):
        assert time.monotonic() < deadline, "the daemon lives on"
        time.sleep(0.02)


def events(begun: Handle, kind: str) -> list[dict[str, Any]]:
    """Give the events of a kind in the log of a run."""
    lines = Path(begun.run_dir, "run.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def record(begun: Handle) -> dict[str, Any]:
    """Give the record of a run."""
    found: dict[str, Any] = json.loads(Path(begun.run_dir, "summary.json").read_text())
    return found


def test_it_ends_when_the_job_s_processes_have_been_gone(site: Site) -> None:
    """The record reaches to when they were last seen, and says that no epilog came."""
    begun = site.begin(never_seconds=600.0, gone_seconds=1.5)
    site.use(0.25)
    time.sleep(2.0)
    site.use(2.25)
    time.sleep(1.2)
    site.leave()
    left = time.monotonic()
    wait_for_end(begun)
    assert time.monotonic() - left >= 0.9
    (exited,) = events(begun, "exited")
    assert (exited["how"], exited["job_exit_code"]) == ("gone", None)
    (start,) = events(begun, "start")
    assert left - 1.0 <= start["monotonic"] + exited["t"] <= left + 0.5
    assert record(begun)["status"] == "partial"
    assert [warned["code"] for warned in record(begun)["warnings"] if "epilog" in warned["message"]] == ["cut-short"]
    used = [event["cpu"][0] for event in events(begun, "sample")]
    assert used[0] is None
    assert used[-1] == 2.25
    assert events(begun, "sample")[-1]["mem"][0] == 4096
    assert site.live() == []


@pytest.mark.parametrize(("late_seconds", "trouble"), [(1.2, ""), (0.85, "busy")], ids=["early", "after its fork"])
def test_one_that_is_at_work_is_waited_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late_seconds: float, trouble: str
) -> None:
    """On a busy machine it takes more than its second to come up, and is looked at from the first moment on."""
    python = tmp_path / "python-late"
    python.write_text(LATE.format(python=sys.executable, seconds=late_seconds))
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("LD_PRELOAD", preload_library())
    monkeypatch.setenv("SIMULATED_TROUBLE", trouble)
    began = time.monotonic()
    begun = site.begin(never_seconds=600.0, gone_seconds=600.0)
    assert time.monotonic() - began > 1.0
    assert handle.end(begun) is not None


def test_it_waits_through_a_pause_between_steps(site: Site) -> None:
    """A pause that is shorter is none; and an epilog ends it at once."""
    begun = site.begin(never_seconds=600.0, gone_seconds=3.0)
    for _ in range(3):
        site.use(1.0)
        time.sleep(0.8)
        site.leave()
        time.sleep(1.4)
    assert handle.is_alive(begun)
    assert site.live() == ["1234-n1.json"]
    told = handle.end(begun)
    assert told is not None
    assert told["status"] == "complete"
    assert site.live() == []


def test_it_ends_when_the_job_never_comes(site: Site) -> None:
    """A prolog whose job was cancelled has no epilog everywhere."""
    begun = site.begin(never_seconds=1.0, gone_seconds=600.0)
    wait_for_end(begun)
    (exited,) = events(begun, "exited")
    assert (exited["how"], exited["t"] >= 1.0) == ("gone", True)
    assert site.live() == []


def test_a_daemon_that_comes_late_measures_all_the_same(site: Site) -> None:
    """The prolog has gone on without it; the epilog finds it in the spool."""
    site.use(0.5)
    begun = site.begin_late()
    assert handle.is_alive(begun)
    told = handle.end(begun)
    assert told is not None
    assert site.live() == []


def test_a_daemon_that_comes_too_late_measures_nothing(site: Site) -> None:
    """Its job may be over: it does not charge it with the time in which it looks for it."""
    begun = site.begin_late(never_seconds=600.0, gone_seconds=1.0)
    wait_for_end(begun)
    assert record(begun)["duration_seconds"] < 0.5
    assert site.live() == []


def test_a_daemon_of_another_boot_is_dead(site: Site) -> None:
    """A process of the same id, begun at the same time after another boot, is none of ours."""
    begun = site.begin()
    assert handle.is_alive(begun)
    earlier = begun._replace(boot_id="00000000-0000-4000-8000-000000000000")
    assert not handle.is_alive(earlier)
    assert not handle.send(earlier, signal.SIGKILL)
    assert handle.is_alive(begun)


def test_a_late_epilog_only_adds_the_exit_code(site: Site) -> None:
    """The figures stay as the daemon has made them."""
    begun = site.begin(never_seconds=0.5, gone_seconds=0.5)
    wait_for_end(begun)
    before = record(begun)
    epilog.finish(begun.run_dir, "1:0")
    epilog.finish(begun.run_dir, "1:0")
    assert [event["job_exit_code"] for event in events(begun, "exited")] == [None, "1:0"]
    assert record(begun) == {**before, "exit_code": 1}
    assert sorted(os.listdir(begun.run_dir)) == ["run.jsonl", "summary.json", "summary.txt"]


def test_of_a_killed_daemon_the_epilog_tells_what_it_had_measured(site: Site) -> None:
    """Its log holds all but the last second, and the record says that the rest is missing."""
    begun = site.begin()
    site.use(0.5)
    time.sleep(2.5)
    handle.send(begun, signal.SIGKILL)
    wait_for_end(begun)
    epilog.finish(begun.run_dir, "0:0")
    told = record(begun)
    assert told["status"] == "partial"
    assert told["duration_seconds"] > 1.0
    assert any("was killed before the job's end" in warned["message"] for warned in told["warnings"])
    assert site.live() == ["1234-n1.json"]  # an epilog forgets it afterwards


@pytest.mark.parametrize(
    ("looks", "over"),
    [
        ([(1, False), (599, False), (600, False)], 600),
        ([(1, False), (599, True), (620, False)], None),
        ([(1, True), (30, False), (31, False)], 1),
        ([(1, True), (30, False), (30.9, True), (60, False)], None),
        ([(1, True), (31, True), (61, False)], 31),
    ],
)
def test_when_it_is_over(looks: list[tuple[float, bool]], over: float | None) -> None:
    """10 minutes for the first process to come, 30 seconds for the next one."""
    watch = Watch(0.0, 600.0, 30.0)
    told = [watch.see(now, present) for now, present in looks]
    assert told[:-1] == [None] * (len(told) - 1)
    assert told[-1] == over
