"""What CPU this is, and what the tables know of its power.

The look-ups search the table's bytes for one exact line: no parsing, no fuzzy match, well under a millisecond, because
they run before the job starts. A CPU that is not in a table is None here; what to assume instead, and to say so, is
the estimate's affair. The tables' sources and licences stand in `data/README.md`.
"""

from __future__ import annotations

import os
from typing import NamedTuple

_DATA = os.path.join(os.path.dirname(__file__), "data")

# Words of a brand string that do not tell one model from another.
_FILLERS = frozenset({"cpu", "processor", "apu", "soc", "gen"})
# What follows these words describes the graphics inside, not the CPU.
_TAILS = (" @", " with ", " w/")

# Server cores by CPUID family and model, as vendors publish them and the kernel lists them
# (arch/x86/include/asm/intel-family.h; AMD's processor programming references). Hypervisors mask brand strings
# ("AMD EPYC", "Intel Xeon Processor @ 2.70GHz"), but seldom these numbers.
_INTEL_MODELS = {
    45: "Sandy Bridge",
    62: "Ivy Bridge",
    63: "Haswell",
    79: "Broadwell",
    86: "Broadwell",
    106: "Ice Lake",
    108: "Ice Lake",
    142: "Coffee Lake",
    143: "Sapphire Rapids",
    158: "Coffee Lake",
    173: "Granite Rapids",
    174: "Granite Rapids",
    207: "Emerald Rapids",
}
_INTEL_SKYLAKE_SERVER = 85  # Skylake, Cascade Lake and Cooper Lake share it; the stepping tells them apart
_ARM_PARTS = {0xD0C: "Graviton2", 0xD40: "Graviton3", 0xD4F: "Graviton4"}  # Neoverse N1, V1, V2


class ThreadWatts(NamedTuple):
    """Watts per hardware thread of a server core, idle and at full load.

    `stands_in` says whose figures these are where the core's own are not known, "" where they are its own.
    """

    idle: float
    full: float
    stands_in: str


class Processor(NamedTuple):
    """The CPU as /proc/cpuinfo tells it: `family`, `model` and `stepping` are None where it does not.

    `threads` counts the logical CPUs that are online, 0 where cpuinfo cannot be read; `sockets` the physical packages,
    1 where they are not told apart. `virtual` is True where the CPU flags name a hypervisor.
    """

    vendor: str
    brand: str
    family: int | None
    model: int | None
    stepping: int | None
    sockets: int
    threads: int
    virtual: bool


def read_processor(procfs: str) -> Processor:
    """Read cpuinfo under `procfs`; never raises."""
    try:
        with open(f"{procfs}/cpuinfo", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        text = ""
    first: dict[str, str] = {}
    sockets = set()
    threads = 0
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            continue
        key, value = key.strip(), value.strip()
        first.setdefault(key, value)
        if key == "processor":
            threads += 1
        elif key == "physical id":
            sockets.add(value)
    return Processor(
        # Arm's cpuinfo has neither vendor nor brand, only the numbers of the core's designer and design.
        vendor=first.get("vendor_id", first.get("CPU implementer", "")),
        brand=first.get("model name", ""),
        family=_integer(first.get("cpu family")),
        model=_integer(first.get("model", first.get("CPU part"))),
        stepping=_integer(first.get("stepping")),
        sockets=max(1, len(sockets)),
        threads=threads,
        virtual="hypervisor" in first.get("flags", "").split(),
    )


def architecture(processor: Processor) -> str | None:
    """Name the server core by the numbers of its CPU, None where they are not known."""
    family, model = processor.family, processor.model
    if model is None:
        return None
    if processor.vendor == "GenuineIntel" and family == 6:
        if model == _INTEL_SKYLAKE_SERVER:
            return "Skylake" if (processor.stepping or 0) < 5 else "Cascade Lake"
        return _INTEL_MODELS.get(model)
    if processor.vendor == "AuthenticAMD" and family is not None:
        return _amd_generation(family, model)
    if processor.vendor == "0x41":
        return _ARM_PARTS.get(model)
    return None


def _amd_generation(family: int, model: int) -> str | None:
    if family == 0x17:
        if model == 0x31:
            return "EPYC 2nd Gen"
        return "EPYC 1st Gen" if model == 0x01 else None
    if family == 0x19:
        if model < 0x10:
            return "EPYC 3rd Gen"
        return "EPYC 4th Gen" if model < 0x20 or 0xA0 <= model < 0xB0 else None
    return "EPYC 5th Gen" if family == 0x1A and model < 0x20 else None


def brand_key(brand: str) -> str:
    """Reduce a brand string to the words that name the model, in lower case.

    "12th Gen Intel(R) Core(TM) i7-1260P" and "Intel Core i7-1260P" both become "intel core i7-1260p". Two names with
    one key are one model; two models never share one (the table leaves out keys that its source uses twice).
    """
    text = f" {brand.lower()} ".replace("(r)", " ").replace("(tm)", " ")
    for tail in _TAILS:
        text = text.partition(tail)[0]
    words = [word for word in text.split() if not _says_nothing(word)]
    key = " ".join(words).replace(" -", "-")  # "FX(tm)-8350"
    for digit in "3579":  # the first Core i CPUs write "Core(TM) i7 CPU 920"
        key = key.replace(f"core i{digit} ", f"core i{digit}-")
    return key


def _says_nothing(word: str) -> bool:
    ordinal = word[:-2].isdigit() and word[-2:] in {"st", "nd", "rd", "th"}  # of "12th Gen"
    return word in _FILLERS or word.endswith(("-core", "-cores", "ghz")) or ordinal


def thermal_design_power_watts(brand: str) -> float | None:
    """Look up the thermal design power of one package in watts, None for a CPU that the table does not hold."""
    row = _row("cpu_tdp_watts.tsv", brand_key(brand))
    return float(row[0]) if row else None


def thread_watts(core: str | None) -> ThreadWatts:
    """Look up the watts per thread of a server core that `architecture` names; None has a row of its own."""
    row = _row("thread_watts.tsv", core or "unknown")
    if row is None:
        raise LookupError(f"the table of watts per thread has no row for {core or 'unknown'}")
    return ThreadWatts(float(row[0]), float(row[1]), row[2])


def _row(table: str, key: str) -> list[str] | None:
    """Give the cells after `key` in the one line that begins with exactly it."""
    with open(os.path.join(_DATA, table), "rb") as file:
        data = file.read()
    start = data.find(f"\n{key}\t".encode())
    if not key or start < 0:
        return None
    end = data.find(b"\n", start + 1)
    return data[start + 1 : end].decode().split("\t")[1:]


def _integer(text: str | None) -> int | None:
    try:
        return int(text or "", 0)
    except ValueError:
        return None
