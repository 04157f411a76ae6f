"""Carbon intensity by place and hour, from services that answer, misbehave or may not be asked; job and record."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from machine.build import preload_library, program
from machine.command import ENTRY, Greenrun
from machine.services import TOKEN, Services
from machine.stamp import Stamp

RunDirs = Callable[[], list[str]]
RecordReader = Callable[[], dict[str, Any]]

HISTORY = "/v4/carbon-intensity/history"
# A job that no service can make late by more than this; the two seconds.
MOST_LATE_SECONDS = 2.0


def until(pattern: str) -> tuple[str, str, str]:
    """Give a job that ends with 5 when its run log holds `pattern`, in a minute anyway; its last word is the time.

    On a machine that does something else, too, no number of seconds would do.
    """
    log = '"$GREENRUN_RUN_DIR/run.jsonl"'
    wait = f"for i in $(seq 600); do grep -qsE '{pattern}' {log} && break; sleep 0.1; done"
    return "sh", "-c", f"{wait}; cat /proc/uptime; exit 5"


# A service's figure, or a complaint about it.
UNTIL_TOLD = until('"fetched_at": ?"|"code": ?"intensity"')


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services, answering."""
    with Services() as running:
        yield running


def online(services: Services, **changes: str | None) -> dict[str, str | None]:
    """Give the environment of a greenrun that may ask `services`, in western Denmark unless told otherwise."""
    return {**services.environment, "GREENRUN_OFFLINE": None, "GREENRUN_ZONE": "DK-DK1", **changes}


def this_hour() -> datetime:
    """Give the start of the present hour; waits where the next is about to begin."""
    now = datetime.now(timezone.utc)
    left = 3600 - (now.minute * 60 + now.second)
    if left < 5:
        time.sleep(left + 0.1)
        now = datetime.now(timezone.utc)
    return now.replace(minute=0, second=0, microsecond=0)


def five_hours_before(moment: re.Match[str]) -> str:
    """Give an ISO 8601 time five hours earlier."""
    return (datetime.fromisoformat(moment[0]) - timedelta(hours=5)).isoformat()


def warned(record: dict[str, Any]) -> list[str]:
    """Give what the record complains of in matters of intensity."""
    return [one["message"] for one in record["warnings"] if one["code"] == "intensity"]


def passed(record: dict[str, Any]) -> dict[str, str]:
    """Give the reason for each link that was passed over."""
    return {one["link"]: one["reason"] for one in record["intensity"]["passed_over"]}


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize("version", ["v3", "v4", None])
def test_the_hour_s_figure_is_the_service_s(
    greenrun: Greenrun, services: Services, record: RecordReader, version: str | None
) -> None:
    """One request; the record says what held, from whom, on which basis, measured and fetched when."""
    hour, services.version = this_hour(), version
    services.grams = lambda moment: 321.0 if moment == hour else 7.0
    done = greenrun(*UNTIL_TOLD, env=online(services))
    assert done.returncode == 5, done.stderr
    used = record()["intensity"]
    (span,) = used["spans"]
    assert (span["grams_per_kwh"], span["link"], span["zone"]) == (321.0, "electricitymaps", "DK-DK1")
    assert (span["basis"], span["estimated"], span["source"]) == ("lifecycle", False, "Electricity Maps")
    fetched = datetime.fromisoformat(span["fetched_at"].replace("Z", "+00:00"))
    assert timedelta() <= datetime.now(timezone.utc) - fetched < timedelta(minutes=1)
    assert used["grams_per_kwh"] == 321.0
    assert used["link"] == "electricitymaps"
    assert not warned(record())
    (asked,) = services.requests
    assert asked.path == f"/{version or 'v4'}/carbon-intensity/history"
    assert asked.query["zone"] == "DK-DK1"
    assert asked.query["disableCallerLookup"] == "true"
    assert asked.query["emissionFactorType"] == "lifecycle"
    assert "321" in done.stderr
    assert "Electricity Maps" in done.stderr


def test_a_command_of_milliseconds_gets_its_figure_too(
    greenrun: Greenrun, services: Services, record: RecordReader
) -> None:
    """The answer is waited for, a second at most; the next run finds it in the cache and asks nobody."""
    assert greenrun("true", env=online(services)).returncode == 0
    assert record()["intensity"]["link"] == "electricitymaps"
    assert greenrun("--log-dir", "again", "true", env=online(services)).returncode == 0
    assert len(services.requests) == 1
    (again,) = [name for name in os.listdir(os.path.join(greenrun.cwd, "again")) if name != ".gitignore"]
    with open(os.path.join(greenrun.cwd, "again", again, "summary.json")) as file:
        assert json.load(file)["intensity"]["link"] == "electricitymaps"


def uptime_seconds() -> float:
    """Give the time as UNTIL_TOLD does."""
    with open("/proc/uptime") as file:
        return float(file.read().split()[0])


TROUBLES = [
    ("hang", {}, "before the run was over"),
    ("dribble", {}, "before the run was over"),
    ("reset", {}, "connection"),
    ("truncated", {}, ""),
    ("401 token", {}, "token"),
    ("401 plan", {}, "plan"),
    ("404", {}, "404"),
    ("429", {"retry_after": "120"}, "429"),
    ("503", {"retry_after": "120"}, "503"),
    ("html", {}, "HTML"),
    ("other zone", {}, "answered for DE"),
    ("other basis", {}, "lifecycle"),
    ("garbage", {}, "JSON"),
    ("redirect", {}, ""),
]


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize(("kind", "details", "word"), TROUBLES)
def test_a_service_in_trouble_costs_the_job_nothing(
    greenrun: Greenrun, services: Services, record: RecordReader, kind: str, details: dict[str, Any], word: str
) -> None:
    """The job ends as it would and in time; the next link gives the figure, and one warning names the cause."""
    services.misbehave("", kind, **details)
    job = ("sh", "-c", "sleep 0.5; cat /proc/uptime; exit 5") if "over" in word else UNTIL_TOLD
    done = greenrun(*job, env=online(services))
    assert uptime_seconds() - float(done.stdout.split()[0]) < MOST_LATE_SECONDS
    assert done.returncode == 5
    found = record()
    used = found["intensity"]
    assert found["co2e_grams"] > 0
    assert used["link"] in ("region table", "country table")
    assert used["grams_per_kwh"] == used["spans"][0]["grams_per_kwh"]
    assert "electricitymaps" in passed(found)
    assert word in passed(found)["electricitymaps"]
    (sentence,) = warned(found)
    assert "Electricity Maps" in sentence
    assert word in sentence
    assert "table" in sentence
    assert TOKEN not in json.dumps(found)


def test_a_server_that_nobody_runs_and_a_name_that_nobody_has(
    greenrun: Greenrun, services: Services, record: RecordReader
) -> None:
    """Refused at once, or never resolved: told as such."""
    env = online(services, GREENRUN_ELECTRICITYMAPS_URL="http://127.0.0.1:9")
    assert greenrun(*UNTIL_TOLD, env=env).returncode == 5
    (sentence,) = warned(record())
    assert "Electricity Maps" in sentence
    assert "refused" in sentence


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize(
    ("trouble", "word"),
    [
        ("hang cache", "could not be read in time"),
        ("hang token", "could not be read in time"),
        ("nothread", "could not be read in time"),
        ("nospawn", "no process could be started"),
    ],
)
def test_what_breaks_on_the_way_to_a_service_is_told(
    greenrun: Greenrun, services: Services, record: RecordReader, trouble: str, word: str
) -> None:
    """A home that hangs, no thread or process left: the job ends as it would, and a table's figure is used, aloud."""
    path = os.path.join(greenrun.home, "token-file")
    with open(path, "w") as file:
        file.write(TOKEN)
    os.chmod(path, 0o600)
    env = online(services, GREENRUN_ELECTRICITYMAPS_TOKEN=None, GREENRUN_ELECTRICITYMAPS_TOKEN_FILE=path)
    job = "sleep 0.4; cat /proc/uptime; exit 5"
    done = greenrun("sh", "-c", job, env={**env, "LD_PRELOAD": preload_library(), "SIMULATED_TROUBLE": trouble})
    assert uptime_seconds() - float(done.stdout.split()[0]) < MOST_LATE_SECONDS
    assert done.returncode == 5
    assert record()["intensity"]["link"] == "region table"
    (sentence,) = warned(record())
    assert word in sentence
    assert services.requests == []


@pytest.mark.usefixtures("no_leftovers")
def test_an_import_path_longer_than_a_pipe_costs_no_record(
    greenrun: Greenrun, services: Services, record: RecordReader
) -> None:
    """The request for a service carries it, and the sampler must not wait for ever for somebody to read it."""
    path = ":".join(f"/none/{number:02}" + "x" * 4000 for number in range(25))
    assert greenrun("sleep", "0.4", env=online(services, PYTHONPATH=path)).returncode == 0
    assert record()["status"] == "complete"
    assert record()["co2e_grams"] > 0


def asking(greenrun: Greenrun) -> int:
    """Wait for the process that asks and give its process id."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for daemon, name in greenrun.processes().items():
            if name in ("greenrun-daemon", "greenrun-token"):  # the second where there is a token
                with contextlib.suppress(OSError), open(f"/proc/{daemon}/task/{daemon}/children") as file:
                    if children := file.read().split():
                        return int(children[0])
        time.sleep(0.01)
    raise AssertionError("nobody asks")


def state(pid: int) -> str:
    """Give the state of a process, "Z" where it is dead and nobody has waited for it, "" where there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][:1]
    except OSError:
        return ""


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_the_process_that_asks_is_hit(
    greenrun: Greenrun, services: Services, record: RecordReader, number: signal.Signals
) -> None:
    """Killed or stopped while it waits for an answer: told, and gone when greenrun is."""
    services.misbehave("", "hang")
    process = greenrun.start("sh", "-c", "sleep 2; exit 5", env=online(services), stderr=subprocess.DEVNULL)
    fetcher = asking(greenrun)
    os.kill(fetcher, number)
    assert process.wait() == 5
    assert state(fetcher) == ""
    assert record()["status"] == "complete"
    assert len(warned(record())) == 1


@pytest.mark.parametrize("stopped", [False, True])
def test_the_sampler_is_killed_while_a_service_is_asked(
    greenrun: Greenrun, services: Services, record: RecordReader, stopped: bool
) -> None:
    """Who asks goes with it, even if it stands still; the next sampler asks again, and the record has the figure."""
    services.misbehave("", "hang", times=1)
    process = greenrun.start(*UNTIL_TOLD, env=online(services, HOME="/proc/none", XDG_CACHE_HOME=None))
    fetcher = asking(greenrun)
    while not services.requests:
        time.sleep(0.01)
    if stopped:
        os.kill(fetcher, signal.SIGSTOP)
    for daemon, name in greenrun.processes().items():
        if name == "greenrun-daemon":
            os.kill(daemon, signal.SIGKILL)
    assert process.wait() == 5
    assert state(fetcher) in ("", "Z")  # it is for init to wait for an orphan
    assert record()["intensity"]["link"] == "electricitymaps"
    assert len(services.requests) == 2
    assert greenrun.leftovers() == []


def test_nobody_is_asked_before_the_command_runs(
    greenrun: Greenrun, services: Services, record: RecordReader, stamp: Stamp
) -> None:
    """A start that takes a second, in which the sampler has long been ready: the request comes after it."""
    env = online(services, LD_PRELOAD=preload_library(), SIMULATED_TROUBLE="slow start")
    assert greenrun(*stamp.command(3.0), env=env).returncode == 0  # long enough to be asked for on a busy machine
    (asked,) = services.requests
    assert asked.time >= stamp.life()[0]
    assert record()["intensity"]["link"] == "electricitymaps"


def test_a_long_job_is_charged_with_its_forecast(greenrun: Greenrun, services: Services, record: RecordReader) -> None:
    """From the moment at which it is there; what was predicted before says that it rests on none."""
    services.expected = lambda _: 1000.0
    log = '"$GREENRUN_RUN_DIR/run.jsonl"'
    job = (
        'for i in $(seq 100); do echo "epoch $i 20000" >> "$GREENRUN_MARKS"; sleep 0.5; '
        f'grep -qsE "forecast_percent.: ?[1-9]" {log} && break; done'
    )
    result = greenrun("sh", "-c", job, env=online(services))
    assert result.returncode == 0, result.stderr
    first, *_, last = record()["prediction"]["made"]
    assert first["ahead"]["forecast_percent"] == 0.0
    assert last["ahead"]["forecast_percent"] > 0.0
    assert last["ahead"]["links"][-1] == "electricitymaps"
    assert sum("forecast" in request.path for request in services.requests) == 1


def test_two_samplers_of_a_run_complain_once(
    greenrun: Greenrun, services: Services, record: RecordReader, run_dirs: RunDirs
) -> None:
    """The second one asks again, where there is no cache, and is refused again; the record says so once."""
    services.misbehave("", "503")
    env = online(services, HOME="/proc/none", XDG_CACHE_HOME=None)
    process = greenrun.start("sh", "-c", "until test -e go; do sleep 0.1; done", env=env, stderr=subprocess.DEVNULL)
    asking(greenrun)
    log = os.path.join(run_dirs()[0], "run.jsonl")
    while "(503)" not in Path(log).read_text():
        time.sleep(0.01)
    (daemon,) = (pid for pid, name in greenrun.processes().items() if name == "greenrun-daemon")
    os.kill(daemon, signal.SIGKILL)
    while len(services.requests) < 2:
        time.sleep(0.01)
    Path(greenrun.cwd, "go").touch()
    assert process.wait() == 0
    assert len(warned(record())) == 1


def test_a_service_that_fails_is_left_alone_for_a_while(
    greenrun: Greenrun, services: Services, run_dirs: RunDirs
) -> None:
    """Ten runs, one call: the failure is shared like a figure, a call that never ended too."""
    services.misbehave("", "hang")
    greenrun(
        "sh", "-c", "until test -s ../home/.cache/greenrun/intensity/*.json; do sleep 0.1; done", env=online(services)
    )
    for _ in range(10):
        greenrun(*UNTIL_TOLD, env=online(services))
    assert len(services.requests) <= 1
    for run_dir in run_dirs()[1:]:
        with open(os.path.join(run_dir, "summary.json")) as file:
            assert "no answer yet (asked" in passed(json.load(file))["electricitymaps"]


def test_keyless_services_answer_on_their_basis(greenrun: Greenrun, services: Services, record: RecordReader) -> None:
    """Without a token and for direct emissions, Great Britain is asked of NESO."""
    env = online(services, GREENRUN_ELECTRICITYMAPS_TOKEN=None, GREENRUN_ZONE=None, GREENRUN_COUNTRY="GB")
    services.grams = services.expected = lambda _hour: 123.0
    assert greenrun("--basis", "direct", *UNTIL_TOLD, env=env).returncode == 5
    used = record()["intensity"]
    assert (used["link"], used["basis"], used["grams_per_kwh"]) == ("neso", "direct", 123.0)
    assert "token" in passed(record())["electricitymaps"]


def test_a_service_of_another_basis_is_not_asked(greenrun: Greenrun, services: Services, record: RecordReader) -> None:
    """One basis a run, lifecycle unless told: NESO's direct figures are passed over, with that reason."""
    env = online(services, GREENRUN_ELECTRICITYMAPS_TOKEN=None, GREENRUN_ZONE=None, GREENRUN_COUNTRY="GB")
    assert greenrun(*UNTIL_TOLD, env=env).returncode == 5
    assert services.asked("/intensity") == []
    assert "direct" in passed(record())["neso"]
    assert record()["intensity"]["basis"] == "lifecycle"
    assert not warned(record())


def test_what_the_user_told_asks_nobody(greenrun: Greenrun, services: Services, record: RecordReader) -> None:
    """--intensity comes first in the chain."""
    assert greenrun("--intensity", "55", "sleep", "0.3", env=online(services)).returncode == 0
    assert services.requests == []
    assert record()["intensity"]["link"] == "told"


@pytest.mark.usefixtures("no_leftovers")
def test_offline_makes_no_socket(greenrun: Greenrun, services: Services, record: RecordReader) -> None:
    """The kernel kills whoever makes an internet socket: offline nobody does, and the tables answer."""
    env = online(services, GREENRUN_OFFLINE="1")
    done = subprocess.run(
        [program("sealed"), ENTRY, "sh", "-c", "sleep 0.5; exit 4"],
        env=greenrun.environment(env),
        cwd=greenrun.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 4, done.stderr
    found = record()
    assert found["status"] == "complete"
    assert found["intensity"]["link"] in ("region table", "country table")
    assert not warned(found)
    assert services.requests == []


def test_the_seal_is_tight(greenrun: Greenrun, services: Services, record: RecordReader) -> None:
    """Without --offline the same seal kills the process that asks: the test above can fail. The job goes on."""
    done = subprocess.run(
        [program("sealed"), ENTRY, *UNTIL_TOLD],
        env=greenrun.environment(online(services)),
        cwd=greenrun.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 5, done.stderr
    (sentence,) = warned(record())
    assert "ended without an answer" in sentence
    direct = [program("sealed"), sys.executable, "-c", "import socket; socket.socket()"]
    assert subprocess.run(direct).returncode == -31  # SIGSYS


@pytest.mark.timeout(400)
def test_a_hundred_runs_at_once_make_one_call(greenrun: Greenrun, services: Services, tmp_path: Path) -> None:
    """Cold cache, one zone, one hour (two calls where the hour changes meanwhile)."""
    before, over = this_hour(), tmp_path / "over"
    job = ("sh", "-c", f"until [ -e {over} ]; do sleep 2; done; exit 5")  # a hundred that look often are a load
    running = [
        greenrun.start(*job, env=online(services, GREENRUN_LOG_DIR=f"log-{i}"), stderr=subprocess.DEVNULL)
        for i in range(100)
    ]
    told, deadline = re.compile(r'"fetched_at": ?"|"code": ?"intensity"'), time.monotonic() + 200
    waiting = [Path(greenrun.cwd, f"log-{i}") for i in range(100)]
    while waiting and time.monotonic() < deadline:
        time.sleep(0.5)
        waiting = [log for log in waiting if not any(told.search(one.read_text()) for one in log.glob("*/run.jsonl"))]
    over.touch()
    assert [process.wait() for process in running] == [5] * 100
    assert len(services.requests) == 1 + (this_hour() != before)
    used = [json.loads(one.read_text()) for one in Path(greenrun.cwd).glob("log-*/*/summary.json")]
    assert len(used) == 100
    assert [(warned(one), passed(one)) for one in used if one["intensity"]["link"] != "electricitymaps"] == []


def test_the_token_stays_where_it_is(greenrun: Greenrun, services: Services) -> None:
    """Not in the job's environment, in no argument of any process, in no file that greenrun wrote."""
    services.misbehave("", "401 token")
    greenrun(*UNTIL_TOLD, env=online(services))  # also where the service answers with an error
    services.behave()
    look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; env; sleep 0.1; cat /proc/[0-9]*/cmdline; "
    # Other tests give their processes names that are no text.
    done = greenrun("sh", "-c", look + UNTIL_TOLD[2], env=online(services, GREENRUN_ZONE="FR"), errors="replace")
    assert done.returncode == 5
    assert len(services.requests) == 2
    assert all(request.headers["auth-token"] == TOKEN for request in services.requests)
    assert TOKEN not in done.stdout
    assert TOKEN not in done.stderr
    files = 0
    for top in (greenrun.cwd, greenrun.home, greenrun.temporary):
        for folder, _, names in os.walk(top):
            for name in names:
                files += 1
                with open(os.path.join(folder, name), "rb") as file:
                    assert TOKEN.encode() not in file.read(), os.path.join(folder, name)
    assert files >= 6  # two logs, two records, two of the cache


def test_a_token_file_works_and_one_that_others_may_read_does_not(
    greenrun: Greenrun, services: Services, run_dirs: RunDirs
) -> None:
    """Mode 0600 or not at all, and the record says what would mend it."""
    path = os.path.join(greenrun.home, "token")
    with open(path, "w") as file:
        file.write(TOKEN + "\n")
    os.chmod(path, 0o644)
    env = online(services, GREENRUN_ELECTRICITYMAPS_TOKEN=None, GREENRUN_ELECTRICITYMAPS_TOKEN_FILE=path)
    done = greenrun(*UNTIL_TOLD, env=env)
    assert "chmod 600" in done.stderr
    assert services.asked("carbon-intensity") == []
    os.chmod(path, 0o600)
    done = greenrun(*UNTIL_TOLD, env=env)
    assert "Electricity Maps" in done.stderr
    assert len(services.asked("carbon-intensity")) == 1


def test_the_cache_is_private_and_a_broken_one_is_no_matter(
    greenrun: Greenrun, services: Services, record: RecordReader
) -> None:
    """Modes of its own, and what is no cache any more is fetched anew."""
    greenrun("--log-dir", "other", *UNTIL_TOLD, env=online(services))
    top = os.path.join(greenrun.home, ".cache", "greenrun", "intensity")
    assert os.stat(top).st_mode & 0o777 == 0o700
    entries = [os.path.join(top, name) for name in os.listdir(top)]
    assert entries
    for entry in entries:
        assert os.stat(entry).st_mode & 0o077 == 0
        with open(entry, "wb") as file:
            file.write(b"\xff{not json")
    greenrun(*UNTIL_TOLD, env=online(services))
    assert record()["intensity"]["link"] == "electricitymaps"
    assert len(services.requests) == 2


def test_a_home_that_cannot_be_written_only_costs_the_cache(
    greenrun: Greenrun, services: Services, record: RecordReader
) -> None:
    """No home, no cache directory: each run asks for itself."""
    env = online(services, HOME="/proc/none", XDG_CONFIG_HOME=None, XDG_CACHE_HOME=None)
    greenrun("--log-dir", "other", *UNTIL_TOLD, env=env)
    greenrun(*UNTIL_TOLD, env=env)
    assert record()["intensity"]["link"] == "electricitymaps"
    assert len(services.requests) == 2


def test_an_old_figure_is_held_on_and_says_so(greenrun: Greenrun, services: Services, record: RecordReader) -> None:
    """The service is gone: what it said earlier today counts, as an estimate, before any table."""
    greenrun("--log-dir", "other", *UNTIL_TOLD, env=online(services))
    top = os.path.join(greenrun.home, ".cache", "greenrun", "intensity")
    for name in os.listdir(top):
        path = os.path.join(top, name)
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+\+00:00", five_hours_before, text))
    services.misbehave("", "503")
    greenrun(*UNTIL_TOLD, env=online(services))
    found = record()
    assert found["intensity"]["link"] == "stale cache"
    (span,) = found["intensity"]["spans"]
    assert span["estimated"] is True
    assert "503" in passed(found)["electricitymaps"]
    assert warned(found)


def test_the_place_comes_from_the_cloud_where_the_firmware_names_it(
    greenrun: Greenrun, services: Services, run_dirs: RunDirs, tmp_path: Any
) -> None:
    """Amazon's firmware: the region is asked for, and its zone's figure used; unless switched off or offline."""
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "sys_vendor").write_text("Amazon EC2\n")
    env = online(services, GREENRUN_ZONE=None, GREENRUN_SYSFS_ROOT=str(tmp_path / "sys"))

    def used(*arguments: str) -> dict[str, Any]:
        log_dir = os.path.join(greenrun.cwd, f"logs-{len(os.listdir(greenrun.cwd))}")
        greenrun("--log-dir", log_dir, *arguments, env=env)
        (name,) = (name for name in os.listdir(log_dir) if name != ".gitignore")
        with open(os.path.join(log_dir, name, "summary.json")) as file:
            found: dict[str, Any] = json.load(file)["intensity"]
        return found

    first = used(*UNTIL_TOLD)
    assert (first["zone"], first["link"]) == ("DE", "electricitymaps")  # eu-central-1
    assert "AWS eu-central-1" in first["how"]
    asked = len(services.asked("/latest/"))
    assert asked == 2
    assert used("--no-cloud-metadata", "sleep", "0.2")["link"] == "world"
    assert used("--offline", "sleep", "0.2")["link"] == "world"
    assert used("--country", "FR", "sleep", "0.2")["country"] == "FR"
    assert len(services.asked("/latest/")) == asked
    services.misbehave("/latest/", "hang")
    last = used(*until("unknown [(]the metadata service"))
    assert last["link"] == "world"
    assert "metadata service" in last["how"]
