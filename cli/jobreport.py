"""`greenrun report --job`: every record of a scheduler's job, of all its nodes and steps, told as one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from greenrun.cli import config, jobrecords, output
from greenrun.cli.errors import UserError
from greenrun.cli.run import say
from greenrun.cli.slurm.spool import RUNS
from greenrun.reports import jobtext, jsonfile, terminal
from greenrun.reports.merged import Run, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenrun.cli.jobrecords import Looked, Stored
    from greenrun.reports.account import WhatIf
    from greenrun.reports.jobrecord import JobRecord
    from greenrun.reports.record import Event


class _Places(NamedTuple):
    spool: str
    log_dirs: tuple[str, ...]


def report(
    job_id: str,
    spool: str | None,
    log_dirs: tuple[str, ...],
    what_if: Callable[[list[Event]], WhatIf | None],
    as_json: bool,
) -> None:
    """Print the record of a job, or of all jobs of an array. Raises UserError where there is nothing to tell."""
    if not jobrecords.is_job_id(job_id):
        raise UserError(f"--job must be the id of a job, such as 1234, or of an array's task, 1234_7, not {job_id!r}")
    settings = config.load({}, os.environ, "")
    for warning in settings.warnings:
        say(f"greenrun: {warning}")
    for told in log_dirs:
        if not os.path.isdir(told):
            raise UserError(f"{told} is no directory; behind --job stand directories in which runs are kept")
    places = _Places(spool or settings.spool, log_dirs or (settings.log_dir,))
    own, by_site = _of_user(places, job_id), _of_site(places, job_id)
    by_id = _by_id([*by_site.stored, *own.stored])
    if not by_id:
        raise UserError(_nothing(job_id, places, by_site, own))
    for trouble in own.troubles:
        say(f"greenrun: {trouble.sentence}")
    if any(trouble.forbidden for trouble in by_site.troubles):
        say(f"greenrun: {places.spool} has the site's record of this job too, which root alone may read.")
    records = [_merged(places, raw_id, stored, by_site, what_if) for raw_id, stored in by_id.items()]
    output.show(_text(job_id, records, places, by_id, as_json))


def _of_user(places: _Places, job_id: str) -> Looked:
    looked = [jobrecords.in_folder(folder) for folder in places.log_dirs]
    return jobrecords.Looked(
        [one for found in looked for one in found.stored if jobrecords.is_of(one.job, job_id)],
        [trouble for found in looked for trouble in found.troubles],
    )


def _of_site(places: _Places, job_id: str) -> Looked:
    """Look into the spool, under every id that the job, or a task of the array, is known to have there."""
    try:
        raw_ids = jobrecords.raw_ids(places.spool, job_id)
    except OSError as error:
        path = os.path.join(places.spool, RUNS)
        sentence = f"{path} cannot be read: {os.strerror(error.errno or 0)}."
        return jobrecords.Looked([], [jobrecords.Trouble(path, sentence, isinstance(error, PermissionError))])
    looked = [jobrecords.in_folder(os.path.join(places.spool, RUNS, raw_id)) for raw_id in raw_ids]
    return jobrecords.Looked(
        [one for found in looked for one in found.stored if one.job["JobIDRaw"] in raw_ids],
        [trouble for found in looked for trouble in found.troubles],
    )


def _by_id(found: Sequence[Stored]) -> dict[str, list[Stored]]:
    by_id: dict[str, list[Stored]] = {}
    for one in found:
        by_id.setdefault(one.job["JobIDRaw"] or "", []).append(one)
    return dict(sorted(by_id.items(), key=lambda item: item[0].zfill(20)))


def _merged(
    places: _Places,
    raw_id: str,
    found: Sequence[Stored],
    by_site: Looked,
    what_if: Callable[[list[Event]], WhatIf | None],
) -> JobRecord:
    folder = os.path.join(places.spool, RUNS, raw_id, "")
    left_out = [
        trouble.sentence for trouble in by_site.troubles if trouble.path.startswith(folder) and not trouble.forbidden
    ]
    read = [jobrecords.loaded(one.run_dir, lambda run_dir: jobrecords.load(run_dir, what_if)) for one in found]
    runs = [one for one in read if isinstance(one, Run)]
    left_out += [one.sentence for one in read if isinstance(one, jobrecords.Trouble)]
    if not runs:
        raise UserError(f"no record of job {raw_id} can be read: {left_out[0].rstrip('.')}")
    rows = jobrecords.accounted(places.spool, raw_id)
    return merge(runs, rows, jobrecords.running(places.spool, raw_id), left_out)


def _nothing(job_id: str, places: _Places, by_site: Looked, own: Looked) -> str:
    """Say where was looked, and what was not for us to read."""
    where = " or ".join(places.log_dirs)
    if any(trouble.forbidden for trouble in by_site.troubles):
        return (
            f"the site's record of job {job_id} in {places.spool} is for root alone to read, and there is none of your "
            f"own in {where}; another directory is told behind --job {job_id}"
        )
    unread = [trouble.sentence.rstrip(".") for trouble in (*by_site.troubles, *own.troubles)]
    also = f" ({'; '.join(unread[:3])})" if unread else ""
    return (
        f"there is no record of job {job_id} in {places.spool} or {where}{also}; --spool DIR tells another spool, and "
        "directories behind it tell where your own runs are kept"
    )


def _text(
    job_id: str, records: Sequence[JobRecord], places: _Places, by_id: dict[str, list[Stored]], as_json: bool
) -> str:
    array_id = next((record["job"]["ArrayJobID"] for record in records if record["job"]["ArrayJobID"]), job_id)
    if as_json and len(records) == 1:
        return jsonfile.document(records[0])
    if as_json:
        return jsonfile.document({"schema": 1, "kind": "array", "ArrayJobID": array_id, "jobs": records})
    if len(records) > 1:
        return jobtext.render_array(array_id, records)
    count = sum(map(len, by_id.values()))
    site = sum(one.run_dir.startswith(os.path.join(places.spool, "")) for found in by_id.values() for one in found)
    told = [f"{site} in {places.spool}"] if site else []
    told += [f"{count - site} in {', '.join(places.log_dirs)}"] if count > site else []
    return jobtext.render(records[0]) + "".join(terminal.path_entry("records", text) for text in told)
