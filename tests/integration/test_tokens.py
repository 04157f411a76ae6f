"""The token: where it is, who can look at it, where it can be sent. The user here is nobody who has root's rights."""

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
from pathlib import Path
from typing import Any

import pytest
from machine.command import ENTRY, Greenrun
from machine.services import TOKEN, Services
from machine.users import User

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
THEM = User(100_000 + os.getpid())  # each worker of the suite has its own
KEEPER, DAEMON = "greenrun-token", "greenrun-daemon"

# A command that does what it can to get at a token: it looks into the environment, the arguments and the memory of
# every process of its user's, and attaches to it as a debugger does. A process of its own shows that it knows how to.
PROBE = """
import ctypes, json, os, re, subprocess, sys, time

SOUGHT = sys.argv[1][::-1].encode()
WANTED = dict(word.split("=") for word in sys.argv[2:])
libc = ctypes.CDLL(None, use_errno=True)


def refused(look):
    try:
        return look()
    except OSError as error:
        return error.strerror


def memory(pid):
    for line in open(f"/proc/{pid}/maps"):
        begin, end, rights = re.match(r"(\\w+)-(\\w+) (\\S+)", line).groups()
        if rights.startswith("rw"):
            with open(f"/proc/{pid}/mem", "rb", 0) as file:
                file.seek(int(begin, 16))
                if SOUGHT in file.read(int(end, 16) - int(begin, 16)):
                    return True
    return False


def attached(pid):
    if libc.ptrace(0x4206, pid, None, None):  # PTRACE_SEIZE
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    libc.ptrace(17, pid, None, None)
    return True


def ours():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            told = open(f"/proc/{name}/status").read()
        except OSError:
            continue
        if f"Uid:\\t{os.getuid()}\\t" in told and "State:\\tZ" not in told:
            yield int(name), re.search("Name:\\t(.*)", told)[1]


def seen(pid):
    return {
        "environ": refused(lambda: SOUGHT in open(f"/proc/{pid}/environ", "rb").read()),
        "cmdline": SOUGHT in open(f"/proc/{pid}/cmdline", "rb").read(),
        "memory": refused(lambda: memory(pid)),
        "descriptors": refused(lambda: bool(os.listdir(f"/proc/{pid}/fd"))),
        "ptrace": refused(lambda: attached(pid)),
    }


deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    names = [name for _, name in ours()]
    if all(names.count(name) >= int(number) for name, number in WANTED.items()):
        break
    time.sleep(0.02)
control = subprocess.Popen(["sleep", "60"], env={"IT": SOUGHT.decode()})
while b"sleep" not in open(f"/proc/{control.pid}/cmdline", "rb").read():
    time.sleep(0.01)
found = [(name, seen(pid)) for pid, name in ours() if pid != os.getpid()]
control.kill()
json.dump({"found": found, "environment": SOUGHT in repr(os.environ).encode()}, sys.stdout)
"""


# A service's figure, or a complaint about it; a minute at most.
UNTIL_TOLD = """
for i in $(seq 600); do
    grep -qsE '"fetched_at": ?"|"code": ?"intensity"' "$GREENRUN_RUN_DIR/run.jsonl" && break
    sleep 0.1
done
exit 5
"""


class Theirs:
    """Greenrun as the user runs it, in a directory of the user's."""

    def __init__(self, folder: str, services: Services) -> None:
        self.greenrun = Greenrun(os.path.join(folder, "runs"))
        THEM.own(folder)
        self._services = services

    def environment(self, changes: dict[str, str | None]) -> dict[str, str]:
        """Give the environment of one who asks the services, in western Denmark."""
        told = {**self._services.environment, "GREENRUN_OFFLINE": None, "GREENRUN_ZONE": "DK-DK1", **changes}
        return self.greenrun.environment(told)

    def __call__(self, *arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        with self.start(*arguments, **changes) as process:
            out, told = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, told)

    def start(self, *arguments: str, program: str = ENTRY, **changes: str | None) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            THEM.command([program, *arguments]),
            env=self.environment(changes),
            cwd=self.greenrun.cwd,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def record(self) -> dict[str, Any]:
        """Give the record of the one run."""
        (path,) = Path(self.greenrun.cwd).glob("greenrun-logs/*/summary.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def until(self, found: Callable[[dict[str, list[int]]], bool]) -> dict[str, list[int]]:
        """Wait until the processes of greenrun, ids by name, are such, and give them."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            by_name: dict[str, list[int]] = {}
            for pid, name in self.greenrun.processes().items():
                by_name.setdefault(name, []).append(pid)
            if found(by_name):
                return by_name
            time.sleep(0.02)
        raise AssertionError(f"it never came to that, but to {by_name}")


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services, answering."""
    with Services() as running:
        yield running


@pytest.fixture
def theirs(services: Services) -> Iterator[Theirs]:
    """Give greenrun as the user runs it; nothing of it may be left at the end."""
    with THEM.place() as folder:
        made = Theirs(folder, services)
        yield made
        assert made.greenrun.leftovers() == []


@pytest.mark.parametrize("watched", [False, True])
def test_the_command_cannot_get_at_the_token(theirs: Theirs, services: Services, watched: bool) -> None:
    """Not while a request that holds it is under way: no environment, argument, memory, descriptor, no debugger."""
    services.misbehave("", "hang")
    probe = os.path.join(theirs.greenrun.cwd, "probe.py")
    with open(probe, "w") as file:
        file.write(PROBE)
    wanted = [f"{DAEMON}=1", f"{KEEPER}=2"]  # one of which asks
    options = ["--epochs", "3"] if watched else []
    done = theirs(*options, sys.executable, "-I", probe, TOKEN[::-1], *wanted)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert not told["environment"]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for name, seen in told["found"]:
        by_name.setdefault(name, []).append(seen)
    (control,) = by_name.pop("sleep")
    assert control == {"environ": True, "cmdline": False, "memory": True, "descriptors": True, "ptrace": True}
    keepers = by_name.pop(KEEPER)
    assert len(keepers) >= 2
    for seen in keepers:
        denied = {"memory": "Permission denied", "descriptors": "Permission denied", "environ": "Permission denied"}
        assert seen == {**denied, "cmdline": False, "ptrace": "Operation not permitted"}
    assert len(by_name[DAEMON]) == 1
    assert len(by_name["greenrun"]) == (3 if watched else 1)  # two relays
    for seen in (one for group in by_name.values() for one in group):
        assert (seen["environ"], seen["cmdline"], seen["memory"]) == (False, False, False)
    assert TOKEN not in done.stdout + done.stderr


def _memory_holds(pid: int, sought: bytes) -> bool:
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            begin, end, rights = re.findall(r"^(\w+)-(\w+) (\S+)", line)[0]
            if rights.startswith("rw"):
                memory.seek(int(begin, 16))
                if sought in memory.read(int(end, 16) - int(begin, 16)):
                    return True
    return False


def test_no_core_dump_can_hold_the_token(theirs: Theirs, services: Services) -> None:
    """Of greenrun and its sampler because they do not have it, as root can see; of its keeper the kernel makes none."""
    services.misbehave("", "hang")
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(theirs.start("sleep", "60"))
        stack.callback(running.kill)
        found = theirs.until(lambda all_: len(all_.get(KEEPER, [])) >= 2 and DAEMON in all_)
        assert not any(_memory_holds(pid, TOKEN.encode()) for pid in found[DAEMON] + found["greenrun"])
        assert all(_memory_holds(pid, TOKEN.encode()) for pid in found[KEEPER])
        # The kernel gives to root what tells about a process that is not dumpable.
        assert {os.stat(f"/proc/{pid}/environ").st_uid for pid in found[KEEPER]} == {0}
        assert {os.stat(f"/proc/{pid}/environ").st_uid for pid in found[DAEMON]} == {THEM.uid}
        running.terminate()
        assert running.wait(20) == -signal.SIGTERM


def test_all_else_is_as_without_a_token(theirs: Theirs, services: Services) -> None:
    """The sampler can be seen by `greenrun status`, the output is followed, the answer comes."""
    seen = os.path.join(theirs.greenrun.cwd, "seen")
    script = os.path.join(theirs.greenrun.cwd, "job")
    with open(script, "w") as file:
        file.write(f"{ENTRY} status --json > {seen}\nfor i in 1 2 3; do echo epoch $i/3; sleep 0.3; done\n{UNTIL_TOLD}")
    with theirs.start("-c", f"exec {ENTRY} --epochs 3 sh {script} > out", program="sh") as running:
        _, told = running.communicate(timeout=60)
    assert running.returncode == 5, told
    record = theirs.record()
    assert record["intensity"]["link"] == "electricitymaps"
    assert {request.headers.get("auth-token") for request in services.asked("carbon-intensity")} == {TOKEN}
    with open(seen) as file:
        (run,) = json.load(file)["runs"]
    assert run["run_dir"] is not None
    assert {one["marker"] for one in record["epochs"]} == {"output"}
    assert [one["code"] for one in record["warnings"]] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_keeper_that_is_hit_costs_the_answer_alone(theirs: Theirs, services: Services, number: int) -> None:
    """The command ends as it would; the record says what is missing; nobody stays behind."""
    services.misbehave("", "hang")
    with theirs.start("sh", "-c", "sleep 1.5; exit 5") as running:
        found = theirs.until(lambda all_: KEEPER in all_ and DAEMON in all_)
        for pid in found[KEEPER]:
            os.kill(pid, number)
        running.communicate(timeout=60)
        assert running.returncode == 5
    record = theirs.record()
    assert record["intensity"]["link"] != "electricitymaps"
    assert record["co2e_grams"] is not None


def test_whatever_stands_in_the_variable_the_command_runs(theirs: Theirs, services: Services) -> None:
    """A token may be a word that Python itself uses, one byte, or none at all."""
    running = []
    for token in ("x", "", "b" * 2000, "utf-8", "\udcff\udcfe"):
        env: dict[str, str | None] = {"GREENRUN_ELECTRICITYMAPS_TOKEN": token}
        running.append(theirs.start("sh", "-c", "printenv GREENRUN_ELECTRICITYMAPS_TOKEN; sleep 0.3; exit 5", **env))
    for process in running:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (5, "")
    records = [json.loads(path.read_text()) for path in Path(theirs.greenrun.cwd).glob("greenrun-logs/*/summary.json")]
    assert [record["status"] for record in records] == ["complete"] * len(running)


ASKING = """
import os, sys
from greenrun.cli import fetching, vault
from greenrun.cli.config import Config
assert vault.put_away() is None and vault.is_used()
told = Config(zone="DK-DK1", electricitymaps_url=sys.argv[1], cloud_metadata=False)
print(fetching.ask(told, "history", insist=True).answer)
"""


def test_the_token_goes_where_it_could_go_before_the_command_ran(theirs: Theirs, services: Services) -> None:
    """Who takes over the sampler, which is the user's, can have the keeper ask, but not whom."""
    with Services() as elsewhere, theirs.start("-c", ASKING, elsewhere.url, program=sys.executable) as asking:
        out, told = asking.communicate(timeout=60)
        assert elsewhere.requests == []
    assert "electricitymaps" in out, told
    assert {request.headers["auth-token"] for request in services.requests} == {TOKEN}


def test_a_repository_s_file_can_send_the_token_nowhere(theirs: Theirs, services: Services) -> None:
    """No address, no file to take a token from, no place to write to: each is ignored, and that is said."""
    with Services() as evil:
        lines = {f"{name}-url": evil.url for name in ("electricitymaps", "neso", "energidata", "energycharts")}
        lines |= {"cloud-metadata-url": evil.url, "agent": "/etc/agent", "spool": "/etc/spool"}
        lines |= {"electricitymaps-token-file": "/etc/passwd", "metrics-file": "/etc/metrics", "sysfs-root": "/etc"}
        with open(os.path.join(theirs.greenrun.cwd, "greenrun.toml"), "w") as file:
            file.writelines(f'{name} = "{value}"\n' for name, value in lines.items())
        done = theirs("sh", "-c", UNTIL_TOLD)
        assert done.returncode == 5
        assert evil.requests == []
    told = [one["message"] for one in theirs.record()["warnings"] if one["code"] == "config"]
    assert len(told) == len(lines)
    assert all("is ignored, because a project's file may not set it" in sentence for sentence in told)
    assert {request.headers["auth-token"] for request in services.asked("carbon-intensity")} == {TOKEN}
