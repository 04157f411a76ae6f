"""Fixtures: the simulated machine, a command that knows its own life, and greenrun as it is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# The simulated machine is imported as `machine`, by tests and benchmarks alike; it is no part of the package.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from machine.command import Greenrun
from machine.layouts import two_sockets_two_gpus
from machine.simulated import SimulatedMachine
from machine.slurm import Cluster, missing
from machine.stamp import Stamp

# How long an example takes says something about the machine that runs the suite, nothing about greenrun.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.register_profile("few", deadline=None, max_examples=10)  # where all of them have run elsewhere
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def simulated() -> Iterator[Callable[..., SimulatedMachine]]:
    """Make simulated machines: `simulated(packages=[...], gpus=[...])` is running when it comes back."""
    with ExitStack() as stack:

        def make(**parts: Any) -> SimulatedMachine:
            return stack.enter_context(SimulatedMachine(**parts))

        yield make


@pytest.fixture
def two_sockets() -> Iterator[SimulatedMachine]:
    """Give a running server: two packages with dram, psys, mmio, a wrap, a GPU with a counter and one without."""
    with two_sockets_two_gpus() as machine:
        yield machine


@pytest.fixture
def slurm() -> Iterator[Callable[..., Cluster]]:
    """Make real SLURMs: `slurm([machine, machine])` is up, with an idle node for each machine, when it comes back."""
    reason = missing()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there can be no SLURM: {reason}")
    with ExitStack() as stack:

        def make(*arguments: Any, **parts: Any) -> Cluster:
            return stack.enter_context(Cluster(*arguments, **parts))

        yield make


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread what waits for SLURM over the suite: workers that begin at different places have each their part of it."""
    waiting = [item for item in items if "slurm" in getattr(item, "fixturenames", ())]
    others = [item for item in items if "slurm" not in getattr(item, "fixturenames", ())]
    step = len(others) / max(len(waiting), 1)
    places = [(number * step, item) for number, item in enumerate(waiting)]
    places += [(float(number), item) for number, item in enumerate(others)]
    items[:] = [item for _, item in sorted(places, key=lambda place: place[0])]


@pytest.fixture
def stamp(tmp_path: Path) -> Stamp:
    """Give a command that knows when it began and ended."""
    return Stamp(str(tmp_path / "stamp"))


@pytest.fixture
def greenrun(tmp_path: Path) -> Greenrun:
    """Give the installed greenrun: `greenrun("--name", "x", "true", env=machine.environment)` runs it."""
    return Greenrun(tmp_path / "greenrun")


@pytest.fixture
def no_leftovers(greenrun: Greenrun) -> Iterator[None]:
    """Fail the test if greenrun left a process, a temporary file or a socket behind."""
    yield
    assert greenrun.leftovers() == []
