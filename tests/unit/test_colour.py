"""What stands out in a summary on a terminal, and the signs in the place of ASCII."""

from __future__ import annotations

from pathlib import Path

from unit.data.logs import device, exited, intensity, sample, spawned, start, warning

from greenrun.reports import colour, terminal
from greenrun.reports.account import account

GOLDEN = Path(__file__).parent / "data" / "two-sockets" / "summary.txt"


def marked(text: str, style: str) -> list[str]:
    """Give the words that have a style."""
    return [text[one.begin : one.end] for one in colour.of_summary(text) if one.style == style]


def test_labels_and_figures_of_the_golden_summary() -> None:
    """Each label, the figure beside it, the first line; nothing in the rows of the predictions."""
    text = GOLDEN.read_text()
    assert marked(text, "green") == [
        *("energy", "CPU", "memory", "GPU", "other", "CO2e", "PUE", "intensity", "epochs", "predicted"),
    ]
    assert marked(text, "bold") == [
        "greenrun: the command ran for 2 min 0 s and exited with 0",
        *("27.0 Wh", "6.67 Wh", "0.333 Wh", "20.0 Wh", "10.0 Wh", "4.89 g"),
    ]


def test_what_is_to_be_noticed() -> None:
    """A partial record, an estimate, a warning."""
    entry = device("cpu", method="estimate", percent=50.0)
    events = [start(entry), warning(1.0, "source", "It broke."), spawned(0.0), sample(0.0, 0.0), sample(2.0, 9.0)]
    text = terminal.render(account(events))
    assert marked(text, "bold red")[0] == "partial record"
    assert "warning" in marked(text, "bold red")
    assert marked(text, "magenta")[0] == "estimated, no meter on this machine"
    whole = terminal.render(account([*events[:1], intensity(100.0), *events[2:], exited(2.0)]))
    assert not marked(whole, "bold red")


def test_signs_make_no_line_longer() -> None:
    """Plus or minus, micrograms, so many times; and only where they are meant."""
    assert colour.signs("1 J +-5 %, 2 x A100, 3 ug") == "1 J \u00b15 %, 2 \u00d7 A100, 3 \u00b5g"
    assert colour.signs("a +-b, x x y, bug, 1 ugly") == "a +-b, x x y, bug, 1 ugly"
    for before, after in zip(
        GOLDEN.read_text().splitlines(), colour.signs(GOLDEN.read_text()).splitlines(), strict=True
    ):
        assert len(after) <= len(before)
