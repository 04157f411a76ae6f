"""Every node of a job as one record, on a real SLURM: with the site's hooks, and with a user's own greenrun alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine
from machine.slurm import Cluster

MakeMachine = Callable[..., SimulatedMachine]
MakeCluster = Callable[..., Cluster]
WATTS = (65.0, 120.0)


@pytest.fixture
def machines(simulated: MakeMachine) -> list[SimulatedMachine]:
    """Give two machines of different power."""
    return [simulated(packages=[Zone("package-0", constant(watts))]) for watts in WATTS]


def told(greenrun: Greenrun, cluster: Cluster, *argv: str) -> Any:
    """Give the document that a verb prints, for the cluster's spool."""
    done = greenrun(*argv, "--json", env={"GREENRUN_SPOOL": cluster.spool})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def watts(node: dict[str, Any]) -> float:
    """Give the mean power of a node's processor in a record; its memory has no counter and is estimated beside it."""
    joules: float = node["energy_joules"]["cpu"]
    return joules / (node["node_hours"] * 3600.0)


def test_two_nodes_make_one_record(slurm: MakeCluster, machines: list[SimulatedMachine], greenrun: Greenrun) -> None:
    """Of another user's job: each node within 1 % of its power, their sum, who and where; and the same in the table."""
    cluster = slurm(machines)
    job = cluster.sbatch("srun sleep 4; exit 3", "-N2", "--job-name", "<b>`x`|\n", user="nobody")
    assert cluster.wait(job) == "FAILED"
    record = told(greenrun, cluster, "report", "--job", str(job))
    assert (record["status"], record["kind"]) == ("complete", "job")
    assert [node["NodeName"] for node in record["nodes"]] == list(cluster.nodes)
    assert [watts(node) for node in record["nodes"]] == pytest.approx(WATTS, rel=0.01)
    joules = [node["energy_joules"]["total"] for node in record["nodes"]]
    assert record["energy_joules"]["total"] == pytest.approx(sum(joules))
    own = [cluster.records(job)[node][0]["energy_joules"]["total"] for node in cluster.nodes]
    assert joules == own
    assert record["duration_seconds"] >= 4.0
    assert record["gpu_hours"] == 0.0
    assert {name: record["job"][name] for name in ("JobIDRaw", "User", "NNodes", "ExitCode")} == {
        "JobIDRaw": str(job),
        "User": "nobody",
        "NNodes": 2,
        "ExitCode": "3:0",
    }
    table = told(greenrun, cluster, "slurm", "top", "--since", "1h")
    assert [(row["name"], row["jobs"], row["partial"]) for row in table["rows"]] == [("nobody", 1, 0)]
    assert table["rows"][0]["node_energy_joules"] == pytest.approx(sum(joules))
    text = greenrun("report", "--job", str(job), env={"GREENRUN_SPOOL": cluster.spool})
    assert text.stdout.startswith(f"greenrun: job {job} of nobody ran for ")


def test_a_requeued_job_has_two_runs(slurm: MakeCluster, machines: list[SimulatedMachine], greenrun: Greenrun) -> None:
    """Begun, requeued by the operator, begun anew: both runs are in one record, and told apart."""
    cluster = slurm(machines[:1])
    job = cluster.sbatch("sleep 3", "--requeue", "-N1")
    cluster.until(lambda: len(cluster.run_dirs(job)) == 1, "the job is measured")
    cluster.until(lambda: "slurm_script" in cluster.processes().values(), "its script runs")
    cluster.command("scontrol", "requeue", str(job))
    cluster.wait(job, "PENDING")
    time.sleep(2.0)  # begun anew within a second it would have no second prolog: slurmd holds both for one
    cluster.command("scontrol", "update", f"JobId={job}", "StartTime=now+3")  # not in the second of the requeue
    assert cluster.wait(job) == "COMPLETED"
    record = told(greenrun, cluster, "report", "--job", str(job))
    assert [attempt["Restarts"] for attempt in record["attempts"]] == [0, 1]
    assert [watts(node) for node in record["nodes"]] == pytest.approx([WATTS[0]] * 2, rel=0.02)
    assert record["attempts"][1]["duration_seconds"] >= 3.0
    spans = [(attempt["started_at"], attempt["ended_at"]) for attempt in record["attempts"]]
    assert spans[0][1] <= spans[1][0]


def test_a_users_own_steps_make_one_record(
    slurm: MakeCluster, machines: list[SimulatedMachine], greenrun: Greenrun
) -> None:
    """Without hooks and without slurmdbd: two steps of four ranks on two nodes, and a node's energy is in it once."""
    cluster = slurm(machines, prolog=None, epilog=None)
    work = os.path.join(cluster.directory, "work")
    os.mkdir(work)
    step = f"srun -n4 --ntasks-per-node=2 {ENTRY} -q sleep 2"
    job = cluster.sbatch(f"{step}; {step}", "-N2", "--ntasks-per-node=2", f"--chdir={work}")
    assert cluster.wait(job) == "COMPLETED"
    record = told(greenrun, cluster, "report", "--job", str(job), os.path.join(work, "greenrun-logs"))
    assert [node["NodeName"] for node in record["nodes"]] == list(cluster.nodes)
    assert {node["measured_by"] for node in record["nodes"]} == {"commands"}
    assert [watts(node) for node in record["nodes"]] == pytest.approx(WATTS, rel=0.02)
    for node in record["nodes"]:
        assert 4.0 <= node["node_hours"] * 3600.0 < record["duration_seconds"] + 0.1
    assert record["status"] == "complete"


def test_without_slurmdbd_sync_is_one_sentence(
    slurm: MakeCluster, machines: list[SimulatedMachine], greenrun: Greenrun
) -> None:
    """The real sacct has no accounting to ask here: 1, a sentence, and the records as they were."""
    cluster = slurm(machines[:1])
    job = cluster.sbatch("true", "-N1")
    cluster.wait(job)
    done = greenrun("slurm", "sync", env={"GREENRUN_SPOOL": cluster.spool, **cluster.environment})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("greenrun: nothing is joined, for sacct failed with 1: ")
    assert len(os.listdir(os.path.join(cluster.spool, "runs", str(job)))) == 1
