"""sacct's rows and sacctmgr's words: as the real ones print and take them, and as nobody can forge them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.data.jobs import log
from unit.data.logs import intensity

from greenrun.reports import accounting
from greenrun.reports.account import account
from greenrun.reports.accounting import FIELDS, Accounted, rows
from greenrun.reports.merged import Run, merge

# As sacct 22.05.8 printed them, with job names of every kind: {field: text} for each run of a job, in its order.
RECORDED: list[Accounted] = json.loads((Path(__file__).parent / "data" / "sacct.json").read_text())


def printed(told: list[Any], delimiter: str) -> str:
    """Give rows as sacct prints them."""
    return "".join(delimiter.join(row[name] for name in FIELDS) + "\n" for row in told)


def test_recorded_rows_come_back() -> None:
    """Names with bars, quotes, HTML and newlines; arrays, requeues, jobs cancelled and running."""
    assert rows(printed(RECORDED, "|3f|"), "|3f|") == RECORDED
    assert any("\n" in row["JobName"] for row in RECORDED)
    assert rows("", "|") == []


fields = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
numbers = st.integers(0, 10**9).map(str)


@given(st.lists(st.tuples(numbers, numbers, st.lists(fields, min_size=15, max_size=15)), max_size=4))
def test_no_name_makes_a_row(told: Any) -> None:
    """Whatever users write into what is theirs to write, the rows are those that there are."""
    delimiter = "|0123456789abcdef|"
    written = [dict(zip(FIELDS, (first, *inner, last), strict=True)) for first, last, inner in told]
    assert rows(printed(written, delimiter), delimiter) == written


def test_a_name_that_forges_a_row_with_the_usual_delimiter_forges_none() -> None:
    """With a bar alone between the fields, this name would have been a row of another job."""
    forged = "|".join(RECORDED[0][name] for name in FIELDS)
    told = [RECORDED[1] | {"JobName": f"x\n{forged}\n1|"}]
    assert [row["JobIDRaw"] for row in rows(printed(told, "|c0ffee|"), "|c0ffee|")] == ["2"]


@pytest.mark.parametrize(
    "text", ["1|2\n", "sacct: error: no\n", "|".join("abcdefghijklmnopq") + "\n", "|".join("1" * 17) + "\n\n3"]
)
def test_what_was_not_asked_for_is_refused(text: str) -> None:
    """Too few fields, an error on stdout, no numbers where numbers stand."""
    with pytest.raises(accounting.Unexpected):
        rows(text, "|")


def test_rows_go_with_what_ran_at_their_time() -> None:
    """The row with the most time in common; within a minute where there is none; else none."""
    by_id = {(row["JobIDRaw"], row["State"]): row for row in RECORDED}
    requeued = [row for row in RECORDED if row["JobIDRaw"] == "8"]

    def at(minute: int, second: int) -> datetime:
        return datetime(2026, 11, 22, 10, minute, second, tzinfo=timezone.utc)

    assert accounting.nearest(at(39, 38), at(39, 42), requeued) == by_id["8", "REQUEUED"]
    assert accounting.nearest(at(41, 43), at(41, 48), requeued) == by_id["8", "COMPLETED"]
    assert accounting.nearest(at(42, 40), at(42, 45), requeued) == by_id["8", "COMPLETED"]
    assert accounting.nearest(at(50, 0), at(51, 0), requeued) is None
    running = by_id["10", "RUNNING"]
    assert accounting.nearest(at(45, 41), at(59, 0), [running]) == running


@pytest.mark.parametrize(
    ("state", "over"),
    [
        ("COMPLETED", True),
        ("CANCELLED by 0", True),
        ("TIMEOUT", True),
        ("RUNNING", False),
        ("REQUEUED", False),
        ("", False),
    ],
)
def test_what_is_over(state: str, over: bool) -> None:
    """A job that runs, waits or is requeued is not over."""
    assert accounting.is_over(RECORDED[0] | {"State": state}) is over  # type: ignore[arg-type]


def test_the_comment_is_one_word() -> None:
    """Key and value, without what sacctmgr mangles; what is not known is left out."""
    events = log(65.0, 10, intensity(360.0), nodes="n1", share=0.5)
    record = merge([Run(account(events), events)])
    told = "greenrun:energy_kwh=0.0001806,job_energy_kwh=0.00009028,co2e_grams=0.06500,status=complete"
    assert accounting.comment(record) == told
    unknown = merge([Run(account(log(65.0, 10)))])
    assert accounting.comment(unknown) == "greenrun:energy_kwh=0.0001806,status=partial"
    assert accounting.is_ours(told)
    assert accounting.is_ours("")
    assert not accounting.is_ours("see ticket 7")
