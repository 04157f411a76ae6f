"""Who is on NVIDIA's GPUs: their processes, what each of them used, and the parts of a GPU in MIG mode.

Everything here asks the driver, through the module pynvml that its callers have loaded; what to make of the answers is
`greenrun.sampler.tenancy`'s.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.sampler import kinship
from greenrun.sampler.containers import has_own_process_ids
from greenrun.sampler.model import Whose
from greenrun.sampler.tenancy import Tenancy, Use
from greenrun.sampler.visible import Slice, slice_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greenrun.sampler.model import Device, Machine
    from greenrun.sampler.tenancy import Verdict

_MIG_IS_ON = 1  # NVML_DEVICE_MIG_ENABLE
_LISTS = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
_FIRST_USE_SECONDS = 1.0  # the first question about use is about so long before it
_MICROSECONDS = 1_000_000
_MOST_PERCENT = 100  # samples above it are seen where a process has just begun, and mean nothing

_Place = tuple[int | None, int | None]


class Process(NamedTuple):
    """A process on a GPU, and in MIG mode the two numbers of the part that it is on."""

    pid: int
    place: _Place


class Watched:
    """A GPU whose processes are looked at. `given`: the job was told to use it; `slices` are its parts in MIG mode.

    `note` is what is to be said of the device whosesoever it is.
    """

    def __init__(
        self, device: Device, note: str, handle: Any, slices: tuple[Slice, ...] | None, *, given: bool
    ) -> None:
        self.device = device
        self.note = note
        self.handle = handle
        self.slices = slices
        self.tenancy = Tenancy(given)
        self.places: set[_Place] = set()  # of the job's processes, in MIG mode
        self.used_until_microseconds = 0  # by the driver's clock, UTC
        self.lists_processes = True
        self.tells_use = True
        self.lost = False
        self.told = Whose(device.id, device.of_job, None, False, device.note)


class Watch:
    """Looks at GPUs in the order of the source's devices; None for one that is not to be looked at."""

    def __init__(self, nvml: Any, machine: Machine, gpus: Sequence[Watched | None]) -> None:
        self._nvml = nvml
        self._procfs = machine.procfs
        self._gpus = gpus
        self._sees_ids = not has_own_process_ids(machine)

    def shares(self, job: int, seconds: float, utilisation: Sequence[float | None]) -> list[float | None]:
        """Look where it is due, and give the job's part in the use of each GPU, None where it is not known.

        `job` is its first process, `seconds` the time since that was started. Not more often than once a second, or the
        driver has nothing new to tell.
        """
        out: list[float | None] = []
        for gpu, used in zip(self._gpus, utilisation, strict=True):
            if gpu is None or gpu.lost:
                out.append(None)
                continue
            gpu.tenancy.run(seconds, used)
            if self._sees_ids and gpu.tenancy.is_due(seconds):
                self._look(gpu, job, seconds)
            if gpu.tenancy.is_shared and gpu.slices is None:  # in MIG mode it is not told
                self._take_use(gpu, job)
            out.append(gpu.tenancy.share if gpu.slices is None else self._share_of_slices(gpu))
        return out

    def whose(self, *, over: bool = False) -> list[Whose]:
        """Give the GPUs of which something else is to be said than before. `over`: the job is, all is seen."""
        changed = []
        for gpu in self._gpus:
            if gpu is None:
                continue
            verdict = gpu.tenancy.end() if over else gpu.tenancy.verdict
            word = self._word(gpu, verdict)
            if word != gpu.told and (over or verdict != "unknown"):
                gpu.told = word
                changed.append(word)
        return changed

    def _look(self, gpu: Watched, job: int, seconds: float) -> None:
        found = processes(self._nvml, gpu.handle)
        kin = None if found is None else kinship.kin(self._procfs, job, {process.pid for process in found})
        if found is None or kin is None:
            gpu.lists_processes = found is not None
            gpu.tenancy.miss(seconds)
            return
        others = kin.others
        if gpu.slices is not None:  # who is on another part is no matter
            places = {process.place for process in found if process.pid in kin.own}
            gpu.places |= places
            others = frozenset(process.pid for process in found if process.pid in others and process.place in places)
        gpu.tenancy.look(seconds, kin.own, others)

    def _take_use(self, gpu: Watched, job: int) -> None:
        since = gpu.used_until_microseconds or int((time.time() - _FIRST_USE_SECONDS) * _MICROSECONDS)
        found = uses(self._nvml, gpu.handle, since)
        if found is None and not gpu.used_until_microseconds:
            gpu.tells_use = False
        if not found:
            return
        gpu.used_until_microseconds = max(until for _, until in found)
        kin = kinship.kin(self._procfs, job, {use.pid for use, _ in found})
        if kin is not None:
            gpu.tenancy.use([use for use, _ in found], kin.own, kin.others)

    def _share_of_slices(self, gpu: Watched) -> float | None:
        return _part(gpu) if gpu.tenancy.share == 1.0 else gpu.tenancy.share

    def _word(self, gpu: Watched, verdict: Verdict) -> Whose:
        note = gpu.device.note if verdict == "job" and gpu.device.of_job else f"{gpu.note} {self._why(gpu, verdict)}"
        of_job = {"job": True, "not-job": False}.get(verdict)
        part = None
        if verdict == "job" and gpu.slices is not None:
            part = _part(gpu)
            of_job, part = (True, None) if part == 1.0 else (None, part)
        return Whose(gpu.device.id, of_job, part, verdict == "shared", note.strip())

    def _why(self, gpu: Watched, verdict: Verdict) -> str:
        if verdict == "job":
            if gpu.slices is None:
                return ""
            part = _part(gpu)
            return "How large the job's part of this GPU (MIG) is cannot be told." if part is None else slice_note(part)
        if verdict == "not-job":
            seen = gpu.tenancy.was_looked_at
            return "No process of the job was seen on this GPU." if seen else "Nothing ran on this GPU during the job."
        if verdict == "shared":
            if gpu.slices is not None:
                return "Others use the job's part of this GPU (MIG) too, and how much of it cannot be told."
            if gpu.tells_use:
                return "Others use this GPU too; the job's part is estimated by how long something of each ran on it."
            return "Others use this GPU too, and the driver does not tell how much of its use is the job's."
        unknown = "Whether the job used this GPU is not known: "
        if not self._sees_ids:
            return f"{unknown}the driver's process ids are the host's, and this is a container with its own."
        if not gpu.lists_processes:
            return f"{unknown}the driver does not list its processes."
        return f"{unknown}something ran on it, and the job was over before that could be seen to be its own."


def processes(nvml: Any, handle: Any) -> list[Process] | None:
    """Ask for the processes on a GPU, computing or drawing; None where the driver does not tell.

    Both questions take the driver's lock, for milliseconds: ask seldom.
    """
    found: dict[int, Process] = {}
    for name in _LISTS:
        listed = _list(nvml, name, handle)
        if listed is None and name == _LISTS[0]:
            return None
        for entry in listed or ():
            place = getattr(entry, "gpuInstanceId", None), getattr(entry, "computeInstanceId", None)
            if entry.pid > 0:
                found.setdefault(entry.pid, Process(entry.pid, place))
    return list(found.values())


def _list(nvml: Any, name: str, handle: Any) -> Iterable[Any] | None:
    for version in ("", "_v2"):  # drivers before 510 have no newer one
        ask = getattr(nvml, name + version, None)
        if ask is None:
            return None
        try:
            listed: Iterable[Any] = ask(handle)
        except nvml.NVMLError as error:
            if error.value != nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                return None
        else:
            return listed
    return None


def uses(nvml: Any, handle: Any, since_microseconds: int) -> list[tuple[Use, int]] | None:
    """Ask what each process used since a moment of UTC, with the moment of each answer; None: it is not told here.

    A process of which nothing ran is not in it.
    """
    try:
        samples = nvml.nvmlDeviceGetProcessUtilization(handle, since_microseconds)
    except nvml.NVMLError as error:
        # With nothing new older modules raise the success.
        return [] if error.value in {nvml.NVML_SUCCESS, nvml.NVML_ERROR_NOT_FOUND} else None
    return [
        (Use(sample.pid, float(sample.smUtil)), int(sample.timeStamp))
        for sample in samples
        if sample.pid > 0 and sample.smUtil <= _MOST_PERCENT and sample.timeStamp > since_microseconds
    ]


def slices(nvml: Any, handle: Any) -> tuple[Slice, ...] | None:
    """Give the parts that a GPU in MIG mode is cut into, None where it is not in that mode.

    A part's size is in slices of those that its model has: seven on an A100 or H100, four on an A30 (NVIDIA's MIG User
    Guide), which is also how many parts there can be.
    """
    try:
        if nvml.nvmlDeviceGetMigMode(handle)[0] != _MIG_IS_ON:
            return None
    except nvml.NVMLError:
        return None
    try:
        most = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except nvml.NVMLError:
        most = 0
    found = [_slice(nvml, handle, index, most) for index in range(most)]
    return tuple(part for part in found if part is not None)


def _slice(nvml: Any, gpu: Any, index: int, most: int) -> Slice | None:
    """Give one part, None where there is none with this number or it is not ours to see."""
    try:
        handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
        size = nvml.nvmlDeviceGetAttributes(handle)
        uuid = nvml.nvmlDeviceGetUUID(handle)
        numbers = nvml.nvmlDeviceGetGpuInstanceId(handle), nvml.nvmlDeviceGetComputeInstanceId(handle)
    except nvml.NVMLError:
        return None
    part = (size.computeInstanceSliceCount or size.gpuInstanceSliceCount) / most
    return Slice(uuid.decode(errors="replace") if isinstance(uuid, bytes) else uuid, *numbers, min(1.0, part))


def _part(gpu: Watched) -> float | None:
    """Sum the parts of a GPU on which the job was seen, None where one of them is not known."""
    sizes: dict[_Place, float] = {(part.gpu_instance, part.compute_instance): part.part for part in gpu.slices or ()}
    if not gpu.places <= sizes.keys():
        return None
    return min(1.0, math.fsum(sizes[place] for place in gpu.places))
