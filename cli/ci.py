"""What CI systems look for when a job's step is over: a summary and outputs for GitHub Actions, metrics for GitLab CI.

The sampler writes them, before it tells greenrun that all is done, for their readers look as soon as the step ends.
Nothing here fails or waits: what cannot be written is one warning.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from greenrun.cli import output
from greenrun.cli.errors import UserError
from greenrun.reports import jobmetrics, markdown, scopes, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from greenrun.cli.config import Config
    from greenrun.cli.identity import Run
    from greenrun.reports.record import Record

METRICS_NAME = "metrics.txt"
"""In the log directory, under GitLab CI: the name that it expects by default."""

_LARGEST_SUMMARY_BYTES = 1 << 20  # GitHub takes no larger one of a step, and then nothing of it
_LARGEST_METRICS_BYTES = 1 << 20


class _CannotWrite(Exception):  # noqa: N818  the name is the sentence's predicate
    """Why a file is left as it was."""


def tell(record: Record, run: Run, config: Config, environ: Mapping[str, str]) -> None:
    """Write what the surroundings of this run look for; the record gets a warning for what could not be written.

    A run inside another one leaves it to that, and a block to its own program.
    """
    if run.kind != "command":
        return
    told = [_write(os.path.join(run.cwd, path), write) for path, write in _wanted(record, run, config, environ)]
    failures = [failure for failure in told if failure]
    if failures:
        sentence = f"Not all that CI looks for could be written ({'; '.join(failures)})."
        record["warnings"].append({"code": "ci", "message": sentence})


def _write(path: str, write: Callable[[str], None]) -> str | None:
    """Write one file; give in words what went wrong, None if nothing did."""
    try:
        write(path)
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{path}: {os.strerror(error.errno or 0)}"
    except _CannotWrite as error:
        return f"{path}: {error}"
    except Exception as error:  # noqa: BLE001  the summary is worth more than what is made of it
        return f"{path}: {type(error).__name__}: {error}"
    return None


def _wanted(
    record: Record, run: Run, config: Config, environ: Mapping[str, str]
) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Give the files to write, and how."""
    is_told = config.ci and record["parent_run_id"] is None
    if is_told and environ.get("GITHUB_ACTIONS") == "true":
        summary, outputs = environ.get("GITHUB_STEP_SUMMARY"), environ.get("GITHUB_OUTPUT")
        if summary:
            text = markdown.render(record) + "\n"
            yield summary, lambda path: _append(path, text, _LARGEST_SUMMARY_BYTES)
        if outputs:
            yield outputs, lambda path: _append(path, output_lines(record, run.run_dir), None)
    metrics = config.metrics_file
    if metrics is None and is_told and environ.get("GITLAB_CI") == "true":
        metrics = os.path.join(os.path.dirname(run.run_dir), METRICS_NAME)
    if metrics:
        yield metrics, lambda path: _merge(path, record)


def output_lines(record: Record, run_dir: str) -> str:
    """Give the outputs of a step: a figure that is unknown is empty, and a text cannot end its entry."""
    budget = record["budget"]
    figures = {
        "energy_joules": scopes.energy_of(record)["total"],
        "energy_kwh": record["energy_kwh"],
        "facility_energy_kwh": record["facility_energy_kwh"],
        "uncertainty_percent": record["uncertainty_percent"],
        "estimated": tables.is_estimated(record),
        "co2e_grams": record["co2e_grams"],
        "co2e_low_grams": record["co2e_low_grams"],
        "co2e_high_grams": record["co2e_high_grams"],
        "duration_seconds": record["duration_seconds"],
        "budget_exceeded": None if budget is None else budget["exceeded"],
    }
    texts = {"status": record["status"], "run_id": record["run_id"], "run_dir": run_dir}
    lines = [f"{name}={_plain(value)}\n" for name, value in figures.items()]
    end = f"end-{os.urandom(16).hex()}"  # which no text can hold, for nobody knows it
    lines += [f"{name}<<{end}\n{text}\n{end}\n" for name, text in texts.items()]
    return "".join(lines)


def _plain(value: float | bool | None) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _append(path: str, text: str, largest_bytes: int | None) -> None:
    """Add text behind what is there, all of it or none. Raises OSError or _CannotWrite."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    file = os.open(path, flags, 0o644)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _CannotWrite("it is no plain file")
        size = status.st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        data = b"\n" * torn + text.encode("utf-8", "replace")
        if largest_bytes is not None and size + len(data) > largest_bytes:
            raise _CannotWrite("it would be larger than the 1 MiB that is taken of a step")
        try:
            if os.write(file, data) < len(data):
                raise _CannotWrite("the disk is full")
        except (OSError, _CannotWrite):
            with contextlib.suppress(OSError):
                if os.fstat(file).st_size < size + len(data):  # nobody else has written behind it
                    os.ftruncate(file, size)
            raise
    finally:
        os.close(file)


def _merge(path: str, record: Record) -> None:
    """Put a run's metrics into a file of such. Raises OSError, UserError or _CannotWrite."""
    before = ""
    with contextlib.suppress(FileNotFoundError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise _CannotWrite("it is no plain file")
            before = os.read(file, _LARGEST_METRICS_BYTES + 1).decode("utf-8", "replace")
        finally:
            os.close(file)
    if len(before) > _LARGEST_METRICS_BYTES:
        raise _CannotWrite("it is too large to be greenrun's metrics")
    try:
        text = jobmetrics.merged(before, record)
    except jobmetrics.NotOurs:
        raise _CannotWrite("it holds something else than greenrun's metrics, and is left as it is") from None
    output.save(text, path)
