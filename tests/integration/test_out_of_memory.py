"""The kernel's own end for who takes too much memory: greenrun, its sampler or the command, in a real cgroup."""

from __future__ import annotations

import subprocess
import sys

import pytest
from machine.blows import WATTS, read_record, steady_machine
from machine.command import ENTRY, Greenrun
from machine.memory import MemoryLimit, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

LIMIT_BYTES = 96 << 20
SLACK_SECONDS = 0.5

# A child of it takes memory until the kernel has killed somebody for that; then it ends the child and goes on. The
# kernel is to prefer the one who is found by its name among those behind the same limit, and after that the child.
HOG = """
import os, signal, sys, time
processes, kills, victim = sys.argv[1:]
def comm(pid):
    with open(f"/proc/{pid}/comm") as file: return file.read().strip()
def others():
    with open(processes) as file: return [int(pid) for pid in file.read().split() if int(pid) != os.getpid()]
def nobody_was_killed():
    with open(kills) as file: return "oom_kill 0" in file.read().splitlines()
time.sleep(1.0)
chosen = os.getpid()
if victim != "command":
    chosen = min(pid for pid in others() if (comm(pid) == "greenrun-daemon") == (victim == "sampler"))
print("begins", flush=True)
child = os.fork()
if child == 0:
    taken, parent = [], os.getppid()
    time.sleep(0.2)
    while os.getppid() == parent:
        taken.append(b"x" * (1 << 18))
    os._exit(0)
with open(f"/proc/{chosen}/oom_score_adj", "w") as file: file.write("1000")
while nobody_was_killed():
    time.sleep(0.01)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
time.sleep(1.0)
print("ends", flush=True)
sys.exit(7)
"""


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize("options", [[], ["--epochs", "2"]], ids=["plain", "watched"])
@pytest.mark.parametrize(
    ("victim", "status", "printed", "told"),
    [
        ("sampler", 7, "begins\nends\n", ("partial", 7, None)),
        ("command", -9, "begins\n", ("complete", None, 9)),
        ("greenrun", -9, "begins\nends\n", ("complete", 7, None)),
    ],
)
def test_out_of_memory(
    greenrun: Greenrun, options: list[str], victim: str, status: int, printed: str, told: tuple[object, ...]
) -> None:
    """As if somebody had killed it: the command goes on where it is not the one, and the record is right."""
    with steady_machine() as machine, MemoryLimit(LIMIT_BYTES) as limit:
        hog = [sys.executable, "-S", "-c", HOG, limit.processes, limit.events, victim]
        done = subprocess.run(
            limit.command([ENTRY, "--interval", "0.2", *options, *hog]),
            env=greenrun.environment(machine.environment),
            cwd=greenrun.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert greenrun.leftovers() == []
        assert limit.kills() >= 1, done.stderr
    assert (done.returncode, done.stdout) == (status, printed), done.stderr
    record = read_record(greenrun)
    assert record is not None
    assert (record["status"], record["signal"]) == (told[0], told[2])
    # Nobody but the kernel knows how a command ended whose greenrun is gone, and tells it from Linux 6.15 on.
    assert record["exit_code"] == told[1] or (victim, record["exit_code"]) == ("greenrun", None)
    joules = WATTS * record["duration_seconds"]
    assert record["energy_joules"]["cpu"] == pytest.approx(joules, abs=WATTS * SLACK_SECONDS)
    assert ("gap" in {warned["code"] for warned in record["warnings"]}) == (victim == "sampler")
