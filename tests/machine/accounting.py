"""Stand-ins for sacct and sacctmgr: programs on PATH that answer from rows of the real ones, and note how they ran."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PROGRAM = """#!{python} -I
import json, os, pathlib, sys
home = pathlib.Path({home!r})
with open(home / "asked", "a") as file:
    file.write(json.dumps([pathlib.Path(sys.argv[0]).name, sys.argv[1:], dict(os.environ)]) + "\\n")
answer = home / "answer"
if answer.exists():
    said = json.loads(answer.read_text())
    sys.stdout.write(said["stdout"]), sys.stderr.write(said["stderr"])
    sys.exit(said["code"])
told = dict(word[2:].split("=", 1) for word in sys.argv[1:] if word.startswith("--") and "=" in word)
rows = json.loads((home / "rows.json").read_text())
if sys.argv[0].endswith("sacct"):
    wanted = told["jobs"].split(",")
    fields = told["format"].split(",")
    out = "".join(told["delimiter"].join(row[f] for f in fields) + "\\n" for row in rows if row["JobIDRaw"] in wanted)
    sys.stdout.buffer.write(out.encode())
else:
    settings = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    newest = [row for row in rows if row["JobIDRaw"] == settings["jobid"]][-1:]
    for row in newest:
        row["AdminComment"] = settings["AdminComment"]
    (home / "rows.json").write_text(json.dumps(rows))
    sys.exit(0 if newest else 1)
"""


class Accounting:
    """A directory for PATH with both programs; `rows` is what slurmdbd would know, and changes as sacctmgr is told."""

    def __init__(self, directory: Path, rows: Sequence[Mapping[str, str]]) -> None:
        self.path = directory / "bin"
        self.path.mkdir(parents=True)
        self._home = directory
        (directory / "rows.json").write_text(json.dumps(list(rows)))
        for name in ("sacct", "sacctmgr"):
            program = self.path / name
            program.write_text(_PROGRAM.format(python=sys.executable, home=str(directory)))
            program.chmod(0o755)

    @property
    def rows(self) -> list[dict[str, str]]:
        """What is known of the jobs now."""
        known: list[dict[str, str]] = json.loads((self._home / "rows.json").read_text())
        return known

    def asked(self, program: str) -> list[tuple[list[str], dict[str, str]]]:
        """Give the arguments and the environment of each start of a program."""
        asked = self._home / "asked"
        lines = asked.read_text().splitlines() if asked.exists() else []
        return [(argv, environment) for name, argv, environment in map(json.loads, lines) if name == program]

    def answer(self, code: int, stdout: str = "", stderr: str = "") -> None:
        """From now on give this answer, whatever is asked."""
        (self._home / "answer").write_text(json.dumps({"code": code, "stdout": stdout, "stderr": stderr}))
