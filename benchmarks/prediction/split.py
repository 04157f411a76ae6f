"""Put the corpus together: real traces from a file and the simulated ones, halved, and the held-out half frozen.

    python split.py traces-real.jsonl

Within each class and origin the traces are ordered by the SHA-256 of their names and dealt out in turn, so that the
halves are alike and nobody chose. The hash of the held-out half is written beside it; `score.py` reads no other one.
This was run once, before anything was tuned.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from _trace import CLASSES, FROZEN, HELD_OUT, TUNING, Trace, write
from simulate import traces as simulated


def main() -> None:
    """Write both halves and the hash. Refuses where there is one already."""
    if FROZEN.exists():
        sys.exit(f"{FROZEN} exists: the held-out half is frozen.")
    corpus = [Trace(**json.loads(text)) for text in Path(sys.argv[1]).read_text().splitlines()] + simulated()
    halves: tuple[list[Trace], list[Trace]] = ([], [])
    for kind in CLASSES:
        for origin in ("real", "simulated"):
            group = [trace for trace in corpus if (trace.kind, trace.origin) == (kind, origin)]
            group.sort(key=lambda trace: hashlib.sha256(trace.name.encode()).hexdigest())
            for at, trace in enumerate(group):
                halves[at % 2].append(trace)
    write(HELD_OUT, halves[0])
    write(TUNING, halves[1])
    digest = hashlib.sha256(HELD_OUT.read_bytes()).hexdigest()
    FROZEN.write_text(f"{digest}  traces/{HELD_OUT.name}\n")


if __name__ == "__main__":
    main()
