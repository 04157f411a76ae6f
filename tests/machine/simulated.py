"""The simulated machine as one thing: built, kept going, and asked for the truth."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Sequence
from types import TracebackType

from machine import gpus as gpu_parts
from machine import powercap, procfs
from machine.build import nvml_library
from machine.gpus import Driver, Gpu
from machine.helper import Helper
from machine.powercap import Zone
from machine.procfs import Cpu
from machine.profiles import Profile


class SimulatedMachine:
    """A machine that greenrun sees when `environment` is merged into its own; a context manager.

    It lives in `directory`, which stays, or, where none is given, in one that goes when the context ends; that one is
    in memory if it can be, where its thousand files and links take milliseconds and no disk ever delays a counter.

    `packages` are the top-level zones of intel-rapl in the order of their numbers, psys among them; `mmio` those of
    intel-rapl-mmio. No packages: no powercap at all. `masked` hides the zones as container runtimes do. `gpus=None`
    means no NVIDIA driver, an empty list a driver without GPUs. `cpu=None` leaves the real /proc in place (and the
    real processor's hypervisor flag); with a Cpu, `load` is the busy fraction of its processors over time as a profile
    (0..1 for watts), None the real machine's load. `own_pids`: the process ids are a container's own, which the driver
    does not know.

    Times in the profiles are seconds since `epoch`, all times that callers give are CLOCK_MONOTONIC seconds.
    Device ids are those of greenrun: rapl:package-0, rapl:package-0/dram, rapl:psys, nvml:<UUID>.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        packages: Sequence[Zone] = (),
        mmio: Sequence[Zone] = (),
        masked: bool = False,
        gpus: Sequence[Gpu] | None = None,
        driver: Driver | None = None,
        cpu: Cpu | None = procfs.XEON_8375C,
        hypervisor: bool = False,
        memory_bytes: int = 256 * 2**30,
        load: Profile | None = None,
        own_pids: bool = False,
    ) -> None:
        self.directory = os.path.abspath(directory) if directory else ""  # the empty one is made on entering
        self.packages = tuple(packages)
        self.mmio = tuple(mmio)
        self.gpus = tuple(gpu_parts.place(gpu, index) for index, gpu in enumerate(gpus or ()))
        self.environment: dict[str, str] = {}
        self.largest_update_gap_seconds = math.nan  # known once stopped: the counters were right to within this time
        self._masked = masked
        self._driver = driver or Driver()
        self._has_driver = gpus is not None
        self._cpu = cpu
        self._hypervisor = hypervisor
        self._memory_bytes = memory_bytes
        self._load = load
        self._own_pids = own_pids
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._epoch_nanoseconds = 0
        self._counters: Helper | None = None
        self._procfs: Helper | None = None

    @property
    def epoch(self) -> float:
        """The machine's start in CLOCK_MONOTONIC seconds, when the profiles are at 0."""
        return self._epoch_nanoseconds / 1e9

    @property
    def sysfs(self) -> str:
        """The root of the simulated sysfs."""
        return os.path.join(self.directory, "sys")

    @property
    def procfs(self) -> str:
        """The root of the simulated procfs; the real one where no Cpu was given."""
        return os.path.join(self.directory, "proc") if self._cpu else "/proc"

    def __enter__(self) -> SimulatedMachine:
        self._epoch_nanoseconds = time.monotonic_ns()
        if not self.directory:
            memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  the folder below it is ours
            self._temporary = tempfile.TemporaryDirectory(prefix="simulated-machine-", dir=memory)
            self.directory = self._temporary.name
        os.makedirs(self.sysfs)
        self.environment = {"GREENRUN_SYSFS_ROOT": self.sysfs, "GREENRUN_PROCFS_ROOT": self.procfs}
        os.symlink("/sys/fs", os.path.join(self.sysfs, "fs"))  # the cgroups that the tests live in
        try:
            self._start_powercap()
            self._start_gpus()
            self._start_procfs()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary:
            self._temporary.cleanup()

    def stop(self) -> None:
        """Let the counters stand still and end the helpers. The files stay."""
        if self._counters:
            self.largest_update_gap_seconds = float(self._counters.stop())
        if self._procfs:
            self._procfs.stop()
        self._counters = self._procfs = None

    def devices(self) -> dict[str, Profile]:
        """Give the profile of each device that greenrun tells on a line of its own, psys included, by its id."""
        found: dict[str, Profile] = {}
        for zone in self.packages:
            found[f"rapl:{zone.name}"] = zone.profile
            found.update({f"rapl:{zone.name}/dram": child.profile for child in zone.zones if child.name == "dram"})
        found.update({f"nvml:{gpu.uuid}": gpu.profile for gpu in self.gpus})
        return found

    def device_energy_joules(self, device: str, t0: float, t1: float) -> float:
        """Give the true energy of one device from `t0` to `t1`, CLOCK_MONOTONIC seconds."""
        return self.devices()[device].energy(t0 - self.epoch, t1 - self.epoch)

    def energy_joules(self, kind: str, t0: float, t1: float) -> float:
        """Give the true energy of a kind (cpu, dram, gpu, other: psys) from `t0` to `t1`, CLOCK_MONOTONIC seconds."""
        return math.fsum(self.device_energy_joules(name, t0, t1) for name in self.devices() if _kind(name) == kind)

    def woken(self) -> list[str]:
        """Give the UUIDs of the GPUs that were woken out of their sleep, as often as it happened."""
        try:
            with open(self._woken_path) as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def put(self, gpu: int, pid: int, percent: int = 50, place: tuple[int, int] | None = None) -> None:
        """Put a process onto a GPU, of which something then runs there so many per cent of the time.

        `place` is the GPU instance and the compute instance that it is on, in MIG mode. It is there while it lives.
        """
        with open(self.processes_path(gpu), "a") as file:
            file.write(" ".join(map(str, (pid, percent, *(place or ())))) + "\n")

    def processes_path(self, gpu: int) -> str:
        """Give the file to which a process may itself append the line that puts it onto a GPU: PID PERCENT."""
        return gpu_parts.processes_path(self.directory, self.gpus[gpu])

    def asked(self, what: str, gpu: int) -> int:
        """Give how often the driver was asked for the processes on a GPU ("list"), or for what they used ("use")."""
        try:
            with open(gpu_parts.calls_path(self.directory)) as file:
                return file.read().splitlines().count(f"{what} {self.gpus[gpu].uuid}")
        except FileNotFoundError:
            return 0

    def set_runtime_status(self, gpu: Gpu, status: str) -> None:
        """Let a GPU fall asleep ("suspended") or be awake ("active")."""
        with open(os.path.join(self.sysfs, "bus", "pci", "devices", gpu.pci, "power", "runtime_status"), "w") as file:
            file.write(status + "\n")

    @property
    def _woken_path(self) -> str:
        return os.path.join(self.directory, "woken")

    def _start_powercap(self) -> None:
        counters = []
        for control_type, zones in (("intel-rapl", self.packages), ("intel-rapl-mmio", self.mmio)):
            if zones:
                counters += powercap.build(self.sysfs, control_type, zones)
        if counters:
            self._counters = Helper(
                "counters", self._write("counters", powercap.spec(self._epoch_nanoseconds, counters))
            )
        for zone, path in counters:
            if zone.forbidden:
                os.chmod(path, 0)  # not 0400: who runs the tests may be the owner (see `privilege`)
        if self._masked:
            powercap.mask(self.sysfs)

    def _start_gpus(self) -> None:
        if not self._has_driver:
            return
        status_paths = gpu_parts.build(self.sysfs, self.gpus)
        text = gpu_parts.spec(self._epoch_nanoseconds, self._driver, self.gpus, status_paths, self.directory)
        self.environment["SIMULATED_NVML"] = self._write("nvml", text)
        before = os.environ.get("LD_LIBRARY_PATH")
        self.environment["LD_LIBRARY_PATH"] = nvml_library() + (f":{before}" if before else "")

    def _start_procfs(self) -> None:
        if self._cpu is None:
            return
        procfs.build(
            self.procfs,
            self._cpu,
            self._hypervisor,
            self._memory_bytes,
            own_stat=self._load is not None,
            own_pids=self._own_pids,
        )
        spec = procfs.spec(self.procfs, self._epoch_nanoseconds, self._cpu, self._load)
        self._procfs = Helper("procfs", self._write("procfs", spec))

    def _write(self, name: str, text: str) -> str:
        path = os.path.join(self.directory, f"{name}.spec")
        with open(path, "w") as file:
            file.write(text)
        return path


def _kind(device: str) -> str:
    if device.startswith("nvml:"):
        return "gpu"
    if device == "rapl:psys":
        return "other"
    return "dram" if device.endswith("/dram") else "cpu"
