"""The verb `report`: tell a run again from its log, complete or killed, or what if it had run elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from greenrun.cli import options, output, parse, runtree
from greenrun.cli.errors import UserError
from greenrun.reports import account, collection, formats, jsonfile, terminal
from greenrun.sampler import runlog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenrun.intensity.model import Place
    from greenrun.reports.record import Event


Result = TypeVar("Result")

_TOLD_BY = "the options of this report"


def main(argv: list[str]) -> int:
    """Print the summary of a run; 0 unless there is nothing to tell, or --settle got no answer. Raises UserError."""
    return 1 if parse.invoke(command, argv, "greenrun report") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.argument("run_dirs", metavar="RUN_DIR...", type=click.Path(), nargs=-1)
@click.option(
    "--format",
    "form",
    metavar="NAME",
    type=click.Choice(list(formats.FORMATS)),
    help=f"tell it in this format: {', '.join(formats.FORMATS)}",
)
@click.option("--output", "-o", "file", metavar="FILE", type=click.Path(), help="write it to FILE, not to stdout")
@click.option("--by", metavar="WHAT", help=f"sum the runs below LOG_DIR by this: {', '.join(collection.BYS)}")
@click.option(
    "--per-interval", metavar="SECONDS", type=click.FloatRange(min=1e-3), help="tell each stretch of so many seconds"
)
@click.option("--job", "job_id", metavar="JOBID", help="all of a SLURM job as one: 1234, or 1234_7 of an array")
@click.option("--spool", metavar="DIR", help="with --job: where the site keeps its records; default: as it has set")
@click.option("--pue", metavar="NUMBER", help="what if the building's power usage effectiveness were this")
@click.option("--country", metavar="COUNTRY", help="what if the machine stood in this country")
@click.option("--zone", metavar="ZONE", help="what if it stood in this grid zone, such as DK-DK1")
@click.option("--intensity", metavar="G_PER_KWH", help="what if a kWh stood for so many grams of CO2e")
@click.option("--basis", metavar="lifecycle|direct", help="what if emissions were counted on this basis")
@click.option("--scope", metavar="auto|node|job", help="what if the figures were the machine's, or the job's part")
@click.option("--settle", is_flag=True, help="ask the services for hours that were missing or estimated")
@click.option("--json", "as_json", is_flag=True, help="the same as --format json")
def command(
    run_dirs: tuple[str, ...],
    form: str | None,
    file: str | None,
    by: str | None,
    per_interval: float | None,
    job_id: str | None,
    spool: str | None,
    as_json: bool,
    settle: bool,
    **told: str | None,
) -> int:
    """Tell a run again from the log in RUN_DIR, complete or killed, or ask what if.

    Nothing is measured, and the energy stays what it was. Nothing is written into the run directory but with --settle:
    it asks the services for the hours of the run that they had not told or only estimated, adds the answers to the log
    and renews the summary. --zone and --country then say where the run took place. Some formats tell several runs.

    Where RUN_DIR is a directory of many runs, such as a log directory, their summaries are added up (--by). With --job
    it is all nodes, requeues and steps of a job, from the site's spool and from the directories in which runs are
    kept; those may be told in the place of RUN_DIR.
    """
    asked = {key: _checked(key, text) for key, text in told.items() if text is not None}
    name = _format(form, as_json)
    if job_id is not None:
        if settle:
            raise UserError("--settle does not go with --job: it is told with the directory of one run")
        if by is not None or per_interval is not None or file is not None or name not in ("terminal", "json"):
            raise UserError("--job tells one job, on stdout as text or with --json")
        from greenrun.cli import jobreport

        what_if = (lambda events: _what_if(asked, events)) if asked else lambda _: None
        jobreport.report(job_id, spool, run_dirs, what_if, name == "json")
        return 0
    if spool is not None:
        raise UserError("--spool goes with --job JOBID alone")
    if not run_dirs:
        raise UserError("RUN_DIR must be told, or --job JOBID (greenrun report --help tells more)")
    if by is not None or any(map(runtree.is_tree, run_dirs)):
        return _many(run_dirs, by, name, file, bool(asked) or settle or per_interval is not None)
    if settle:
        if len(run_dirs) != 1 or file is not None or name not in ("terminal", "json"):
            raise UserError("--settle is for one run, told on stdout as text or with --json")
        (run_dir,) = run_dirs
        return _checking(run_dir, lambda: _settle(run_dir, _events(run_dir), asked, name == "json"))
    runs = [_run(run_dir, asked) for run_dir in run_dirs]
    data = _checking(" ".join(run_dirs), lambda: _rendered(name, run_dirs, runs, per_interval))
    if name == "terminal" and file is None and isinstance(data, str):
        output.show_summary(data)
    else:
        output.deliver(data, file)
    return 0


def _format(form: str | None, as_json: bool) -> str:
    """Give the name of the format that was asked for; UserError where two were."""
    name = form or ("json" if as_json else "terminal")
    if as_json and name != "json":
        raise UserError(f"--json means --format json, and --format {name} was told too: tell one of them")
    return name


def _events(run_dir: str) -> list[Event]:
    try:
        return runlog.read(run_dir)
    except runlog.Unreadable as error:
        raise UserError(str(error).rstrip(".")) from None


def _run(run_dir: str, asked: dict[str, Any]) -> formats.Told:
    events = _events(run_dir)
    return _checking(run_dir, lambda: formats.Told(account.account(events, _what_if(asked, events)), events))


def _many(paths: Sequence[str], by: str | None, name: str, file: str | None, asked_more: bool) -> int:
    from greenrun.cli import collection as many

    if not all(map(runtree.is_tree, paths)):
        raise UserError("--by and directories of many runs want nothing but such directories, not a single run's")
    if asked_more:
        raise UserError("what if, --settle and --per-interval are for single runs, not for a directory of many")
    return many.main(paths, many.Options(by, name, file))


def _rendered(
    name: str, run_dirs: Sequence[str], runs: Sequence[formats.Told], per_interval: float | None
) -> str | bytes:
    if name == "terminal" and per_interval is None:
        texts = (terminal.render(run.record, run_dir) for run_dir, run in zip(run_dirs, runs, strict=True))
        return "\n".join(texts)
    try:
        if per_interval is not None:
            return formats.render_intervals(name, runs, per_interval)
        return formats.render_runs(name, runs)
    except formats.CannotTell as reason:
        raise UserError(str(reason)) from None


def _checking(run_dir: str, tell: Callable[[], Result]) -> Result:
    """Give what `tell` gives. JSON that is no run log of ours fails in as many ways as there are fields."""
    try:
        return tell()
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"the run log in {run_dir} is damaged: its events lack what a run log has ({reason})") from None


def _checked(key: str, text: str) -> options.Value:
    """Give the value of an option of the table; a mistake is told as it is for `run`."""
    try:
        return options.BY_KEY[key].check(text)
    except ValueError as error:
        raise UserError(f"--{key} {error}, not {text!r}") from None


def _settle(run_dir: str, events: list[Event], asked: dict[str, Any], as_json: bool) -> int:
    from greenrun.cli import config, settle
    from greenrun.cli.run import say

    for key in ("pue", "intensity", "basis", "scope"):
        if key in asked:
            raise UserError(f"--{key} asks what if, and --settle writes what was: tell one of them")
    place = _place(asked) if asked else None
    try:
        settled = settle.settle(run_dir, events, config.load({}, os.environ, ""), place)
    except settle.NotSettled as reason:
        say(f"greenrun: {reason}")
        return 1
    if as_json:
        output.show(jsonfile.render(settled.record))
    else:
        output.show_summary(terminal.render(settled.record, run_dir) + terminal.entry("settled", settled.words))
    return 0


def _what_if(asked: dict[str, Any], events: list[Event]) -> account.WhatIf:
    """Give what the account is to use instead of what the log says."""
    intensities = _intensities(asked, events) if asked.keys() - {"pue", "scope"} else None
    return account.WhatIf(asked.get("pue"), intensities, asked.get("scope"))


def _intensities(asked: dict[str, Any], events: list[Event]) -> list[Event]:
    from greenrun.cli import settle
    from greenrun.intensity import chain

    told = chain.Told(asked["intensity"], _TOLD_BY) if "intensity" in asked else None
    place = _place(asked) if asked.keys() - {"pue", "basis", "scope"} else settle.logged_place(events)
    spans, passed = chain.known(told, place, asked.get("basis") or settle.logged_basis(events))
    if spans:
        return [chain.event_fields(span, place, passed) for span in spans]
    return [{"grams_per_kwh": None, "how": place.how, "passed": [one._asdict() for one in passed]}]


def _place(asked: dict[str, Any]) -> Place:
    from greenrun.intensity import location

    country, zone = asked.get("country"), asked.get("zone")
    if country and zone and location.zone_country(zone) != country:
        raise UserError(f"--zone: the zone {zone} must lie in the country {country}")
    return location.find(country, zone, _TOLD_BY, {}, etc_localtime="", etc_timezone="")
