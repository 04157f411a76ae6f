"""Run the command with its output relayed, so that epochs can be found in what it prints.

Only what is a terminal or a pipe is relayed, and only where watching was asked for; the daemon follows regular files
by reading them. greenrun puts the relay in the place of its own descriptors while the command runs. So the command
inherits it, and what greenrun itself says in between takes its turn among the command's own lines.

- `relay`: a process for each pipe moves the bytes. Killing greenrun does not cost the job its output.
- `terminal`: a pseudo-terminal stands in for the user's; `keeper` is the process behind it, the command's parent.
- `statusline`: keeps a note below what the command prints there.
- `scan`: looks for epochs in bytes that have been forwarded already.

What a relay cannot keep stands in docs/limits.md.
"""

from __future__ import annotations

import contextlib
import os
import termios
from typing import TYPE_CHECKING

from greenrun.cli import plain
from greenrun.cli.watch import relay
from greenrun.cli.watch.terminal import open_screen

if TYPE_CHECKING:
    from greenrun.cli.job import Job
    from greenrun.cli.outcome import Outcome
    from greenrun.cli.watch.scan import Sought
    from greenrun.cli.watch.terminal import Screen


def run(job: Job, marks: int, sought: Sought) -> Outcome:
    """Do as `plain.run` does, with stdout and stderr watched; return when all that was written has been forwarded.

    `marks` is the writing end of a non-blocking pipe to the daemon, for marker lines. Raises CannotRun, and OSError
    where no process or pipe can be made.
    """
    relays = relay.install(marks, sought)
    try:
        screen = _screen()
        if screen is None:
            return plain.run(job)
        with screen:
            return screen.run(job, marks, sought)
    finally:
        relays.finish(job.inherited.taken)


def _screen() -> Screen | None:
    try:
        return open_screen()
    except OSError as error:
        note(f"greenrun: no pseudo-terminal ({error.strerror}), so epochs that are only printed will not be seen.")
        return None


def note(text: str) -> None:
    """Say something on stderr while the command runs: on a terminal between empty space, whatever mode it is in."""
    with contextlib.suppress(OSError):
        os.write(2, _line(text).encode("utf-8", "replace"))


def _line(text: str) -> str:
    try:
        translates = termios.tcgetattr(2)[1] & termios.OPOST
    except termios.error:
        return text + "\n"  # not a terminal
    # The cursor may stand anywhere, behind half a progress bar for one.
    return f"\n{text}\n" if translates else f"\r\n{text}\r\n"
