"""The table of accelerators, and what the names that people type mean in it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from greenrun.sampler import accelerators, hardware
from greenrun.sampler.accelerators import Parts, Unknown

TABLE = Path(accelerators.__file__).parent / "data" / "accelerators.csv"


def rows() -> list[dict[str, str]]:
    """Give the table's rows by an independent reader."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def meant(text: str) -> tuple[int, set[str], tuple[float, float]]:
    """Give how many of which models, without their vendors, and the range of their power."""
    found = accelerators.accelerators(text)
    assert isinstance(found, Parts), found
    watts = [model.watts for model in found.models]
    return found.number, {model.name.split(" ", 1)[1] for model in found.models}, (min(watts), max(watts))


def test_the_table_is_plausible() -> None:
    """Every row has its watts, what they are, a licence and a source; no model occurs twice."""
    table = rows()
    assert len(table) > 100
    assert list(table[0]) == ["name", "watts", "figure", "also", "licence", "source"]
    for row in table:
        assert None not in row, f"too many cells: {row}"
        assert 10.0 <= float(row["watts"]) <= 1500.0, row
        assert row["figure"] in {"TDP", "power limit", "measured maximum"}, row
        assert row["licence"] in {"MIT", "CC BY 4.0", "fact"}, row
        assert len(row["source"]) > 10, row
        credited = {"MIT": "mlco2/impact", "CC BY 4.0": ("Green Algorithms", "https://cloud.google.com")}
        assert row["licence"] == "fact" or row["source"].startswith(credited[row["licence"]]), row
        assert row["name"].split()[0] in {"NVIDIA", "AMD", "Intel", "Google"}, row
    names = [row["name"].lower() for row in table]
    assert len(set(names)) == len(names)


def test_every_row_is_found_by_its_own_name_and_alone() -> None:
    """No name of the table is as good as another's, with its vendor and without; nor is one read as a count."""
    for row in rows():
        for name in (row["name"], row["name"].split(" ", 1)[1], row["name"].upper(), f"3x {row['name']}"):
            found = accelerators.accelerators(name)
            assert isinstance(found, Parts), name
            assert (found.number, [model.name for model in found.models]) == (3 if name[0] == "3" else 1, [row["name"]])
            (model,) = found.models
            assert (model.watts, model.source) == (float(row["watts"]), row["source"])


def test_known_mistakes_of_the_lists_are_not_in_the_table() -> None:
    """A GTX 750 draws no 250 W, and of the V100s it is the one without NVLink that draws less."""
    assert meant("GTX 750")[2] == (55.0, 55.0)
    assert meant("V100 PCIe")[2] == (250.0, 250.0)
    assert meant("V100-SXM2-16GB")[2] == (300.0, 300.0)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("A100", 1),
        ("A100x4", 4),
        ("A100 x4", 4),
        ("A100 x 4", 4),
        ("A100*4", 4),
        ("a100:4", 4),
        ("gpu:a100:4", 4),
        ("4xA100", 4),
        ("4 x A100", 4),
        ("4 A100", 4),
        ("4XA100", 4),
        ("A100 \N{MULTIPLICATION SIGN} 4", 4),
        ("  NVIDIA   A100  x12 ", 12),
    ],
)
def test_the_forms_of_a_count(text: str, number: int) -> None:
    """As people, SLURM and shops write it; where the name leaves the model open, all are given."""
    models = {"A100 PCIe 40GB", "A100 PCIe 80GB", "A100 SXM 40GB", "A100 SXM 80GB"}
    assert meant(text) == (number, models, (250.0, 400.0))


@pytest.mark.parametrize(
    ("text", "number", "names"),
    [
        ("NVIDIA A100-SXM4-80GB", 1, {"A100 SXM 80GB"}),  # as NVML tells it, and below
        ("NVIDIA A100 80GB PCIe", 1, {"A100 PCIe 80GB"}),
        ("NVIDIA H100 80GB HBM3", 1, {"H100 SXM"}),
        ("Tesla V100-SXM2-32GB", 1, {"Tesla V100 SXM"}),
        ("NVIDIA GeForce RTX 3090", 1, {"RTX 3090"}),
        ("NVIDIA RTX 6000 Ada Generation", 1, {"RTX 6000 Ada"}),
        ("A100 80 GB", 1, {"A100 PCIe 80GB", "A100 SXM 80GB"}),
        ("H100", 1, {"H100 SXM", "H100 PCIe", "H100 NVL"}),
        ("rtx3080", 1, {"RTX 3080"}),  # not its Ti
        ("RTX 4090", 1, {"RTX 4090"}),  # not 4090 of something called RT
        ("RTX4090x2", 2, {"RTX 4090"}),
        ("3090", 1, {"RTX 3090", "RTX 3090 Ti"}),
        ("1080Ti:2", 2, {"GTX 1080 Ti"}),
        ("RTX 6000", 1, {"Quadro RTX 6000", "RTX 6000 Ada", "RTX PRO 6000 Blackwell"}),
        ("titan x", 1, {"GTX TITAN X", "TITAN X Pascal"}),
        ("L40", 1, {"L40"}),
        ("MI250", 1, {"Instinct MI250"}),
        ("tpu-v4:8", 8, {"TPU v4"}),
        ("TPUv3", 1, {"TPU v3"}),
    ],
)
def test_what_a_name_means(text: str, number: int, names: set[str]) -> None:
    """Spellings of one model, names of several, and names within names."""
    assert meant(text)[:2] == (number, names)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("A1000x2", "NVIDIA A10"),
        ("nvidia H10O", "NVIDIA H100 SXM"),
        ("RTX 4095", "NVIDIA RTX 4090"),
        ("A100x0", "NVIDIA A100 SXM 80GB"),
    ],
)
def test_an_unknown_name_has_others_near_it(text: str, near: str) -> None:
    """The user may have meant one of them."""
    found = accelerators.accelerators(text)
    assert isinstance(found, Unknown)
    assert found.name == text
    assert near in found.nearest


@pytest.mark.parametrize("text", ["", " ", "x4", "4", "nvidia", "gpu:4", "RTX", "\udcff", "zzzzzz"])
def test_what_names_no_model(text: str) -> None:
    """Nothing, a vendor alone, a name that fits half of the table."""
    assert isinstance(accelerators.accelerators(text), Unknown)


@pytest.mark.parametrize(
    ("text", "number", "watts"),
    [
        ("EPYC 7763", 1, 280.0),
        ("AMD EPYC 7763 64-Core Processor", 1, 280.0),
        ("2x EPYC 7763", 2, 280.0),
        ("Xeon Gold 6148 x2", 2, 150.0),
        ("Platinum 8375C", 1, 300.0),
    ],
)
def test_processors(text: str, number: int, watts: float) -> None:
    """By the brand or by what people leave of it; the table is that of the estimate."""
    found = accelerators.processors(text)
    assert isinstance(found, Parts)
    assert (found.number, [model.watts for model in found.models]) == (number, [watts])
    assert hardware.thermal_design_power_watts("AMD EPYC 7763 64-Core Processor") == 280.0


def test_an_unknown_processor() -> None:
    """No name is near it: the table of CPUs is long, and its names are much alike."""
    assert accelerators.processors("Pentagon 4") == Unknown("Pentagon 4", ())
