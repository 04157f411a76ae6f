"""The verb `predict`: what a job will cost, before it runs.

It is told from one of three things, a module each: a run that greenrun has measured, a log of carbontracker's, or hours
on hardware of which the design power is known. Each gives a `Source`; what its energy causes is the same for all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from greenrun.cli import config, options, output, parse
from greenrun.cli.errors import UserError
from greenrun.reports import ahead, aheadtext

if TYPE_CHECKING:
    from greenrun.cli.config import Config
    from greenrun.cli.predict.source import Source

_MOST_EPOCHS = 1_000_000
_NAMES = ("--gpu", "--cpu")  # what names hardware may be of several words


def main(argv: list[str]) -> int:
    """Print what a job will cost; 0. Raises UserError."""
    parse.invoke(command, _joined(argv), "greenrun predict")
    return 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.option("--like", metavar="RUN_DIR", help="as the run whose log is there, measured by greenrun")
@click.option("--from-log", metavar="FILE", help="as the run of a carbontracker log (..._carbontracker.log)")
@click.option("--hours", metavar="HOURS", help="so many hours on --gpu or --cpu, for a job that has never run")
@click.option("--epochs", metavar="N", help="with --like, --from-log: epochs of the new job; default: as many")
@click.option("--gpu", multiple=True, metavar="NAME [xN]", help="with --hours: accelerators, such as A100 x4")
@click.option("--cpu", multiple=True, metavar="NAME [xN]", help="with --hours: CPU packages, such as EPYC 7763 x2")
@click.option("--pue", metavar="NUMBER", help=options.BY_KEY["pue"].help)
@click.option("--country", metavar="COUNTRY", help="where it will run: DK, DNK or Denmark")
@click.option("--zone", metavar="ZONE", help=options.BY_KEY["zone"].help)
@click.option("--intensity", metavar="G_PER_KWH", help=options.BY_KEY["intensity"].help)
@click.option("--basis", metavar="lifecycle|direct", help=options.BY_KEY["basis"].help)
@click.option("--offline", is_flag=True, flag_value=True, default=None, help=options.BY_KEY["offline"].help)
@click.option("--json", "as_json", is_flag=True, help="print the answer as one JSON document")
def command(
    like: str | None,
    from_log: str | None,
    hours: str | None,
    epochs: str | None,
    gpu: tuple[str, ...],
    cpu: tuple[str, ...],
    as_json: bool,
    **told: str | bool | None,
) -> None:
    """Tell what a job will cost before it runs: time, energy and CO2e, each with a 90 % range and what it assumes.

    It takes one of --like, --from-log and --hours.
    """
    modes = {"--like": like, "--from-log": from_log, "--hours": hours}
    chosen = [name for name, value in modes.items() if value is not None]
    if len(chosen) != 1:
        what = f"{' and '.join(chosen)} were told" if chosen else "none was told"
        raise UserError(f"predict needs one of --like RUN_DIR, --from-log FILE and --hours HOURS; {what}")
    _only(chosen[0], {"--epochs": epochs, "--gpu": gpu, "--cpu": cpu})
    flags = {key: value for key, value in told.items() if value is not None}
    settings = config.load(flags, os.environ, cwd="")
    for warning in settings.warnings:
        from greenrun.cli.run import say

        say(f"greenrun: {warning}")
    source: Source
    if like is not None:
        from greenrun.cli.predict.like import like as as_run

        source = as_run(like, _epochs(epochs), flags, settings)
    elif from_log is not None:
        from greenrun.cli.predict.fromlog import from_log as as_log

        source = as_log(from_log, _epochs(epochs), settings)
    else:
        from greenrun.cli.predict.hardware import from_hardware

        source = from_hardware(hours or "", gpu, cpu, settings)
    answer = _charged(source, settings)
    output.show(aheadtext.document(answer) if as_json else aheadtext.render(answer))


def _joined(argv: list[str]) -> list[str]:
    """Make one word of the words behind --gpu and --cpu: `--gpu A100 x4`."""
    words: list[str] = []
    naming = False
    for word in argv:
        flag = word.startswith("-") and word != "-"
        if naming and not flag and words[-1] not in _NAMES:
            words[-1] += f" {word}"
        else:
            words.append(word)
        if flag:
            naming = word.partition("=")[0] in _NAMES
    return words


def _only(mode: str, others: dict[str, Any]) -> None:
    """Refuse what says nothing in this mode."""
    allowed = {"--gpu", "--cpu"} if mode == "--hours" else {"--epochs"}
    for name, value in others.items():
        if value and name not in allowed:
            raise UserError(f"{name} does not go with {mode}")


def _epochs(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= _MOST_EPOCHS):
        raise UserError(f"--epochs must be a whole number from 1 to {_MOST_EPOCHS}, not {text!r}")
    return int(text)


def _charged(source: Source, settings: Config) -> ahead.Ahead:
    """Add what the job's energy causes."""
    from greenrun.cli import upcoming

    grid = upcoming.grid(settings, source.place, source.basis, source.told, source.costs.duration_seconds.value)
    return ahead.Ahead(
        source.told_from,
        source.headline,
        source.epochs,
        source.costs,
        ahead.co2e(source.costs.energy_joules, source.pue, grid.intensity),
        source.pue,
        source.pue_source,
        grid,
        source.assumed,
    )
