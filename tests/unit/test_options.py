"""The table of options and the search for the command's first word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.cli import options, parse, wrap
from greenrun.cli.errors import UserError

OWN = ["--", "-", "", "-q", "-qq", "-x", "--pue", "--pue=1.2", "--name=", "--name=--", "--quiet", "--quiet=1", "--nope"]
WORDS = st.sampled_from([*OWN, "--log-dir", "--epochs", "3", "python", "run", "report", "a b"])


def click_words(argv: list[str]) -> list[str] | None:
    """Give the command as click finds it, None for a usage error."""
    try:
        told = parse.invoke(wrap.command, argv[1:] if argv[:1] == ["run"] else list(argv), "greenrun")
    except UserError:
        return None
    assert isinstance(told, tuple)
    return told[1]


@given(st.lists(WORDS, max_size=6).filter(lambda argv: argv[:1] != ["report"]))
def test_split_finds_the_command_that_click_finds(argv: list[str]) -> None:
    """The parser for the worst case and click read every line alike; only a missing value is left to click."""
    by_click = click_words(argv)
    try:
        own, command = options.split(argv)
    except UserError:
        assert by_click is None
    else:
        assert own + command == argv
        assert command == (by_click or [])


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["python", "--help"], ["python", "--help"]),
        (["run", "report"], ["report"]),
        (["--", "report"], ["report"]),
        (["run", "--", "-x"], ["-x"]),
        (["run", "run"], ["run"]),
        (["--epochs", "3", "--", "--weird"], ["--weird"]),
        (["--log-dir", "--", "true"], ["true"]),
        (["-q", "", "a"], ["", "a"]),
        (["-"], ["-"]),
        (["[/x]"], ["[/x]"]),
        (["report", "x"], []),
        (["--pue"], []),
        ([], []),
    ],
)
def test_split(argv: list[str], command: list[str]) -> None:
    """The command begins at the first word that is no option, or behind `--`."""
    assert options.split(argv) == (argv[: len(argv) - len(command)], command)


def test_split_refuses_what_is_no_option() -> None:
    """A misspelt option is never taken for a command, and the nearest one is named."""
    with pytest.raises(UserError, match=r"no option --epoch, --epochs is the nearest"):
        options.split(["--epoch", "3", "true"])
    with pytest.raises(UserError, match=r"--quiet takes no value"):
        options.split(["--quiet=1", "true"])


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("pue", "1", 1.0),
        ("pue", "1.58", 1.58),
        ("intensity", "0", 0.0),
        ("interval", "0.05", 0.05),
        ("interval", "60", 60.0),
        ("epochs", "1", 1),
        ("epochs", "auto", "auto"),
        ("epoch_pattern", r"it (\d+)", r"it (\d+)"),
        ("epoch_marks", "end", "end"),
        ("country", "dnk", "DK"),
        ("country", "Denmark", "DK"),
        ("country", "uk", "GB"),
        ("zone", "dk-dk1", "DK-DK1"),
        ("quiet", "Yes", True),
        ("quiet", "0", False),
        ("name", "Größe 1", "Größe 1"),
    ],
)
def test_a_good_value_is_converted(key: str, text: str, value: object) -> None:
    """What is allowed becomes a value of the right type."""
    assert options.BY_KEY[key].check(text) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [("pue", text) for text in ("0.99", "nan", "inf", "-1", "", "1,2", "x", "1e999")]
    + [("intensity", text) for text in ("-0.1", "nan", "inf", "x")]
    + [("interval", text) for text in ("0.049", "60.1", "0", "-1", "nan")]
    + [("epochs", text) for text in ("0", "-1", "1.5", "x", "", "²", "9" * 5000, "Auto", "auto ")]
    + [("epoch_pattern", text) for text in ("", "(", "no group", "(" * 5000)]
    + [("epoch_marks", text) for text in ("", "begin", "START")]
    + [("country", text) for text in ("", "XX", "Atlantis", "D")]
    + [("zone", text) for text in ("", "XX-1", "DENMARK-1", "DK/DK1", "DK DK1")]
    + [("quiet", text) for text in ("", "2", "on")]
    + [("name", text) for text in ("", " ", "a\nb", "\udcff", "\x1b[31m")]
    + [("log_dir", "")],
)
def test_a_bad_value_says_what_it_must_be(key: str, text: str) -> None:
    """The error is the end of a sentence that begins with the place."""
    with pytest.raises(ValueError, match=r"^must be "):
        options.BY_KEY[key].check(text)


def test_a_home_directory_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands it in a TOML file."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert options.BY_KEY["log_dir"].check("~/runs") == "/home/ada/runs"
