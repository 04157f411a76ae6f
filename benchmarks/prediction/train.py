"""Run one training job and print, as JSON, the seconds of its set-up and of each epoch. `make_real.py` starts it.

Both clocks are read: the wall's, and the CPU time of the job and the compilers that it starts.

    python train.py '{"job": "torch_lstm", "seed": 1, "epochs": 50, "batches": 12, "spawned": 123.4}'

`growth` makes the last epoch that many times as large as the first, evenly; `grows` says in what: more batches
(data), or larger ones (size). `validate` runs that many passes after each epoch; `every` keeps them for each so many-th
epoch, with `checkpoint` a checkpoint is written there as well. `first` is the first of these, from 1.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from typing import Any


def cpu_seconds() -> float:
    """Give the CPU time of this process and of the children that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Train as told."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    from jobs import JOBS, save

    job = JOBS[told["job"]](told["seed"])
    every, first = told.get("every", 1), told.get("first", told.get("every", 1))
    epochs, growth = told["epochs"], told.get("growth", 1.0)
    seconds, cpu = [], []
    begun, used = time.monotonic(), cpu_seconds()
    found: dict[str, Any] = {"setup_seconds": begun - told["spawned"], "setup_cpu_seconds": used}
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(1, epochs + 1):
            scale = 1 + (growth - 1) * (epoch - 1) / max(epochs - 1, 1)
            by_size = told.get("grows") == "size"
            for _ in range(told["batches"] if by_size else max(1, round(told["batches"] * scale))):
                job.batch(scale if by_size else 1.0)
            if epoch >= first and (epoch - first) % every == 0:
                for _ in range(told.get("validate", 0)):
                    job.validate()
                if told.get("checkpoint"):
                    save(job, os.path.join(folder, "checkpoint"))
            now, spent = time.monotonic(), cpu_seconds()
            seconds.append(now - begun)
            cpu.append(spent - used)
            begun, used = now, spent
    if told.get("calibrate"):
        job.validate()
        used = cpu_seconds()
        job.validate()
        found["validation_cpu_seconds"] = cpu_seconds() - used
    print(json.dumps({**found, "epoch_seconds": seconds, "epoch_cpu_seconds": cpu}))


if __name__ == "__main__":
    main()
