"""Which services may be asked, and where the token comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from greenrun.cli.config import Config
from greenrun.cli.services import services
from greenrun.intensity.model import Place, Unavailable

DENMARK = Place("DK", "DK-DK1", "--zone")
TOKEN = "s3cret-token"


def asked(config: Config, **environ: str) -> str | Unavailable:
    """Give what Electricity Maps says to Denmark."""
    first = services(config, environ)[0]
    assert first.link == "electricitymaps"
    return first.zone(DENMARK, "lifecycle")


def reason(config: Config, **environ: str) -> str:
    """Give why Electricity Maps is not asked."""
    answer = asked(config, **environ)
    assert isinstance(answer, Unavailable)
    assert TOKEN not in answer.reason
    return f"{answer.cause}: {answer.reason}"


def test_the_order_is_that_of_the_chain() -> None:
    """Electricity Maps comes before the national services."""
    assert [service.link for service in services(Config(), {})] == [
        "electricitymaps",
        "neso",
        "energidata",
        "energycharts",
    ]


def test_without_a_token_electricity_maps_says_so() -> None:
    """Nothing is wrong: it was not meant to be asked."""
    assert reason(Config()).startswith("absent: no token (GREENRUN_ELECTRICITYMAPS_TOKEN, or ")


def test_a_token_comes_from_the_environment_or_from_a_file_of_one_s_own(tmp_path: Path) -> None:
    """The environment is nearer."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert asked(Config(electricitymaps_token_file=str(path))) == "DK-DK1"
    assert asked(Config(), GREENRUN_ELECTRICITYMAPS_TOKEN=TOKEN) == "DK-DK1"
    assert asked(Config(electricitymaps_token_file="/nowhere"), GREENRUN_ELECTRICITYMAPS_TOKEN=TOKEN) == "DK-DK1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_token_file_that_others_may_open_is_not_used(tmp_path: Path, mode: int) -> None:
    """The sentence says what mends it."""
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(mode)
    assert reason(Config(electricitymaps_token_file=str(path))) == (
        f"forbidden: the token file {path} may be read by others than its owner; chmod 600 mends it"
    )


def test_what_is_no_token_file_is_told(tmp_path: Path) -> None:
    """Absent, a directory, a FIFO, below a file: each in words, and none holds greenrun up."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    assert "must be a regular file" in reason(Config(electricitymaps_token_file=str(fifo)))
    assert "must be a regular file" in reason(Config(electricitymaps_token_file=str(tmp_path)))
    assert "cannot be read: No such file" in reason(Config(electricitymaps_token_file=str(tmp_path / "none")))
    (tmp_path / "file").touch(mode=0o600)
    assert "cannot be read: Not a directory" in reason(Config(electricitymaps_token_file=str(tmp_path / "file/token")))


@pytest.mark.parametrize("told", [f"{TOKEN} {TOKEN}", f"{TOKEN}\r\nX-Evil: 1", "t\u00f6ken", TOKEN * 100])
def test_what_cannot_be_a_token_is_refused(told: str) -> None:
    """A line end in it would become a header of its own."""
    assert reason(Config(), GREENRUN_ELECTRICITYMAPS_TOKEN=told).startswith("forbidden: GREENRUN_ELECTRICITYMAPS_TOKEN")


def test_an_empty_token_counts_as_none(tmp_path: Path) -> None:
    """A variable that CI leaves empty, a file that was never filled."""
    path = tmp_path / "token"
    path.write_text("\n")
    path.chmod(0o600)
    assert reason(Config(), GREENRUN_ELECTRICITYMAPS_TOKEN=" ").startswith("absent: no token")
    assert reason(Config(electricitymaps_token_file=str(path))).startswith("absent: no token")
