"""Where a report goes: in which format, to stdout or to a file that is written at once or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from greenrun.cli import output
from greenrun.reports import formats

GOLDEN = Path(__file__).parent / "data" / "two-sockets"


def report(*argv: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run `greenrun report` on the golden run."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GREENRUN_")}
    command = [sys.executable, "-m", "greenrun", "report", str(GOLDEN), *argv]
    return subprocess.run(command, cwd=cwd, capture_output=True, env=environ, timeout=60, check=False)


@pytest.mark.parametrize("argv", [["--format", "json"], ["--json"], ["--format=json", "--json"]])
def test_a_format_by_its_name(tmp_path: Path, argv: list[str]) -> None:
    """To the byte what summary.json holds."""
    told = report(*argv, cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout == (GOLDEN / "summary.json").read_bytes()


def test_into_a_file(tmp_path: Path) -> None:
    """Nothing on stdout, nothing left beside it, and readable as the umask says."""
    told = report("--format", "json", "-o", "out.json", cwd=tmp_path)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")
    assert (tmp_path / "out.json").read_bytes() == (GOLDEN / "summary.json").read_bytes()
    assert os.listdir(tmp_path) == ["out.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--format", "nosuch"], "invalid value for '--format': 'nosuch' is not one of 'terminal', 'json'"),
        (["--format", "terminal", "--json"], "--json means --format json"),
        (["-o", "."], ". cannot be written: Is a directory"),
        (["-o", "no/such"], "no/such cannot be written: No such file"),
        (["-o", ""], "cannot be written"),
        ([str(GOLDEN), "--json"], "the format json tells one run at a time, not 2"),
        (["--settle", "-o", "x"], "--settle is for one run"),
        (["--settle", str(GOLDEN)], "--settle is for one run"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, argv: list[str], words: str) -> None:
    """And nothing is written."""
    told = report(*argv, cwd=tmp_path)
    assert (told.returncode, told.stdout) == (125, b"")
    assert told.stderr.startswith(b"greenrun: ")
    assert told.stderr.count(b"\n") == 1
    assert words in told.stderr.decode()
    assert os.listdir(tmp_path) == []


def test_several_runs_as_text(tmp_path: Path) -> None:
    """One after the other, each with its directory."""
    told = report(str(GOLDEN), cwd=tmp_path).stdout.decode()
    assert told.count("greenrun: the command ran for") == 2
    assert told.count(f"  log         {GOLDEN}\n") == 2


def test_an_older_file_gives_way_at_once_and_keeps_its_permissions(tmp_path: Path) -> None:
    """Who has it open reads the old one; a link still points to it."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with open(target) as opened:
        output.save("new", str(link))
        assert opened.read() == "old"
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_disk_that_is_full_leaves_the_older_file(tmp_path: Path) -> None:
    """All of it or none of it: here a limit on the size of files stands for the disk."""
    (tmp_path / "out.json").write_text("old")
    script = (
        "import resource, signal, sys; from greenrun.cli import output\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "output.save('x' * 100, 'out.json')\n"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "UserError: out.json cannot be written: File too large" in told.stderr
    assert (tmp_path / "out.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_what_is_no_file_takes_it_as_it_comes(tmp_path: Path) -> None:
    """A named pipe must not be replaced by a file."""
    # No device: where this fails as root, the machine would have lost it.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output.save(b"there", str(pipe))
    assert os.read(reader, 64) == b"there"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_format_tells_one_run_or_several() -> None:
    """The registry knows which."""
    record = json.loads((GOLDEN / "summary.json").read_text())
    runs = [formats.Told(record, [])] * 2
    assert formats.render_runs("json", runs[:1]) == (GOLDEN / "summary.json").read_text()
    with pytest.raises(formats.CannotTell, match="json tells one run at a time"):
        formats.render_runs("json", runs)


@pytest.mark.parametrize(
    ("told", "has_utf8"),
    [
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LANG": "de_DE.utf8@euro"}, True),
        ({"LC_ALL": "C", "LANG": "C.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "C.UTF-8"}, True),
        ({"LANG": "en_US.ISO-8859-1"}, False),
        ({"LANG": "POSIX"}, False),
        ({}, False),
    ],
)
def test_whether_the_locale_has_utf8(told: dict[str, str], has_utf8: bool) -> None:
    """As setlocale(3) would choose, and not as Python has changed it for itself."""
    script = "import os; from greenrun.cli import output; print(output.takes_utf8(os.environ))"
    done = subprocess.run([sys.executable, "-c", script], env=told, capture_output=True, text=True, check=True)
    assert done.stdout == f"{has_utf8}\n"
