"""What a named accelerator or CPU may draw: look-ups in tables, for a job that has never run.

People write names in many ways ("A100", "NVIDIA A100-SXM4-80GB", "rtx4090"). A name is a set of words; it means every
row that has them all, so a short one may mean several models, and all of them are given. A row whose name is exactly
those words is meant alone: an "RTX 3080" is no "RTX 3080 Ti". The tables' sources and licences: `data/README.md`.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from greenrun.sampler import hardware

if TYPE_CHECKING:
    from collections.abc import Callable

_DATA = os.path.join(os.path.dirname(__file__), "data", "accelerators.csv")
_COLUMNS = 6

# Words that do not tell one model from another. Not "quadro": a Quadro RTX 6000 is another card than an RTX 6000 Ada.
_FILLERS = frozenset(
    {"nvidia", "amd", "intel", "google", "geforce", "radeon", "tesla", "instinct"}
    | {"gpu", "data", "center", "accelerator", "graphics", "card", "generation"}
)
_GIGABYTES = re.compile(r"(\d+) ?gi?b\b")
_SERIES = re.compile(r"\b(rtx|gtx|rx|tpu|titan|gaudi)(?=[\dav])")  # RTX4090, TPUv3
_SUFFIX = re.compile(r"(?<=\d)(?=(?:ti|super|xtx?)\b)")  # 1080Ti
_SOCKET = re.compile(r"\bsxm\d\b")
_COUNT_FIRST = re.compile(r"([1-9]\d{0,5})(?: ?[x*] ?| )(.+)", re.IGNORECASE)
_COUNT_LAST = re.compile(r"(.+?) ?[x*:] ?([1-9]\d{0,5})", re.IGNORECASE)
_MOST_NEAREST = 4
_MOST_MODELS = 6  # what fits more of them is no name: nothing at all, a vendor alone, a series


class Part(NamedTuple):
    """A model and its power in watts; `figure` says what the number is (TDP, power limit, measured maximum)."""

    name: str
    watts: float
    figure: str
    licence: str
    source: str


class Parts(NamedTuple):
    """So many of one of these models: of several where the name does not tell which."""

    number: int
    models: tuple[Part, ...]


class Unknown(NamedTuple):
    """A name that no row has, and the names nearest to it."""

    name: str
    nearest: tuple[str, ...]


class _Row(NamedTuple):
    part: Part
    name: frozenset[str]
    words: frozenset[str]  # of the name, and others by which it may be called


def accelerators(text: str) -> Parts | Unknown:
    """Read "A100", "A100 x4", "4xA100" or "A100:4": the models that are meant, and how many of one."""
    return _read(text, _find_accelerator)


def processors(text: str) -> Parts | Unknown:
    """Read the name of a CPU, and how many packages, as for `accelerators`; nothing is said to be near."""
    found = _read(text, _find_processor)
    return found._replace(nearest=()) if isinstance(found, Unknown) else found


@lru_cache(maxsize=1)
def _rows() -> tuple[_Row, ...]:
    rows: list[_Row] = []
    with open(_DATA, encoding="utf-8") as file:
        next(file)
        for line in file:  # only the last cell holds commas, and quotes if so
            name, watts, figure, also, licence, source = line.rstrip("\n").split(",", _COLUMNS - 1)
            words = _words(name)
            part = Part(name, float(watts), figure, licence, source.strip('"'))
            rows.append(_Row(part, words, words | _words(also)))
    return tuple(rows)


def _words(name: str) -> frozenset[str]:
    """Reduce a name to the words that tell the model: lower case, 80GB as one word, SXM4 as SXM."""
    text = _GIGABYTES.sub(r" \1gb ", name.lower().replace("(r)", " ").replace("(tm)", " "))
    text = _SUFFIX.sub(" ", _SOCKET.sub("sxm", _SERIES.sub(r"\1 ", text)))
    return frozenset(re.findall(r"[a-z0-9]+", text)) - _FILLERS


def _find_accelerator(name: str) -> tuple[Part, ...]:
    words = _words(name)
    exact = tuple(row.part for row in _rows() if row.name == words)
    return exact or tuple(row.part for row in _rows() if words <= row.words)


def _find_processor(name: str) -> tuple[Part, ...]:
    """Look a CPU up as the estimate does, which wants the whole brand: try what people leave out."""
    for brand in (name, f"AMD {name}", f"Intel {name}", f"Intel Xeon {name}", f"Intel Core {name}"):
        watts = hardware.thermal_design_power_watts(brand)
        if watts is not None:
            return (Part(name, watts, "TDP", "MIT", "the CPU power table of CodeCarbon"),)
    return ()


def _read(text: str, find: Callable[[str], tuple[Part, ...]]) -> Parts | Unknown:
    """Tell the count from the name by trying: "RTX 4090" is a name as a whole, "4090 x2" is one with a count."""
    asked = " ".join(text.replace("\N{MULTIPLICATION SIGN}", "x").split())
    first, last = _COUNT_FIRST.fullmatch(asked), _COUNT_LAST.fullmatch(asked)
    readings = [(asked, 1)]
    readings += [(first[2], int(first[1]))] if first else []
    readings += [(last[1], int(last[2]))] if last else []
    for name, count in readings:
        models = find(name)
        if models and len(models) <= _MOST_MODELS:
            return Parts(count, models)
    return Unknown(text, _nearest(readings[-1][0]))


def _nearest(name: str) -> tuple[str, ...]:
    from difflib import get_close_matches

    name = name.lower()
    bare = {" ".join(row.part.name.lower().split()[1:]): row.part.name for row in _rows()}  # vendors are all alike
    for filler in _FILLERS:
        name = name.removeprefix(f"{filler} ")
    return tuple(bare[one] for one in get_close_matches(name, list(bare), n=_MOST_NEAREST, cutoff=0.4))
