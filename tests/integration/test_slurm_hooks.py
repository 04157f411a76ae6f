"""Prolog and epilog on a real SLURM: a record for each node of each job, whatever becomes of it, and no node lost."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine
from machine.slurm import Cluster

MakeMachine = Callable[..., SimulatedMachine]
MakeCluster = Callable[..., Cluster]
NOBODY = 65534


@pytest.fixture
def machine(simulated: MakeMachine) -> SimulatedMachine:
    """Give a machine of 65 W."""
    return simulated(packages=[Zone("package-0", constant(65.0))])


def log(run_dir: str) -> list[dict[str, Any]]:
    """Give the events of a run."""
    lines = Path(run_dir, "run.jsonl").read_text().split("\n")[:-1]  # the last one may still be written
    return [json.loads(line) for line in lines]


def first(run_dir: str, kind: str) -> dict[str, Any]:
    """Give the first event of a kind."""
    return next(event for event in log(run_dir) if event["event"] == kind)


def measured(cluster: Cluster, job: int, samples: int = 1) -> str:
    """Wait until a job on one node has so many samples, and give its run directory."""

    def has_samples() -> bool:
        run_dirs = cluster.run_dirs(job)
        if not run_dirs or not os.path.exists(f"{run_dirs[0]}/run.jsonl"):
            return False
        return sum(event["event"] == "sample" for event in log(run_dirs[0])) >= samples

    cluster.until(has_samples, f"job {job} has {samples} samples")
    return cluster.run_dirs(job)[0]


def users_folder(cluster: Cluster, name: str = "home") -> str:
    """Make a folder of nobody's below the cluster's."""
    path = os.path.join(cluster.directory, name)
    os.mkdir(path)
    os.chown(path, NOBODY, NOBODY)
    return path


def assert_nothing_is_left(cluster: Cluster, mounts: dict[str, str] | None = None) -> None:
    """No process, socket, mount or file of a running job, no half-written file, and all nodes in service."""
    cluster.until(lambda: not cluster.processes(), "the nodes have no process")
    assert cluster.running_records() == []
    files = [os.path.join(folder, name) for folder, _, names in os.walk(cluster.spool) for name in names]
    assert {os.path.basename(path) for path in files} <= {"run.jsonl", "summary.json", "summary.txt"}
    assert all(os.path.isfile(path) for path in files)
    assert cluster.drained() == ""
    assert mounts is None or mounts == all_mounts(cluster)


def all_mounts(cluster: Cluster) -> dict[str, str]:
    """Give the mounts that each node sees."""
    return {node: Path(f"/proc/{cluster.slurmd(node)}/mounts").read_text() for node in cluster.nodes}


def test_two_nodes_of_different_power(slurm: MakeCluster, simulated: MakeMachine) -> None:
    """Each node's record is within 1 % of what its machine used from the prolog to the epilog."""
    machines = [simulated(packages=[Zone("package-0", constant(watts))]) for watts in (65.0, 120.0)]
    cluster = slurm(machines)
    job = cluster.sbatch("srun sleep 10; exit 3", "-N2")
    assert cluster.wait(job) == "FAILED"
    records = cluster.records(job)
    assert set(records) == set(cluster.nodes)
    for machine, node, run_dir in zip(machines, cluster.nodes, cluster.run_dirs(job), strict=True):
        (record,) = records[node]
        began = first(run_dir, "start")["monotonic"]
        begin, end = began + first(run_dir, "spawned")["t"], began + first(run_dir, "exited")["t"]
        assert end - begin >= 10.0
        assert record["duration_seconds"] == pytest.approx(end - begin)
        assert record["energy_joules"]["cpu"] == pytest.approx(machine.energy_joules("cpu", begin, end), rel=0.01)
        assert (record["status"], record["kind"], record["host"]) == ("complete", "job", node)
        assert record["job"]["NodeName"] == node
        assert first(run_dir, "exited")["job_exit_code"] == "3:0"
    assert_nothing_is_left(cluster)


def test_fifty_jobs_a_third_of_them_cancelled(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """Two at a time on each node, cancelled at any moment from their prolog to their epilog: a record for each one."""
    chance = random.Random(20261122)  # noqa: S311  moments, no secret
    cluster = slurm([machine, machine])
    mounts = all_mounts(cluster)
    cancel_after = {}
    jobs = []
    for number in range(50):
        job = cluster.sbatch(f"sleep {chance.uniform(0.1, 1.5):.2f}", "-n1")
        jobs.append(job)
        if number % 3 == 0:
            cancel_after[job] = chance.uniform(0.0, 1.5)
    began: dict[int, float] = {}

    def is_over() -> bool:
        told = cluster.command("squeue", "-h", "-o", "%i %t").stdout.split()
        now = time.monotonic()
        for job, state in zip(map(int, told[::2]), told[1::2], strict=True):
            if state != "PD":
                began.setdefault(job, now)
        due = [job for job, after in cancel_after.items() if now >= began.get(job, now) + after]
        if due:
            cluster.command("scancel", *map(str, due))
        for job in due:
            del cancel_after[job]
        return not told

    cluster.until(is_over, "all jobs are over", seconds=110.0)
    assert_nothing_is_left(cluster, mounts)
    for job in jobs:
        (records,) = cluster.records(job).values()
        assert [record["job"]["JobIDRaw"] for record in records] == [str(job)]
        assert len(cluster.run_dirs(job)) == 1
    assert len(os.listdir(os.path.join(cluster.spool, "runs"))) == 50


@pytest.mark.parametrize("proctrack", ["cgroup", "linuxproc"])
def test_the_job_s_own_use(slurm: MakeCluster, machine: SimulatedMachine, proctrack: str) -> None:
    """CPU time and memory of the job, and not of its neighbour, by its cgroup or else by its steps."""
    cluster = slurm([machine], proctrack=proctrack)
    idle = cluster.sbatch("sleep 4.5", "-n1")
    home = users_folder(cluster)
    busy = "import time; held = bytearray(64 << 20)\nwhile time.process_time() < 2.5: pass\ntime.sleep(1.2)"
    used = cluster.sbatch(f"python3 -c '{busy}'; cat /proc/self/stat > {home}/done", "-n1", user="nobody")
    cluster.wait(idle)
    cluster.wait(used)
    assert os.path.exists(f"{home}/done")
    last = [log(cluster.run_dirs(job)[0]) for job in (idle, used)]
    seconds = [max(event["cpu"][0] or 0.0 for event in events if event["event"] == "sample") for events in last]
    assert seconds[0] < 0.5
    assert 2.4 <= seconds[1] < 3.5
    memory = [max(event["mem"][0] or 0 for event in events if event["event"] == "sample") for events in last]
    assert memory[0] < 64 << 20 <= memory[1]


def test_a_requeued_job_is_two_runs(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """Told apart by how often SLURM had begun it before."""
    cluster = slurm([machine])
    job = cluster.sbatch("sleep 3", "--requeue")
    measured(cluster, job)
    cluster.until(lambda: "slurm_script" in cluster.processes().values(), "its script runs")
    cluster.command("scontrol", "requeue", str(job))
    cluster.wait(job, "PENDING")
    # It would wait for two minutes. Begun anew within a second it would have no prolog: slurmd takes it for the first.
    time.sleep(2.0)
    cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now+3")  # not in the second of the requeue
    assert cluster.wait(job) == "COMPLETED"
    (records,) = cluster.records(job).values()
    assert [record["job"]["Restarts"] for record in records] == [0, 1]
    assert [record["status"] for record in records] == ["complete", "complete"]
    assert_nothing_is_left(cluster)


def test_suspended_and_resumed(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """A suspended job is measured on: its node goes on, too."""
    cluster = slurm([machine])
    job = cluster.sbatch("sleep 2")
    cluster.wait(job, "RUNNING")
    cluster.command("scontrol", "suspend", str(job))
    cluster.wait(job, "SUSPENDED")
    time.sleep(2.0)
    cluster.command("scontrol", "resume", str(job))
    assert cluster.wait(job) == "COMPLETED"
    (records,) = cluster.records(job).values()
    (record,) = records
    assert record["status"] == "complete"
    assert record["duration_seconds"] > 2.0
    assert_nothing_is_left(cluster)


def test_a_node_that_fails_and_returns(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """Of its job there is what was measured until then, and a late epilog only makes the record of that."""
    cluster = slurm([machine])
    (node,) = cluster.nodes
    job = cluster.sbatch("sleep 60", "--no-requeue")
    measured(cluster, job, samples=5)
    cluster.fail_node(node)
    cluster.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=power")  # it need not find out
    assert cluster.wait(job) == "NODE_FAIL"
    cluster.start_node(node, boot_id="00000000-0000-4000-8000-000000000000")
    cluster.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
    cluster.until(lambda: cluster.records(job) != {}, "the late epilog has made the record")
    ((record,),) = cluster.records(job).values()
    assert record["status"] == "partial"
    assert record["duration_seconds"] > 2.0
    cluster.until(lambda: cluster.running_records() == [], "it is no longer among those that run")
    again = cluster.sbatch("sleep 0.5")
    assert cluster.wait(again) == "COMPLETED"
    assert_nothing_is_left(cluster)


def test_a_killed_daemon(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """The epilog makes the record from its log, and the next one those of daemons whose epilog never came."""
    cluster = slurm([machine])
    job = cluster.sbatch("sleep 3")
    measured(cluster, job, samples=5)
    for daemon in cluster.daemons():
        os.kill(daemon, signal.SIGKILL)
    live = cluster.running_records()
    cluster.wait(job)
    ((record,),) = cluster.records(job).values()
    assert record["status"] == "partial"
    assert live != []
    assert_nothing_is_left(cluster)


def test_a_daemon_that_hangs_drains_no_node(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """It has two seconds for the record; then the epilog ends it and makes one from the log."""
    cluster = slurm([machine])
    job = cluster.sbatch("sleep 2")
    measured(cluster, job, samples=4)
    for daemon in cluster.daemons():
        os.kill(daemon, signal.SIGSTOP)
    cluster.wait(job)
    ((record,),) = cluster.records(job).values()
    assert record["status"] == "partial"
    assert_nothing_is_left(cluster)


def test_an_epilog_without_a_prolog(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """There is nothing to end."""
    cluster = slurm([machine], prolog=None)
    assert cluster.wait(cluster.sbatch("true")) == "COMPLETED"
    assert_nothing_is_left(cluster)
    assert os.listdir(cluster.spool) == []


@pytest.mark.soak
def test_a_prolog_without_an_epilog(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """The daemon ends when the job's cgroup has been gone for 30 s."""
    cluster = slurm([machine], epilog=None)
    job = cluster.sbatch("sleep 1")
    assert cluster.wait(job) == "COMPLETED"
    over = time.monotonic()
    cluster.until(lambda: not cluster.daemons(), "the daemon is gone")
    assert 25.0 <= time.monotonic() - over <= 40.0
    ((record,),) = cluster.records(job).values()
    assert 1.0 <= record["duration_seconds"] <= 10.0
    assert_nothing_is_left(cluster)


@pytest.mark.soak
def test_a_time_limit(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """SLURM kills the job, and the epilog ends its record as any other."""
    cluster = slurm([machine])
    job = cluster.sbatch("sleep 300", "-t1")
    assert cluster.wait(job, seconds=110.0) == "TIMEOUT"
    ((record,),) = cluster.records(job).values()
    assert record["status"] == "complete"
    assert record["duration_seconds"] >= 59.0
    assert_nothing_is_left(cluster)


def hostile_spools(cluster: Cluster) -> None:
    """Make a spool that anybody could write, and a file where there should be one."""
    os.mkdir(f"{cluster.directory}/open")
    os.chmod(f"{cluster.directory}/open", 0o777)  # noqa: S103  that is the point
    Path(f"{cluster.directory}/file").write_text("")


@pytest.mark.parametrize(
    "site",
    ["nonsense = 1", "[[[", 'pue = "x"', 'spool = "open"', 'spool = "file"', 'spool = "none/of/this"'],
)
def test_what_is_wrong_at_the_site_costs_no_node(slurm: MakeCluster, machine: SimulatedMachine, site: str) -> None:
    """A mistake in the site's file or a spool that cannot be used: the job runs, and is not measured."""
    cluster = slurm([machine])
    (node,) = cluster.nodes
    hostile_spools(cluster)
    site = re.sub('"(open|file|none.*)"', rf'"{cluster.directory}/\1"', site)
    told = f"{site}\n" if "spool" in site else f'{site}\nspool = "{cluster.spool}"\n'
    cluster.in_node(node, "sh", "-c", 'printf "%s" "$0" > /etc/greenrun.toml', told)
    job = cluster.sbatch("true")
    assert cluster.wait(job) == "COMPLETED"
    assert cluster.drained() == ""
    cluster.until(lambda: not cluster.processes(), "the nodes have no process")
    assert os.listdir(f"{cluster.directory}/open") == []
    assert cluster.run_dirs(job) == []
    assert list(Path("/var/spool").glob(f"greenrun/*/*{node}*")) == []
    assert list(Path("/var/spool").glob(f"greenrun/runs/*/{node}*")) == []


def test_a_full_spool_costs_no_node(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """A disk that fills while the job runs loses its record at most."""
    cluster = slurm([machine])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", cluster.spool], check=True)
    try:
        (node,) = cluster.nodes
        told = Path(f"{cluster.directory}/etc/{node}/greenrun.toml").read_text()
        # The node's mounts are its own: what is mounted here now is not there.
        subprocess.run(["umount", cluster.spool], check=True)
        cluster.in_node(node, "mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", cluster.spool)
        assert cluster.spool in told
        cluster.in_node(node, "sh", "-c", f"cat /dev/zero > {cluster.spool}/filler; :")
        assert cluster.wait(cluster.sbatch("true")) == "COMPLETED"
        cluster.in_node(node, "truncate", "-s", "40k", f"{cluster.spool}/filler")
        assert cluster.wait(cluster.sbatch("sleep 1.5; true")) == "COMPLETED"
        assert cluster.drained() == ""
        cluster.until(lambda: not cluster.processes(), "the nodes have no process")
    finally:
        subprocess.run(["umount", "-l", cluster.spool], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("rule", "comment", "copied"),
    [
        ("asked", "greenrun", True),
        ("asked", "nothing", False),
        ("always", "nothing", True),
        ("never", "greenrun", False),
    ],
)
def test_a_copy_for_the_user(
    slurm: MakeCluster, machine: SimulatedMachine, rule: str, comment: str, copied: bool
) -> None:
    """Where the site and the job's comment want it: the same files, and the user's own."""
    cluster = slurm([machine], site=f'copy = "{rule}"')
    home = users_folder(cluster)
    job = cluster.sbatch("sleep 0.5", f"--comment={comment}", user="nobody", cwd=home)
    cluster.wait(job)
    (run_dir,) = cluster.run_dirs(job)
    copies = list(Path(home).glob("greenrun-logs/*"))
    assert [path.name for path in copies if path.is_dir()] == (
        [f"slurm-{job}-{os.path.basename(run_dir)}"] if copied else []
    )
    for path in filter(Path.is_dir, copies):
        for name in ("run.jsonl", "summary.json", "summary.txt"):
            assert (path / name).read_bytes() == Path(run_dir, name).read_bytes()
            assert (path / name).stat().st_uid == NOBODY
    assert os.stat(run_dir).st_mode & 0o777 == 0o700
    assert os.stat(run_dir).st_uid == 0
    assert_nothing_is_left(cluster)


def test_a_malicious_user(slurm: MakeCluster, machine: SimulatedMachine) -> None:
    """Symlinks in the job's directory, and names and comments for shells and browsers: nothing follows or runs them."""
    cluster = slurm([machine], site='copy = "always"')
    victim = os.path.join(cluster.directory, "victim")
    os.mkdir(victim, 0o700)
    Path(victim, "greenrun-logs").mkdir()
    Path(victim, "precious").write_text("precious\n")
    home, run = users_folder(cluster), f"touch {cluster.directory}/was-run; touch {cluster.directory}/home/was-run"
    name = f"$({run})`{run}`;{run};<script>alert(1)</script>'\"\n../../{victim}"
    script = f"""
        rm -rf {home}/greenrun-logs; ln -s {victim} {home}/greenrun-logs
        mkdir {home}/inner; cd {home}; mv inner gone; ln -s {victim} inner
        kill -9 -- -1 2>/dev/null
    """
    options = ("--comment", f"greenrun {name}", "-J", name)
    inner = os.path.join(home, "inner")
    os.symlink(victim, f"{home}/greenrun-logs")
    first = cluster.sbatch("true", *options, user="nobody", cwd=home)
    second = cluster.sbatch(script, *options, f"--chdir={inner}", user="nobody", cwd=home)
    third = cluster.sbatch("true", *options, f"--chdir={home}/greenrun-logs/../..", user="nobody", cwd=home)
    for job in (first, second, third):
        cluster.wait(job)
        ((record,),) = cluster.records(job).values()
        assert record["name"] == f"slurm-{job}"
    assert sorted(os.listdir(victim)) == ["greenrun-logs", "precious"]
    assert os.listdir(os.path.join(victim, "greenrun-logs")) == []
    assert Path(victim, "precious").read_text() == "precious\n"
    assert not os.path.exists(f"{cluster.directory}/was-run")
    assert not os.path.exists(f"{home}/was-run")
    owned = [path for path in Path(home).rglob("*") if path.lstat().st_uid == 0 and not path.is_symlink()]
    assert owned == []
    assert_nothing_is_left(cluster)
