"""What is said of epochs that were not seen, or not looked for."""

from __future__ import annotations

from typing import Any

import pytest

from greenrun.reports import doubts
from greenrun.reports.carbon import no_intensity
from greenrun.reports.life import Life

LONG = doubts.LONG_SECONDS
PIPES = {"stdout": "pipe", "stderr": "terminal"}
FILES = {"stdout": "file", "stderr": "file"}
EPOCH = {"event": "epoch", "t": 1.0, "n": 1, "of": None, "mark": "end", "from": "output"}
PREDICTION = {"event": "prediction", "t": 1.0, "after_epoch": 1, "epochs": 3}


def said(
    seconds: float, output: object, *events: dict[str, Any], kind: str = "command", **config: object
) -> list[tuple[str, str]]:
    """Give what the account says of epochs: code and sentence."""
    start = {"event": "start", "t": 0.0, "kind": kind, "config": config, "output": output}
    if output is None:
        del start["output"]  # the log of an older version
    life = Life(0.0, seconds, ended=True)
    found = doubts.warnings([start, *events], life, [], [], no_intensity())
    return [(one["code"], one["message"]) for one in found if one["code"] in ("epochs", "unwatched")]


def test_long_run_that_was_not_watched() -> None:
    """It is told once, with the streams and the flag."""
    ((code, sentence),) = said(LONG, PIPES)
    assert code == "unwatched"
    assert "stdout went to a pipe, stderr went to a terminal" in sentence
    assert "--epochs auto" in sentence
    ((_, sentence),) = said(LONG, {"stdout": "file", "stderr": "terminal"})
    assert "(stderr went to a terminal)" in sentence


@pytest.mark.parametrize("output", [FILES, {"stdout": "other", "stderr": "closed"}, {}, None])
def test_nothing_to_watch(output: object) -> None:
    """A file is read without being asked, and a device cannot be watched."""
    assert said(LONG, output) == []


def test_short_run() -> None:
    """Nobody needs a prediction of what takes less than ten minutes, unless a pattern shows that it was wanted."""
    assert said(LONG - 1, PIPES) == []
    assert [code for code, _ in said(1, PIPES, epoch_pattern="it (.)")] == ["unwatched"]
    assert said(1, FILES, epoch_pattern="it (.)") == []


def test_run_that_is_no_command() -> None:
    """A block of a process that measures itself has no flags."""
    assert said(LONG, PIPES, kind="block") == []


@pytest.mark.parametrize(
    ("seconds", "epochs", "number"), [(1, 3, 1), (1, "auto", 0), (LONG, "auto", 1), (LONG, 3, 1), (LONG, None, 0)]
)
def test_asked_and_not_seen(seconds: float, epochs: object, number: int) -> None:
    """Who tells a number expects epochs; who writes auto everywhere expects them of long runs."""
    found = said(seconds, FILES, epochs=epochs)
    assert [code for code, _ in found] == ["epochs"] * number
    assert all("--epoch-pattern" in sentence for _, sentence in found)


@pytest.mark.parametrize(
    ("seconds", "epochs", "number"), [(1, "auto", 1), (1, None, 0), (LONG, None, 1), (LONG, "auto", 1), (LONG, 3, 0)]
)
def test_seen_without_a_total(seconds: float, epochs: object, number: int) -> None:
    """Epochs that nobody knows the number of cannot be predicted with."""
    found = said(seconds, PIPES, EPOCH, epochs=epochs)
    assert [code for code, _ in found] == ["epochs"] * number
    assert all("--epochs N" in sentence for _, sentence in found)


def test_seen_and_predicted() -> None:
    """Then there is nothing to say."""
    assert said(LONG, PIPES, EPOCH, PREDICTION, epochs="auto") == []
    assert said(LONG, PIPES, {**EPOCH, "of": 3}) == []
