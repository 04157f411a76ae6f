"""The site's agent: users who may read no counter get what root reads, whoever else is on the machine.

The agent runs as root, greenrun as a user who is not, on a simulated machine whose counters are root's alone. The tests
need to be root for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from machine.command import ENTRY
from machine.fakeagent import FakeAgent, greeting, reading
from machine.powercap import PACKAGE_SPAN_MICROJOULES, Zone
from machine.profiles import Profile, constant, square
from machine.simulated import SimulatedMachine

from greenrun.cli.agent.clients import MOST_CLIENTS, MOST_OF_ONE_USER

NOBODY, SOMEBODY = 65534, 65533
RESOLUTION_SECONDS = 1.0
ANSWER_SECONDS = 30.0  # for what takes milliseconds on a machine that does nothing else


def as_user(user: int, command: list[str]) -> list[str]:
    """Give a command such that this user runs it."""
    return ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--", *command]


class Site:
    """A machine with an agent's socket, and folders for its users."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = str(folder / "run" / "agent.sock")
        self.machine: SimulatedMachine | None = None
        self.agents: list[subprocess.Popen[str]] = []

    @property
    def environment(self) -> dict[str, str]:
        """Give what greenrun needs to know of the machine, and nothing of who runs the tests."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        of_machine = self.machine.environment if self.machine else {}
        return kept | {"GREENRUN_OFFLINE": "1", "GREENRUN_INTENSITY": "100", "GREENRUN_AGENT": self.path} | of_machine

    def start(self) -> subprocess.Popen[str]:
        """Start an agent and wait until it answers."""
        agent = subprocess.Popen(
            [ENTRY, "agent"], env=self.environment, stderr=subprocess.PIPE, text=True, cwd="/", start_new_session=True
        )
        self.agents.append(agent)
        assert agent.stderr is not None
        said = agent.stderr.readline()
        assert "telling rapl:package-0" in said, said
        return agent

    def home(self, user: int, name: str) -> Path:
        """Make a folder of a user's."""
        folder = self.folder / name
        folder.mkdir()
        os.chown(folder, user, user)
        return folder

    def run(self, user: int, name: str, *command: str, under: tuple[str, ...] = (), **environment: str) -> Run:
        """Begin to run greenrun as a user."""
        home = self.home(user, name)
        return Run(
            home,
            subprocess.Popen(
                [*under, *as_user(user, [ENTRY, *command])],
                cwd=home,
                env=self.environment | {"HOME": str(home)} | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ),
        )

    def close(self) -> None:
        """End what was started."""
        for agent in self.agents:
            agent.kill()
            agent.communicate()
        if self.machine is not None:
            self.machine.__exit__(None, None, None)


class Run:
    """One run of greenrun, and afterwards its record."""

    def __init__(self, home: Path, process: subprocess.Popen[str]) -> None:
        self.home = home
        self.process = process
        self.began = time.monotonic()

    def wait(self, returncode: int = 0) -> Run:
        """Wait for its end."""
        self.stdout, self.stderr = self.process.communicate(timeout=60)
        assert self.process.returncode == returncode, self.stderr
        return self

    @property
    def record(self) -> dict[str, Any]:
        """Give its record."""
        (path,) = self.home.glob("greenrun-logs/*/summary.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def joules(self, kind: str) -> float:
        """Give the energy of a kind."""
        return float(self.record["energy_joules"][kind])

    def life(self) -> tuple[float, float]:
        """Give when the command lived, CLOCK_MONOTONIC seconds."""
        (path,) = self.home.glob("greenrun-logs/*/run.jsonl")
        events = [json.loads(line) for line in path.read_text().splitlines()]
        (spawned,) = (event["t"] for event in events if event["event"] == "spawned")
        (exited,) = (event["t"] for event in events if event["event"] == "exited")
        return events[0]["monotonic"] + spawned, events[0]["monotonic"] + exited

    def sentences(self) -> str:
        """Give what it was warned of."""
        return " ".join(warned["message"] for warned in self.record["warnings"])

    def sources(self) -> set[str]:
        """Give where its devices' readings came from."""
        return {device["source"] for device in self.record["devices"]}


def package(profile: Profile, **more: Any) -> Zone:
    """Give a processor whose counters only root may read, and its memory."""
    return Zone("package-0", profile, (Zone("dram", constant(7.0), forbidden=True),), forbidden=True, **more)


@pytest.fixture
def site() -> Iterator[Callable[..., Site]]:
    """Make a site: `site(package(...))`. It lives in a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="site-"))
    folder.chmod(0o755)
    made: list[Site] = []

    def make(*packages: Zone) -> Site:
        assert os.geteuid() == 0, "another user can only be tried by root"
        site = Site(folder)
        made.append(site)
        if packages:
            site.machine = SimulatedMachine(folder / "machine", packages=list(packages))
            site.machine.__enter__()
        return site

    yield make
    for one in made:
        one.close()
    shutil.rmtree(folder)


def listen(path: str) -> socket.socket:
    """Connect to an agent as an old client that is there when others come."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(ANSWER_SECONDS)
    client.connect(path)
    return client


def lines(client: socket.socket, number: int) -> list[dict[str, Any]]:
    """Give so many lines of what an agent tells."""
    data = b""
    while data.count(b"\n") < number:
        more = client.recv(65536)
        assert more, "the agent has hung up"
        data += more
    return [json.loads(line) for line in data.split(b"\n")[:number]]


# --- what it is for


@pytest.mark.parametrize("profile", [constant(65.0), square(40.0, 130.0, 0.43, 0.37)], ids=["constant", "varying"])
def test_a_user_gets_the_joules_that_root_reads(site: Callable[..., Site], profile: Profile) -> None:
    """To a second of power, which the record's uncertainty holds, and the record says where they came from."""
    here = site(package(profile))
    here.start()
    root, user = here.run(0, "root", "sleep", "5.3"), here.run(NOBODY, "user", "sleep", "5.3")
    root.wait()
    user.wait()
    assert here.machine is not None
    assert (root.sources(), user.sources()) == ({"rapl"}, {"agent"})
    for kind, peak_watts in (("cpu", profile.peak_watts), ("dram", 7.0)):
        (device,) = (device for device in user.record["devices"] if device["kind"] == kind)
        truth = here.machine.energy_joules(kind, *user.life())
        assert root.joules(kind) == pytest.approx(here.machine.energy_joules(kind, *root.life()), rel=0.02)
        assert abs(user.joules(kind) - truth) <= 1.1 * RESOLUTION_SECONDS * peak_watts
        seconds = user.record["duration_seconds"]
        half_width_joules = device["energy_joules"] * device["uncertainty_percent"] / 100.0
        assert half_width_joules >= RESOLUTION_SECONDS * device["energy_joules"] / seconds
        if kind == "dram" or profile.peak_watts == 65.0:
            assert abs(user.joules(kind) - truth) <= half_width_joules
        assert (device["method"], device["trusted"]) == ("counter", True)
        assert (device["from_t"] or 0.0) < 0.5  # on a crowded machine the sampler comes after the command
        assert here.path in device["note"]
    assert user.record["status"] == "complete"
    assert {warned["code"] for warned in user.record["warnings"]} <= {"markers", "late"}  # likewise
    assert user.record["user"] == "nobody"
    assert "counted by the hardware" in " ".join(user.stderr.split())


def test_from_a_namespace_of_processes(site: Callable[..., Site]) -> None:
    """A container has other process ids and mounts; the clock and the socket are the host's."""
    here = site(package(constant(65.0)))
    here.start()
    under = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    user = here.run(NOBODY, "user", "sleep", "3.2", under=under).wait()
    assert user.sources() == {"agent"}
    assert here.machine is not None
    assert abs(user.joules("cpu") - here.machine.energy_joules("cpu", *user.life())) <= 1.1 * 65.0


def test_doctor_says_what_would_help_and_then_that_it_does(site: Callable[..., Site]) -> None:
    """Without the agent what is forbidden comes with the remedy, with it nothing is to be done."""
    here = site(package(constant(65.0)))
    before = here.run(NOBODY, "before", "doctor").wait(1).stdout
    assert "Or have root run greenrun agent" in " ".join(before.split())
    assert f"there is no socket at {here.path}" in before.replace("\n" + " " * 12, " ")
    here.start()
    after = here.run(NOBODY, "after", "doctor", "--json").wait()
    found = json.loads(after.stdout)
    assert found["measuring"] is True
    assert {device["source"] for device in found["devices"]} == {"agent"}
    (told,) = (finding for finding in found["findings"] if finding["source"] == "agent")
    assert (told["status"], "through the agent at " + here.path in told["sentence"]) == ("ok", True)
    assert not [finding for finding in found["findings"] if finding["status"] == "forbidden"]
    text = here.run(NOBODY, "text", "doctor").wait().stdout
    assert "Told by the agent at" in text
    assert "forbidden" not in text


def test_everybody_hears_the_same_second(site: Callable[..., Site]) -> None:
    """Who connects again and again gets no reading that others have not got: at most one a second."""
    here = site(package(constant(65.0)))
    here.start()
    heard = set()
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        with listen(here.path) as client:
            heard.add(lines(client, 2)[1]["t"])
        time.sleep(0.02)
    assert 2 <= len(heard) <= 4
    _, *times = sorted(heard)  # the first is of the agent's start
    assert all(b - a > 0.3 for a, b in pairwise(times))


# --- its own life


def test_one_agent_that_ends_when_it_is_told_to(site: Callable[..., Site]) -> None:
    """A second one does not start; SIGTERM ends the first, and the socket goes; one that was killed is replaced."""
    here = site(package(constant(65.0)))
    first = here.start()
    second = subprocess.run([ENTRY, "agent"], env=here.environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "already running" in second.stderr
    first.send_signal(signal.SIGTERM)
    assert first.wait(ANSWER_SECONDS) == 0
    assert not os.path.lexists(here.path)
    killed = here.start()
    killed.kill()
    killed.wait()
    assert os.path.exists(here.path)
    here.start()
    with listen(here.path) as client:
        assert lines(client, 1)[0]["agent"] == 1


def test_an_agent_whose_socket_was_removed_says_so_and_ends(site: Callable[..., Site]) -> None:
    """A service manager starts it again."""
    here = site(package(constant(65.0)))
    agent = here.start()
    os.unlink(here.path)
    assert agent.wait(ANSWER_SECONDS) == 1
    assert agent.stderr is not None
    assert "removed or replaced" in agent.stderr.read()


def test_a_machine_without_counters(site: Callable[..., Site]) -> None:
    """There is nothing to tell; whoever may not read them is told how to."""
    here = site()
    here.machine = SimulatedMachine(here.folder / "machine")
    here.machine.__enter__()
    told = subprocess.run([ENTRY, "agent"], env=here.environment, capture_output=True, text=True, timeout=60)
    assert told.returncode == 1
    assert "there is no energy counter" in told.stderr
    assert not os.path.exists(here.path)


def test_a_project_has_no_say(site: Callable[..., Site]) -> None:
    """Neither where the agent's socket is nor, to root's agent, anything."""
    here = site(package(constant(65.0)))
    here.start()
    home = here.home(NOBODY, "project")
    (home / "greenrun.toml").write_text('agent = "/tmp/evil.sock"\n')
    told = subprocess.run(
        as_user(NOBODY, [ENTRY, "doctor", "--json"]), env=here.environment, cwd=home, capture_output=True, text=True
    )
    found = json.loads(told.stdout)
    assert {device["source"] for device in found["devices"]} == {"agent"}
    assert "agent is ignored" in " ".join(found["warnings"])


@pytest.mark.parametrize("trouble", ["restarted", "stopped"])
def test_an_agent_that_is_away_for_a_time_costs_nothing(site: Callable[..., Site], trouble: str) -> None:
    """Started anew, or stopped, in the middle of a run, and the counter wraps meanwhile: the joules are all there."""
    here = site(package(constant(65.0), span_microjoules=PACKAGE_SPAN_MICROJOULES).wrapping_at(4.0))
    agent = here.start()
    user = here.run(NOBODY, "user", "sleep", "7.3")
    time.sleep(1.5)
    if trouble == "restarted":
        agent.kill()
        agent.wait()
        time.sleep(1.5)
        here.start()
    else:
        agent.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        agent.send_signal(signal.SIGCONT)
    user.wait()
    assert here.machine is not None
    assert abs(user.joules("cpu") - here.machine.energy_joules("cpu", *user.life())) <= 1.2 * 65.0
    assert user.record["gaps"] == []
    assert user.record["status"] == "complete"


def test_an_agent_that_dies(site: Callable[..., Site]) -> None:
    """What was used after it is told to be missing, with the reason; the job does not notice."""
    here = site(package(constant(65.0)))
    agent = here.start()
    user = here.run(NOBODY, "user", "sleep", "5.3")
    time.sleep(2.6)
    agent.terminate()
    agent.wait()
    user.wait()
    assert user.record["status"] == "partial"
    assert "closed the connection" in user.sentences() or "No agent listens" in user.sentences()
    assert {gap["device"] for gap in user.record["gaps"]} == {"agent:rapl:package-0", "agent:rapl:package-0/dram"}
    assert user.joules("cpu") < 5.0 * 65.0


# --- who means harm

_FAKE = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
listener.listen()
print("ready", flush=True)
client, _ = listener.accept()
try:
    client.sendall(bytes.fromhex(sys.argv[2]))
    print(len(client.recv(100)))
except OSError:
    print(0)
"""


@pytest.mark.parametrize("user", [NOBODY, 0])
def test_a_socket_of_another_users_is_not_believed(site: Callable[..., Site], user: int) -> None:
    """However good what it says: the kernel tells whose it is. It learns nothing but that somebody called."""
    here = site(package(constant(65.0)) if user else Zone("core", constant(1.0)))
    path = str(here.home(SOMEBODY, "fake") / "agent.sock")
    words = greeting() + reading(1, 2)
    fake = subprocess.Popen(
        as_user(SOMEBODY, [sys.executable, "-Ic", _FAKE, path, words.hex()]), stdout=subprocess.PIPE, text=True
    )
    assert fake.stdout is not None
    assert fake.stdout.readline() == "ready\n"
    victim = here.run(user, "victim", "sleep", "2.3", GREENRUN_AGENT=path).wait()
    assert fake.communicate(timeout=ANSWER_SECONDS)[0] == "0\n"
    assert victim.sources() == {"estimate"}
    assert f"{path} is user {SOMEBODY}'s" in victim.sentences()
    assert "forbidden" in {finding["status"] for finding in victim.record["findings"]}


def test_an_agent_of_ones_own_is_believed(site: Callable[..., Site]) -> None:
    """A user who may read the counters may run one for himself."""
    here = site(package(constant(65.0)))
    assert here.machine is not None
    for folder, _, names in os.walk(here.machine.sysfs):
        for name in names:
            if name == "energy_uj":
                os.chown(os.path.join(folder, name), SOMEBODY, SOMEBODY)
                os.chmod(os.path.join(folder, name), 0o400)
    here.path = str(here.home(SOMEBODY, "own") / "agent.sock")
    agent = subprocess.Popen(
        as_user(SOMEBODY, [ENTRY, "agent"]), env=here.environment, stderr=subprocess.PIPE, text=True, cwd="/"
    )
    here.agents.append(agent)
    assert agent.stderr is not None
    assert "telling" in agent.stderr.readline()
    # its owner by the agent, since on this machine he reads them himself without
    for folder, _, names in os.walk(here.machine.sysfs):
        for name in names:
            if name == "energy_uj":
                os.chown(os.path.join(folder, name), 0, 0)
    assert here.run(SOMEBODY, "owner", "sleep", "2.3").wait().sources() == {"agent"}
    assert here.run(NOBODY, "other", "sleep", "2.3").wait().sources() == {"estimate"}


@pytest.mark.parametrize("first", [b"", b"\0" * 100_000, greeting()])
def test_a_bad_agent_of_roots_does_not_delay_the_job(site: Callable[..., Site], first: bytes) -> None:
    """It hangs, or talks nonsense without end: the job starts and ends as it would, and the estimate stands in."""
    here = site(package(constant(65.0)))
    os.mkdir(os.path.dirname(here.path))
    with FakeAgent(here.path, first):
        os.chmod(here.path, 0o666)  # noqa: S103  as the real one
        user = here.run(NOBODY, "user", "sh", "-c", "sleep 3.5; true").wait()
    began, ended = user.life()
    assert ended - began < 3.5 + 10.0  # a machine that does something else, too; one that waits, waits without end
    assert began < user.began + 20.0
    assert user.sources() == {"estimate"}
    assert user.joules("total") > 0
    assert "agent at" in user.sentences()


_HOLD = """
import socket, sys
held = []
for _ in range(int(sys.argv[2])):
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    held.append(client)
print("ready", flush=True)
sys.stdin.read()
"""

_FLOOD = """
import socket, sys, time
until = time.monotonic() + float(sys.argv[2])
calls = 0
while time.monotonic() < until:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(sys.argv[1])
            client.send(b"GET / HTTP/1.1")
        except OSError:
            pass
        calls += 1
print(calls)
"""


def cpu_seconds(process: int) -> float:
    """Give the processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_flood_costs_little_and_starves_nobody(site: Callable[..., Site]) -> None:
    """Three processes connect as fast as they can: a fifth of a processor at most, and who is honest is served."""
    here = site(package(constant(65.0)))
    agent = here.start()
    old = listen(here.path)
    lines(old, 2)
    idle_from, idle_began = cpu_seconds(agent.pid), time.monotonic()
    lines(old, 3)
    idle = (cpu_seconds(agent.pid) - idle_from) / (time.monotonic() - idle_began)
    before, began = cpu_seconds(agent.pid), time.monotonic()
    flood = [
        subprocess.Popen(
            as_user(SOMEBODY, [sys.executable, "-Ic", _FLOOD, here.path, "6"]), stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    user = here.run(NOBODY, "user", "sleep", "4.3")
    times = [told["t"] for told in lines(old, 4)]
    user.wait()
    calls = sum(int(one.communicate(timeout=ANSWER_SECONDS)[0]) for one in flood)
    flooded = (cpu_seconds(agent.pid) - before) / (time.monotonic() - began)
    cost = f"{calls} calls: {100 * flooded:.1f} % of a processor, {100 * idle:.1f} % without them"
    assert flooded < 0.2, cost
    assert max(b - a for a, b in pairwise(times)) < 3.0
    assert user.sources() == {"agent"}
    with listen(here.path) as late:
        assert lines(late, 1)[0]["agent"] == 1


def test_no_user_can_take_all_places(site: Callable[..., Site]) -> None:
    """Nor can all of them together take more than there are: who comes then is told so, and estimates."""
    here = site(package(constant(65.0)))
    here.start()
    holders = []
    for at in range(MOST_CLIENTS // MOST_OF_ONE_USER):
        holder = subprocess.Popen(
            as_user(60_000 + at, [sys.executable, "-Ic", _HOLD, here.path, str(MOST_OF_ONE_USER + 5)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        holders.append(holder)
        if at == 0:
            assert here.run(NOBODY, "beside", "sleep", "1.3").wait().sources() == {"agent"}
            time.sleep(1.5)  # its place is free when the next line was told
    late = here.run(NOBODY, "late", "sleep", "1.3").wait()
    assert late.sources() == {"estimate"}
    assert "too many clients" in late.sentences()
    holders.pop().communicate("")
    time.sleep(1.5)
    again = here.run(NOBODY, "again", "sleep", "1.3").wait()
    for holder in holders:
        holder.communicate("")
    assert again.sources() == {"agent"}


def test_a_job_that_was_stopped_goes_on_hearing(site: Callable[..., Site]) -> None:
    """Its sampler took nothing for long, as under SLURM's suspend, so the agent may have dropped it: it calls again."""
    here = site(package(constant(65.0)))
    agent = here.start()
    client = listen(here.path)
    user = here.run(NOBODY, "user", "sleep", "5.3")
    deadline = time.monotonic() + 30.0
    while not children_called(user.process.pid, "greenrun-daemon"):
        assert time.monotonic() < deadline, "its daemon never came"
        time.sleep(0.05)
    (daemon,) = children_called(user.process.pid, "greenrun-daemon")
    time.sleep(1.0)
    os.kill(daemon, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(daemon, signal.SIGCONT)
    user.wait()
    assert here.machine is not None
    assert abs(user.joules("cpu") - here.machine.energy_joules("cpu", *user.life())) <= 1.2 * 65.0
    assert user.record["status"] == "complete"
    assert agent.poll() is None
    client.close()


def children_called(process: int, name: str) -> list[int]:
    """Give the children of a process that have this name."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = (entry / "stat").read_text()
            its_name, its_parent = text.partition("(")[2].rpartition(")")[0], int(text.rpartition(")")[2].split()[1])
            if (its_name, its_parent) == (name[:15], process):
                found.append(int(entry.name))
    return found


def test_the_service_file_shuts_in_what_it_starts() -> None:
    """It runs `greenrun agent`, with no right but to read, and where the socket is by default."""
    unit = Path(__file__).parents[2] / "contrib" / "systemd" / "greenrun-agent.service"
    told = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] != "#")
    assert told["ExecStart"].endswith("/greenrun agent")
    assert told["RuntimeDirectory"] == "greenrun"
    assert (told["CapabilityBoundingSet"], told["NoNewPrivileges"], told["ProtectSystem"]) == ("", "yes", "strict")


def test_root_without_any_capability_is_enough(site: Callable[..., Site]) -> None:
    """As the service file starts it: the counters are root's to read, and so is the directory."""
    here = site(package(constant(65.0)))
    assert here.machine is not None
    for folder, _, names in os.walk(here.machine.sysfs):
        for name in names:
            if name == "energy_uj":
                os.chmod(os.path.join(folder, name), 0o400)
    agent = subprocess.Popen(
        ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", "--", ENTRY, "agent"],
        env=here.environment,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    here.agents.append(agent)
    assert agent.stderr is not None
    assert "telling" in agent.stderr.readline()
    with listen(here.path) as client:
        _, told = lines(client, 2)
        assert all(isinstance(value, int) for value in told["microjoules"])
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert struct.unpack("@iII", peer)[1] == 0
