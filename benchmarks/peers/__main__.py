"""Make the environments, measure in namespaces of one's own, and keep the three tables."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import _harness

from peers import behaviour, costs, energy, stage, tables, tools
from peers.running import progress

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "greenrun-peers")
_PROGRAMS = ("unshare", "mount", "umount", "ip", "setpriv")  # util-linux and iproute2
_KEPT = "tools.json"  # in the scratch folder: what was made outside the namespaces, for the program inside


def main() -> None:
    """Begin outside, where packages can be fetched, and go on inside, where nothing can be reached."""
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter commands")
    parser.add_argument("--only", choices=("cost", "behaviour", "energy"), help="one of the tables")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="where the peers' environments are kept")
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        sys.exit(f"The peers are measured in namespaces, for which {' and '.join(missing)} would have to be installed.")
    if stage.INSIDE not in os.environ:
        with tempfile.TemporaryDirectory(prefix="greenrun-peers-") as scratch:
            progress("environments")
            made = tools.make_all(given.cache, Path(scratch))
            Path(scratch, _KEPT).write_text(json.dumps([tools.kept(tool) for tool in made]))
            words = ["--scratch", scratch, *(["--quick"] if given.quick else [])]
            words += ["--only", given.only] if given.only else []
            sys.exit(stage.enter(words))
    stage.prepare()
    found = [tools.again(kept) for kept in json.loads((given.scratch / _KEPT).read_text())]
    _measure(found, given.scratch, quick=given.quick, only=given.only)


def _measure(found: list[tools.Tool], scratch: Path, *, quick: bool, only: str | None) -> None:
    began = time.monotonic()
    labels = {tool.name: tool.label for tool in found}

    def keep(name: str, about: str | None, table: tables.Table, measured: object) -> None:
        figures = {"quick": quick, "labels": labels, "measured": measured}
        _harness.show(f"peers_{name}", about, table.columns, table.rows, figures, notes=table.notes)

    if only in (None, "cost"):
        rounds, steady_seconds = (3, 20.0) if quick else (10, 60.0)
        costing = costs.measure(found, str(scratch / "costs"), rounds=rounds, steady_seconds=steady_seconds)
        keep("cost", costs.__doc__, tables.cost(costing, labels), costing)
    if only in (None, "behaviour"):
        behaving = behaviour.measure(found, str(scratch / "behaviour"))
        keep("behaviour", behaviour.__doc__, tables.behaviour(behaving, labels), behaving)
    if only in (None, "energy"):
        meters = [tool for tool in found if tool.name != "perf"]  # the simulated machine is not there for perf
        measured = energy.measure(meters, str(scratch / "energy"), energy.QUICK if quick else energy.FULL)
        keep("energy", energy.__doc__, tables.energy(measured, labels), measured)
    progress(f"measured in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
