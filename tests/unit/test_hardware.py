"""What the CPU is, and what the tables know of it."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median

import pytest
from machine.procfs import EPYC_7763, XEON_8375C, cpuinfo

from greenrun.sampler import hardware
from greenrun.sampler.hardware import (
    architecture,
    brand_key,
    read_processor,
    thermal_design_power_watts,
    thread_watts,
)

DATA = Path(hardware.__file__).parent / "data"


def rows(table: str) -> list[list[str]]:
    """Give the cells of a table's lines but the first."""
    return [line.split("\t") for line in (DATA / table).read_text().splitlines()[1:]]


@pytest.mark.parametrize(
    ("brand", "watts"),
    [
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", 300),
        ("Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz", 145),
        ("INTEL(R) XEON(R) PLATINUM 8592+", 350),
        ("Intel(R) Core(TM) i7 CPU         920  @ 2.67GHz", 130),
        ("Intel(R) Core(TM)2 Duo CPU     E8400  @ 3.00GHz", 65),
        ("Intel(R) Core(TM) Ultra 7 155H", 28),
        ("12th Gen Intel(R) Core(TM) i7-12700H", 45),
        ("AMD EPYC 7763 64-Core Processor", 280),
        ("AMD Ryzen 9 5950X 16-Core Processor", 105),
        ("AMD Ryzen 9 7940HS w/ Radeon 780M Graphics", 54),
        ("AMD Ryzen Threadripper PRO 3995WX 64-Cores", 280),
        ("AMD FX(tm)-8350 Eight-Core Processor", 125),
        ("AMD Opteron(tm) Processor 6276", 115),
    ],
)
def test_brand_string_finds_its_row(brand: str, watts: float) -> None:
    """A brand string as the CPU tells it finds the design power of its model."""
    assert thermal_design_power_watts(brand) == watts


@pytest.mark.parametrize(
    "brand",
    [
        "",
        "AMD EPYC",
        "AMD EPYC 9R14",
        "Intel",
        "Intel(R) Xeon(R) Processor @ 2.70GHz",
        "Intel(R) Xeon(R) CPU @ 2.20GHz",
        "Intel(R) Xeon(R) Platinum 8375",
        "AMD Ryzen 9 5950",
        "Common KVM processor",
        "# CPU model by its key",
        "8375c",
    ],
)
def test_brand_without_a_row_finds_none(brand: str) -> None:
    """A masked, shortened or unknown brand finds nothing rather than a neighbour."""
    assert thermal_design_power_watts(brand) is None


def test_every_key_of_the_table_is_in_normal_form_and_unique() -> None:
    """What the table holds can be found: its keys are what `brand_key` makes of themselves, each once."""
    keys = [row[0] for row in rows("cpu_tdp_watts.tsv")]
    assert len(keys) > 4000
    assert [key for key in keys if brand_key(key) != key] == []
    assert len(set(keys)) == len(keys)


def test_every_design_power_is_one_of_a_cpu() -> None:
    """No row holds a power that no package has."""
    assert [row for row in rows("cpu_tdp_watts.tsv") if not 0 < float(row[1]) <= 500] == []


def test_every_core_has_watts_per_thread() -> None:
    """Each row of the table can be looked up, with more watts under load than idle."""
    for name, idle, full, stands_in in rows("thread_watts.tsv"):
        watts = thread_watts(None if name == "unknown" else name)
        assert (watts.idle, watts.full, watts.stands_in) == (float(idle), float(full), stands_in)
        assert 0 < watts.idle < watts.full < 10


def test_unknown_core_is_the_median_of_the_known() -> None:
    """The row for unknown cores is what its fourth cell says."""
    own = [row for row in rows("thread_watts.tsv") if not row[3]]
    unknown = thread_watts(None)
    assert unknown.idle == median(float(row[1]) for row in own)
    assert unknown.full == median(float(row[2]) for row in own)


@pytest.mark.parametrize(
    ("vendor", "family", "model", "stepping", "core"),
    [
        ("GenuineIntel", 6, 85, 4, "Skylake"),
        ("GenuineIntel", 6, 85, 7, "Cascade Lake"),
        ("GenuineIntel", 6, 106, 6, "Ice Lake"),
        ("GenuineIntel", 6, 143, 8, "Sapphire Rapids"),
        ("GenuineIntel", 15, 6, 1, None),
        ("AuthenticAMD", 23, 1, 2, "EPYC 1st Gen"),
        ("AuthenticAMD", 23, 49, 0, "EPYC 2nd Gen"),
        ("AuthenticAMD", 23, 113, 0, None),
        ("AuthenticAMD", 25, 1, 1, "EPYC 3rd Gen"),
        ("AuthenticAMD", 25, 17, 1, "EPYC 4th Gen"),
        ("AuthenticAMD", 25, 160, 1, "EPYC 4th Gen"),
        ("AuthenticAMD", 25, 33, 0, None),
        ("AuthenticAMD", 26, 2, 1, "EPYC 5th Gen"),
    ],
)
def test_masked_cpu_is_known_by_its_numbers(
    tmp_path: Path, vendor: str, family: int, model: int, stepping: int, core: str | None
) -> None:
    """Family, model and stepping name the core where the brand does not; a desktop's are no server's."""
    lines = f"processor: 0\nvendor_id: {vendor}\ncpu family: {family}\nmodel: {model}\nstepping: {stepping}\n"
    (tmp_path / "cpuinfo").write_text(lines)
    processor = read_processor(str(tmp_path))
    assert architecture(processor) == core
    assert core is None or thread_watts(core).idle > 0


def test_arm_core_is_known_by_its_part(tmp_path: Path) -> None:
    """An Arm cpuinfo has neither brand nor vendor, but the design's number."""
    (tmp_path / "cpuinfo").write_text("processor: 0\nFeatures: fp asimd\nCPU implementer: 0x41\nCPU part: 0xd40\n")
    assert architecture(read_processor(str(tmp_path))) == "Graviton3"


@pytest.mark.parametrize("hypervisor", [True, False])
def test_processor_tells_sockets_threads_and_hypervisor(tmp_path: Path, hypervisor: bool) -> None:
    """A two-socket server's cpuinfo is read as such, and a guest's as one."""
    (tmp_path / "cpuinfo").write_text(cpuinfo(EPYC_7763, hypervisor))
    processor = read_processor(str(tmp_path))
    assert (processor.vendor, processor.brand) == ("AuthenticAMD", EPYC_7763.brand)
    assert (processor.sockets, processor.threads, processor.virtual) == (2, EPYC_7763.threads, hypervisor)


def test_cpuinfo_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Without cpuinfo nothing is made up: no threads, no brand."""
    processor = read_processor(str(tmp_path))
    assert (processor.threads, processor.brand, processor.model) == (0, "", None)


def test_tables_ship_with_their_sources() -> None:
    """Each table is described in the data's README."""
    readme = (DATA / "README.md").read_text()
    tables = [name for name in os.listdir(DATA) if name.endswith(".tsv")]
    assert len(tables) == 2
    assert [name for name in tables if f"## {name}" not in readme] == []
    assert f"{len(rows('cpu_tdp_watts.tsv')):,} CPUs" in readme


def test_simulated_server_is_in_the_tables(tmp_path: Path) -> None:
    """The CPU that other tests use has a row in both tables."""
    (tmp_path / "cpuinfo").write_text(cpuinfo(XEON_8375C, False))
    processor = read_processor(str(tmp_path))
    assert thermal_design_power_watts(processor.brand) == 300
    assert architecture(processor) == "Ice Lake"
