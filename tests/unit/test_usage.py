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


# --- a job with a cgroup of its own

GREENRUN, JOB, SHELL, INIT = 40, 50, 30, 20  # beside the daemon, which is this process
TICKS = os.sysconf("SC_CLK_TCK")


class Contained:
    """A container in which a shell runs greenrun, and greenrun a job: its files, and what is seen of the job.

    All of the ticks that are told are in the cgroup's counter, unless it is told apart.
    """

    def __init__(self, root: Path, *, version: int = 2, shell: bool = True) -> None:
        self.procfs = root / "proc"
        self.folder = root / "sys/fs/cgroup" / ("" if version == 2 else "cpuacct") / "box"
        self.folder.mkdir(parents=True)
        self.procfs.mkdir(parents=True)
        self._version = version
        self._ticks: dict[int, int] = {}
        self._gone_ticks = 0
        process(self.procfs, 1, parent=0, session=1, start=1)
        above = 1
        if shell:
            self.add(SHELL, parent=1, start=50, ticks=700)
            above = SHELL
        self.add(GREENRUN, parent=above, start=90, ticks=30)
        self.add(os.getpid(), parent=GREENRUN, start=95, ticks=20)
        self.add(JOB, parent=GREENRUN, start=100, ticks=5)
        membership = "0::/box\n" if version == 2 else "4:cpuacct:/box\n"
        (self.procfs / str(JOB) / "cgroup").write_text(membership)
        if version == 2:
            (self.folder / "cgroup.events").write_text("populated 1\n")
        self.usage = Usage(Machine(str(root / "sys"), str(self.procfs)))

    def add(self, pid: int, *, parent: int, start: int, ticks: int = 0, waited: int = 0) -> None:
        """Put a process, with the ticks that it and the children that it has waited for have used, or change it."""
        (self.procfs / str(pid)).mkdir(exist_ok=True)
        line = stat_line(pid, "x", parent, pid, start, (ticks, 0, waited, 0))
        (self.procfs / str(pid) / "stat").write_text(line)
        self._ticks[pid] = ticks
        self._tell()

    def end(self, pid: int) -> None:
        """Let a process end; nobody waits for it."""
        (self.procfs / str(pid) / "stat").unlink()
        self._gone_ticks += self._ticks.pop(pid)
        self._tell()

    def use(self, ticks: int) -> None:
        """Let something that came and went between two looks use so much."""
        self._gone_ticks += ticks
        self._tell()

    def _tell(self) -> None:
        (self.folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in self._ticks))
        seconds = (sum(self._ticks.values()) + self._gone_ticks) / TICKS
        if self._version == 2:
            (self.folder / "cpu.stat").write_text(f"usage_usec {round(seconds * 1e6)}\n")
        else:
            (self.folder / "cpuacct.usage").write_text(f"{round(seconds * 1e9)}\n")

    def expect(self, launcher: int | None = GREENRUN) -> None:
        """Say that the job has begun."""
        self.usage.expect(JOB, launcher)

    def ticks(self) -> float:
        """Give what is seen of the job."""
        found = self.usage.job(JOB)
        assert found is not None
        return found[0] * TICKS


@pytest.mark.parametrize("version", [1, 2])
def test_a_cgroup_of_its_own_counts_what_the_tree_loses(tmp_path: Path, version: int) -> None:
    """Children that nobody waits for, daemons that left the session, and the job itself from its first tick on."""
    box = Contained(tmp_path, version=version)
    box.expect()
    assert box.ticks() == pytest.approx(5)
    box.use(1000)
    box.add(60, parent=1, start=110, ticks=200)  # a daemon of the job's
    assert box.ticks() == pytest.approx(1205)
    assert box.usage.counts_to_the_end


def test_what_greenrun_and_those_above_use_is_taken_off(tmp_path: Path) -> None:
    """The daemon, what it starts, greenrun and the shell, as far as they work while the job runs."""
    box = Contained(tmp_path)
    box.expect()
    box.add(os.getpid(), parent=GREENRUN, start=95, ticks=520)
    box.add(61, parent=os.getpid(), start=120, ticks=100)
    box.add(GREENRUN, parent=SHELL, start=90, ticks=130)
    box.add(SHELL, parent=1, start=50, ticks=1700)
    box.add(JOB, parent=GREENRUN, start=100, ticks=45)
    assert box.ticks() == pytest.approx(45)
    box.end(61)
    box.add(os.getpid(), parent=GREENRUN, start=95, ticks=520, waited=100)
    box.use(7)  # of the job's
    assert box.ticks() == pytest.approx(52)


def test_a_job_that_greenrun_has_waited_for_stays_its_own(tmp_path: Path) -> None:
    """What greenrun and a relay of its have waited for is the job's; what the shell has is not."""
    box = Contained(tmp_path)
    box.expect()
    box.add(JOB, parent=GREENRUN, start=100, ticks=905)
    box.end(JOB)
    box.add(GREENRUN, parent=SHELL, start=90, ticks=30, waited=905)
    assert box.ticks() == pytest.approx(905)
    box.use(50)  # another command of the shell's, begun and ended between two looks
    box.add(SHELL, parent=1, start=50, ticks=700, waited=50)
    assert box.ticks() == pytest.approx(905)


@pytest.mark.parametrize("parent", [SHELL, 1])
def test_with_somebody_else_in_it_the_tree_counts(tmp_path: Path, parent: int) -> None:
    """The shell's next command is not the job's, nor is an orphan that is older than the job."""
    box = Contained(tmp_path)
    box.add(70, parent=parent, start=99, ticks=9000)
    box.expect()
    assert not box.usage.counts_to_the_end
    box.use(1000)
    assert box.ticks() == pytest.approx(5)


def test_a_neighbour_that_comes_later_is_not_billed(tmp_path: Path) -> None:
    """What was counted before stays; from then on the tree counts, also when the neighbour has gone again."""
    box = Contained(tmp_path)
    box.expect()
    box.use(300)
    assert box.ticks() == pytest.approx(305)
    box.add(70, parent=SHELL, start=500, ticks=9000)
    assert box.ticks() == pytest.approx(305)
    box.end(70)
    box.add(JOB, parent=GREENRUN, start=100, ticks=400)
    assert box.ticks() == pytest.approx(400)
    assert not box.usage.counts_to_the_end


def test_of_two_greenruns_in_one_container_neither_bills_the_other(tmp_path: Path) -> None:
    """`greenrun a & greenrun b`: each sees the other's as a stranger's."""
    box = Contained(tmp_path)
    box.expect()
    box.add(140, parent=SHELL, start=500, ticks=10)
    box.add(150, parent=140, start=501, ticks=5000)
    box.add(JOB, parent=GREENRUN, start=100, ticks=85)
    assert box.ticks() == pytest.approx(85)


def test_one_from_outside_of_the_container(tmp_path: Path) -> None:
    """`docker exec`: its parent is of another process namespace, or it is itself one that has no number here."""
    box = Contained(tmp_path)
    box.expect()
    box.add(80, parent=0, start=500, ticks=9000)
    assert box.ticks() == pytest.approx(5)
    other = Contained(tmp_path / "other")
    with open(other.folder / "cgroup.procs", "a") as file:
        file.write("0\n")
    other.expect()
    assert not other.usage.counts_to_the_end


def test_greenrun_as_the_first_process(tmp_path: Path) -> None:
    """It inherits the job's orphans, which are younger than the job, and has children that are older."""
    box = Contained(tmp_path, shell=False)
    box.add(41, parent=GREENRUN, start=99, ticks=10)  # a relay's
    box.expect()
    box.add(41, parent=GREENRUN, start=99, ticks=60)
    box.add(90, parent=GREENRUN, start=130, ticks=700)
    assert box.ticks() == pytest.approx(705)
    box.add(90, parent=GREENRUN, start=130, ticks=900)
    assert box.ticks() == pytest.approx(905)


@pytest.mark.parametrize("missing", ["cgroup.events", "cpu.stat", "cgroup.procs"])
def test_a_cgroup_that_is_everything_or_tells_nothing(tmp_path: Path, missing: str) -> None:
    """The tree counts."""
    box = Contained(tmp_path)
    (box.folder / missing).unlink()
    box.expect()
    assert not box.usage.counts_to_the_end
    assert box.ticks() == pytest.approx(5)


def test_what_was_seen_before_a_restart_is_not_lost(tmp_path: Path) -> None:
    """A second sampler of a run begins with what the first had seen, in whatever way."""
    box = Contained(tmp_path)
    box.usage.expect(JOB, GREENRUN, 900 / TICKS)
    assert box.ticks() == pytest.approx(900)


def test_memory_of_a_cgroup(tmp_path: Path) -> None:
    """The cgroup counts shared pages once; with a shell in it the processes are asked."""
    alone = Contained(tmp_path / "alone", shell=False)
    (alone.folder / "memory.stat").write_text("anon 5000\nfile_mapped 120\n")
    alone.expect()
    assert (alone.usage.job(JOB) or (0, 0))[1] == 5120
    shared = Contained(tmp_path / "shared")
    (shared.folder / "memory.stat").write_text("anon 5000\nfile_mapped 120\n")
    shared.expect()
    assert (shared.usage.job(JOB) or (0, 0))[1] == 7 * os.sysconf("SC_PAGE_SIZE")


def test_no_procfs_at_all(tmp_path: Path) -> None:
    """Where even the directory is not there, nothing is known."""
    usage = Usage(Machine(procfs=str(tmp_path / "nothing")))
    assert usage.job(os.getpid()) is None
    assert usage.machine_cpu_seconds() is None
    assert usage.memory() is None
