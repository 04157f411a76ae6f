"""Put the kept results of the benchmarks together as docs/benchmarks.md: no number there is written by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from _harness import RESULTS, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = ROOT / "docs" / "benchmarks.md"
TITLES = {  # in the order of the page
    "start": "Start and memory",
    "promptness": "When something hangs",
    "accuracy": "Accuracy",
    "sampler_cost": "What sampling costs",
    "log_size": "Size of the run log",
    "passthrough": "Output that is watched",
    "slurm_prolog": "SLURM's prolog and epilog",
    "scanning": "Searching output for epochs",
    "installed": "Size of an installation",
    "many_runs": "Summing many runs",
    "other_tools": "Files for other tools",
    "soak": "Killed and stopped at random",
}
HEAD = """\
# Figures about greenrun itself

Written by `make bench` (all but the last table) and `make soak`, from what they measured; do not edit. Absolute times
are those of one machine: the ratios and the limits are what carries over to another.
"""


def section(title: str, result: dict[str, Any]) -> Iterator[str]:
    """Give the lines of one benchmark: what it measures, its table, and on what it ran."""
    yield from ("", f"## {title}", "", *result["about"].splitlines(), "")
    yield from table(result["columns"], result["rows"])
    yield from ("", *circumstances(result["circumstances"]))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a table, figures to the right."""
    yield f"| {' | '.join(columns)} |"
    yield f"|---{'|--:' * (len(columns) - 1)}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def circumstances(of: dict[str, Any]) -> tuple[str, str]:
    """Tell on what and when it was measured."""
    return (
        f"{of['date'][:10]}, greenrun {of['greenrun']}, Python {of['python']}, Linux {of['kernel'].split('-')[0]}, "
        f"{of['processors']} x {of['processor']},",
        f"load average at the end {of['load_average']}.",
    )


def main() -> None:
    """Write the page from all results that are there."""
    lines = [HEAD.rstrip("\n")]
    for name, title in TITLES.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            lines += section(title, json.loads(path.read_text()))
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
