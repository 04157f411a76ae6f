"""What sources yield and the meter understands.

Everything here is a value: no clock, no files. Times are CLOCK_MONOTONIC seconds as `time.monotonic()` gives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.sampler.allocation import Allocation

Kind = Literal["cpu", "dram", "gpu", "other"]
Method = Literal["counter", "power", "estimate"]
Status = Literal["ok", "absent", "forbidden", "broken"]


class Machine(NamedTuple):
    """Where a source looks for the hardware: the roots of the kernel's trees, which tests and sites may move.

    `allocation` tells which devices a scheduler gave to the job that is measured, None outside of one. `agent` is the
    socket of a site's agent, which tells what this user may not read; "" for none.
    """

    sysfs: str = "/sys"
    procfs: str = "/proc"
    allocation: Allocation | None = None
    agent: str = ""


class Device(NamedTuple):
    """One thing whose energy is told on a line of its own.

    `uncertainty_percent` is the half-width of a 95 % interval. `counted` is False for a device that contains others
    and stands beside the total (psys). `trusted` is False for a counter that a hypervisor models.
    `span_microjoules` is the largest value that a counter shows before it starts again at 0, None if it never does.
    `max_watts` is the power above which a reading is taken for nonsense. `resolution_joules` is what the figure of any
    stretch, however short, may be off by because the reading moves in steps; it is beside the per cent.
    `resolution_seconds`: the same for a reading that is up to so old: the energy of so much time. `of_job` tells
    whether a scheduler gave the device to the job alone, None where that is not known.
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

    def warnings(self) -> Sequence[tuple[str | None, str]]:
        """Hand over the warnings since the last call: (device id or None, sentence)."""
        out, self._warnings = self._warnings, []
        return out

    def close(self) -> None:
        """Let go of the hardware."""
