"""`greenrun report LOG_DIR`: a tree of runs, summed, or as the rows of a table."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from greenrun.cli import output, runtree
from greenrun.cli.errors import UserError
from greenrun.reports import collection, collectiontext, formats, openmetrics, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from greenrun.reports.record import Record

_ROWS = ("csv", "jsonl", "parquet")  # a row for each group with --by, else for each run
_RUNS = (*_ROWS, "codecarbon")  # a row for each run
_WHOLE = ("jsonl", "codecarbon")  # which have more of a record than the table has
_OVERVIEW: tuple[collection.By, ...] = ("user", "project", "command", "host", "gpu", "month")
_SHOWN_BY = 50
_BAR_FROM = 500  # fewer are read before anybody has seen a bar


class Options(NamedTuple):
    """What was asked for: sums by what, in which format, and into which file, None for stdout."""

    by: str | None = None
    form: str = "terminal"
    file: str | None = None


def main(log_dirs: Sequence[str], options: Options) -> int:
    """Tell the runs below some log directories; 1 if there was none to tell. Raises UserError."""
    by = _by(options.by)
    if by is None and options.form in _RUNS:
        return _rows(log_dirs, options)
    if options.form not in ("terminal", "json", "openmetrics", *_ROWS) or (
        by is None and options.form == "openmetrics"
    ):
        raise UserError(_cannot(options.form))
    told = collection.Collection(_OVERVIEW if by is None else (by,))
    skipped = _Skipped()
    for found in _runs(log_dirs):
        with skipped.noting(found.path):
            told.add(collection.run_of(_readable(found), found.path))
    summed = told.summed()
    output.deliver(_text(summed, skipped.told(), ", ".join(log_dirs), by, options.form), options.file)
    return 0 if summed.total.runs else 1


def _by(told: str | None) -> collection.By | None:
    if told is not None and told not in collection.BYS:
        raise UserError(f"--by must be one of {', '.join(collection.BYS)}, not {told!r}")
    return told


def _cannot(form: str) -> str:
    if form == "openmetrics":
        return "--format openmetrics of a directory of runs needs --by: one sample for each run would be too many"
    known = ", ".join(("terminal", "json", "openmetrics", *_RUNS))
    return f"--format {form} tells one run, and this is a directory of many: tell one of {known}, or a run directory"


def _text(
    summed: collection.Summed, skipped: collectiontext.Skipped, log_dir: str, by: collection.By | None, form: str
) -> str | bytes:
    if form == "json":
        return collectiontext.render_json(summed, skipped)
    if form == "terminal" or by is None:
        return collectiontext.render(summed, skipped, log_dir, None if by is None else _SHOWN_BY)
    table = collection.table(by, summed.groups[by])
    if form == "openmetrics":
        return "".join(openmetrics.of_groups(by, table))
    with _telling():
        pieces = list(import_module(formats.FORMATS[form].module).pieces(table))
        return b"".join(pieces) if form == "parquet" else "".join(pieces)


def _rows(log_dirs: Sequence[str], options: Options) -> int:
    """Write a row for each run, holding few of them at a time; what could not be read is told on stderr."""
    module = import_module(formats.FORMATS[options.form].module)
    skipped, seen = _Skipped(), set[str]()

    def records() -> Iterator[Record]:
        for found in _runs(log_dirs):
            with skipped.noting(found.path):
                document = _readable(found)
                run_id = collection.run_of(document, found.path).run_id
                with collection.checking():  # here: an error that comes up in the middle of the table ends it
                    tables.row(document)
                    _ = options.form in _WHOLE and list(module.of_records([document]))
                if run_id not in seen:
                    seen.add(run_id)
                    yield document

    with _telling(), tempfile.TemporaryFile() as spooled:
        for piece in module.of_records(records()):
            spooled.write(piece.encode("utf-8", "replace") if isinstance(piece, str) else piece)
        spooled.flush()
        _deliver(spooled.fileno(), options)
    told = skipped.told()
    if told.number:
        from greenrun.cli.run import say

        path, reason = told.first[0]
        more = f", and {told.number - 1:,} more" if told.number > 1 else ""
        say(f"greenrun: not in the table, for it could not be read: {path}: {reason}{more}")
    return 0 if seen else 1


def _deliver(spooled: int, options: Options) -> None:
    """Hand on what was spooled without holding it in memory."""
    with mmap.mmap(spooled, 0, access=mmap.ACCESS_READ) as data:
        if options.form == "parquet" or options.file is not None or not sys.stdout or not sys.stdout.isatty():
            with memoryview(data) as view:
                output.deliver(cast("bytes", view), options.file)  # which it only writes
        else:
            output.deliver(data[:].decode(), None)


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except formats.CannotTell as reason:
        raise UserError(str(reason)) from None


class _Skipped:
    """Counts the runs that cannot be read, and keeps the reasons of the first ones."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def noting(self, path: str) -> Iterator[None]:
        """Note a run that turns out to be damaged."""
        try:
            yield
        except collection.Damaged as reason:
            self._count += 1
            if len(self._first) < collectiontext.MOST_DAMAGED:
                self._first.append((path, str(reason)))

    def told(self) -> collectiontext.Skipped:
        """Give what was noted."""
        return collectiontext.Skipped(self._count, self._first)


def _readable(found: runtree.Found) -> Any:
    if found.reason is not None:
        raise collection.Damaged(found.reason)
    return found.document


def _runs(log_dirs: Sequence[str]) -> Iterator[runtree.Found]:
    for log_dir in log_dirs:
        yield from _below(log_dir)


def _below(log_dir: str) -> Iterator[runtree.Found]:
    try:
        with _bar() as passed:
            yield from runtree.walk(log_dir, passed)
    except OSError as error:
        raise UserError(f"{log_dir} cannot be read: {os.strerror(error.errno or 0)}") from None


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Draw a bar on stderr where that is a terminal and there is much to read."""
    drawn: list[Any] = []
    shown = 0

    def passed(done: int, of: int) -> None:
        nonlocal shown
        if of < _BAR_FROM or sys.stderr is None or not output.is_drawn_on(2):
            return
        if not drawn:
            import click

            drawn.append(click.progressbar(length=of, label="reading runs", file=sys.stderr))
            drawn[0].update_min_steps = max(1, of // 200)
        drawn[0].update(done - shown)
        shown = done

    try:
        yield passed
    finally:
        if drawn:
            drawn[0].render_finish()
