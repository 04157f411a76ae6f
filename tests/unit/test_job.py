"""The scheduler's job out of the environment: as a real SLURM set it, and as nobody should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun import reports
from greenrun.cli.identity import RECORDED_VARIABLES
from greenrun.reports.job import job

SCHEMA = json.loads((Path(reports.__file__).parent / "summary.schema.json").read_text())

# What SLURM 22.05 sets for job 2, task 7 of the array 1, in its different places: two nodes of three and one CPUs.
JOB = {
    "SLURM_JOB_ID": "2",
    "SLURM_JOB_NAME": "train.sh",
    "SLURM_JOB_USER": "ada",
    "SLURM_JOB_UID": "1000",
    "SLURM_JOB_ACCOUNT": "physics",
    "SLURM_JOB_PARTITION": "test",
    "SLURM_CLUSTER_NAME": "try",
    "SLURM_ARRAY_JOB_ID": "1",
    "SLURM_ARRAY_TASK_ID": "7",
    "SLURM_JOB_NODELIST": "e[1-2]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_CPUS_PER_NODE": "3,1",
    "SLURM_MEM_PER_CPU": "50",
    "SLURM_JOB_GPUS": "0,1",
}
BATCH = JOB | {
    "SLURMD_NODENAME": "e1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_TASKS_PER_NODE": "3,1",
    "SLURM_CPUS_ON_NODE": "3",
    "SLURM_GPUS_ON_NODE": "2",
}
STEP = BATCH | {
    "SLURMD_NODENAME": "e2",
    "SLURM_PROCID": "3",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "e[1-2]",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "3,1",
    "SLURM_STEP_GPUS": "1",
    "SLURM_CPUS_ON_NODE": "1",
    "SLURM_GPUS_ON_NODE": "1",
}
PROLOG = {
    "SLURM_JOB_ID": "2",
    "SLURM_JOB_USER": "ada",
    "SLURM_JOB_UID": "1000",
    "SLURM_JOB_PARTITION": "test",
    "SLURM_CLUSTER_NAME": "try",
    "SLURM_NODELIST": "e[1-2]",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_CPUS_PER_NODE": "3,1",
    "SLURM_JOB_NTASKS": "4",
    "SLURM_JOB_GPUS": "1",
    "SLURM_JOB_RESTART_COUNT": "2",
    "SLURMD_NODENAME": "e2",
}


def told(environment: dict[str, str], *names: str, user: str | None = "ada") -> list[Any]:
    """Give some fields of the job."""
    found = job(environment, user)
    assert found is not None
    return [dict(found)[name] for name in names]


def test_every_variable_of_these_is_recorded() -> None:
    """What the job is made from must be in the log."""
    assert {*BATCH, *STEP, *PROLOG} - {"SLURM_TASKS_PER_NODE"} <= set(RECORDED_VARIABLES)


def test_a_batch_script() -> None:
    """It is a task without a number, on the first node, and the whole script for itself."""
    assert job(BATCH, "ada") == {
        "Scheduler": "slurm",
        "JobID": "1_7",
        "JobIDRaw": "2",
        "StepID": "batch",
        "ArrayJobID": "1",
        "ArrayTaskID": "7",
        "JobName": "train.sh",
        "User": "ada",
        "UID": 1000,
        "Account": "physics",
        "Partition": "test",
        "Cluster": "try",
        "NodeList": "e[1-2]",
        "NNodes": 2,
        "NodeName": "e1",
        "NTasks": 1,
        "TasksHere": 1,
        "TaskID": 0,
        "Restarts": 0,
        "AllocCPUSHere": 3,
        "AllocMemBytesHere": 150 << 20,
        "GPUsHere": [0, 1],
    }


def test_a_step_on_another_node() -> None:
    """The job's are the CPUs of that node, the ranks there, and the step's GPUs: the others are the first node's."""
    names = ("StepID", "NodeName", "TaskID", "NTasks", "TasksHere", "AllocCPUSHere", "AllocMemBytesHere", "GPUsHere")
    assert told(STEP, *names) == ["0", "e2", 3, 4, 1, 1, 50 << 20, [1]]


def test_a_prolog() -> None:
    """The site's own record is of the whole job; what the Prolog is not told is unknown, not the batch script's."""
    names = ("JobID", "StepID", "User", "NodeName", "TasksHere", "TaskID", "Restarts", "AllocCPUSHere", "GPUsHere")
    assert told(PROLOG, *names, user=None) == ["2", None, "ada", "e2", None, None, 2, 1, [1]]
    assert told(PROLOG, "JobName", "Account", "AllocMemBytesHere", "ArrayJobID") == [None] * 4


def test_a_shell_of_salloc() -> None:
    """It runs where the user typed it: on no node of the job, with nothing of the job's there."""
    shell = {name: JOB[name] for name in ("SLURM_JOB_ID", "SLURM_JOB_NODELIST", "SLURM_JOB_CPUS_PER_NODE")}
    assert told(shell, "StepID", "NodeName", "AllocCPUSHere", "GPUsHere", "User") == [None, None, None, None, "ada"]


def test_an_interactive_step_is_named() -> None:
    """SLURM numbers the steps that have a name from the end of 32 bits."""
    assert told(BATCH | {"SLURM_STEP_ID": "4294967290"}, "StepID", "TasksHere") == ["interactive", 1]


def test_mpirun_in_a_batch_script_tells_the_ranks() -> None:
    """SLURM sees one task there; Open MPI and Hydra know better."""
    ranks = {"RANK": "4", "SIZE": "8", "LOCAL_SIZE": "3"}
    openmpi = BATCH | {f"OMPI_COMM_WORLD_{name}": value for name, value in ranks.items()}
    hydra = BATCH | {"PMI_RANK": "4", "PMI_SIZE": "8", "MPI_LOCALNRANKS": "3"}
    for environment in (openmpi, hydra):
        assert told(environment, "StepID", "TaskID", "NTasks", "TasksHere") == ["batch", 4, 8, 3]
    assert told(STEP | {"PMI_RANK": "9"}, "TaskID") == [3]  # srun --mpi=pmi2: nothing new


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"SLURM_MEM_PER_NODE": "100"}, 100 << 20),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({"SLURM_MEM_PER_CPU": "0"}, None),
        ({}, None),
    ],
)
def test_memory(memory: dict[str, str], expected: int | None) -> None:
    """In units of 1024; 0 is all of the node's, which nobody has told us."""
    environment = {name: value for name, value in BATCH.items() if name != "SLURM_MEM_PER_CPU"}
    assert told(environment | memory, "AllocMemBytesHere") == [expected]


def test_a_restart_is_counted() -> None:
    """SLURM sets the number from the first restart on."""
    assert told(BATCH | {"SLURM_RESTART_COUNT": "1"}, "Restarts") == [1]
    prolog = {name: value for name, value in PROLOG.items() if name != "SLURM_JOB_RESTART_COUNT"}
    assert told(prolog, "Restarts") == [None]


def test_nothing_is_a_number_that_is_none() -> None:
    """A variable may hold anything."""
    for hostile in ("", "-1", "1e3", "\N{ARABIC-INDIC DIGIT NINE}", "9" * 5000, "nan", "<script>"):
        wrong = dict.fromkeys(STEP, hostile)
        names = ("UID", "NNodes", "NTasks", "TasksHere", "TaskID", "AllocCPUSHere", "AllocMemBytesHere", "GPUsHere")
        assert told(wrong, *names) == [None] * len(names)


@pytest.mark.parametrize(
    ("variable", "scheduler"),
    [("PBS_JOBID", "pbs"), ("LSB_JOBID", "lsf"), ("FLUX_JOB_ID", "flux"), ("OAR_JOB_ID", "oar")],
)
def test_other_schedulers_tell_their_name_and_the_job(variable: str, scheduler: str) -> None:
    """Their id is kept; the rest is unknown."""
    assert told({variable: "17.host"}, "Scheduler", "JobIDRaw", "User", "NodeList") == [
        scheduler,
        "17.host",
        "ada",
        None,
    ]


def test_no_scheduler_no_job() -> None:
    """A CI runner is none."""
    assert job({"CI": "true", "OMPI_COMM_WORLD_RANK": "0"}, "ada") is None


@given(
    st.dictionaries(
        st.sampled_from(RECORDED_VARIABLES), st.text(max_size=8) | st.from_regex(r"[a-z0-9,()x\[\]-]{0,20}")
    ),
    st.none() | st.text(max_size=5),
)
def test_any_environment_makes_a_valid_job(environment: dict[str, str], user: str | None) -> None:
    """Whatever the variables hold, the job holds to the schema."""
    schema = {"$ref": "#/$defs/job", "$defs": SCHEMA["$defs"]}
    jsonschema.validate(job(environment | {"SLURM_JOB_ID": "1"}, user), schema)
