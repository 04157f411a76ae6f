"""Run a command through the watching runner alone: `watch_driver.py MARKS_FILE COMMAND ...`.

What the relay tells goes to MARKS_FILE after the run, the command's process id first. Ends as the command ended.
"""

import os
import signal
import sys

from greenrun.cli import signals, watch
from greenrun.cli.errors import CannotRun
from greenrun.cli.job import Job
from greenrun.cli.watch.scan import Sought


def main() -> None:
    """Take the signals over as greenrun does, run, and leave as the command left."""
    marks_file, *command = sys.argv[1:]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)

    class Noted(Job):
        def started(self, pid: int, _before: float) -> None:
            with open(marks_file, "w") as file:
                file.write(f"pid {pid}\n")
            if note := os.environ.get("DRIVER_NOTE"):
                signal.sigtimedwait([], 0.3)
                watch.note(note)

    job = Noted(command, os.environb, signals.take_over())
    try:
        outcome = watch.run(job, writer, Sought())
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
