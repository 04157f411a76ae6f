"""The record as Markdown: a table that says what is known, how, and what is not."""

from __future__ import annotations

import html
import re

import pytest
from markdown_it import MarkdownIt
from unit.data.logs import device, exited, intensity, sample, spawned, start

from greenrun.reports import jobmetrics, markdown
from greenrun.reports.account import account
from greenrun.reports.record import Record


def record(*devices: object, config: object = None, **more: object) -> Record:
    """Give the record of a run of an hour that used 2 Wh."""
    entries = [one if isinstance(one, dict) else device("cpu") for one in devices or (None,)]
    joules = [7200.0 / len(entries)] * len(entries)
    log = [
        start(*entries, config=config or {}, **more),
        intensity(100.0),
        spawned(0.0),
        sample(0.0, *[0.0] * len(joules)),
    ]
    return account([*log, sample(3600.0, *joules), exited(3600.0)])


def test_figures_and_methods() -> None:
    """What was measured and what was not."""
    text = markdown.render(record(device("a", name="Xeon"), device("b", "gpu", "estimate", name="A100")))
    for words in ("2.00 Wh", "partly estimated", "1.00 Wh, counted by the hardware, Xeon", "1.00 Wh, estimated, A100"):
        assert words in text
    assert "200 mg (" in text
    assert "| PUE | 1, assumed" in text
    assert "estimated, not measured" in markdown.render(record(device("a", method="estimate")))
    assert "hypervisor" in markdown.render(record(device("a", trusted=False)))


def test_what_is_unknown() -> None:
    """It is said, and is never 0."""
    text = markdown.render(account([start(), spawned(0.0), exited(10.0, None, signal=9)]))
    assert "| energy | unknown" in text
    assert "| CO2e | unknown |" in text
    assert "ended by signal 9" in text
    killed = markdown.render(account([start(device("a")), spawned(0.0), sample(0.0, 0.0), sample(5.0, 1.0)]))
    assert "(the record is partial)" in killed


def test_the_budget() -> None:
    """Kept, exceeded, or nobody knows."""
    for limit, words in ((8000.0, "2.22 Wh: kept"), (3600.0, "1.00 Wh: exceeded")):
        config = {"budget": {"quantity": "energy_joules", "limit": limit, "action": "warn"}}
        assert f"| budget | {words} |" in markdown.render(record(config=config))
    config = {"budget": {"quantity": "co2e_grams", "limit": 1.0, "action": "warn"}}
    log = [start(device("a"), config=config), spawned(0.0), sample(0.0, 0.0), sample(9.0, 1.0), exited(9.0)]
    assert "1.00 g CO2e: whether it was kept is unknown" in markdown.render(account(log))


@pytest.mark.parametrize(
    "name", ["</code><img src=x>", "x\n\n# y", "`a", "a|b|c", "\\|", "&lt;b&gt;", "@a #1", "\x1b[2J"]
)
def test_no_name_is_markup(name: str) -> None:
    """Neither that of the run, of a device, nor an argument: each comes through as it is."""
    text = markdown.render(record(device("a", name=name), name=name, command=["echo", name]))
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<img" not in page
    assert "<b>" not in page
    assert page.count("<h") == 1
    assert page.count("<td>") == 2 * 7
    shown = html.unescape(re.sub(r"<!-- -->", "", page))
    if name.isprintable():
        assert shown.count(name) == 3
    assert "@a" not in text
    assert "\x1b" not in text


def test_metrics_of_a_strange_name() -> None:
    """The label is plain, whatever the name; without any it is a run's."""
    for name, label in (('a"} 1\n#', "a-1"), ("..", ".."), (None, "run"), ("\u00e9", "run")):
        assert f'greenrun_energy_joules{{name="{label}"}} 7200\n' in jobmetrics.merged("", record(name=name))


def test_metrics_of_another_program() -> None:
    """They are not touched."""
    ours = jobmetrics.merged("", record(name="a"))
    assert jobmetrics.merged(ours, record(name="a")) == ours
    for text in ("x 1\n", ours + "greenrun_more 1\n", '{"a": 1}'):
        with pytest.raises(jobmetrics.NotOurs):
            jobmetrics.merged(text, record(name="b"))
