"""Which devices add up: of those that tell the same joules one counts, and the others stand beside the total.

Pure. A device names the parts of the machine whose energy is in its figure (`Device.covers`). Two devices overlap where
they have a part in common, and no two that overlap ever count.

A part is a path, and a path contains those below it: "cpu" is all packages, "cpu/0" the one that the kernel numbers 0,
"gpu/0000:c1:00.0" the one at that PCI address, "" the whole machine. A name that begins with "#" is the source's own:
within that source it is one part, but which of another source's parts it is nobody knows, so it may be any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from greenrun.sampler.meter import Meter
    from greenrun.sampler.model import Device, Kind

WHOLE = ""
"""The part that contains all others: the machine, with its fans, disks and power supply as far as the meter sees."""

RECONSIDER_SECONDS = 60.0
"""A device that joins later than this after the start does not take the place of one that counts: its own joules begin
so late that the other's would be missing before. Until then the account fills what is missing (reports/energy.py)."""

_METHODS = ("counter", "power", "estimate")  # the better one first


class _Covering(NamedTuple):
    """A device and its parts, each split at the slashes."""

    device: Device
    parts: tuple[tuple[str, ...], ...]

    @property
    def is_whole(self) -> bool:
        return () in self.parts

    @property
    def is_measured(self) -> bool:
        return self.device.method != "estimate"


def counting(devices: Sequence[Device], firm: Collection[str] = ()) -> frozenset[str]:
    """Give the ids of the devices that count; the rest overlap one of those, or were never to count.

    A source that says `counted=False` is believed. `firm` are ids that count already and are to stay, whatever has
    joined since; they must not overlap each other. Of the rest, in this order:

    - The whole machine, where nothing measured tells the CPU: then nothing within it is added, or estimated, beside it.
      Where the CPU is measured, the parts count and the whole stands beside.
    - What joins several parts, if one of them is told by nobody else: a Grace module while no GPU is. The larger first.
    - Single parts: a counter before a power, what is finer before what is coarser, and names that all share before a
      source's own.
    - Estimates, for what is left.
    """
    asked = [device for device in devices if device.counted]
    if _are_plain(asked):
        return frozenset(device.id for device in asked)
    candidates = [_Covering(device, _parts(device)) for device in asked]
    measured = [one for one in candidates if one.is_measured]
    ranked = sorted(candidates, key=lambda one: (one.device.id not in firm, *_rank(one, measured)))
    chosen: list[_Covering] = []
    for one in ranked:
        if not any(_overlap(one, other) for other in chosen):
            chosen.append(one)
    return frozenset(one.device.id for one in chosen)


def settled(devices: Iterable[Device]) -> list[Device]:
    """Give the devices with `counted` as `counting` has it."""
    known = list(devices)
    ids = counting(known)
    return [device._replace(counted=device.id in ids) for device in known]


def untold(kinds: Iterable[Kind], devices: Iterable[Device]) -> frozenset[Kind]:
    """Give those of the kinds that are in no counted device's figure."""
    told = [part for device in devices if device.counted for part in _parts(device)]
    return frozenset(kind for kind in kinds if not any(_same((kind,), part, by_one=False) for part in told))


def untold_apart(kinds: Iterable[Kind], devices: Iterable[Device]) -> frozenset[Kind]:
    """Give those of the kinds that no device tells, or only one of the whole machine."""
    return untold(kinds, [device for device in devices if () not in _parts(device)])


class Tally:
    """The joules of all devices while they counted: it never falls, and never holds a joule twice.

    What stops counting keeps what it has told until then; what begins to count adds only what it tells from then on.
    """

    def __init__(self) -> None:
        self._left_joules = 0.0
        self._before_joules: dict[str, float] = {}

    def move(self, meter: Meter, counted: bool) -> None:
        """Let a meter's device count from now on, or no longer."""
        joules = meter.joules or 0.0
        if meter.device.counted and not counted:
            self._left_joules += joules - self._before_joules.pop(meter.device.id, 0.0)
        elif counted and not meter.device.counted:
            self._before_joules[meter.device.id] = joules
        meter.device = meter.device._replace(counted=counted)

    def joules(self, meters: Iterable[Meter]) -> float:
        """Give the sum so far."""
        return self._left_joules + sum(
            (meter.joules or 0.0) - self._before_joules.get(meter.device.id, 0.0)
            for meter in meters
            if meter.device.counted
        )


def _are_plain(devices: Iterable[Device]) -> bool:
    """Tell whether nothing can overlap, as on most machines: none names parts, and each kind has one source.

    GPUs have names of their own. Seventy devices are passed in the time that two of them take below.
    """
    sources: dict[str, str] = {}
    return all(
        not device.covers
        and (device.kind in {"gpu", "other"} or sources.setdefault(device.kind, device.source) == device.source)
        for device in devices
    )


def _parts(device: Device) -> tuple[tuple[str, ...], ...]:
    """Give a device's parts; one that names none is a part of its kind that others cannot tell apart from theirs.

    GPUs have names of their own everywhere, so two of those are different ones; "other" overlaps nothing.
    """
    if device.covers:
        return tuple(tuple(path.split("/")) if path else () for path in device.covers)
    if device.kind == "other":
        return ()
    own = device.id if device.kind == "gpu" else f"#{device.id}"
    return ((device.kind, own),)


def _rank(one: _Covering, measured: Sequence[_Covering]) -> tuple[int, ...]:
    """Give what is to be sorted by: who comes first, counts."""
    if not one.is_measured:
        order = 5
    elif one.is_whole:
        order = 4 if _is_cpu_told(measured) else 0
    elif len(one.parts) > 1:
        order = 3 if _is_told_in_parts(one, measured) else 1
    else:
        order = 2
    own = any(name.startswith("#") for part in one.parts for name in part)
    depth = max(map(len, one.parts), default=0)
    return order, -len(one.parts), _METHODS.index(one.device.method), -depth, own


def _is_cpu_told(measured: Sequence[_Covering]) -> bool:
    return any(_same(("cpu",), part, by_one=False) for one in measured if not one.is_whole for part in one.parts)


def _is_told_in_parts(one: _Covering, measured: Sequence[_Covering]) -> bool:
    """Tell whether each part of a device is told by another one that lies within it."""
    within = [
        other
        for other in measured
        if len(other.parts) < len(one.parts) and all(_has(one, part, other) for part in other.parts)
    ]
    return all(any(_has(other, part, one) for other in within) for part in one.parts)


def _overlap(one: _Covering, other: _Covering) -> bool:
    return any(_has(other, part, one) for part in one.parts)


def _has(one: _Covering, part: tuple[str, ...], told_by: _Covering) -> bool:
    by_one = one.device.source == told_by.device.source
    return any(_same(own, part, by_one=by_one) for own in one.parts)


def _same(one: tuple[str, ...], other: tuple[str, ...], *, by_one: bool) -> bool:
    """Tell whether one part may contain the other, or be it; `by_one`: one source names both."""
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            return not by_one and (mine.startswith("#") or yours.startswith("#"))
    return True
