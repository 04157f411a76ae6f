"""The words that greenrun keeps for itself when they come first.

All of them are reserved from the first release on, built or not, so that a new verb never changes what an old script
does. A verb is one module with `main(argv: list[str]) -> int`, where argv is what follows the verb; a module that
parses with click shows its command as `command`, which completion reads. A new verb takes that module and a line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from greenrun.cli.errors import UserError

if TYPE_CHECKING:
    from types import ModuleType


class Verb(NamedTuple):
    """`module` is None for a verb that is reserved and not built yet; `summary` is its line in the help."""

    module: str | None
    summary: str


VERBS = {
    "run": Verb("greenrun.cli.wrap", "measure a command, also one that is named like a verb"),
    "report": Verb("greenrun.cli.report", "tell a run again from its log, or what if it had run elsewhere"),
    "status": Verb("greenrun.cli.status", "what is being measured now"),
    "compare": Verb("greenrun.cli.compare", "set runs side by side"),
    "predict": Verb("greenrun.cli.predict", "estimate a job before it runs"),
    "when": Verb("greenrun.cli.when", "find the hours with the cleanest electricity"),
    "intensity": Verb("greenrun.cli.intensity", "show the carbon intensity of a place"),
    "mark": Verb("greenrun.cli.mark", "tell an epoch or a metric from inside a job"),
    "doctor": Verb("greenrun.cli.doctor", "show what this machine can measure, and what would help"),
    "slurm": Verb("greenrun.cli.slurm", "prolog and epilog for SLURM, and what its jobs have used"),
    "agent": Verb("greenrun.cli.agent", "tell a machine's counters to those who may not read them"),
    "calibrate": Verb(None, "fit the estimates to a power meter"),
}


def load(name: str) -> ModuleType:
    """Import the module of a verb; UserError where the verb is not built yet."""
    module = VERBS[name].module
    if module is None:
        raise UserError(
            f"the verb {name} is reserved but not built yet; run a program of that name as: greenrun -- {name}"
        )
    return import_module(module)
