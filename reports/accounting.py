"""What sacct knows of a job, read from its output, and what sacctmgr is told: pure.

A job's name is its user's to choose: it may hold any character, the one between sacct's fields and newlines too, and
sacct prints them as they are. So the fields are asked for with a delimiter that nobody can foresee, and the first and
the last of them are those that no user writes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict, cast

from greenrun.reports import units
from greenrun.reports.carbon import JOULES_PER_KWH
from greenrun.reports.life import parse_utc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from greenrun.reports.jobrecord import JobRecord


class Accounted(TypedDict):
    """One run of a job as sacct prints it, times in UTC; a job that was requeued has several."""

    JobIDRaw: str
    JobID: str
    JobName: str
    User: str
    UID: str
    Account: str
    Partition: str
    Cluster: str
    NNodes: str
    NodeList: str
    ExitCode: str
    AdminComment: str
    Submit: str
    Start: str
    End: str
    State: str
    ElapsedRaw: str


FIELDS = tuple(Accounted.__annotations__)
"""What sacct is asked for, in this order: the outer two are numbers."""

COMMENT_MARK = "greenrun:"
"""How a comment of ours begins. What others have written there is theirs."""

LOOSE_SECONDS = 60.0
"""How far from a run of the job its row may begin or end: prolog and epilog are not in sacct's time."""

_OVER = re.compile(
    r"(BOOT_FAIL|CANCELLED( by \d+)?|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|TIMEOUT)", re.ASCII
)


class Unexpected(ValueError):  # noqa: N818  the name is the sentence's predicate
    """Output that is not what was asked for, as a phrase."""


def rows(text: str, delimiter: str) -> list[Accounted]:
    """Read sacct's output, asked for as `--parsable2 --noheader --format=FIELDS`; raises Unexpected."""
    out: list[Accounted] = []
    tokens = text.removesuffix("\n").split(delimiter) if text.strip() else []
    inner = len(FIELDS) - 1
    if len(tokens) == 1 or (tokens and (len(tokens) - 1) % inner):
        raise Unexpected(f"its {len(tokens)} parts make no rows of {len(FIELDS)} fields")
    first = tokens[0] if tokens else ""
    for at in range(1, len(tokens), inner):
        last, newline, following = tokens[at + inner - 1].partition("\n")
        values = (first, *tokens[at : at + inner - 1], last)
        if not (first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
            raise Unexpected(f"{first!r} and {last!r} are no job id and no number of seconds")
        if bool(newline) == (at + inner >= len(tokens)):
            raise Unexpected("its lines do not end where rows do")
        out.append(cast("Accounted", dict(zip(FIELDS, values, strict=True))))
        first = following
    return out


def is_over(row: Accounted) -> bool:
    """Tell whether this run of the job has come to an end that it will keep: one that is requeued has not."""
    return _OVER.fullmatch(row["State"]) is not None


def nearest(begin: datetime, end: datetime, rows: Sequence[Accounted]) -> Accounted | None:
    """Give the row of what ran from `begin` to `end`: the one with the most time in common; None if none is near."""
    best, most_seconds = None, -LOOSE_SECONDS
    for row in rows:
        began, ended = _moment(row["Start"]), _moment(row["End"])
        if began is not None:
            seconds = (min(end, ended or end) - max(begin, began)).total_seconds()
            if seconds >= most_seconds:
                best, most_seconds = row, seconds
    return best


def job_fields(row: Accounted) -> dict[str, str | int]:
    """Give what a row tells of the job, in the types of a record and without what is empty."""
    named = {
        "JobID": row["JobID"],
        "JobName": row["JobName"],
        "User": row["User"],
        "Account": row["Account"],
        "Partition": row["Partition"],
        "Cluster": row["Cluster"],
        "NodeList": row["NodeList"],
    }
    fields: dict[str, str | int] = {name: text for name, text in named.items() if text}
    for name, text in (("UID", row["UID"]), ("NNodes", row["NNodes"])):
        if text.isascii() and text.isdigit():
            fields[name] = int(text)
    array, underscore, task = row["JobID"].partition("_")
    if underscore and task.isdigit():
        fields |= {"ArrayJobID": array, "ArrayTaskID": task}
    return fields


def _moment(text: str) -> datetime | None:
    """Read one of sacct's times, which are in UTC as asked for; None for "Unknown" and the like."""
    try:
        return parse_utc(text)
    except ValueError:
        return None


def comment(record: JobRecord) -> str:
    """Give the words that tell energy and CO2e of a job in its AdminComment.

    One word of letters, digits and `_.,=:`, for sacctmgr mangles quotes and takes a space for the end. The energy is
    the nodes'; `job_energy_kwh` is the job's share, where that is known.
    """
    share = record["job_energy_joules"]
    amounts = {
        "energy_kwh": record["energy_kwh"],
        "job_energy_kwh": None if share is None or share["total"] is None else share["total"] / JOULES_PER_KWH,
        "co2e_grams": record["co2e_grams"],
    }
    told = [f"{name}={units.digits(value, 4)}" for name, value in amounts.items() if value is not None]
    return COMMENT_MARK + ",".join([*told, f"status={record['status']}"])


def is_ours(admin_comment: str) -> bool:
    """Tell whether a comment may be written over: there is none, or it is one of ours."""
    return not admin_comment or admin_comment.startswith(COMMENT_MARK)
