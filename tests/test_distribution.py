"""What is shipped: nothing of the package may be missing from the wheel or the source distribution.

Both are built here, the wheel from the source distribution, as an installer would. `DIST=DIR` names a folder with ready
ones to look at instead (`make dist` does).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("cli", "sampler", "intensity", "reports")
FACE = "src/greenrun/"
BESIDE = ("Makefile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml")


def sources() -> set[str]:
    """List the files of the source tree by their path in it: those that git has, or may have once they are added."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    return {
        path.relative_to(ROOT).as_posix()
        for top in (*ROOMS, "src", "tests", "tools")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | set(BESIDE)


def installed_as(source: str) -> str | None:
    """Give the name in the wheel of a file of the source tree, None if it is not installed."""
    if source.startswith(FACE):
        return "greenrun/" + source.removeprefix(FACE)
    if source.split("/")[0] in ROOMS:
        return "greenrun/" + source
    return None


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a source distribution and the wheel that was built from it."""
    if "DIST" in os.environ:
        return ROOT / os.environ["DIST"]
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return out


def only(dist: Path, pattern: str) -> Path:
    """Give the one file that matches: two wheels in the folder would leave open which was looked at."""
    (found,) = dist.glob(pattern)
    return found


def test_the_wheel_holds_every_file_of_the_package(dist: Path) -> None:
    """The wheel has each module and data file of the rooms, and no other file beside its metadata."""
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = {name for source in sources() if (name := installed_as(source)) is not None}
    assert "greenrun/cli/__init__.py" in wanted
    assert held == wanted


def test_the_source_distribution_is_whole(dist: Path) -> None:
    """The source distribution has each file of the package, the tests, the tools and what stands beside them."""
    with tarfile.open(only(dist, "*.tar.gz")) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {name for name in sources() if installed_as(name) or name.startswith(("tests/", "tools/"))} | set(BESIDE)
    assert not wanted - held


def test_the_licences_are_shipped(dist: Path) -> None:
    """The wheel carries greenrun's licence and those of the tables and of the script in it."""
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        licences = {name.partition("/licenses/")[2] for name in wheel.namelist() if "/licenses/" in name}
    data = ("intensity/data", "intensity/data/electricitymaps", "sampler/data")
    texts = ("LICENSE", "sampler/data/Apache-2.0.txt", "reports/page/uPlot-LICENSE.txt")
    assert licences == {*texts, *(f"{folder}/README.md" for folder in data)}


def test_the_wheel_works_alone(dist: Path, tmp_path: Path) -> None:
    """Installed into an empty environment, with its dependencies beside it, the wheel's command runs a program."""
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(packages)]
    subprocess.run([*install, str(only(dist, "*.whl"))], check=True)
    for dependency in ("click", "pynvml.py", "tzdata"):
        (found,) = (path for entry in sys.path if (path := Path(entry) / dependency).exists())
        copy = shutil.copytree if found.is_dir() else shutil.copy
        copy(found, packages / dependency)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
    command = [str(home / "bin" / "python"), "-I", "-m", "greenrun", "--log-dir", "logs", "echo", "ran"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert list(tmp_path.glob("logs/*/summary.json")), done.stderr
