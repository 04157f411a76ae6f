"""The verb `compare`: what has changed from some runs to others, or which of several is worth its energy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from greenrun.cli import options, output, parse, runtree
from greenrun.cli.errors import UserError
from greenrun.reports import comparison, comparisontext

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.comparison import Quantity, Run

_PERCENT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?%", re.ASCII)


def main(argv: list[str]) -> int:
    """Print a comparison; 1 if a change is above the limit and not explained by noise. Raises UserError."""
    return 1 if parse.invoke(command, argv, "greenrun compare") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.argument("told", metavar="RUN...", type=click.Path(), nargs=-1, required=True)
@click.option("--fail-above", metavar="PERCENT", help="exit with 1 when NEW uses so much more than BASE: 10%")
@click.option(
    "--quantity",
    metavar="WHAT",
    type=click.Choice(comparison.QUANTITIES),
    help=f"what --fail-above judges: {', '.join(comparison.QUANTITIES)}; default: energy",
)
@click.option("--metric", metavar="NAME", help="rank by this metric, as the job told it, and the energy")
@click.option("--lower-is-better", is_flag=True, help="the metric is a loss or an error")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def command(
    told: tuple[str, ...],
    fail_above: str | None,
    quantity: Quantity | None,
    metric: str | None,
    lower_is_better: bool,
    as_json: bool,
) -> int:
    """Set runs side by side.

    compare BASE NEW tells what has changed. Each is a run directory or a directory of repeated runs, whose scatter
    tells a change from noise.

    compare RUN... [--metric NAME] ranks runs: energy, CO2e, time, metric; which no other run beats in both energy and
    metric (the Pareto front); the PePR score; and the resources of each. A directory of runs stands for all of them.
    """
    limit = None if fail_above is None else _percent(fail_above)
    groups = [list(_runs(path)) for path in told]
    if limit is not None or quantity is not None or (len(told) == 2 and metric is None):
        if len(told) != 2:
            raise UserError(
                "--fail-above and --quantity want two arguments, BASE and NEW: two runs, or directories of runs"
            )
        if metric is not None or lower_is_better:
            raise UserError("--metric ranks runs and --fail-above judges a change: tell one of them")
        return _change(told, groups, quantity or "energy", limit, as_json)
    if lower_is_better and metric is None:
        raise UserError("--lower-is-better must come with --metric NAME")
    return _rank([run for group in groups for run in group], metric, lower_is_better, as_json)


def _change(
    told: Sequence[str], groups: Sequence[Sequence[Run]], quantity: Quantity, limit: float | None, as_json: bool
) -> int:
    base, new = (comparison.side(path, runs) for path, runs in zip(told, groups, strict=True))
    for one in (base, new):
        if not one.runs:
            reasons = ", ".join(dict.fromkeys(run.flaw for run in one.left_out))
            raise UserError(f"{one.told} holds no run that can be compared, only some that are {reasons}")
    try:
        verdict = None if limit is None else comparison.verdict(base, new, quantity, limit)
    except comparison.CannotJudge as reason:
        raise UserError(f"nothing is judged: {reason}") from None
    if as_json:
        output.show(comparisontext.render_change_json(base, new, verdict, None if limit is None else (quantity, limit)))
    else:
        output.show(comparisontext.render_change(base, new, verdict))
    return 1 if verdict is not None and verdict.failed else 0


def _rank(runs: Sequence[Run], metric: str | None, lower_is_better: bool, as_json: bool) -> int:
    known = {name for run in runs for name in run.metrics}
    if metric is not None and metric not in known:
        near = options.nearest(metric, known, prefix="")
        nearest = f", {near} is the nearest" if near else ""
        has = (
            f"they have {', '.join(sorted(known)[:20])}{nearest}" if known else "they have none (greenrun mark metric)"
        )
        raise UserError(f"no run has told a metric {metric!r}: {has}")
    rows = comparison.ranked(runs, metric, lower_is_better=lower_is_better)
    render = comparisontext.render_ranked_json if as_json else comparisontext.render_ranked
    output.show(render(rows, metric, lower_is_better=lower_is_better))
    return 0


def _runs(path: str) -> Iterator[Run]:
    """Give the runs that an argument stands for. Raises UserError: nothing is left out of a comparison unsaid."""
    try:
        found = list(runtree.walk(path)) if runtree.is_tree(path) else [runtree.one(path)]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not found:
        raise UserError(f"{path} is no run directory, and there is none in it")
    for one in found:
        if one.reason is not None:
            raise UserError(f"{one.path} cannot be compared: {one.reason}")
        try:
            yield comparison.run_of(one.document, one.path)
        except comparison.Damaged as reason:
            raise UserError(f"{one.path} cannot be compared: {reason}") from None


def _percent(text: str) -> float:
    told = _PERCENT.fullmatch(text.strip())
    if told is None:
        raise UserError(f"--fail-above must be a percentage with its sign, such as 10%, not {text!r}")
    return float(told[1])
