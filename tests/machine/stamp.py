"""A command that knows its own life, to hold greenrun's figures against."""

from __future__ import annotations

import os
from dataclasses import dataclass

from machine.build import program


@dataclass(frozen=True)
class Stamp:
    """The stamp program and the file that it writes to."""

    path: str

    def command(self, seconds: float, exit_code: int = 0, *, spin: bool = False) -> list[str]:
        """Give the command that sleeps (or spins) for `seconds` and exits with `exit_code`."""
        return [program("stamp"), self.path, repr(float(seconds)), str(exit_code), *(("spin",) if spin else ())]

    def life(self) -> tuple[float, float]:
        """Give the command's first and last moment, CLOCK_MONOTONIC seconds.

        Raises FileNotFoundError if the command was never started, ValueError if it did not come to its end.
        """
        with open(self.path) as file:
            born, ended = (int(line) / 1e9 for line in file.read().split())
        return born, ended

    def born(self) -> float | None:
        """Give the command's first moment, None where it has not been started."""
        if not os.path.exists(self.path):
            return None
        with open(self.path) as file:
            line = file.readline()
        return int(line) / 1e9 if line.endswith("\n") else None
