"""What the LaTeX paragraph cites, as BibTeX: greenrun in the version that measured, and the data of the intensity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.reports import statement
from greenrun.reports.latex import escaped

if TYPE_CHECKING:
    from greenrun.reports.record import Record


def render(record: Record) -> str:
    """Give the entries: `greenrun`, and `greenrun-intensity` where a source is known."""
    tool = {
        "author": "{The greenrun authors}",
        "title": "{greenrun}: run any job and tell what it cost in energy and carbon",
        "version": _words(record["greenrun"]),
        "year": record["started_at"][:4],
    }
    entries = [_entry("greenrun", tool)]
    source, year = record["intensity"]["source"], record["intensity"]["year"]
    if source and record["intensity"]["link"] != "told":
        data = {"title": f"{{{_words(source)}}}", "note": "Carbon intensity of electricity"}
        entries.append(_entry("greenrun-intensity", data | ({"year": str(year)} if year is not None else {})))
    return "\n".join(entries)


def _words(text: str) -> str:
    """Give text in which neither finds a command; BibTeX counts braces, escaped or not."""
    return escaped(statement.plain(text).replace("{", "(").replace("}", ")"))


def _entry(key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join((f"@misc{{{key},", *lines, "}", ""))
