"""How far greenrun's joules are from the truth, on the simulated machine, whose power profiles have exact integrals.

The truth is the integral over the command's own life, first instruction to last, as the command itself tells it. Ten
seconds: two sockets with psys and mmio, square waves and constant power, one wrap, two GPUs. Held against: processors
and memory 0.2 %, a GPU by its counter 0.6 % (it moves every 20 ms), a GPU by its power 2 %. Half a second on an
otherwise idle machine: processors 2 %. The same ten seconds as a block of a Python program, by
`greenrun.measure()`: a GPU by its counter 1 %.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING

import _harness
from machine.layouts import two_sockets_two_gpus
from machine.stamp import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONG_SECONDS, LONG_ROUNDS = 10.0, 3
SHORT_SECONDS, SHORT_ROUNDS = 0.5, 20
LIMITS_PERCENT = {"cpu": 0.2, "dram": 0.2, "gpu by counter": 0.6, "gpu by power": 2.0}
SHORT_LIMITS_PERCENT = {"cpu": 2.0}
# A block's sampler is another program that has to start, so what a GPU used before its first reading is more to guess.
BLOCK_LIMITS_PERCENT = {**LIMITS_PERCENT, "gpu by counter": 1.0}


BLOCK = """
import json, sys, time
import greenrun
with greenrun.measure(log_dir=sys.argv[2]):
    begin = time.monotonic()
    time.sleep(float(sys.argv[1]))
    end = time.monotonic()
print(json.dumps([begin, end]))
"""

Measured = tuple[float, float]


def command(greenrun: _harness.Installed, folder: Path, environment: dict[str, str], seconds: float) -> Measured:
    """Run a command of that length, and give when it began and ended."""
    stamp = Stamp(str(folder / "stamp"))
    line = [greenrun.greenrun, "--quiet", "--log-dir", str(folder / "logs"), *stamp.command(seconds)]
    subprocess.run(line, env=environment, check=True)
    return stamp.life()


def block(greenrun: _harness.Installed, folder: Path, environment: dict[str, str], seconds: float) -> Measured:
    """Measure a block of that length in a Python program, and give when it began and ended."""
    line = [greenrun.python, "-c", BLOCK, str(seconds), str(folder / "logs")]
    begin, end = json.loads(subprocess.run(line, env=environment, check=True, stdout=subprocess.PIPE).stdout)
    return begin, end


def errors_percent(
    measure: Callable[..., Measured], greenrun: _harness.Installed, folder: Path, seconds: float, seed: int
) -> dict[str, float]:
    """Measure so many seconds on the simulated machine and give the error of each kind of device."""
    logs = folder / "logs"
    with two_sockets_two_gpus(folder, seed=seed) as machine:
        life = measure(greenrun, folder, greenrun.environment(**machine.environment), seconds)
        (summary,) = logs.glob("*/summary.json")
        told: defaultdict[str, float] = defaultdict(float)
        true: defaultdict[str, float] = defaultdict(float)
        for device in json.loads(summary.read_text())["devices"]:
            kind = device["kind"]
            if kind == "gpu":
                kind = f"gpu by {device['method']}"
            told[kind] += device["energy_joules"]
            true[kind] += machine.device_energy_joules(device["id"], *life)
    return {kind: (told[kind] / true[kind] - 1) * 100 for kind in told}


def rounds(
    measure: Callable[..., Measured], greenrun: _harness.Installed, seconds: float, count: int
) -> dict[str, list[float]]:
    """Give the errors of each kind over a number of rounds, each with phases of its own."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for seed in range(count):
        folder = greenrun.scratch / f"{measure.__name__}-{seconds}-{seed}"
        folder.mkdir()
        for kind, error in errors_percent(measure, greenrun, folder, seconds, seed).items():
            found[kind].append(error)
    return dict(found)


def rows(title: str, found: dict[str, list[float]], limits: dict[str, float]) -> list[list[str]]:
    """Put the errors of one length of job into lines of the table."""
    return [
        [
            f"{title}, {kind}",
            f"{statistics.median(abs(error) for error in found[kind]):.3f} %",
            f"{max(found[kind], key=abs):+.3f} %",
            f"{limit} %",
        ]
        for kind, limit in limits.items()
    ]


def main() -> None:
    """Measure and show."""
    with _harness.installed() as greenrun:
        long = rounds(command, greenrun, LONG_SECONDS, LONG_ROUNDS)
        short = rounds(command, greenrun, SHORT_SECONDS, SHORT_ROUNDS)
        blocks = rounds(block, greenrun, LONG_SECONDS, LONG_ROUNDS)
    table = rows(f"{LONG_SECONDS:.0f} s job", long, LIMITS_PERCENT)
    table += rows(f"{SHORT_SECONDS} s job", short, SHORT_LIMITS_PERCENT)
    table += rows(f"{LONG_SECONDS:.0f} s block", blocks, BLOCK_LIMITS_PERCENT)
    figures = {"long_errors_percent": long, "short_errors_percent": short, "block_errors_percent": blocks}
    _harness.show("accuracy", __doc__, ["error against the exact integral", "median", "worst", "limit"], table, figures)


if __name__ == "__main__":
    main()
