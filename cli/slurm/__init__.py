"""The verb `slurm`: what a site runs around its users' jobs, and what it asks of the records afterwards.

`prolog` and `epilog` are run by slurmd as root, on each node of a job. Their rule: whatever breaks in greenrun, they
exit with 0, within a second or two, for SLURM takes a node out of service whose prolog or epilog fails or hangs. What
they cannot do at once, the job's daemon does, or nobody.

It is called for each job on each node, so the subcommand is found by hand: click would cost more than all the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from greenrun.cli import output
from greenrun.cli.errors import UserError


class Subcommand(NamedTuple):
    """`module` has `main(argv) -> int`, where argv is what follows the subcommand."""

    module: str
    summary: str


SUBCOMMANDS = {
    "prolog": Subcommand("greenrun.cli.slurm.prolog", "begin to measure a job on this node; slurmd runs it"),
    "epilog": Subcommand("greenrun.cli.slurm.epilog", "end that, and leave the record; slurmd runs it"),
    "top": Subcommand("greenrun.cli.slurm.top", "who and what used how much energy on this cluster"),
    "sync": Subcommand("greenrun.cli.slurm.sync", "join the records with what sacct knows of their jobs"),
}


def main(argv: list[str]) -> int:
    """Do what the subcommand does and give its exit status; raises UserError for one that does not exist."""
    match argv:
        case [name, *rest] if name in SUBCOMMANDS:
            status: int = import_module(SUBCOMMANDS[name].module).main(rest)
            return status
        case ["--help" | "-h"]:
            output.show(_usage())
            return 0
    raise UserError(
        f"slurm must be followed by one of {', '.join(SUBCOMMANDS)}{f', not {argv[0]!r}' if argv else ''} "
        "(greenrun slurm --help tells more)"
    )


def _usage() -> str:
    lines = [f"  {name:8} {subcommand.summary}" for name, subcommand in SUBCOMMANDS.items()]
    return "\n".join(["Usage: greenrun slurm SUBCOMMAND [OPTIONS]", "", *lines, ""])
