"""How long SLURM's prolog and epilog take on a real slurmd, beside scripts that do nothing.

Each is timed from before it is started to after it has ended, 20 jobs with greenrun and 20 without in turn, on a node
with RAPL counters. Held against: the prolog under half a second, also in the worst of the 20. The prolog waits until
the daemon has taken its first readings, the epilog until the record is written.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

import _harness
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine
from machine.slurm import Cluster, missing

ROUNDS = 20
WARM_UP_ROUNDS = 2
LIMIT_SECONDS = 0.5

TIMED = """\
#!/bin/sh
began=$(/bin/date +%s%N)
if [ $((SLURM_JOB_ID % 2)) = 0 ]; then {empty}; else {hook} || :; fi
echo "$SLURM_JOB_ID $began $(/bin/date +%s%N)" >> {times}
"""


def timed(folder: Path, name: str, greenrun: str) -> str:
    """Write a hook that runs greenrun for each job of an odd number, and an empty script for the others."""
    empty, hook = folder / "empty", folder / name
    empty.write_text("#!/bin/sh\n:\n")
    hook.write_text(TIMED.format(empty=empty, hook=f"{greenrun} slurm {name}", times=folder / f"{name}.times"))
    for path in (empty, hook):
        path.chmod(0o755)
    return str(hook)


def seconds(times: Path) -> dict[bool, list[float]]:
    """Give how long a hook took with greenrun (True) and without, less the rounds to warm up."""
    lines = [list(map(int, line.split())) for line in times.read_text().splitlines()]
    taken = {with_it: [(end - begin) / 1e9 for job, begin, end in lines if job % 2 == with_it] for with_it in (1, 0)}
    return {bool(with_it): values[WARM_UP_ROUNDS:] for with_it, values in taken.items()}


def measure(greenrun: str, folder: Path) -> dict[str, dict[bool, list[float]]]:
    """Run the jobs one after the other and give the times of each hook."""
    hooks = {name: timed(folder, name, greenrun) for name in ("prolog", "epilog")}
    with (
        SimulatedMachine(packages=[Zone("package-0", constant(65.0))]) as machine,
        Cluster([machine], prolog=hooks["prolog"], epilog=hooks["epilog"]) as cluster,
    ):
        for _ in range(2 * (ROUNDS + WARM_UP_ROUNDS)):
            cluster.wait(cluster.sbatch("true"))
        cluster.until(lambda: not cluster.processes(), "all is over")
    return {name: seconds(folder / f"{name}.times") for name in hooks}


def main() -> None:
    """Measure and show."""
    reason = missing()
    if reason is not None:
        print(f"not measured: {reason}")
        return
    with _harness.installed() as greenrun, tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)  # noqa: S103  slurmd looks at it as another user may
        taken = measure(greenrun.greenrun, Path(folder))
    rows = [
        [
            f"{name}, {'greenrun' if with_it else 'empty'}",
            f"{statistics.median(values) * 1e3:.0f} ms",
            f"{max(values) * 1e3:.0f} ms",
            f"{LIMIT_SECONDS * 1e3:.0f} ms" if name == "prolog" and with_it else "",
        ]
        for name, times in taken.items()
        for with_it, values in times.items()
    ]
    figures = {name: {"greenrun": times[True], "empty": times[False]} for name, times in taken.items()}
    _harness.show("slurm_prolog", __doc__, ["", "median of 20", "maximum", "limit"], rows, figures)


if __name__ == "__main__":
    main()
