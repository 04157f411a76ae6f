"""The paragraph for a paper or a model card: what it must say, and that no name in it is markup."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from unit.data.logs import device, exited, hour, intensity, sample, spawned, start

from greenrun.reports import bibtex, huggingface, latex, statement
from greenrun.reports.account import account
from greenrun.reports.formats import CannotTell
from greenrun.reports.record import Record

HOSTILE = (
    '<script>alert(1)</script> *b* _i_ [l](x) `c` $x^2$ \\input{/etc/passwd} % # & ~ { } | "q" --x @all \x1b[0m\n\ud83d'
)


def record(*devices: Any, joules: float = 7200.0, more: Any = (), **started: Any) -> Record:
    """Give the record of a run of one hour."""
    devices = devices or (device("cpu", name="Xeon"), device("g", "gpu", "power", name="A100"))
    log = [start(*devices, **started), intensity(100.0), *more, spawned(0.0), sample(0.0, *[0.0] * len(devices))]
    return account([*log, sample(3600.0, *[joules] * len(devices)), exited(3600.0)])


def test_what_a_paper_needs() -> None:
    """Hardware, time, energy, PUE, intensity with its source, CO2e with its range, tool and version."""
    text = statement.render(record(config={"pue": 1.5}))
    for words in ("1 x A100", "CPU (Xeon)", "1 h 0 min", "4.00 Wh", "1.5 (as told)", "6.00 Wh", "100 g/kWh", "a test"):
        assert words in text
    assert "600 mg of CO2e (5" in text
    assert "greenrun 0.1.0" in text


def test_an_estimate_is_said_to_be_one() -> None:
    """In each of them; in part or in all, and a partial record too."""
    all_of_it = record(device("cpu", method="estimate"))
    part = record(device("cpu", method="estimate"), device("g", "gpu"))
    log = [start(device("cpu")), intensity(100.0), spawned(0.0), sample(0.0, 0.0), sample(10.0, 5.0)]
    killed = account(log)
    for render in (statement.render, latex.render, huggingface.render):
        assert "All of it is an estimate" in render(all_of_it)
        assert "A part of it is an estimate" in render(part)
        assert "estimate" not in render(record())
        assert "The record is partial" in render(killed)
        assert "The record is partial" not in render(part)


def test_a_counter_that_a_hypervisor_models() -> None:
    """It is no measurement."""
    assert "hypervisor" in statement.render(record(device("cpu", trusted=False)))


def test_what_is_unknown() -> None:
    """It is said, and no figure stands in for it."""
    bare = account([start(), spawned(0.0), exited(10.0)])
    text = statement.render(bare)
    assert "energy that it used is unknown" in text
    assert "emissions are unknown" in text
    assert not re.search(r"\b\d[\d.]* (?:m?J|k?Wh|m?g|kg)\b", text)
    with pytest.raises(CannotTell, match="none are known"):
        huggingface.render(bare)
    never = account([start(), {"event": "not-started", "t": 0.0, "exit_code": 127, "reason": "no"}])
    assert "did not run" in statement.render(never)


def test_no_name_is_markdown() -> None:
    """Nor HTML."""
    text = statement.render(record(device("c", name=HOSTILE), name=HOSTILE))
    assert not re.search(r"(?<!\\)[<>*_`\[\]{}|~#$]", text.replace("&#64;", ""))
    assert "@" not in text
    assert "\x1b" not in text
    assert text.count("\n") == 1


def test_no_name_is_latex() -> None:
    """Every special character stands for itself; nothing is read and nothing is a comment."""
    text = latex.render(record(device("c", name=HOSTILE), name=HOSTILE)).removesuffix(" \\cite{greenrun}\n")
    commands = set(re.findall(r"\\([a-zA-Z]+)", text))
    assert commands <= {
        "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textquotedbl",
        "textasciigrave", "textquotesingle", "ensuremath", "pm",
    }  # fmt: skip
    assert not re.search(r"(?<!\\)[%#&$_]", text)
    assert "--" not in text
    assert "\\textbackslash{}input\\{/etc/passwd\\}" in text


def test_bibtex_is_balanced() -> None:
    """Whatever a source is called: an unbalanced brace would swallow the rest of the library."""
    source = "a } b \\} } { $"
    text = bibtex.render(record(more=[hour(50.0, None, None, source=source)]))  # type: ignore[arg-type]
    assert text.count("@misc{") == 2
    assert text.count("{") == text.count("}")
    depth = 0
    for letter in text:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert "version = {0.1.0}" in text


def test_model_card() -> None:
    """The Hub's fields, as YAML reads them; a name cannot add one."""
    told = yaml.safe_load(
        huggingface.render(record(device("g", "gpu", name='A" \u2028\n  evil: 1 # \x85'), name=HOSTILE))
    )
    fields = told["co2_eq_emissions"]
    assert set(fields) == {"emissions", "source", "geographical_location", "hardware_used"}
    assert fields["emissions"] == pytest.approx(0.2)
    assert fields["geographical_location"] == "Denmark"
    assert "evil: 1 #" in fields["hardware_used"]


@pytest.mark.parametrize("joules", [1e-9, 1e-3, 0.36, 1.0, 1e12])
def test_emissions_are_a_number(joules: float) -> None:
    """Without an exponent, which some readers of YAML take for text."""
    text = huggingface.render(record(device("c"), joules=joules))
    assert re.search(r"emissions: [\d.]+\n", text)
    assert yaml.safe_load(text)["co2_eq_emissions"]["emissions"] == pytest.approx(joules / 3.6e6 * 100.0, rel=1e-5)
