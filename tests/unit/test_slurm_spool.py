"""The spool: who may write it, what is found in it, and what is taken away from it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from greenrun.cli.handle import Handle
from greenrun.cli.slurm import spool

RUN_IDS = ("01a202e6-20cd-72bd-bbb3-f4b29ea6ba97", "01a202e6-20cd-72bd-bbb3-0a1b2c3d4e5f")


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Give a spool that has been made."""
    spool.prepare(str(tmp_path / "spool"))
    return str(tmp_path / "spool")


def a_handle(place: str, job: str = "12", node: str = "n-1", run_id: str = RUN_IDS[0]) -> Handle:
    """Give the handle of a run whose daemon is no process here."""
    return Handle(run_id, spool.run_dir(place, job, node, run_id), 4_000_000, "1", "another boot")


def begin(place: str, run_id: str, utc: str, job: str = "12", node: str = "n-1") -> str:
    """Leave a run directory with the first line of a log."""
    run_dir = spool.run_dir(place, job, node, run_id)
    spool.make_run_dir(run_dir)
    Path(run_dir, "run.jsonl").write_text(json.dumps({"event": "start", "t": 0, "utc": utc}) + "\n")
    return run_dir


def test_what_is_made(place: str) -> None:
    """The spool can be listed by all and written by one; a run directory is its owner's alone."""
    run_dir = spool.run_dir(place, "12", "n-1", RUN_IDS[0])
    spool.make_run_dir(run_dir)
    assert run_dir == f"{place}/runs/12/n-1-f4b29ea6ba97"
    modes = [os.stat(path).st_mode & 0o777 for path in (place, f"{place}/runs", f"{place}/live", run_dir)]
    assert modes == [0o755, 0o755, 0o755, 0o700]
    spool.prepare(place)  # a second job finds it there
    spool.prepare(f"/{place}")


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
@pytest.mark.parametrize("where", ["", "runs", "live"])
def test_a_spool_that_others_can_write_is_none(place: str, where: str, mode: int) -> None:
    """Not even with the sticky bit: what is in it may be anybody's."""
    os.chmod(os.path.join(place, where), mode)
    with pytest.raises(PermissionError, match="others than root can write"):
        spool.prepare(place)


def test_where_others_can_write_nothing_is_made(tmp_path: Path) -> None:
    """Not even an empty folder: first it is looked at where it would be."""
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(0o777)
    with pytest.raises(PermissionError, match="others than root can write"):
        spool.prepare(str(above / "spool"))
    assert list(above.iterdir()) == []


def test_nor_one_that_others_can_put_there(tmp_path: Path) -> None:
    """Who can write a folder above can replace it, but not in one with the sticky bit."""
    above = tmp_path / "above"
    above.mkdir()
    spool.prepare(str(above / "spool"))
    above.chmod(0o777)
    with pytest.raises(PermissionError, match=f"can write {above}$"):
        spool.prepare(str(above / "spool"))
    above.chmod(0o1777)
    spool.prepare(str(above / "spool"))


def test_nor_one_behind_a_link_into_a_place_of_others(tmp_path: Path) -> None:
    """What counts is where a symlink leads."""
    (tmp_path / "theirs/inner").mkdir(parents=True)
    (tmp_path / "theirs").chmod(0o777)
    for to in ("theirs", "theirs/inner"):
        (tmp_path / "spool").unlink(missing_ok=True)
        (tmp_path / "spool").symlink_to(to)
        with pytest.raises(PermissionError, match=f"can write {tmp_path / 'theirs'}$"):
            spool.prepare(str(tmp_path / "spool"))


def test_nor_one_behind_a_link_that_others_can_replace(tmp_path: Path) -> None:
    """Wherever it leads now."""
    (tmp_path / "spool").mkdir()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "link").symlink_to("../spool")
    spool.prepare(str(theirs / "link"))
    theirs.chmod(0o777)
    with pytest.raises(PermissionError, match=f"can write {theirs}$"):
        spool.prepare(str(theirs / "link"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to somebody else")
def test_nor_one_behind_a_link_of_another_s(tmp_path: Path) -> None:
    """It may be in a folder with the sticky bit: its owner may remove it there."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs.chmod(0o1777)
    (tmp_path / "spool").mkdir()
    (theirs / "link").symlink_to("../spool")
    spool.prepare(str(theirs / "link"))
    os.lchown(theirs / "link", 65534, 65534)
    with pytest.raises(PermissionError, match="others than root"):
        spool.prepare(str(theirs / "link"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_nor_one_of_another_owner(place: str) -> None:
    """Who owns a folder can always write it."""
    os.chown(place, 65534, 65534)
    with pytest.raises(PermissionError):
        spool.prepare(place)


def test_a_file_is_no_spool(tmp_path: Path) -> None:
    """Nor is anything else that has its name."""
    (tmp_path / "spool").write_text("")
    with pytest.raises(OSError, match="spool"):
        spool.prepare(str(tmp_path / "spool"))


def test_a_handle_is_kept_and_forgotten(place: str) -> None:
    """By job and node; that of another job of nearly the same name stays."""
    kept = spool.keep(place, "12", "n-1", a_handle(place))
    other = spool.keep(place, "12", "n-10", a_handle(place, node="n-10", run_id=RUN_IDS[1]))
    assert spool.live(place, "12", "n-1") == kept
    assert spool.live(place, "2", "n-1") is None
    assert sorted(os.listdir(f"{place}/live")) == ["12-n-1.json", "12-n-10.json"]
    assert list(spool.of_node(place, "n-1")) == [kept]
    spool.forget(kept)
    spool.forget(kept)
    assert os.listdir(f"{place}/live") == ["12-n-10.json"]
    assert spool.live(place, "12", "n-10") == other


def test_a_second_run_of_a_job_puts_the_first_aside(place: str) -> None:
    """The first one's daemon takes its own away, and not that of the second."""
    first = spool.keep(place, "12", "n-1", a_handle(place))
    second = spool.keep(place, "12", "n-1", a_handle(place, run_id=RUN_IDS[1]))
    assert spool.live(place, "12", "n-1") == second
    assert {entry.handle.run_id for entry in spool.of_node(place, "n-1")} == set(RUN_IDS)
    spool.forget(first)
    assert [entry.handle.run_id for entry in spool.of_node(place, "n-1")] == [RUN_IDS[1]]
    spool.forget(second)
    assert os.listdir(f"{place}/live") == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"run_id": 3}', "\udcff"])
def test_what_is_no_handle_is_nothing(place: str, content: str) -> None:
    """A torn or foreign file is passed over."""
    Path(place, "live", "12-n-1.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert spool.live(place, "12", "n-1") is None
    assert list(spool.of_node(place, "n-1")) == []


def test_a_link_is_no_handle(place: str, tmp_path: Path) -> None:
    """Nothing outside of the spool is read."""
    (tmp_path / "elsewhere").write_text(a_handle(place).to_json())
    Path(place, "live", "12-n-1.json").symlink_to(tmp_path / "elsewhere")
    assert spool.live(place, "12", "n-1") is None


def test_the_newest_run_is_the_one_that_began_last(place: str) -> None:
    """Not the one whose name sorts last, nor one of another node, nor what is no run."""
    newest = begin(place, RUN_IDS[1], "2026-11-22T10:00:00.000Z")
    older = begin(place, RUN_IDS[0], "2026-11-21T10:00:00.000Z")
    Path(older, "run.jsonl").touch()
    begin(place, "01a202e6-20cd-72bd-bbb3-aaaaaaaaaaaa", "2026-11-23T10:00:00.000Z", node="n-1-2")
    os.mkdir(f"{place}/runs/12/n-1-of-ours")
    assert spool.newest_run_dir(place, "12", "n-1") == newest
    assert spool.newest_run_dir(place, "13", "n-1") is None
