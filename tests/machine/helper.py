"""A small C program that keeps a part of the simulated machine going in the background."""

from __future__ import annotations

import subprocess

from machine.build import program


class Helper:
    """A background program of the machine: ready when made, ended by `stop`, or by the end of this process."""

    def __init__(self, name: str, spec: str) -> None:
        self._name = name
        # A session of its own: Ctrl-C in the terminal of a test or a benchmark is not meant for the hardware.
        self._process = subprocess.Popen(
            [program(name), spec], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"The program {name} of the simulated machine did not start; stderr says why.")

    def stop(self) -> str:
        """End the program and give what it said last."""
        said, _ = self._process.communicate(timeout=10)
        if self._process.returncode != 0:
            raise RuntimeError(f"The program {self._name} of the simulated machine failed; stderr says why.")
        return said.strip()
