"""Runs side by side: the front, the score, and a change told apart from noise."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine.command import Greenrun
from unit.data.logs import device, exited, intensity, sample, spawned, start

from greenrun.reports import comparison, jsonfile, noise, pareto
from greenrun.reports.account import account

# kWh and validation accuracy, as published; the scores by hand: P x 1.017 / (1.017 + E - 0.003)
PUBLISHED = (
    (0.003, 0.50, 0.5, True),
    (0.005, 0.55, 0.5489205, True),
    (0.007, 0.59, 0.5876885, True),
    (0.03, 0.54, 0.5260345, False),
    (0.08, 0.78, 0.7251005, True),
    (0.23, 0.81, 0.6621945, True),
    (1.02, 0.89, 0.445, True),
)
amounts = st.floats(0.0, 1e6)


def log(
    joules: float, *more: Any, devices: Any = (), seconds: float = 10.0, code: int = 0, **started: Any
) -> list[Any]:
    """Give the run log of a run that used so much."""
    devices = devices or (device("cpu"),)
    return [
        start(*devices, **started),
        intensity(360.0),
        spawned(0.0),
        sample(0.0, *[0.0] * len(devices)),
        *more,
        sample(seconds, *[joules / len(devices)] * len(devices)),
        exited(seconds, code),
    ]


def metric(name: str, value: float) -> dict[str, Any]:
    """Give a metric."""
    return {"event": "metric", "t": 1.0, "name": name, "value": value}


def put(folder: Path, events: list[Any], *, summary: bool = False) -> str:
    """Write a run directory: the log, or the summary alone."""
    folder.mkdir(parents=True)
    if summary:
        (folder / "summary.json").write_text(jsonfile.render(account(events)))
    else:
        (folder / "run.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(folder)


def runs(*joules: float) -> comparison.Side:
    """Give a side."""
    return comparison.side("x", [comparison.run_of(account(log(value)), "p") for value in joules])


# --- the front and the score


def test_published_pairs(greenrun: Greenrun, tmp_path: Path) -> None:
    """Front and scores of random subsampling are those of hand computation, in JSON and in the table."""
    paths = [
        put(tmp_path / f"{at}", log(kwh * 3.6e6, metric("val_acc", accuracy), name=f"n{at}"), summary=at % 2 == 0)
        for at, (kwh, accuracy, _, _) in enumerate(PUBLISHED)
    ]
    told = greenrun("compare", *paths, "--metric", "val_acc", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    rows = json.loads(told.stdout)["runs"]
    assert [row["pepr"] for row in rows] == pytest.approx([score for *_, score, _ in PUBLISHED], abs=1e-7)
    assert [row["on_front"] for row in rows] == [on_front for *_, on_front in PUBLISHED]
    assert [row["metric"] for row in rows] == [accuracy for _, accuracy, *_ in PUBLISHED]
    text = greenrun("compare", *paths, "--metric", "val_acc").stdout
    assert "n4                        80.0 Wh   28.8 g   10.0 s     0.78    0.725      yes" in text
    assert text.count(" yes") == 6
    assert max(map(len, text.splitlines())) <= 80


def test_ties() -> None:
    """Equal runs are on the front together; where all use the same, R is 0."""
    assert pareto.front([(1.0, 0.5), (1.0, 0.5), (1.0, 0.4), (2.0, 0.5)]) == [True, True, False, False]
    assert pareto.scores([(5.0, 0.5), (5.0, 0.7)]) == [0.5, 0.7]
    assert pareto.scores([(5.0, 0.5)]) == [0.5]
    assert pareto.scores([(5.0, -0.5), (6.0, 0.5)]) == [None, 0.25]
    assert pareto.front([]) == pareto.scores([]) == []


@given(st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.sampled_from([1.0, 2.0, 3.0, 4.0])), max_size=12))
def test_the_front_is_what_nobody_beats(points: list[tuple[float, float]]) -> None:
    """By the definition, point by point."""
    beaten = [any(a <= c and b >= d and (a, b) != (c, d) for a, b in points) for c, d in points]
    assert pareto.front(points) == [not one for one in beaten]


@given(st.lists(st.tuples(amounts, st.floats(0.0, 1.0)), max_size=12))
def test_a_score_is_between_half_and_all_of_the_performance(points: list[tuple[float, float]]) -> None:
    """For R goes from 0 to 1."""
    for (_, performance), score in zip(points, pareto.scores(points), strict=True):
        assert score is not None
        assert performance / 2.0 <= score <= performance


def test_a_loss(greenrun: Greenrun, tmp_path: Path) -> None:
    """Where lower is better the front turns round, and there is no score."""
    pairs = ((10.0, 0.9), (20.0, 0.1), (30.0, 0.5))
    paths = [put(tmp_path / f"{joules}", log(joules, metric("loss", loss))) for joules, loss in pairs]
    rows = json.loads(greenrun("compare", *paths, "--metric", "loss", "--lower-is-better", "--json").stdout)["runs"]
    assert [row["on_front"] for row in rows] == [True, True, False]
    assert {row["pepr"] for row in rows} == {None}


def test_a_run_that_failed_is_not_ranked(greenrun: Greenrun, tmp_path: Path) -> None:
    """It used less because it did less: it stands in the table, and moves nobody's score."""
    good = put(tmp_path / "good", log(20.0, metric("val_acc", 0.5)))
    better = put(tmp_path / "better", log(30.0, metric("val_acc", 0.6)))
    failed = put(tmp_path / "failed", log(1.0, metric("val_acc", 0.9), code=1))
    rows = json.loads(greenrun("compare", good, better, failed, "--metric", "val_acc", "--json").stdout)["runs"]
    assert [row["pepr"] for row in rows] == [0.5, 0.3, None]
    assert [row["on_front"] for row in rows] == [True, True, None]


def test_the_pyramid(greenrun: Greenrun, tmp_path: Path) -> None:
    """Parameters and FLOP as the job marked them, GPU hours, energy, carbon; what is unknown is no 0."""
    gpus = (device("g0", "gpu"), device("g1", "gpu"))
    marks = (metric("parameters", 25e6), metric("flop", 4e15))
    one = put(tmp_path / "a", log(3.6e6, *marks, devices=gpus, seconds=7200.0, name="big"))
    two = put(tmp_path / "b", log(3600.0, name="small"))
    three = put(tmp_path / "c", log(3600.0, code=1, name="broken"))
    text = greenrun("compare", one, two, three).stdout
    assert "big                            25e6      4e+15       4.00   1.00 kWh      360 g" in text
    assert "small                             ?          ?          ?    1.00 Wh     360 mg" in text
    assert "* not ranked: failed with 1" in text
    rows = json.loads(greenrun("compare", one, two, three, "--json").stdout)["runs"]
    assert [row["gpu_hours"] for row in rows] == [4.0, None, None]
    assert [row["left_out"] for row in rows] == [None, None, "failed with 1"]


def test_names_command_no_terminal(greenrun: Greenrun, tmp_path: Path) -> None:
    """Whatever a run is called, the table stays one."""
    events = log(10.0, metric("\x1b[2Jx", 1.0), name="\x1b[31m\nroot\x9b" * 5)
    paths = [put(tmp_path / f"{at}", events) for at in range(3)]
    told = greenrun("compare", *paths, "--metric", "\x1b[2Jx")
    assert told.returncode == 0
    assert not {"\x1b", "\x9b"} & set(told.stdout)
    assert max(map(len, told.stdout.splitlines())) <= 80


# --- noise


def test_welch_by_hand() -> None:
    """Two on each side: logarithms 0 and 0.1 against 0.2 and 0.3, two degrees of freedom."""
    found = noise.change([1.0, math.exp(0.1)], [math.exp(0.2), math.exp(0.3)])
    half_width = 2.9200 * math.sqrt(0.005)
    assert found == pytest.approx([100.0 * math.expm1(x) for x in (0.2, 0.2 - half_width, 0.2 + half_width)])


def test_one_new_run_by_hand() -> None:
    """It scatters as the base does: variance 0.01, times 1/3 + 1, two degrees of freedom."""
    found = noise.change([1.0, math.exp(0.1), math.exp(0.2)], [math.exp(0.5)])
    half_width = 2.9200 * math.sqrt(0.01 * 4.0 / 3.0)
    assert found == pytest.approx([100.0 * math.expm1(x) for x in (0.4, 0.4 - half_width, 0.4 + half_width)])


def test_no_repeats_no_interval() -> None:
    """And of nothing there is no ratio."""
    assert noise.change([100.0], [112.0]) == (pytest.approx(12.0), None, None)
    for old, new in (([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0, 2.0], [0.0])):
        with pytest.raises(ValueError, match="above 0"):
            noise.change(old, new)


@pytest.mark.parametrize(("old", "new"), [(5, 5), (3, 3), (5, 2), (6, 1), (1, 6)])
def test_noise_alone_is_rarely_taken_for_a_rise(old: int, new: int) -> None:
    """Once in twenty times, however the runs are shared out."""
    dice = random.Random(old * 10 + new)  # noqa: S311  no secret
    rises, tries = 0, 4000
    for _ in range(tries):
        draws = [dice.lognormvariate(7.0, 0.1) for _ in range(old + new)]
        found = noise.change(draws[:old], draws[old:])
        rises += found.low_percent is not None and found.low_percent > 0.0
    assert 0.02 < rises / tries < 0.062


def test_a_rise_is_seen() -> None:
    """15 % among runs that differ by 3 %, five on each side."""
    dice = random.Random(3)  # noqa: S311  no secret
    seen = 0
    for _ in range(200):
        old = [dice.lognormvariate(7.0, 0.03) for _ in range(5)]
        new = [1.15 * dice.lognormvariate(7.0, 0.03) for _ in range(5)]
        found = noise.change(old, new)
        seen += found.low_percent is not None and found.low_percent > 0.0
    assert seen == 200


# --- the verdict


@pytest.mark.parametrize(
    ("old", "new", "limit", "failed", "words"),
    [
        ((100, 101, 99), (120, 121, 119), 10.0, True, "noise does not explain it"),
        ((100, 101, 99), (120, 121, 119), 25.0, False, "not above"),
        ((100, 150, 70), (120, 170, 90), 10.0, False, "noise explains it"),
        ((100, 101, 99), (105, 106, 104), 10.0, False, "not above"),
        ((100,), (112,), 10.0, True, "tells nothing of noise"),
        ((100,), (109,), 10.0, False, "not above"),
        ((100,), (80,), 0.0, False, "not above"),
        ((100, 101, 99), (115,), 10.0, True, "noise does not explain it"),
        ((100, 130, 80), (115,), 10.0, False, "noise explains it"),
    ],
)
def test_verdicts(old: Any, new: Any, limit: float, failed: bool, words: str) -> None:
    """Above the limit, and not by noise."""
    told = comparison.verdict(runs(*old), runs(*new), "energy", limit)
    assert told.failed is failed
    assert words in told.words


def test_the_verb(greenrun: Greenrun, tmp_path: Path) -> None:
    """Directories of repeats: the table, the exit status, and what is left out."""
    for at, joules in enumerate((1000.0, 1010.0, 990.0)):
        put(tmp_path / f"base/deep/{at}", log(joules, run_id=f"b{at}"), summary=at == 1)
        put(tmp_path / f"new/{at}", log(1.2 * joules, run_id=f"n{at}"))
    put(tmp_path / "new/failed", log(10.0, code=1))
    base, new = str(tmp_path / "base"), str(tmp_path / "new")
    told = greenrun("compare", base, new, "--fail-above", "10%")
    assert told.returncode == 1
    assert "energy              1000 J            1200 J             +20 %" in told.stdout
    assert "Left out of new: 1 run (failed with 1)." in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert greenrun("compare", base, new, "--fail-above", "25 %").returncode == 0
    assert greenrun("compare", base, new, "--fail-above", "10%", "--quantity", "duration").returncode == 0
    assert greenrun("compare", base, new).returncode == 0
    document = json.loads(greenrun("compare", base, new, "--fail-above", "10%", "--json").stdout)
    assert document["failed"] is True
    assert document["changes"]["energy_joules"]["percent"] == pytest.approx(20.0)
    assert document["changes"]["duration_seconds"]["percent"] == 0.0
    assert document["limit"] == {"quantity": "energy_joules", "percent": 10.0}
    assert [len(document[side]["runs"]) for side in ("base", "new")] == [3, 3]


def test_what_makes_a_change_doubtful(greenrun: Greenrun, tmp_path: Path) -> None:
    """Single runs, estimates, other devices."""
    one = put(tmp_path / "a", log(1000.0))
    two = put(tmp_path / "b", log(1000.0, devices=(device("gpu", "gpu", "estimate"),)))
    text = " ".join(greenrun("compare", one, two).stdout.split())
    for words in ("nothing tells a change from noise", "on different devices", "estimated from load"):
        assert words in text
    assert "90 % interval" in text
    assert "unknown" in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["A", "B", "--fail-above", "10"], "with its sign, such as 10%"),
        (["A", "B", "--fail-above", "-1%"], "with its sign, such as 10%"),
        (["A", "B", "A", "--fail-above", "10%"], "BASE and NEW"),
        (["A", "--quantity", "energy"], "BASE and NEW"),
        (["A", "B", "--metric", "x", "--fail-above", "1%"], "tell one of them"),
        (["A", "B", "A", "--lower-is-better"], "--metric NAME"),
        (["A", "B", "--metric", "val_ac"], "val_acc is the nearest"),
        (["A", "nowhere"], "no run directory"),
        (["A", "empty"], "there is none in it"),
        (["A", "torn"], "cannot be compared"),
        (["A", "failed"], "no run that can be compared"),
        (["A", "unread", "--fail-above", "1%"], "nothing is judged"),
        ([], "must be told"),
    ],
)
def test_mistakes(greenrun: Greenrun, argv: list[str], words: str) -> None:
    """One sentence each that says what would be right; a gate that cannot judge does not open."""
    top = Path(greenrun.cwd)
    put(top / "A", log(10.0, metric("val_acc", 1.0)))
    put(top / "B", log(10.0))
    put(top / "failed", log(10.0, code=1))
    put(top / "unread", log(0.0))
    put(top / "torn", [])
    (top / "torn/run.jsonl").unlink()
    (top / "torn/summary.json").write_text('{"status": "complete"}')
    (top / "empty/sub").mkdir(parents=True)
    told = greenrun("compare", *argv)
    assert (told.returncode, told.stdout, told.stderr.count("\n")) == (125, "", 1)
    assert words in told.stderr
