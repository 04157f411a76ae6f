"""NVML: NVIDIA GPUs, by their energy counter where they have one, else by their power polled ten times a second.

Slow, because initialising takes up to seconds a GPU where the driver's persistence mode is off. It must be opened in
the process that reads: NVML does not survive a fork. The handles stay open to the end, or the driver might unload
in between and its counters begin again. Lists of processes hold the driver's lock for milliseconds: they are asked for
only where they tell whose a GPU is, and seldom (`greenrun.sampler.tenancy`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenrun.sampler import allocation
from greenrun.sampler.model import BaseSource, Counter, Device, Finding, Machine, Opened, Power

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greenrun.sampler.allocation import Allocation
    from greenrun.sampler.model import Reading, Status, Whose
    from greenrun.sampler.sources.nvmljobs import Watch, Watched
    from greenrun.sampler.visible import Card, Choice

# Half-width in per cent. NVIDIA states +-5 %, and measurements of more than 70 boards find steady power off by -5.5 %
# (A100) to +0.5 % (P100): Yang et al. 2023, arXiv:2312.02741. The driver's energy counter integrates the same sensor,
# so its gain error is the same; it only spares us our own integration.
_UNCERTAINTY_PERCENT = 5.0
# Above this a reading is nonsense: twice the largest board sold (1.4 kW).
_MAX_WATTS = 3000.0
# Fast enough for loads that change once or twice a second; 40 Hz was seen to stall applications in the driver's lock.
_POLL_SECONDS = 0.1
# The driver itself updates utilisation at most this often, and asking takes its lock.
_UTILISATION_SECONDS = 1.0
# NVML_FI_DEV_POWER_INSTANT, by number: older modules lack the name. Unlike PowerUsage it is no one-second average.
_POWER_INSTANT = 186
_OF_GPU, _OF_MODULE = 0, 1  # NVML_POWER_SCOPE_GPU, NVML_POWER_SCOPE_MODULE

_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"  # VGA and 3D controllers; a board's audio and USB functions are other classes


class _Gpu:
    """A GPU that is read: `measure` raises pynvml's NVMLError; a lost one is never asked again."""

    def __init__(self, device: Device, handle: Any, minor: int | None, measure: Callable[[Any], Reading]) -> None:
        self.device = device
        self.handle = handle
        self.minor = minor
        self.measure = measure
        self.note = device.note  # without what is said of whose it is
        self.watched: Watched | None = None
        self.lost = False
        self.warned = False


class Nvml(BaseSource):
    """All NVIDIA GPUs of the machine, or those at the PCI `addresses` alone.

    `poll_seconds` is known after `open`: None where all GPUs have counters.
    """

    def __init__(self, addresses: frozenset[str] | None = None) -> None:
        super().__init__(name="nvml", slow=True)
        self._addresses = addresses
        self._nvml: Any = None  # the module pynvml, once NVML is initialised
        self._gpus: list[_Gpu] = []
        self._in_order = True  # whether all GPUs that may be opened were
        self._watch: Watch | None = None
        self._utilisation: tuple[float | None, ...] = ()
        self._utilisation_t = float("-inf")

    def open(self, machine: Machine) -> Opened:
        """Initialise NVML and open every GPU that is awake; those asleep are left to `Opened.later`."""
        cards = everywhere = dict(_cards(machine.sysfs))
        if self._addresses is not None:
            cards = {address: asleep for address, asleep in cards.items() if address in self._addresses}
        asleep = frozenset(address for address, is_asleep in cards.items() if is_asleep)
        awake = [address for address in cards if address not in asleep]
        later = Nvml(asleep) if asleep else None
        # Once is enough: the source made for later does not say again that they sleep.
        findings = [_asleep(address) for address in sorted(asleep)] if self._addresses is None else []
        if asleep and not awake:
            return Opened(findings=tuple(findings), later=later)
        refusal = self._initialise(present=bool(cards))
        if refusal:
            return Opened(findings=(refusal, *findings))
        # By index NVML attaches to every GPU on the way and would wake the sleepers.
        findings += self._open_gpus(awake if asleep or self._addresses is not None else None)
        if machine.allocation is not None:
            findings = self._share_out(machine.allocation, findings, all_there=not asleep and self._addresses is None)
        if machine.visible is not None:
            by_address = everywhere if asleep or self._addresses is not None else None
            self._choose(machine, machine.visible, self._all_cards(by_address))
        polled = any(gpu.device.method == "power" for gpu in self._gpus)
        self.poll_seconds: float | None = _POLL_SECONDS if polled else None
        return Opened(tuple(gpu.device for gpu in self._gpus), tuple(findings), later)

    def read(self) -> Sequence[Reading | None]:
        """Read each GPU: microjoules or watts; None where it is lost or does not answer."""
        return [None if gpu.lost else self._read(gpu) for gpu in self._gpus]

    def utilisation(self) -> Sequence[float | None]:
        """Give the fraction of time in which each GPU ran a kernel, asked for once a second at most."""
        now = time.monotonic()
        if now - self._utilisation_t >= _UTILISATION_SECONDS:
            self._utilisation_t = now
            self._utilisation = tuple(self._utilisation_of(gpu) for gpu in self._gpus)
        return self._utilisation

    def shares(self, job: int, seconds: float) -> Sequence[float | None]:
        """Give the job's part in the use of each GPU that is looked at for it; ask about once a second."""
        return () if self._watch is None else self._watch.shares(job, seconds, self.utilisation())

    def whose(self, *, over: bool = False) -> Sequence[Whose]:
        """Hand over of which GPUs something else is known than before."""
        return () if self._watch is None else self._watch.whose(over=over)

    def close(self) -> None:
        """Let go of the handles and of NVML."""
        self._gpus = []
        self._watch = None
        if self._nvml:
            with contextlib.suppress(self._nvml.NVMLError):  # then there is nothing left to let go of
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _initialise(self, present: bool) -> Finding | None:
        """Load the driver's library, then pynvml, then NVML itself; the finding says what stopped it."""
        import ctypes

        try:
            # Before pynvml, which costs 30 ms of import where there is no GPU to read with it.
            ctypes.CDLL("libnvidia-ml.so.1")
        except OSError as error:
            return _no_library(error, present)
        try:
            import pynvml
        except ImportError as error:
            sentence = f"The Python module pynvml cannot be imported ({error})."
            return Finding("nvml", "NVML", "broken", sentence, "Install the distribution nvidia-ml-py.")
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return _refused(pynvml, error, "NVML", present)
        self._nvml = pynvml
        return None

    def _open_gpus(self, addresses: list[str] | None) -> Iterator[Finding]:
        """Open the GPUs at these addresses (None: all of them), and tell how each went."""
        nvml = self._nvml
        keys: Sequence[int | str]
        try:
            if addresses is None:
                get, keys = nvml.nvmlDeviceGetHandleByIndex, range(nvml.nvmlDeviceGetCount())
            else:
                get, keys = nvml.nvmlDeviceGetHandleByPciBusId, addresses
        except nvml.NVMLError as error:
            yield _refused(nvml, error, "the number of GPUs", True)
            return
        if not keys:
            yield Finding("nvml", "GPU", "absent", "The NVIDIA driver shows no GPU.")
        for key in keys:
            subject = f"GPU {key}"
            try:
                gpu = self._open_gpu(get(key))
            except nvml.NVMLError as error:
                self._in_order &= error.value == nvml.NVML_ERROR_NO_PERMISSION  # CUDA does not count those either
                yield _refused(nvml, error, subject, True)
                continue
            if gpu is None:
                yield Finding("nvml", subject, "absent", f"{subject} tells neither its energy nor its power.")
                continue
            self._gpus.append(gpu)
            what = "energy" if gpu.device.method == "counter" else "power"
            yield Finding("nvml", subject, "ok", f"{gpu.device.name} tells its {what}.")

    def _open_gpu(self, handle: Any) -> _Gpu | None:
        nvml = self._nvml
        name, uuid = _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle))
        for measure in (self._energy, self._instant_power, self._power):
            try:
                reading = measure(handle)
            except nvml.NVMLError as error:
                if error.value in {nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND}:
                    continue
                raise
            counter = isinstance(reading, Counter)
            of_module = self._is_of_module(handle)
            note = "" if counter else f"This GPU has no energy counter; its power is read every {_POLL_SECONDS} s."
            if of_module:
                note = f"The figure is of the whole module, with the CPU on it. {note}".strip()
            device = Device(
                id=f"nvml:{uuid}",
                kind="gpu",
                name=name,
                source="nvml",
                method="counter" if counter else "power",
                uncertainty_percent=_UNCERTAINTY_PERCENT,
                max_watts=_MAX_WATTS,
                covers=(f"gpu/{uuid}", *(f"{part}/#{uuid}" for part in ("cpu", "sysio", "dram"))) if of_module else (),
                note=note,
            )
            return _Gpu(device, handle, self._minor(handle), measure)
        return None

    def _is_of_module(self, handle: Any) -> bool:
        """Whether the driver tells the power of a module of CPU and GPU, not that of the GPU on it (Grace-Hopper)."""
        nvml = self._nvml
        try:
            fields = [(_POWER_INSTANT, _OF_GPU), (_POWER_INSTANT, _OF_MODULE)]
            of_gpu, of_module = nvml.nvmlDeviceGetFieldValues(handle, fields)
        except nvml.NVMLError:
            return False
        return bool(of_gpu.nvmlReturn) and not of_module.nvmlReturn

    def _minor(self, handle: Any) -> int | None:
        """Give the number in the name of the GPU's device file, by which schedulers know it."""
        try:
            return int(self._nvml.nvmlDeviceGetMinorNumber(handle))
        except self._nvml.NVMLError:
            return None

    def _share_out(self, allocated: Allocation, findings: list[Finding], *, all_there: bool) -> list[Finding]:
        """Mark each GPU as the job's or another's; where all of the job's are there, those shut to us are no fault."""
        minors = [gpu.minor for gpu in self._gpus]
        if not all_there:  # how many can be read is not known before the last one is awake
            allocated = allocated._replace(number=None)
        for gpu, of_job in zip(self._gpus, allocation.is_of_job(allocated, minors), strict=True):
            counted = of_job is not False or allocated.whole_node
            note = f"{gpu.note} {_whose(allocated.of, of_job)}".strip()
            gpu.device = gpu.device._replace(of_job=of_job, counted=counted, note=note)
        if not all_there:
            return findings
        unread = allocation.unread(allocated, minors)
        if unread:
            return [*findings, _unread(allocated.of, unread)]
        if minors and allocated.indices is None and allocated.number is None:
            return findings
        return [
            finding._replace(status="absent", sentence=f"{finding.subject} is shut to this job.", remedy="")
            if finding.status == "forbidden"
            else finding
            for finding in findings
        ]

    def _all_cards(self, addresses: dict[str, bool] | None) -> list[Card]:
        """Give all GPUs that may be opened, in the order of the bus; `addresses` where some of them are asleep."""
        from greenrun.sampler.sources.nvmljobs import slices
        from greenrun.sampler.visible import Card

        nvml = self._nvml
        get = nvml.nvmlDeviceGetHandleByIndex if addresses is None else nvml.nvmlDeviceGetHandleByPciBusId
        found: list[tuple[str, Card]] = []
        for key in self._keys(addresses):
            if addresses is not None and addresses[str(key)]:
                found.append((_bus_place(str(key)), Card("", "")))
                continue
            try:
                handle = get(key)
                place = _bus_place(_text(nvml.nvmlDeviceGetPciInfo(handle).busId))
                uuid, name = _text(nvml.nvmlDeviceGetUUID(handle)), _text(nvml.nvmlDeviceGetName(handle))
            except nvml.NVMLError:
                continue  # told where it was to be opened
            found.append((place, Card(uuid, name, slices(nvml, handle))))
        return [card for _, card in sorted(found, key=lambda pair: pair[0])]

    def _keys(self, addresses: dict[str, bool] | None) -> Sequence[int | str]:
        if addresses is not None:
            return sorted(addresses)
        try:
            return range(self._nvml.nvmlDeviceGetCount())
        except self._nvml.NVMLError:
            return ()

    def _choose(self, machine: Machine, variables: Mapping[str, str], cards: list[Card]) -> None:
        """Mark the GPUs that the job's variables give to it, and look at those of which they do not tell enough."""
        from greenrun.sampler import visible
        from greenrun.sampler.sources.nvmljobs import Watch, Watched

        choices = visible.choose(variables, cards, in_order=self._in_order)
        chosen = dict(zip((card.uuid for card in cards), choices, strict=True)) if choices else {}
        if _contradict([gpu.device for gpu in self._gpus], chosen):
            chosen = {}
        slices = {card.uuid: card.slices for card in cards}
        for gpu in self._gpus:
            uuid = _uuid(gpu.device)
            by_scheduler = gpu.device.of_job
            if uuid in chosen:
                gpu.device = _chosen(gpu.device, chosen[uuid], gpu.note)
            # What a scheduler gave is the job's alone, and so is a part of a GPU.
            if gpu.device.job_part is None and by_scheduler is None and gpu.device.of_job is not False:
                given = bool(gpu.device.of_job)
                gpu.watched = Watched(gpu.device, gpu.note, gpu.handle, slices.get(uuid), given=given)
        watched = [gpu.watched for gpu in self._gpus]
        if any(watched):
            self._watch = Watch(self._nvml, machine, watched)

    def _energy(self, handle: Any) -> Counter:
        before = time.monotonic()
        millijoules = int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        return Counter(_middle(before), millijoules * 1000)

    def _instant_power(self, handle: Any) -> Power:
        before = time.monotonic()
        value = self._nvml.nvmlDeviceGetFieldValues(handle, [_POWER_INSTANT])[0]
        if value.nvmlReturn:
            raise self._nvml.NVMLError(value.nvmlReturn)
        return Power(_middle(before), value.value.uiVal / 1000)

    def _power(self, handle: Any) -> Power:
        before = time.monotonic()
        milliwatts = self._nvml.nvmlDeviceGetPowerUsage(handle)
        return Power(_middle(before), milliwatts / 1000)

    def _read(self, gpu: _Gpu) -> Reading | None:
        nvml = self._nvml
        try:
            return gpu.measure(gpu.handle)
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
                gpu.lost = True
                if gpu.watched is not None:
                    gpu.watched.lost = True
                self._warnings.append((gpu.device.id, f"{gpu.device.name} was lost: it no longer answers the driver."))
            elif not gpu.warned:
                gpu.warned = True
                self._warnings.append((gpu.device.id, f"{gpu.device.name} could not be read for a time ({error})."))
            return None

    def _utilisation_of(self, gpu: _Gpu) -> float | None:
        if gpu.lost:
            return None
        try:
            percent: int = self._nvml.nvmlDeviceGetUtilizationRates(gpu.handle).gpu
        except self._nvml.NVMLError:
            return None  # the energy's own reading warns of what is wrong with the GPU
        return percent / 100


def _uuid(device: Device) -> str:
    return device.id.partition(":")[2]


def _contradict(devices: Sequence[Device], chosen: Mapping[str, Choice]) -> bool:
    """Tell whether the variables choose other GPUs than the scheduler gave: then they count otherwise than we do."""
    given = [chosen[_uuid(device)].part for device in devices if device.of_job and _uuid(device) in chosen]
    return bool(given) and not any(part != 0.0 for part in given) and any(one.part != 0.0 for one in chosen.values())


def _chosen(device: Device, choice: Choice, note: str) -> Device:
    """Give the device as the job's variables choose it, of what its scheduler gave."""
    if device.of_job is False or (device.of_job and choice.part is None):
        return device
    whole = choice.part in {0.0, 1.0}
    return device._replace(
        of_job=bool(choice.part) if whole else None,
        job_part=None if whole else choice.part,
        note=f"{note} {choice.note}".strip(),
    )


def _bus_place(address: str) -> str:
    """Give a PCI address as text that sorts as the bus does: the driver writes longer ones than the kernel."""
    return address.lower().rjust(16, "0")


def _whose(of: str, of_job: bool | None) -> str:
    if of_job is None:
        return "SLURM does not tell whether this GPU is the job's."
    return "" if of_job else f"SLURM has not given this GPU to the {of}."


def _unread(of: str, number: int) -> Finding:
    gpus = "a GPU that cannot be read from here; its" if number == 1 else f"{number} GPUs that cannot be read; their"
    sentence = f"SLURM has given the {of} {gpus} energy is not known."
    remedy = "Let each task see all GPUs of its node: srun --gpu-bind=none."
    return Finding("nvml", "GPUs of the job", "forbidden", sentence, remedy)


def _cards(sysfs: str) -> Iterator[tuple[str, bool]]:
    """List NVIDIA's GPUs on the PCI bus, and whether each is asleep, without touching them."""
    root = f"{sysfs}/bus/pci/devices"
    try:
        addresses = sorted(os.listdir(root))
    except OSError:
        return
    for address in addresses:
        if _file(f"{root}/{address}/vendor") == _NVIDIA and _file(f"{root}/{address}/class").startswith(_DISPLAY_CLASS):
            yield address, _file(f"{root}/{address}/power/runtime_status") == "suspended"


def _file(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _text(value: str | bytes) -> str:
    """Older modules give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _middle(before: float) -> float:
    """Give the middle of a call that began at `before`: in the driver's queue it may take milliseconds."""
    return (before + time.monotonic()) / 2


def _asleep(address: str) -> Finding:
    sentence = f"GPU {address} is asleep and is not woken to be measured; it joins when its own work wakes it."
    return Finding("nvml", f"GPU {address}", "absent", sentence)


def _no_library(error: OSError, present: bool) -> Finding:
    if not present:
        return Finding("nvml", "NVML", "absent", "There is no NVIDIA GPU and no NVIDIA driver here.")
    return Finding(
        "nvml",
        "NVML",
        "broken",
        f"There is an NVIDIA GPU on the PCI bus, but the driver's library NVML cannot be loaded ({error}).",
        "Install the NVIDIA driver, or in a container ask for it: --gpus all, NVIDIA_DRIVER_CAPABILITIES=utility.",
    )


def _refused(nvml: Any, error: Any, subject: str, present: bool) -> Finding:
    """Tell what an NVML error means to a user."""
    status: Status = "broken"
    remedy = ""
    if error.value == nvml.NVML_ERROR_NO_PERMISSION:
        status = "forbidden"
        remedy = "Ask for read and write access to /dev/nvidiactl and the GPU's /dev/nvidiaN."
    elif error.value == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        # A library without its driver is no fault where there is nothing to drive, as in a CUDA container image.
        status = "broken" if present else "absent"
        remedy = "Load the driver: modprobe nvidia." if present else ""
    elif error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        remedy = "Reboot, or reload the kernel module: library and driver are of different versions."
    elif error.value == nvml.NVML_ERROR_GPU_IS_LOST:
        remedy = "Reset the GPU or reboot: it has fallen off the bus."
    return Finding("nvml", subject, status, f"NVML refuses {subject}: {error}.", remedy)
