"""HTML that is escaped by construction: text becomes markup only where `element` makes it.

Names, command lines and messages come from outside. What is no `Html` is escaped, and what is not printable (control
characters, marks that turn the direction of writing, half of a pair of surrogates) is shown as U+FFFD.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any

from greenrun.reports import units

_VOID = ("br", "col", "hr", "link", "meta")
_BLANKS = ("\n", "\t", units.NO_BREAK)
_UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, *content: str | None, **attributes: str | bool | None) -> Html:
    """Give an element. `class_` is written class, `aria_label` aria-label; what is None or False is left out."""
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_text(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{join(*content)}</{tag}>")


def join(*content: str | None) -> Html:
    """Give pieces one after the other; text among them is escaped."""
    return Html("".join(part if isinstance(part, Html) else _text(part) for part in content if part is not None))


def printable(text: str) -> str:
    """Put a sign in the place of each character that shows nothing, or moves what is around it."""
    return "".join(one if one.isprintable() or one in _BLANKS else _UNPRINTABLE for one in text)


def verbatim(tag: str, text: str, **attributes: str) -> Html:
    """Give a script or a style that is our own; a browser ends either at its first end tag.

    Raises ValueError where there is one.
    """
    if f"</{tag}" in text.lower() or "<!--" in text:
        raise ValueError(f"the text of a {tag} holds its own end")
    written = "".join(f' {name}="{_text(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{written}>{text}</{tag}>")


def data(identifier: str, value: Any) -> Html:
    """Give a block of JSON for a script to read: never run, and nothing in it ends it or begins a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="{_text(identifier)}">{text}</script>')


def digest(text: str) -> str:
    """Give the source expression by which a Content-Security-Policy allows exactly this script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(text: str) -> str:
    return html.escape(printable(text))
