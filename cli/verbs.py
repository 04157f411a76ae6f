"""The words that greenrun keeps for itself when they come first.

All of them were reserved from the first release on, so that no verb has changed what an old script does. A verb is one
module with `main(argv: list[str]) -> int`, where argv is what follows the verb; a module that parses with click shows
its command as `command`, which completion reads. A new verb takes that module and a line here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType


class Verb(NamedTuple):
    """`summary` is its line in the help."""

    module: str
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
    "calibrate": Verb("greenrun.cli.calibrate", "measure once what this machine draws while idle"),
}


def load(name: str) -> ModuleType:
    """Import the module of a verb."""
    return import_module(VERBS[name].module)
