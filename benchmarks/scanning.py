"""How fast output is searched for epochs, and whether any are found where there are none.

100 MB of the output of programs that train nothing or tell no epochs, made up: compiler, package manager, kernel, web
server, JSON, stack traces, training steps, bars over batches, tables, base64, test runner, colours, prose, bytes at
random, and one line in fourteen a near miss (`epoch 17 fsid ...`, `Epoch{epoch=3} is now committed`). Two lines in ten
have the word in them, far more than anywhere else. It is fed as fast as it is read: what the scanner leaves out is
counted, and the mix is fed a second time slowly enough that nothing is. Held against: no mark; ordinary lines, which
have no such word, at the 50 MB/s of the budget or more, by processor time.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import _harness
import _other_logs

from greenrun.sampler.epochs import Scanner

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZE = 100_000_000
PIECE = 256 * 1024
LIMIT_BYTES_PER_SECOND = 50_000_000
ORDINARY = ("kernel", "prose", "steps of a training", "compiler", "bars over batches", "tables of figures")


def again(data: bytes, size: int) -> Iterable[bytes]:
    """Give `data` over and over, `size` bytes in all, in the pieces in which files are read."""
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    for made, piece in zip(itertools.count(0, PIECE), itertools.cycle(pieces)):
        if made >= size:
            return
        yield piece


def scan(pieces: Iterable[bytes], *, patiently: bool = False) -> dict[str, float]:
    """Feed all pieces to one scanner; `patiently` leaves it the time that it wants in between."""
    scanner = Scanner()
    size = marks = 0
    seconds = 0.0
    for piece in pieces:
        started, on_the_clock = time.process_time(), time.monotonic()
        marks += len(scanner.feed(piece))
        seconds += time.process_time() - started
        size += len(piece)
        if patiently:
            time.sleep(1.5 * (time.monotonic() - on_the_clock))
    marks += len(scanner.finish())
    return {"bytes": size, "seconds": seconds, "marks": marks, "skipped_bytes": scanner.skipped_bytes}


def main() -> None:
    """Scan and show."""
    mix = b"".join(_other_logs.pieces(10_000_000))
    found = {f"mixed, {SIZE // 10**6} MB": scan(_other_logs.pieces(SIZE), patiently=True)}
    found["the same, as fast as it goes"] = scan(again(mix, SIZE))
    for kind in ORDINARY:
        found[kind] = scan(again(_other_logs.of_kind(kind, 1_000_000), SIZE))
    rows = [
        [
            kind,
            f"{figures['marks']:.0f}",
            "0",
            f"{figures['bytes'] / figures['seconds'] / 1e6:.0f} MB/s",
            f"{LIMIT_BYTES_PER_SECOND / 1e6:.0f} MB/s" if kind in ORDINARY else "",
            f"{100 * figures['skipped_bytes'] / figures['bytes']:.1f} %",
        ]
        for kind, figures in found.items()
    ]
    columns = ["output without epochs", "marks", "limit", "speed", "limit", "not looked at"]
    _harness.show("scanning", __doc__, columns, rows, found)


if __name__ == "__main__":
    main()
