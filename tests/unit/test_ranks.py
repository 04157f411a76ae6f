"""Who measures where one command runs many times on a node: the variables of real launchers, and strays."""

from __future__ import annotations

import os

import pytest

from greenrun.cli.ranks import are_several, measured_by

JOB = {"SLURM_JOB_ID": "1234", "SLURMD_NODENAME": "e1", "SLURM_LOCALID": "0", "SLURM_PROCID": "0"}
STEP = JOB | {"SLURM_STEP_ID": "0"}
HERE = os.uname().nodename


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (STEP, None),
        (STEP | {"SLURM_LOCALID": "3"}, "1234.0/e1"),
        (STEP | {"SLURM_LOCALID": "0", "SLURM_PROCID": "4", "SLURMD_NODENAME": "e2"}, None),
        (JOB, None),
        (JOB | {"SLURM_LOCALID": "3"}, None),
        ({"SLURM_LOCALID": "3"}, None),
        (JOB | {"OMPI_COMM_WORLD_LOCAL_RANK": "0"}, None),
        (JOB | {"OMPI_COMM_WORLD_LOCAL_RANK": "2"}, "1234.batch/e1"),
        (STEP | {"OMPI_COMM_WORLD_LOCAL_RANK": "2"}, "1234.0/e1"),
        (STEP | {"SLURM_LOCALID": "3", "MPI_LOCALRANKID": "0"}, "1234.0/e1"),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "2"}, HERE),
        ({"MPI_LOCALRANKID": "1"}, HERE),
        ({"MV2_COMM_WORLD_LOCAL_RANK": "1"}, HERE),
        ({"PALS_LOCAL_RANKID": "1"}, HERE),
        ({"FLUX_TASK_LOCAL_ID": "1"}, HERE),
        ({"JSM_NAMESPACE_LOCAL_RANK": "1"}, HERE),
        ({"LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "none"}, HERE),
        ({"LOCAL_RANK": "1"}, None),
        (STEP | {"SLURM_LOCALID": "00"}, None),
        (STEP | {"SLURM_LOCALID": "-1"}, None),
        (STEP | {"SLURM_LOCALID": "one"}, None),
        (STEP | {"SLURM_LOCALID": ""}, None),
        (STEP | {"SLURM_LOCALID": "\N{ARABIC-INDIC DIGIT NINE}"}, None),
    ],
)
def test_the_first_rank_of_a_node_measures(environment: dict[str, str], expected: str | None) -> None:
    """Only what a launcher says of a rank of its own makes another one measure."""
    assert measured_by(environment) == expected


LISTED = {"SLURM_STEP_NODELIST": "e[1-2]", "SLURM_STEP_TASKS_PER_NODE": "1,4"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        (JOB, False),
        (STEP, True),
        (STEP | LISTED, False),
        (STEP | LISTED | {"SLURMD_NODENAME": "e2"}, True),
        (STEP | LISTED | {"OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, True),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "0"}, True),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, False),
        ({"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "8"}, True),
        ({"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "8"}, False),
        ({"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "none"}, True),
    ],
)
def test_one_of_several_ranks(environment: dict[str, str], expected: bool) -> None:
    """What a launcher does not count may be several; a batch script is no rank."""
    assert are_several(environment) is expected
