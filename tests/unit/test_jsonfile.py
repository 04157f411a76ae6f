"""The files of a record: valid JSON, every format, replaced at once."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path

import pytest
from unit.data.logs import device, exited, intensity, sample, spawned, start

from greenrun.reports import formats, jsonfile
from greenrun.reports.account import account
from greenrun.reports.record import Record


@pytest.fixture
def record() -> Record:
    """Give the record of a small run."""
    log = [start(device("cpu"), name="J\u00f8rgen\ufffd"), intensity(100.0), spawned(0.0), sample(0.0, 0.0)]
    return account([*log, sample(3.0, 0.1 + 0.2), exited(3.0)])


def test_numbers_keep_all_their_digits(record: Record) -> None:
    """Rounding is for the eye; the document adds up."""
    told = json.loads(jsonfile.render(record))
    assert told["energy_joules"]["total"] == 0.1 + 0.2
    assert told["name"] == "J\u00f8rgen\ufffd"


def test_nothing_that_a_terminal_obeys(record: Record) -> None:
    """Names and reasons come from outside; `report --json` prints them, and a reader gets them back."""
    record["name"] = text = "a\x1b[31m\x9b2J\x7f\x00\r\n\u00a0b"
    told = jsonfile.render(record)
    assert not [letter for letter in told if (ord(letter) < 0x20 and letter != "\n") or 0x7F <= ord(letter) < 0xA0]
    assert json.loads(told)["name"] == text


def test_what_is_not_finite_is_refused(record: Record) -> None:
    """NaN is no JSON; it must fail here and not in every reader."""
    record["pue"] = float("nan")
    with pytest.raises(ValueError, match="JSON"):
        jsonfile.render(record)


def test_every_format_that_is_kept_has_a_file_of_its_own(record: Record) -> None:
    """One line in the registry is all that a format needs."""
    kept = {name: described for name, described in formats.FORMATS.items() if described.file_name is not None}
    assert len({described.file_name for described in kept.values()}) == len(kept)
    for name, described in kept.items():
        assert formats.render(name, record) == import_module(described.module).render(record)


def test_files_are_replaced_and_private(record: Record, tmp_path: Path) -> None:
    """An older summary gives way at once, nothing is left beside it, and only the owner reads it."""
    (tmp_path / "summary.json").write_text("old")
    formats.write(record, str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["summary.json", "summary.txt"]
    assert json.loads((tmp_path / "summary.json").read_text())["run_id"] == record["run_id"]
    for name in os.listdir(tmp_path):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_directory_that_is_gone_raises(record: Record, tmp_path: Path) -> None:
    """The caller decides what a summary that cannot be written means."""
    with pytest.raises(FileNotFoundError):
        formats.write(record, str(tmp_path / "gone"))
