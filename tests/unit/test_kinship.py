"""Which processes are the job's, among real ones and in a /proc of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from greenrun.sampler.kinship import Kin, kin

NOBODYS = 2**22 + 5  # above the largest process id that a kernel gives


def process(root: Path, pid: int, parent: int, session: int, start: int = 100, name: str = "x") -> None:
    """Put a process into a /proc."""
    (root / str(pid)).mkdir()
    fields = ["S", parent, session, session, 0, -1, *[0] * 13, start, *[0] * 30]
    (root / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")


def test_real_processes() -> None:
    """A child and a grandchild are the job's, a sibling and we ourselves are not; what has ended is nobody's."""
    tree = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '60'])\n"
        "print(child.pid, flush=True); sys.stdin.read(); child.kill()"
    )
    job = subprocess.Popen([sys.executable, "-c", tree], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    sibling = subprocess.Popen(["sleep", "60"])
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert job.stdin is not None
    assert job.stdout is not None
    try:
        child = int(job.stdout.readline())
        found = kin("/proc", job.pid, [job.pid, child, sibling.pid, gone.pid, os.getpid(), 1])
        assert found == Kin(frozenset({job.pid, child}), frozenset({sibling.pid, os.getpid(), 1}))
    finally:
        sibling.kill()
        sibling.wait()
        job.stdin.close()
        job.stdout.close()
        job.wait()


def test_orphans_stay_the_jobs_in_its_session(tmp_path: Path) -> None:
    """What the job left behind counts, and what descends from that; the shell's other jobs and older ones do not."""
    process(tmp_path, 1, 0, 0, 1)
    process(tmp_path, 100, 1, 100, 100, "bash")  # the shell, which leads the session, as old as the job to the tick
    process(tmp_path, 200, 100, 100, 100, "a (job)")
    process(tmp_path, 210, 200, 100, 110)
    process(tmp_path, 220, 1, 100, 120)  # orphaned
    process(tmp_path, 221, 220, 221, 130)  # and in a session of its own
    process(tmp_path, 230, 100, 100, 120)  # the shell's other job
    process(tmp_path, 240, 1, 100, 60)  # orphaned before the job began
    process(tmp_path, 250, 1, 250, 120)  # a daemon
    found = kin(str(tmp_path), 200, [1, 100, 200, 210, 220, 221, 230, 240, 250])
    assert found is not None
    assert found.own == {200, 210, 220, 221}
    assert found.others == {1, 100, 230, 240, 250}


def test_a_job_that_is_over_or_not_to_be_seen(tmp_path: Path) -> None:
    """Then nobody can be sorted."""
    assert kin(str(tmp_path), 200, [1]) is None
    assert kin(str(tmp_path / "none"), 200, [1]) is None
    (tmp_path / "200").mkdir()
    (tmp_path / "200" / "stat").write_text("200 (x")
    assert kin(str(tmp_path), 200, [1]) is None


def test_processes_that_are_hidden_are_others(tmp_path: Path) -> None:
    """With hidepid a /proc does not show other users' processes, but they live."""
    process(tmp_path, 200, 1, 200)
    found = kin(str(tmp_path), 200, [os.getpid(), NOBODYS])
    assert found == Kin(frozenset(), frozenset({os.getpid()}))
