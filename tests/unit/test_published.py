"""What an agent tells and what of it is believed."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machine.fakeagent import DRAM, PACKAGE

from greenrun.sampler import published
from greenrun.sampler.model import Counter, Device
from greenrun.sampler.published import Greeting, Reading

GREETING = published.greeting(Greeting("b00t", (PACKAGE, DRAM)))
READING = published.reading(12.3456789, [Counter(12.0, 10**11), None])


def changed(line: bytes, **changes: Any) -> bytes:
    """Give a line with other values."""
    return json.dumps(json.loads(line) | changes).encode()


def of_device(**changes: Any) -> bytes:
    """Give a greeting whose first device has other values."""
    first, *others = json.loads(GREETING)["devices"]
    return changed(GREETING, devices=[first | changes, *others])


def test_what_is_told_is_read() -> None:
    """The devices come back as counters of the agent's, the readings with the time at which they were made."""
    assert published.parse_greeting(GREETING) == Greeting(
        "b00t", (PACKAGE._replace(source="agent"), DRAM._replace(source="agent"))
    )
    assert published.parse_reading(READING, (PACKAGE, DRAM)) == Reading(
        12.345679, {PACKAGE.id: Counter(12.345679, 10**11), DRAM.id: None}
    )


def test_lines_are_short() -> None:
    """A machine of eight packages fits many times into what a reader takes at once."""
    devices = [PACKAGE._replace(id=f"rapl:package-{at}", name="x" * 100, note="y" * 200) for at in range(16)]
    assert len(published.greeting(Greeting("b", tuple(devices)))) < published.MOST_BYTES / 4
    assert GREETING.count(b"\n") == READING.count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"[" * 60_000,
        changed(GREETING, agent=2),
        changed(GREETING, boot_id=3),
        changed(GREETING, devices={}),
        changed(GREETING, devices=[None]),
        changed(GREETING, devices=json.loads(GREETING)["devices"] * 40),
        changed(GREETING, devices=json.loads(GREETING)["devices"][:1] * 2),
        of_device(id=""),
        of_device(id="a\nb"),
        of_device(kind="heat"),
        of_device(kind=["cpu"]),
        of_device(name="\x1b[2J"),
        of_device(name="\ud800"),
        of_device(note="x" * 501),
        of_device(uncertainty_percent=float("nan")),
        of_device(uncertainty_percent=-1),
        of_device(max_watts=float("inf")),
        of_device(max_watts=True),
        of_device(span_microjoules=0),
        of_device(span_microjoules=1.5),
        of_device(counted=1),
        of_device(trusted="yes"),
    ],
)
def test_a_greeting_that_is_not_believed(line: bytes) -> None:
    """Whatever is not exactly as it should be is a ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"\w"):
        published.parse_greeting(line)


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        changed(READING, t=None),
        changed(READING, t=float("nan")),
        changed(READING, t=-1.0),
        changed(READING, t=True),
        changed(READING, t=10**400),
        changed(READING, microjoules=None),
        changed(READING, microjoules=[1]),
        changed(READING, microjoules=[1, 2, 3]),
        changed(READING, microjoules=[1, -2]),
        changed(READING, microjoules=[1, 2.5]),
        changed(READING, microjoules=[1, float("nan")]),
        changed(READING, microjoules=[1, 2**63]),
        changed(READING, microjoules=[1, "2"]),
        changed(READING, microjoules=[1, False]),
    ],
)
def test_a_reading_that_is_not_believed(line: bytes) -> None:
    """No number that could become an energy comes out of it."""
    with pytest.raises(ValueError, match=r"\w"):
        published.parse_reading(line, (PACKAGE, DRAM))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.binary(max_size=200) | JSON.map(lambda told: json.dumps(told).encode()))
def test_nothing_but_a_value_error(line: bytes) -> None:
    """Whatever comes in, nothing else breaks."""
    with contextlib.suppress(ValueError):
        assert published.parse_greeting(line)
    with contextlib.suppress(ValueError):
        assert published.parse_reading(line, (PACKAGE,))


@given(JSON, st.sampled_from([name for name in Device._fields if name not in ("source", "method")]))
def test_a_device_is_what_it_says_or_nothing(value: Any, name: str) -> None:
    """A field of a device has a value of its own kind, or there is no device."""
    try:
        told = published.parse_greeting(of_device(**{name: value}))
    except ValueError:
        return
    assert type(told.devices[0]) is Device
    assert getattr(told.devices[0], name) in (value, getattr(PACKAGE, name))
