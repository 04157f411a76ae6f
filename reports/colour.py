"""How the lines of a summary or a table are set on a terminal: which words stand out, and signs instead of ASCII.

Pure: text in, text and styles out. The styles are words of rich's that are legible on light and on dark: the weights
and three of the sixteen colours that every terminal has. Nothing is told by colour alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FIRST_LINE, _LABEL, _ALARM = "bold", "green", "bold red"
_LABELS = re.compile(r"^ {2,4}(?P<label>[A-Za-z][A-Za-z0-9]*) +$")
_LABEL_COLUMNS = 14
_RULES = tuple(
    (re.compile(pattern, re.MULTILINE), style)
    for pattern, style in (
        # The figure that an entry begins with.
        (rf"(?<=^.{{{_LABEL_COLUMNS}}})[0-9][0-9.]* (?:[kM]?Wh|m?J|k?t|[kmu]?g)(?![\w/])", "bold"),
        (r"\bpartial record\b", _ALARM),
        (r"\b(?:partly )?estimated\b(?:, no meter [a-z ]*)?", "magenta"),
    )
)
_SIGNS = (
    (re.compile(r"\+-(?=[0-9])"), "\u00b1"),
    (re.compile(r"(?<=[0-9] )ug\b"), "\u00b5g"),
    (re.compile(r"(?<=[0-9]) x (?=\S)"), " \u00d7 "),
)


class Styled(NamedTuple):
    """From one character to another, and how they are to look: a style in rich's words."""

    begin: int
    end: int
    style: str


def of_summary(text: str) -> list[Styled]:
    """Give the styles of a summary's text; of two at one place the later one holds."""
    found = _first_line(text)
    for pattern, style in _RULES:
        found += [Styled(*match.span(), style) for match in pattern.finditer(text)]
    begin = 0
    for line in text.splitlines(keepends=True):
        label = _LABELS.match(line[:_LABEL_COLUMNS])
        if label and len(line) > _LABEL_COLUMNS:
            style = _ALARM if label["label"] == "warning" else _LABEL
            found.append(Styled(begin + label.start("label"), begin + label.end("label"), style))
        begin += len(line)
    return found


def of_table(text: str) -> list[Styled]:
    """Give the styles of the table of runs."""
    return _first_line(text)


def _first_line(text: str) -> list[Styled]:
    return [Styled(0, len(text.partition("\n")[0]), _FIRST_LINE)]


def signs(text: str) -> str:
    """Put the signs of the trade for what ASCII stands in for; no line gets longer."""
    for pattern, sign in _SIGNS:
        text = pattern.sub(sign, text)
    return text
