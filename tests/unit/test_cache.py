"""The cache that all processes of a user share: one request an hour, whatever becomes of the file or the process."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine.privilege import unprivileged
from machine.services import Services

from greenrun.intensity import exchange
from greenrun.intensity.cache import Cache, Cached, Kind, Question, default_directory
from greenrun.intensity.model import Intensity, Unavailable

NOW = datetime(2026, 7, 1, 10, 30, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
FULL = NOW.replace(minute=0)


def span(hour: datetime, grams_per_kwh: float = 50.0, **fields: Any) -> Intensity:
    """Give what a service says of one hour."""
    return Intensity(
        grams_per_kwh,
        "electricitymaps",
        "Electricity Maps",
        "DK-DK1",
        "DK",
        None,
        "lifecycle",
        5.0,
        from_utc=hour,
        to_utc=hour + HOUR,
    )._replace(**fields)


def question(
    from_utc: datetime = FULL - 23 * HOUR,
    to_utc: datetime = NOW,
    *,
    kind: Kind = "history",
    zone: str = "DK-DK1",
    address: str = "https://api.electricitymaps.com",
) -> Question:
    """Ask for a day of Western Denmark, unless told otherwise."""
    return Question("electricitymaps", address, zone, "lifecycle", kind, from_utc, to_utc)


class Request:
    """What is called when it is time to ask: counts, and gives one answer."""

    def __init__(self, *answer: Intensity, failing: Unavailable | None = None) -> None:
        self.calls = 0
        self._answer = failing or list(answer)

    def __call__(self) -> list[Intensity] | Unavailable:
        """Give it once more."""
        self.calls += 1
        return self._answer


def grams(cached: Cached) -> list[float]:
    """Give the values that the cache answered with."""
    return [one.grams_per_kwh for one in cached.spans]


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """Give a place for the cache that does not exist yet."""
    return str(tmp_path / "cache" / "greenrun" / "intensity")


def files(directory: str, end: str = ".json") -> list[Path]:
    """List the cache's files."""
    return sorted(path for path in Path(directory).iterdir() if path.name.endswith(end))


# --- one request an hour


def test_one_request_an_hour(directory: str) -> None:
    """Within the hour the answer is there already, also for another process; in the next one it is asked again."""
    request = Request(span(FULL - HOUR))
    for minute in (0, 29, 59):
        cached = Cache(directory).ask(question(), NOW.replace(minute=minute), request)
        assert (grams(cached), cached.failure) == ([50.0], None)
    assert request.calls == 1
    Cache(directory).ask(question(to_utc=NOW + HOUR), NOW + HOUR, request)
    assert request.calls == 2


def test_an_answer_says_when_it_was_fetched(directory: str) -> None:
    """By the clock of the process that asked, whatever the service said; then as it stands in the file."""
    cached = Cache(directory).ask(question(), NOW, Request(span(FULL - HOUR)))
    assert [one.fetched_utc for one in cached.spans] == [NOW]
    again = Cache(directory).ask(question(), NOW + timedelta(minutes=5), Request())
    assert again == cached


def test_questions_do_not_meet(directory: str) -> None:
    """Another zone, address, basis, kind or service is another answer."""
    one = question()
    others = [
        one,
        one._replace(zone="DK-DK2"),
        one._replace(zone="dk-dk1"),
        one._replace(address="https://elsewhere"),
        one._replace(basis="direct"),
        one._replace(kind="forecast"),
        one._replace(link="neso"),
    ]
    for number, other in enumerate(others):
        Cache(directory).ask(other, NOW, Request(span(FULL, float(number))))
    for number, other in enumerate(others):
        assert grams(Cache(directory).ask(other, NOW, None)) == [float(number)]


def test_history_is_merged_and_kept_for_three_days(directory: str) -> None:
    """The newest value of an hour counts; what ended 72 h ago is let go."""
    cache = Cache(directory)
    cache.ask(question(), NOW, Request(span(FULL - 2 * HOUR, 1.0), span(FULL - HOUR, 2.0, estimated=True)))
    later = NOW + HOUR
    merged = cache.ask(question(to_utc=later), later, Request(span(FULL - HOUR, 3.0), span(FULL, 4.0)))
    assert grams(merged) == [1.0, 3.0, 4.0]
    last = FULL + 72 * HOUR  # the first of the hours ended before, the second is just within
    cache.ask(question(to_utc=last), last - HOUR, Request(span(last, 9.0)))
    assert grams(cache.ask(question(to_utc=last), last - HOUR, None)) == [3.0, 4.0, 9.0]


def test_a_longer_stretch_is_asked_for_once(directory: str) -> None:
    """What the answer of this hour did not cover, and no earlier one has settled, is a reason to ask again."""
    cache, request = Cache(directory), Request(*(span(FULL - back * HOUR) for back in range(60, 0, -1)))
    cache.ask(question(), NOW, Request(span(FULL - HOUR)))
    for _ in range(2):
        cached = cache.ask(question(FULL - 60 * HOUR), NOW, request)
        assert len(cached.spans) == 60
    assert request.calls == 1
    # An hour later only the last day is asked for, and the days before are still known.
    later = NOW + HOUR
    cache.ask(question(FULL - 22 * HOUR, later), later, Request(span(FULL)))
    assert len(cache.ask(question(FULL - 60 * HOUR, later), later, request).spans) == 61
    assert request.calls == 1


@pytest.mark.parametrize(("estimated", "requests"), [(False, 0), (True, 1)])
def test_an_hour_that_was_estimated_is_asked_for_again(directory: str, estimated: bool, requests: int) -> None:
    """Beyond the reach of this hour's answer an estimate of yesterday is not the last word, a measurement is."""
    cache, old, yesterday = Cache(directory), FULL - 40 * HOUR, NOW - 17 * HOUR
    hours = [span(old + at * HOUR, estimated=estimated and at == 3) for at in range(23)]
    cache.ask(question(old, yesterday), yesterday, Request(*hours))
    cache.ask(question(), NOW, Request(span(FULL - HOUR)))
    request = Request(span(old + 3 * HOUR, 60.0))
    cached = cache.ask(question(old), NOW, request)
    assert cached.failure is None
    assert grams(cached)[3] == (60.0 if estimated else 50.0)
    assert request.calls == requests


def test_an_estimate_of_this_hour_is_not_asked_for_again(directory: str) -> None:
    """Of a time that is over, too: within the hour the service would say the same."""
    cache, old = Cache(directory), FULL - 40 * HOUR
    cache.ask(question(), NOW, Request(span(FULL - HOUR)))
    request = Request(span(old, estimated=True))
    for _ in range(2):
        assert len(cache.ask(question(old, old + HOUR), NOW, request).spans) == 2
    assert request.calls == 1


def test_what_is_over_does_not_tell_the_present(directory: str) -> None:
    """An answer about last week is none for now, though it came in this hour; and it is not kept."""
    cache, week = Cache(directory), timedelta(days=7)
    old = cache.ask(question(FULL - week, FULL - week + HOUR), NOW, Request(span(FULL - week)))
    assert (grams(old), old.failure) == ([50.0], None)
    request = Request(span(FULL - HOUR, 60.0))
    assert grams(cache.ask(question(), NOW, request)) == [60.0]
    assert request.calls == 1


def test_a_forecast_is_as_good_for_all_who_look_as_far(directory: str) -> None:
    """12 h from now are 12 h from a minute later; a day is more, unless the answer reached that far."""
    cache, request = Cache(directory), Request(span(FULL), span(FULL + HOUR))

    def ask(minutes: int, hours: int) -> Cached:
        now = NOW + timedelta(minutes=minutes)
        return cache.ask(question(now, now + hours * HOUR, kind="forecast"), now, request)

    ask(0, 12)
    ask(20, 12)
    assert request.calls == 1
    ask(20, 24)
    assert request.calls == 2
    far = Request(*(span(FULL + hour * HOUR) for hour in range(72)))
    cache.ask(question(NOW, NOW + 48 * HOUR, kind="forecast"), NOW, far)
    ask(20, 60)
    assert (request.calls, far.calls) == (2, 1)


def test_a_forecast_replaces_the_one_before(directory: str) -> None:
    """Hours that are over are not kept from old forecasts."""
    cache, later = Cache(directory), NOW + HOUR
    cache.ask(question(NOW, NOW + 6 * HOUR, kind="forecast"), NOW, Request(span(FULL, 1.0), span(FULL + HOUR, 2.0)))
    cached = cache.ask(question(later, later + 6 * HOUR, kind="forecast"), later, Request(span(FULL + HOUR, 3.0)))
    assert grams(cached) == [3.0]


def test_nobody_is_asked_who_may_not_be(directory: str) -> None:
    """Without a request there is only what is there, fresh or old."""
    nothing = Cache(directory).ask(question(), NOW, None)
    assert nothing.spans == []
    assert not Path(directory).exists()
    assert nothing.failure is not None
    assert nothing.failure.cause == "absent"
    Cache(directory).ask(question(), NOW, Request(span(FULL - HOUR)))
    assert Cache(directory).ask(question(), NOW, None).failure is None
    old = Cache(directory).ask(question(), NOW + HOUR, None)
    assert (grams(old), old.failure) == ([50.0], nothing.failure)


def test_who_only_looks_sees_that_a_call_has_just_failed(directory: str) -> None:
    """So nobody starts a process to learn it; once the failure holds no more, it says nothing."""
    Cache(directory).ask(question(), NOW, lambda: Unavailable("out of service", "limited", 90.0))
    at_once = Cache(directory).ask(question(), NOW + timedelta(seconds=1), None).failure
    assert at_once is not None
    assert at_once.cause == "limited"
    seen = Cache(directory).ask(question(), NOW + timedelta(seconds=89), None).failure
    assert seen is not None
    assert seen.cause == "limited"
    assert seen.reason.startswith("out of service (asked 89 s ago")
    later = Cache(directory).ask(question(), NOW + timedelta(seconds=90), None).failure
    assert later is not None
    assert later.cause == "absent"


def test_a_call_under_way_is_no_failure_for_who_only_looks(directory: str) -> None:
    """It may be waited for; one that has taken too long may not."""
    seen: list[Cached] = []

    def request() -> list[Intensity]:
        seen.extend(Cache(directory).ask(question(), NOW + timedelta(seconds=seconds), None) for seconds in (7, 9))
        return [span(FULL)]

    Cache(directory).ask(question(), NOW, request)
    assert [one.failure and one.failure.cause for one in seen] == ["absent", "broken"]


def test_what_a_killed_process_left_half_written_is_used_up(directory: str) -> None:
    """However many are killed while they write, one file stays, until the next one writes."""
    cache = Cache(directory)
    cache.ask(question(), NOW, Request(span(FULL)))
    (name,) = files(directory, ".json")
    Path(directory, f"{name}.tmp").write_text("half")
    cache.ask(question(), NOW + HOUR, Request(span(FULL + HOUR)))
    assert files(directory, ".tmp") == []


def test_spans_without_bounds_are_no_answer(directory: str) -> None:
    """They would hide every other one for ever."""
    cached = Cache(directory).ask(question(), NOW, Request(span(FULL)._replace(to_utc=None)))
    assert cached == Cached([], Unavailable("answered without a figure", "broken"))


# --- failures


def failing(cause: Any = "broken", retry_after_seconds: float | None = None) -> Request:
    """Give a service that is down."""
    return Request(failing=Unavailable("the connection was refused", cause, retry_after_seconds))


def test_a_failure_holds_for_a_minute(directory: str) -> None:
    """Who comes meanwhile is told what happened, when, and until when nobody asks; old figures stay at hand."""
    cache = Cache(directory)
    cache.ask(question(), NOW - HOUR, Request(span(FULL - 2 * HOUR)))
    first = cache.ask(question(), NOW, failing())
    assert first == Cached(first.spans, Unavailable("the connection was refused", "broken"))
    assert grams(first) == [50.0]
    request = Request(span(FULL - HOUR, 60.0))
    second = cache.ask(question(), NOW + timedelta(seconds=20), request)
    assert second.spans == first.spans
    assert second.failure == Unavailable(
        "the connection was refused (asked 20 s ago; not asked again before 10:31 UTC)", "broken"
    )
    assert request.calls == 0
    assert grams(cache.ask(question(), NOW + timedelta(seconds=61), request)) == [50.0, 60.0]
    assert cache.ask(question(), NOW + timedelta(seconds=62), failing()).failure is None


@pytest.mark.parametrize(
    ("cause", "asks_for_seconds", "held_seconds"),
    [
        ("limited", 600.0, 600),
        ("limited", 5.0, 60),
        ("limited", None, 60),
        ("limited", 86400.0, 3600),
        ("limited", float("inf"), 3600),
        ("limited", float("nan"), 60),
        ("limited", -5.0, 60),
        ("forbidden", None, 60),
        ("broken", 600.0, 60),
        ("absent", None, 60),
    ],
)
def test_how_long_a_failure_holds(
    directory: str, cause: str, asks_for_seconds: float | None, held_seconds: int
) -> None:
    """As long as the service asks for, between a minute and an hour."""
    cache, request = Cache(directory), Request(span(FULL))
    cache.ask(question(), NOW, failing(cause, asks_for_seconds))
    held = cache.ask(question(), NOW + timedelta(seconds=held_seconds - 1), request)
    assert held.failure is not None
    assert held.failure.cause == cause
    assert request.calls == 0
    assert cache.ask(question(), NOW + timedelta(seconds=held_seconds), request).failure is None


def test_a_person_may_insist(directory: str) -> None:
    """Who typed a verb wants it asked now; a fresh answer is still good enough."""
    cache, request = Cache(directory), Request(span(FULL))
    cache.ask(question(), NOW, failing("limited", 600.0))
    assert cache.ask(question(), NOW, request, insist=True).failure is None
    cache.ask(question(), NOW, request, insist=True)
    assert request.calls == 1


def test_the_clock_was_set_back(directory: str) -> None:
    """What seems to come from the future is neither fresh nor newer than what is asked now, and no failure holds."""
    cache = Cache(directory)
    later = NOW + 5 * HOUR
    cache.ask(question(), later, Request(span(FULL - HOUR, 1.0)))
    assert grams(cache.ask(question(), NOW, Request(span(FULL - HOUR, 2.0)))) == [2.0]
    within = NOW + timedelta(minutes=15)  # of the same hour, and not fresh all the same
    cache.ask(question(zone="FR"), within, Request(span(FULL - HOUR, 1.0)))
    assert grams(cache.ask(question(zone="FR"), NOW, Request(span(FULL - HOUR, 2.0)))) == [2.0]
    cache.ask(question(zone="DE"), later, failing())
    assert cache.ask(question(zone="DE"), NOW, Request(span(FULL))).failure is None


def test_an_answer_of_a_moment_later_is_fresh(directory: str) -> None:
    """A process that waited for the lock finds what another fetched meanwhile, if need be in the next hour."""
    now = FULL - timedelta(seconds=1)
    Cache(directory).ask(question(), FULL + timedelta(seconds=1), Request(span(FULL)))
    request = Request(span(FULL))
    assert Cache(directory).ask(question(), now, request).failure is None
    assert request.calls == 0


# --- real processes

FORKING = """
import json, os, sys, urllib.request
from datetime import datetime, timedelta
from greenrun.intensity.cache import Cache, Question
from greenrun.intensity.model import Intensity, Unavailable

directory, url, now, count, insist = sys.argv[1:]
now = datetime.fromisoformat(now)

def request():
    try:
        with urllib.request.urlopen(f"{url}/intensity", timeout=30) as response:
            figure = json.load(response)["data"][0]["intensity"]["forecast"]
    except OSError as error:
        return Unavailable(f"status {getattr(error, 'code', None)}", "broken")
    hour = now.replace(minute=0)
    return [Intensity(float(figure), "neso", "NESO", "GB", "GB", None, "direct", 5.0,
                      from_utc=hour, to_utc=hour + timedelta(hours=1))]

start, begin = os.pipe()
children = []
for _ in range(int(count)):
    child = os.fork()
    if child == 0:
        os.close(begin)
        os.read(start, 1)  # all at once
        question = Question("neso", url, "GB", "direct", "history", now - timedelta(hours=1), now)
        cached = Cache(directory).ask(question, now, request, insist=insist == "insist")
        told = [[span.grams_per_kwh for span in cached.spans], cached.failure and cached.failure.reason]
        os.write(1, json.dumps(told).encode() + b"\\n")
        os._exit(0)
    children.append(child)
os.close(begin)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


def processes(
    directory: str, url: str, count: int, *, insist: bool = False, now: datetime = NOW
) -> subprocess.Popen[str]:
    """Start so many processes that ask the same at once; each prints what it got."""
    arguments = [directory, url, now.isoformat(), str(count), "insist" if insist else ""]
    return subprocess.Popen([sys.executable, "-c", FORKING, *arguments], stdout=subprocess.PIPE, text=True)


def told(asking: subprocess.Popen[str]) -> list[Any]:
    """Give what each of them printed."""
    out, _ = asking.communicate(timeout=60)
    assert asking.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def test_a_hundred_processes_make_one_request(directory: str) -> None:
    """All of them have the answer of the one that asked."""
    with Services(lambda hour: 123.0) as services:
        answers = told(processes(directory, services.url, 100))
        assert answers == [[[123.0], None]] * 100
        assert len(services.requests) == 1


@pytest.mark.parametrize("insist", [False, True])
def test_a_hundred_processes_make_one_request_that_fails(directory: str, insist: bool) -> None:
    """A failure is an answer, too: nobody tries it again a hundred times, not even a hundred who insist."""
    with Services() as services:
        services.misbehave("", "503")
        answers = told(processes(directory, services.url, 100, insist=insist))
        assert len(answers) == 100
        assert all(spans == [] and reason.startswith("status 503") for spans, reason in answers)
        # Of those that insist, some may come only after the failure: they were not waiting when it was found.
        assert len(services.requests) == 1 or (insist and len(services.requests) < 100)


def test_who_is_killed_while_asking_holds_nobody_up(directory: str) -> None:
    """Its lock goes with it, and the next ones are told that there was no answer; a person may still insist."""
    with Services(lambda hour: 123.0) as services:
        services.misbehave("", "hang")
        asking = processes(directory, services.url, 1)
        wait_for(lambda: bool(services.requests))
        os.kill(child_of(asking.pid), signal.SIGKILL)
        asking.communicate(timeout=60)
        services.behave()
        ((spans, reason),) = told(processes(directory, services.url, 1, now=NOW + timedelta(seconds=20)))
        assert (spans, reason) == ([], "no answer yet (asked 20 s ago; not asked again before 10:31 UTC)")
        assert len(services.requests) == 1
        assert told(processes(directory, services.url, 1, insist=True)) == [[[123.0], None]]


def test_who_hangs_is_not_waited_for(directory: str) -> None:
    """Somebody else asks and does not come back: after a while that is the answer, with the old figures."""
    Cache(directory).ask(question(), NOW - HOUR, Request(span(FULL - 2 * HOUR)))
    (lock,) = files(directory, ".lock")
    request = Request()
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        cached = Cache(directory, longest_wait_seconds=0.2).ask(question(), NOW, request)
    assert grams(cached) == [50.0]
    assert cached.failure is not None
    assert cached.failure.cause == "broken"
    assert "another process" in cached.failure.reason
    assert request.calls == 0


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it holds, half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def child_of(pid: int) -> int:
    """Give the only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


# --- files that are not as they should be


def test_the_files_are_the_user_s_alone(directory: str) -> None:
    """Directory 0700, also if it was there with another mode; files 0600; nothing is left lying about."""
    os.makedirs(directory, 0o755)
    Path(directory).chmod(0o775)
    Cache(directory).ask(question(), NOW, Request(span(FULL)))
    assert Path(directory).stat().st_mode & 0o777 == 0o700
    (entry,), (lock,) = files(directory), files(directory, ".lock")
    assert {path.stat().st_mode & 0o777 for path in (entry, lock)} == {0o600}
    assert len(list(Path(directory).iterdir())) == 2


def test_an_address_is_not_written_down(directory: str) -> None:
    """It may hold a password, neither the file nor its name tells it."""
    Cache(directory).ask(question(address="http://me:pa55word@host"), NOW, Request(span(FULL)))
    (entry,) = files(directory)
    assert b"pa55word" not in entry.read_bytes()
    assert "pa55word" not in entry.name


@pytest.mark.parametrize("zone", ["../../up", "a/b", "/etc/passwd", "", ".", "x" * 10_000, "\0", "\udc80", "Ω"])
def test_any_zone_s_name_is_safe(directory: str, zone: str) -> None:
    """A zone is the user's text; it names no file elsewhere."""
    cached = Cache(directory).ask(question(zone=zone), NOW, Request(span(FULL)))
    assert grams(cached) == [50.0]
    assert grams(Cache(directory).ask(question(zone=zone), NOW, None)) == [50.0]
    assert len(files(directory)) == 1
    parts = [path.name for path in Path(directory).parent.parent.parent.rglob("*")]
    assert len(parts) == 5  # three directories, entry and lock


def entry_of(directory: str, asked: Question | None = None) -> tuple[Path, dict[str, Any]]:
    """Make an entry, and give its file and content."""
    Cache(directory).ask(asked or question(), NOW, Request(span(FULL)))
    (path,) = files(directory)
    return path, json.loads(path.read_text())


def spoilt(content: dict[str, Any]) -> dict[str, str]:
    """Give contents that an entry may not have, by what is wrong with them."""
    one = content["spans"][0]

    def with_span(**fields: Any) -> str:
        return json.dumps({**content, "spans": [{**one, **fields}]})

    less = {**one}
    del less["source"]
    return {
        "empty": "",
        "cut off": json.dumps(content)[:-20],
        "null": "null",
        "a list": "[]",
        "a number": "7",
        "nested": "[" * 200_000,
        "binary": "\0\udcff\udcfe",
        "no form": json.dumps({**content, "form": None}),
        "another form": json.dumps({**content, "form": 2}),
        "another question": json.dumps({**content, "of": ["neso", "GB", "direct", "history"]}),
        "a field more": with_span(colour="green"),
        "a field less": json.dumps({**content, "spans": [less]}),
        "no number": with_span(grams_per_kwh="50"),
        "not a number": json.dumps({**content, "spans": [{**one, "grams_per_kwh": float("nan")}]}),
        "infinite": json.dumps({**content, "spans": [{**one, "uncertainty_percent": float("inf")}]}),
        "negative": with_span(grams_per_kwh=-1.0),
        "no time": with_span(from_utc="yesterday"),
        "local time": with_span(from_utc="2026-07-01T10:00:00"),
        "the first moment": with_span(from_utc="0001-01-01T00:00:00+14:00"),
        "unbounded": with_span(to_utc=None),
        "never fetched": with_span(fetched_utc=None),
        "spans of one": json.dumps({**content, "spans": one}),
        "no failure": json.dumps({**content, "failure": "yes"}),
        "a failure without cause": json.dumps(
            {
                **content,
                "fetched_utc": None,
                "failure": {"at": NOW.isoformat(), "until": (NOW + HOUR).isoformat(), "cause": "bad", "reason": ""},
            }
        ),
        "a failure for ever": json.dumps(
            {
                **content,
                "fetched_utc": None,
                "failure": {
                    "at": NOW.isoformat(),
                    "until": (NOW + 48 * HOUR).isoformat(),
                    "cause": "broken",
                    "reason": "",
                },
            }
        ),
    }


WRONG = sorted(spoilt({"spans": [exchange.intensity_to_json(span(FULL, fetched_utc=NOW))]}))


@pytest.mark.parametrize("wrong", WRONG)
def test_an_entry_that_makes_no_sense_is_as_none(directory: str, wrong: str) -> None:
    """It is asked again, and the file is good afterwards."""
    path, content = entry_of(directory)
    path.write_bytes(spoilt(content)[wrong].encode("utf-8", "surrogateescape"))
    request = Request(span(FULL, 60.0))
    cached = Cache(directory).ask(question(), NOW, request)
    assert cached.failure is None
    if wrong not in ("unbounded", "never fetched"):  # only the span is let go there, and the rest is as it was
        assert (request.calls, grams(cached)) == (1, [60.0])
        assert grams(Cache(directory).ask(question(), NOW, Request())) == [60.0]


MOMENTS = st.sampled_from(
    [
        "0001-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59+00:00",
        "2026-07-01T10:00:00+14:00",
        "2026-07-01T10:00:00.5Z",
        (NOW - HOUR).isoformat(),
        FULL.isoformat(),
        NOW.isoformat(),
        (NOW + HOUR).isoformat(),
        "2026-07-01",
        "",
    ]
)
ANYTHING = st.one_of(
    MOMENTS,
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    st.sampled_from([[], {}, [[]], {"": None}, 10**400, "\ud800"]),
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Give the ways to all that is in a JSON value, the whole of it too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in leaves(one, (*path, key)))]


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever stands at up to three places of a file: an answer that makes sense, or one that is asked for."""
    directory = str(tmp_path_factory.mktemp("cache") / "intensity")
    asked = data.draw(st.sampled_from([question(), question(NOW, NOW + 5 * HOUR, kind="forecast")]))
    path, content = entry_of(directory, asked)
    content["failure"] = {"at": FULL.isoformat(), "until": NOW.isoformat(), "cause": "broken", "reason": "x"}
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(leaves(content)[1:]))
        place = content
        for key in way:
            place = place[key]
        place[last] = data.draw(ANYTHING)
    path.write_text(json.dumps(content))
    for request in (None, Request(span(FULL, 60.0))):
        cached = Cache(directory).ask(asked, NOW, request)
        assert all(0.0 <= value < float("inf") for value in grams(cached))
        if request is not None and request.calls:
            assert 60.0 in grams(cached)


def test_what_is_in_the_file_s_place(directory: str) -> None:
    """A link is not followed, nor written through; a FIFO is not waited for; a directory stays."""
    path, content = entry_of(directory)
    elsewhere = Path(directory).parent / "elsewhere"
    elsewhere.write_text(json.dumps(content))
    before = elsewhere.read_bytes()
    path.unlink()
    path.symlink_to(elsewhere)
    request = Request(span(FULL, 60.0))
    assert grams(Cache(directory).ask(question(), NOW, request)) == [60.0]
    assert elsewhere.read_bytes() == before
    assert not path.is_symlink()
    path.unlink()
    os.mkfifo(path)
    assert grams(Cache(directory).ask(question(), NOW, request)) == [60.0]
    path.unlink()
    path.mkdir()
    assert grams(Cache(directory).ask(question(), NOW, request)) == [60.0]
    assert request.calls == 3
    assert files(directory, ".tmp") == []


def test_a_lock_that_cannot_be_had(directory: str) -> None:
    """A link or a directory in its place: it is asked all the same."""
    entry_of(directory)
    (lock,) = files(directory, ".lock")
    lock.unlink()
    lock.mkdir()
    later = NOW + HOUR
    assert Cache(directory).ask(question(to_utc=later), later, Request(span(FULL))).failure is None


@pytest.mark.parametrize("place", ["none", "a file", "below a file", "somebody else's"])
def test_where_nothing_can_be_kept_everyone_asks(tmp_path: Path, place: str) -> None:
    """No home, no directory, one that is not ours: each time an answer, and no file."""
    (tmp_path / "file").write_text("x")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    if os.geteuid() == 0:
        os.chown(foreign, 65534, 65534)
    else:
        foreign = Path("/")
    directory = {
        "none": None,
        "a file": str(tmp_path / "file"),
        "below a file": str(tmp_path / "file" / "greenrun" / "intensity"),
        "somebody else's": str(foreign),
    }[place]
    request = Request(span(FULL))
    for _ in range(2):
        assert grams(Cache(directory).ask(question(), NOW, request)) == [50.0]
        assert Cache(directory).ask(question(), NOW, None).spans == []
    assert request.calls == 2
    assert (tmp_path / "file").read_text() == "x"
    assert place != "somebody else's" or os.geteuid() != 0 or list(foreign.iterdir()) == []


def test_root_makes_no_directory_in_somebody_s_home(tmp_path: Path) -> None:
    """As with sudo, which may keep HOME: what root made there would lock its owner out of it."""
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
        cached = Cache(str(home / ".cache" / "greenrun")).ask(question(), NOW, Request(span(FULL)))
        assert grams(cached) == [50.0]
        assert list(home.iterdir()) == []
    else:
        Cache(str(home / ".cache" / "greenrun")).ask(question(), NOW, Request(span(FULL)))
        assert (home / ".cache" / "greenrun").is_dir()


ASKING = """
import json, resource, signal, sys
sys.path[:0] = sys.argv[3:]
from unit_of_cache import NOW, FULL, Cache, Request, question, span

if sys.argv[2] == "full disk":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
request = Request(span(FULL, 60.0))
first = Cache(sys.argv[1]).ask(question(), NOW, request)
second = Cache(sys.argv[1]).ask(question(), NOW, request)
print(json.dumps([[s.grams_per_kwh for s in first.spans], [s.grams_per_kwh for s in second.spans], request.calls]))
"""


@pytest.mark.parametrize(
    ("trouble", "requests"),
    [("unreadable directory", 2), ("unreadable file", 1), ("read-only directory", 2), ("full disk", 2)],
)
def test_a_disk_in_trouble(directory: str, tmp_path: Path, trouble: str, requests: int) -> None:
    """Nothing is raised, the answer is there, and what was in the files stays whole."""
    Cache(directory).ask(question(), NOW - HOUR, Request(span(FULL - 2 * HOUR)))
    (entry,) = files(directory)
    before = entry.read_bytes()
    if trouble == "unreadable directory":
        Path(directory).parent.chmod(0)
    elif trouble == "read-only directory":
        Path(directory).chmod(0o500)
    elif trouble == "unreadable file":
        entry.chmod(0)
    (tmp_path / "unit_of_cache.py").symlink_to(__file__)
    command = [sys.executable, "-c", ASKING, directory, trouble, str(tmp_path), *sys.path]
    try:
        done = subprocess.run(unprivileged(command), capture_output=True, text=True, check=False, timeout=60)
    finally:
        Path(directory).parent.chmod(0o700)
        Path(directory).chmod(0o700)
    assert done.returncode == 0, done.stderr
    first, second, calls = json.loads(done.stdout)
    assert (first[-1], second[-1], calls) == (60.0, 60.0, requests)
    assert files(directory, ".tmp") == []
    if trouble != "unreadable file":  # that one is replaced
        assert entry.read_bytes() == before


# --- where it is


def test_the_directory(tmp_path: Path) -> None:
    """XDG_CACHE_HOME if it is absolute, else the home's .cache; without a home nowhere."""
    home = str(tmp_path)
    inside = os.path.join("greenrun", "intensity")
    assert default_directory({"XDG_CACHE_HOME": "/caches", "HOME": home}) == f"/caches/{inside}"
    assert default_directory({"XDG_CACHE_HOME": "caches", "HOME": home}) == f"{home}/.cache/{inside}"
    assert default_directory({"XDG_CACHE_HOME": "", "HOME": home}) == f"{home}/.cache/{inside}"
    assert default_directory({"HOME": home}) == f"{home}/.cache/{inside}"
    for environ in ({}, {"HOME": ""}, {"HOME": "here"}, {"HOME": f"{home}/nonexistent"}):
        assert default_directory(environ) is None
