"""Logs of a scheduler's jobs in the making: what the site's daemon or a user's greenrun wrote on one node."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from unit.data.logs import Event, device, exited, sample, spawned, start

BEGIN = datetime(2026, 1, 1, 10, tzinfo=timezone.utc)
BEGIN_MONOTONIC = 1000.0
CPU = device("package-0")


def environment(job_id: int = 1234, node: str = "n1", nodes: str = "n[1-2]", **more: Any) -> dict[str, str]:
    """Give the variables that SLURM sets; None as a value takes one away."""
    count = len(nodes.split(",")) if "[" not in nodes else 2
    variables = {
        "SLURM_JOB_ID": str(job_id),
        "SLURM_JOB_USER": "ada",
        "SLURM_JOB_UID": "1000",
        "SLURM_JOB_PARTITION": "gpu",
        "SLURM_CLUSTER_NAME": "alpha",
        "SLURM_JOB_NODELIST": nodes,
        "SLURM_JOB_NUM_NODES": str(count),
        "SLURMD_NODENAME": node,
    } | {name: None if value is None else str(value) for name, value in more.items()}
    return {name: value for name, value in variables.items() if value is not None}


def log(
    watts: float,
    seconds: float,
    *more: Event,
    at: float = 0.0,
    kind: str = "job",
    run_id: str = "a",
    share: float | None = None,
    ending: Event | None = None,
    devices: tuple[Event, ...] = (CPU,),
    **job: Any,
) -> list[Event]:
    """Give the log of a run at constant power that began `at` seconds after 10:00 UTC, on a node that never rebooted.

    `share` is the part of the busy CPU time that was the job's; `ending` takes the place of an exit without error.
    """
    begin = start(
        *devices,
        kind=kind,
        run_id=f"019b7800-0000-7000-8000-{run_id:0>12}",
        user="root" if kind == "job" else "ada",
        command=None if kind == "job" else ["python", "train.py"],
        host=job.get("node", "n1"),
        environment=environment(**job),
        utc=(BEGIN + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        monotonic=BEGIN_MONOTONIC + at,
        boot_id=f"boot of {job.get('node', 'n1')}",
    )
    samples = []
    for second in range(int(seconds) + 1):
        cpu = [None if share is None else share * second, float(second), 4.0 * second]
        samples.append(sample(float(second), *(watts * second for _ in devices), cpu=cpu))
    how = {"how": "told", "job_exit_code": "0:0"} if kind == "job" else {"how": "wait"}
    last = ending or exited(float(seconds), None if kind == "job" else 0, **how)
    return [begin, spawned(0.0), *samples, *more, last]


def killed(events: list[Event]) -> list[Event]:
    """Give what is left of a log when the node died: no end."""
    return [event for event in events if event["event"] != "exited"]


def store(folder: Path, events: list[Event], *, summary: bool = True, job_id: str | None = None) -> Path:
    """Write a run directory below a folder, in the spool's layout where `job_id` names the job there."""
    from greenrun.reports import formats
    from greenrun.reports.account import account

    name = f"{events[0]['host']}-{events[0]['run_id'][-12:]}"
    run_dir = folder / "runs" / job_id / name if job_id else folder / name
    run_dir.mkdir(parents=True)
    (run_dir / "run.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    if summary:
        formats.write(account(events), str(run_dir))
    return run_dir
