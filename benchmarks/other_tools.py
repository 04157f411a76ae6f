"""What the tools themselves make of the files that greenrun writes in their form, from the golden run of the tests.

carbontracker's own parser reads both logs; codecarbon appends to the table, which it does only where the columns are
its own. Held against: the figures of summary.json.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import _harness

GOLDEN = _harness.ROOT / "tests" / "unit" / "data" / "two-sockets"
CARBONTRACKER = "2.4.7"
CODECARBON = "3.3.2"
PARSE = """
import json, sys
from carbontracker import parser
logs = parser.parse_all_logs(sys.argv[1])
for log in logs:
    del log["output_filename"], log["standard_filename"]
print(json.dumps(logs, indent=2, default=lambda array: array.tolist()))
"""
APPEND = """
import csv, dataclasses, os, sys
from codecarbon.output_methods.emissions_data import EmissionsData
from codecarbon.output_methods.file import FileOutput
own = EmissionsData(**{field.name: 1 for field in dataclasses.fields(EmissionsData)})
FileOutput("emissions.csv", sys.argv[1]).out(own, own)
with open(os.path.join(sys.argv[1], "emissions.csv"), newline="") as file:
    rows = list(csv.DictReader(file))
print(len(rows), rows[0]["energy_consumed"], rows[0]["emissions"])
"""


def main() -> None:
    """Install both, each in an environment of its own, and let them read."""
    summary = json.loads((GOLDEN / "summary.json").read_text())
    kwh, grams = summary["facility_energy_kwh"], summary["co2e_grams"]
    with _harness.fresh() as environment:
        parsed = _carbontracker(environment)
        actual = parsed[0]["actual"]
    with _harness.fresh() as environment:
        count, energy, emissions = _codecarbon(environment)
    rows = [
        [
            f"carbontracker {CARBONTRACKER}",
            f"{actual['energy (kWh)']:g}",
            f"{kwh:g}",
            f"{actual['co2eq (g)']:g}",
            f"{grams:g}",
        ],
        [f"codecarbon {CODECARBON}", f"{energy:g}", f"{kwh:g}", f"{emissions * 1000.0:g}", f"{grams:g}"],
    ]
    columns = ["read by", "kWh, with PUE", "in summary.json", "grams of CO2e", "in summary.json"]
    assert count == 2, "codecarbon took the table for another's, and began a new one"
    recorded = json.loads((GOLDEN / "carbontracker.parsed.json").read_text())
    assert parsed == recorded, "what carbontracker reads is not what tests/unit/test_carbontracker_log.py holds"
    _harness.show("other_tools", __doc__, columns, rows, {"carbontracker": actual, "codecarbon_kwh": energy})


def _install(environment: _harness.Installed, package: str) -> None:
    command = [environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
    subprocess.run(command, env=environment.environment(), check=True)


def _asked(environment: _harness.Installed, program: str, folder: Path) -> str:
    command = [environment.python, "-c", program, str(folder)]
    return subprocess.run(command, env=environment.environment(), check=True, stdout=subprocess.PIPE, text=True).stdout


def _carbontracker(environment: _harness.Installed) -> Any:
    _install(environment, f"carbontracker=={CARBONTRACKER}")
    folder = environment.scratch / "logs"
    folder.mkdir()
    shutil.copy(GOLDEN / "carbontracker.golden.log", folder / "run_carbontracker.log")
    shutil.copy(GOLDEN / "carbontracker-output.golden.log", folder / "run_carbontracker_output.log")
    return json.loads(_asked(environment, PARSE, folder))


def _codecarbon(environment: _harness.Installed) -> tuple[int, float, float]:
    _install(environment, f"codecarbon=={CODECARBON}")
    shutil.copy(GOLDEN / "codecarbon.golden.csv", environment.scratch / "emissions.csv")
    count, energy, emissions = _asked(environment, APPEND, environment.scratch).split()[-3:]
    return int(count), float(energy), float(emissions)


if __name__ == "__main__":
    main()
