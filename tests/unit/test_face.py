"""What a job calls: phases, and that nothing of it costs or harms a job that does not run under greenrun."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import greenrun
from greenrun.cli import mark
from greenrun.cli.errors import UserError
from greenrun.sampler.phases import PhaseMark, parse_marker


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file that a greenrun around us would read."""
    path = tmp_path / "marks"
    path.touch()
    monkeypatch.setenv("GREENRUN_MARKS", str(path))
    return path


def told(marks: Path) -> list[tuple[str, str]]:
    """Give name and kind of the phase marks, all of understood, each with its time."""
    found = [parse_marker(line) for line in marks.read_text().splitlines()]
    assert all(one is not None and one.at is not None for one in found)
    return [(one.name, one.mark) for one in found if one is not None]


def test_a_phase_begins_and_ends(marks: Path) -> None:
    """With the moments at which it did, by the clock that the daemon reads, too."""
    before = time.monotonic()
    with greenrun.phase("train"):
        within = time.monotonic()
    after = time.monotonic()
    first, last = (parse_marker(line) for line in marks.read_text().splitlines())
    assert first is not None
    assert last is not None
    assert (first[:2], last[:2]) == (("train", "start"), ("train", "end"))
    assert before - 1e-6 <= (first.at or 0) <= within + 1e-6
    assert within - 1e-6 <= (last.at or 0) <= after + 1e-6


def test_phases_lie_within_each_other(marks: Path) -> None:
    """Each ends where its block does."""
    with greenrun.phase("a b"), greenrun.phase("load"):
        pass
    assert told(marks) == [("a_b", "start"), ("load", "start"), ("load", "end"), ("a_b", "end")]


def test_an_exception_passes(marks: Path) -> None:
    """And the phase is over."""
    with pytest.raises(KeyError), greenrun.phase("train"):
        raise KeyError("x")
    assert told(marks) == [("train", "start"), ("train", "end")]


def test_a_function_has_a_phase(marks: Path) -> None:
    """It is called as before, and looks as before."""

    @greenrun.phase("step")
    def step(x: int, *, y: int = 2) -> int:
        """Add."""
        assert told(marks)[-1] == ("step", "start")
        return x + y

    assert step(1, y=5) == 6
    assert step(1) == 3
    assert told(marks) == [("step", "start"), ("step", "end")] * 2
    assert (step.__name__, step.__doc__) == ("step", "Add.")
    assert str(inspect.signature(step)) == "(x: 'int', *, y: 'int' = 2) -> 'int'"


def test_a_generator_is_in_its_phase_until_its_end(marks: Path) -> None:
    """Not only while it is made."""

    @greenrun.phase("load")
    def batches() -> Iterator[int]:
        yield 1
        yield 2

    assert [(batch, told(marks)) for batch in batches()] == [(1, [("load", "start")]), (2, [("load", "start")])]
    assert told(marks) == [("load", "start"), ("load", "end")]


def test_a_coroutine_is_in_its_phase_until_its_end(marks: Path) -> None:
    """Not only while it is made."""

    @greenrun.phase("fetch")
    async def fetch() -> int:
        await asyncio.sleep(0)
        assert told(marks) == [("fetch", "start")]
        return 7

    waiting = fetch()
    assert told(marks) == []
    assert asyncio.run(waiting) == 7
    assert told(marks) == [("fetch", "start"), ("fetch", "end")]


def test_a_child_that_leaves_a_phase_does_not_end_it(marks: Path) -> None:
    """A process forked within it falls out of the block, too."""
    with greenrun.phase("train"):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            assert told(marks) == [("train", "start")]
    if not child:
        os._exit(0)
    assert told(marks) == [("train", "start"), ("train", "end")]


def test_marks_of_many_threads_do_not_mix(marks: Path) -> None:
    """Each line is whole."""

    def work(name: str) -> None:
        for _ in range(200):
            with greenrun.phase(name):
                pass

    threads = [threading.Thread(target=work, args=(f"thread-{number}" * 8,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told(marks)) == 4 * 200 * 2


def test_nonsense_never_raises(marks: Path) -> None:
    """A name may be anything."""

    class Nameless:
        def __str__(self) -> str:
            raise RuntimeError

    for name in ("", "  ", None, 3, "\udcff", "x" * 1000, Nameless()):
        with greenrun.phase(name):  # type: ignore[arg-type]  that is the test
            pass
    assert [parse_marker(line) for line in marks.read_text().splitlines()][:4] == [None] * 4
    assert {name for name, _ in told_of(marks)} == {"None", "3", "?", "x" * 100}


def told_of(marks: Path) -> list[tuple[str, str]]:
    """Give the phase marks among the lines."""
    found = (parse_marker(line) for line in marks.read_text().splitlines())
    return [one[:2] for one in found if one is not None]


def test_outside_greenrun_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file, no error; also where greenrun ends while the phase lasts."""
    monkeypatch.delenv("GREENRUN_MARKS", raising=False)
    monkeypatch.chdir(tmp_path)
    with greenrun.phase("train"):
        monkeypatch.setenv("GREENRUN_MARKS", str(tmp_path / "marks"))
    (tmp_path / "marks").touch()
    with greenrun.phase("train"):
        monkeypatch.delenv("GREENRUN_MARKS")
    assert [name for name, _ in told_of(tmp_path / "marks")] == ["train"]
    assert os.listdir(tmp_path) == ["marks"]


def test_the_verb(marks: Path) -> None:
    """The same from any language, and without a `with`."""
    assert mark.main(["phase", "train set", "start"]) == 0
    assert mark.main(["phase", "train set", "end"]) == 0
    assert told(marks) == [("train_set", "start"), ("train_set", "end")]
    for argv in (["phase"], ["phase", "x"], ["phase", "x", "stop"], ["phase", " ", "start"]):
        with pytest.raises(UserError, match="must"):
            mark.main(argv)
    assert len(told(marks)) == 2


@pytest.mark.parametrize(
    "line", ["phase x", "phase x begin", "phase x start at=-1", "phase x start at=nan", "phase  end"]
)
def test_what_is_no_phase(line: str) -> None:
    """It is left alone."""
    assert parse_marker(line) is None


def test_a_shell_s_line_is_one() -> None:
    """Without a time, and with blanks."""
    assert parse_marker(" phase  train   start\r") == PhaseMark("train", "start")


PRICE = """
import sys, time
before = set(sys.modules)
began = time.perf_counter()
import greenrun
took = time.perf_counter() - began
greenrun.epoch(1); greenrun.metric("x", 1.0)
with greenrun.phase("x"): pass
@greenrun.phase("x")
def f(): pass
f()
print(took, *sorted(set(sys.modules) - before))
"""


def outside() -> dict[str, str]:
    """Give an environment without greenrun."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}


def test_the_price_of_a_marker_outside_greenrun(tmp_path: Path) -> None:
    """The import loads no module but itself, nor does any call; at its best it takes less than a millisecond."""
    environment = outside() | {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    seconds = []
    for _ in range(7):
        command = [sys.executable, "-c", PRICE]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        took, *loaded = done.stdout.split()
        assert loaded == ["greenrun"]
        seconds.append(float(took))
    assert min(seconds) < 1e-3


IN_THE_WAY = """
import greenrun
with greenrun.measure(pue=1.2) as run:
    print("ran")
print(run.record, run.dir)
"""


@pytest.mark.parametrize("options", [[], ["-W", "error"]])
@pytest.mark.parametrize("module", ["threading", "select"])
def test_a_measurement_whose_code_cannot_be_imported(tmp_path: Path, module: str, options: list[str]) -> None:
    """A module of the job's own has the name of one that greenrun needs: the block runs, and one line says so."""
    (tmp_path / f"{module}.py").write_text("raise ImportError('in the way')")
    (tmp_path / "train.py").write_text(IN_THE_WAY)
    command = [sys.executable, *options, str(tmp_path / "train.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=outside(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "ran\nNone None\n"), done.stderr
    assert done.stderr.count("cannot measure (ImportError: in the way)") == 1
    assert sorted(set(os.listdir(tmp_path)) - {"__pycache__"}) == sorted([f"{module}.py", "train.py"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pue": 0.5}, r"measure\(pue=...\) must be a number of 1 or more .*, not 0.5"),
        ({"pue": True}, r"measure\(pue=...\) must be a value, no truth value, not True"),
        ({"offline": "yes"}, r"measure\(offline=...\) must be True or False, not 'yes'"),
        ({"contry": "DK"}, r"measure\(\) has no setting contry, country is the nearest"),
        ({"quiet": True}, r"measure\(\) has no setting quiet"),
        ({"start": "now"}, r"measure\(\) has no setting start"),
        ({"epochs": 0}, r"measure\(epochs=...\) must be"),
        ({"country": "DK", "zone": "FR"}, r"the zone FR must lie in the country DK"),
    ],
)
def test_a_mistake_is_told_before_the_block_begins(settings: dict[str, object], sentence: str) -> None:
    """As a ValueError, in words of Python."""
    with pytest.raises(ValueError, match=sentence):
        greenrun.measure(**settings)


def test_a_mistake_in_a_variable_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable."""
    monkeypatch.setenv("GREENRUN_PUE", "low")
    with pytest.raises(ValueError, match="GREENRUN_PUE must be a number"):
        greenrun.measure(country=None)
