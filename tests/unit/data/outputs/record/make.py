"""Run the jobs beside this file and keep what they print, byte for byte: `make.py PYTHON JOB [ARGUMENT ...] NAME`.

PYTHON is an interpreter that has the framework, JOB a script of this folder. It runs twice: with both streams in one
pipe (NAME-pipe.out) and on a pseudo-terminal of 24 x 100 (NAME-terminal.out). Paths of the machine are replaced.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT_BYTES = 60_000


def run(command: list[str], folder: str, *, terminal: bool) -> bytes:
    """Run a command and give all that it printed."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": folder, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    environment |= {"OMP_NUM_THREADS": "1", "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "", "YOLO_OFFLINE": "1"}
    if terminal:
        reading, writing = os.openpty()
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    else:
        reading, writing = os.pipe()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing
    ) as job:
        os.close(writing)
        printed = bytearray()
        while True:
            try:
                data = os.read(reading, 65536)
            except OSError:  # how a terminal that nobody holds any more ends
                break
            if not data:
                break
            printed += data
    os.close(reading)
    if job.returncode != 0:
        sys.stdout.buffer.write(printed[-3000:])
        raise SystemExit(f"{command} ended with {job.returncode}")
    return bytes(printed)


def scrubbed(printed: bytes, folder: str, python: str) -> bytes:
    """Leave out where it ran, and advertisements."""
    venv = str(Path(python).absolute().parent.parent)
    for there in (folder, venv, str(HERE)):
        printed = printed.replace(there.encode(), b"/job")
    printed = printed.replace(os.uname().nodename.encode(), b"host")
    printed = re.sub(rb"[^\n]*Tip: [^\n]*\n", b"", printed)
    return re.sub(rb"/(?:tmp|root|home|usr/local/lib)/[^\s'\":]*/", b"/job/", printed)


def main(python: str, job: str, *arguments: str) -> None:
    """Record one job."""
    *arguments, name = arguments
    for terminal in (False, True):
        with tempfile.TemporaryDirectory(prefix="job-") as folder:
            printed = run([python, "-W", "ignore", str(HERE / job), *arguments], folder, terminal=terminal)
            printed = scrubbed(printed, folder, python)
        if len(printed) > LIMIT_BYTES:
            raise SystemExit(f"{name}: {len(printed)} bytes; make the job smaller")
        kind = "terminal" if terminal else "pipe"
        (HERE.parent / f"{name}-{kind}.out").write_bytes(printed)


if __name__ == "__main__":
    main(*sys.argv[1:])
