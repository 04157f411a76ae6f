"""The rules of the house, read off the source: who imports whom, who prints and exits, who speaks of this machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
FACE = "greenrun"  # src/greenrun itself: what a job may import
MAY_IMPORT = {
    FACE: {"cli"},
    "cli": {"cli", "reports", "sampler", "intensity"},
    "reports": {"reports", "sampler", "intensity"},
    "sampler": {"sampler"},
    "intensity": {"intensity"},
}
ROOMS = set(MAY_IMPORT) - {FACE}
SPEAKERS = {"cli", FACE}  # __main__ in the face hands the exit status on
HOMES = ("/home/", "/root/", "/Users/", str(Path.home()) + "/", str(ROOT))


def room_of(path: Path) -> str:
    """Name the room that a source file belongs to."""
    first = path.relative_to(ROOT).parts[0]
    return FACE if first == "src" else first


def modules() -> list[Path]:
    """List every source file of the package, each once (the links under src are the same files again)."""
    rooms = [path for room in sorted(ROOMS) for path in (ROOT / room).rglob("*.py")]
    return sorted(rooms) + sorted((ROOT / "src" / "greenrun").glob("*.py"))


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Give line and dotted name of all that is imported anywhere in a module, also late and by a name in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"greenrun(\.\w+)+", node.value)
        ):
            yield node.lineno, node.value


def wrong_imports(room: str, tree: ast.Module) -> Iterator[str]:
    """Tell the imports that a room may not make."""
    for line, name in imported(tree):
        parts = name.split(".")
        if name.startswith("."):
            yield f"{line}: relative import {name}; write greenrun.ROOM.MODULE"
        elif parts[0] in ROOMS:
            yield f"{line}: {name} is no top-level package; it is greenrun.{name}"
        elif parts[0] == "greenrun" and len(parts) > 1 and parts[1] in ROOMS - MAY_IMPORT[room]:
            yield f"{line}: {room} imports {name}"


def wrong_speech(room: str, tree: ast.Module) -> Iterator[str]:
    """Tell where a room that is not the command line prints or ends the process."""
    if room in SPEAKERS:
        return
    for node in ast.walk(tree):
        match node:
            case ast.Name(id="print" | "exit" | "quit" | "input" | "SystemExit" as name):
                yield f"{node.lineno}: {name}"
            case ast.Attribute(value=ast.Name(id="sys"), attr="exit" | "stdin" | "stdout" | "stderr" as name):
                yield f"{node.lineno}: sys.{name}"
            case ast.Attribute(value=ast.Name(id="os"), attr="_exit" | "abort" as name):
                yield f"{node.lineno}: os.{name}"
            case ast.ImportFrom(module="sys" | "os", names=names):
                forbidden = {"exit", "stdin", "stdout", "stderr", "_exit", "abort"}
                yield from (f"{node.lineno}: {alias.name}" for alias in names if alias.name in forbidden)


def wrong_docstring(_room: str, tree: ast.Module) -> Iterator[str]:
    """Tell that a module says nothing of itself."""
    if not ast.get_docstring(tree):
        yield "1: no docstring"


def wrong_paths(_room: str, tree: ast.Module) -> Iterator[str]:
    """Tell the paths that exist only where greenrun was written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (f"{node.lineno}: {home}" for home in HOMES if home in node.value)


RULES: tuple[Callable[[str, ast.Module], Iterator[str]], ...] = (
    wrong_imports,
    wrong_speech,
    wrong_docstring,
    wrong_paths,
)


@pytest.mark.parametrize("rule", RULES)
def test_every_module_keeps_the_rule(rule: Callable[[str, ast.Module], Iterator[str]]) -> None:
    """No module of the package breaks a rule of the house."""
    found = modules()
    assert {room_of(path) for path in found} == set(MAY_IMPORT)
    broken = [
        f"{path.relative_to(ROOT)}:{what}"
        for path in found
        for what in rule(room_of(path), ast.parse(path.read_text(), str(path)))
    ]
    assert not broken, "\n".join(broken)


BREACHES = [
    (wrong_imports, "sampler", "from greenrun.intensity.model import Place"),
    (wrong_imports, "intensity", "def f():\n    import greenrun.sampler.meter"),
    (wrong_imports, "reports", "from greenrun import cli"),
    (wrong_imports, "sampler", "import importlib\nimportlib.import_module('greenrun.reports.account')"),
    (wrong_imports, "cli", "from sampler.model import Device"),
    (wrong_imports, "cli", "from . import run"),
    (wrong_imports, FACE, "from greenrun.sampler import runlog"),
    (wrong_speech, "reports", "print('done')"),
    (wrong_speech, "sampler", "import os\nos._exit(1)"),
    (wrong_speech, "intensity", "raise SystemExit(2)"),
    (wrong_speech, "sampler", "import sys\nsys.stderr.write('x')"),
    (wrong_speech, "reports", "from sys import exit"),
    (wrong_docstring, "cli", "x = 1"),
    (wrong_paths, "sampler", f"open({str(ROOT / 'data')!r})"),
    (wrong_paths, "cli", "x = '/home/someone/file'"),
]


@pytest.mark.parametrize(("rule", "room", "source"), BREACHES)
def test_a_breach_is_seen(rule: Callable[[str, ast.Module], Iterator[str]], room: str, source: str) -> None:
    """Each rule finds the breach that it is there for."""
    assert list(rule(room, ast.parse(source)))


def test_the_face_costs_a_job_nothing() -> None:
    """A job that imports greenrun loads no module that Python had not loaded already."""
    program = "import sys; before = set(sys.modules); import greenrun; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - {"__future__"} == {"greenrun"}
