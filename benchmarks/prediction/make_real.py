"""Make the real traces: start each training job in a process of its own and keep what its epochs took.

    python make_real.py traces-real.jsonl [part]

Needs numpy, scikit-learn, xgboost, lightgbm, torch, keras and jax; a name of a class as `part` makes that class only.

A real trace of the class contention is what the wall clock showed while another program took the processors in bursts.
Those of the other classes are in CPU seconds: the machine that made them was not idle, and CPU time is what the job
would have shown on one that was. The jobs use one thread.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _trace import CLASSES, HERE, Trace, line

SEED = 4
RUN_SECONDS = 6.0  # of CPU, for all epochs of a run, as far as the shortest and the longest epoch allow
EPOCHS = (20, 150)
EPOCH_SECONDS = (0.05, 0.3)
PLAIN = ("numpy_mlp", "sklearn_mlp", "sklearn_sgd", "lightgbm", "torch_mlp", "torch_lstm")  # twice each
ONCE = ("torch_cnn", "torch_transformer")
ORDINARY = (*PLAIN, *PLAIN, *ONCE)
JOBS: dict[str, tuple[str, ...]] = {
    "warm-up": (
        "cached_samples", "cached_samples", "cached_samples", "cached_weighted_samples", "cached_weighted_samples",
        "cached_weighted_samples", "keras_jax", "keras_jax", "keras_jax_cnn", "keras_jax_cnn", "jax_buckets",
        "jax_buckets", "torch_compiled", "xgboost",
    ),
    "stationary": ORDINARY,
    "drift": (
        "xgboost_dart", "xgboost_dart", "lightgbm_dart", "sklearn_forest", "sklearn_forest", "kernel_perceptron",
        "kernel_perceptron", "torch_lstm", "torch_lstm", "torch_transformer", "torch_transformer", "numpy_mlp",
        "torch_mlp", "sklearn_mlp",
    ),
    "periodic": ORDINARY,
    "contention": ORDINARY,
}  # fmt: skip
GROW_BY_THEMSELVES = ("xgboost_dart", "lightgbm_dart", "sklearn_forest", "kernel_perceptron")
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
BURSTS = """
import random, sys, time
chance = random.Random(int(sys.argv[1]))
while True:
    time.sleep(chance.expovariate(1 / float(sys.argv[2])))
    until = time.monotonic() + chance.expovariate(1 / float(sys.argv[3]))
    while time.monotonic() < until:
        sum(range(1000))
"""


def run(told: dict[str, Any]) -> dict[str, Any]:
    """Run one job to its end and give what it measured."""
    with tempfile.TemporaryDirectory() as cache:  # an empty one: nothing was compiled before
        environment = {**os.environ, **ONE_THREAD, "TORCHINDUCTOR_CACHE_DIR": cache}
        command = [sys.executable, str(HERE / "train.py"), json.dumps({**told, "spawned": time.monotonic()})]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def calibrate(job: str) -> tuple[float, float]:
    """Give the CPU seconds of one batch and of one validation, warmed up."""
    found = run({"job": job, "seed": 0, "epochs": 12, "batches": 4, "calibrate": True})
    return statistics.median(found["epoch_cpu_seconds"][2:]) / 4, found["validation_cpu_seconds"]


def plan(kind: str, number: int, job: str) -> dict[str, Any]:
    """Decide how one run is made: by the class, and by chance from a seed."""
    chance = random.Random(f"{SEED} {kind} {number}")  # noqa: S311  variety, no secret
    epochs = round(EPOCHS[0] * (EPOCHS[1] / EPOCHS[0]) ** chance.random())
    told: dict[str, Any] = {"job": job, "seed": number, "epochs": epochs}
    if kind == "drift" and job not in GROW_BY_THEMSELVES:
        growth = chance.uniform(1.2, 2.2) if chance.random() < 0.7 else chance.uniform(0.5, 0.85)
        told |= {"growth": round(growth, 2), "grows": "size" if job in ("torch_lstm", "torch_transformer") else "data"}
    if job == "sklearn_forest":
        told["validate"] = 1
    if kind == "periodic":
        every = chance.choice([period for period in (2, 3, 5, 10) if period * 4 <= epochs])
        told |= {"every": every, "first": 1 if chance.random() < 1 / 3 else every}
        told |= {"surplus": round(0.2 * 10 ** chance.random(), 2), "checkpoint": chance.random() < 0.5}
    if kind == "stationary" and number % 2:
        told["surplus"] = round(0.1 * 3 ** chance.random(), 2)
    if kind == "contention":
        told |= {"busy_processes": chance.randint(2, 4), "busy_seconds": round(0.3 * 10 ** chance.random(), 2)}
        told["idle_seconds"] = round(0.5 * 8 ** chance.random(), 2)
    return told


def make(kind: str, number: int, job: str, costs: dict[str, tuple[float, float]]) -> Trace:
    """Make one real trace; `costs` remembers what a batch and a validation of each job cost."""
    told = plan(kind, number, job)
    if job not in costs:
        costs[job] = calibrate(job)
    batch, validation = costs[job]
    epoch = min(max(RUN_SECONDS / told["epochs"], EPOCH_SECONDS[0]), EPOCH_SECONDS[1])
    told["batches"] = max(1, round(epoch / batch))
    if "surplus" in told:  # what the validation costs, in epochs
        told["validate"] = max(1, round(told.pop("surplus") * epoch / validation))
    busy = [
        subprocess.Popen(
            [sys.executable, "-c", BURSTS, str(at), str(told["idle_seconds"]), str(told["busy_seconds"])],
        )
        for at in range(told.get("busy_processes", 0))
    ]
    try:
        found = run(told)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    cpu = "" if kind == "contention" else "cpu_"
    made = {**told, "clock": "CPU time" if cpu else "wall", "cpu_seconds": round(sum(found["epoch_cpu_seconds"]), 3)}
    setup, seconds = found[f"setup_{cpu}seconds"], found[f"epoch_{cpu}seconds"]
    return Trace(f"real-{kind}-{number}-{job}", kind, "real", made, setup, seconds)


def main() -> None:
    """Make the classes that were asked for; a run that is in the file already is not made again."""
    path = Path(sys.argv[1])
    kinds = [kind for kind in CLASSES if kind in (sys.argv[2:] or CLASSES)]
    known = {json.loads(text)["name"] for text in path.read_text().splitlines()} if path.exists() else set()
    costs: dict[str, tuple[float, float]] = {}
    for kind in kinds:
        for number, job in enumerate(JOBS[kind]):
            if f"real-{kind}-{number}-{job}" in known:
                continue
            trace = make(kind, number, job, costs)
            with path.open("a") as file:
                file.write(line(trace) + "\n")
            print(trace.name, len(trace.epoch_seconds), f"{sum(trace.epoch_seconds):.1f} s", flush=True)


if __name__ == "__main__":
    main()
