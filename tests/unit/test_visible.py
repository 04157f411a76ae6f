"""Which GPUs the variables of CUDA and of the container runtime choose: by CUDA's documented rules, or not told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.sampler.visible import Card, Slice, choose

A = Card("GPU-8f6d0000-0000-4000-8000-00000000000a", "H100")
B = Card("GPU-8f7e0000-0000-4000-8000-00000000000b", "H100")
C = Card("GPU-11110000-0000-4000-8000-00000000000c", "H100")
OLD = Card("GPU-22220000-0000-4000-8000-00000000000d", "T400")
ASLEEP = Card("", "")
TWO = Slice("MIG-aaaa0000-0000-5000-8000-000000000001", 3, 0, 2 / 7)
THREE = Slice("MIG-bbbb0000-0000-5000-8000-000000000002", 5, 0, 3 / 7)
CUT = A._replace(slices=(TWO, THREE))
ALIKE = (A, B, C)
BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def parts(variables: dict[str, str] | str, *cards: Card, in_order: bool = True) -> list[float | None] | None:
    """Give the part of each card; text alone is CUDA_VISIBLE_DEVICES."""
    told = {"CUDA_VISIBLE_DEVICES": variables} if isinstance(variables, str) else variables
    choices = choose(told, cards, in_order=in_order)
    return None if choices is None else [choice.part for choice in choices]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", [1, 0, 0]),
        ("2,0", [1, 0, 1]),
        (" 1 , 2 ", [0, 1, 1]),
        ("0,1,2", [1, 1, 1]),
        ("", [0, 0, 0]),
        ("-1", [0, 0, 0]),
        ("NoDevFiles", [0, 0, 0]),
        ("0,2,-1,1", [1, 0, 1]),
        ("1,3,0", [0, 1, 0]),
        ("1,x,0", [0, 1, 0]),
        ("1gpu2,2ampere", [0, 1, 1]),
        ("1,1", [0, 0, 0]),
        ("0," + A.uuid, [1, 0, 0]),
        (A.uuid, [1, 0, 0]),
        (f"{C.uuid},{A.uuid}", [1, 0, 1]),
        ("GPU-8f6d", [1, 0, 0]),
        ("GPU-8f", [0, 0, 0]),
        ("GPU-1,GPU-8f,GPU-8f6d", [0, 0, 1]),
        ("GPU-1,GPU-9,GPU-8f6d", [0, 0, 1]),
        ("GPU-1,0", [0, 0, 1]),
        ("GPU-1,GPU-11", [0, 0, 0]),
        ("MIG-aaaa", [0, 0, 0]),
    ],
)
def test_cudas_list(text: str, expected: list[float]) -> None:
    """An entry that is not valid ends it, what is named twice empties it, a beginning must mean one GPU alone."""
    assert parts(text, *ALIKE) == expected


def test_numbers_of_different_models_mean_the_bus_only_where_that_is_told() -> None:
    """CUDA's own order of different models is not published: told as unknown, unless all of them are meant."""
    assert parts({"CUDA_VISIBLE_DEVICES": "0"} | BUS, OLD, A) == [1, 0]
    assert parts({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, OLD, A) == [None, None]
    assert parts("1", OLD, A) == [None, None]
    assert parts("1,0", OLD, A) == [1, 1]
    assert parts("", OLD, A) == [0, 0]
    (first, _) = choose({"CUDA_VISIBLE_DEVICES": "0"}, (OLD, A)) or ()
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in first.note


def test_an_assumed_order_is_said() -> None:
    """Numbers among GPUs of one model are taken for places on the bus, and the record says that they are."""
    told = choose({"CUDA_VISIBLE_DEVICES": "1"}, ALIKE) or []
    assert [choice.part for choice in told] == [0, 1, 0]
    assert all("one model" in choice.note for choice in told)
    certain = choose({"CUDA_VISIBLE_DEVICES": "1"} | BUS, ALIKE) or []
    assert [choice.note for choice in certain] == [
        "CUDA_VISIBLE_DEVICES hides this GPU from the job.",
        "",
        "CUDA_VISIBLE_DEVICES hides this GPU from the job.",
    ]


def test_gpus_that_cannot_be_counted() -> None:
    """One that could not be opened, or sleeps, may be any number or UUID; those that are known stay known."""
    assert parts("1", *ALIKE, in_order=False) == [None, None, None]
    assert parts("0,1,2", *ALIKE, in_order=False) == [1, 1, 1]
    assert parts("0", ASLEEP, A) == [None, None]
    assert parts({"CUDA_VISIBLE_DEVICES": "0"} | BUS, ASLEEP, A) == [1, 0]
    assert parts("0", ASLEEP) == [1]
    assert parts("GPU-77,GPU-8f6d", ASLEEP, A, B) == [None, 1, 0]
    assert parts("GPU-8f6d", ASLEEP, A, B) == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TWO.uuid, [2 / 7, 0]),
        ("MIG-aaaa", [2 / 7, 0]),
        (f"{TWO.uuid},{THREE.uuid}", [5 / 7, 0]),
        (f"{TWO.uuid},MIG-cccc,{THREE.uuid}", [2 / 7, 0]),
        (f"{TWO.uuid},{TWO.uuid}", [0, 0]),
        (f"MIG-{A.uuid}/5/0", [3 / 7, 0]),
        (f"MIG-{A.uuid}/5/1", [0, 0]),
        ("MIG-", [0, 0]),
        ("0", [None, None]),
        ("", [0, 0]),
        (A.uuid, [None, 0]),
        (B.uuid, [0, 1]),
    ],
)
def test_parts_of_gpus(text: str, expected: list[float | None]) -> None:
    """By UUID or, as older drivers name them, by GPU and instances; a number means nothing in MIG mode."""
    found = parts(text, CUT, B)
    assert found == [pytest.approx(part) if part else part for part in expected]


def test_parts_that_the_driver_does_not_tell() -> None:
    """A GPU in MIG mode of which no parts are seen may hold the one that is named; a plain one may not."""
    blind = CUT._replace(slices=())
    assert parts(TWO.uuid, blind, B) == [None, 0]
    assert parts(f"MIG-{C.uuid}/1/0", blind, C._replace(slices=())) == [0, None]


@pytest.mark.parametrize(
    ("text", "cards", "expected"),
    [
        ("all", ALIKE, None),
        ("none", ALIKE, None),
        ("void", ALIKE, None),
        ("", ALIKE, None),
        ("nvidia.com/gpu=0", ALIKE, None),
        ("2,3", (A, B), [1, 1]),
        ("5", (A,), [1]),
        ("2", ALIKE, [0, 0, 1]),
        ("7", ALIKE, [None, None, None]),
        (A.uuid, (A,), [1]),
        ("GPU-8f6d", ALIKE, [1, 0, 0]),
        (TWO.uuid, (CUT,), [2 / 7]),
        ("3:0", (A._replace(slices=(TWO,)),), [2 / 7]),
        ("3:0", (CUT,), [None]),
    ],
)
def test_the_container_runtimes_list(text: str, cards: tuple[Card, ...], expected: list[float | None] | None) -> None:
    """What was asked for is what is there, by the host's numbers; "all" and its like tell nothing."""
    assert parts({"NVIDIA_VISIBLE_DEVICES": text}, *cards) == expected


def test_cuda_narrows_what_the_container_was_given() -> None:
    """In the container CUDA counts what is there."""
    both = {"NVIDIA_VISIBLE_DEVICES": "2,3", "CUDA_VISIBLE_DEVICES": "1"}
    assert parts(both, A, B) == [0, 1]
    assert choose({}, ALIKE) is None
    assert choose(BUS, ALIKE) is None


_ENTRIES = st.sampled_from(
    ["0", "1", "2", "-1", "x", "", "GPU-8f", "GPU-", A.uuid, "MIG-", TWO.uuid, f"MIG-{A.uuid}/5/0", "0:1", "all"]
)


@given(
    st.lists(_ENTRIES, max_size=5),
    st.sampled_from(["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"]),
    st.lists(st.sampled_from([A, B, OLD, ASLEEP, CUT]), unique=True, max_size=4),
    st.booleans(),
)
def test_any_list_gives_each_gpu_a_part_or_none(
    entries: list[str], name: str, cards: list[Card], in_order: bool
) -> None:
    """Nothing raises, and a part is one of a whole; where it is not known the reason is told."""
    choices = choose({name: ",".join(entries)}, cards, in_order=in_order)
    for choice in choices or ():
        assert choice.note if choice.part is None else 0.0 <= choice.part <= 1.0
    assert choices is None or len(choices) == len(cards)


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """Whatever stands in the variables, it is read or refused."""
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        choices = choose({name: text}, ALIKE)
        assert choices is None or len(choices) == len(ALIKE)
