"""Where what greenrun tells goes: to stdout or stderr, a terminal, a file, a pipe that nobody reads, or nowhere."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from greenrun.cli.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.text import Text

    from greenrun.reports.colour import Styled

WIDTH = 80
"""What nobody told a width is for, and the widest that text is set: longer lines are hard to read."""

# A path in a repository's file, a name in a service's answer: nothing from outside may command the terminal.
_CONTROLS = {code: "?" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def columns(descriptor: int) -> int:
    """Give how many columns there are for text: those of the terminal, `WIDTH` at most and where there is none."""
    with contextlib.suppress(OSError):
        return min(os.get_terminal_size(descriptor).columns or WIDTH, WIDTH)  # 0: a terminal that nobody gave a size
    return WIDTH


def show(text: str) -> bool:
    """Print a verb's result; False if nobody reads it any more. UserError where stdout takes nothing."""
    if sys.stdout is None:  # closed before we started
        return False
    return _print((text.translate(_CONTROLS).rstrip("\n") + "\n").encode(sys.stdout.encoding, "backslashreplace"))


def show_summary(text: str) -> None:
    """Print the summary of a run on stdout, with colours where that is a terminal that shows them."""
    if sys.stdout is not None:
        _print(_set(text, 1))


def tell_summary(text: str) -> None:
    """Tell the summary of a run on stderr, with colours where that is a terminal that shows them.

    That stderr is closed or full is no error of the job's.
    """
    with contextlib.suppress(OSError):
        _write_all(2, _set(text, 2))


def is_drawn_on(descriptor: int) -> bool:
    """Whether it is a terminal that can do more than print one line after the other."""
    return os.isatty(descriptor) and os.environ.get("TERM", "") not in ("", "dumb")


def takes_utf8(environ: Mapping[str, str]) -> bool:
    """Whether the locale that greenrun was started in has UTF-8; Python puts one that has into a plain C for itself."""
    given = dict(environ)
    with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as file:
        if b"\0LC_CTYPE=" not in b"\0" + file.read():
            given.pop("LC_CTYPE", None)
    locale = next((given[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if given.get(name)), "C")
    return locale.lower().replace("-", "").partition("@")[0].endswith(".utf8")


def fitting(text: str) -> str:
    """Give a text without what would command the terminal, in ASCII where the locale has no UTF-8."""
    text = text.translate(_CONTROLS)
    return text if takes_utf8(os.environ) else text.encode("ascii", "backslashreplace").decode()


def styled(text: str, styles: Iterable[Styled]) -> Text:
    """Give a text for rich to print with these styles, with none where colours are not wanted."""
    from rich.text import Text

    told = Text(text.rstrip("\n"), no_wrap=True, overflow="ignore")
    if not os.environ.get("NO_COLOR"):  # https://no-color.org
        for begin, end, style in styles:
            told.stylize(style, begin, end)
    return told


def _set(text: str, descriptor: int) -> bytes:
    """Give the bytes of a summary for where it goes."""
    text = fitting(text).rstrip("\n") + "\n"
    if is_drawn_on(descriptor):
        with contextlib.suppress(Exception):  # fail open: without colours it says the same
            text = _drawn(text)
    return text.encode("utf-8", "replace")


def _drawn(text: str) -> str:
    from greenrun.reports import colour

    if takes_utf8(os.environ):
        text = colour.signs(text)
    if os.environ.get("NO_COLOR"):
        return text
    from io import StringIO

    from rich.console import Console

    # The width has been seen to: what is wider is a path, to be copied.
    console = Console(file=StringIO(), force_terminal=True, color_system="standard", width=1 << 16, height=1 << 16)
    with console.capture() as captured:
        console.print(styled(text, colour.of_summary(text)), soft_wrap=True)
    return captured.get()


def deliver(data: str | bytes, path: str | None) -> None:
    """Print a document on stdout, to the byte unless that is a terminal; with `path`, write it there.

    Raises UserError where it cannot be written, and for bytes that are no text on a terminal.
    """
    if path is not None:
        save(data, path)
    elif sys.stdout is None:
        return
    elif not os.isatty(sys.stdout.fileno()):
        _print(_encoded(data))
    elif isinstance(data, str):
        show(data.replace("\r\n", "\n"))
    else:
        raise UserError("this format is no text that a terminal could show: tell a file by -o FILE")


def save(data: str | bytes, path: str) -> None:
    """Write a document to a file at once or not at all; a device or a pipe takes it as it comes. Raises UserError."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb", buffering=0) as file:
                _write_all(file.fileno(), _encoded(data))
        else:
            _replace(os.path.realpath(path), _encoded(data))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {os.strerror(error.errno or errno.EIO)}") from None


def _replace(path: str, data: bytes) -> None:
    """Put a new file in the place of the one before, which keeps its permissions."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)[:200]}.{os.getpid()}.tmp")
    mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else None
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        try:
            if mode is not None:
                os.fchmod(file, mode)
            _write_all(file, data)
        finally:
            os.close(file)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _encoded(data: str | bytes) -> bytes:
    return data.encode("utf-8", "replace") if isinstance(data, str) else data


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _print(data: bytes) -> bool:
    try:
        # Past Python's buffer: what is left in it after an error is tried again, and complained about, at the exit.
        _write_all(sys.stdout.fileno(), data)
    except BrokenPipeError:
        return False
    except OSError as error:
        raise UserError(f"standard output cannot be written: {error.strerror}") from None
    return True
