"""Run a command through the watching runner alone: `watch_driver.py MARKS_FILE COMMAND ...`.

What the relay tells goes to MARKS_FILE after the run, the command's process id first. Ends as the command ended.
"""

import os
import signal
import sys

from greenrun.cli import signals, watch
from greenrun.cli.errors import CannotRun


def main() -> None:
    """Take the signals over as greenrun does, run, and leave as the command left."""
    marks_file, *command = sys.argv[1:]
    mask, taken, ignored = signals.take_over()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)

    def started(pid: int, _before: float) -> None:
        with open(marks_file, "w") as file:
            file.write(f"pid {pid}\n")
        if note := os.environ.get("DRIVER_NOTE"):
            signal.sigtimedwait([], 0.3)
            watch.note(note)

    try:
        outcome = watch.run(
            command,
            os.environb,
            mask,
            taken,
            ignored=ignored,
            started=started,
            wake=lambda: None,
            ended=lambda _outcome: None,
            marks=writer,
        )
    except CannotRun as error:
        sys.stderr.write(f"{error.reason}\n")
        sys.exit(error.exit_code)
    finally:
        try:
            told = os.read(reader, 65536)
        except BlockingIOError:
            told = b""
        with open(marks_file, "ab") as file:
            file.write(told)
    signals.leave(outcome)


main()
