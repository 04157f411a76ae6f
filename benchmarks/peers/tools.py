"""The tools that are compared: how each is installed, put in front of a command, and what it then tells.

Each is used by its own command line with its default settings. codecarbon alone needs an option: without an account at
its service `monitor` refuses to start unless it is told not to use one. None of them is told that there is no network.
"""

from __future__ import annotations

import csv
import glob
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import _harness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_KWH_JOULES = 3.6e6
_CARBONTRACKER_PUE = 1.58  # its constants.PUE_2023, by which it multiplies; its figures here are without it

Joules = dict[str, "float | None"]


class Tool(NamedTuple):
    """One tool. `front` is put before a command, `read` gives its joules by kind from the folder that it ran in.

    `option` is one of its own options with a value, to see whether it takes that from a command's own arguments.
    """

    name: str
    version: str
    front: Sequence[str]
    option: Sequence[str]
    read: Callable[[str], Joules]
    distributions: int | None = None
    megabytes: float | None = None
    python: str | None = None

    @property
    def label(self) -> str:
        """Its name and version, as the tables have it."""
        return f"{self.name} {self.version}"


def greenrun_joules(folder: str) -> Joules:
    """Read the joules of greenrun's record, empty where it left none."""
    for path in glob.glob(f"{folder}/greenrun-logs/*/summary.json"):
        with open(path) as file:
            told = json.load(file)["energy_joules"]
        return {kind: told[kind] for kind in ("cpu", "dram", "gpu", "total")}
    return {}


def codecarbon_joules(folder: str) -> Joules:
    """Read the joules of the last line of codecarbon's table, empty where it left none."""
    try:
        with open(f"{folder}/emissions.csv", newline="") as file:
            *_, row = csv.DictReader(file)
    except (OSError, ValueError):
        return {}
    columns = {"cpu": "cpu_energy", "dram": "ram_energy", "gpu": "gpu_energy", "total": "energy_consumed"}
    return {kind: float(row[column]) * _KWH_JOULES for kind, column in columns.items()}


def carbontracker_joules(folder: str) -> Joules:
    """Read the joules of carbontracker's log, empty where it tells none.

    Of the kinds it tells the mean power and the time; the memory is among its processors (`joined`).
    """
    text = ""
    for path in glob.glob(f"{folder}/logs/*_carbontracker.log"):
        with open(path) as file:
            text += file.read()
    for path in glob.glob(f"{folder}/logs/*_output.log"):
        with open(path) as file:
            text += file.read()
    actual = re.search(r"Actual consumption.*?Energy:\s+([\d.e-]+) kWh", text, re.DOTALL)
    if actual is None:
        return {}
    joules: Joules = {"total": float(actual[1]) * _KWH_JOULES / _CARBONTRACKER_PUE, "joined": 1.0}
    duration = re.search(r"Duration: (?:(\d+) days?, )?(\d+):(\d+):([\d.]+)", text)
    for kind in ("cpu", "gpu"):
        power = re.search(rf"Average power usage \(W\) for {kind}: (\S.*)", text)
        told = [float(value) for value in re.findall(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", power[1])] if power else []
        if told and duration:
            days, hours, minutes, seconds = (float(part or 0) for part in duration.groups())
            joules[kind] = sum(told) * (((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    return joules


def kept(tool: Tool) -> dict[str, Any]:
    """Give a tool as JSON can keep it."""
    return {**tool._asdict(), "read": None}


def again(kept_tool: dict[str, Any]) -> Tool:
    """Give the tool that was kept."""
    return Tool(**{**kept_tool, "read": _READERS[kept_tool["name"]]})


def no_joules(_folder: str) -> Joules:
    """Perf counts energy by a kernel interface that no file stands for: the simulated machine has none for it."""
    return {}


_READERS = {
    "greenrun": greenrun_joules,
    "codecarbon": codecarbon_joules,
    "carbontracker": carbontracker_joules,
    "perf": no_joules,
}


_PEERS = {  # the words behind the name, and an option of their own
    "codecarbon": (("monitor", "--no-api", "--"), ("--region", "elsewhere")),
    "carbontracker": ((), ("--log_dir", "elsewhere")),
}


def make_all(cache: Path, scratch: Path) -> list[Tool]:
    """Make what is missing of the environments, and give the tools that are there; greenrun's is made anew."""
    green = _harness.Installed(scratch, sys.executable)
    empty, before = _size(green.packages), _distributions(green.packages)
    green.install()
    found = [
        Tool(
            "greenrun",
            _version(green.python, "greenrun"),
            (green.greenrun,),
            ("--pue", "2"),
            greenrun_joules,
            len(_distributions(green.packages) - before),
            _size(green.packages) - empty,
            green.python,
        )
    ]
    for name, (words, option) in _PEERS.items():
        home = cache / name
        python = str(home / "bin" / "python")
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", name], check=True, env=_plain())
            (home / "complete").touch()
        (packages,) = home.glob("lib/python*/site-packages")
        found.append(
            Tool(
                name,
                _version(python, name),
                (str(home / "bin" / name), *words),
                option,
                _READERS[name],
                len(_distributions(packages) - before),
                _size(packages) - empty,
                python,
            )
        )
    perf = shutil.which("perf")
    if perf:
        version = subprocess.run([perf, "--version"], stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        found.append(Tool("perf", version, (perf, "stat", "-a", *_perf_events(perf), "--"), ("-r", "2"), no_joules))
    return found


def _perf_events(perf: str) -> list[str]:
    """Choose what perf is to count: energy where the machine can, else something, to see what perf itself costs."""
    energy = ["-e", "power/energy-pkg/"]
    done = subprocess.run(
        [perf, "stat", "-a", *energy, "--", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return energy if done.returncode == 0 else ["-e", "task-clock"]


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _version(python: str, name: str) -> str:
    program = f"import importlib.metadata as m; print(m.version({name!r}))"
    return subprocess.run([python, "-c", program], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _distributions(packages: Path) -> set[str]:
    return {path.name.removesuffix(".dist-info") for path in packages.glob("*.dist-info")}


def _size(packages: Path) -> float:
    """Give the megabytes of all files, compiled modules included."""
    return sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
