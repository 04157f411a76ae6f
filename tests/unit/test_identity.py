"""Who a run is: ids, directories, and what of a command line may be kept."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

import pytest

from greenrun.cli.identity import MASKED, RECORDED_VARIABLES, mask_secrets, new_run, uuid7


def test_ids_are_uuids_that_sort_by_time() -> None:
    """UUIDv7 with the milliseconds in front: the standard library knows version and variant."""
    ids = [uuid7(1_700_000_000.0 + number / 1000) for number in range(200)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {(parsed.version, parsed.variant) for parsed in map(uuid.UUID, ids)} == {(7, uuid.RFC_4122)}
    assert uuid.UUID(ids[0]).int >> 80 == 1_700_000_000_000
    assert uuid7(1.0) != uuid7(1.0)


def test_a_run_directory_says_when_and_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UTC, name and a short id; absolute, and not made yet."""
    monkeypatch.chdir(tmp_path)
    run = new_run("logs", None, ["/usr/bin/python3.11", "train.py"])
    assert os.path.dirname(run.run_dir) == str(tmp_path / "logs")
    assert re.fullmatch(r"\d{8}T\d{6}Z-python3\.11-[0-9a-f]{12}", os.path.basename(run.run_dir))
    assert os.listdir(tmp_path) == []
    assert (run.command, run.cwd) == (("/usr/bin/python3.11", "train.py"), str(tmp_path))
    assert new_run("/elsewhere", None, ["x"]).run_dir.startswith("/elsewhere/")


def test_many_runs_at_once_have_directories_of_their_own() -> None:
    """Ranks of one job start within a millisecond."""
    assert len({new_run("logs", "rank", ["x"]).run_dir for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("a/b c\n\x1b[1m", "a-b-c---1m"),
        ("-rf", "rf"),
        ("....", "run"),
        ("ü", "run"),
        ("x" * 300, "x" * 40),
    ],
)
def test_a_name_cannot_leave_the_log_directory(name: str, folder: str) -> None:
    """Whatever the name, the directory has a plain one below the log directory."""
    run = new_run("/logs", name, ["x"])
    assert os.path.dirname(run.run_dir) == "/logs"
    assert re.fullmatch(rf"[0-9TZ]+-{re.escape(folder)}-[0-9a-f]{{12}}", os.path.basename(run.run_dir))


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gets along with that; a log can be made where a full path says, and nowhere else."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert os.path.dirname(new_run("/logs", None, ["true"]).run_dir) == "/logs"
    with pytest.raises(FileNotFoundError):
        os.makedirs(new_run("logs", None, ["true"]).run_dir)


def test_the_directory_as_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the working directory on where it lies below, whole elsewhere."""
    monkeypatch.chdir(tmp_path)
    assert new_run("logs", None, ["true"]).shown_dir.startswith("logs/")
    assert new_run("/elsewhere", None, ["true"]).shown_dir.startswith("/elsewhere/")


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (("x", "--token", "abc"), ("x", "--token", MASKED)),
        (("x", "--api-key=abc", "y"), ("x", f"--api-key={MASKED}", "y")),
        (("env", "DB_PASSWORD=abc", "x"), ("env", f"DB_PASSWORD={MASKED}", "x")),
        (("x", "--secret", "--verbose", "1"), ("x", "--secret", "--verbose", "1")),
        (("x", "https://user:abc@host/repo"), ("x", f"https://user:{MASKED}@host/repo")),
        (("x", "https://user:a@b:c@host/repo"), ("x", f"https://user:{MASKED}@host/repo")),
        (("git", "clone", "HTTPS://abc@host/repo"), ("git", "clone", f"HTTPS://{MASKED}@host/repo")),
        (("git", "clone", "ssh://git@host/repo"), ("git", "clone", "ssh://git@host/repo")),
        (("x", "http://host:80/a?to=b@c"), ("x", "http://host:80/a?to=b@c")),
        (("sh", "-c", "cd a; TOKEN=abc ./b"), ("sh", "-c", f"cd a; TOKEN={MASKED} ./b")),
        (("env", "TOKEN=a b c", "x"), ("env", f"TOKEN={MASKED}", "x")),
        (("curl", "-H", "Authorization: Bearer abc"), ("curl", "-H", f"Authorization: Bearer {MASKED}")),
        (("python", "train.py", "--lr", "0.1"), ("python", "train.py", "--lr", "0.1")),
        (("cp", "/home/ada/keys/a", "b"), ("cp", "/home/ada/keys/a", "b")),
        ((), ()),
    ],
)
def test_what_looks_like_a_secret_is_masked(command: tuple[str, ...], kept: tuple[str, ...]) -> None:
    """The value goes, the rest stays, and no argument is lost."""
    assert tuple(mask_secrets(command)) == kept


def test_no_recorded_variable_holds_a_secret() -> None:
    """The list of what is recorded names nothing that sounds like one."""
    assert not [name for name in RECORDED_VARIABLES if re.search("TOKEN|KEY|SECRET|PASS|CREDENTIAL", name)]
    assert len(set(RECORDED_VARIABLES)) == len(RECORDED_VARIABLES)
