"""Who a run is: its id, its directory, and what of the surroundings goes into its log."""

from __future__ import annotations

import os
import time
from typing import Literal, NamedTuple

# Of the environment only these are recorded: what joins a record with its scheduler or CI job, and which GPUs the job
# may see. Everything else may hold secrets.
RECORDED_VARIABLES = (
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_USER",
    "SLURM_JOB_UID",
    "SLURM_JOB_GID",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_ACCOUNT",
    "SLURM_JOB_NODELIST",
    "SLURM_NODELIST",
    "SLURM_JOB_NUM_NODES",
    "SLURM_NNODES",
    "SLURM_JOB_CPUS_PER_NODE",
    "SLURM_CPUS_ON_NODE",
    "SLURM_MEM_PER_NODE",
    "SLURM_MEM_PER_CPU",
    "SLURM_JOB_GPUS",
    "SLURM_GPUS_ON_NODE",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_CLUSTER_NAME",
    "SLURMD_NODENAME",
    "SLURMD_TRES_BIND",
    "SLURM_STEP_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_STEP_GPUS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_NTASKS",
    "SLURM_JOB_NTASKS",
    "SLURM_RESTART_COUNT",
    "SLURM_JOB_RESTART_COUNT",
    "RESTART_COUNT",
    "PBS_JOBID",
    "PBS_JOBNAME",
    "LSB_JOBID",
    "LSB_JOBNAME",
    "FLUX_JOB_ID",
    "OAR_JOB_ID",
    "OAR_JOB_NAME",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "PMI_RANK",
    "PMI_SIZE",
    "MPI_LOCALRANKID",
    "MPI_LOCALNRANKS",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_REPOSITORY",
    "GITHUB_WORKFLOW",
    "GITHUB_JOB",
    "GITHUB_RUN_ID",
    "GITHUB_RUN_ATTEMPT",
    "GITHUB_SHA",
    "GITHUB_REF_NAME",
    "RUNNER_OS",
    "RUNNER_ARCH",
    "GITLAB_CI",
    "CI_PROJECT_PATH",
    "CI_PIPELINE_ID",
    "CI_JOB_ID",
    "CI_JOB_NAME",
    "CI_COMMIT_SHA",
    "CI_COMMIT_REF_NAME",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
)
_SECRET_WORDS = ("token", "key", "secret", "passw", "pwd", "credential")
MASKED = "***"
# Inside a longer argument, such as a script for `sh -c`, a header or an address. The first group of each stays.
_SECRETS_WITHIN = (
    rf"(?i)((?:{'|'.join(_SECRET_WORDS)})[\w.-]{{0,64}}[\"']?\s{{0,8}}[:=]\s{{0,8}})(?:\"[^\"]*\"|'[^']*'|[^\s;&|\"']+)",
    r"(?i)((?:authorization:\s{0,8}\w{1,32}|bearer)\s{1,8})[\w.~+/=-]+",
    r"(://[^\s/:@]{0,256}:)[^\s/?#]+(?=@)",
    r"(?i)(https?://)[^\s/?#:@]+(?=@)",  # a token in the place of the user's name, as git takes it
)


class Run(NamedTuple):
    """The identity of one run; `run_dir` is absolute, for the daemon leaves the working directory."""

    run_id: str
    run_dir: str
    name: str
    command: tuple[str, ...]
    cwd: str
    monotonic: float
    utc: float
    kind: Literal["command", "block", "job"] = "command"

    @property
    def shown_dir(self) -> str:
        """The run directory as the user may type it: from the working directory on, where it lies below."""
        return self.run_dir.removeprefix(os.path.join(self.cwd, ""))


def new_run(log_dir: str, name: str | None, command: list[str]) -> Run:
    """Name a run that begins now. The directory is not made yet: only the daemon touches the log directory."""
    utc = time.time()
    run_id = uuid7(utc)
    name = name or os.path.basename(command[0]) or "run"
    folder = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(utc))}-{_plain(name)}-{run_id.replace('-', '')[-12:]}"
    cwd = _working_directory()
    return Run(run_id, os.path.join(cwd, log_dir, folder), name, tuple(command), cwd, time.monotonic(), utc)


def uuid7(utc: float) -> str:
    """Make a UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits; sorts by time."""
    value = int(utc * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76  # version
    value = value & ~(0x3 << 62) | 2 << 62  # variant
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def mask_secrets(command: tuple[str, ...]) -> list[str]:
    """Replace what looks like a secret: `--token X`, `--api-key=X`, `PASSWORD=X`, also within a longer argument."""
    import re

    out: list[str] = []
    hide_next = False
    for argument in command:
        if hide_next and not argument.startswith("-"):
            out.append(MASKED)
            hide_next = False
            continue
        name, equals, _ = argument.partition("=")
        secret = any(word in name.lower() for word in _SECRET_WORDS) and " " not in name and "/" not in name
        hide_next = secret and not equals and argument.startswith("-")
        if secret and equals:
            out.append(f"{name}={MASKED}")
            continue
        for pattern in _SECRETS_WITHIN:
            argument = re.sub(pattern, rf"\1{MASKED}", argument)
        out.append(argument)
    return out


def _plain(name: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)
    return kept.strip(".-")[:40] or "run"


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # removed under our feet; the command gets along with that, and nothing can be made there
        return f"/proc/{os.getpid()}/cwd"
