"""Budgets: how they are told, what the record says of them, and who is ended for one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.data.logs import device, exited, intensity, sample, spawned, start

from greenrun.cli import budget, stopping
from greenrun.cli.spending import joules_at_spawn
from greenrun.reports.account import WhatIf, account
from greenrun.reports.budget import verdict
from greenrun.reports.record import Record

THE_RUN = f"the-run-of-{os.getpid()}"  # another suite beside this one has its own


@pytest.mark.parametrize(
    ("text", "quantity", "limit"),
    [
        ("50Wh", "energy_joules", 180_000.0),
        ("0.2 kWh", "energy_joules", 720_000.0),
        (" 90000J ", "energy_joules", 90_000.0),
        ("20g", "co2e_grams", 20.0),
        ("1.5KG", "co2e_grams", 1500.0),
    ],
)
def test_amounts(text: str, quantity: str, limit: float) -> None:
    """Each unit means what it says."""
    assert budget.read(text) == (quantity, pytest.approx(limit))


@pytest.mark.parametrize(
    "text", ["", "50", "Wh", "50W", "50 mJ", "50MJ", "-5g", "0g", "0.0Wh", "1e3g", "nan g", "5g 5g"]
)
def test_what_is_no_amount(text: str) -> None:
    """Without a unit, with a strange one, or of nothing."""
    with pytest.raises(ValueError, match=r"^must be "):
        budget.read(text)


def told(limit: float, quantity: str = "energy_joules", action: str = "warn", *more: Any) -> Record:
    """Give the record of a run of 10 s, 1000 J and 0.1 g, with a budget."""
    config = {"pue": None, "budget": {"quantity": quantity, "limit": limit, "action": action}}
    log = [start(device("cpu"), config=config), intensity(360.0), spawned(0.0), sample(0.0, 0.0), *more]
    return account([*log, sample(10.0, 1000.0), exited(10.0)])


def noticed(t: float, *, stopped: bool) -> dict[str, Any]:
    """Give the event of a budget that is used up."""
    return {"event": "budget", "t": t, "quantity": "energy_joules", "limit": 1.0, "spent": 1.0, "stopped": stopped}


def codes(record: Record) -> list[str]:
    """Give the codes of the warnings."""
    return [warned["code"] for warned in record["warnings"]]


def test_a_budget_that_is_kept() -> None:
    """To the last joule; there is nothing to warn of."""
    record = told(1000.0, "energy_joules", "fail")
    assert record["budget"] == {
        "quantity": "energy_joules",
        "limit": 1000.0,
        "action": "fail",
        "spent": 1000.0,
        "exceeded": False,
        "used_up_at": None,
        "stopped": False,
    }
    assert codes(record) == []
    assert verdict(record) == ""


def test_a_budget_that_is_exceeded() -> None:
    """By how much, when, and what was done; of grams, too."""
    record = told(800.0, "energy_joules", "stop", noticed(8.0, stopped=True))
    assert record["budget"] is not None
    assert {"exceeded": True, "used_up_at": 8.0, "stopped": True}.items() <= record["budget"].items()
    (warned,) = record["warnings"]
    sentence = warned["message"].replace("\xa0", " ")
    assert "1000 J, 25 % more than its budget of 800 J, which was used up after 8.00 s" in sentence
    assert sentence.endswith("; the command was stopped for it.")
    assert verdict(record)
    assert verdict(told(0.05, "co2e_grams", "fail"))
    assert verdict(told(0.05, "co2e_grams", "warn")) == ""
    assert codes(told(0.05, "co2e_grams", "warn")) == ["budget"]


def test_whether_it_was_kept_may_be_unknown() -> None:
    """Where grams are not known, and where a part of the run is in no figure: that is a warning and no failure."""
    config = {"budget": {"quantity": "co2e_grams", "limit": 1.0, "action": "fail"}}
    log = [start(device("cpu"), config=config), spawned(0.0), sample(0.0, 0.0), sample(10.0, 1000.0)]
    record = account([*log, exited(10.0)])
    assert record["budget"] is not None
    assert (record["budget"]["spent"], record["budget"]["exceeded"]) == (None, None)
    assert "budget" in codes(record)
    assert verdict(record) == ""
    killed = account([log[0], intensity(360.0), *log[1:]])
    assert killed["status"] == "partial"
    assert killed["budget"] is not None
    assert killed["budget"]["exceeded"] is None
    more = account([log[0], intensity(360_000.0), *log[1:]])
    assert more["budget"] is not None
    assert more["budget"]["exceeded"] is True


def test_better_figures() -> None:
    """What seemed used up and was not is said; what if is judged by its own figures."""
    assert codes(told(2000.0, "energy_joules", "stop", noticed(8.0, stopped=True))) == ["budget"]
    config = {"budget": {"quantity": "co2e_grams", "limit": 0.15, "action": "fail"}}
    log = [start(device("cpu"), config=config), intensity(360.0), spawned(0.0), sample(0.0, 0.0), sample(10.0, 1000.0)]
    kept, over = (account([*log, exited(10.0)], WhatIf(pue)) for pue in (1.0, 2.0))
    assert kept["budget"] is not None
    assert over["budget"] is not None
    assert (kept["budget"]["exceeded"], over["budget"]["exceeded"]) == (False, True)


def test_a_command_that_never_ran_has_kept_its_budget() -> None:
    """Nothing is known, and nothing is to be said."""
    config = {"budget": {"quantity": "co2e_grams", "limit": 1.0, "action": "fail"}}
    record = account([start(config=config), {"event": "not-started", "t": 0.0, "exit_code": 127, "reason": "no"}])
    assert "budget" not in codes(record)


def test_joules_at_spawn() -> None:
    """Of the devices that count, when the command began: what a sampler before this one has logged."""
    devices = device("a"), device("psys", "other", counted=False), device("b")
    before, at_spawn = sample(0.0, 1.0, 1.0, 1.0), sample(0.6, 5.0, 100.0, 7.0)
    log = [start(*devices), before, spawned(0.5), at_spawn, sample(9.0, 90.0, 0.0, 0.0)]
    assert joules_at_spawn(log) == 12.0


def alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


@contextlib.contextmanager
def running(words: list[str], run_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of a run for a while."""
    with subprocess.Popen(words, env={**os.environ, "GREENRUN_RUN_ID": run_id}) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(path: Path) -> int:
    """Wait for a process id in a file."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return int(path.read_text())
        time.sleep(0.01)
    raise TimeoutError(path)


def test_the_whole_tree_is_ended(tmp_path: Path) -> None:
    """Children, orphans in sessions of their own, what stands still and what ignores SIGTERM; and nobody else."""
    script = f"""
cd {tmp_path}
(setsid sh -c 'echo $$ > orphan; exec sleep 1000' &)
sh -c 'trap "" TERM; echo $$ > stubborn; while :; do sleep 1000; done' &
sh -c 'trap "echo woke > woke; exit" TERM; echo $$ > still; kill -STOP $$; sleep 1000' &
trap 'echo saved > saved; exit 0' TERM
echo $$ > root
while :; do sleep 0.05; done
"""
    with running(["sh", "-c", script], THE_RUN) as job, running(["sleep", "1000"], "another") as other:
        pids = [wait_for(tmp_path / name) for name in ("orphan", "stubborn", "still", "root")]
        try:
            found = stopping.members(job.pid, THE_RUN, {})
            assert set(pids) <= set(found)
            assert not {other.pid, os.getpid()} & set(found)
            begun = time.monotonic()
            stopping.end(job.pid, THE_RUN, {os.getpid()}, term_seconds=1.0)
            assert time.monotonic() - begun > 0.9  # the stubborn one had its time
            assert (tmp_path / "saved").read_text() == "saved\n"
            assert (tmp_path / "woke").read_text() == "woke\n"
            job.wait(30)
            assert [alive(pid) for pid in pids] == [False] * 4
            assert alive(other.pid)
        finally:
            for pid in filter(alive, pids):
                os.kill(pid, signal.SIGKILL)


def test_no_time_is_wasted(tmp_path: Path) -> None:
    """Who ends at once is not waited for; a spared process lives on."""
    with running(["sleep", "1000"], "no-run") as job, running(["sleep", "1000"], THE_RUN) as spared:
        begun = time.monotonic()
        stopping.end(job.pid, THE_RUN, {spared.pid}, term_seconds=60.0)
        assert time.monotonic() - begun < 30.0
        assert job.wait(30) == -signal.SIGTERM
        assert alive(spared.pid)


def test_it_is_begun_in_a_process_of_its_own() -> None:
    """Whoever begins it need not stay."""
    program = (
        f"import sys; from greenrun.cli import stopping\nprint(stopping.begin(int(sys.argv[1]), {THE_RUN!r}, (), 5.0))"
    )
    with running(["sleep", "1000"], "no-run") as job:
        told = subprocess.run([sys.executable, "-c", program, str(job.pid)], capture_output=True, text=True, timeout=60)
        assert told.stdout == "True\n"
        assert job.wait(30) == -signal.SIGTERM
