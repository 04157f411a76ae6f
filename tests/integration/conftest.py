"""What the integration tests share: reading the record that a run has left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from machine.command import Greenrun


@pytest.fixture(scope="session", autouse=True)
def ordinary_signals() -> None:
    """Give what the tests start the signals that a shell would, also where the suite itself runs under nohup."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def run_dirs(greenrun: Greenrun) -> Callable[[], list[str]]:
    """Give the run directories in greenrun's working directory, oldest first."""

    def find() -> list[str]:
        top = os.path.join(greenrun.cwd, "greenrun-logs")
        if not os.path.isdir(top):
            return []
        return sorted((os.path.join(top, name) for name in os.listdir(top) if name != ".gitignore"), key=_age)

    return find


def _age(run_dir: str) -> tuple[str, str]:
    """Give what sorts runs by their beginning: the name tells the second, the run's id the millisecond."""
    name = os.path.basename(run_dir)
    try:
        with open(os.path.join(run_dir, "run.jsonl")) as file:
            return name.partition("-")[0], json.loads(file.readline())["run_id"]
    except (OSError, ValueError, KeyError):
        return name.partition("-")[0], name


@pytest.fixture
def record(run_dirs: Callable[[], list[str]]) -> Callable[[], dict[str, Any]]:
    """Give the record of the one run that there is."""

    def read() -> dict[str, Any]:
        (run_dir,) = run_dirs()
        with open(os.path.join(run_dir, "summary.json")) as file:
            found: dict[str, Any] = json.load(file)
        return found

    return read
