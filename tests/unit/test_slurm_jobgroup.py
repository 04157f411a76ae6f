"""A job's processes: found in cgroups of both versions as SLURM lays them out, and what they have used."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenrun.cli.slurm.jobgroup import JobGroup


def group(sysfs: Path, procfs: str = "/proc", *, node: str = "n1") -> JobGroup:
    """Give what looks for job 1234 of user 1000."""
    return JobGroup("1234", 1000, node, str(sysfs), procfs)


def write(folder: Path, **files: str) -> None:
    """Make a cgroup of these files; `__` in a name stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """Give a job's cgroup of version 2 that has used 3.5 s and holds 3 KiB."""
    job = tmp_path / "fs/cgroup/system.slice/slurmstepd.scope/job_1234"
    events, cpu = "populated 1\nfrozen 0\n", "usage_usec 3500000\nuser_usec 3000000\nsystem_usec 500000\n"
    write(job, cgroup__events=events, cpu__stat=cpu, memory__stat="anon 2048\nfile 999999\nfile_mapped 1024\n")
    return job


@pytest.fixture
def hybrid(tmp_path: Path) -> dict[str, Path]:
    """Give a job's cgroups of version 1, with a process in a task of a step."""
    found = {}
    for controller in ("cpuacct", "memory", "freezer"):
        job = found[controller] = tmp_path / f"fs/cgroup/{controller}/slurm/uid_1000/job_1234"
        write(job, cgroup__procs="")
        write(job / "step_0", cgroup__procs="")
        write(job / "step_0/task_0", cgroup__procs=f"{os.getpid()}\n")
    write(found["cpuacct"], cpuacct__usage="2500000000\n")
    write(found["memory"], memory__stat="rss 1\nmapped_file 1\ntotal_rss 4096\ntotal_mapped_file 512\n")
    return found


def test_version_2(tmp_path: Path, unified: Path) -> None:
    """Its own counters count, as long as it is populated."""
    job = group(tmp_path)
    assert job.usage is None
    assert job.look()
    assert job.usage == (3.5, 3072)
    (unified / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    assert not job.look()
    assert job.usage == (3.5, 3072)


def test_version_2_of_a_node_among_several(tmp_path: Path, unified: Path) -> None:
    """The cgroup with this node's name is this node's; another node's is not."""
    scope = unified.parent
    scope.rename(scope.with_name("n1_slurmstepd.scope"))
    assert group(tmp_path).look()
    assert not group(tmp_path, node="n2").look()


def test_version_1(tmp_path: Path, hybrid: dict[str, Path]) -> None:
    """CPU time from cpuacct, memory from memory, and a process in any of its tasks says that it is there."""
    job = group(tmp_path)
    assert job.look()
    assert job.usage == (2.5, 4608)
    for path in hybrid.values():
        (path / "step_0/task_0/cgroup.procs").write_text("")
    assert not job.look()


def test_version_1_of_a_node_among_several(tmp_path: Path, hybrid: dict[str, Path]) -> None:
    """slurm_NODE is this node's alone."""
    for path in hybrid.values():
        path.parents[1].rename(path.parents[1].with_name("slurm_n1"))
    assert group(tmp_path).look()
    assert not group(tmp_path, node="n2").look()


def test_version_1_without_counters(tmp_path: Path, hybrid: dict[str, Path]) -> None:
    """Where SLURM uses the freezer alone, the processes in it are asked."""
    shutil.rmtree(hybrid["cpuacct"])
    shutil.rmtree(hybrid["memory"])
    job = group(tmp_path)
    assert job.look()
    assert job.usage is not None
    mine = os.times()
    # The clock's ticks are a hundredth of a second, and time goes on.
    assert job.usage[0] == pytest.approx(sum(mine[:4]), abs=0.5)
    assert job.usage[1] > 1 << 20


def test_a_list_of_processes_that_is_cut_off_names_no_other_s(tmp_path: Path) -> None:
    """With more processes than are read at once, the last number may be half of one."""
    write(tmp_path / "fs/cgroup/freezer/slurm/uid_1000/job_1234", cgroup__procs="111111\n" * 10_000)
    write(tmp_path / "proc/11", stat="11 (another's) S" + " 9999" * 40)
    write(tmp_path / "proc/111111", stat="111111 (own) S" + " 0" * 40)
    job = group(tmp_path, str(tmp_path / "proc"))
    assert job.look()
    assert job.usage == (0.0, 0)


def test_the_seconds_of_a_cgroup_that_comes_anew_are_added(tmp_path: Path, unified: Path) -> None:
    """Between the steps of an interactive job there is none; the next one counts from 0."""
    job = group(tmp_path)
    job.look()
    kept = unified.with_name("kept")  # so that its inode is not given to the next one
    unified.rename(kept)
    assert not job.look()
    write(unified, cgroup__events="populated 1\n", cpu__stat="usage_usec 250000\n", memory__stat="anon 0\n")
    assert job.look()
    assert job.usage == (3.75, 0)


def test_controllers_come_and_go_one_after_the_other(tmp_path: Path, hybrid: dict[str, Path]) -> None:
    """What the counter has counted is not counted again from the processes that the freezer still holds."""
    hidden = hybrid["cpuacct"].with_name("hidden")
    hybrid["cpuacct"].rename(hidden)
    job = group(tmp_path)
    assert job.look()
    assert job.usage is not None
    assert job.usage[0] != 2.5
    hidden.rename(hybrid["cpuacct"])
    assert job.look()
    assert job.usage == (2.5, 4608)
    hybrid["cpuacct"].rename(hidden)
    assert job.look()
    assert job.usage == (2.5, 4608)


@pytest.mark.parametrize("user", ["uid_1001/job_1234", "uid_1000/job_12345"])
def test_another_job_is_another(tmp_path: Path, hybrid: dict[str, Path], user: str) -> None:
    """Nor is that of another user with the same number."""
    for path in hybrid.values():
        path.parents[1].joinpath(user).parent.mkdir(exist_ok=True)
        path.rename(path.parents[1] / user)
    assert not group(tmp_path).look()


@contextmanager
def titled(title: str, program: str, *, host: bool = True, link: bool = False) -> Iterator[int]:
    """Run a program of that name that calls itself so, and give its process.

    `host` False: on a host of another name; `link`: the program's own name is another one, and this is a link's.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, bash = os.path.join(folder, program), os.path.realpath(shutil.which("bash") or "")
        if link:
            os.symlink(bash, path)
        else:
            shutil.copy(bash, path)
        command = ["bash", "-c", 'exec -a "$0" "$@"', title, path, "-c", "echo; read ever"]
        with started(command if host else ["unshare", "--uts", *command]) as pid:
            yield pid


@contextmanager
def started(command: list[str]) -> Iterator[int]:
    """Run what says when it is ready, and give its process."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n", process.communicate()[1]
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="slurmstepd is root's")
def test_without_cgroups_the_steps_are_looked_for(tmp_path: Path) -> None:
    """By what slurmstepd calls itself; what it and its children have used is the job's."""
    with titled("slurmstepd: [1234.batch]", "slurmstepd"):
        job = group(tmp_path)
        assert job.look()
        assert job.usage is not None
        assert job.usage[1] > 1 << 20
    assert not group(tmp_path).look()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("title", "comm", "options"),
    [
        ("slurmstepd: [12345.0]", "slurmstepd", {}),
        ("slurmstepd: [1234.0]", "bash", {}),
        ("slurmstepd: [1234.0]", "slurmstepd", {"host": False}),
        ("slurmstepd: [1234.0]", "slurmstepd", {"link": True}),  # to `su`, say, which is root's whoever starts it
    ],
)
def test_what_is_no_step_of_the_job(tmp_path: Path, title: str, comm: str, options: dict[str, bool]) -> None:
    """Neither another job's, nor a program of another name, though a link's is right, nor one of another node."""
    with titled(title, comm, **options):
        assert not group(tmp_path).look()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_user_cannot_pose_as_a_step(tmp_path: Path) -> None:
    """A process may call itself as it likes: only root's counts."""
    procfs = tmp_path / "proc"
    with titled("slurmstepd: [1234.0]", "slurmstepd") as pid:
        (procfs / str(pid)).mkdir(parents=True)
        for name in ("comm", "cmdline", "stat"):
            (procfs / str(pid) / name).write_bytes(Path(f"/proc/{pid}/{name}").read_bytes())
        for process in (str(pid), "self"):
            (procfs / process / "ns").mkdir(parents=True)
            (procfs / process / "ns/uts").symlink_to("uts:[1]")
        (procfs / str(pid) / "exe").symlink_to("/usr/sbin/slurmstepd")
        assert group(tmp_path, str(procfs)).look()
        os.chown(procfs / str(pid), 65534, 65534)
        assert not group(tmp_path, str(procfs)).look()
