"""What the benchmarks share: a greenrun installed as a user has it, and a table with what it was measured on."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "tests"))  # the simulated machine lives with the tests


class Installed:
    """A greenrun in a fresh environment of its own, compiled, and a scratch folder beside it."""

    def __init__(self, scratch: Path, interpreter: str) -> None:
        self.scratch = scratch
        home = scratch / "venv"
        subprocess.run([interpreter, "-m", "venv", str(home)], check=True)
        self.python = str(home / "bin" / "python")
        self.greenrun = str(home / "bin" / "greenrun")
        self.packages = next(home.glob("lib/python*/site-packages"))

    def environment(self, **more: str) -> dict[str, str]:
        """Give the environment of a user who has set nothing: no greenrun settings, compiled modules allowed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GREENRUN_", "PYTHON"))}
        return {**kept, "HOME": str(self.scratch), "GREENRUN_LOG_DIR": str(self.scratch / "logs"), **more}

    def install(self) -> None:
        """Install greenrun from the source tree, without extras."""
        command = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
        subprocess.run(command, env=self.environment(), check=True)


@contextlib.contextmanager
def fresh(interpreter: str = sys.executable) -> Iterator[Installed]:
    """Give a fresh environment for as long as the block lasts, with nothing in it yet."""
    with tempfile.TemporaryDirectory(prefix="greenrun-bench-") as scratch:
        yield Installed(Path(scratch), interpreter)


@contextlib.contextmanager
def installed() -> Iterator[Installed]:
    """Give a fresh environment with greenrun in it, for as long as the block lasts."""
    with fresh() as environment:
        environment.install()
        yield environment


def processes_with(marker: str) -> list[int]:
    """List the processes whose environment has a text: a run's processes, in whatever session they live."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in Path("/proc", entry, "environ").read_bytes():
                    found.append(int(entry))
    return found


def is_python(pid: int) -> bool:
    """Tell whether a process runs a Python: greenrun's own do, the commands of these benchmarks do not."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("python")
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """Give user and system CPU seconds that a process has used, to a hundredth."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(
    name: str,
    about: str | None,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    figures: object,
    *,
    notes: Sequence[str] = (),
) -> None:
    """Print a table, and keep it with its figures and what it was measured on as results/NAME.json.

    `about` is the docstring of the benchmark; `_document` puts it above the table in docs/benchmarks.md, and `notes`,
    whole lines, below it.
    """
    widths = [max(len(row[at]) for row in (columns, *rows)) for at in range(len(columns))]
    for row in (columns, ["-" * width for width in widths], *rows):
        first, *rest = (
            f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *rest)))
    print("\n".join(("", *notes)))
    RESULTS.mkdir(exist_ok=True)
    document = {
        "benchmark": name,
        "about": inspect.cleandoc(about or ""),
        "circumstances": _circumstances(),
        "columns": columns,
        "rows": rows,
        **({"notes": list(notes)} if notes else {}),
        "figures": figures,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def _circumstances() -> dict[str, object]:
    from greenrun import __version__

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processors = [line for line in lines if line.startswith("model name")]
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "greenrun": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": processors[0].partition(":")[2].strip() if processors else platform.machine(),
        "processors": os.cpu_count(),
        "hypervisor": any(line.startswith("flags") and "hypervisor" in line.split() for line in lines),
        "load_average": round(os.getloadavg()[0], 2),
    }
