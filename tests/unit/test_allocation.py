"""Which GPUs are the job's, as a real SLURM 22.05 tells it in a batch script, in steps and in a Prolog."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.sampler.allocation import Allocation, allocation, is_of_job, unread
from greenrun.sampler.nodelist import nodes, on_node

BATCH = {
    "SLURM_JOB_ID": "11",
    "SLURM_JOB_NODELIST": "e[1-2]",
    "SLURMD_NODENAME": "e1",
    "SLURM_JOB_GPUS": "0",
    "SLURM_GPUS_ON_NODE": "1",
    "CUDA_VISIBLE_DEVICES": "0",
}
STEP = BATCH | {"SLURM_STEP_ID": "0", "SLURM_STEP_GPUS": "0"}
OTHER = STEP | {"SLURMD_NODENAME": "e2", "SLURM_STEP_GPUS": "1"}  # GPU 1, which the task sees as its 0
BOUND = OTHER | {"SLURMD_TRES_BIND": "gpu:per_task:1", "SLURM_GPUS_ON_NODE": "2", "SLURM_STEP_GPUS": "0"}


def gpus(*indices: int) -> frozenset[int]:
    """Give minor numbers."""
    return frozenset(indices)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (BATCH, Allocation("job", gpus(0), 1)),
        (BATCH | {"SLURM_JOB_GPUS": "1,3"}, Allocation("job", gpus(1, 3), 2)),
        ({**BATCH, "SLURM_NODELIST": "e[1-2]", "SLURM_JOB_NODELIST": ""}, Allocation("job", gpus(0), 1)),
        (STEP | {"SLURM_JOB_GPUS": "0,1"}, Allocation("job", gpus(0, 1), 2)),
        (OTHER, Allocation("step", gpus(1), 1)),
        (BOUND, Allocation("step", None, 2)),
        (BOUND | {"SLURM_STEP_GPUS": "0,1"}, Allocation("step", gpus(0, 1), 2)),
        ({"SLURM_JOB_ID": "4", "SLURMD_NODENAME": "e2", "SLURM_STEP_ID": "0"}, Allocation("step", None)),
        ({"SLURM_JOB_ID": "4", "SLURMD_NODENAME": "e2"}, Allocation("job", None)),
        ({"SLURM_JOB_ID": "4", "SLURM_JOB_GPUS": "0"}, Allocation("job", None)),
        (BATCH | {"CUDA_VISIBLE_DEVICES": "MIG-5c1b0c0e"}, Allocation("job", None)),
        (BATCH | {"SLURM_JOB_GPUS": "0,x"}, Allocation("job", None)),
        (BATCH | {"SLURM_STEP_ID": "4294967290"}, Allocation("job", gpus(0), 1)),
        ({"CUDA_VISIBLE_DEVICES": "0"}, None),
    ],
    ids=[
        "a batch script",
        "several",
        "an older name of the node list",
        "a step on the first node has the batch script's",
        "a step elsewhere has its own, not the first node's",
        "a task's own GPUs are not its step's",
        "but all of the node's are",
        "a step without GPUs, or without their management",
        "a job without",
        "a shell of salloc's is on no node of the job",
        "parts of a GPU are numbered otherwise",
        "not a list",
        "an interactive step",
        "no job",
    ],
)
def test_what_slurm_tells(environment: dict[str, str], expected: Allocation | None) -> None:
    """Each place has its own variables, and some are another node's."""
    assert allocation(environment) == expected


@pytest.mark.parametrize(
    ("allocated", "minors", "expected", "missing"),
    [
        (Allocation("job", gpus(1), 1), [0, 1], [False, True], 0),
        (Allocation("job", gpus(1), 1), [3, 1], [False, True], 0),
        (Allocation("job", gpus(1), 1), [0], [False], 1),
        (Allocation("job", gpus(0, 1), 2), [1], [True], 1),
        (Allocation("job", gpus(0, 1), 2), [None, 1], [None, True], 0),
        (Allocation("step", None, 2), [4, 5], [True, True], 0),
        (Allocation("step", None, 2), [4], [None], 1),
        (Allocation("step", None, 1), [4, 5], [None, None], 0),
        (Allocation("step", None, None), [4, 5], [None, None], 0),
        (Allocation("step", None, 0), [], [], 0),
    ],
)
def test_whose_a_gpu_is(
    allocated: Allocation, minors: list[int | None], expected: list[bool | None], missing: int
) -> None:
    """By minor number; without indices only where as many can be read as were given."""
    assert is_of_job(allocated, minors) == expected
    assert unread(allocated, minors) == missing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("login", ("login",)),
        ("e[1-2]", ("e1", "e2")),
        ("gpu[08-10,2],login", ("gpu08", "gpu09", "gpu10", "gpu2", "login")),
        ("r[0-1]n[1-2]", ("r0n1", "r0n2", "r1n1", "r1n2")),
        ("a[1]-b", ("a1-b",)),
        ("", None),
        ("e[2-1]", None),
        ("e[1", None),
        ("e1]", None),
        ("e[]", None),
        ("e[1-2-3]", None),
        ("a b", None),
        ("a,,b", None),
        ("a[1-999999999]", None),
        ("a[1-65000],b[1-65000]", None),
        ("[0-9][0-9][0-9][0-9][0-9]", None),
    ],
)
def test_node_lists(text: str, expected: tuple[str, ...] | None) -> None:
    """The short form of node names, in order; what is none, or has no end, is None."""
    assert nodes(text) == expected


@pytest.mark.parametrize(
    ("counts", "node_list", "node", "expected"),
    [
        ("3,1", "e[1-2]", "e1", 3),
        ("3,1", "e[1-2]", "e2", 1),
        ("4(x2),2", "e[1-3]", "e2", 4),
        ("4(x2),2", "e[1-3]", "e3", 2),
        ("4(x2)", "", "whichever", 4),
        ("4(x2),4", "", "whichever", 4),
        ("3,1", "e[1-3]", "e3", None),
        ("3,1", "e[1-2]", "f1", None),
        ("3,1", "", "e1", None),
        ("3;1", "e[1-2]", "e1", None),
        ("", "e1", "e1", None),
    ],
)
def test_counts_by_node(counts: str, node_list: str, node: str, expected: int | None) -> None:
    """SLURM_JOB_CPUS_PER_NODE and its like stand in the order of the node list."""
    assert on_node(counts, node_list, node) == expected


@given(st.text(alphabet="e019[]-,()x ", max_size=30), st.text(alphabet="019[]-,()x ", max_size=20))
def test_any_text_is_read_or_refused(names: str, counts: str) -> None:
    """Nothing that a variable may hold raises."""
    assert nodes(names) is None or all(nodes(names) or ())
    assert on_node(counts, names, "e1") is None or counts
