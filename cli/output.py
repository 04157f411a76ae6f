"""Where a verb's result goes: to stdout, which may be closed, full, or a pipe that nobody reads."""

from __future__ import annotations

import contextlib
import os
import sys

from greenrun.cli.errors import UserError

WIDTH = 80
"""What nobody told a width is for, and the widest that text is set: longer lines are hard to read."""

# A path in a repository's file, a name in a service's answer: nothing from outside may command the terminal.
_CONTROLS = {code: "?" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def columns(descriptor: int) -> int:
    """Give how many columns there are for text: those of the terminal, `WIDTH` at most and where there is none."""
    with contextlib.suppress(OSError):
        return min(os.get_terminal_size(descriptor).columns or WIDTH, WIDTH)  # 0: a terminal that nobody gave a size
    return WIDTH


def show(text: str) -> None:
    """Print a verb's result. A reader that has seen enough is no error; UserError where stdout takes nothing."""
    if sys.stdout is None:  # closed before we started
        return
    data = (text.translate(_CONTROLS).rstrip("\n") + "\n").encode(sys.stdout.encoding, "backslashreplace")
    try:
        # Past Python's buffer: what is left in it after an error is tried again, and complained about, at the exit.
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]
    except BrokenPipeError:
        pass
    except OSError as error:
        raise UserError(f"standard output cannot be written: {error.strerror}") from None
