"""Where a verb's result goes: to stdout, which may be closed, full, or a pipe that nobody reads."""

from __future__ import annotations

import os
import sys

from greenrun.cli.errors import UserError


def show(text: str) -> None:
    """Print a verb's result. A reader that has seen enough is no error; UserError where stdout takes nothing."""
    if sys.stdout is None:  # closed before we started
        return
    data = (text.rstrip("\n") + "\n").encode(sys.stdout.encoding, "backslashreplace")
    try:
        # Past Python's buffer: what is left in it after an error is tried again, and complained about, at the exit.
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]
    except BrokenPipeError:
        pass
    except OSError as error:
        raise UserError(f"standard output cannot be written: {error.strerror}") from None
