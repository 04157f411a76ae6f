"""greenrun in job scripts on a real SLURM of two nodes: by users, without any help from the site."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machine.command import ENTRY
from machine.gpus import Gpu
from machine.powercap import Zone
from machine.profiles import constant
from machine.simulated import SimulatedMachine
from machine.slurm import Cluster

Slurm = Callable[..., Cluster]
Simulated = Callable[..., SimulatedMachine]

# Tells each signal that it gets, and goes on until its time is over.
STUBBORN = """
import os, signal, sys, time
told = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def tell(word):  # a signal may come within it: one system call, where a file object would lose one of two words
    os.write(told, (word + "\\n").encode())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: tell(signal.Signals(number).name))
tell("ready")
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    time.sleep(0.02)
tell("end")
"""


@pytest.fixture
def nodes(slurm: Slurm, simulated: Simulated) -> Cluster:
    """Give two nodes of 65 W and 120 W, without hooks."""
    machines = [simulated(packages=[Zone("package-0", constant(watts))]) for watts in (65.0, 120.0)]
    return slurm(machines, prolog=None, epilog=None, cpus=4)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Give a working directory that any user may use."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:  # pytest keeps its own to one user
            os.chmod(folder, 0o755)  # noqa: S103
    folder = tmp_path / "work"
    folder.mkdir()
    os.chmod(folder, 0o777)  # noqa: S103  several users work in it
    return folder


def run_dirs(work: Path, log_dir: str = "greenrun-logs") -> list[Path]:
    """Give the run directories; those of one second are in no order."""
    return sorted(path for path in (work / log_dir).glob("*") if path.is_dir()) if (work / log_dir).exists() else []


def records(work: Path, log_dir: str = "greenrun-logs") -> list[dict[str, Any]]:
    """Give the records, oldest first.

    greenrun waits for its record two seconds at most, and then SLURM ends what is left of the step: on a machine
    that is too busy for that the log tells it all the same.
    """
    found = [_record(path) for path in run_dirs(work, log_dir)]
    return sorted(found, key=lambda record: str(record["run_id"]))


def _record(run_dir: Path) -> dict[str, Any]:
    summary = run_dir / "summary.json"
    if not summary.exists():
        told = [ENTRY, "report", "--json", str(run_dir)]
        return dict(json.loads(subprocess.run(told, capture_output=True, check=True).stdout))
    return dict(json.loads(summary.read_text()))


def test_one_measurement_for_all_ranks_of_a_node(nodes: Cluster, work: Path) -> None:
    """Four ranks: the node's energy once; the other three are their commands, with nothing of greenrun's about them."""
    script = (
        'read -r name < /proc/$PPID/comm; echo "$SLURM_LOCALID $name $GREENRUN_MEASURED_BY $GREENRUN_MARKS"; sleep 3'
    )
    running = nodes.sbatch(f"exec srun -n4 -N1 greenrun sh -c '{script}'", "-N1", "-n4", "--output=out", cwd=str(work))
    nodes.until(
        lambda: len((work / "out").read_text().split("\n")) > 4 if (work / "out").exists() else False, "it runs"
    )
    assert len(nodes.daemons()) == 1
    assert nodes.wait(running) == "COMPLETED"
    lines = sorted(line for line in (work / "out").read_text().splitlines() if line[:2] in {"0 ", "1 ", "2 ", "3 "})
    (record,) = records(work)
    assert lines[0].split()[:2] == ["0", "greenrun"]
    assert lines[0].endswith("/marks")
    others = [f"{rank} slurmstepd {running}.0/{nodes.nodes[0]} /dev/null" for rank in (1, 2, 3)]
    assert lines[1:] == others
    assert record["energy_joules"]["cpu"] == pytest.approx(65.0 * record["duration_seconds"], rel=0.01)
    job = record["job"]
    assert (job["StepID"], job["NTasks"], job["TasksHere"], job["TaskID"]) == ("0", 4, 4, 0)
    assert (job["JobIDRaw"], job["NodeName"]) == (str(running), nodes.nodes[0])


def test_each_rank_may_measure_if_told_to(nodes: Cluster, work: Path) -> None:
    """With --every-rank nobody stands for another."""
    nodes.command("srun", "-N1", "-n2", "greenrun", "--every-rank", "true", cwd=str(work))
    assert sorted(record["job"]["TaskID"] for record in records(work)) == [0, 1]


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "exit $SLURM_PROCID"],
        ["sh", "-c", '[ "$SLURM_PROCID" = 1 ] && kill -SEGV $$; exit 0'],
        ["sh", "-c", '[ "$SLURM_PROCID" = 2 ] && kill -TERM $$; exit 0'],
        ["sh", "-c", "echo out $SLURM_PROCID; echo err $SLURM_PROCID >&2; ls -l /proc/self/fd | wc -l"],
    ],
)
def test_ranks_end_and_speak_as_without_greenrun(nodes: Cluster, work: Path, command: list[str]) -> None:
    """Exit codes, deaths by signals and the output of each rank are those of the bare command."""
    bare = nodes.command("srun", "-N1", "-n3", "--label", "--kill-on-bad-exit=0", *command, cwd=str(work))
    mine = nodes.command(
        "srun", "-N1", "-n3", "--label", "--kill-on-bad-exit=0", "greenrun", "-q", *command, cwd=str(work)
    )
    assert mine.returncode == bare.returncode
    assert sorted(mine.stdout.splitlines()) == sorted(bare.stdout.splitlines())
    assert _tasks(mine.stderr) == _tasks(bare.stderr)


def _tasks(stderr: str) -> list[str]:
    """Give what srun says of each task; it says it for several in one line, or of each on its own."""
    found = []
    for line in stderr.splitlines():
        if "srun: error: " not in line:  # of what else it says, the step's number is another one each time
            found += [] if line.startswith("srun: ") else [line]
            continue
        tasks, _, what = line.partition("task")[2].lstrip("s").strip().partition(": ")
        for part in tasks.split(","):
            first, _, last = part.partition("-")
            found += [f"{task}: {what}" for task in range(int(first), int(last or first) + 1)]
    return sorted(found)


def test_a_rank_that_cannot_be_started_says_so(nodes: Cluster, work: Path) -> None:
    """A command that is not there is 127 in every rank, as under env."""
    done = nodes.command("srun", "-N1", "-n2", "greenrun", "nonesuch", cwd=str(work))
    assert done.returncode == 127
    assert done.stderr.count("greenrun: cannot run 'nonesuch': No such file or directory") == 2


def test_every_node_has_its_record(nodes: Cluster, work: Path) -> None:
    """Ranks on two nodes: two records of one job and step, each with its own node's energy, by a user who is nobody."""
    hostile = "<script>'$(touch pwned)"
    done = nodes.command(
        *("srun", "-N2", "--ntasks-per-node=2", f"--job-name={hostile}", "--account=physics", "greenrun", "sleep", "1"),
        user="nobody",
        cwd=str(work),
        env={"HOME": str(work)},
    )
    assert done.returncode == 0, done.stderr
    made = sorted(records(work), key=lambda record: str(record["job"]["NodeName"]))
    assert [record["job"]["NodeName"] for record in made] == list(nodes.nodes)
    assert [record["host"] for record in made] == list(nodes.nodes)
    assert [record["job"]["TaskID"] for record in made] == [0, 2]
    assert [record["job"]["TasksHere"] for record in made] == [2, 2]
    for record in made:
        job = record["job"]
        assert (job["JobID"], job["StepID"], job["NNodes"]) == (made[0]["job"]["JobID"], "0", 2)
        assert (job["User"], job["Account"], job["Partition"]) == ("nobody", "physics", "test")
        assert job["JobName"] == hostile
        assert job["AllocCPUSHere"] == 2
        assert record["user"] == "nobody"
        cpu = next(device for device in record["devices"] if device["kind"] == "cpu")
        assert cpu["method"] == "estimate"  # only root may read the counters, and no site helps
    assert not (work / "pwned").exists()


def test_batch_scripts_and_arrays(nodes: Cluster, work: Path) -> None:
    """The script is a step of its own; a job of an array has its array's name; what a step leaves behind is not its."""
    inner = "sbatch --wait --output=/dev/null --wrap 'exec greenrun true'"
    submitted = nodes.sbatch(f"greenrun true; srun -n1 {inner}", "--array=7", "-n1", "--mem=100", cwd=str(work))
    written = work / "greenrun-logs"
    nodes.until(lambda: len(list(written.glob("*/summary.json"))) == 2, "both have run")
    script, within = (record["job"] for record in records(work))
    assert (script["StepID"], script["NTasks"], script["TaskID"]) == ("batch", 1, 0)
    assert (script["JobID"], script["ArrayJobID"], script["ArrayTaskID"]) == (f"{submitted}_7", str(submitted), "7")
    assert script["AllocMemBytesHere"] == 100 << 20
    assert (within["StepID"], within["NodeName"] in nodes.nodes) == ("batch", True)
    assert within["JobIDRaw"] != script["JobIDRaw"]


def test_ranks_of_an_mpi_launcher(nodes: Cluster, work: Path) -> None:
    """What mpirun starts in a batch script: one record, for as many ranks as it says."""
    ranks = (
        "for rank in 0 1 2; do OMPI_COMM_WORLD_LOCAL_RANK=$rank OMPI_COMM_WORLD_RANK=$rank OMPI_COMM_WORLD_SIZE=3 "
        'OMPI_COMM_WORLD_LOCAL_SIZE=3 greenrun sh -c "echo by=$GREENRUN_MEASURED_BY" & done; wait'
    )
    assert nodes.wait(nodes.sbatch(ranks, "-n3", "-N1", cwd=str(work))) == "COMPLETED"
    (record,) = records(work)
    assert [record["job"][name] for name in ("StepID", "NTasks", "TasksHere", "TaskID")] == ["batch", 3, 3, 0]


def test_epochs_come_from_the_first_rank(nodes: Cluster, work: Path) -> None:
    """All ranks print them and mark them: each epoch is there once."""
    step = ("srun", "-N1", "-n4", "greenrun")
    printed = 'for n in 1 2 3; do echo "Epoch $n/3 - loss: 0.1"; sleep 0.4; done'
    nodes.command(*step, "--log-dir", "printed", "--epochs", "auto", "sh", "-c", printed, cwd=str(work))
    marked = 'echo "$GREENRUN_MARKS"; for n in 1 2 3; do echo "epoch $n 3" >> "$GREENRUN_MARKS"; sleep 0.4; done'
    for attempt in range(5):  # where the sampler is not ready in time the first rank has no file for markers either
        done = nodes.command(*step, "--log-dir", f"marked{attempt}", "sh", "-c", marked, cwd=str(work))
        if done.stdout.count("/dev/null") == 3:
            break
    for log_dir, marker in (("printed", "output"), (f"marked{attempt}", "marks")):
        (record,) = records(work, log_dir)
        assert [(epoch["n"], epoch["marker"]) for epoch in record["epochs"]] == [(1, marker), (2, marker), (3, marker)]


# A driver may take long on a busy machine.
SEES_GPUS = 'for i in $(seq 200); do grep -qs nvml: "$GREENRUN_RUN_DIR/run.jsonl" && break; sleep 0.1; done'


@pytest.mark.parametrize("constrained", [False, True])
def test_a_job_counts_its_own_gpus(slurm: Slurm, simulated: Simulated, work: Path, constrained: bool) -> None:
    """Two jobs with a GPU each on one node: each counts its own, also where it is renumbered and the other one shut."""
    machine = simulated(packages=[Zone("package-0", constant(65.0))], gpus=[Gpu(constant(100.0)), Gpu(constant(300.0))])
    cluster = slurm([machine], prolog=None, epilog=None, cpus=4, gpus=2, constrain_devices=constrained)
    driver = {name: value for name, value in machine.environment.items() if not name.startswith("GREENRUN")}
    driver["SIMULATED_NVML_DEVICES"] = os.path.join(cluster.directory, "dev", "gpu")
    told = "greenrun --log-dir first sh -c 'until [ -e over ]; do sleep 0.1; done'"
    first = cluster.sbatch(told, "-n1", "--gres=gpu:1", cwd=str(work), env=driver)
    cluster.until(lambda: run_dirs(work, "first"), "the first job is measured")
    step = ("srun", "-n1", "--gres=gpu:1", "greenrun", "sh", "-c", f"echo $CUDA_VISIBLE_DEVICES; {SEES_GPUS}; sleep 2")
    second = cluster.command(*step, cwd=str(work), env=driver)
    (work / "over").touch()
    assert cluster.wait(first) == "COMPLETED"
    assert second.stdout.strip() == ("0" if constrained else "1")
    for log_dir, index in (("first", 0), ("greenrun-logs", 1)):
        (record,) = records(work, log_dir)
        assert record["job"]["GPUsHere"] == [index]
        watts = (100.0, 300.0)[index]
        assert record["energy_joules"]["gpu"] == pytest.approx(watts * record["duration_seconds"], rel=0.05)
        counted = {device["id"]: device["counted"] for device in record["devices"] if device["kind"] == "gpu"}
        ids = [f"nvml:{gpu.uuid}" for gpu in machine.gpus]
        assert counted == ({ids[index]: True} if constrained else {ids[index]: True, ids[1 - index]: False})
        assert not [warned for warned in record["warnings"] if warned["code"] == "source"]


def test_the_site_s_record_counts_the_node_and_marks_the_job_s_gpus(slurm: Slurm, simulated: Simulated) -> None:
    """The Prolog's record is of the node: its neighbours' GPU counts, and is not the job's."""
    machine = simulated(packages=[Zone("package-0", constant(65.0))], gpus=[Gpu(constant(100.0)), Gpu(constant(300.0))])
    cluster = slurm([machine], gpus=2)
    job = cluster.sbatch("sleep 2", "--gres=gpu:1", user="nobody")
    assert cluster.wait(job) == "COMPLETED"
    cluster.until(lambda: cluster.records(job), "the record is written")
    ((record,),) = cluster.records(job).values()
    assert (record["user"], record["job"]["User"], record["job"]["StepID"]) == ("nobody", "nobody", None)
    assert record["job"]["GPUsHere"] == [0]
    assert record["energy_joules"]["gpu"] == pytest.approx(400.0 * record["duration_seconds"], rel=0.05)
    (run_dir,) = cluster.run_dirs(job)
    events = [json.loads(line) for line in Path(run_dir, "run.jsonl").read_text().splitlines()]
    gpus = [device for event in events for device in event.get("devices", ()) if device["kind"] == "gpu"]
    assert [(device["of_job"], device["counted"]) for device in gpus] == [(True, True), (False, True)]


class Jobs:
    """The same stubborn command in its forms, bare and under greenrun, each as a job of its own."""

    def __init__(
        self, cluster: Cluster, work: Path, forms: tuple[str, ...] = ("srun", "exec srun", "exec", "")
    ) -> None:
        self.cluster = cluster
        self.work = work
        self.forms = forms
        (work / "stubborn.py").write_text(STUBBORN)
        self.ids: dict[str, int] = {}

    def start(self, seconds: float, *options: str) -> None:
        """Start all of them, and wait until their commands run."""
        for form in self.forms:
            for measured in (False, True):
                tell = self._name(form, measured)
                greenrun = f"greenrun --log-dir {tell}.logs" if measured else ""
                script = f"{form} {greenrun} {sys.executable} stubborn.py {tell} {seconds}; echo $? > {tell}.status"
                words = ("-n1", f"--output={tell}.out", *options)
                self.ids[tell] = self.cluster.sbatch(script, *words, cwd=str(self.work))
        self.cluster.until(lambda: all(map(self.told, self.ids)), "all of them run")

    def each(self, *words: str) -> None:
        """Do something with each job, whose id comes last."""
        for job in self.ids.values():
            self.cluster.command(*words, str(job))

    def wait(self) -> set[str]:
        """Wait for all of them, and give the states that they ended in."""
        return {self.cluster.wait(job) for job in self.ids.values()}

    def told(self, tell: str) -> list[str]:
        """Give what a command has told."""
        path = self.work / tell
        return path.read_text().split() if path.exists() else []

    def assert_alike(self, among: set[str] | None = None) -> None:
        """Hold what the measured commands got (None: all of it), and their exit statuses, against the bare ones."""
        for form in self.forms:
            bare, mine = self._name(form, False), self._name(form, True)
            told = [sorted(told for told in self.told(one) if not among or told in among) for one in (mine, bare)]
            assert told[0] == told[1], form  # two at once have no order
            statuses = [self.work / f"{tell}.status" for tell in (bare, mine)]
            assert len({path.read_text() if path.exists() else None for path in statuses}) == 1, form

    def run_dir(self, form: str) -> Path:
        """Give the run directory of a form."""
        (path,) = run_dirs(self.work, f"{self._name(form, True)}.logs")
        return path

    def record(self, form: str) -> dict[str, Any]:
        """Give the record of a form."""
        found: dict[str, Any] = json.loads((self.run_dir(form) / "summary.json").read_text())
        return found

    def retold(self, form: str) -> dict[str, Any]:
        """Give the record that is made of a log whose writer was killed."""
        assert not (self.run_dir(form) / "summary.json").exists(), form
        told: dict[str, Any] = json.loads(
            self.cluster.command("greenrun", "report", "--json", str(self.run_dir(form))).stdout
        )
        return told

    def _name(self, form: str, measured: bool) -> str:
        return f"{form.replace(' ', '-') or 'child'}-{'greenrun' if measured else 'bare'}"


def cpu_watts(record: dict[str, Any], cluster: Cluster) -> float:
    """Give the power that a record means, as a part of the node's: 1 where it is right."""
    watts = (65.0, 120.0)[cluster.nodes.index(record["job"]["NodeName"])]
    return float(record["energy_joules"]["cpu"] / record["duration_seconds"] / watts)


def test_signals_arrive_as_without_greenrun(nodes: Cluster, work: Path) -> None:
    """A signal for the steps, and one for the batch script alone: whoever gets it without greenrun gets it with it."""
    jobs = Jobs(nodes, work)
    jobs.start(60.0)
    jobs.each("scancel", "--signal=USR1")
    for tell in ("srun-bare", "srun-greenrun", "exec-srun-bare", "exec-srun-greenrun"):
        nodes.until(lambda tell=tell: "SIGUSR1" in jobs.told(tell), f"{tell} got it")
    jobs.each("scancel", "--batch", "--signal=USR2")
    for tell in ("exec-bare", "exec-greenrun"):
        nodes.until(lambda tell=tell: "SIGUSR2" in jobs.told(tell), f"{tell} got it")
    jobs.each("scancel", "--full", "--signal=KILL")
    jobs.wait()
    # What SLURM sends to the steps of a batch script that has died is its own affair, and a matter of moments.
    jobs.assert_alike({"ready", "SIGUSR1", "SIGUSR2"})


def test_suspended_jobs_go_on(nodes: Cluster, work: Path) -> None:
    """Suspend and resume: the same signals, and a record of the whole time, in which the node used energy."""
    jobs = Jobs(nodes, work)
    jobs.start(4.0)
    jobs.each("scontrol", "suspend")
    assert {nodes.job(job)["JobState"] for job in jobs.ids.values()} == {"SUSPENDED"}
    jobs.each("scontrol", "resume")
    assert jobs.wait() == {"COMPLETED"}
    jobs.assert_alike()
    for form in jobs.forms:
        record = jobs.record(form)
        assert (record["status"], record["exit_code"]) == ("complete", 0)
        assert cpu_watts(record, nodes) == pytest.approx(1.0, rel=0.01)


def test_cancelled_jobs_leave_their_logs(nodes: Cluster, work: Path) -> None:
    """A command that will not end is killed with all of greenrun: what the log has until then is told."""
    jobs = Jobs(nodes, work)
    jobs.start(60.0)
    nodes.until(lambda: all(_sampled(jobs.run_dir(form)) > 3.0 for form in jobs.forms), "all logs have three seconds")
    jobs.each("scancel")
    assert jobs.wait() == {"CANCELLED"}
    jobs.assert_alike()
    assert sorted(jobs.told("exec-greenrun")) == ["SIGCONT", "SIGTERM", "ready"]
    assert jobs.told("child-greenrun") == ["ready"]  # bash got it, greenrun and its command nothing
    for form in jobs.forms:
        record = jobs.retold(form)
        assert (record["status"], record["exit_code"], record["signal"]) == ("partial", None, None)
        assert record["duration_seconds"] > 2.5
        assert cpu_watts(record, nodes) == pytest.approx(1.0, rel=0.01)
    nodes.until(lambda: not nodes.daemons(), "nothing of greenrun's is left")
    assert not nodes.drained()


def _sampled(run_dir: Path) -> float:
    """Give how far the log has come, in seconds."""
    lines = [line for line in (run_dir / "run.jsonl").read_text().splitlines() if '"event":"sample"' in line]
    return float(json.loads(lines[-1])["t"]) if lines else 0.0


def test_time_limits_and_their_warning(nodes: Cluster, work: Path) -> None:
    """At the limit two SIGTERM, where one arrives at all; --signal reaches the step, with B: the batch script."""
    jobs = Jobs(nodes, work, ("srun", "exec", ""))
    jobs.start(100.0)
    (work / "warned").mkdir()
    warned = Jobs(nodes, work / "warned", ("srun",))
    warned.start(100.0, "--time=1", "--signal=USR1@60")
    for job in jobs.ids.values():  # in the second in which a job has begun that is refused
        limit = ("scontrol", "update", f"JobId={job}", "EndTime=now")
        nodes.until(lambda limit=limit: nodes.command(*limit).returncode == 0, "the limit is set")
    nodes.until(lambda: all("SIGUSR1" in warned.told(tell) for tell in warned.ids), "the warning has come", 90.0)
    assert jobs.wait() == {"TIMEOUT"}
    jobs.assert_alike()
    warned.assert_alike()
    warned.each("scancel", "--full", "--signal=KILL")
    warned.wait()


def test_a_command_that_ends_in_time_has_its_record(nodes: Cluster, work: Path) -> None:
    """Cancelled, with a command that ends by SIGTERM: a whole record, under exec and srun."""
    scripts = {"srun": "srun greenrun --log-dir srun sleep 60", "exec": "exec greenrun --log-dir exec sleep 60"}
    submitted = {form: nodes.sbatch(script, "-n1", cwd=str(work)) for form, script in scripts.items()}
    for form, job in submitted.items():
        nodes.until(lambda form=form: _logged(work / form, "spawned"), f"{form} runs")
        nodes.command("scancel", str(job))
    for form, job in submitted.items():
        assert nodes.wait(job) == "CANCELLED"
        (record,) = records(work, form)
        assert (record["status"], record["signal"], record["exit_code"]) == ("complete", 15, None)


def test_a_requeued_job_is_told_apart(nodes: Cluster, work: Path) -> None:
    """The same id, one restart more."""
    script = "exec greenrun sh -c 'until [ -e over ]; do sleep 0.1; done'"
    job = nodes.sbatch(script, "--requeue", "-n1", cwd=str(work))
    nodes.until(lambda: _logged(work / "greenrun-logs", "spawned"), "it runs")
    nodes.command("scontrol", "requeue", str(job))
    nodes.until(lambda: nodes.job(job)["Reason"] == "BeginTime" and not nodes.processes(), "it waits again")
    (work / "over").touch()
    # SLURM would wait for two minutes; in the second of the requeue its nodes take a job for one that was revoked.
    nodes.command("scontrol", "update", f"JobId={job}", "StartTime=now+3")
    assert nodes.wait(job) == "COMPLETED"
    first, second = records(work)
    assert (first["job"]["JobID"], second["job"]["JobID"]) == (str(job), str(job))
    assert second["job"]["Restarts"] == first["job"]["Restarts"] + 1  # SLURM itself may have had to start it again
    printed = "\n".join(path.read_text() for path in work.glob("slurm-*.out"))
    assert (first["signal"], second["exit_code"]) == (15, 0), (second["status"], second["warnings"], printed)


def _logged(log_dir: Path, event: str) -> bool:
    """Whether some log has an event."""
    return any(f'"event":"{event}"' in path.read_text() for path in log_dir.glob("*/run.jsonl"))
