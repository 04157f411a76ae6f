"""The agent as a source: what it tells is read, and an agent that does wrong costs nothing but its readings."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from machine.fakeagent import DRAM, PACKAGE, FakeAgent, greeting, reading

from greenrun.sampler.loop import Sampler
from greenrun.sampler.meter import Meter
from greenrun.sampler.model import Counter, Finding, Machine, Opened, Reading, Source
from greenrun.sampler.runlog import Writer
from greenrun.sampler.sources import stand_in
from greenrun.sampler.sources.agent import Agent

FORBIDDEN = Finding("rapl", "package-0", "forbidden", "This user may not read it.", "Ask somebody.")
Agents = Callable[..., FakeAgent]


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    """Make agents at one path."""
    with ExitStack() as stack:

        def make(first: bytes = b"", **more: Any) -> FakeAgent:
            path = tmp_path / "agent.sock"
            path.unlink(missing_ok=True)
            return stack.enter_context(FakeAgent(path, first, **more))

        yield make


def opened(path: str, *wanted: Any) -> tuple[Agent, Opened]:
    """Open the agent at a path."""
    source = Agent(wanted or ("cpu", "dram"))
    return source, source.open(Machine(agent=path))


def heard(source: Source, seconds: float = 10.0) -> list[Reading | None]:
    """Read until something has come."""
    until = time.monotonic() + seconds
    while not any(got := list(source.read())) and time.monotonic() < until:
        time.sleep(0.005)
    return got


def test_its_counters_are_read(agents: Agents) -> None:
    """By the time at which the agent read them, and named after it."""
    t = time.monotonic() - 0.7
    agent = agents(greeting() + reading(5_000_000, 1_000_000, t=t))
    source, found = opened(agent.path)
    assert [device.id for device in found.devices] == ["agent:rapl:package-0", "agent:rapl:package-0/dram"]
    package = found.devices[0]
    assert (package.source, package.method, package.resolution_seconds) == ("agent", "counter", 1.0)
    assert (package.span_microjoules, package.max_watts) == (PACKAGE.span_microjoules, PACKAGE.max_watts)
    assert agent.path in package.note
    assert [(finding.status, agent.path in finding.sentence) for finding in found.findings] == [("ok", True)]
    assert source.read() == [Counter(round(t, 6), 5_000_000), Counter(round(t, 6), 1_000_000)]
    assert source.read() == [None, None]
    agent.say(reading(6_000_000, None) + reading(7_000_000, None))
    package_reading, dram_reading = heard(source)
    assert isinstance(package_reading, Counter)
    assert (package_reading.microjoules, dram_reading) == (7_000_000, None)
    assert source.warnings() == []


def test_only_what_is_wanted(agents: Agents) -> None:
    """A kind that the user can read by himself is not told twice."""
    psys = PACKAGE._replace(id="rapl:psys", kind="other", counted=False)
    agent = agents(greeting(PACKAGE, DRAM, psys) + reading(1, 2, 3))
    source, found = opened(agent.path, "dram", "other")
    assert [device.id for device in found.devices] == ["agent:rapl:package-0/dram", "agent:rapl:psys"]
    assert [value.microjoules for value in source.read() if isinstance(value, Counter)] == [2, 3]
    _, found = opened(agent.path, "other")
    assert (found.devices, [finding.status for finding in found.findings]) == ((), ["absent"])


@pytest.mark.parametrize(
    ("first", "word"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot be believed"),
        (greeting() + reading(1), "not of the devices"),
        (greeting() + b'{"t": 1, "microjoules": [NaN, 1]}\n', "cannot be believed"),
        (greeting() + reading(1, 2, t=time.monotonic() - 3600), "of a time"),
        (greeting() + reading(1, 2, t=time.monotonic() + 3600), "of a time"),
        (greeting(boot_id="another") + reading(1, 2), "another machine"),
        (greeting(agent=7) + reading(1, 2), "this version"),
        (b"x" * (1 << 20), "without an end"),
        (b"\n" * (1 << 20), "cannot be believed"),
    ],
)
def test_nonsense_is_broken(agents: Agents, first: bytes, word: str) -> None:
    """A finding with the reason, no device, and no hurry of ours after it."""
    agent = agents(first)
    _, found = opened(agent.path)
    assert found.devices == ()
    (finding,) = found.findings
    assert finding.status == "broken"
    assert word in finding.sentence


def test_an_agent_that_says_nothing_is_not_waited_for_long(agents: Agents) -> None:
    """Or only half of what it should: two seconds, in a thread beside the loop."""
    for first in (b"", greeting()):
        agent = agents(first)
        began = time.monotonic()
        _, found = opened(agent.path)
        assert 1.9 < time.monotonic() - began < 15.0
        (finding,) = found.findings
        assert (finding.status, "not answered" in finding.sentence) == ("broken", True)


def test_an_agent_that_hangs_up(agents: Agents) -> None:
    """As one does that has too many clients."""
    _, found = opened(agents(hangs_up=True).path)
    assert "closed the connection" in found.findings[0].sentence


@pytest.mark.parametrize("kind", ["nothing", "stale", "file"])
def test_no_agent_there(agents: Agents, tmp_path: Path, kind: str) -> None:
    """Where nobody listens that is said at once."""
    path = tmp_path / "agent.sock"
    if kind == "stale":
        agents().close()
    elif kind == "file":
        path.touch()
    _, found = opened(str(path))
    assert [finding.status for finding in found.findings] == ["broken"]
    assert "No agent listens" in found.findings[0].sentence


def test_an_agent_that_hangs_later_holds_nobody_up(agents: Agents) -> None:
    """A reading takes what is there, and gives nothing where nothing is."""
    agent = agents(greeting() + reading(1, 2))
    source, _ = opened(agent.path)
    source.read()
    began = time.monotonic()
    assert [source.read() for _ in range(100)] == [[None, None]] * 100
    assert time.monotonic() - began < 5.0
    assert source.warnings() == []


def test_an_agent_that_never_stops_talking(agents: Agents) -> None:
    """A bounded part is taken each time, and nonsense is told once, however often it comes."""
    agent = agents(greeting() + reading(1, 2))
    source, _ = opened(agent.path)
    source.read()
    agent.first = b"z" * (1 << 19)
    agent.say(b"z" * (1 << 17))
    warned = []
    for _ in range(20):
        assert source.read() == [None, None]
        warned += source.warnings()
        time.sleep(0.01)
    ((device, sentence),) = warned
    assert device is None
    assert "cannot be believed" in sentence


def test_what_is_taken_at_once_is_bounded(agents: Agents) -> None:
    """However much is waiting: the rest is for the next reading."""
    began = time.monotonic() - 0.01  # a reading that is seconds old is none
    agent = agents(greeting(PACKAGE) + reading(0, t=began))
    source, _ = opened(agent.path)
    source.read()
    lines = [reading(number, t=began + number * 1e-6) for number in range(1, 8000)]
    thread = threading.Thread(target=agent.say, args=(b"".join(lines),))
    thread.start()
    thread.join(0.5)  # it has to wait, for the kernel holds less than that
    assert thread.is_alive()
    (first,) = source.read()
    assert isinstance(first, Counter)
    assert sum(map(len, lines[: first.microjoules])) < 140_000
    newest = first
    while newest.microjoules < 7999:
        newest = next(iter(heard(source)))
        assert isinstance(newest, Counter)
    thread.join(10.0)
    assert not thread.is_alive()
    assert source.warnings() == []


def test_an_agent_that_is_started_again(agents: Agents) -> None:
    """Its counters go on where the hardware's are, so nothing is lost; that nobody was there is told once."""
    agent = agents(greeting() + reading(1_000_000, 2))
    source, found = opened(agent.path)
    meter = Meter(found.devices[0])
    meter.update(source.read()[0])
    agent.close()
    assert source.read() == [None, None]
    assert source.read() == [None, None]
    assert len(source.warnings()) == 1
    agents(greeting(DRAM, PACKAGE) + reading(7, 4_000_000))
    meter.update(heard(source)[0])
    assert (meter.joules, meter.troubles(), source.warnings()) == (3.0, [], [])


def test_a_new_agent_is_called_at_once(agents: Agents) -> None:
    """One that was replaced between two readings is no trouble at all."""
    old = agents(greeting() + reading(1, 2))
    source, _ = opened(old.path)
    source.read()
    old.close()
    agents(greeting() + reading(3, 4))
    assert any(heard(source))
    assert source.warnings() == []


def test_numbers_that_fall_are_no_energy(agents: Agents) -> None:
    """A reset as of any counter: the interval is dropped and told."""
    agent = agents(greeting() + reading(10**9, 1, t=time.monotonic() - 1))
    source, found = opened(agent.path)
    meter = Meter(found.devices[0])
    meter.update(source.read()[0])
    agent.say(reading(10**6, 1))
    meter.update(heard(source)[0])
    assert meter.joules == 0.0
    assert [trouble.code for trouble in meter.troubles()] == ["reset"]


def test_times_that_fall_or_are_to_come_are_no_reading(agents: Agents) -> None:
    """A reading from before the newest, or from after now, is not taken."""
    agent = agents(greeting() + reading(1, 2))
    source, _ = opened(agent.path)
    source.read()
    for t in (time.monotonic() - 60.0, time.monotonic() + 60.0):
        agent.say(reading(3, 4, t=t))
        assert not any(heard(source, 0.2))
    agent.say(reading(5, 6))
    assert any(heard(source))


def test_a_counter_that_the_new_agent_has_not(agents: Agents) -> None:
    """It is silent, and the others go on."""
    old = agents(greeting() + reading(1, 2))
    source, _ = opened(old.path)
    source.read()
    old.close()
    agents(greeting(DRAM) + reading(4))
    package, dram = heard(source)
    assert package is None
    assert isinstance(dram, Counter)


# --- in the place of meters


def begun(path: str, *, wait: bool = True) -> tuple[list[dict[str, Any]], Sampler]:
    """Run a sampler without meters of its own until the slow sources are up, and give its events."""
    writer = Writer()
    sampler = Sampler(Machine(agent=path), writer, 1.0, time.monotonic(), meters=())
    sampler.findings.append(FORBIDDEN)
    sampler.open_fast()
    wake, waker = os.pipe()
    sampler.open_slow(waker)
    sampler.begin(schema=1)
    if wait:
        assert select.select([wake], [], [], 10)[0]
        sampler.take_arrived()
    sampler.sample()
    os.close(wake)
    return writer.unwritten, sampler


def devices(events: list[dict[str, Any]]) -> list[str]:
    """Give the devices of a log."""
    return [device["id"] for event in events for device in event.get("devices", ())]


def test_it_stands_in_for_what_is_forbidden(agents: Agents) -> None:
    """Nobody is told of a right that he does not need, and the reading holds from the start."""
    agent = agents(greeting() + reading(10, 20))
    events, sampler = begun(agent.path)
    assert devices(events) == ["agent:rapl:package-0", "agent:rapl:package-0/dram"]
    assert {device["from_t"] for event in events for device in event.get("devices", ())} == {0.0}
    assert events[-1]["j"] == [0.0, 0.0]
    assert events[-1]["raw"] == [10, 20]
    assert not [event for event in events if event["event"] == "warning"]
    assert [finding.status for finding in sampler.findings] == ["ok"]


def test_the_estimate_stands_in_for_the_rest(agents: Agents) -> None:
    """A machine without a counter for its memory."""
    agent = agents(greeting(PACKAGE) + reading(10))
    assert devices(begun(agent.path)[0]) == ["agent:rapl:package-0", "estimate:dram"]


@pytest.mark.parametrize("first", [b"nonsense\n", b""])
def test_the_estimate_stands_in_for_a_bad_agent(agents: Agents, first: bytes) -> None:
    """What is forbidden matters then, and is told beside what is wrong with the agent."""
    events, _ = begun(agents(first).path)
    assert devices(events) == ["estimate:cpu", "estimate:dram"]
    first_warning, second_warning = (event["message"] for event in events if event["event"] == "warning")
    assert first_warning == "This user may not read it. Ask somebody."
    assert "The agent at" in second_warning or "What the agent at" in second_warning


def test_without_an_agent_nothing_is_waited_for(tmp_path: Path) -> None:
    """No socket: the estimate is there before the command starts, and what is forbidden is told."""
    path = str(tmp_path / "agent.sock")
    events, sampler = begun(path, wait=False)
    assert events[0]["event"] == "start"
    assert devices(events[:1]) == ["estimate:cpu", "estimate:dram"]
    assert [event["message"] for event in events if event["event"] == "warning"] == [
        "This user may not read it. Ask somebody."
    ]
    assert [(finding.source, finding.status) for finding in sampler.findings] == [
        ("rapl", "forbidden"),
        ("agent", "absent"),
    ]
    assert path in sampler.findings[1].sentence
    assert stand_in(("cpu",), "", ()).open(Machine()).findings == ()


def test_silence_between_two_readings_is_none() -> None:
    """At the end the newest reading may be a second old; more than that is told."""
    for resolution, silence, troubles in ((1.0, 1.4, 0), (1.0, 1.6, 1), (0.0, 0.6, 1)):
        meter = Meter(PACKAGE._replace(resolution_seconds=resolution))
        meter.update(Counter(100.0, 1))
        meter.update(Counter(101.0, 2))
        meter.end(101.0 + silence)
        assert len(meter.troubles()) == troubles
