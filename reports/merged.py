"""Many run logs, one job: the records of a job's nodes, requeues, steps and ranks become one record. Pure.

A node counts once. Where the site measured it (kind job), that record is the node's, and what greenrun told in front of
the user's own commands is a part of it. Elsewhere the user's commands are all there is: one after the other they add
up, and where two of them, or two ranks, ran at once on a node, the moments that they share count for the one that began
first; the other's log tells what is left of it.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.reports.account import SCHEMA, account
from greenrun.reports.accounting import job_fields, nearest
from greenrun.reports.figures import figures
from greenrun.reports.life import format_utc, life, parse_utc
from greenrun.sampler.nodelist import nodes as names_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from greenrun.reports.account import WhatIf
    from greenrun.reports.accounting import Accounted
    from greenrun.reports.job import Job
    from greenrun.reports.jobrecord import Attempt, JobEpochs, JobNode, JobRecord, Who
    from greenrun.reports.record import Event, Record, Warned

_SLIVER_SECONDS = 0.01
"""Less than this is no part of a run: `started_at` is told to the millisecond."""

_MOST_NAMED = 8  # nodes in a sentence; the record lists them all


class Run(NamedTuple):
    """One record of the job and, where it may have to be cut, the events and the question that it was made from."""

    record: Record
    events: Sequence[Event] | None = None
    what_if: WhatIf | None = None


class NoJob(ValueError):  # noqa: N818  the name is the sentence's predicate
    """Not one of the records is of a scheduler's job with an id."""


class _Piece(NamedTuple):
    """What one record, or what is left of it, adds to a node in one run of the job."""

    restarts: int
    node: str
    record: Record


class _Stay(NamedTuple):
    """When a run was there, on a clock that all runs of its machine share: that of one boot, or None for UTC."""

    clock: str | None
    begin: float
    end: float


def merge(
    runs: Iterable[Run],
    accounted: Sequence[Accounted] = (),
    running: Collection[str] = (),
    left_out: Sequence[str] = (),
) -> JobRecord:
    """Give the record of the job that these runs are of.

    `accounted` is what sacct knows of it, `running` names the nodes on which it is still measured, and `left_out` holds
    sentences about records that cannot be read. Where the runs are of several jobs that had the same id, one after the
    other (ids begin anew when a site loses SLURM's state), it is the newest job. Raises NoJob.
    """
    own, strangers = _newest_job(_once(runs))
    pieces, elsewhere = _pieces(own)
    attempts = _attempts(own, pieces, accounted)
    who = _who(own, attempts, accounted)
    missing = _missing(who, pieces)
    partial = bool(missing or running or left_out or not pieces) or any(_is_partial(piece.record) for piece in pieces)
    return {
        "schema": SCHEMA,
        "kind": "job",
        "status": "partial" if partial else "complete",
        "job": who,
        "started_at": min(attempt["started_at"] for attempt in attempts),
        "ended_at": max(attempt["ended_at"] for attempt in attempts),
        "duration_seconds": math.fsum(attempt["duration_seconds"] for attempt in attempts),
        **figures([piece.record for piece in pieces]),
        "attempts": attempts,
        "nodes": _nodes(pieces),
        "epochs": _epochs(own),
        "warnings": [
            *_of_nodes(sorted(running), "running", "The job still runs on {}, or no epilog has seen its end."),
            *_of_left_out(left_out),
            *_of_missing(missing, who),
            *_of_nodes(_without_energy(pieces), "unknown", "The energy is unknown of {} and not in the sums."),
            *_of_nodes(_twice(own), "twice", "One run of the job has more than one record of the site's on {}."),
            *_of_nodes(
                elsewhere, "elsewhere", "What was measured on {} is left out: it is not known as a node of the job."
            ),
            *_of_strangers(strangers),
            *_of_records(pieces),
        ],
    }


def by_job(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Tell the jobs apart that had one id, one after the other, the newest first. Raises NoJob."""
    rest = list(runs)
    while rest:
        own, rest = _newest_job(rest)
        yield own


def job_of(run: Run) -> Job:
    """Give the scheduler's job that a run is of. Raises NoJob."""
    job = run.record["job"]
    if job is None or job["JobIDRaw"] is None:
        raise NoJob(f"the record {run.record['run_id']} is of no scheduler's job")
    return job


# --- which runs, and what of them


def _once(runs: Iterable[Run]) -> list[Run]:
    """Leave out copies: the site's record may also lie in the user's directory."""
    by_id: dict[str, Run] = {}
    for run in runs:
        job_of(run)
        by_id.setdefault(run.record["run_id"], run)
    if not by_id:
        raise NoJob("there is no record")
    return list(by_id.values())


def _newest_job(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Tell the runs of the newest job from those of others with its id: another user's, or another cluster's."""
    newest = job_of(max(runs, key=lambda run: run.record["started_at"]))

    def is_of_it(run: Run) -> bool:
        job = job_of(run)
        same_user = None in (job["User"], newest["User"]) or job["User"] == newest["User"]
        return same_user and (None in (job["Cluster"], newest["Cluster"]) or job["Cluster"] == newest["Cluster"])

    return [run for run in runs if is_of_it(run)], [run for run in runs if not is_of_it(run)]


def _pieces(runs: Sequence[Run]) -> tuple[list[_Piece], list[str]]:
    """Give what counts, in the order of requeues and nodes, and the hosts that are not known as nodes of the job."""
    by_node: dict[tuple[int, str], list[Run]] = {}
    elsewhere: set[str] = set()
    for run in runs:
        node = _node(run.record)
        if node is None:
            elsewhere.add(run.record["host"] or "a machine without a name")
        elif run.record["duration_seconds"] is not None:
            by_node.setdefault((_restarts(run), node), []).append(run)
    pieces = [
        _Piece(restarts, node, record)
        for (restarts, node), there in sorted(by_node.items())
        for record in _each_moment_once(there)
    ]
    return pieces, sorted(elsewhere)


def _restarts(run: Run) -> int:
    return job_of(run)["Restarts"] or 0


def _node(record: Record) -> str | None:
    """Name the node as SLURM does; None where greenrun ran on a machine that is none of the job's (a login node)."""
    job, host = record["job"], record["host"]
    if job is None or job["NodeName"] is not None or job["Scheduler"] != "slurm":
        return (job and job["NodeName"]) or host
    short = (host or "").partition(".")[0]
    return short if short in (names_of(job["NodeList"] or "") or ()) else None


def _each_moment_once(runs: Sequence[Run]) -> Iterator[Record]:
    """Give the records of one node, the site's first, each less the time that those before it have covered."""
    stays = _stays(runs)
    order = sorted(zip(stays, runs, strict=True), key=lambda one: (one[1].record["kind"] != "job", one[0].begin))
    covered: dict[str | None, float] = {}
    for stay, run in order:
        until = covered.get(stay.clock, -math.inf)
        if until <= stay.begin + _SLIVER_SECONDS:
            yield run.record
        elif until < stay.end - _SLIVER_SECONDS and run.events is not None:
            yield _rest(run.events, until - stay.begin, run.what_if)
        covered[stay.clock] = max(until, stay.end)


def _stays(runs: Sequence[Run]) -> list[_Stay]:
    """Tell when each of a node's runs was there: by the clock of its boot, which nobody sets, or else by UTC."""
    stays: list[_Stay] = []
    for run in runs:
        start = run.events[0] if run.events else {}
        lived = life(run.events) if run.events else None
        if lived is None or not isinstance(start.get("boot_id"), str):
            return [_Stay(None, begin.timestamp(), end.timestamp()) for begin, end in map(_times, runs)]
        since = float(start["monotonic"])
        stays.append(_Stay(start["boot_id"], since + lived.begin, since + lived.end))
    return stays


def _times(run: Run) -> tuple[datetime, datetime]:
    begin = parse_utc(run.record["started_at"])
    seconds = (run.record["duration_seconds"] or 0.0) + run.record["suspended_seconds"]
    return begin, begin + timedelta(seconds=seconds)


def _rest(events: Sequence[Event], seconds: float, what_if: WhatIf | None) -> Record:
    """Tell a run as if it had begun so many seconds later."""
    return account(
        [event | {"t": event["t"] + seconds} if event["event"] == "spawned" else event for event in events], what_if
    )


def _is_partial(record: Record) -> bool:
    return record["status"] == "partial" or record["energy_joules"]["total"] is None


# --- nodes and runs of the job


def _nodes(pieces: Sequence[_Piece]) -> list[JobNode]:
    by_node: dict[tuple[int, str], list[Record]] = {}
    for piece in pieces:
        by_node.setdefault((piece.restarts, piece.node), []).append(piece.record)
    return [_job_node(restarts, node, records) for (restarts, node), records in by_node.items()]


def _job_node(restarts: int, node: str, records: Sequence[Record]) -> JobNode:
    times = [_times(Run(record)) for record in records]
    return {
        "NodeName": node,
        "Restarts": restarts,
        "measured_by": "site" if any(record["kind"] == "job" for record in records) else "commands",
        "status": "partial" if any(map(_is_partial, records)) else "complete",
        "run_ids": list(dict.fromkeys(record["run_id"] for record in records)),
        "started_at": format_utc(min(begin for begin, _ in times)),
        "ended_at": format_utc(max(end for _, end in times)),
        **figures(records),
    }


def _attempts(runs: Sequence[Run], pieces: Sequence[_Piece], accounted: Sequence[Accounted]) -> list[Attempt]:
    """Give the runs of the job, requeues told apart, in their order."""
    return [
        _attempt(restarts, runs, [piece for piece in pieces if piece.restarts == restarts], accounted)
        for restarts in sorted(set(map(_restarts, runs)))
    ]


def _attempt(restarts: int, runs: Sequence[Run], pieces: Sequence[_Piece], accounted: Sequence[Accounted]) -> Attempt:
    own = [run for run in runs if _restarts(run) == restarts]
    times = [_times(run) for run in own]
    begin, end = min(begin for begin, _ in times), max(end for _, end in times)
    row = nearest(begin, end, accounted)
    return {
        "Restarts": restarts,
        "State": row["State"] if row else None,
        "ExitCode": row["ExitCode"] if row else _exit_code(own),
        "status": "partial" if not pieces or any(_is_partial(piece.record) for piece in pieces) else "complete",
        "nodes": len({piece.node for piece in pieces}),
        "started_at": format_utc(begin),
        "ended_at": format_utc(end),
        "duration_seconds": (end - begin).total_seconds(),
        **figures([piece.record for piece in pieces]),
    }


def _exit_code(runs: Sequence[Run]) -> str | None:
    """Give the job's exit code as the site's epilog was told it, in sacct's form; a command's own is not the job's."""
    for record in (run.record for run in runs if run.record["kind"] == "job"):
        if record["exit_code"] is not None or record["signal"] is not None:
            return f"{record['exit_code'] or 0}:{record['signal'] or 0}"
    return None


def _who(runs: Sequence[Run], attempts: Sequence[Attempt], accounted: Sequence[Accounted]) -> Who:
    """Put together what is known of the job: sacct knows best, then the site's newest record, then the user's."""
    order = sorted(runs, key=lambda run: (run.record["kind"] == "job", run.record["started_at"]), reverse=True)
    jobs = [job_of(run) for run in order]
    last = attempts[-1]
    row = nearest(parse_utc(last["started_at"]), parse_utc(last["ended_at"]), accounted)
    told: list[dict[str, Any]] = [job_fields(row) if row else {}, *(dict(job) for job in jobs)]

    def known(name: str) -> Any:
        return next((fields[name] for fields in told if fields.get(name) is not None), None)

    array, task = known("ArrayJobID"), known("ArrayTaskID")
    return {
        "Scheduler": jobs[0]["Scheduler"],
        "JobID": f"{array}_{task}" if array and task else known("JobID"),
        "JobIDRaw": known("JobIDRaw"),
        "ArrayJobID": array,
        "ArrayTaskID": task,
        "JobName": known("JobName"),
        "User": known("User"),
        "UID": known("UID"),
        "Account": known("Account"),
        "Partition": known("Partition"),
        "Cluster": known("Cluster"),
        "NodeList": known("NodeList"),
        "NNodes": known("NNodes"),
        "State": last["State"],
        "ExitCode": last["ExitCode"],
    }


def _epochs(runs: Sequence[Run]) -> JobEpochs | None:
    """Give the epochs from the record that has them: of the last run of the job, from its first rank, and the most."""
    having = [run for run in runs if run.record["epochs"]]
    if not having:
        return None

    def rank(run: Run) -> tuple[int, int, int]:
        task = job_of(run)["TaskID"]
        return _restarts(run), 0 if task is None else -task, len(run.record["epochs"])

    record = max(having, key=rank).record
    return {
        "run_id": record["run_id"],
        "NodeName": _node(record) or record["host"] or "",
        "epochs": record["epochs"],
    }


# --- what there is to say


def _missing(who: Who, pieces: Sequence[_Piece]) -> int:
    """Give of how many nodes of the job's last run there is no record, as far as SLURM says how many they are."""
    if who["Scheduler"] != "slurm" or who["NNodes"] is None:
        return 0
    last = max((piece.restarts for piece in pieces), default=0)
    return max(0, who["NNodes"] - len({piece.node for piece in pieces if piece.restarts == last}))


def _of_missing(missing: int, who: Who) -> Iterator[Warned]:
    if missing:
        sentence = (
            f"There is no record of {missing} of the job's {who['NNodes']} nodes; their energy is not in the sums."
        )
        yield {"code": "missing", "message": sentence}


def _of_nodes(names: Sequence[str], code: str, sentence: str) -> Iterator[Warned]:
    if names:
        yield {"code": code, "message": sentence.format(_list(names))}


def _of_left_out(sentences: Sequence[str]) -> Iterator[Warned]:
    for sentence in sentences:
        yield {"code": "left-out", "message": sentence}


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _without_energy(pieces: Sequence[_Piece]) -> list[str]:
    return sorted({piece.node for piece in pieces if piece.record["energy_joules"]["total"] is None})


def _twice(runs: Sequence[Run]) -> list[str]:
    """Name the nodes of which the site has two records of one run of the job: they count as any two do."""
    seen = [(_restarts(run), _node(run.record) or "") for run in runs if run.record["kind"] == "job"]
    return sorted({node for restarts, node in seen if seen.count((restarts, node)) > 1})


def _of_strangers(strangers: Sequence[Run]) -> Iterator[Warned]:
    if strangers:
        users = sorted({job_of(run)["User"] or "somebody" for run in strangers})
        sentence = f"An earlier job with the same id, of {_list(users)}, is left out."
        yield {"code": "same-id", "message": sentence}


def _of_records(pieces: Sequence[_Piece]) -> Iterator[Warned]:
    """Tell what the records warn of, each sentence once, with the nodes that it is about."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for piece in pieces:
        for warned in piece.record["warnings"]:
            there = nodes.setdefault((warned["code"], warned["message"]), [])
            if piece.node not in there:
                there.append(piece.node)
    for (code, message), there in nodes.items():
        yield {"code": code, "message": f"{_list(there)}: {message}"}
