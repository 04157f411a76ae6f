"""The idle floor: whose file is believed, of which machine it is, and what a run takes from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenrun.cli import floor
from greenrun.cli.config import Config
from greenrun.cli.floor import Floor, Part
from greenrun.sampler import events
from greenrun.sampler.model import Device

CPU = "Intel(R) Xeon(R) Platinum 8480+"
PARTS = (
    Part("rapl:package-0", "cpu", "package-0", True, 31.25, 0.5),
    Part("rapl:package-1", "cpu", "package-1", True, 30.75, None),
    Part("rapl:package-0/dram", "dram", "memory of package-0", True, 4.5, 0.01),
    Part("rapl:psys", "other", "whole platform", False, 90.0, 1.0),
    Part("nvml:GPU-1", "gpu", "a GPU", True, 55.0, 0.2),
)
FLOOR = Floor("2026-11-20T09:00:00Z", 60.0, floor.host(), CPU, 0.4, PARTS)


def device(name: str, **changes: Any) -> Device:
    """Make a device as a source tells it."""
    kind = "dram" if name.endswith("dram") else "cpu"
    return Device(name, kind, name, "rapl", "counter", 5.0, 1000.0)._replace(**changes)


DEVICES = [device("rapl:package-0"), device("rapl:package-1"), device("rapl:package-0/dram")]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give where a floor is kept."""
    kept = str(tmp_path / "state" / "floor.json")
    floor.write(FLOOR, kept, "1.2.3")
    return kept


def found(path: str, devices: list[Device] | None = None, cpu: str = CPU) -> floor.Found:
    """Give what a run finds that was told of one file."""
    return floor.find(Config(floor=path), {}, cpu, DEVICES if devices is None else devices)


def document(path: str) -> dict[str, Any]:
    """Give what the file holds."""
    told: dict[str, Any] = json.loads(Path(path).read_text())
    return told


def test_what_is_written_is_read(path: str) -> None:
    """All of it, in a file that everybody may read and only its owner write, with nothing beside it."""
    assert floor.read(path) == FLOOR
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert os.listdir(os.path.dirname(path)) == ["floor.json"]
    assert document(path)["greenrun"] == "1.2.3"


@pytest.mark.parametrize("mask", [0, 0o077])
def test_a_umask_changes_nothing(tmp_path: Path, mask: int) -> None:
    """What all may write would not be believed, and what root measures is for all to read."""
    before = os.umask(mask)
    try:
        floor.write(FLOOR, str(tmp_path / "new" / "floor.json"), "")
    finally:
        os.umask(before)
    assert floor.read(str(tmp_path / "new" / "floor.json")) == FLOOR
    assert os.stat(tmp_path / "new").st_mode & 0o022 == 0
    assert os.stat(tmp_path / "new" / "floor.json").st_mode & 0o777 == 0o644


def test_the_field_of_the_log(path: str) -> None:
    """Sums by kind of what counts, GPUs one by one; a reader of logs takes it."""
    field = found(path).field()
    assert field is not None
    assert (field["cpu_watts"], field["dram_watts"]) == (62.0, 4.5)
    assert field["gpu_watts"] == {"nvml:GPU-1": 55.0}
    assert {"rapl:psys", "rapl:package-0", "agent:rapl:package-0"} <= set(field["devices"])
    begin = {"event": "start", "t": 0.0, "schema": 1, "greenrun": "1", "run_id": "x", "utc": "2026-01-01T10:00:00Z"}
    begin |= {"monotonic": 1.0, "boottime": 1.0, "devices": []}
    assert events.flaw({**begin, "floor": field}) is None
    assert events.flaw({**begin, "floor": {**field, "cpu_watts": "much"}}) is not None


def test_what_counts_now_is_what_is_summed(path: str) -> None:
    """Of overlapping devices another one may have been chosen since."""
    field = found(path, [DEVICES[0], DEVICES[1]._replace(counted=False), DEVICES[2]]).field()
    assert field is not None
    assert field["cpu_watts"] == 31.25


def test_a_kind_without_a_meter_is_unknown(tmp_path: Path) -> None:
    """None, not 0."""
    path = str(tmp_path / "floor.json")
    floor.write(FLOOR._replace(devices=PARTS[:2]), path, "")
    field = found(path, DEVICES[:2]).field()
    assert field is not None
    assert (field["cpu_watts"], field["dram_watts"], field["gpu_watts"]) == (62.0, None, {})


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    """The site's file, then the user's own; a setting names another one and no other counts."""
    state, home = {"XDG_STATE_HOME": str(tmp_path)}, {"HOME": "/home/ada", "XDG_STATE_HOME": "relative"}
    assert floor.places(Config(), state) == [floor.SITE_FILE, f"{tmp_path}/greenrun/floor.json"]
    assert floor.places(Config(), home) == [floor.SITE_FILE, "/home/ada/.local/state/greenrun/floor.json"]
    assert floor.places(Config(), {}) == [floor.SITE_FILE]
    assert floor.places(Config(floor="/x/f.json"), home) == ["/x/f.json"]
    assert floor.place_to_keep(Config(floor="/x/f.json"), home) == "/x/f.json"


def test_nothing_kept_is_no_trouble(tmp_path: Path) -> None:
    """Most machines have none."""
    assert found(str(tmp_path / "none.json")) == floor.Found()
    (tmp_path / "file").write_text("")
    assert found(str(tmp_path / "file" / "none.json")) == floor.Found()


@pytest.mark.parametrize(
    ("devices", "cpu", "why"),
    [
        ([*DEVICES, device("rapl:package-2")], CPU, "rapl:package-2 is not in it"),
        ([device("perf:package-0")], CPU, "perf:package-0 is not in it"),
        (DEVICES, "AMD EPYC", "other processors"),
    ],
)
def test_of_other_hardware(path: str, devices: list[Device], cpu: str, why: str) -> None:
    """It is not used, and one sentence says why and what to do."""
    told = found(path, devices, cpu)
    assert told.field() is None
    assert why in told.trouble
    assert path in told.trouble
    assert "greenrun calibrate" in told.trouble


def test_of_another_machine(path: str) -> None:
    """As when a home or an image is shared by many."""
    Path(path).write_text(json.dumps({**document(path), "host": "0" * 32}))
    assert "another machine" in found(path).trouble
    Path(path).write_text(json.dumps({**document(path), "host": None}))
    assert found(path).floor is not None


def test_only_what_a_meter_measures_must_be_in_it(path: str) -> None:
    """No estimate, no counter of a hypervisor's, nothing beside the total; the agent's meter is the same."""
    others = [
        device("estimate:cpu", method="estimate"),
        device("rapl:package-9", trusted=False),
        device("rapl:package-8", counted=False),
        device("agent:rapl:package-1"),
    ]
    assert found(path, others).floor is not None


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_a_file_that_others_may_write(path: str, mode: int) -> None:
    """Is not believed."""
    os.chmod(path, mode)
    assert "others may write" in found(path).trouble


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_another_users_file(path: str) -> None:
    """Nor is his."""
    os.chown(path, 65534, 65534)
    assert "another user's" in found(path).trouble


def test_what_is_no_file(tmp_path: Path) -> None:
    """A FIFO holds nobody up, a device ends nowhere, a directory is none, and a link that leads nowhere is absent."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("none")
    for name in ("fifo", "loop", ".", "/dev/zero"):
        told = found(str(tmp_path / name))
        assert told.floor is None
        assert ("cannot be read" if name == "loop" else "no regular file") in told.trouble
    assert found(str(tmp_path / "dangling")).trouble == ""


def test_a_file_of_any_size(path: str) -> None:
    """64 KiB at most are read."""
    os.truncate(path, 1 << 40)
    assert "more than 65536 bytes" in found(path).trouble


def test_the_second_place_where_the_first_is_of_no_use(tmp_path: Path, path: str) -> None:
    """What is wrong with the first is told only where there is no other."""
    Path(path).write_text("{")
    settings, state = Config(floor=path), {"XDG_STATE_HOME": str(tmp_path)}
    assert "no idle floor" in floor.find(settings, state, CPU, DEVICES).trouble
    own = floor.places(Config(), state)[1]
    floor.write(FLOOR, own, "")
    assert floor.find(Config(), state, CPU, DEVICES).path == own


WRONG: list[dict[str, Any]] = [
    {"schema": 2},
    {"measured_at": "yesterday"},
    {"measured_at": "2026-02-30T00:00:00Z"},
    {"seconds": -1},
    {"seconds": True},
    {"cpu": None},
    {"cpu": "x\u001b[31m"},
    {"cpu": "\ud800"},
    {"host": 7},
    {"busy_percent": "2"},
    {"devices": []},
    {"devices": {}},
    {"devices": [None]},
    {"devices": [{}]},
    {"devices": [PARTS[0]._asdict()] * 2},
    *(
        {"devices": [{**PARTS[0]._asdict(), name: value}]}
        for name, value in (
            ("watts", 1e9),
            ("watts", -1),
            ("watts", None),
            ("watts", "1"),
            ("watts", float("nan")),
            ("watts", 10**400),
            ("kind", "tpu"),
            ("kind", ["cpu"]),
            ("counted", 1),
            ("id", 5),
            ("name", "x" * 501),
            ("spread_watts", "0"),
        )
    ),
]


@pytest.mark.parametrize("change", WRONG, ids=range(len(WRONG)))
def test_contents_that_make_no_sense(path: str, change: dict[str, Any]) -> None:
    """Are refused in one sentence."""
    Path(path).write_text(json.dumps({**document(path), **change}))
    told = found(path)
    assert told.floor is None
    assert told.trouble.count("\n") == 0
    assert "no idle floor that greenrun has written" in told.trouble


@given(
    data=st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_bytes_that_are_none(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever they are."""
    path = tmp_path_factory.mktemp("floor") / "floor.json"
    path.write_bytes(data)
    assert found(str(path)).floor is None


def test_deep_nesting(path: str) -> None:
    """The parser's limit is no crash."""
    Path(path).write_text("[" * 60_000)
    assert "no idle floor" in found(path).trouble
