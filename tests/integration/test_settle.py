"""`greenrun report --settle`, as a user types it, against services that answer, estimate, fail, or are forbidden."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun
from machine.privilege import unprivileged
from machine.services import TOKEN, Services
from unit.data.logs import device, end, exited, hour, intensity, sample, spawned, start, warning, yearly

from greenrun.sampler import runlog

HOUR = timedelta(hours=1)
NOW = datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)
WATTS = 1000.0  # a kilowatt-hour an hour
MEASURED = 20  # of the hours of a whole day's run
CONFIG = {"pue": None, "country": None, "zone": "DK-DK1", "basis": "lifecycle", "intensity": None}


def truth(moment: datetime) -> float:
    """Give what the service says of an hour: no two hours of a day are alike."""
    return 50.0 + 17.0 * moment.hour


def first_hour(age_hours: int) -> datetime:
    """Give the hour in which a run begins that is so old."""
    return NOW - age_hours * HOUR


def told(index: int, begin: datetime, **more: Any) -> dict[str, Any]:
    """Give the event of an hour as the run had it from the service."""
    moment = begin + index * HOUR
    return hour(truth(moment), moment.isoformat(), (moment + HOUR).isoformat(), **more)


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services, all of which answer."""
    with Services(truth) as running:
        yield running


class Past:
    """A run of 26 h from 10 past an hour on: 20 hours measured, 3 estimated and wrong, the rest from the table."""

    def __init__(self, folder: Path, age_hours: int = 30, hours: int = 26, **start_fields: Any) -> None:
        self.path = folder / "run"
        self.path.mkdir()
        self.begin = first_hour(age_hours)
        self.hours = hours
        started = (self.begin + timedelta(minutes=10)).isoformat()
        seconds = hours * 3600.0
        self.events = [
            start(device("cpu0"), utc=started, **({"config": CONFIG} | start_fields)),
            yearly(142.0),
            *(told(index, self.begin) for index in range(min(MEASURED, hours))),
            *(
                told(index, self.begin, estimated=True, uncertainty_percent=25.0) | {"grams_per_kwh": 999.0}
                for index in range(MEASURED, min(MEASURED + 3, hours))
            ),
            spawned(0.0),
            *(sample(600.0 * index, 600.0 * index * WATTS) for index in range(6 * hours + 1)),
            exited(seconds),
            end(seconds),
        ]

    def write(self) -> Path:
        """Write the log as the sampler does, and give the run directory."""
        writer = runlog.Writer()
        writer.open(str(self.path))
        for event in self.events:
            writer.append(event)
        writer.close()
        return self.path

    def replace_intensities(self, *events: dict[str, Any]) -> None:
        """Let these be all that is known of the intensity."""
        others = [event for event in self.events[1:] if event["event"] != "intensity"]
        self.events = [self.events[0], *events, *others]

    def grams(self) -> float:
        """Give what the run emitted, by hand: 50 minutes of the first hour, 10 of the last, and all between."""
        parts = [5 / 6, *[1.0] * (self.hours - 1), 1 / 6]
        return math.fsum(part * truth(self.begin + index * HOUR) for index, part in enumerate(parts))


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """Give yesterday's run."""
    return Past(tmp_path)


def files(run_dir: Path) -> dict[str, tuple[bytes, int]]:
    """Give the files of a run: content, and when it was changed."""
    return {name: ((run_dir / name).read_bytes(), (run_dir / name).stat().st_mtime_ns) for name in os.listdir(run_dir)}


def settle(greenrun: Greenrun, services: Services, run_dir: Path, *more: str, **env: str) -> Any:
    """Run `greenrun report --settle`."""
    return greenrun(
        "report", str(run_dir), "--settle", *more, env={**services.environment, "GREENRUN_OFFLINE": "0", **env}
    )


def record(run_dir: Path) -> Any:
    """Give what summary.json holds."""
    return json.loads((run_dir / "summary.json").read_text())


def test_hours_that_were_missing_or_estimated_are_filled(greenrun: Greenrun, services: Services, past: Past) -> None:
    """Seven of 27 hours come new, the others stay; the sum is the one made by hand, and a second time is none."""
    before = past.write()
    log = (before / "run.jsonl").read_bytes()
    done = settle(greenrun, services, past.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("greenrun: the command ran for 1 d 2 h and exited with 0\n")
    last = done.stdout.splitlines()[-1]
    assert last.startswith("  settled     7 hours; CO2e ")
    found = record(past.path)
    assert found["co2e_grams"] == pytest.approx(past.grams(), rel=1e-9)
    assert [span["estimated"] for span in found["intensity"]["spans"]] == [False] * 27
    assert found["intensity"]["link"] == "electricitymaps"
    now = (past.path / "run.jsonl").read_bytes()
    assert now.startswith(log)
    added = [json.loads(line) for line in now[len(log) :].splitlines()]
    assert [event["grams_per_kwh"] for event in added] == [
        truth(past.begin + index * HOUR) for index in range(MEASURED, 27)
    ]
    assert {(event["event"], event["t"]) for event in added} == {("intensity", 26 * 3600.0)}
    assert (past.path / "summary.txt").read_text() in done.stdout
    told_again = greenrun("report", str(past.path), "--json")
    assert json.loads(told_again.stdout) == found
    once, asked = files(past.path), len(services.requests)
    again = settle(greenrun, services, past.path)
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1] == "  settled     nothing, for every hour is measured"
    assert files(past.path) == once
    assert len(services.requests) == asked


def test_an_hour_that_is_still_estimated(greenrun: Greenrun, services: Services, past: Past) -> None:
    """It stays as it is, is counted, and is asked for again the next time, without a line in the log."""
    services.estimated = lambda moment: moment == past.begin + 22 * HOUR
    done = settle(greenrun, services, past.write())
    assert done.stdout.splitlines()[-1].startswith("  settled     6 hours, 1 still estimated; CO2e ")
    spans = record(past.path)["intensity"]["spans"]
    assert [index for index, span in enumerate(spans) if span["estimated"]] == [22]
    assert spans[22]["grams_per_kwh"] == 999.0, "an estimate is no better than an estimate"
    once = files(past.path)
    again = settle(greenrun, services, past.path)
    assert again.returncode == 0
    assert again.stdout.splitlines()[-1].startswith("  settled     no hour yet, 1 still estimated; CO2e stays ")
    assert files(past.path) == once


def test_an_estimate_is_better_than_a_table(greenrun: Greenrun, services: Services, past: Past) -> None:
    """Where only the yearly average was, the service's estimate takes its place, and a measured hour later on."""
    past.replace_intensities(yearly(142.0))
    services.estimated = lambda moment: True
    done = settle(greenrun, services, past.write())
    assert "no hour yet, 27 still estimated; CO2e " in done.stdout.splitlines()[-1]
    assert record(past.path)["co2e_grams"] == pytest.approx(past.grams(), rel=1e-9)
    services.estimated = lambda moment: False
    measured = settle(greenrun, services, past.path, XDG_CACHE_HOME=str(past.path.parent / "another"))
    assert "27 hours; CO2e " in measured.stdout.splitlines()[-1]
    assert record(past.path)["intensity"]["uncertainty_percent"] < 20.0


def test_a_run_of_last_week(greenrun: Greenrun, services: Services, tmp_path: Path) -> None:
    """Longer ago than a service's history reaches: its range is asked."""
    past = Past(tmp_path, age_hours=150)
    done = settle(greenrun, services, past.write())
    assert "7 hours; CO2e " in done.stdout.splitlines()[-1], done.stderr
    assert record(past.path)["co2e_grams"] == pytest.approx(past.grams(), rel=1e-9)
    assert services.asked("past-range")


def test_a_run_that_ends_just_after_the_hour(greenrun: Greenrun, services: Services, tmp_path: Path) -> None:
    """Less than a millisecond of the next hour is in no time that the record shows, and is settled all the same."""
    past = Past(tmp_path, hours=2)
    past.replace_intensities(yearly(142.0))
    last = 110 * 60.0 + 0.0004
    past.events = [event for event in past.events if event["t"] < last]
    past.events += [sample(last, last * WATTS), exited(last), end(last)]
    done = settle(greenrun, services, past.write())
    assert "hours; CO2e" in done.stdout.splitlines()[-1], done.stderr
    assert {span["link"] for span in record(past.path)["intensity"]["spans"]} == {"electricitymaps"}


def test_the_warning_of_a_failure_goes_with_it(greenrun: Greenrun, services: Services, past: Past) -> None:
    """What was warned of while the service was down has been made good."""
    failed = {"link": "electricitymaps", "cause": "broken", "reason": "no answer within 5 s"}
    past.replace_intensities(yearly(142.0, passed=[failed]), warning(1.0, "intensity", "No service answered."))
    assert "No service answered." in greenrun("report", str(past.write())).stdout
    done = settle(greenrun, services, past.path)
    assert done.returncode == 0
    assert "No service answered." not in done.stdout
    assert record(past.path)["warnings"] == []


@pytest.mark.parametrize("kind", ["503", "429", "401 token", "404", "html", "reset", "truncated", "other zone"])
def test_a_service_that_fails_changes_nothing(greenrun: Greenrun, services: Services, past: Past, kind: str) -> None:
    """Exit status 1, one sentence that names the service, and every byte as it was."""
    services.misbehave("", kind)
    once = files(past.write())
    done = settle(greenrun, services, past.path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("greenrun: nothing was settled: Electricity Maps: ")
    assert done.stderr.count("\n") == 1
    assert files(past.path) == once


def test_another_service_in_its_place(greenrun: Greenrun, services: Services, tmp_path: Path) -> None:
    """Where one of the same basis answers instead, its hours are taken, and both are named."""
    past = Past(tmp_path, config=CONFIG | {"zone": None, "country": "DE"})
    services.misbehave("carbon-intensity", "hang")
    done = settle(greenrun, services, past.write())
    assert done.returncode == 0
    words = " ".join(done.stdout.partition("  settled     ")[2].split())
    assert words.startswith("7 hours; CO2e ")
    assert "; Electricity Maps: " in words
    links = [span["link"] for span in record(past.path)["intensity"]["spans"]]
    assert links == ["electricitymaps"] * MEASURED + ["energycharts"] * 7


def test_no_network_at_all(greenrun: Greenrun, services: Services, past: Past) -> None:
    """A port at which nobody listens: as with a cable that is not plugged in."""
    once = files(past.write())
    done = settle(greenrun, services, past.path, GREENRUN_ELECTRICITYMAPS_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert files(past.path) == once


@pytest.mark.parametrize(
    ("more", "env", "words"),
    [
        ((), {"GREENRUN_OFFLINE": "1"}, "stay offline"),
        (("--pue", "2"), {}, "--pue asks what if"),
        (("--intensity", "2"), {}, "--intensity asks what if"),
        (("--basis", "direct"), {}, "--basis asks what if"),
        (("--zone", "DK-DK1", "--country", "FR"), {}, "must lie in the country FR"),
    ],
)
def test_mistakes(
    greenrun: Greenrun, services: Services, past: Past, more: tuple[str, ...], env: dict[str, str], words: str
) -> None:
    """One sentence, 125, and nobody is asked."""
    once = files(past.write())
    done = settle(greenrun, services, past.path, *more, **env)
    assert (done.returncode, done.stdout) == (125, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert (files(past.path), services.requests) == (once, [])


def test_a_run_that_goes_on_is_left_alone(greenrun: Greenrun, services: Services, past: Past) -> None:
    """Its sampler writes, and asks by itself; one that was killed is quiet, and is settled, half a line and all."""
    past.events = past.events[:-2]
    log = past.write() / "run.jsonl"
    (past.path / "last.json").write_bytes(runlog.encode(past.events[-1]))
    done = settle(greenrun, services, past.path)
    assert (done.returncode, done.stdout) == (125, "")
    assert "has not ended" in done.stderr
    with log.open("ab") as file:
        file.write(b'{"event":"sam')
    long_ago = NOW.timestamp() - 3600.0
    for path in past.path.iterdir():
        os.utime(path, (long_ago, long_ago))
    killed = settle(greenrun, services, past.path)
    assert (killed.returncode, killed.stderr) == (0, "")
    assert killed.stdout.startswith("greenrun: partial record: ")
    assert record(past.path)["co2e_grams"] == pytest.approx(past.grams(), rel=1e-9)
    assert settle(greenrun, services, past.path).stdout.splitlines()[-1].endswith("every hour is measured")


def test_what_was_told_is_not_settled(greenrun: Greenrun, services: Services, past: Past) -> None:
    """With --intensity there is nothing to ask, and it says so."""
    past.events[0]["config"] = CONFIG | {"intensity": 120.0}
    past.replace_intensities(intensity(120.0, link="told", source="told by --intensity", basis=None))
    once = files(past.write())
    done = settle(greenrun, services, past.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "  settled     nothing, for the intensity was told by --intensity"
    assert (files(past.path), services.requests) == (once, [])


def test_a_command_that_never_started(greenrun: Greenrun, services: Services, past: Past) -> None:
    """There is no stretch to ask for."""
    not_started = {"event": "not-started", "t": 0.1, "exit_code": 127, "reason": "nosuch: not found"}
    past.events = [past.events[0], not_started, end(0.1, "not-started")]
    done = settle(greenrun, services, past.write())
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "  settled     nothing, for no command was measured"


def test_where_the_run_took_place_may_be_told(greenrun: Greenrun, services: Services, past: Past) -> None:
    """A run of an unknown place says how to tell it; told, it has its hours, and the new record names the zone."""
    past.events[0]["config"] = CONFIG | {"zone": None}
    past.replace_intensities(yearly(475.0, link="world", country=None, how="unknown"))
    unknown = settle(greenrun, services, past.write())
    assert (unknown.returncode, unknown.stdout, services.requests) == (1, "", [])
    assert "--zone or --country tells it" in unknown.stderr
    done = settle(greenrun, services, past.path, "--zone", "dk-dk1")
    assert "27 hours; " in done.stdout.splitlines()[-1], done.stderr
    assert record(past.path)["intensity"]["zone"] == "DK-DK1"


def test_the_place_is_the_log_s(greenrun: Greenrun, services: Services, past: Past) -> None:
    """Not that of the machine on which it is settled, whatever its configuration says."""
    past.events[0]["config"] = {"pue": None}  # an older log: what it knows stands in its intensities
    done = settle(greenrun, services, past.write(), GREENRUN_ZONE="DE", GREENRUN_BASIS="direct")
    assert "7 hours; " in done.stdout.splitlines()[-1], done.stderr
    assert {request.query["zone"] for request in services.asked("carbon-intensity")} == {"DK-DK1"}
    assert {request.query["emissionFactorType"] for request in services.asked("carbon-intensity")} == {"lifecycle"}


def test_direct_emissions_in_half_hours(greenrun: Greenrun, services: Services, tmp_path: Path) -> None:
    """A run in Great Britain on the direct basis, without a token: settled by the national service."""
    past = Past(tmp_path, config=CONFIG | {"zone": None, "country": "GB", "basis": "direct"})
    past.replace_intensities(yearly(200.0, country="GB", basis="direct"))
    done = settle(greenrun, services, past.write(), GREENRUN_ELECTRICITYMAPS_TOKEN="")
    assert "27 hours; " in done.stdout.splitlines()[-1], done.stderr
    found = record(past.path)
    assert found["intensity"]["link"] == "neso"
    assert found["intensity"]["basis"] == "direct"
    assert found["co2e_grams"] == pytest.approx(past.grams(), rel=1e-9)


def test_one_basis_a_run(greenrun: Greenrun, services: Services, tmp_path: Path) -> None:
    """What a service tells of Germany is of life cycles: a run on direct emissions is not mixed with it."""
    past = Past(tmp_path, config=CONFIG | {"zone": None, "country": "DE", "basis": "direct"})
    past.replace_intensities(yearly(330.0, country="DE", basis="direct"))
    once = files(past.write())
    done = settle(greenrun, services, past.path, GREENRUN_ELECTRICITYMAPS_TOKEN="")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Energy-Charts: its figures fit lifecycle emissions" in done.stderr
    assert (files(past.path), services.requests) == (once, [])


def test_json_is_the_record_alone(greenrun: Greenrun, services: Services, past: Past) -> None:
    """As summary.json has it."""
    done = settle(greenrun, services, past.write(), "--json")
    assert (past.path / "summary.json").read_text() == done.stdout


def test_a_log_that_may_not_be_written(greenrun: Greenrun, services: Services, past: Past) -> None:
    """Said before anybody is asked."""
    log = past.write() / "run.jsonl"
    log.chmod(0o400)
    command = unprivileged([ENTRY, "report", str(past.path), "--settle"])
    env = greenrun.environment({**services.environment, "GREENRUN_OFFLINE": "0"})
    done = subprocess.run(command, env=env, cwd=greenrun.cwd, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "may not be written" in done.stderr
    assert services.requests == []


def test_a_summary_that_may_not_be_written(greenrun: Greenrun, services: Services, past: Past) -> None:
    """The log has the hours, and the sentence names what has not: told again, the run has them all."""
    past.write().chmod(0o500)
    command = unprivileged([ENTRY, "report", str(past.path), "--settle"])
    env = greenrun.environment({**services.environment, "GREENRUN_OFFLINE": "0"})
    done = subprocess.run(command, env=env, cwd=greenrun.cwd, capture_output=True, text=True, timeout=60, check=False)
    past.path.chmod(0o700)
    assert (done.returncode, done.stdout) == (125, "")
    assert "summary.txt" in done.stderr
    found = json.loads(greenrun("report", str(past.path), "--json").stdout)
    assert found["co2e_grams"] == pytest.approx(past.grams(), rel=1e-9)


def test_the_token_is_nowhere(greenrun: Greenrun, services: Services, past: Past) -> None:
    """Not in the log, the record, the cache or the output."""
    done = settle(greenrun, services, past.write())
    assert services.requests
    assert TOKEN not in done.stdout + done.stderr
    for top in (past.path, Path(greenrun.home), Path(greenrun.cwd), Path(greenrun.temporary)):
        for folder, _, names in os.walk(top):
            for name in names:
                assert TOKEN.encode() not in (Path(folder) / name).read_bytes()
