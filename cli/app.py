"""Which verb does the work."""

from __future__ import annotations

import gc
import os

from greenrun.cli import options, verbs
from greenrun.cli.errors import UserError

COMPLETION = "_GREENRUN_COMPLETE"  # click's name for it: a shell asks what may come next


def main(argv: list[str]) -> int:
    """Do what argv (without the program's name) asks for and give the exit status; raises UserError for a mistake."""
    if COMPLETION in os.environ:
        from greenrun.cli import completion

        return completion.main(COMPLETION, os.environ[COMPLETION])
    if argv and argv[0] in verbs.VERBS:
        if argv[0] != "run":
            gc.enable()  # main has put it off for the sake of the start
        return _do(argv[0], argv[1:])
    _refuse_late_verb(argv)
    return _do("run", argv)


def _do(verb: str, argv: list[str]) -> int:
    status: int = verbs.load(verb).main(argv)
    return status


def _refuse_late_verb(argv: list[str]) -> None:
    # `greenrun --quiet report DIR` would run a program called report: hardly what was meant.
    own, command = options.split(argv)
    if command and command[0] in verbs.VERBS and own[-1:] != ["--"]:
        raise UserError(
            f"the verb {command[0]} must be the first word, with its options behind it; "
            f"run a program of that name as: greenrun {' '.join(own)} -- {command[0]}"
        )
