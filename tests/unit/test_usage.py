"""CPU seconds and bytes of the machine and of a job, against real processes and the kernel's own accounts."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from greenrun.sampler.model import Machine
from greenrun.sampler.usage import Usage, allowed_memory_bytes

SPIN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
REAL = Machine()


def stat_line(pid: int, name: str, parent: int, session: int, start: int, cpu: tuple[int, int, int, int]) -> str:
    """Write a /proc/PID/stat line; `cpu` are user, system and the waited-for children's user and system ticks."""
    times = " ".join(map(str, cpu))
    return f"{pid} ({name}) S {parent} {session} {session} 0 -1 4194560 1 2 3 4 {times} 20 0 1 0 {start} 1000 7 0 0\n"


def process(
    root: Path, pid: int, *, name: str = "x", parent: int, session: int, start: int = 100, ticks: int = 0
) -> None:
    """Put a process into a procfs."""
    (root / str(pid)).mkdir()
    (root / str(pid) / "stat").write_text(stat_line(pid, name, parent, session, start, (ticks, 0, 0, 0)))


def test_machine_cpu_seconds_separate_busy_from_idle(tmp_path: Path) -> None:
    """Idle, waiting for I/O and stolen time are not busy; guests are inside user time and counted once."""
    (tmp_path / "stat").write_text("cpu  100 20 30 1000 50 4 6 200 70 7\ncpu0 1 2 3\nintr 5\n")
    tick = os.sysconf("SC_CLK_TCK")
    busy, every = Usage(Machine(procfs=str(tmp_path))).machine_cpu_seconds() or (0, 0)
    assert busy == pytest.approx(160 / tick)
    assert every == pytest.approx(1410 / tick)


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu  a b c d e f g h\n"])
def test_unreadable_stat_is_unknown(tmp_path: Path, text: str) -> None:
    """A stat file that is empty, short or no numbers is None, never 0."""
    (tmp_path / "stat").write_text(text)
    assert Usage(Machine(procfs=str(tmp_path))).machine_cpu_seconds() is None
    assert Usage(Machine(procfs=str(tmp_path / "none"))).machine_cpu_seconds() is None


def test_machine_cpu_seconds_grow_with_the_clock() -> None:
    """All CPU seconds advance by about the number of CPUs a second."""
    usage = Usage(REAL)
    first, t0 = usage.machine_cpu_seconds(), time.monotonic()
    time.sleep(1)
    second, t1 = usage.machine_cpu_seconds(), time.monotonic()
    assert first is not None
    assert second is not None
    assert (second[1] - first[1]) / (t1 - t0) == pytest.approx(os.cpu_count() or 1, rel=0.3)


def test_memory_used_is_what_is_not_available(tmp_path: Path) -> None:
    """Caches that can be dropped are not used memory."""
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  600 kB\n")
    assert Usage(Machine(procfs=str(tmp_path))).memory() == (400 * 1024, 1000 * 1024)
    (tmp_path / "meminfo").write_text("MemTotal:  1000 kB\n")
    assert Usage(Machine(procfs=str(tmp_path))).memory() is None


def test_job_includes_descendants_and_reaped_children() -> None:
    """A job's CPU time is that of the process, its live grandchildren and the children that it has waited for."""
    start = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', {code!r}])\n"
    waited_for = start.format(code=SPIN.format(seconds=0.3))
    grandchild = SPIN.format(seconds=0.3) + "print(1, flush=True); input()"
    code = waited_for + start.format(code=start.format(code=grandchild))
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        job.stdout.readline()  # the grandchild has spun
        usage = Usage(REAL)
        seconds, resident = usage.job(job.pid) or (0, 0)
        job.communicate(b"\n")
    assert seconds >= 0.6
    assert seconds < 5
    assert resident > 3 * 2**20  # three interpreters
    assert usage.job_scan_seconds > 0


def test_job_agrees_with_the_kernels_account() -> None:
    """What the tree showed at the end is what wait reports, to the ticks of the clock."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [sys.executable, "-c", SPIN.format(seconds=0.5) + "print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as job:
        assert job.stdout is not None
        job.stdout.readline()
        seconds, _ = Usage(REAL).job(job.pid) or (0, 0)
        job.communicate(b"\n")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    waited = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds == pytest.approx(waited, abs=0.1)


def test_job_that_is_gone_is_unknown() -> None:
    """After the command was reaped there is no answer."""
    job = subprocess.Popen(["true"])
    job.wait()
    assert Usage(REAL).job(job.pid) is None


def test_names_with_spaces_and_parentheses(tmp_path: Path) -> None:
    """A process may be named like the end of its own name."""
    process(tmp_path, 50, name="a) S 1 (b", parent=1, session=40, ticks=300)
    seconds, resident = Usage(Machine(procfs=str(tmp_path))).job(50) or (0, 0)
    assert seconds == pytest.approx(300 / os.sysconf("SC_CLK_TCK"))
    assert resident == 7 * os.sysconf("SC_PAGE_SIZE")


def test_orphans_of_the_job_count_and_the_shells_other_jobs_do_not(tmp_path: Path) -> None:
    """Left-behind processes of the job's session are its own; older ones and those with a parent there are not."""
    process(tmp_path, 1, parent=0, session=1, ticks=1_000_000)
    process(tmp_path, 40, parent=1, session=40, start=10, ticks=100_000)  # the shell
    process(tmp_path, 50, parent=40, session=40, start=100, ticks=1)  # the job
    process(tmp_path, 51, parent=50, session=40, start=101, ticks=10)
    process(tmp_path, 52, parent=51, session=52, start=102, ticks=100)  # a session of its own, but below the job
    process(tmp_path, 60, parent=1, session=40, start=103, ticks=1000)  # orphaned
    process(tmp_path, 61, parent=60, session=61, start=104, ticks=10_000)  # below the orphan
    process(tmp_path, 70, parent=1, session=40, start=50, ticks=100_000)  # an older orphan
    process(tmp_path, 71, parent=40, session=40, start=105, ticks=100_000)  # the shell's next job
    process(tmp_path, 80, parent=1, session=80, start=106, ticks=100_000)  # somebody else
    seconds, _ = Usage(Machine(procfs=str(tmp_path))).job(50) or (0, 0)
    assert seconds == pytest.approx(11_111 / os.sysconf("SC_CLK_TCK"))


def test_job_seconds_never_fall(tmp_path: Path) -> None:
    """A child that vanishes unwaited takes nothing back."""
    process(tmp_path, 50, parent=1, session=50, ticks=100)
    process(tmp_path, 51, parent=50, session=50, ticks=900)
    usage = Usage(Machine(procfs=str(tmp_path)))
    first = usage.job(50)
    (tmp_path / "51" / "stat").unlink()
    second = usage.job(50)
    assert first is not None
    assert second is not None
    assert second[0] == first[0] == pytest.approx(1000 / os.sysconf("SC_CLK_TCK"))


def machine_with_memory(root: Path, membership: str) -> Machine:
    """Make a machine of 8 GiB whose process belongs to the given cgroups."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text(f"MemTotal: {8 * 2**20} kB\nMemAvailable: {4 * 2**20} kB\n")
    (root / "proc" / "self" / "cgroup").write_text(membership)
    return Machine(str(root / "sys"), str(root / "proc"))


def limit(root: Path, group: str, name: str, text: str) -> None:
    """Set a limit in a cgroup."""
    folder = root / "sys" / "fs" / "cgroup" / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_memory_without_a_limit_is_the_machines(tmp_path: Path) -> None:
    """No limit, or version 1's number that stands for none, leaves the machine's memory."""
    machine = machine_with_memory(tmp_path, "3:memory:/a\n0::/\n")
    limit(tmp_path, "memory/a", "memory.limit_in_bytes", "9223372036854771712\n")
    limit(tmp_path, "", "memory.max", "max\n")
    assert allowed_memory_bytes(machine) == 8 * 2**30


def test_tightest_limit_on_the_way_up_holds(tmp_path: Path) -> None:
    """A limit of any cgroup above the process's own holds for it."""
    machine = machine_with_memory(tmp_path, "0::/slice/job\n")
    limit(tmp_path, "slice/job", "memory.max", "max\n")
    limit(tmp_path, "slice", "memory.max", f"{2 * 2**30}\n")
    assert allowed_memory_bytes(machine) == 2 * 2**30


@pytest.mark.parametrize(
    ("membership", "group", "name"),
    [
        ("0::/docker/abc\n", "", "memory.max"),
        ("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n", "memory", "memory.limit_in_bytes"),
        ("4:hugetlb,memory:/docker/abc\n", "memory/abc", "memory.limit_in_bytes"),
    ],
)
def test_limit_is_found_where_the_container_mounts_it(tmp_path: Path, membership: str, group: str, name: str) -> None:
    """The path is the host's; the container has its own cgroup at the mount."""
    machine = machine_with_memory(tmp_path, membership)
    limit(tmp_path, group, name, f"{2**30}\n")
    expected = 8 * 2**30 if group == "memory/abc" else 2**30  # a path that is not ours is not taken for ours
    assert allowed_memory_bytes(machine) == expected


def test_memory_is_unknown_without_meminfo(tmp_path: Path) -> None:
    """No meminfo, no size."""
    assert allowed_memory_bytes(Machine(str(tmp_path), str(tmp_path))) is None
