"""Which GPUs a job may see, as CUDA and the container runtime read their variables: pure.

CUDA_VISIBLE_DEVICES holds numbers, UUIDs or their beginnings, or parts of GPUs (MIG). By CUDA's rules (CUDA C++
Programming Guide, "CUDA Environment Variables") an entry that is not valid ends the list, what stands behind it is not
visible, and an empty list shows nothing; what is named twice makes the whole list invalid. A number counts the GPUs
that may be opened, fastest first by a rule that is not published, or by the bus with CUDA_DEVICE_ORDER=PCI_BUS_ID. Of
GPUs of one model none is faster: there the order of the bus is assumed, and said. Among different models a number
without that variable may mean any of them, and nothing is guessed.

NVIDIA_VISIBLE_DEVICES asks the container runtime for GPUs by the host's numbers, and a container sees no others. "all",
"none" and "void" tell nothing: what is seen all the same came another way (a privileged container, a device plugin).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
"""The variables of the job's environment that are read here."""

_CUDA, _ORDER, _CONTAINER = VARIABLES
_NUMBER = re.compile(r"[+-]?\d{1,9}", re.ASCII)  # CUDA passes over what follows the digits
_PLACE = re.compile(r"\d{1,4}:\d{1,4}", re.ASCII)  # a GPU and a part of it, by the container runtime's numbers
_NO_LIST = frozenset({"", "all", "none", "void"})


class Slice(NamedTuple):
    """A part of a GPU in MIG mode: its UUID, its two numbers, and how much of the GPU it is, 0..1."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    part: float


class Card(NamedTuple):
    """A GPU that may be opened. `uuid` is "" while it is asleep; `slices` are its parts in MIG mode, else None."""

    uuid: str
    name: str
    slices: tuple[Slice, ...] | None = None


class Choice(NamedTuple):
    """How much of a GPU the job may see: 1.0 all of it, 0.0 nothing, in between parts; None: it cannot be told.

    `note` is the sentence that tells a user why, "" where there is nothing to say.
    """

    part: float | None
    note: str = ""


def choose(variables: Mapping[str, str], cards: Sequence[Card], *, in_order: bool = True) -> list[Choice] | None:
    """Give a choice for each card; None where the variables tell nothing.

    The cards are all that the job may open, in the order of the bus; `in_order` is False where that is not certain.
    """
    if _CUDA in variables:
        entries = [entry.strip() for entry in variables[_CUDA].split(",")]
        if entries[0].startswith("MIG-"):
            return _by_slices(_CUDA, entries, cards)
        if entries[0].startswith("GPU-"):
            return _by_uuids(_CUDA, entries, cards)
        return _by_cudas_numbers(_valid_numbers(entries, len(cards)), variables.get(_ORDER, ""), cards, in_order)
    text = variables.get(_CONTAINER, "").strip()
    if text.lower() in _NO_LIST:
        return None
    return _by_container([entry.strip() for entry in text.split(",")], cards, in_order)


# --- CUDA's list


def _by_cudas_numbers(chosen: Sequence[int], order: str, cards: Sequence[Card], in_order: bool) -> list[Choice]:
    if not chosen:
        return [_hidden(_CUDA)] * len(cards)
    if any(card.slices is not None for card in cards):
        return [Choice(None, f"{_CUDA} has numbers, and in MIG mode it cannot be told which GPU they mean.")] * len(
            cards
        )
    if len(chosen) == len(cards):
        return [Choice(1.0)] * len(cards)
    if not in_order:
        return [Choice(None, f"{_CUDA} has numbers, and not all GPUs could be opened to count them.")] * len(cards)
    if order.strip() == "PCI_BUS_ID":
        return [Choice(1.0) if at in chosen else _hidden(_CUDA) for at in range(len(cards))]
    if len({card.name for card in cards}) > 1 or not all(card.uuid for card in cards):
        why = f"{_CUDA} has numbers, and without {_ORDER}=PCI_BUS_ID it cannot be told which GPU of these they mean."
        return [Choice(None, why)] * len(cards)
    assumed = f"{_CUDA} has numbers, taken for places on the bus, for these GPUs are of one model."
    hidden = _hidden(_CUDA)
    return [
        Choice(1.0, assumed) if at in chosen else hidden._replace(note=f"{hidden.note} {assumed}")
        for at in range(len(cards))
    ]


def _valid_numbers(entries: Sequence[str], count: int) -> list[int]:
    """Give the numbers up to the first that is none of a GPU's; none at all where one stands there twice."""
    numbers = []
    for entry in entries:
        found = _NUMBER.match(entry)
        number = int(found[0]) if found else -1
        if not 0 <= number < count:
            break
        numbers.append(number)
    return numbers if len(set(numbers)) == len(numbers) else []


def _by_uuids(variable: str, entries: Sequence[str], cards: Sequence[Card]) -> list[Choice]:
    chosen: list[int] = []
    may_be_asleep = False
    for entry in entries:
        found = [at for at, card in enumerate(cards) if card.uuid.startswith(entry)]
        if entry.startswith("GPU-") and not found and not all(card.uuid for card in cards):
            may_be_asleep = True  # nobody knows the UUIDs of those
            continue
        if not entry.startswith("GPU-") or len(found) != 1:
            break
        chosen += found
    if len(set(chosen)) < len(chosen):
        chosen, may_be_asleep = [], False
    out = []
    for at, card in enumerate(cards):
        if at in chosen:
            in_mig_mode = f"{variable} names this GPU, which is in MIG mode: which part of it is the job's is not told."
            out.append(Choice(1.0) if card.slices is None else Choice(None, in_mig_mode))
        elif may_be_asleep and not card.uuid:
            out.append(Choice(None, f"{variable} names GPUs that are not awake, and this may be one of them."))
        else:
            out.append(_hidden(variable))
    return out


def _by_slices(variable: str, entries: Sequence[str], cards: Sequence[Card]) -> list[Choice]:
    """Sum the parts of each GPU that are named, by MIG-UUID or, as older drivers name them, MIG-GPU-UUID/N/N."""
    chosen: list[tuple[int, Slice]] = []
    untold: set[int] = set()
    for entry in entries:
        found = [
            (at, part)
            for at, card in enumerate(cards)
            for part in card.slices or ()
            if part.uuid.startswith(entry) or entry == f"MIG-{card.uuid}/{part.gpu_instance}/{part.compute_instance}"
        ]
        if entry.startswith("MIG-") and not found:
            # The driver may name a GPU's parts to its administrator alone.
            silent = {at for at, card in enumerate(cards) if card.slices == () and _may_be_of(entry, card)}
            if silent:
                untold |= silent
                continue
        if not entry.startswith("MIG-") or len(found) != 1:
            break
        chosen += found
    if len(set(chosen)) < len(chosen):
        chosen, untold = [], set()
    parts = [min(1.0, sum(part.part for at, part in chosen if at == number)) for number in range(len(cards))]
    out = []
    for at, part in enumerate(parts):
        if at in untold:
            why = f"{variable} names parts of GPUs (MIG), and the driver does not tell how large those of this GPU are."
            out.append(Choice(None, why))
        elif part == 0.0:
            out.append(_hidden(variable))
        else:
            out.append(Choice(part, slice_note(part)))
    return out


def _may_be_of(entry: str, card: Card) -> bool:
    return not entry.startswith("MIG-GPU-") or entry.startswith(f"MIG-{card.uuid}/")


# --- the container runtime's list


def _by_container(entries: Sequence[str], cards: Sequence[Card], in_order: bool) -> list[Choice] | None:
    if entries[0].startswith("MIG-"):
        return _by_slices(_CONTAINER, entries, cards)
    if entries[0].startswith("GPU-"):
        return _by_uuids(_CONTAINER, entries, cards)
    if all(_PLACE.fullmatch(entry) for entry in entries):
        # In the container only what was asked for is there, under other numbers.
        slices = [part for card in cards for part in card.slices or ()]
        if len(slices) == len(set(entries)):
            return _by_slices(_CONTAINER, [part.uuid for part in slices], cards)
        why = f"{_CONTAINER} has parts of GPUs by number, and it cannot be told here which they are."
        return [Choice(None, why)] * len(cards)
    if not all(entry.isascii() and entry.isdigit() for entry in entries):
        return None  # another way of asking, by a file or a name of the site's
    asked = set(entries)
    if len(asked) >= len(cards):  # no others are here
        return [Choice(1.0)] * len(cards)
    chosen = _valid_numbers(entries, len(cards))
    if not in_order or len(chosen) < len(asked):
        why = f"{_CONTAINER} has numbers, and it cannot be told here which GPUs they mean."
        return [Choice(None, why)] * len(cards)
    return [Choice(1.0) if at in chosen else _hidden(_CONTAINER) for at in range(len(cards))]


# --- words


def slice_note(part: float) -> str:
    """Say that only a part of a GPU is the job's."""
    if part == 1.0:
        return ""
    return f"The job has {100.0 * part:.0f} % of this GPU (MIG); its part of the GPU's energy is estimated by that."


def _hidden(variable: str) -> Choice:
    return Choice(0.0, f"{variable} hides this GPU from the job.")
