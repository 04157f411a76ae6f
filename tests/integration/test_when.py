"""The verbs `intensity` and `when`, and `--start greenest`, against services on the loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pexpect
import pytest
from machine.command import ENTRY, Greenrun
from machine.services import TOKEN, Services
from machine.shell import Shell

pytestmark = pytest.mark.usefixtures("no_leftovers")

HOUR = timedelta(hours=1)
NIGHT = 5  # hours from now is the best one


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services; the fifth hour from now is the greenest by far."""
    hour = this_hour()

    def expected(moment: datetime) -> float:
        return 40.0 if moment == hour + NIGHT * HOUR else 400.0

    with Services(lambda _: 320.0, expected=expected) as running:
        yield running


def this_hour() -> datetime:
    """Give the start of the present hour; waits where the next is about to begin."""
    now = datetime.now(timezone.utc)
    left = 3600 - (now.minute * 60 + now.second)
    if left < 20:
        time.sleep(left + 0.1)
        now = datetime.now(timezone.utc)
    return now.replace(minute=0, second=0, microsecond=0)


def online(services: Services, **changes: str | None) -> dict[str, str | None]:
    """Give the environment of a greenrun that may ask `services`, in western Denmark and by its clocks."""
    told = {"GREENRUN_OFFLINE": None, "GREENRUN_ZONE": "DK-DK1", "TZ": "Europe/Copenhagen", "LC_ALL": "C.UTF-8"}
    return {**services.environment, **told, **changes}


# --- intensity


def test_intensity_now_and_to_come(greenrun: Greenrun, services: Services) -> None:
    """The measured hour, the chart, where both came from; nothing of the token."""
    told = greenrun("intensity", env=online(services))
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert lines[0] == "Carbon intensity of DK-DK1 (GREENRUN_ZONE)"
    assert lines[1].startswith("  now         320 g/kWh +-")
    assert "  next 24 h   lowest 40.0 g/kWh at " in told.stdout
    assert "highest 400 g/kWh at" in told.stdout
    assert told.stdout.count("Electricity Maps") == 2
    assert "    400|███" in told.stdout
    assert max(map(len, lines)) <= 80
    assert TOKEN not in told.stdout


@pytest.mark.parametrize(
    "changes", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "1"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_the_chart_is_ascii_where_blocks_may_not_arrive(
    greenrun: Greenrun, services: Services, changes: dict[str, str]
) -> None:
    """In the locale C, though Python writes UTF-8 there, and where stdout is told another encoding."""
    told = greenrun("intensity", env=online(services, **changes))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.isascii()
    assert "    400|###" in told.stdout


def test_intensity_as_a_document(greenrun: Greenrun, services: Services) -> None:
    """Spans with all that is known of them, for the zone asked for."""
    told = greenrun("intensity", "--json", "dk-dk2", env=online(services))
    document = json.loads(told.stdout)
    assert document["place"] == {"country": "DK", "zone": "DK-DK2", "how": "as asked"}
    assert (document["now"]["grams_per_kwh"], document["now"]["link"]) == (320.0, "electricitymaps")
    best = min(document["forecast"], key=lambda span: span["grams_per_kwh"])
    assert datetime.fromisoformat(best["from_utc"]) == this_hour() + NIGHT * HOUR
    assert {request.query["zone"] for request in services.requests} == {"DK-DK2"}


@pytest.mark.parametrize("place", ["Denmark", "DNK"])
def test_intensity_of_a_country_without_a_network(greenrun: Greenrun, services: Services, place: str) -> None:
    """The table's figure, why there is no better one, status 0, and nobody asked."""
    told = greenrun("intensity", "--offline", place, env=online(services, GREENRUN_ZONE=None))
    assert told.returncode == 0
    assert told.stdout.startswith("Carbon intensity of DK (as asked)\n  now ")
    assert "Ember" in told.stdout
    assert "  next 24 h   no forecast" in told.stdout
    assert services.requests == []


def test_no_figure_of_any_kind_is_status_1(greenrun: Greenrun, services: Services) -> None:
    """Of direct emissions there is no average of the world."""
    changes = {"GREENRUN_ZONE": None, "TZ": "UTC"}
    told = greenrun("intensity", "--offline", "--basis", "direct", env=online(services, **changes))
    assert (told.returncode, "  now         unknown" in told.stdout) == (1, True)


def test_the_place_may_be_told_as_everywhere(greenrun: Greenrun, services: Services) -> None:
    """By --zone and --country, or as ZONE, but once."""
    told = greenrun("intensity", "--zone", "dk-dk2", env=online(services))
    assert told.stdout.startswith("Carbon intensity of DK-DK2 (--zone)\n  now         320 g/kWh")
    told = greenrun("intensity", "--zone", "DK-DK2", "DK-DK1", env=online(services))
    assert (told.returncode, told.stdout) == (125, "")
    assert told.stderr == "greenrun: the place must be told once, either as DK-DK1 or by --country and --zone\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("intensity", "dk1"), "not 'dk1' (DK-DK1 is the nearest)\n"),
        (("when", "--duration", "1h", "--deadline", "2h", "--zone", "dk1"), "such as DK-DK1 (DK-DK1 is the nearest), "),
        (("--zone", "cal-ciso", "true"), " (US-CAL-CISO is the nearest), not 'cal-ciso'\n"),
    ],
)
def test_a_zone_that_is_nearly_right(greenrun: Greenrun, services: Services, words: tuple[str, ...], hint: str) -> None:
    """The nearest one that is known is named."""
    told = greenrun(*words, env=online(services))
    assert (told.returncode, told.stdout) == (125, "")
    assert hint in told.stderr


def test_in_a_narrow_terminal_nothing_wraps(greenrun: Greenrun, services: Services) -> None:
    """At 60 columns the chart and the words have 60."""
    command = [ENTRY, "intensity"]
    terminal = pexpect.spawn(
        command[0],
        command[1:],
        env=greenrun.environment(online(services)),
        cwd=greenrun.cwd,
        encoding="utf-8",
        dimensions=(40, 60),
        timeout=20,
    )
    lines = terminal.read().splitlines()
    terminal.close()
    assert terminal.exitstatus == 0
    assert "    400|██" in "\n".join(lines)
    assert max(map(len, lines)) <= 60


def test_a_place_that_is_none_is_a_mistake(greenrun: Greenrun, services: Services) -> None:
    """Told as such, and nobody is asked."""
    told = greenrun("intensity", "Atlantis", env=online(services))
    assert (told.returncode, told.stdout) == (125, "")
    assert told.stderr.startswith("greenrun: ZONE must be a grid zone such as DK-DK1, or a country")
    assert services.requests == []


# --- when

WHEN = ("when", "--duration", "1h", "--deadline", "12h")


def test_when_in_words(greenrun: Greenrun, services: Services) -> None:
    """The best hour, by the clocks of the place, and the saving against now."""
    told = greenrun(*WHEN, env=online(services))
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert lines[0].startswith("  start       ")
    assert " CET, in " in lines[0] or " CEST, in " in lines[0]
    assert lines[1:3] == [
        "  forecast    40.0 g/kWh +-30 %, the mean over the job, lifecycle emissions",
        "  saving      90 % of the CO2e of starting now, at 400 g/kWh by that forecast",
    ]
    assert lines[3].startswith("  source      Electricity Maps, zone DK-DK1, ")
    assert "searched" not in told.stdout


def test_when_as_a_document(greenrun: Greenrun, services: Services) -> None:
    """For scripts, in UTC."""
    told = greenrun(*WHEN, "--format", "json", env=online(services))
    document = json.loads(told.stdout)
    assert datetime.fromisoformat(document["start"]) == this_hour() + NIGHT * HOUR
    assert (document["grams_per_kwh"], document["now_grams_per_kwh"], document["saving_percent"]) == (40.0, 400.0, 90.0)
    assert (document["duration_seconds"], document["link"]) == (3600.0, "electricitymaps")


def test_when_for_slurm(greenrun: Greenrun, services: Services) -> None:
    """One word in local time, and nothing else."""
    told = greenrun(*WHEN, "--format", "slurm", env=online(services, TZ="UTC"))
    start = this_hour() + NIGHT * HOUR
    assert (told.stdout, told.stderr) == (f"{start:%Y-%m-%dT%H:%M:%S}\n", "")
    told = greenrun(*WHEN, "--format", "slurm", env=online(services, TZ="Asia/Kathmandu"))
    assert told.stdout == f"{start + timedelta(hours=5, minutes=45):%Y-%m-%dT%H:%M:%S}\n"
    told = greenrun("when", "--duration", "1h", "--deadline", "1h", "--format", "slurm", env=online(services, TZ="UTC"))
    assert told.stdout == "now\n"


def test_when_the_forecast_ends_before_the_deadline(greenrun: Greenrun, services: Services) -> None:
    """It says how far was looked."""
    told = greenrun("when", "--duration", "1h", "--deadline", "9d", env=online(services))
    assert told.returncode == 0
    assert ", where the forecast ends; the deadline is later" in " ".join(told.stdout.split())


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("401 token", "token"),
        ("401 plan", "plan"),
        ("404", ""),
        ("429", ""),
        ("503", ""),
        ("html", "HTML"),
        ("truncated", ""),
        ("reset", ""),
        ("other zone", "answered for DE"),
    ],
)
def test_no_forecast_fails_loudly(greenrun: Greenrun, services: Services, kind: str, cause: str) -> None:
    """Status 1, an empty stdout, and one sentence on stderr that names the cause and never the token."""
    services.misbehave("", kind)
    told = greenrun(*WHEN, "--format", "slurm", env=online(services))
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("greenrun: there is no forecast for DK-DK1 (GREENRUN_ZONE): Electricity Maps: ")
    assert cause in told.stderr
    assert told.stderr.count("\n") == 1
    assert TOKEN not in told.stderr


def test_when_offline_has_no_forecast_but_a_cached_one(greenrun: Greenrun, services: Services) -> None:
    """Without a network nobody is asked; what was asked before is still good."""
    told = greenrun(*WHEN, "--offline", env=online(services))
    assert (told.returncode, services.requests) == (1, [])
    assert greenrun(*WHEN, env=online(services)).returncode == 0
    asked = len(services.requests)
    told = greenrun(*WHEN, "--offline", env=online(services))
    assert (told.returncode, len(services.requests)) == (0, asked)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--duration", "3h", "--deadline", "2h"],
            "--duration must be no longer than --deadline, which is 2h, not '3h'",
        ),
        (["--duration", "3", "--deadline", "2h"], "--duration must be a duration, with its unit"),
        (["--duration", "3h"], "--deadline TIME must be told: when it must be over"),
    ],
)
def test_a_mistake_in_when(greenrun: Greenrun, services: Services, words: list[str], sentence: str) -> None:
    """One sentence, 125, nobody asked."""
    told = greenrun("when", *words, env=online(services))
    assert (told.returncode, told.stdout, services.requests) == (125, "", [])
    assert told.stderr.startswith(f"greenrun: {sentence}")


# --- --start greenest


@pytest.fixture
def falling(services: Services) -> Services:
    """Let the intensity fall from hour to hour: a job of an hour then starts as late as it may."""
    hour = this_hour()
    services.expected = lambda moment: 900.0 - (moment - hour) / HOUR
    return services


def test_the_command_waits_for_its_time(
    greenrun: Greenrun, falling: Services, record: Callable[[], dict[str, Any]]
) -> None:
    """One sentence before, then the run as ever: stdout and stdin are the command's, its start is its own."""
    began = time.monotonic()
    told = greenrun(
        *("--start", "greenest", "--deadline", "3604s", "--duration", "1h", "--"),
        *("sh", "-c", "read x; echo got $x; env | grep -c -e GREENRUN_START -e GREENRUN_DEADLINE; exit 3"),
        env=online(falling),
        input="word\n",
    )
    assert 4.0 <= time.monotonic() - began < 30.0
    assert (told.returncode, told.stdout) == (3, "got word\n0\n")
    first, rest = told.stderr.split("\n", 1)
    assert first.startswith("greenrun: the command starts at ")
    assert "by the forecast saves less than 1 % of its CO2e (Electricity Maps for DK-DK1)." in first
    assert "Ctrl-C" not in first  # nobody sits at a terminal
    assert rest.startswith("greenrun: the command ran for")
    assert record()["duration_seconds"] < 2.0
    assert TOKEN not in told.stderr


def test_quiet_waits_in_silence(greenrun: Greenrun, falling: Services) -> None:
    """Not a byte on stderr."""
    began = time.monotonic()
    told = greenrun("-q", "--start", "greenest", "--deadline", "3603s", "true", env=online(falling))
    assert (told.returncode, told.stderr) == (0, "")
    assert time.monotonic() - began >= 3.0


def test_without_a_forecast_the_command_starts_at_once(greenrun: Greenrun, services: Services) -> None:
    """After one sentence with the cause; the job's status is its own."""
    services.misbehave("forecast", "503")
    told = greenrun("--start", "greenest", "--deadline", "12h", "sh", "-c", "exit 4", env=online(services))
    assert told.returncode == 4
    first = told.stderr.splitlines()[0]
    why = "there is no forecast for DK-DK1 (GREENRUN_ZONE): Electricity Maps: "
    assert first.startswith(f"greenrun: the command starts at once: {why}")


def test_start_now_asks_nobody_before_the_command(greenrun: Greenrun, services: Services) -> None:
    """For scripts that switch."""
    told = greenrun("--start", "now", "--deadline", "12h", "echo", "ran", env=online(services))
    assert (told.returncode, told.stdout) == (0, "ran\n")
    assert services.asked("forecast") == []


WAIT = ("--start", "greenest", "--deadline", "12h")


def waiting(greenrun: Greenrun, services: Services, *before: str) -> subprocess.Popen[str]:
    """Start a greenrun that waits for hours, and come back when it has said so."""
    process = subprocess.Popen(
        [*before, ENTRY, *WAIT, "touch", "ran"],
        env=greenrun.environment(online(services)),
        cwd=greenrun.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    while line.startswith("nohup:"):
        line = process.stderr.readline()
    assert line.startswith("greenrun: the command starts at "), line
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_wait_and_the_command_never_runs(
    greenrun: Greenrun, services: Services, number: signal.Signals
) -> None:
    """Greenrun dies of it as a plain program, and leaves nothing."""
    process = waiting(greenrun, services)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (-number, "")
    assert os.listdir(greenrun.cwd) == []


def test_a_signal_while_the_service_hangs(greenrun: Greenrun, services: Services) -> None:
    """The process that asks is gone, too (no_leftovers)."""
    services.misbehave("", "hang")
    process = greenrun.start(*WAIT, "touch", "ran", env=online(services), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not services.requests:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (-signal.SIGTERM, "")
    assert os.listdir(greenrun.cwd) == []


def test_nohup_waits_on(greenrun: Greenrun, services: Services) -> None:
    """What is ignored stays ignored."""
    process = waiting(greenrun, services, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=20) == -signal.SIGTERM
    assert process.stderr is not None
    process.stderr.close()


@pytest.fixture
def shell(greenrun: Greenrun, services: Services) -> Iterator[Shell]:
    """Give an interactive shell."""
    with Shell(greenrun, online(services)) as running:
        yield running


def test_on_a_terminal_the_rest_is_shown_and_ctrl_c_leaves(greenrun: Greenrun, shell: Shell) -> None:
    """The line is written over in place and gone before the prompt; the shell sees 130."""
    shell.bash.sendline(f"{ENTRY} {' '.join(WAIT)} touch ran")
    shell.bash.expect(r"greenrun: the command starts at .*Ctrl-C leaves")
    for _ in range(2):
        shell.bash.expect(r"\rgreenrun: starts in \d+ h( \d+ min)?")
    shell.bash.sendcontrol("c")
    shell.bash.expect(r"\^C\r {30,77}\r\r\nREADY> ")
    shell.sync()
    assert shell.status == 130
    assert os.listdir(greenrun.cwd) == []


def test_on_a_terminal_ctrl_z_stops_the_wait_and_fg_goes_on(shell: Shell, falling: Services) -> None:
    """The command starts on a line of its own; nothing is left of what was shown."""
    shell.bash.sendline(f"{ENTRY} -q --name x true; {ENTRY} --start greenest --deadline 3606s echo beg''an")
    shell.bash.expect(r"starts in \d s")
    shell.bash.sendcontrol("z")
    shell.bash.expect("Stopped")
    shell.bash.sendline("fg")
    shell.bash.expect(r"\r +\rbegan\r\n")
    shell.bash.expect("the command ran for")
    shell.sync()
    assert shell.status == 0


def test_in_the_background_of_a_terminal_nothing_is_shown(shell: Shell, falling: Services) -> None:
    """The job waits and runs, also where output in the background stops a job (stty tostop)."""
    shell.bash.sendline(
        f"stty tostop; {ENTRY} -q true; {ENTRY} --start greenest --deadline 3603s true & wait $!; echo waited $?"
    )
    shell.bash.expect_exact("waited 0")
    assert "the command starts at" in str(shell.bash.before)
    assert "starts in" not in str(shell.bash.before)
