"""What sources yield and the meter understands.

Everything here is a value: no clock, no files. Times are CLOCK_MONOTONIC seconds as `time.monotonic()` gives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greenrun.sampler.allocation import Allocation

Kind = Literal["cpu", "dram", "gpu", "other"]
Method = Literal["counter", "power", "estimate"]
Status = Literal["ok", "absent", "forbidden", "broken"]
CpuSource = Literal["auto", "rapl", "perf", "pyrapl"]


class Machine(NamedTuple):
    """Where a source looks for the hardware: the roots of the kernel's trees, which tests and sites may move.

    `allocation` tells which devices a scheduler gave to the job that is measured, None outside of one. `agent` is the
    socket of a site's agent, which tells what this user may not read; "" for none. `visible` has the variables of the
    job's environment that choose GPUs, as far as they are set (`greenrun.sampler.visible`); None where the command that
    is followed is not all of the job, so that neither its variables nor its processes tell which GPUs are the job's.
    `cpu_source` is how the CPU's counters are read: through powercap, else perf_event ("auto"), or only as it says.
    """

    sysfs: str = "/sys"
    procfs: str = "/proc"
    allocation: Allocation | None = None
    agent: str = ""
    visible: Mapping[str, str] | None = None
    cpu_source: CpuSource = "auto"


class Device(NamedTuple):
    """One thing whose energy is told on a line of its own.

    `uncertainty_percent` is the half-width of a 95 % interval. `counted` is False for a device that stands
    beside the total: by its source's word (psys, another job's GPU), or because others tell the same energy. `trusted`
    is False for a counter that a hypervisor models. `span_microjoules` is the largest value that a counter shows before
    it starts again at 0, None if it never does. `max_watts` is the power above which a reading is taken for nonsense.
    `resolution_joules` is what the figure of any stretch, however short, may be off by because the reading moves in
    steps; it is beside the per cent.
    `resolution_seconds`: the same for a reading that is up to so old: the energy of so much time. `of_job` tells
    whether all of the device is the job's (True) or nothing of it (False), None where that is not known, or where it
    shares it with others. `job_part` is the fixed part of the device that is the job's, between 0 and 1 (a slice of a
    GPU), None where there is no such part. `covers` names the parts of the machine whose energy is in the figure, where
    that is more than this source's own part of its kind (`greenrun.sampler.overlap`).
    """

    id: str
    kind: Kind
    name: str
    source: str
    method: Method
    uncertainty_percent: float
    max_watts: float
    span_microjoules: int | None = None
    resolution_joules: float = 0.0
    resolution_seconds: float = 0.0
    of_job: bool | None = None
    counted: bool = True
    trusted: bool = True
    note: str = ""
    job_part: float | None = None
    covers: tuple[str, ...] = ()


class Whose(NamedTuple):
    """What has become known while the job runs of whose a device is; `of_job`, `job_part` and `note` as in `Device`.

    `shared`: others use it too, and the job's part of that use is told from sample to sample, where it is known.
    """

    id: str
    of_job: bool | None
    job_part: float | None
    shared: bool
    note: str


class Counter(NamedTuple):
    """A cumulative energy reading: microjoules since an unknown moment, read at `t`."""

    t: float
    microjoules: int


class Power(NamedTuple):
    """A power in watts at the instant `t`."""

    t: float
    watts: float


Reading = Counter | Power


class Finding(NamedTuple):
    """What a source found out about one piece of hardware, in a sentence, and what the user can do about it.

    "absent" (no such hardware here), "forbidden" (it is there, but we may not read it) and "broken" (it should work
    and does not) are different things to a user; `remedy` is the sentence to act on, empty where there is nothing to
    do.
    """

    source: str
    subject: str
    status: Status
    sentence: str
    remedy: str = ""


class Opened(NamedTuple):
    """What opening a source gave: the devices it will read, in the order of its readings, and its findings.

    `later` is a source for devices that cannot be read now without harm (a GPU asleep): the loop tries to open it
    every ten seconds.
    """

    devices: tuple[Device, ...] = ()
    findings: tuple[Finding, ...] = ()
    later: Source | None = None


class Source(Protocol):
    """One kind of hardware. `open` never raises: what is absent, forbidden or broken is a finding.

    `read` gives one entry for each device, in the order of `Opened.devices`; None where this reading failed (the
    meter keeps the last good value). It never raises either; `warnings` hands over, once, the sentences that came up
    since it was last called (a GPU lost, a counter gone), each with the id of its device or None.
    """

    name: str
    slow: bool  # opened in a thread beside the loop; its devices join when it is up
    poll_seconds: float | None  # must be read this often to be right; None: at each sample

    def open(self, machine: Machine) -> Opened:
        """Find the hardware and get hold of it."""
        ...

    def read(self) -> Sequence[Reading | None]:
        """Read each device now."""
        ...

    def utilisation(self) -> Sequence[float | None]:
        """Give the utilisation of each device as a fraction 0..1; empty: this source has none."""
        ...

    def shares(self, job: int, seconds: float) -> Sequence[float | None]:
        """Give the job's part in the use of each device, 0..1, None where unknown; empty: this source has none.

        `job` is the job's first process, `seconds` the time since that was started.
        """
        ...

    def whose(self, *, over: bool = False) -> Sequence[Whose]:
        """Hand over what has changed since the last call of whose the devices are; `over`: the job is."""
        ...

    def warnings(self) -> Sequence[tuple[str | None, str]]:
        """Hand over the warnings since the last call: (device id or None, sentence)."""
        ...

    def close(self) -> None:
        """Let go of the hardware."""
        ...


class BaseSource:
    """What most sources share: fast, read at each sample, without utilisation, warnings collected."""

    def __init__(self, name: str = "", slow: bool = False) -> None:
        self.name = name
        self.slow = slow
        self.poll_seconds: float | None = None
        self._warnings: list[tuple[str | None, str]] = []

    def utilisation(self) -> Sequence[float | None]:
        """Give the utilisation of each device as a fraction 0..1, None where unknown; empty: this source has none."""
        return ()

    def shares(self, job: int, seconds: float) -> Sequence[float | None]:  # noqa: ARG002
        """Give the job's part in the use of each device, 0..1, None where unknown; empty: this source has none."""
        return ()

    def whose(self, *, over: bool = False) -> Sequence[Whose]:  # noqa: ARG002
        """Hand over what has changed since the last call of whose the devices are; `over`: the job is."""
        return ()

    def warnings(self) -> Sequence[tuple[str | None, str]]:
        """Hand over the warnings since the last call: (device id or None, sentence)."""
        out, self._warnings = self._warnings, []
        return out

    def close(self) -> None:
        """Let go of the hardware."""
