"""The paragraph for a paper, as LaTeX: the sentences of `statement`; `bibtex` has what it cites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.reports import statement

if TYPE_CHECKING:
    from greenrun.reports.record import Record

_MARKUP = str.maketrans(
    {letter: f"\\{letter}" for letter in "{}$&#_%"}
    | {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "`": r"\textasciigrave{}",
        "'": r"\textquotesingle{}",
        "\u00b1": r"\ensuremath{\pm}",
    }
)


def render(record: Record) -> str:
    """Give the paragraph as LaTeX, in UTF-8, with a citation of greenrun."""
    return escaped(statement.plain(" ".join(statement.sentences(record)))) + " \\cite{greenrun}\n"


def escaped(text: str) -> str:
    """Give text in which LaTeX finds no command."""
    return text.translate(_MARKUP).replace("--", "-{}-{}")  # else a dash, and an option begins with two
