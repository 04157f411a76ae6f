"""Control groups as container runtimes, systemd and SLURM lay them out: membership, limits, use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from greenrun.sampler import cgroups, containers, hardware
from greenrun.sampler.model import Machine
from greenrun.sampler.usage import allowed_memory_bytes

GIB = 2**30
SELF = "self"


class Layout:
    """A machine's /proc and /sys as a process in some cgroup sees them; paths are those that the kernel writes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.machine = Machine(str(root / "sys"), str(root / "proc"))
        (root / "proc" / SELF).mkdir(parents=True)
        (root / "proc" / "meminfo").write_text(f"MemTotal: {64 * 2**20} kB\nMemAvailable: {32 * 2**20} kB\n")

    def member(self, membership: str, process: str = SELF) -> Layout:
        """Say in which cgroups a process is."""
        (self._root / "proc" / process).mkdir(exist_ok=True)
        (self._root / "proc" / process / "cgroup").write_text(membership)
        return self

    def mounts(self, *mounts: tuple[str, str, str]) -> Layout:
        """Say what is mounted: (root, mount point, controllers, or "" for version 2)."""
        lines = ["22 1 0:21 / /proc rw - proc proc rw"]
        for number, (root, point, controllers) in enumerate(mounts, 30):
            kind = "cgroup cgroup" if controllers else "cgroup2 cgroup2"
            lines.append(f"{number} 22 0:{number} {root} {point} rw,nosuid shared:9 - {kind} rw,{controllers}")
        (self._root / "proc" / SELF / "mountinfo").write_text("\n".join(lines) + "\n")
        return self

    def group(self, folder: str, **files: str) -> Layout:
        """Make a cgroup; `__` in a name stands for a dot."""
        path = self._root / folder.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / name.replace("__", ".")).write_text(text)
        return self


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Give a machine of 64 GiB without cgroups."""
    return Layout(tmp_path)


def docker_v2(layout: Layout) -> Layout:
    """Make a container of Docker or Podman with a cgroup namespace: its own cgroup is the root that it sees."""
    layout.member("0::/\n").mounts(("/", "/sys/fs/cgroup", ""))
    return layout.group(
        "/sys/fs/cgroup", cpu__max="150000 100000\n", memory__max=f"{2 * GIB}\n", cgroup__events="populated 1\n"
    )


def docker_v1(layout: Layout) -> Layout:
    """Make a container of Docker on version 1: the path is the host's, and only its end is mounted."""
    path = "/docker/0123abcd"
    layout.member(
        f"12:cpu,cpuacct:{path}\n11:memory:{path}\n10:cpuset:{path}\n1:name=systemd:{path}\n0::/system.slice\n"
    )
    layout.mounts(
        (path, "/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"),
        (path, "/sys/fs/cgroup/memory", "memory"),
        (path, "/sys/fs/cgroup/cpuset", "cpuset"),
        (path, "/sys/fs/cgroup/systemd", "xattr,name=systemd"),
    )
    layout.group("/sys/fs/cgroup/cpu,cpuacct", cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n")
    layout.group("/sys/fs/cgroup/memory", memory__limit_in_bytes=f"{2 * GIB}\n")
    return layout.group("/sys/fs/cgroup/cpuset", cpuset__cpus="0-7\n")


def kubernetes(layout: Layout) -> Layout:
    """Make a pod whose container sees the node's whole hierarchy: the pod's limit holds for the container below it."""
    pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice"
    layout.member(f"0::{pod}/cri-containerd-abc.scope\n").mounts(("/", "/sys/fs/cgroup", ""))
    layout.group(f"/sys/fs/cgroup{pod}/cri-containerd-abc.scope", cpu__max="400000 100000\n", memory__max="max\n")
    return layout.group(f"/sys/fs/cgroup{pod}", cpu__max="150000 100000\n", memory__max=f"{2 * GIB}\n")


def systemd_user(layout: Layout) -> Layout:
    """Make a service of a user's: the slice above it is limited."""
    above = "/user.slice/user-1000.slice"
    layout.member(f"0::{above}/user@1000.service/app.slice/job.service\n").mounts(("/", "/sys/fs/cgroup", ""))
    layout.group(f"/sys/fs/cgroup{above}/user@1000.service/app.slice/job.service", cpu__max="max 100000\n")
    return layout.group(f"/sys/fs/cgroup{above}", cpu__max="150000 100000\n", memory__max=f"{2 * GIB}\n")


def slurm_v2(layout: Layout) -> Layout:
    """Make a task of SLURM's, whose job has CPUs by number and memory."""
    job = "/system.slice/slurmstepd.scope/job_7"
    layout.member(f"0::{job}/step_0/user/task_0\n").mounts(("/", "/sys/fs/cgroup", ""))
    cpus = {"cpuset__cpus__effective": "4,68\n"}
    layout.group(f"/sys/fs/cgroup{job}/step_0/user/task_0", memory__max="max\n", cpu__max="150000 100000\n", **cpus)
    return layout.group(f"/sys/fs/cgroup{job}", memory__max=f"{2 * GIB}\n")


@pytest.mark.parametrize("make", [docker_v2, docker_v1, kubernetes, systemd_user, slurm_v2])
def test_limits_of_all_layouts(layout: Layout, make: Callable[[Layout], Layout]) -> None:
    """One and a half CPUs and 2 GiB, wherever that is written."""
    machine = make(layout).machine
    assert cgroups.cpu_limit(machine) == 1.5
    assert cgroups.memory_limit_bytes(machine) == 2 * GIB
    assert allowed_memory_bytes(machine) == 2 * GIB


def test_no_limit(layout: Layout) -> None:
    """max, -1 and version 1's largest number are none; nor is there one without cgroups."""
    assert cgroups.cpu_limit(layout.machine) is None
    assert cgroups.memory_limit_bytes(layout.machine) is None
    layout.member("3:memory:/a\n2:cpu:/a\n0::/\n")
    layout.group("/sys/fs/cgroup", cpu__max="max 100000\n", memory__max="max\n")
    layout.group("/sys/fs/cgroup/memory/a", memory__limit_in_bytes="9223372036854771712\n")
    layout.group("/sys/fs/cgroup/cpu/a", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert cgroups.cpu_limit(layout.machine) is None
    assert cgroups.memory_limit_bytes(layout.machine) is None


@pytest.mark.parametrize(
    ("told", "count"), [("0-3,8", 5), ("7", 1), ("4,68", 2), ("", 0), ("all", 0), ("1-x", 0), ("0-3,", 0)]
)
def test_a_list_of_cpus(told: str, count: int) -> None:
    """As cpuset(7) has it; what is none counts nothing."""
    assert cgroups.listed(told.split()) == count


def test_a_set_is_a_limit_too(layout: Layout) -> None:
    """The smaller of quota and set holds; a set of all CPUs that there are is none."""
    docker_v1(layout).group("/sys/fs/cgroup/cpuset", cpuset__cpus="3\n")
    layout.group("/sys/devices/system/cpu", present="0-7\n")
    assert cgroups.cpu_limit(layout.machine) == 1.0
    layout.group("/sys/devices/system/cpu", present="0\n")
    assert cgroups.cpu_limit(layout.machine) == 1.5


def test_a_path_of_another_namespace_is_no_directory_here(layout: Layout) -> None:
    """The kernel writes /../ where the cgroup lies outside of what this process may see."""
    layout.member("0::/../other\n").mounts(("/", "/sys/fs/cgroup", ""))
    layout.group("/sys/fs/cgroup", memory__max="1\n").group("/sys/fs/other", memory__max="1\n")
    assert cgroups.groups(layout.machine) == {}
    assert cgroups.memory_limit_bytes(layout.machine) is None


@pytest.mark.parametrize("membership", ["", "\n", "nonsense\n", "0:\n", ":::\n", "0::\udcff/x\n"])
def test_a_membership_that_makes_no_sense(layout: Layout, membership: str) -> None:
    """Nothing is known, and nothing breaks."""
    (Path(layout.machine.procfs) / SELF / "cgroup").write_bytes(membership.encode("utf-8", "surrogateescape"))
    assert cgroups.cpu_limit(layout.machine) is None


def test_the_root_is_everything(layout: Layout) -> None:
    """As the kernel marks it; a container's own cgroup at the mount is not."""
    docker_v2(layout)
    assert not cgroups.groups(layout.machine)[""].is_everything
    (Path(layout.machine.sysfs) / "fs/cgroup/cgroup.events").unlink()
    assert cgroups.groups(layout.machine)[""].is_everything
    docker_v1(layout)
    assert not cgroups.groups(layout.machine)["cpuacct"].is_everything
    layout.group("/sys/fs/cgroup/cpu,cpuacct", release_agent="\n")
    assert cgroups.groups(layout.machine)["cpuacct"].is_everything


def test_use(tmp_path: Path) -> None:
    """Seconds and bytes of both versions; what is not counted is None."""
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (tmp_path / "cpuacct.usage").write_text("3500000000\n")
    (tmp_path / "memory.stat").write_text("anon 2048\nfile 9\nfile_mapped 1024\ntotal_rss 5\n")
    assert cgroups.cpu_seconds(2, str(tmp_path)) == 2.5
    assert cgroups.cpu_seconds(1, str(tmp_path)) == 3.5
    assert cgroups.resident_bytes(2, str(tmp_path)) == 3072
    assert cgroups.resident_bytes(1, str(tmp_path)) == 5
    assert cgroups.cpu_seconds(2, str(tmp_path / "none")) is None
    assert cgroups.resident_bytes(2, str(tmp_path / "none")) is None


# --- what a container shows


PROCESSOR = hardware.Processor("GenuineIntel", "Xeon", 6, 143, 8, 1, 4, False)
LXCFS = "90 22 0:60 /proc/{name} /proc/{name} rw,nosuid shared:1 - fuse.lxcfs lxcfs rw\n"


def test_lxcfs_is_seen_through(layout: Layout) -> None:
    """It shows a container's CPUs and load as the machine's: their number stands in sysfs, the load nowhere."""
    mountinfo = Path(layout.machine.procfs) / SELF / "mountinfo"
    layout.group("/sys/devices/system/cpu", present="0-63\n", online="0-3\n")
    mountinfo.write_text("22 1 0:21 / /proc rw - proc proc rw\n")
    assert containers.all_cpus(layout.machine, PROCESSOR) == 4
    assert containers.doubts(layout.machine) == []
    mountinfo.write_text("".join(LXCFS.format(name=name) for name in ("cpuinfo", "stat", "meminfo")))
    assert containers.shown_by_lxcfs(layout.machine) == {"cpuinfo", "stat", "meminfo"}
    assert containers.all_cpus(layout.machine, PROCESSOR) == 64
    (sentence,) = containers.doubts(layout.machine)
    assert "lxcfs" in sentence


def test_process_ids_of_its_own(layout: Layout) -> None:
    """The machine's own namespace has a number that the kernel fixes."""
    link = Path(layout.machine.procfs) / SELF / "ns" / "pid"
    assert not containers.has_own_process_ids(layout.machine)  # nobody tells
    link.parent.mkdir()
    link.symlink_to("pid:[4026531836]")
    assert not containers.has_own_process_ids(layout.machine)
    link.unlink()
    link.symlink_to("pid:[4026532541]")
    assert containers.has_own_process_ids(layout.machine)
