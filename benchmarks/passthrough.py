"""What watching costs a job's output: two gigabytes of a training log, through a pipe and through a terminal.

The job prints as fast as it can. Once its output goes through `cat`, once through greenrun with `--epochs auto`, turn
by turn; whoever reads it compares every byte. Held against: half of the throughput of `cat` through a pipe, and not a
byte that is another. More than 50 MB a second is not searched for epochs: how much that was is what greenrun itself
told. A terminal is slower by itself (the kernel handles each character) and is compared with one that has nothing in
between: there are fewer bytes, and there is no limit.
"""

from __future__ import annotations

import json
import os
import pty
import re
import statistics
import subprocess
import time
import tty
from typing import TYPE_CHECKING, NamedTuple

import _harness

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 3
BLOCK_BYTES = 50_000_000
PIPE_BLOCKS, TERMINAL_BLOCKS = 40, 2
LIMIT_RATIO = 0.5
STEPS_OF_AN_EPOCH = 500


class Passed(NamedTuple):
    """How the output came through: megabytes a second, and whether each byte was the one that was printed."""

    megabytes_per_second: float
    identical: bool


def block() -> bytes:
    """Give fifty megabytes of what a training job prints."""
    lines, size, step = [], 0, 0
    while size < BLOCK_BYTES:
        epoch, at = divmod(step, STEPS_OF_AN_EPOCH)
        line = f"step {at}/{STEPS_OF_AN_EPOCH} loss {1 / (step + 1):.6f} accuracy {at / 1000:.4f} lr 1.0e-04 mem 5.2G\n"
        if at == 0:
            line = f"Epoch {epoch + 1}/100000 - loss: {1 / (epoch + 1):.4f}\n{line}"
        lines.append(line)
        size += len(line)
        step += 1
    return "".join(lines).encode()[: BLOCK_BYTES - 1] + b"\n"


def read(descriptor: int, expected: bytes, blocks: int) -> bool:
    """Read to the end and tell whether it was so many times what was expected."""
    at, whole, identical = 0, 0, True
    view = memoryview(expected)
    while True:
        try:
            data = os.read(descriptor, 1 << 20)
        except OSError:  # what a terminal says when nobody has its other side open any more
            data = b""
        if not data:
            return identical and (whole, at) == (blocks, 0)
        rest = memoryview(data)
        while rest:
            part = rest[: len(expected) - at]
            identical = identical and part == view[at : at + len(part)]
            at, rest = at + len(part), rest[len(part) :]
            if at == len(expected):
                at, whole = 0, whole + 1


def passed(
    command: Sequence[str], greenrun: _harness.Installed, expected: bytes, blocks: int, *, terminal: bool
) -> Passed:
    """Run a command and read what it prints."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    if terminal:
        tty.setraw(writer)  # no line ends of the terminal's: the bytes are to be compared
    before = time.monotonic()
    with subprocess.Popen(
        command, env=greenrun.environment(TERM="dumb"), stdin=subprocess.DEVNULL, stdout=writer, start_new_session=True
    ) as process:
        os.close(writer)
        identical = read(reader, expected, blocks)
        seconds = time.monotonic() - before
    os.close(reader)
    assert process.returncode == 0
    return Passed(blocks * len(expected) / 1e6 / seconds, identical)


def skipped_bytes(greenrun: _harness.Installed) -> list[int]:
    """Give what the runs so far have told of bytes that were not searched."""
    found = []
    for summary in sorted((greenrun.scratch / "logs").glob("*/summary.json")):
        told = " ".join(warned["message"] for warned in json.loads(summary.read_text())["warnings"])
        number = re.search(r"(\d+) bytes of output came faster", told)
        found.append(int(number[1]) if number else 0)
    return found


def measure(greenrun: _harness.Installed, *, terminal: bool) -> tuple[list[Passed], list[Passed], list[int]]:
    """Give the rounds through cat (or a terminal alone), those through greenrun, and the bytes that it left out."""
    expected = block()
    path = greenrun.scratch / "block"
    path.write_bytes(expected)
    blocks = TERMINAL_BLOCKS if terminal else PIPE_BLOCKS
    job = f"for i in $(seq {blocks}); do cat {path}; done"
    plain = ["sh", "-c", job if terminal else f"({job}) | cat"]
    watched = [greenrun.greenrun, "--quiet", "--epochs", "auto", "sh", "-c", job]
    told_before = len(skipped_bytes(greenrun))
    rounds = [
        (
            passed(plain, greenrun, expected, blocks, terminal=terminal),
            passed(watched, greenrun, expected, blocks, terminal=terminal),
        )
        for _ in range(ROUNDS)
    ]
    return [one for one, _ in rounds], [one for _, one in rounds], skipped_bytes(greenrun)[told_before:]


def main() -> None:
    """Measure and show."""
    rows, figures = [], {}
    with _harness.installed() as greenrun:
        for name, terminal in (("pipe", False), ("terminal", True)):
            plain, watched, skipped = measure(greenrun, terminal=terminal)
            by_cat = statistics.median(one.megabytes_per_second for one in plain)
            by_greenrun = statistics.median(one.megabytes_per_second for one in watched)
            megabytes = (TERMINAL_BLOCKS if terminal else PIPE_BLOCKS) * BLOCK_BYTES / 1e6
            rows.append(
                [
                    f"{name}, {megabytes:.0f} MB",
                    f"{by_cat:.0f} MB/s",
                    f"{by_greenrun:.0f} MB/s",
                    f"{by_greenrun / by_cat:.2f}",
                    "" if terminal else f"{LIMIT_RATIO}",
                    "yes" if all(one.identical for one in (*plain, *watched)) else "NO",
                    f"{100 * statistics.median(skipped) / 1e6 / megabytes:.0f} %",
                ]
            )
            figures[name] = {
                "plain": [one._asdict() for one in plain],
                "watched": [one._asdict() for one in watched],
                "skipped_bytes": skipped,
                "bytes": int(megabytes * 1e6),
            }
    columns = [f"median of {ROUNDS}", "without", "greenrun", "ratio", "limit", "identical", "not searched"]
    _harness.show("passthrough", __doc__, columns, rows, figures)


if __name__ == "__main__":
    main()
