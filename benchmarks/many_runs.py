"""What it takes to sum a log directory with many runs, and to make a table of them.

The runs are those of the golden test with other ids and users, their files in the page cache. Held against: 3 s for
10,000; for 100,000 a few hundred bytes of memory a run. They are all in jobs, so each waits for the end: a record of
the whole job might still come.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _harness

GOLDEN = _harness.ROOT / "tests" / "unit" / "data" / "two-sockets" / "summary.json"
LIMIT_SECONDS = 3.0
USERS = 17
RUNS_A_HOST = 1000
SUMS: tuple[str, ...] = ()
GROUPS = ("--by", "user", "--format", "csv")
SIZES = {
    10_000: (SUMS, GROUPS, ("--format", "csv"), ("--format", "jsonl"), ("--format", "parquet")),
    100_000: (SUMS, ("--format", "csv")),
}


def fill(log_dir: Path, begin: int, end: int) -> None:
    """Write run directories that differ in what runs differ in."""
    record = json.loads(GOLDEN.read_text())
    for n in range(begin, end):
        minutes = n % RUNS_A_HOST * 2
        record["run_id"] = f"019b7800-0000-7000-8000-{n:012x}"
        record["user"], record["host"] = f"user{n % USERS}", f"node{n // RUNS_A_HOST}"
        day, hour, minute = 1 + minutes // 1440, minutes // 60 % 24, minutes % 60
        record["started_at"] = f"2026-01-{day:02d}T{hour:02d}:{minute:02d}:00.000Z"
        run_dir = log_dir / f"run-{n:06d}"
        run_dir.mkdir()
        (run_dir / "summary.json").write_text(json.dumps(record, indent=2))


def taken(log_dir: Path, *options: str) -> tuple[float, float, float]:
    """Give wall seconds, CPU seconds and the largest resident set in MB of a report in a process of its own."""
    before = time.monotonic()
    command = [sys.executable, "-m", "greenrun", "report", str(log_dir), *options]
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(command, stdout=nowhere)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.monotonic() - before, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Fill a directory twice and show what each report takes."""
    rows, figures = [], []
    with tempfile.TemporaryDirectory(prefix="greenrun-bench-") as folder:
        done = 0
        for size, formats in SIZES.items():
            fill(Path(folder), done, size)
            done = size
            taken(Path(folder))  # warm
            for options in formats:
                wall, cpu, megabytes = taken(Path(folder), *options)
                words = " ".join(options) or "sums"
                limit = f"{LIMIT_SECONDS:g} s" if size == 10_000 and not options else ""
                rows.append([f"{size:,}, {words}", f"{wall:.2f} s", limit, f"{cpu:.2f} s", f"{megabytes:.0f} MB"])
                figures.append(
                    {"runs": size, "options": options, "wall_seconds": wall, "cpu_seconds": cpu, "megabytes": megabytes}
                )
    columns = ["runs", "wall time", "limit", "CPU time", "largest resident set"]
    _harness.show("many_runs", __doc__, columns, rows, figures)


if __name__ == "__main__":
    main()
