"""One note below what a command prints on a terminal, rewritten in place. Pure: bytes and times in, bytes out.

The note stands where the command's next line will begin, and is gone before the first byte of that line: nothing that
the command prints is ever overwritten, and it finds the cursor where it left it. So the note can only stand there while
the cursor is at the beginning of a line and the command is silent. Behind half a line, a progress bar for one, a note
that is to last waits for a moment, and then has a line of its own.

A command that moves the cursor up and down, or draws on the screen, is left alone with it: from then on only notes that
last are told, at once, on lines of their own. So it is where the terminal is not ours (`owned`): in the background, or
where the command reads each key.
"""

from __future__ import annotations

import re
import textwrap

_SILENT_SECONDS = 0.1  # between the writes of one thing that is drawn there is less
_PATIENCE_SECONDS = 2.0
_LONGEST_SEQUENCE = 256

_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[^\[\]])")
# Colours, erasing within the line, hiding the cursor, the window's title: ECMA-48 and XTerm's control sequences.
_HARMLESS = re.compile(rb"\x1b(?:\[[0-9;:]*[mK]|\[\?25[hl]|\].*)", re.DOTALL)
_ERASE = b"\r\x1b[J"  # all below is empty, or the note's own, for the cursor has only ever gone down


class StatusLine:
    """Keeps track of where the cursor is and what is shown; whoever calls writes what it gives, in that order."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._due_to_last: float | None = None  # when the text is to be told in any case
        self._shown = False
        self._at_line_start = False  # not known before the first line end
        self._left_alone = False
        self._output_at = 0.0
        self._sequence = b""  # the beginning of a control sequence whose end has not come yet

    def output(self, data: bytes, now: float) -> bytes:
        """Give what to write so that the command's output `data` is shown as if there were no note."""
        erased = self.erase()
        self._output_at = now
        self._at_line_start = data.endswith(b"\n")
        if not self._left_alone and (self._sequence or b"\x1b" in data):
            self._left_alone = self._moves_about(self._sequence + data)
        return erased + data

    def _moves_about(self, data: bytes) -> bool:
        self._sequence = b""
        at = data.find(b"\x1b")
        while at >= 0:
            found = _SEQUENCE.match(data, at)
            if found is None:
                self._sequence = data[at:]
                return len(self._sequence) > _LONGEST_SEQUENCE
            if _HARMLESS.fullmatch(found[0]) is None:
                return True
            at = data.find(b"\x1b", found.end())
        return False

    def tell(self, text: str, now: float, *, lasting: bool) -> None:
        """Take a note in the place of the one before; `show` tells it."""
        self._text = text
        if lasting and self._due_to_last is None:
            self._due_to_last = now + _PATIENCE_SECONDS

    def due(self) -> float | None:
        """Give the time at which `show` wants to be called, None if nothing waits."""
        if self._text is None or self._shown:
            return None
        return self._output_at + _SILENT_SECONDS if self._at_line_start else self._due_to_last

    def show(self, now: float, *, owned: bool, columns: int, rows: int) -> bytes:
        """Give what to write now to tell the note; nothing, if that has to wait or cannot be."""
        if self._text is None:
            return b""
        lines = textwrap.wrap(self._text, max(columns - 1, 1))
        if not owned or self._left_alone or len(lines) >= rows:
            return self._on_lines_of_its_own(owned=False)
        if self._at_line_start and now >= self._output_at + _SILENT_SECONDS:
            erased, self._shown, self._due_to_last = self.erase(), True, None
            up = b"\x1b[%dA" % (len(lines) - 1) if len(lines) > 1 else b""
            return erased + "\r\n".join(lines).encode() + up + b"\r"
        if self._due_to_last is not None and now >= self._due_to_last:
            return self._on_lines_of_its_own(owned=True)
        return b""

    def _on_lines_of_its_own(self, *, owned: bool) -> bytes:
        """Tell a note that is to last, once; others may print on a terminal that is not ours, so it begins a line."""
        text, self._text = self._text or "", None
        due, self._due_to_last = self._due_to_last, None
        if due is None:
            return b""
        erased = self.erase()
        begin = b"" if owned and self._at_line_start else b"\r\n"
        self._at_line_start = True
        return erased + begin + text.encode() + b"\r\n"

    def erase(self) -> bytes:
        """Give what to write to take the note away for now; it comes back when it is shown again."""
        shown, self._shown = self._shown, False
        return _ERASE if shown else b""
