"""What an installation of greenrun without extras brings along: distributions and megabytes.

Held against: at most 16 distributions (18 on Python 3.10) and 30 MB. Counted is what appears beside what an empty
environment has; its pip and setuptools are not greenrun's.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

import _harness

LIMIT_MEGABYTES = 30


def distributions(environment: _harness.Installed) -> set[str]:
    """List the distributions in an environment."""
    return {path.name.removesuffix(".dist-info") for path in environment.packages.glob("*.dist-info")}


def megabytes(environment: _harness.Installed) -> float:
    """Give the size of the files of all distributions, compiled modules included."""
    files = (path for path in environment.packages.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def oldest_python() -> str | None:
    """Find a Python 3.10 beside the interpreter in use; one of pyenv's shims is there and yet may not work."""
    if sys.version_info[:2] == (3, 10):
        return None
    from_pyenv = glob.glob(os.path.expanduser("~/.pyenv/versions/3.10.*/bin/python"))
    for candidate in (shutil.which("python3.10"), *from_pyenv):
        if candidate and subprocess.run([candidate, "-c", "import ensurepip"], capture_output=True).returncode == 0:
            return candidate
    return None


def measure(interpreter: str) -> dict[str, object]:
    """Install greenrun for an interpreter and count."""
    with _harness.fresh(interpreter) as environment:
        before, empty_megabytes = distributions(environment), megabytes(environment)
        environment.install()
        return {
            "python": environment.packages.parent.name,
            "distributions": sorted(distributions(environment) - before),
            "megabytes": megabytes(environment) - empty_megabytes,
            "empty_megabytes": empty_megabytes,
        }


def main() -> None:
    """Measure for the interpreter in use, and for Python 3.10 where there is one."""
    found = [measure(interpreter) for interpreter in (sys.executable, oldest_python()) if interpreter]
    rows = [
        [
            f"{one['python']}",
            f"{len(one['distributions'])}",  # type: ignore[arg-type]  # a list, written by measure
            "18" if one["python"] == "python3.10" else "16",
            f"{one['megabytes']:.1f} MB",
            f"{LIMIT_MEGABYTES} MB",
            f"{one['megabytes'] / one['empty_megabytes']:.2f}",  # type: ignore[operator]  # floats, written by measure
        ]
        for one in found
    ]
    columns = ["", "distributions", "limit", "size", "limit", "ratio to an empty environment"]
    _harness.show("installed", __doc__, columns, rows, found)


if __name__ == "__main__":
    main()
