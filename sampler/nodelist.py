"""SLURM's short forms for many nodes: "gpu[01-03,7],login" for their names, "4(x3),2" for a number on each of them.

What a variable holds is anybody's: a form that is not SLURM's is None, and a list is never made longer than it may be.
"""

from __future__ import annotations

import re
from itertools import islice, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_NODES = 65_533  # slurm.conf(5), MaxNodeCount: a cluster has no more
_MOST_BRACKETS = 4  # dimensions in the names of one item; SLURM itself writes one or two
_ITEM = re.compile(r"(?:[^][,\s]|\[[0-9,-]+\])+")
_PART = re.compile(r"([^][]*)(?:\[([0-9,-]+)\])?")
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_COUNT = re.compile(r"(\d{1,9})(?:\(x(\d{1,9})\))?", re.ASCII)


def nodes(text: str) -> tuple[str, ...] | None:
    """Give the names of a node list in their order; None where it is no such list, or one too long."""
    out: list[str] = []
    position = 0
    while position < len(text):
        item = _ITEM.match(text, position)
        if item is None:
            return None
        names = _names(item.group())
        if names is None:
            return None
        out += islice(names, MOST_NODES + 1 - len(out))
        if len(out) > MOST_NODES:
            return None
        position = item.end() + 1
        if item.end() < len(text) and text[item.end()] != ",":
            return None
    return tuple(out) or None


def on_node(counts: str, node_list: str, node: str) -> int | None:
    """Give the number for one node out of counts that stand in the order of a node list; None where that is not told.

    A single number, however often it is repeated, is every node's.
    """
    runs = [_COUNT.fullmatch(part) for part in counts.split(",")]
    read = [(int(run[1]), int(run[2] or 1)) for run in runs if run]
    if len(read) < len(runs):
        return None
    if len({value for value, _ in read}) == 1:
        return read[0][0]
    names = nodes(node_list)
    if names is None or node not in names:
        return None
    index = names.index(node)
    for value, times in read:
        if index < times:
            return value
        index -= times
    return None


def _names(item: str) -> Iterator[str] | None:
    """Give the names that one item stands for, the last bracket turning fastest."""
    choices: list[list[str] | tuple[str]] = []
    brackets = 0
    for part in _PART.finditer(item):
        choices.append((part[1],))
        if part[2] is None:
            continue
        numbers = _numbers(part[2])
        brackets += 1
        if numbers is None or brackets > _MOST_BRACKETS:
            return None
        choices.append(numbers)
    return ("".join(chosen) for chosen in product(*choices))


def _numbers(text: str) -> list[str] | None:
    """Write out "01-03,7": the width of a range's first number is that of all of them."""
    out: list[str] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part)
        if found is None:
            return None
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or len(out) + last - first >= MOST_NODES:
            return None
        out += (f"{number:0{len(found[1])}d}" for number in range(first, last + 1))
    return out
