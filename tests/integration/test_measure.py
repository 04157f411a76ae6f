"""`greenrun.measure` in real processes: with threads, children and forks, with exceptions, and when things die.

Each script is a process of its own, as a notebook's kernel is one. What it measures is held against the simulated
machine's truth over the block as the script itself saw it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from machine.command import Greenrun
from machine.gpus import Gpu
from machine.layouts import two_sockets_two_gpus
from machine.powercap import Zone
from machine.privilege import unprivileged
from machine.profiles import constant
from machine.simulated import SimulatedMachine

from greenrun import reports
from greenrun.cli import handle as handles
from greenrun.cli.config import Config
from greenrun.cli.handle import Handle
from greenrun.cli.identity import new_run
from greenrun.sampler import runlog

RunDirs = Callable[[], list[str]]
Simulated = Callable[..., SimulatedMachine]

SCHEMA = json.loads((Path(reports.__file__).parent / "summary.schema.json").read_text())

BEGINNING = "import json, os, signal, sys, threading, time, warnings\nimport greenrun\nsay = sys.stdout.write\n"


class Script:
    """A script in greenrun's surroundings: what it prints last, as JSON, is what it tells."""

    def __init__(self, greenrun: Greenrun) -> None:
        self._greenrun = greenrun

    def write(self, text: str) -> list[str]:
        """Write it, and give the command that runs it."""
        path = os.path.join(self._greenrun.cwd, "train.py")
        with open(path, "w") as file:
            file.write(BEGINNING + textwrap.dedent(text))
        return [sys.executable, path]

    def run(self, text: str, env: Any = None, wrap: Any = list, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        command = wrap(self.write(text))
        environment = self._greenrun.environment(env)
        return subprocess.run(
            command, cwd=self._greenrun.cwd, env=environment, capture_output=True, text=True, timeout=60, **options
        )

    def told(self, text: str, env: Any = None, **options: Any) -> Any:
        """Give what it tells; it must end well and say nothing on stderr."""
        done = self.run(text, env, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def start(self, text: str, env: Any = None) -> subprocess.Popen[str]:
        """Start it and come back when it says that it is in its block."""
        process = subprocess.Popen(
            self.write(text),
            cwd=self._greenrun.cwd,
            env=self._greenrun.environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        return process


@pytest.fixture
def script(greenrun: Greenrun) -> Script:
    """Give a place to run scripts in."""
    return Script(greenrun)


def valid(record: dict[str, Any]) -> dict[str, Any]:
    """Give the record, which must hold to its schema."""
    jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)
    return record


def saved(run_dir: str, seconds: float = 10.0) -> dict[str, Any]:
    """Wait for summary.json and give the record in it."""
    path = os.path.join(run_dir, "summary.json")
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        assert time.monotonic() < deadline, "there is no record"
        time.sleep(0.02)
    with open(path) as file:
        return valid(json.load(file))


def daemon_of(greenrun: Greenrun) -> int:
    """Give the one daemon that lives."""
    (pid,) = (pid for pid, name in greenrun.processes().items() if name == "greenrun-daemon")
    return pid


# --- what it gives


@pytest.mark.usefixtures("no_leftovers")
def test_the_same_record(script: Script, greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """As from the command line: a run directory, a log, a summary; epochs, metrics and phases within."""
    text = """
    with greenrun.measure(epochs=2, name="digits", country="DK", pue=1.3) as run:
        assert run.record is None
        for k in (1, 2):
            with greenrun.phase("train"):
                time.sleep(0.3)
            greenrun.epoch(k, of=2)
        greenrun.metric("accuracy", 0.75)
    say(json.dumps([run.dir, run.record]))
    """
    run_dir, record = script.told(text)
    assert [run_dir] == run_dirs()
    assert record == saved(run_dir)
    assert (record["kind"], record["status"], record["exit_code"], record["name"]) == (
        "block",
        "complete",
        None,
        "digits",
    )
    assert (record["pue"], record["intensity"]["country"]) == (1.3, "DK")
    assert record["intensity"]["how"] == "measure(country=...)"
    assert record["command"][-1].endswith("train.py")
    assert (len(record["epochs"]), record["metrics"]) == (2, {"accuracy": 0.75})
    assert len(record["prediction"]["made"]) == 1
    (phase,) = record["phases"]
    assert (phase["name"], phase["times"]) == ("train", 2)
    assert 0.6 <= phase["duration_seconds"] <= record["duration_seconds"] + 1e-6
    again = greenrun("report", run_dir, "--json")
    assert json.loads(again.stdout) == record
    assert Path(run_dir, "summary.txt").read_text().startswith("greenrun: the block ran for ")


@pytest.mark.usefixtures("no_leftovers")
def test_it_prints_only_when_it_is_asked_to(script: Script) -> None:
    """Then the summary, on stderr."""
    done = script.run("with greenrun.measure(summary=True) as run:\n    print('work')\n")
    assert (done.returncode, done.stdout) == (0, "work\n")
    assert done.stderr.startswith("greenrun: the block ran for ")
    assert "log         greenrun-logs/" in done.stderr


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_the_energy_of_a_block(script: Script, seconds: float) -> None:
    """Within 2 per cent, of what was true from the block's first to its last moment as the block saw them."""
    text = f"""
    with greenrun.measure(interval=1) as run:
        begin = time.monotonic()
        time.sleep({seconds})
        end = time.monotonic()
    say(json.dumps([begin, end, run.record]))
    """
    with two_sockets_two_gpus(wraps_at=0.9, seed=7) as machine:
        begin, end, record = script.told(text, machine.environment)
        machine.stop()
    for kind in ("cpu", "dram"):
        truth = machine.energy_joules(kind, begin, end)
        # The block's own clock: how late a busy machine of tests lets a process go on is allowed for.
        allowed = 0.02 * truth + (record["duration_seconds"] - (end - begin)) * 350.0
        assert abs(record["energy_joules"][kind] - truth) <= allowed
    assert 0.0 <= record["duration_seconds"] - (end - begin) < 2.0


@pytest.mark.usefixtures("no_leftovers")
def test_the_block_s_own_processor_time(script: Script) -> None:
    """Of this process and those below it, and only since the block began."""
    text = """
    def spin(seconds):
        until = time.process_time() + seconds
        while time.process_time() < until: pass
    spin(1.5)
    with greenrun.measure() as run:
        child = os.fork()
        spin(0.3)
        if not child: os._exit(0)
        os.waitpid(child, 0)
    say(json.dumps(run.record["usage"]))
    """
    usage = script.told(text)
    assert usage["cpu_seconds"] == pytest.approx(0.6, abs=0.2)
    assert usage["max_rss_bytes"] is None


def test_blocks_one_after_the_other(script: Script, run_dirs: RunDirs) -> None:
    """Each has its own record, the environment is afterwards what it was, and no child is left to be waited for."""
    text = """
    before = dict(os.environ)
    again = greenrun.measure(name="c")
    runs = []
    for measurement in (greenrun.measure(name="a"), greenrun.measure(name="b"), again, again):
        with measurement as run:
            greenrun.metric("n", len(runs))
            try: os.waitpid(-1, os.WNOHANG)
            except ChildProcessError: pass
            else: say("a child")
        runs.append(run.record)
    assert dict(os.environ) == before
    try: os.wait()
    except ChildProcessError: say(json.dumps(runs))
    """
    runs = script.told(text)
    assert [run["name"] for run in runs] == ["a", "b", "c", "c"]
    assert [run["metrics"] for run in runs] == [{"n": float(n)} for n in range(4)]
    assert len(run_dirs()) == 4
    assert {run["parent_run_id"] for run in runs} == {None}


def test_a_block_within_a_block(script: Script) -> None:
    """The inner names the outer, so that nobody adds them, and each has the markers of its own."""
    text = """
    with greenrun.measure(name="outer") as outer:
        greenrun.metric("outer", 1)
        with greenrun.measure(name="inner") as inner:
            greenrun.metric("inner", 2)
        greenrun.metric("after", 3)
    say(json.dumps([outer.record, inner.record]))
    """
    outer, inner = script.told(text)
    assert inner["parent_run_id"] == outer["run_id"]
    assert (outer["metrics"], inner["metrics"]) == ({"outer": 1.0, "after": 3.0}, {"inner": 2.0})
    assert outer["duration_seconds"] > inner["duration_seconds"]


def test_blocks_in_two_threads(script: Script) -> None:
    """They end in the order in which they began, and the environment is afterwards what it was."""
    text = """
    before = dict(os.environ)
    first, second = greenrun.measure(name="first"), greenrun.measure(name="second")
    first.__enter__()
    begun, over = threading.Event(), threading.Event()
    def work():
        with second: begun.set(); over.wait()
    thread = threading.Thread(target=work)
    thread.start(); begun.wait()
    first.__exit__(None, None, None)
    assert os.environ["GREENRUN_RUN_DIR"] == second.dir
    over.set(); thread.join()
    assert dict(os.environ) == before
    say(json.dumps([first.record, second.record]))
    """
    first, second = script.told(text)
    assert [first["status"], second["status"]] == ["complete", "complete"]
    assert second["parent_run_id"] == first["run_id"]


def test_a_block_in_a_command(script: Script, greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """Under greenrun COMMAND it names the outer run, and what it tells goes to the block."""
    command = script.write("with greenrun.measure() as run: greenrun.epoch(1)\ngreenrun.metric('x', 1)\n")
    assert greenrun(*command).returncode == 0
    outer, inner = (saved(run_dir) for run_dir in run_dirs())
    assert (outer["kind"], inner["kind"], inner["parent_run_id"]) == ("command", "block", outer["run_id"])
    assert (len(outer["epochs"]), len(inner["epochs"])) == (0, 1)
    assert (outer["metrics"], inner["metrics"]) == ({"x": 1.0}, {})


# --- what a process may have about it


@pytest.mark.usefixtures("no_leftovers")
def test_threads_children_and_a_fork_that_leaves_the_block(script: Script, run_dirs: RunDirs) -> None:
    """A child that falls out of the block neither ends it nor waits, and its markers are the run's."""
    text = """
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
    stop = threading.Event()
    def count():
        while not stop.wait(0.001): pass
    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads: thread.start()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with greenrun.measure() as run:
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            with greenrun.phase("rest"): time.sleep(0.3)
        else:
            greenrun.metric("from_child", 1)
    if not child:
        os._exit(0 if run.record is None else 1)
    stop.set()
    say(json.dumps(run.record))
    """
    record = script.told(text)
    assert len(run_dirs()) == 1
    assert record["duration_seconds"] >= 0.3
    assert (record["metrics"], record["phases"][0]["name"]) == ({"from_child": 1.0}, "rest")


def test_a_child_measures_with_what_it_has_inherited(script: Script, run_dirs: RunDirs) -> None:
    """A run of its own, within its parent's."""
    text = """
    measurement = greenrun.measure()
    with measurement as run:
        child = os.fork()
        if not child:
            with measurement as own: greenrun.metric("x", 1)
            os._exit(0 if own.record["metrics"] == {"x": 1.0} else 1)
        assert os.waitpid(child, 0)[1] == 0
    say(json.dumps(run.record))
    """
    record = script.told(text)
    (own,) = (one for one in map(saved, run_dirs()) if one["run_id"] != record["run_id"])
    assert (own["parent_run_id"], record["metrics"]) == (record["run_id"], {})


def test_every_descriptor_is_closed_in_the_block(script: Script, run_dirs: RunDirs) -> None:
    """A process that makes itself a daemon does that. What then has the number of ours is the job's and stays it."""
    text = """
    with greenrun.measure() as run:
        os.closerange(3, 256)
        files = [os.open("/dev/zero", os.O_RDONLY) for _ in range(8)]
        pipes = [os.pipe() for _ in range(8)]
        for _, writer in pipes: os.write(writer, b"job's own")
    for file in files: assert os.read(file, 1) == bytes(1)
    for reader, _ in pipes: assert os.read(reader, 99) == b"job's own"
    say(json.dumps(run.record))
    """
    record = script.told(text)
    (run_dir,) = run_dirs()
    assert record == saved(run_dir)
    assert record["status"] == "complete"


@pytest.mark.usefixtures("no_leftovers")
def test_modules_of_the_job_s_do_not_become_the_daemon_s(
    script: Script, greenrun: Greenrun, simulated: Simulated
) -> None:
    """What lies on PYTHONPATH, or was put on the path by the script, is not for the sampler."""
    machine = simulated(gpus=[Gpu(constant(61.0))])
    os.mkdir(os.path.join(greenrun.cwd, "lib"))
    for name in ("lib/pynvml.py", "lib/ctypes.py", "lib/traceback.py"):
        Path(greenrun.cwd, name).write_text("import os; os.abort()\n")
    text = """
    sys.path.insert(0, "lib")
    with greenrun.measure() as run: time.sleep(0.5)
    say(json.dumps(run.record["devices"]))
    """
    path = os.pathsep.join(filter(None, (os.path.join(greenrun.cwd, "lib"), os.environ.get("PYTHONPATH"))))
    devices = script.told(text, machine.environment | {"PYTHONPATH": path})
    assert "gpu" in {device["kind"] for device in devices}


@pytest.mark.parametrize(
    ("ending", "code", "status", "codes"),
    [
        ("raise KeyError('the job s own')", 1, "complete", ["exception"]),
        ("sys.exit(3)", 3, "complete", ["exception"]),
        ("sys.exit()", 0, "complete", []),
        ("os._exit(4)", 4, "partial", ["cut-short"]),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, "partial", ["cut-short"]),
    ],
)
@pytest.mark.usefixtures("no_leftovers")
def test_how_a_block_ends(
    script: Script, run_dirs: RunDirs, ending: str, code: int, status: str, codes: list[str]
) -> None:
    """The process ends as it would have, and the record is made, also where nobody is left to ask for it."""
    done = script.run(f"with greenrun.measure(country='DK') as run:\n    time.sleep(0.2)\n    {ending}\n")
    assert done.returncode == code
    (run_dir,) = run_dirs()
    record = saved(run_dir)
    assert (record["status"], [warned["code"] for warned in record["warnings"]]) == (status, codes)
    assert record["duration_seconds"] >= 0.2
    assert record["exit_code"] in ((None,) if status == "complete" or code == -9 else (None, code))
    assert "RuntimeWarning" not in done.stderr


# --- when things die


def test_the_daemon_is_killed(script: Script, greenrun: Greenrun, simulated: Simulated) -> None:
    """Another takes its place at the end: the counters went on, so nothing is lost, and the record says what was."""
    machine = simulated(packages=[Zone("package-0", constant(83.0), (Zone("dram", constant(11.9)),))])
    text = """
    with greenrun.measure(country="DK") as run:
        begin = time.monotonic()
        greenrun.metric("x", 1); time.sleep(0.5)
        print("in", flush=True)
        sys.stdin.read()
        end = time.monotonic()
    print(json.dumps([begin, end, run.record]))
    """
    process = subprocess.Popen(
        script.write(text),
        cwd=greenrun.cwd,
        env=greenrun.environment(machine.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    os.kill(daemon_of(greenrun), signal.SIGKILL)
    time.sleep(0.4)
    out, _ = process.communicate("", timeout=30)
    begin, end, record = json.loads(out)
    valid(record)
    assert record["metrics"] == {"x": 1.0}
    assert [gap["code"] for gap in record["gaps"]] == ["gap"]
    assert record["energy_joules"]["cpu"] == pytest.approx(machine.energy_joules("cpu", begin, end), rel=0.1)
    assert record["duration_seconds"] == pytest.approx(end - begin, abs=0.2)
    assert greenrun.leftovers() == []


def test_the_daemon_is_stopped(script: Script, greenrun: Greenrun) -> None:
    """The block's end waits two seconds for it and no longer, and does not leave it behind."""
    process = script.start("""
    with greenrun.measure() as run:
        print("in", flush=True)
        time.sleep(1)
        begin = time.monotonic()
    print(time.monotonic() - begin, run.record)
    """)
    os.kill(daemon_of(greenrun), signal.SIGSTOP)
    out, err = process.communicate(timeout=30)
    waited, _, record = out.strip().partition(" ")
    assert (process.returncode, record) == (0, "None")
    assert float(waited) < 10
    assert "RuntimeWarning: greenrun's sampler gave no record in time; greenrun report " in err
    assert greenrun.leftovers() == []


@pytest.mark.usefixtures("no_leftovers")
def test_a_log_directory_that_may_not_be_written(script: Script, greenrun: Greenrun) -> None:
    """The record is there all the same, a warning says why there is no directory, and markers go nowhere."""
    os.mkdir(os.path.join(greenrun.cwd, "closed"), 0)
    text = """
    with greenrun.measure(log_dir="closed") as run:
        greenrun.epoch(1)
        time.sleep(0.1)
    say(json.dumps([run.dir, run.record]))
    """
    done = script.run(text, wrap=unprivileged)
    assert done.returncode == 0
    assert "RuntimeWarning: The log directory cannot be written" in done.stderr
    run_dir, record = json.loads(done.stdout)
    assert run_dir is None
    assert (valid(record)["status"], record["epochs"]) == ("complete", [])
    assert "log" in [warned["code"] for warned in record["warnings"]]


CANNOT_START = {
    "no process may be started": "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))",
    "no such Python": "sys.executable = '/nonexistent/python3'",
    "a program with a Python within": f"sys.executable = {os.path.join('.', 'blender')!r}",
    "a frozen program": "sys.frozen = True",
    "a Python that fails": f"sys.executable = {os.path.join('.', 'python-broken')!r}",
}


@pytest.mark.parametrize("how", CANNOT_START)
@pytest.mark.parametrize("options", [[], ["-W", "error"]])
def test_the_daemon_cannot_be_started(
    script: Script, greenrun: Greenrun, run_dirs: RunDirs, how: str, options: list[str]
) -> None:
    """The block runs unmeasured, the job goes on, and one line says why."""
    for name in ("python-broken", "blender"):
        broken = Path(greenrun.cwd, name)
        broken.write_text("#!/bin/sh\ntouch started.$(basename $0)\nexit 3\n")
        broken.chmod(0o755)
    text = f"""
    {CANNOT_START[how]}
    with greenrun.measure() as run:
        greenrun.epoch(1)
        print("ran")
    print(run.record, run.dir, "GREENRUN_MARKS" in os.environ)
    """
    done = script.run(text, wrap=lambda command: [command[0], *options, *command[1:]])
    assert (done.returncode, done.stdout) == (0, "ran\nNone None False\n"), done.stderr
    assert done.stderr.count("greenrun cannot measure (") == 1
    assert run_dirs() == []
    assert not Path(greenrun.cwd, "started.blender").exists(), "it would open a window, or train once more"
    assert greenrun.leftovers() == []


def test_an_interrupted_beginning(script: Script, greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """Ctrl-C while the daemon comes up is the user's, and there is no such run then."""
    slow = Path(greenrun.cwd, "python-slow")
    slow.write_text(f'#!/bin/sh\nsleep 0.5\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    text = f"""
    sys.executable = {str(slow)!r}
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with greenrun.measure(): print("never")
    except KeyboardInterrupt:
        print("interrupted", "GREENRUN_MARKS" in os.environ, flush=True)
    time.sleep(2)
    """
    done = script.run(text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted False\n", "")
    assert run_dirs() == []
    assert greenrun.leftovers() == []


def test_a_daemon_that_comes_late(script: Script, greenrun: Greenrun) -> None:
    """The block waits a second for it, and is measured from then on; what was not seen is filled, and told so."""
    slow = Path(greenrun.cwd, "python-slow")
    slow.write_text(f'#!/bin/sh\nsleep 1.5\nexec {sys.executable} "$@"\n')
    slow.chmod(0o755)
    text = f"""
    sys.executable = {str(slow)!r}
    with greenrun.measure() as run:
        begin = time.monotonic()
        time.sleep(1.5)
        end = time.monotonic()
    say(json.dumps([end - begin, run.record]))
    """
    seconds, record = script.told(text)
    assert record["duration_seconds"] == pytest.approx(seconds, abs=0.3)
    assert "late" in [warned["code"] for warned in valid(record)["warnings"]]
    assert greenrun.leftovers() == []


# --- begun here, ended there


@pytest.fixture
def begun(greenrun: Greenrun, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Handle]:
    """Begin a run as a prolog does: nothing of it is left in this process but the handle."""

    def begin(**about: Any) -> Handle:
        for name, value in greenrun.environment().items():
            monkeypatch.setenv(name, value)
        config = Config(offline=True, country="DK", log_dir=os.path.join(greenrun.cwd, "greenrun-logs"))
        run = new_run(config.log_dir, "job", ["job"])._replace(kind="job")
        return handles.begin(config, run, **about)

    return begin


@pytest.mark.usefixtures("no_leftovers")
def test_another_process_ends_what_this_one_began(begun: Callable[..., Handle], greenrun: Greenrun) -> None:
    """By a handle that was a file in between."""
    handle = begun()
    path = os.path.join(greenrun.cwd, "handle.json")
    Path(path).write_text(handle.to_json())
    time.sleep(0.3)
    text = (
        "import json; from greenrun.cli import handle\n"
        f"told = handle.Handle.from_json(open({path!r}).read())\n"
        "print(json.dumps(handle.end(told)))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=30)
    record = valid(json.loads(done.stdout))
    assert (record["kind"], record["status"], record["run_id"]) == ("job", "complete", handle.run_id)
    assert record["duration_seconds"] >= 0.3
    assert not handles.is_alive(handle)
    assert handles.end(handle) == record
    (written,) = (event for event in runlog.read(handle.run_dir) if event["event"] == "spawned")
    assert written["pid"] is None


@pytest.mark.usefixtures("no_leftovers")
def test_a_handle_of_another_process_harms_nobody(begun: Callable[..., Handle]) -> None:
    """The process id may be somebody else's by now: another start, or another boot."""
    with subprocess.Popen(["sleep", "60"]) as other:
        handle = begun()
        start = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19]
        wrong = (
            handle._replace(pid=other.pid),
            handle._replace(pid=other.pid, start_ticks=start, boot_id="another"),
            handle._replace(pid=2**22 - 1),
            handle._replace(start_ticks="1"),
        )
        for one in wrong:
            assert not handles.send(one, signal.SIGKILL)
        assert other.poll() is None
        assert handles.is_alive(handle)
        assert handles.send(handle._replace(pid=other.pid, start_ticks=start), signal.SIGKILL), (
            "else this shows nothing"
        )
        assert other.wait() == -signal.SIGKILL
    assert handles.end(handle) is not None


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"run_id": 1}', '{"pid": 1, "other": 2}'])
def test_a_file_that_holds_no_handle(text: str) -> None:
    """Is none, whatever it is."""
    with pytest.raises(ValueError, match=r"handle|Expecting"):
        Handle.from_json(text)


@pytest.mark.usefixtures("no_leftovers")
def test_a_job_in_a_process_that_ends(begun: Callable[..., Handle]) -> None:
    """Where the process that was to be followed is over, so is the run, without a word from anybody."""
    with subprocess.Popen(["sleep", "60"]) as job:
        handle = begun(follow=job.pid)
        job.kill()
    record = saved(handle.run_dir)
    assert (record["status"], [warned["code"] for warned in record["warnings"]]) == ("partial", ["cut-short"])


@pytest.mark.usefixtures("no_leftovers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_what_schedulers_send_does_not_end_it(begun: Callable[..., Handle], number: int) -> None:
    """Only the two signals that nobody sends by habit do."""
    handle = begun()
    os.kill(handle.pid, number)
    time.sleep(0.3)
    assert handles.is_alive(handle)
    assert handles.end(handle, failed=True) is not None


def test_phases_of_a_command(greenrun: Greenrun, run_dirs: RunDirs) -> None:
    """Told by a shell, under greenrun as it is typed."""
    lines = "echo phase load start; sleep 0.2; echo phase load end; echo phase train start; sleep 0.3"
    script = lines.replace("; sleep", ' >> "$GREENRUN_MARKS"; sleep').replace("end;", 'end >> "$GREENRUN_MARKS";')
    done = greenrun("sh", "-c", script)
    assert done.returncode == 0
    (run_dir,) = run_dirs()
    load, train = saved(run_dir)["phases"]
    assert (load["name"], train["name"], load["times"]) == ("load", "train", 1)
    assert train["duration_seconds"] >= 0.2
    assert "phases      load " in done.stderr
