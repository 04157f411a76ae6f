"""Where a verb's result goes: to stdout, which may be closed, full, or a pipe that nobody reads."""

from __future__ import annotations

import sys

from greenrun.cli.errors import UserError


def show(text: str) -> None:
    """Print a verb's result. A reader that has seen enough is no error; UserError where stdout takes nothing."""
    if sys.stdout is None:  # closed before we started
        return
    try:
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            raise UserError(f"standard output cannot be written: {error.strerror}") from None
