"""The compiled parts of the simulated machine, built once per process."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile

_NVML = "libnvidia-ml.so.1"
_SOURCES = os.path.dirname(os.path.abspath(__file__))


class CannotBuild(RuntimeError):  # noqa: N818  reads as a sentence
    """A part of the simulated machine could not be compiled; the message says why and what would help."""


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="simulated-machine-")


@functools.cache
def program(name: str) -> str:
    """Compile `name`.c and give the path of the program."""
    return _compile(f"{name}.c", name)


@functools.cache
def nvml_library() -> str:
    """Compile the simulated NVML and give the folder that holds its libnvidia-ml.so.1.

    A process that has loaded the file by its path finds it by its name from then on, without LD_LIBRARY_PATH.
    """
    return os.path.dirname(_compile("nvml.c", os.path.join("nvml", _NVML), "-shared", "-fPIC", f"-Wl,-soname,{_NVML}"))


@functools.cache
def preload_library() -> str:
    """Compile the library for LD_PRELOAD whose calls misbehave on demand, and give its path."""
    return _compile("preload.c", "preload.so", "-shared", "-fPIC")


def _compile(source: str, output: str, *options: str) -> str:
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None:
        raise CannotBuild(
            f"The simulated machine is partly written in C and there is no compiler {compiler!r} here: "
            "install one (the package gcc or clang) or name it in CC."
        )
    path = os.path.join(_folder().name, output)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    command = [compiler, "-O2", *options, "-o", path, os.path.join(_SOURCES, source)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise CannotBuild(f"{source} of the simulated machine does not compile with {compiler!r}:\n{result.stderr}")
    return path
