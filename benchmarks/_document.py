"""Put the kept results of the benchmarks together as docs/benchmarks.md: no number there is written by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from _harness import RESULTS, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PAGE = ROOT / "docs" / "benchmarks.md"
TITLES = {  # in the order of the page
    "peers_energy": "Beside the peers: energy",
    "peers_cost": "Beside the peers: cost",
    "peers_behaviour": "Beside the peers: the command",
    "start": "Start and memory",
    "promptness": "When something hangs",
    "accuracy": "Accuracy",
    "sampler_cost": "What sampling costs",
    "reading_cost": "What a reading costs",
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

Written by `make peers` (the tables beside the peers), `make soak` (the last table) and `make bench` (the others), from
what they measured; do not edit. Absolute times are those of one machine: the ratios and the limits are what carries
over to another.
"""


def section(title: str, result: dict[str, Any]) -> Iterator[str]:
    """Give the lines of one benchmark: what it measures, its table, and on what it ran."""
    yield from ("", f"## {title}", "", *result["about"].splitlines(), "")
    yield from table(result["columns"], result["rows"])
    if "notes" in result:
        yield from ("", *result["notes"])
    yield from ("", *circumstances(result["circumstances"]))
    if isinstance(result["figures"], dict) and result["figures"].get("quick"):
        yield "A quick run: fewer rounds and shorter commands than the figures deserve."


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a table, figures to the right."""
    yield f"| {' | '.join(columns)} |"
    yield f"|---{'|--:' * (len(columns) - 1)}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def circumstances(of: dict[str, Any]) -> tuple[str, str]:
    """Tell on what and when it was measured."""
    guest = ", under a hypervisor" if of.get("hypervisor") else ""
    return (
        f"{of['date'][:10]}, greenrun {of['greenrun']}, Python {of['python']}, Linux {of['kernel'].split('-')[0]}, "
        f"{of['processors']} x {of['processor']}{guest},",
        f"load average at the end {of['load_average']}.",
    )


def page(folder: Path = RESULTS) -> str:
    """Give the page that the results in a folder make."""
    lines = [HEAD.rstrip("\n")]
    for name, title in TITLES.items():
        path = folder / f"{name}.json"
        if path.exists():
            lines += section(title, json.loads(path.read_text()))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page from all results that are there."""
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
