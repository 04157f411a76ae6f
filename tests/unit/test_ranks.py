"""Who measures where one command runs many times on a node: the variables of real launchers, and strays."""

from __future__ import annotations

import os

import pytest

from greenrun.cli.ranks import measured_by

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
