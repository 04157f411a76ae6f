"""The sums over many runs: by user, project, command, host, GPU model, SLURM job or month. Pure.

Nothing is added twice. Left out are a copy of a run that was seen already, a run inside another one on the same host
(its energy is in that one's), and a run inside a scheduler's job on a node where the job itself was measured. Because
a parent may be found after its child, such runs wait until all are known; of the others nothing is kept but the sums,
their ids and when they ran. Runs that overlap on a host without being inside each other are added and counted:
each has the whole machine's energy, so that the sum has it twice.

Measured, estimated and partial energies stay apart: a partial record is a lower bound, and an estimate no measurement.
"""

from __future__ import annotations

import math
import os
import re
import sys
from array import array
from contextlib import contextmanager
from datetime import timedelta, timezone
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from greenrun.reports import scopes, tables
from greenrun.reports.life import is_number, parse_utc
from greenrun.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greenrun.reports.record import Record

By = Literal["user", "project", "command", "host", "gpu", "job", "month"]
BYS: tuple[By, ...] = ("user", "project", "command", "host", "gpu", "job", "month")
"""What runs may be summed by."""

Quality = Literal["measured", "estimated", "partial"]
QUALITIES: tuple[Quality, ...] = ("measured", "estimated", "partial")

MOST_TOP = 10
"""So many of the runs that used most are told."""

SCHEMA = 1
_UNKNOWN = "(unknown)"
_LARGEST_AMOUNT = 1e18  # as in a run log: beyond any energy or time of a computer, and a million of them make a sum
_INTERPRETERS = re.compile(
    r"(?:python|pypy)[\d.]*|(?:ba|da|z|k)?sh|Rscript|julia|node|perl|ruby|torchrun|accelerate|srun|mpirun|mpiexec|env|nice|time|java"
)


class Damaged(Exception):  # noqa: N818  the name is the sentence's predicate
    """A document that is no record of a run: what is wrong with it."""


class _Node(NamedTuple):
    """A scheduler's job on one host."""

    cluster: str
    job: str
    host: str


class Run(NamedTuple):
    """What counts of one record. Moments are seconds of UTC since 1970; unknown amounts are None.

    `is_job`: the record is that of a scheduler's job, made by its prolog, not of a command in it. `is_part`: its energy
    is the job's part of its machine, not all that the machine used.
    """

    run_id: str
    parent_run_id: str | None
    path: str
    label: str
    host: str
    is_job: bool
    is_part: bool
    node: _Node | None
    begin: float
    end: float
    quality: Quality
    seconds: float | None
    joules: float | None
    half_width_joules: float
    grams: float | None
    low_grams: float
    high_grams: float
    groups: tuple[str, ...]


class Sums:
    """Amounts added up; of how many runs one is not known is counted beside it."""

    __slots__ = (
        "grams",
        "half_width_joules",
        "high_grams",
        "joules",
        "joules_of",
        "low_grams",
        "runs",
        "runs_of",
        "seconds",
        "without_energy",
        "without_grams",
    )

    def __init__(self) -> None:
        self.runs = self.without_energy = self.without_grams = 0
        self.seconds = self.joules = self.half_width_joules = 0.0
        self.grams = self.low_grams = self.high_grams = 0.0
        self.runs_of = dict.fromkeys(QUALITIES, 0)
        self.joules_of = dict.fromkeys(QUALITIES, 0.0)

    def add(self, run: Run) -> None:
        """Add a run. The half-widths add too: what is wrong with a meter or a grid's factors is so in all runs."""
        self.runs += 1
        self.runs_of[run.quality] += 1
        self.seconds += run.seconds or 0.0
        if run.joules is None:
            self.without_energy += 1
        else:
            self.joules += run.joules
            self.joules_of[run.quality] += run.joules
            self.half_width_joules += run.half_width_joules
        if run.grams is None:
            self.without_grams += 1
        else:
            self.grams += run.grams
            self.low_grams += run.low_grams
            self.high_grams += run.high_grams

    @property
    def known_joules(self) -> float | None:
        """The energy of all runs of which it is known, None if there is none."""
        return None if self.without_energy == self.runs else self.joules

    @property
    def known_grams(self) -> float | None:
        """The emissions of all runs of which they are known, None if there is none."""
        return None if self.without_grams == self.runs else self.grams


class LeftOut(NamedTuple):
    """How many records are in no sum: runs inside others, runs inside measured jobs, and copies."""

    nested: int
    in_jobs: int
    copies: int


class Summed(NamedTuple):
    """All there is to tell: the sums, in all and by group, the largest runs, and what is not in them.

    `overlapping` runs of whole machines shared their host with another one for a time; the energy of `parts` runs is
    the job's part of its machine, in which no other run's is. `begin` and `end` are None without any run.
    """

    total: Sums
    groups: dict[By, dict[str, Sums]]
    top: list[Run]
    left_out: LeftOut
    overlapping: int
    parts: int
    begin: float | None
    end: float | None


class Collection:
    """Takes runs in any order; `summed` may be asked once, at the end."""

    def __init__(self, bys: Sequence[By]) -> None:
        self._bys = tuple(bys)
        self._at = tuple(BYS.index(by) for by in bys)
        self._total = Sums()
        self._groups: dict[By, dict[str, Sums]] = {by: {} for by in bys}
        self._top: list[tuple[float, int, Run]] = []
        # By run id: the host of a run whose energy is known, else ""; and the parent of a run that waits.
        self._hosts: dict[str, str] = {}
        self._parents: dict[str, str] = {}
        self._waiting: list[Run] = []
        self._jobs: dict[_Node, list[tuple[float, float]]] = {}
        self._lives: dict[str, tuple[array[float], array[float]]] = {}
        self._lives_of_nodes: dict[str, tuple[array[float], array[float]]] = {}  # of runs that have all of a machine
        self._nested = self._in_jobs = self._copies = self._parts = 0

    def add(self, run: Run) -> bool:
        """Take a run; False if it is a copy of one that was taken."""
        if run.run_id in self._hosts:
            self._copies += 1
            return False
        self._hosts[run.run_id] = "" if run.joules is None else run.host
        if run.parent_run_id is not None:
            self._parents[run.run_id] = run.parent_run_id
        if run.is_job and run.node and run.joules is not None:
            self._jobs.setdefault(run.node, []).append((run.begin, run.end))
        if run.parent_run_id is not None or (run.node and not run.is_job):
            self._waiting.append(run)
        else:
            self._count(run)
        return True

    def summed(self) -> Summed:
        """Give the sums of all runs."""
        for run in self._waiting:
            if self._is_nested(run):
                self._nested += 1
            elif self._is_in_job(run):
                self._in_jobs += 1
            else:
                self._count(run)
        self._waiting.clear()
        begins = [begins[0] for begins, _ in map(_sorted, self._lives.values())]
        ends = [max(ends) for _, ends in self._lives.values()]
        return Summed(
            self._total,
            self._groups,
            [run for _, _, run in sorted(self._top, key=lambda entry: entry[:2], reverse=True)],
            LeftOut(self._nested, self._in_jobs, self._copies),
            sum(map(_overlapping, self._lives_of_nodes.values())),
            self._parts,
            min(begins, default=None),
            max(ends, default=None),
        )

    def _count(self, run: Run) -> None:
        self._total.add(run)
        for by, at in zip(self._bys, self._at, strict=True):
            groups = self._groups[by]
            sums = groups.get(run.groups[at])
            if sums is None:
                sums = groups[run.groups[at]] = Sums()
            sums.add(run)
        if run.joules is not None:
            entry = (run.joules, -self._total.runs, run)
            (heappush if len(self._top) < MOST_TOP else heappushpop)(self._top, entry)
        self._parts += run.is_part
        for lives in (self._lives,) if run.is_part else (self._lives, self._lives_of_nodes):
            begins, ends = lives.setdefault(run.host, (array("d"), array("d")))
            begins.append(run.begin)
            ends.append(run.end)

    def _is_nested(self, run: Run) -> bool:
        """Tell whether a run is inside another one of this host whose energy is known, however many lie between."""
        seen, parent = {run.run_id}, run.parent_run_id
        while parent is not None and parent not in seen:
            if self._hosts.get(parent) == run.host != "":
                return True
            seen.add(parent)
            parent = self._parents.get(parent)
        return False

    def _is_in_job(self, run: Run) -> bool:
        """Tell whether the job was measured on this node when the run began: a requeued job is so more than once."""
        lives = self._jobs.get(run.node, ()) if run.node and not run.is_job else ()
        return any(begin <= run.begin <= end for begin, end in lives)


def _sorted(lives: tuple[array[float], array[float]]) -> tuple[list[float], list[float]]:
    order = sorted(zip(*lives, strict=True))
    return [begin for begin, _ in order], [end for _, end in order]


def _overlapping(lives: tuple[array[float], array[float]]) -> int:
    """Count the runs that shared the host with another one for a time."""
    begins, ends = _sorted(lives)
    shared = bytearray(len(begins))
    last, until = -1, -math.inf  # of the runs before, the one that ends last
    for at, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if begin < until:
            shared[at] = shared[last] = 1
        if end > until:
            last, until = at, end
    return sum(shared)


@contextmanager
def checking() -> Iterator[None]:
    """Turn what goes wrong with a record of the wrong form into Damaged: there are as many ways as fields."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise Damaged(f"a field of it is not what it should be ({type(error).__name__}: {error})") from None


def run_of(document: Any, path: str) -> Run:
    """Give what counts of a record as JSON told it. Raises Damaged."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise Damaged("it is no record of schema 1")
    with checking():
        return _run(cast("Record", document), path)


def _run(record: Record, path: str) -> Run:
    begin = parse_utc(record["started_at"]).astimezone(timezone.utc)
    seconds, joules = _amount(record["duration_seconds"]), _amount(scopes.energy_of(record)["total"])
    percent, grams = _amount(record["uncertainty_percent"]), _amount(record["co2e_grams"])
    low, high = _amount(record["co2e_low_grams"]), _amount(record["co2e_high_grams"])
    host = sys.intern(_text(record["host"]))
    suspended = _amount(record["suspended_seconds"]) or 0.0
    end = begin + timedelta(seconds=(seconds or 0.0) + suspended)
    return Run(
        run_id=_told(record["run_id"]),
        parent_run_id=None if record["parent_run_id"] is None else _told(record["parent_run_id"]),
        path=path,
        label=sys.intern(_label(record)),
        host=host,
        is_job=record["kind"] == "job",
        is_part=scopes.is_of_job(record),
        node=_node(record, host),
        begin=begin.timestamp(),
        end=end.timestamp(),
        quality=_quality(record),
        seconds=seconds,
        joules=joules,
        half_width_joules=(joules or 0.0) * (percent or 0.0) / 100.0,
        grams=grams,
        low_grams=(grams if low is None else low) or 0.0,
        high_grams=(grams if high is None else high) or 0.0,
        # Interned: many runs wait at once, and have few different users, hosts and programs.
        groups=tuple(
            map(
                sys.intern,
                (
                    _text(record["user"]),
                    _text(record["tags"].get("project") or record["name"]),
                    _program(record["command"], record["kind"]),
                    host,
                    " + ".join(sorted(tables.gpu_models(record))) or "(no GPU)",
                    tables.job_id(record) or "(no job)",
                    f"{begin.year:04d}-{begin.month:02d}",
                ),
            )
        ),
    )


def _amount(value: object) -> float | None:
    if value is None:
        return None
    if not is_number(value) or not 0.0 <= cast("float", value) <= _LARGEST_AMOUNT:
        raise ValueError(f"{value!r} is no amount")
    return float(cast("float", value))


def _told(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _text(value: str | None) -> str:
    return _UNKNOWN if value is None or _told(value) == "" else value


def _quality(record: Record) -> Quality:
    if record["status"] != "complete":
        return "partial"
    return "estimated" if tables.is_estimated(record) else "measured"


def _node(record: Record, host: str) -> _Node | None:
    """Give the job and its node, None outside of jobs; of the job's numbers the one that an array's tasks differ in."""
    job: dict[str, Any] = dict(record["job"] or {})
    number = job.get("JobIDRaw") or tables.job_id(record)
    cluster = job.get("Cluster") or job.get("SLURM_CLUSTER_NAME") or ""
    return _Node(sys.intern(str(cluster)), sys.intern(str(number)), host) if number else None


def _label(record: Record) -> str:
    return record["name"] or _program(record["command"], record["kind"])


def _program(command: list[str] | None, kind: str) -> str:
    """Name what ran: the program without its arguments, and after an interpreter the script or module."""
    if not command:
        return f"({kind})"
    words = [_told(word) for word in command]
    name = os.path.basename(words[0])
    if not _INTERPRETERS.fullmatch(name):
        return name
    for at, word in enumerate(words[1:], 1):
        if word == "-m" and at + 1 < len(words):
            return f"{name} -m {words[at + 1]}"
        if word == "-c":
            return f"{name} -c"
        if not word.startswith("-"):
            return f"{name} {os.path.basename(word)}"
    return name


def largest_first(groups: dict[str, Sums]) -> list[tuple[str, Sums]]:
    """Give groups by their energy, the largest first; those of unknown energy last."""
    return sorted(groups.items(), key=lambda entry: (-(-1.0 if (j := entry[1].known_joules) is None else j), entry[0]))


def table(by: By, groups: dict[str, Sums]) -> Table:
    """Give a row for each group, the largest first."""
    columns = [Column(by, "text"), *(Column(name, kind) for name, kind in _COLUMNS)]
    return Table(tuple(columns), ((name, *cells(sums)) for name, sums in largest_first(groups)))


def cells(sums: Sums) -> Iterable[Cell]:
    """Give the amounts in the order of the table's columns."""
    joules, grams = sums.known_joules, sums.known_grams
    yield sums.runs
    yield sums.seconds
    yield joules
    yield None if joules is None else sums.half_width_joules
    for quality in QUALITIES:
        yield sums.runs_of[quality]
    for quality in QUALITIES:
        yield sums.joules_of[quality]
    yield grams
    yield None if grams is None else sums.low_grams
    yield None if grams is None else sums.high_grams
    yield sums.without_energy
    yield sums.without_grams


_COLUMNS: tuple[tuple[str, tables.Type], ...] = (
    ("runs", "whole"),
    ("duration_seconds", "number"),
    ("energy_joules", "number"),
    ("energy_half_width_joules", "number"),
    ("measured_runs", "whole"),
    ("estimated_runs", "whole"),
    ("partial_runs", "whole"),
    ("measured_joules", "number"),
    ("estimated_joules", "number"),
    ("partial_joules", "number"),
    ("co2e_grams", "number"),
    ("co2e_low_grams", "number"),
    ("co2e_high_grams", "number"),
    ("runs_without_energy", "whole"),
    ("runs_without_co2e", "whole"),
)


def amounts(sums: Sums) -> dict[str, Cell]:
    """Give the amounts by the columns' names."""
    return dict(zip((name for name, _ in _COLUMNS), cells(sums), strict=True))
