"""The verb `predict`, as a user types it: as a run, as a log of carbontracker's, from hours on hardware."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine.command import Greenrun
from machine.services import TOKEN, Services
from unit.data.logs import device, end, epoch, exited, sample, spawned, start, yearly

from greenrun.sampler import runlog

pytestmark = pytest.mark.usefixtures("no_leftovers")

RECORDED = Path(__file__).parent.parent / "unit" / "data" / "carbontracker"
STEM = "9992.769135_2026-11-22T080547Z"
WATTS = 100.0
TO_90 = 1.6449 / 1.96


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services: 320 g/kWh now, 80 forecast."""
    with Services(lambda _: 320.0, expected=lambda _: 80.0) as running:
        yield running


def online(services: Services) -> dict[str, str | None]:
    """Give the environment of a greenrun that may ask the services."""
    return {**services.environment, "GREENRUN_OFFLINE": None}


def write(folder: Path, *events: dict[str, Any], **start_fields: Any) -> str:
    """Write the log of a run at 100 W, known to 5 %, from 0 s to 400 s, and give its directory."""
    folder.mkdir()
    writer = runlog.Writer()
    writer.open(str(folder))
    samples = [sample(100.0 * index, 100.0 * index * WATTS) for index in range(5)]
    for event in [start(device("cpu0"), **start_fields), yearly(142.0), spawned(0.0), *samples, *events]:
        writer.append(event)
    writer.close()
    return str(folder)


def epochs(count: int, seconds: float = 30.0) -> list[dict[str, Any]]:
    """Give epochs from 40 s on, all alike."""
    return [epoch(40.0 + seconds * n, n + 1, "start") for n in range(count)] + [
        epoch(40.0 + seconds * count, count, "end")
    ]


@pytest.fixture
def ten_epochs(tmp_path: Path) -> str:
    """Give the directory of a run of 10 epochs that ended."""
    return write(tmp_path / "run", *epochs(10), exited(400.0), end(400.0))


def answer(greenrun: Greenrun, *arguments: str, **env: str | None) -> dict[str, Any]:
    """Give the answer as the document that --json prints."""
    told = greenrun("predict", *arguments, "--json", env=env)
    assert (told.returncode, told.stderr) == (0, "")
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def text(greenrun: Greenrun, *arguments: str, env: dict[str, str | None] | None = None) -> str:
    """Give the answer as text in one line, having seen that it fits a terminal."""
    told = greenrun("predict", *arguments, env=env)
    assert (told.returncode, told.stderr) == (0, "")
    assert max(map(len, told.stdout.splitlines())) <= 80
    return " ".join(told.stdout.split())


# --- as a run


def test_more_epochs_of_a_run(greenrun: Greenrun, ten_epochs: str) -> None:
    """40 s of set-up, 60 s after the last, 30 s an epoch; in France and with another PUE."""
    found = answer(greenrun, "--like", ten_epochs, "--epochs", "200", "--country", "FR", "--pue", "1.5")
    assert (found["told_from"], found["epochs"], found["interval_percent"]) == ("run", 200, 90)
    seconds, joules, grams = (found[key] for key in ("duration_seconds", "energy_joules", "co2e_grams"))
    assert seconds["value"] == pytest.approx(100.0 + 200 * 30.0)
    assert joules["value"] == pytest.approx(seconds["value"] * WATTS)
    intensity = found["intensity"]["grams_per_kwh"]
    assert found["intensity"]["country"] == "FR"
    assert grams["value"] == pytest.approx(joules["value"] / 3.6e6 * 1.5 * intensity)
    assert (found["pue"], found["pue_source"]) == (1.5, "told")
    for amount in (seconds, joules, grams):
        assert amount["low"] < 0.92 * amount["value"] < 1.08 * amount["value"] < amount["high"]


def test_as_many_epochs_cost_what_they_cost(greenrun: Greenrun, ten_epochs: str) -> None:
    """The whole run once more: its own place, its own figures; what two runs differ by, and the meter's 5 %."""
    found = answer(greenrun, "--like", ten_epochs)
    assert found["epochs"] == 10
    assert found["energy_joules"]["value"] == pytest.approx(400.0 * WATTS)
    half = 40000.0 * math.hypot(0.1, 0.05 * TO_90)
    assert found["energy_joules"]["high"] == pytest.approx(40000.0 + half)
    assert (found["place"]["country"], found["intensity"]["country"]) == ("DK", "DK")
    grams, yearly_percent = found["co2e_grams"], found["intensity"]["uncertainty_percent"]
    relative = (grams["high"] - grams["value"]) / grams["value"]
    assert relative == pytest.approx(math.hypot(0.1, 0.05 * TO_90, yearly_percent / 100.0 * TO_90))


def test_what_was_told_to_the_run_is_told_again(greenrun: Greenrun, tmp_path: Path) -> None:
    """PUE and intensity of the run, unless this command line says where else it will run."""
    config = {"pue": 1.2, "country": "DK", "zone": None, "basis": "lifecycle", "intensity": 50.0}
    run_dir = write(tmp_path / "run", *epochs(10), exited(400.0), end(400.0), config=config)
    found = answer(greenrun, "--like", run_dir, GREENRUN_PUE="3", GREENRUN_COUNTRY="PL")
    assert (found["pue"], found["pue_source"]) == (1.2, "run")
    assert (found["intensity"]["grams_per_kwh"], found["intensity"]["source"]) == (50.0, "told by that run")
    assert found["co2e_grams"]["value"] == pytest.approx(40000.0 / 3.6e6 * 1.2 * 50.0)
    elsewhere = answer(greenrun, "--like", run_dir, "--zone", "DK-DK2")
    assert (elsewhere["pue"], elsewhere["intensity"]["zone"]) == (1.2, "DK-DK2")
    told = answer(greenrun, "--like", run_dir, "--intensity", "10")
    assert told["intensity"]["source"] == "told by --intensity"


def test_the_text_says_what_is_assumed(greenrun: Greenrun, ten_epochs: str) -> None:
    """Figures with ranges of 90 %, and on what they rest."""
    told = text(greenrun, "--like", ten_epochs, "--epochs", "20")
    assert told.startswith(
        "greenrun: 20 epochs of job, as predicted from the 10 epochs of its run of 2026-01-01 time 11 min"
    )
    for words in (
        "the same machine, data and settings",
        "epochs beyond those that ran are told from: all epochs so far",
        "set-up and what came after the last epoch, 100 s",
        "two runs of one job differ by +-10 %",
        "energy was measured, +-4.2 %",
        "PUE 1, assumed, since nobody told it (--pue); the mean data centre's 1.54 (Uptime Institute survey 2025)",
        "yearly average of DK",
        "of 90 %: so often the actual value lies within",
    ):
        assert words in told, words


def test_a_run_without_epochs(greenrun: Greenrun, tmp_path: Path) -> None:
    """As a whole it is told; how many epochs it had nobody knows."""
    run_dir = write(tmp_path / "run", exited(400.0), end(400.0))
    found = answer(greenrun, "--like", run_dir)
    assert (found["epochs"], found["duration_seconds"]["value"]) == (None, 400.0)
    assert "job once more, as it ran on 2026-01-01" in text(greenrun, "--like", run_dir)
    refused = greenrun("predict", "--like", run_dir, "--epochs", "3")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "has no epochs to predict from: leave --epochs out" in refused.stderr


def test_a_run_that_was_killed(greenrun: Greenrun, tmp_path: Path) -> None:
    """Its epochs tell; without epochs nothing does."""
    told = text(greenrun, "--like", write(tmp_path / "run", *epochs(10)), "--epochs", "10")
    assert "that run did not come to its end: what comes after the last epoch is missing" in told
    refused = greenrun("predict", "--like", write(tmp_path / "other"))
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "was not seen to end and has no epochs" in refused.stderr


def test_a_run_that_failed(greenrun: Greenrun, tmp_path: Path) -> None:
    """What it did after its last whole epoch says nothing; without epochs it is told, with a word about its end."""
    failed = [exited(400.0, 1), end(400.0)]
    told = text(greenrun, "--like", write(tmp_path / "run", *epochs(10), *failed), "--epochs", "10")
    assert "that run did not come to its end: what comes after the last epoch is missing" in told
    whole = write(tmp_path / "whole", *failed)
    assert answer(greenrun, "--like", whole)["duration_seconds"]["value"] == 400.0
    assert "that run failed: one that comes to its end may take longer" in text(greenrun, "--like", whole)


def test_a_run_that_greenrun_made(greenrun: Greenrun, run_dirs: Callable[[], list[str]]) -> None:
    """From its beginning: measured here, then predicted; what nobody measured is called an estimate."""
    job = "for n in 1 2 3; do sleep 0.2; echo epoch $n 3 >> $GREENRUN_MARKS; done"
    done = greenrun("--country", "FR", "--name", "tiny", "--interval", "0.1", "sh", "-c", job)
    assert done.returncode == 0, done.stderr
    (run_dir,) = run_dirs()
    found = answer(greenrun, "--like", run_dir, "--epochs", "30")
    assert 4.0 < found["duration_seconds"]["value"] < 60.0
    assert found["intensity"]["country"] == "FR"
    assert found["headline"].startswith("30 epochs of tiny, as predicted from the 3 epochs")


# --- hours on hardware


@pytest.mark.parametrize(
    "words",
    [["--gpu", "A100", "x4"], ["--gpu", "A100 x4"], ["--gpu=4xA100"], ["--gpu", "A100:2", "--gpu", "2", "x", "A100"]],
)
def test_hours_on_accelerators(greenrun: Greenrun, words: list[str]) -> None:
    """Between 250 and 400 W each, 75 % of it drawn, a quarter more for the host; in Germany."""
    found = answer(greenrun, "--hours", "24", *words, "--country", "DE")
    assert (found["told_from"], found["epochs"]) == ("hardware", None)
    assert found["duration_seconds"] == {"value": 86400.0, "low": 86400.0, "high": 86400.0}
    joules = found["energy_joules"]
    assert joules["value"] == pytest.approx(86400.0 * 4 * 325.0 * 0.75 * 1.25)
    assert joules["low"] < 86400.0 * 4 * 250.0 * 0.75 < 86400.0 * 4 * 400.0 < joules["high"]
    grams_per_kwh = found["intensity"]["grams_per_kwh"]
    assert (found["intensity"]["country"], 200.0 < grams_per_kwh < 500.0) == ("DE", True)
    assert found["co2e_grams"]["value"] == pytest.approx(joules["value"] / 3.6e6 * grams_per_kwh)


def test_the_text_says_from_what_it_was_estimated(greenrun: Greenrun) -> None:
    """The models that were meant, what they draw and by whom, what is not counted; never as a measurement."""
    told = text(greenrun, "--hours", "24", "--gpu", "A100", "x4", "--gpu", "RTX 4090", "--country", "DE")
    assert told.startswith(
        "greenrun: 24 h on 4 x NVIDIA A100 and 1 x NVIDIA RTX 4090, estimated from design power: nothing was measured"
    )
    for words in (
        "NVIDIA A100 may be PCIe 40GB 250 W, PCIe 80GB 300 W, SXM 40GB 400 W, SXM 80GB 400 W: the range is over all",
        "NVIDIA RTX 4090: 450 W each (TDP, mlco2/impact after",
        "draw 75 % (40 to 100 %) of that while the job runs",
        "CPU and memory draw 25 % (10 to 50 %)",
        "not fans, disks, network and power supplies",
        "yearly average of DE, --country",
    ):
        assert words in told, words


def test_hours_on_cpus(greenrun: Greenrun) -> None:
    """Two packages of 280 W that do the work themselves, and their memory."""
    found = answer(greenrun, "--hours", "0.5", "--cpu", "EPYC", "7763", "x2", "--intensity", "100", "--pue", "1.1")
    joules = 1800.0 * 560.0 * (0.85 + 0.25)
    assert found["energy_joules"]["value"] == pytest.approx(joules)
    assert found["co2e_grams"]["value"] == pytest.approx(joules / 3.6e6 * 1.1 * 100.0)
    assert found["co2e_grams"]["high"] / found["co2e_grams"]["value"] == pytest.approx(
        found["energy_joules"]["high"] / found["energy_joules"]["value"]
    )


# --- the grid to come


def test_a_forecast_for_the_whole_job_counts_first(greenrun: Greenrun, services: Services) -> None:
    """A job of two hours is charged with its mean; the token is nowhere."""
    arguments = ("--hours", "2", "--gpu", "T4", "--zone", "DK-DK1")
    found = answer(greenrun, *arguments, **online(services))
    assert (found["intensity"]["grams_per_kwh"], found["intensity"]["link"]) == (80.0, "electricitymaps")
    told = greenrun("predict", *arguments, env=online(services))
    assert "the mean of the forecast if it starts now" in " ".join(told.stdout.split())
    assert TOKEN not in told.stdout + told.stderr + json.dumps(found)


def test_a_short_job_is_charged_with_the_figure_of_now(greenrun: Greenrun, services: Services) -> None:
    """Where nobody forecasts; why nobody does is said."""
    services.misbehave("forecast", "503")
    arguments = ("--hours", "0.5", "--gpu", "T4", "--zone", "DK-DK1")
    found = answer(greenrun, *arguments, **online(services))
    assert (found["intensity"]["grams_per_kwh"], found["intensity"]["link"]) == (320.0, "electricitymaps")
    assert "passed over Electricity Maps" in text(greenrun, *arguments, env=online(services))


def test_a_longer_job_has_the_yearly_average(greenrun: Greenrun, services: Services) -> None:
    """Two hours without a forecast; a week, for which nobody is even asked."""
    services.misbehave("forecast", "503")
    arguments = ("--gpu", "T4", "--zone", "DK-DK1")
    hours = answer(greenrun, "--hours", "2", *arguments, **online(services))
    assert hours["intensity"]["link"] == "region table"
    before = len(services.asked(""))
    week = answer(greenrun, "--hours", "168", *arguments, **online(services))
    assert week["intensity"]["link"] == "region table"
    assert len(services.asked("")) == before


def test_offline_asks_nobody(greenrun: Greenrun, services: Services) -> None:
    """Nor does it say that somebody did not answer."""
    told = text(greenrun, "--hours", "2", "--gpu", "T4", "--zone", "DK-DK1", "--offline", env=online(services))
    assert "yearly average of DK-DK1" in told
    assert "passed over" not in told
    assert services.asked("") == []


def test_offline_uses_what_was_told_before(greenrun: Greenrun, services: Services) -> None:
    """A forecast of a moment ago is in the cache."""
    arguments = ("--hours", "2", "--gpu", "T4", "--zone", "DK-DK1")
    answer(greenrun, *arguments, **online(services))
    before = len(services.asked(""))
    found = answer(greenrun, *arguments, "--offline", **online(services))
    assert found["intensity"]["grams_per_kwh"] == 80.0
    assert len(services.asked("")) == before


def test_a_place_that_nobody_knows(greenrun: Greenrun) -> None:
    """The world's average, and that it is; on the basis of which there is none the CO2e is unknown."""
    env: dict[str, str | None] = {"TZ": "UTC"}
    assert "the world average" in text(greenrun, "--hours", "2", "--gpu", "T4", env=env)
    unknown = answer(greenrun, "--hours", "2", "--gpu", "T4", "--country", "AQ", "--basis", "direct", **env)
    assert (unknown["co2e_grams"], unknown["intensity"]) == (None, None)
    told = text(greenrun, "--hours", "2", "--gpu", "T4", "--country", "AQ", "--basis", "direct", env=env)
    assert "CO2e unknown" in told


# --- as a log of carbontracker's


@pytest.mark.parametrize("name", [f"{STEM}_carbontracker.log", f"{STEM}_carbontracker_output.log"])
def test_more_epochs_of_a_log(greenrun: Greenrun, name: str) -> None:
    """From the recorded one, or the one beside it: 3.1 s, then 2.2 s an epoch at 260 W, and no PUE of theirs."""
    found = answer(greenrun, "--from-log", str(RECORDED / name), "--epochs", "100", "--country", "DK")
    assert (found["told_from"], found["epochs"]) == ("carbontracker", 100)
    assert found["duration_seconds"]["value"] == pytest.approx(3.1 + 99 * 2.2)
    assert found["energy_joules"]["value"] == pytest.approx(260.0 * (3.1 + 99 * 2.2))
    told = text(greenrun, "--from-log", str(RECORDED / name), "--epochs", "100", "--country", "DK")
    for words in (
        "100 epochs, as predicted from the 4 epochs in a log of carbontracker 2.4.7",
        f"the epochs of {STEM}_carbontracker.log",
        "the energy is carbontracker 2.4.7's, not greenrun's, and without its PUE",
        "between 61 % too little and 1 % too much",
    ):
        assert words in told, words


def test_a_log_without_energy(greenrun: Greenrun, tmp_path: Path) -> None:
    """Its time is told; what was not read is no 0."""
    log = tmp_path / "a_carbontracker.log"
    lines = ["carbontracker version 1.2.5", "Epoch 1:", "Duration: 0:00:10.00", "Average power usage (W) for cpu: [0.]"]
    log.write_text("".join(f"2023-05-01 12:00:00 - {line}\n" for line in lines))
    found = answer(greenrun, "--from-log", str(log), "--country", "DK")
    assert (found["duration_seconds"]["value"], found["energy_joules"], found["co2e_grams"]) == (10.0, None, None)
    told = text(greenrun, "--from-log", str(log), "--country", "DK")
    assert "energy unknown CO2e unknown" in told
    assert "it could not read the CPU: that energy is missing" in told


def test_sums_alone_tell_no_epochs(greenrun: Greenrun, tmp_path: Path) -> None:
    """An output log whose standard log is not beside it, and a file that is none at all."""
    log = tmp_path / f"{STEM}_carbontracker_output.log"
    shutil.copy(RECORDED / log.name, log)
    refused = greenrun("predict", "--from-log", str(log))
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "holds carbontracker's sums alone" in refused.stderr
    assert greenrun("predict", "--from-log", os.devnull).returncode == 125


# --- mistakes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "predict needs one of --like RUN_DIR, --from-log FILE and --hours HOURS; none was told"),
        (["--like", "x", "--hours", "2"], "; --like and --hours were told"),
        (["--like", "x"], "x is no run directory"),
        (["--like", "x", "--gpu", "A100"], "--gpu does not go with --like"),
        (["--from-log", "x", "--cpu", "i7"], "--cpu does not go with --from-log"),
        (["--from-log", "x"], "x cannot be read: No such file or directory"),
        (["--hours", "2", "--gpu", "A100", "--epochs", "3"], "--epochs does not go with --hours"),
        (["--like", "x", "--epochs", "0"], "--epochs must be a whole number from 1 to 1000000, not '0'"),
        (["--like", "x", "--epochs", "auto"], "--epochs must be a whole number from 1 to 1000000, not 'auto'"),
        (["--hours", "0", "--gpu", "A100"], "--hours must be a number of hours above 0, at most 8760, not '0'"),
        (["--hours", "24h", "--gpu", "A100"], "--hours must be a number of hours above 0, at most 8760, not '24h'"),
        (["--hours", "2"], "--hours needs the hardware that the job keeps busy"),
        (["--hours", "2", "--gpu", "B1000"], "not 'B1000'; near it are NVIDIA B100 SXM"),
        (["--hours", "2", "--cpu", "Pentagon"], "--cpu must be a model that greenrun's table holds"),
        (["--hours", "2", "--gpu", "A100", "--pue", "0.5"], "--pue must be a number of 1 or more"),
        (["--hours", "2", "--gpu", "A100", "--country", "DE", "--zone", "DK-DK1"], "must lie in the country DE"),
        (["--hour", "2"], "there is no option --hour, --hours is the nearest"),
    ],
)
def test_mistakes(greenrun: Greenrun, arguments: list[str], sentence: str) -> None:
    """One sentence on stderr that says what would be right, nothing on stdout, 125."""
    told = greenrun("predict", *arguments)
    assert (told.returncode, told.stdout) == (125, "")
    assert sentence in told.stderr
    assert told.stderr.count("\n") == 1
    assert "Traceback" not in told.stderr


def test_a_damaged_log(greenrun: Greenrun, tmp_path: Path) -> None:
    """JSON that lacks what a run log has."""
    (tmp_path / "run.jsonl").write_text('{"event": "start", "t": 0}\n')
    told = greenrun("predict", "--like", str(tmp_path))
    assert told.returncode == 125
    assert "Traceback" not in told.stderr
