"""A real SLURM on this one machine: a controller and some nodes, each node with a simulated machine behind it.

    with Cluster([machine_of_65_watts, machine_of_120_watts]) as cluster:
        job = cluster.sbatch("sleep 10", "-N2")
        assert cluster.wait(job) == "COMPLETED"
        cluster.records(job)  # {node: [record, ...]} from the spool

In tests it is the fixture `slurm(machines, ...)`, which skips where there is no SLURM (and fails there under CI).

Each node is a slurmd in mount and UTS namespaces of its own: it has a host name of its own and an /etc of its own, so
that its /etc/greenrun.toml, which names the simulated machine, is read by the same door as a site's. Nothing is written
into this machine's /etc, and mounts are gone with the processes. All listens on 127.0.0.1. Prolog and epilog are
the scripts of contrib/slurm unless told.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from machine.command import ENTRY
from machine.simulated import SimulatedMachine
from machine.users import to_open

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "unshare", "mount")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PATIENCE_SECONDS = 60.0
_OVER = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL")

# In the node's namespaces: an /etc of its own over this machine's, and a way to Python and greenrun for users who may
# not pass through a home on it ($OPEN: folder to open, then what is to stay visible below it).
_ENTER = """
mount -t tmpfs -o mode=0755 node "$LAYER"
mkdir "$LAYER/upper" "$LAYER/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$LAYER/upper,workdir=$LAYER/work" overlay /etc
cp -r "$ETC/." /etc/
hostname "$NAME"
[ -z "$BOOT_ID" ] || mount --bind "$BOOT_ID" /proc/sys/kernel/random/boot_id
for pair in $OPEN; do
    closed=${pair%%:*} needed=${pair#*:}
    mkdir -p "$LAYER/kept"
    mount --bind "$needed" "$LAYER/kept"
    mount -t tmpfs -o mode=0755 opened "$closed"
    mkdir -p "$needed"
    mount --move "$LAYER/kept" "$needed"
done
exec "$@"
"""


def missing() -> str | None:
    """Say why there can be no SLURM here; None if there can."""
    if os.geteuid() != 0:
        return "only root can run a SLURM of several nodes"
    absent = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    return f"no {', '.join(absent)} here (packages slurmctld slurmd slurm-client munge)" if absent else None


class Cluster:
    """A controller and a node for each of `machines` (None: the real hardware); a context manager.

    `prolog`, `epilog` and `task_prolog` are paths of programs, None for none. `site` is more of each node's
    /etc/greenrun.toml, `settings` more of slurm.conf, `gpus` the number of fake GPUs (device files that nobody opens)
    of each node, `constrain_devices`: a job sees its own alone, renumbered (needs a cgroup hierarchy of version 1).
    `spool` is where the nodes' records go, one for all of them.
    """

    def __init__(
        self,
        machines: Sequence[SimulatedMachine | None] = (None,),
        *,
        prolog: str | None = f"{_ROOT}/contrib/slurm/prolog.sh",
        epilog: str | None = f"{_ROOT}/contrib/slurm/epilog.sh",
        task_prolog: str | None = None,
        site: str = "",
        settings: str = "",
        cpus: int = 2,
        gpus: int = 0,
        constrain_devices: bool = False,
        proctrack: str | None = None,
    ) -> None:
        self.machines = tuple(machines)
        self.directory = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")  # short: sockets lie below
        os.chmod(self.directory, 0o755)  # noqa: S103  users work in it
        self.prefix = f"n{os.getpid()}x{random.randrange(16**4):04x}-"  # noqa: S311  cgroups are named by node
        self.nodes = tuple(f"{self.prefix}{index}" for index in range(len(self.machines)))
        self.spool = self._path("records")
        self.hybrid = os.path.ismount("/sys/fs/cgroup/freezer")  # cgroups of version 1; 2 wants systemd
        self.proctrack = proctrack or ("cgroup" if self.hybrid else "linuxproc")
        self._site = site
        self._settings = settings
        self._cpus, self._gpus, self._constrain = cpus, gpus, constrain_devices
        self._hooks = {"Prolog": self._hook("prolog", prolog), "Epilog": self._hook("epilog", epilog)}
        self._hooks["TaskProlog"] = task_prolog
        self._munged: subprocess.Popen[bytes] | None = None
        self._controller: subprocess.Popen[bytes] | None = None
        self._slurmds: dict[str, subprocess.Popen[bytes]] = {}
        self._namespaces: dict[str, str] = {}  # of each node, as /proc names them
        self._held: dict[str, int] = {}  # open as long as we know them, or their names could become others'
        self._port = 0

    # --- up and down

    def __enter__(self) -> Cluster:
        try:
            for folder in ("etc", "run", "state", "log", "spool", "munge", "records", "layers", "dev"):
                os.makedirs(self._path(folder), exist_ok=True)
            for machine in filter(None, self.machines):
                _show_to_users(machine)
            self._start_munge()
            for _ in range(5):  # somebody else may take the ports between the look and the start
                self._port = _free_ports(len(self.nodes) + 1)
                self._write_settings()
                if self._start_controller():
                    break
            else:
                raise RuntimeError(f"slurmctld does not start:\n{self.log('slurmctld')}")
            for node in self.nodes:
                self.start_node(node)
            self.until(lambda: self._in_state("idle") == len(self.nodes), "its nodes are idle")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError, subprocess.SubprocessError):
            self._cancel_all()
        for slurmd in self._slurmds.values():
            _stop(slurmd)
        for process in (self._controller, self._munged):
            if process is not None:
                _stop(process)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for held in self._held.values():
            os.close(held)
        self._remove_cgroups()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _cancel_all(self) -> None:
        if self._controller is None or self._controller.poll() is not None:
            return
        if self.command("squeue", "-h", "-o", "%i").stdout.strip():
            self.command("scancel", "--full", *self.command("squeue", "-h", "-o", "%i").stdout.split())
            deadline = time.monotonic() + 10
            while self.command("squeue", "-h", "-o", "%i").stdout.strip() and time.monotonic() < deadline:
                time.sleep(0.1)

    def _remove_cgroups(self) -> None:
        for hierarchy in os.scandir("/sys/fs/cgroup") if self.hybrid else ():
            for node in self.nodes:
                for folder, _, _ in os.walk(os.path.join(hierarchy.path, f"slurm_{node}"), topdown=False):
                    _remove_cgroup(folder)

    def start_node(self, node: str, *, boot_id: str | None = None) -> None:
        """Start a node's slurmd; with another `boot_id` it is a machine that has been booted anew."""
        etc = self._path("etc", node)
        os.makedirs(etc, exist_ok=True)
        _write(os.path.join(etc, "hosts"), self._hosts())
        _write(os.path.join(etc, "hostname"), f"{node}\n")
        _write(os.path.join(etc, "greenrun.toml"), self._greenrun_toml(node))
        layer = self._path("layers", node)
        os.makedirs(layer, exist_ok=True)
        surroundings = {"LAYER": layer, "ETC": etc, "NAME": node, "BOOT_ID": "", "OPEN": " ".join(to_open())}
        if boot_id is not None:
            surroundings["BOOT_ID"] = self._path("etc", f"{node}.boot_id")
            _write(surroundings["BOOT_ID"], f"{boot_id}\n")
        enter = ["unshare", "--mount", "--uts", "sh", "-ec", _ENTER, "sh"]
        arguments = [_which("slurmd"), "-D", "-N", node, "-f", self._path("etc", "slurm.conf")]
        slurmd = self._start(f"slurmd-{node}", [*enter, *arguments], surroundings)
        self._slurmds[node] = slurmd
        self.until(lambda: _exe(slurmd.pid).startswith("slurmd") or slurmd.poll() is not None, f"{node} has its slurmd")
        if slurmd.poll() is not None:
            how = f"{slurmd.returncode}:\n{self.log(f'slurmd-{node}')}"
            raise RuntimeError(f"the slurmd of {node} does not start but ends with {how}")
        self._held[node] = os.open(f"/proc/{slurmd.pid}/ns/uts", os.O_RDONLY)
        self._namespaces[node] = os.readlink(f"/proc/{slurmd.pid}/ns/uts")

    def fail_node(self, node: str) -> None:
        """Let everything on a node die at once, as when its power fails; `start_node` brings it back."""
        self._slurmds[node].kill()
        self._slurmds[node].wait()
        while found := self.processes(node):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        del self._namespaces[node]
        os.close(self._held.pop(node))

    def _start_munge(self) -> None:
        key = self._path("munge", "key")
        with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(os.urandom(128))
        command = [_which("munged"), "--foreground", f"--key-file={key}", f"--socket={self._path('munge', 'socket')}"]
        command += [f"--pid-file={self._path('munge', 'pid')}", f"--seed-file={self._path('munge', 'seed')}"]
        self._munged = self._start("munged", [*command, f"--log-file={self._path('log', 'munged.log')}"])
        self.until(lambda: os.path.exists(self._path("munge", "socket")), "munge listens")

    def _start_controller(self) -> bool:
        hosts = self._path("etc", "hosts")
        enter = ["unshare", "--mount", "sh", "-ec", 'mount --bind "$0" /etc/hosts; exec "$@"', hosts]
        arguments = [_which("slurmctld"), "-D", "-c", "-f", self._path("etc", "slurm.conf")]
        self._controller = controller = self._start("slurmctld", [*enter, *arguments])
        self.until(lambda: controller.poll() is not None or self._answers(), "slurmctld answers")
        return controller.poll() is None

    def _answers(self) -> bool:
        return self.command("scontrol", "ping").returncode == 0

    def _start(
        self, name: str, command: list[str], surroundings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with open(self._path("log", f"{name}.out"), "ab") as output:
            return subprocess.Popen(
                command,
                env={"PATH": _PATH, "SLURM_CONF": self._path("etc", "slurm.conf"), **(surroundings or {})},
                cwd=self._path("log"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    # --- its files

    def _path(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    def _hosts(self) -> str:
        return f"127.0.0.1 localhost {socket.gethostname()} {' '.join(self.nodes)}\n"

    def _greenrun_toml(self, node: str) -> str:
        machine = self.machines[self.nodes.index(node)]
        lines = [self._site, "offline = true", "no-cloud-metadata = true", f'spool = "{self.spool}"']
        if machine is not None:
            lines += [f'sysfs-root = "{machine.sysfs}"', f'procfs-root = "{machine.procfs}"']
        return "\n".join([*lines, ""])

    def _hook(self, name: str, program: str | None) -> str | None:
        """Give a script that is `program` with what a simulated GPU driver needs; SLURM hands on no variable.

        In the scripts of contrib/slurm the path of greenrun is put in, as they ask for.
        """
        if program is None:
            return None
        path = self._path(name)
        lines = ["#!/bin/sh"]
        for node, machine in zip(self.nodes, self.machines, strict=True):
            if machine is not None and "SIMULATED_NVML" in machine.environment:
                told = " ".join(f"{name}='{machine.environment[name]}'" for name in _DRIVER)
                lines.append(f'[ "$SLURMD_NODENAME" != {node} ] || export {told}')
        with open(program, errors="replace") as file:
            text = file.read()
        if _TO_PUT_IN in text:
            program = f"{path}.sh"
            _write(program, text.replace(_TO_PUT_IN, ENTRY), 0o755)
        _write(path, "\n".join([*lines, f'exec "{program}"', ""]), 0o755)
        return path

    def _write_settings(self) -> None:
        lines = _SETTINGS.format(
            controller=socket.gethostname(),
            port=self._port,
            directory=self.directory,
            proctrack=self.proctrack,
            task="cgroup" if self._constrain else "none",
            gather="cgroup" if self.hybrid else "linux",
        ).splitlines()
        lines += [f"{name}={program}" for name, program in self._hooks.items() if program]
        lines += ["GresTypes=gpu"] if self._gpus else []
        gres = f" Gres=gpu:{self._gpus}" if self._gpus else ""
        lines += [
            f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={self._port + 1 + index} CPUs={self._cpus} "
            f"RealMemory=1000{gres} State=UNKNOWN"
            for index, node in enumerate(self.nodes)
        ]
        lines += ["PartitionName=test Nodes=ALL Default=YES MaxTime=1:00:00 State=UP OverSubscribe=NO"]
        _write(self._path("etc", "slurm.conf"), "\n".join([*lines, self._settings, ""]))
        cgroup = ["CgroupMountpoint=/sys/fs/cgroup", "CgroupAutomount=no", "ConstrainCores=no", "ConstrainRAMSpace=no"]
        cgroup += [f"CgroupPlugin=cgroup/{'v1' if self.hybrid else 'v2'}"]
        cgroup += [f"ConstrainDevices={'yes' if self._constrain else 'no'}"]
        _write(self._path("etc", "cgroup.conf"), "\n".join([*cgroup, ""]))
        _write(self._path("etc", "hosts"), self._hosts())
        if self._gpus:
            for number in range(self._gpus):
                with contextlib.suppress(FileExistsError):
                    device = os.makedev(240, number)  # of the numbers for local use: there is no driver behind it
                    os.mknod(self._path("dev", f"gpu{number}"), stat.S_IFCHR | 0o666, device)
            files = self._path("dev", f"gpu[0-{self._gpus - 1}]" if self._gpus > 1 else "gpu0")
            gres_lines = [f"NodeName={node} Name=gpu File={files}" for node in self.nodes]
            _write(self._path("etc", "gres.conf"), "\n".join([*gres_lines, ""]))

    # --- what a user does

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's own commands need."""
        return {"SLURM_CONF": self._path("etc", "slurm.conf")}

    def command(self, *words: str, user: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program (`srun`, `scancel` ...) to its end, as root or as another user, in the cluster's folder."""
        environment = {**_clean_environment(), **self.environment, **options.pop("env", {})}
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user_group(user)}", "--init-groups"] if user else []
        options.setdefault("timeout", _PATIENCE_SECONDS)
        options.setdefault("cwd", self.directory)
        return subprocess.run(
            [*as_user, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options
        )

    def sbatch(self, script: str, *options: str, user: str | None = None, **more: Any) -> int:
        """Submit a batch script (its lines after `#!/bin/sh`) and give the job's id; `options` are sbatch's.

        Its output goes to /dev/null unless told.
        """
        words = ("--parsable", "--output=/dev/null", *options, f"--wrap={script}")
        done = self.command("sbatch", *words, user=user, **more)
        if done.returncode != 0:
            raise RuntimeError(f"sbatch: {done.stderr}")
        return int(done.stdout.strip().partition(";")[0])

    def job(self, job: int) -> dict[str, str]:
        """Give what `scontrol show job` tells; empty for a job that it no longer knows."""
        told = self.command("scontrol", "-o", "show", "job", str(job)).stdout
        return dict(word.split("=", 1) for word in told.split() if "=" in word)

    def wait(self, job: int, *states: str, seconds: float = _PATIENCE_SECONDS) -> str:
        """Wait until a job is over (or in one of `states`), its epilogs too, and give its state."""
        wanted = states or _OVER
        try:
            self.until(lambda: self.job(job).get("JobState") in wanted, f"job {job} is {' or '.join(wanted)}", seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}{self.job(job)}") from None
        return self.job(job)["JobState"]

    def running_records(self) -> list[str]:
        """Give the names in the spool's folder of running jobs."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(os.path.join(self.spool, "live")))
        return []

    def run_dirs(self, job: int) -> list[str]:
        """Give the run directories of a job, of all nodes, in order of node and time."""
        folder = os.path.join(self.spool, "runs", str(job))
        with contextlib.suppress(FileNotFoundError):
            return sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
        return []

    def records(self, job: int) -> dict[str, list[dict[str, Any]]]:
        """Give the records of a job by node, the oldest first; each node has one for each time the job began there."""
        found: dict[str, list[dict[str, Any]]] = {}
        for run_dir in self.run_dirs(job):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(run_dir, "summary.json")) as file:
                found.setdefault(os.path.basename(run_dir).rpartition("-")[0], []).append(json.load(file))
        for records in found.values():
            records.sort(key=lambda record: str(record["run_id"]))
        return found

    # --- what a test asks

    def _in_state(self, states: str) -> int:
        return len(set(self.command("sinfo", "-h", "-N", "-r", "-t", states, "-o", "%N").stdout.split()))

    def drained(self) -> str:
        """Give the nodes that SLURM has taken out of service, each with its reason; "" if there are none."""
        return self.command("sinfo", "-h", "-R", "-o", "%N: %E").stdout.strip()

    def processes(self, node: str | None = None) -> dict[int, str]:
        """Give the processes in the nodes' namespaces but for slurmd itself: process id to name."""
        spaces = set(self._namespaces.values() if node is None else (self._namespaces.get(node, ""),))
        own = {slurmd.pid for slurmd in self._slurmds.values()}
        found = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{entry}/ns/uts") in spaces and int(entry) not in own:
                    with open(f"/proc/{entry}/comm") as file:
                        found[int(entry)] = file.read().strip()
        return found

    def daemons(self, node: str | None = None) -> list[int]:
        """Give greenrun's daemons on the nodes."""
        return [pid for pid, name in self.processes(node).items() if name == "greenrun-daemon"]

    def slurmd(self, node: str) -> int:
        """Give the process id of a node's slurmd."""
        return self._slurmds[node].pid

    def in_node(self, node: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program as root among a node's mounts and under its name; it must succeed."""
        enter = ["nsenter", f"--target={self.slurmd(node)}", "--mount", "--uts", "--"]
        return subprocess.run([*enter, *words], capture_output=True, text=True, check=True)

    def log(self, name: str) -> str:
        """Give what `slurmctld` or `slurmd-NODE` has said."""
        with open(self._path("log", f"{name}.out"), errors="replace") as file:
            return file.read()

    def until(self, holds: Callable[[], object], what: str, seconds: float = _PATIENCE_SECONDS) -> None:
        """Wait for something; a TimeoutError says what did not come, and what SLURM said last."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                said = "".join(f"{name}:\n{self.log(name)[-1500:]}\n" for name in self._log_names())
                raise TimeoutError(f"not within {seconds:g} s: {what}\n{said}")
            time.sleep(0.05)

    def _log_names(self) -> Iterator[str]:
        return (name.removesuffix(".out") for name in sorted(os.listdir(self._path("log"))) if name.endswith(".out"))


_TO_PUT_IN = "/opt/greenrun/bin/greenrun"
_DRIVER = ("SIMULATED_NVML", "LD_LIBRARY_PATH")  # what a program needs to find the simulated GPUs

_SETTINGS = """\
ClusterName=simulated
SlurmctldHost={controller}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={directory}/munge/socket
StateSaveLocation={directory}/state
SlurmctldPidFile={directory}/run/slurmctld.pid
SlurmdPidFile={directory}/run/slurmd-%n.pid
SlurmdSpoolDir={directory}/spool/%n
SlurmctldDebug=verbose
SlurmdDebug=verbose
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/{task}
JobAcctGatherType=jobacct_gather/{gather}
JobAcctGatherFrequency=task=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
PropagateResourceLimits=NONE
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
InactiveLimit=0
MinJobAge=600
MessageTimeout=20
KillWait=3
UnkillableStepTimeout=60
BatchStartTimeout=30
PrologEpilogTimeout=30
PrologFlags=Alloc
SlurmdParameters=config_overrides
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
"""


def user_group(user: str) -> int:
    """Give the group that a user is in at first."""
    import pwd

    return pwd.getpwnam(user).pw_gid


def _which(program: str) -> str:
    found = shutil.which(program, path=_PATH)
    assert found is not None, program
    return found


def _clean_environment() -> dict[str, str]:
    """Give this environment without what would speak to SLURM or to greenrun."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "GREENRUN_"))}
    return {**kept, "PATH": f"{os.path.dirname(ENTRY)}:{kept.get('PATH', _PATH)}:{_PATH}"}


def _free_ports(count: int) -> int:
    """Give the first of so many ports that nobody listens on, below those that the kernel hands out by itself."""
    while True:
        first = random.randrange(20000, 30000 - count)  # noqa: S311  ports, no secret
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


def _show_to_users(machine: SimulatedMachine) -> None:
    """Let others read what they may read of a real sysfs, which is all but the counters of energy."""
    os.chmod(machine.directory, 0o755)  # noqa: S103  as sysfs is
    for folder, _, names in os.walk(machine.sysfs):
        if "energy_uj" in names:
            os.chmod(os.path.join(folder, "energy_uj"), 0o400)


def _exe(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    return ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove_cgroup(folder: str) -> None:
    deadline = time.monotonic() + 3  # the processes in it have been killed, and may take a moment to die
    while os.path.isdir(folder) and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            os.rmdir(folder)
            return
        time.sleep(0.02)


def _write(path: str, text: str, mode: int = 0o644) -> None:
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
