"""Settings, floors, handles and marks of any content, and what is no file in their place: a sentence, and no delay."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine.command import ENTRY, Greenrun

from greenrun.cli import floor
from greenrun.cli.config import Config, load
from greenrun.cli.errors import UserError
from greenrun.cli.handle import Handle

SITE, USER, PROJECT, PYPROJECT = (
    "site.toml",
    "home/.config/greenrun/config.toml",
    "work/greenrun.toml",
    "work/pyproject.toml",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make the folders of a machine."""
    (tmp_path / USER).parent.mkdir(parents=True)
    (tmp_path / PROJECT).parent.mkdir()
    return tmp_path


def config(root: Path) -> Config:
    """Load the settings of that machine."""
    return load({}, {"HOME": str(root / "home")}, str(root / "work"), site_file=str(root / SITE))


SIZE = 200_000
BOMBS = {
    "one key of many parts": b"a" + b".a" * (SIZE // 2) + b" = 1",
    "with spaces": b"a" + b" . a" * (SIZE // 4) + b" = 1",
    "in quotes": b'"\\""' + b'."\\""' * (SIZE // 5) + b" = 1",
    "a table of many parts": b"[a" + b".'a'" * (SIZE // 4) + b"]\n" + b"\n".join(b"k%d=1" % n for n in range(1000)),
    "in a table of one line": b"x = 1\ny = {a" + b".a" * (SIZE // 2) + b" = 1}",
    "keys of seventeen parts": b"\n".join(b"k%d" % n + b".a" * 16 + b" = 1" for n in range(4500)),
    "brackets": b"a = " + b"[" * SIZE,
    "tables in tables": b"a = " + b"{a = " * (SIZE // 5),
    "digits": b"pue = " + b"1" * SIZE,
    "a text without end": b"a = '''" + b"x" * SIZE,
    "too large": b"# " + b"x" * (257 << 10),
    "no UTF-8": b'name = "\xff\xfe"',
    "UTF-16": "pue = 1.2\n".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbfpue = 1.2",
    "zeros": b"\0" * 1000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_toml_that_would_cost_time(root: Path, name: str) -> None:
    """Whatever is in a file, it is said to be ignored, in one sentence, and no job waits for it."""
    for place in (SITE, USER, PROJECT, PYPROJECT):
        data = BOMBS[name]
        (root / place).write_bytes(data + b"\n# greenrun" if place == PYPROJECT else data)
        begin = time.process_time()
        found = config(root)
        assert time.process_time() - begin < 5.0  # where it is parsed the worst take minutes
        (sentence,) = found.warnings
        assert sentence.startswith(f"{root / place} is no TOML file and is ignored: ")
        assert "\n" not in sentence
        assert len(sentence) < 400
        assert found.pue is None
        (root / place).unlink()


def test_toml_that_looks_like_a_bomb_and_is_none(root: Path) -> None:
    """Many dots are no long key: versions, paths, texts, and as many parts as anybody has."""
    dots, files = "." * 5000, [f"a{number}.py" for number in range(99)]
    (root / PYPROJECT).write_text(
        f'# {dots}\n[project]\ntext = "{dots} a.b.c"\nfiles = {files}\n'
        f"[tool.{'.'.join('abcdefghij')}]\nx.y.z = 1\n[tool.greenrun]\npue = 1.25\n"
    )
    assert (config(root).pue, config(root).warnings) == (1.25, ())


def test_long_words_are_shown_short(root: Path) -> None:
    """A mistake in a file is told with its place, and not with all of a megabyte."""
    for text in (
        f'pue = "{"x" * 100_000}"',
        f"{'k' * 100_000} = 1",
        f"name = {list(range(20_000))}",
        f"quiet = '{'y' * 100_000}'",
        f"country = '{'z' * 100_000}'",
        f"zone = {{{'a.' * 15}a = 1}}",
    ):
        (root / PROJECT).write_text(text)
        with pytest.raises(UserError) as mistake:
            config(root)
        assert len(str(mistake.value)) < 2000
        assert str(mistake.value).startswith(str(root / PROJECT))


@pytest.mark.parametrize("place", [SITE, USER, PROJECT, PYPROJECT])
def test_no_file_in_the_place_of_settings(root: Path, place: str) -> None:
    """Links to nowhere and in a circle, folders, endless devices, FIFOs with a silent writer: said, not waited for."""
    path = root / place
    for target in (root / "nowhere", path, Path("/dev/zero"), Path("/proc/self/mem")):
        path.symlink_to(target)
        (sentence,) = config(root).warnings
        assert sentence.startswith(f"{path} ")
        assert "ignored: " in sentence
        path.unlink()
    path.mkdir()
    assert config(root).warnings == (f"{path} cannot be read and is ignored: Is a directory",)
    path.rmdir()
    os.mkfifo(path)
    silent = os.open(path, os.O_RDWR)
    assert config(root).warnings == (f"{path} cannot be read and is ignored: Resource temporarily unavailable",)
    os.close(silent)


def test_the_job_runs_all_the_same(greenrun: Greenrun) -> None:
    """Bombs as the project's and the user's file: the same output and status, and a sentence for each."""
    user = Path(greenrun.home, ".config", "greenrun", "config.toml")
    user.parent.mkdir(parents=True)
    user.symlink_to("/dev/zero")
    Path(greenrun.cwd, "greenrun.toml").write_bytes(BOMBS["a table of many parts"])
    done = greenrun("sh", "-c", "echo out; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    words = " ".join(done.stderr.split())
    assert "is no TOML file and is ignored: it is larger than" in words
    assert "a key has more than 16 parts (at line 1)" in words
    assert "Traceback" not in words


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
HANDLE: dict[str, Any] = Handle("run", "/runs/1", 100, "12345", "boot")._asdict()


@pytest.mark.parametrize("text", ["[" * 60_000, "1" * 6000, '{"pid": ' * 5000, "null", "{}", "\x00", '"\ud800"'])
def test_no_handle(text: str) -> None:
    """What is none of ours is a ValueError, whatever it is."""
    with pytest.raises(ValueError):
        Handle.from_json(text)


@given(st.sampled_from(sorted(HANDLE)), json_values)
def test_a_handle_spoilt(name: str, value: Any) -> None:
    """A handle with another value is one that can be used, or a ValueError: no signal goes to nobody's process."""
    try:
        told = Handle.from_json(json.dumps(HANDLE | {name: value}))
    except ValueError:
        return
    assert 0 < told.pid < 1 << 31
    assert type(value) is type(HANDLE[name])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_floor(tmp_path: Path, data: bytes) -> None:
    """What is no idle floor is one sentence."""
    path = tmp_path / "floor.json"
    path.write_bytes(data)
    path.chmod(0o644)
    with pytest.raises(floor.Unusable) as refusal:
        floor.read(str(path))
    assert "\n" not in str(refusal.value)


def test_marks_of_any_content(greenrun: Greenrun) -> None:
    """A job that writes everything into its marks: they are passed over, and the record is complete."""
    program = (
        "import os, random, time\n"
        "chance = random.Random(7)\n"
        "marks = open(os.environ['GREENRUN_MARKS'], 'ab', buffering=0)\n"
        "words = [b'epoch', b'metric', b'phase', b'start', b'end', b'-1', b'9' * 400, b'1e999', b'\\xff', b'\\0']\n"
        "for _ in range(300):\n"
        "    line = b' '.join(chance.choices(words, k=chance.randrange(6)))\n"
        "    marks.write(line + chance.choice([b'\\n', b'\\r', b'', b'\\n\\n']))\n"
        "marks.write(b'epoch ' * 100_000 + b'\\nmetric \\x1b[31mred 1\\n')\n"
        "time.sleep(0.3)\n"
    )
    done = subprocess.run(
        [ENTRY, "python3", "-c", program],
        env=greenrun.environment(),
        cwd=greenrun.cwd,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert b"\x1b[31mred" not in done.stderr
    (summary,) = Path(greenrun.cwd, "greenrun-logs").glob("*/summary.json")
    record = json.loads(summary.read_text())
    assert record["status"] == "complete"
    assert "\x1b" not in summary.read_text()
