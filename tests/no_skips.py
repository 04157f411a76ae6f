"""A pytest plugin for the gate: a skipped test is a failure, for a gate that leaves out a part proves nothing about it.

Load it with `-p no_skips`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

skipped: list[str] = []


def remember(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Note a skipped test or module; an expected failure is reported as skipped too, but it was run."""
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.append(report.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a test that was skipped."""
    remember(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a module that was skipped as a whole."""
    remember(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if anything was skipped."""
    if skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say which tests were skipped, and that this is why the session fails."""
    if skipped:
        terminalreporter.section("skipped, which the gate forbids", red=True)
        for nodeid in skipped:
            terminalreporter.line(nodeid)
