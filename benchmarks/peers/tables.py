"""The tables, from what was measured: pure, so that a recorded measurement can be shown again.

Of each row it is known who is first; where greenrun is not, a sentence below the table says by how much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KINDS = ("cpu", "dram", "gpu", "total")
_WORDS = {"cpu": "processors", "dram": "memory", "gpu": "GPUs", "total": "all"}
_US = "greenrun"
_NONE = "-"
# What differs by less than this is the noise of one run: a tenth of a per cent of energy, a tenth of a figure.
_NOISE_PERCENT = 0.1
_NOISE_RATIO = 1.1


class Row(NamedTuple):
    """One row: its name, the cell of each tool, and, where somebody can be first, a figure of each: the least is."""

    name: str
    cells: dict[str, str]
    figures: dict[str, float | None]
    unit: str = ""


class Table(NamedTuple):
    """A table as it is kept: columns and rows of text, and the sentences below it."""

    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


def energy(figures: dict[str, Any], labels: dict[str, str]) -> Table:
    """Give the errors of the energy told; `labels` are the tools by name, in the order of the columns."""
    labels = {tool: label for tool, label in labels.items() if all(tool in by_tool for by_tool in figures.values())}
    rows = []
    for scenario, by_tool in figures.items():
        for kind in _KINDS:
            errors = {tool: [_error(one, kind) for one in by_tool[tool]] for tool in labels}
            cells = {tool: _error_cell(by_tool[tool], errors[tool], kind) for tool in labels}
            rows.append(
                Row(f"{scenario}: {_WORDS[kind]}", cells, {tool: _largest(errors[tool]) for tool in labels}, "%")
            )
        if scenario == "RAPL unreadable":
            said = {tool: "yes" if by_tool[tool][0]["says_so"] else "no" for tool in labels}
            rows.append(Row(f"{scenario}: says so", said, {}))
    table = _table("error of the energy told", rows, labels)
    notes = ["`*`: processors and memory in one figure, held against both."] if "*" in str(table.rows) else []
    return table._replace(notes=[*notes, *_behind(rows, labels, _behind_by_points)])


def cost(figures: dict[str, Any], labels: dict[str, str]) -> Table:
    """Give what each tool costs; times also as ratios to the start of a bare Python."""
    python = figures["python_seconds"]

    def time(name: str, key: str) -> Row:
        values = figures[key]
        cells = {tool: f"{values[tool] * 1e3:.0f} ms ({values[tool] / python:.1f})" for tool in labels}
        return Row(name, cells, values, "ms")

    def plain(name: str, key: str, form: str) -> Row:
        values = figures[key]
        cells = {tool: _NONE if values[tool] is None else form.format(values[tool]) for tool in labels}
        return Row(name, cells, values)

    rows = [
        time("until the command begins", "begins_seconds"),
        time("time added to a command", "added_seconds"),
        plain("memory, peak of all processes", "megabytes", "{:.1f} MB"),
        plain("processor time of a steady minute", "processor_seconds_a_minute", "{:.3f} s"),
        plain("installed", "installed_megabytes", "{:.0f} MB"),
        plain("distributions installed", "distributions", "{}"),
    ]
    notes = [f"In parentheses: the ratio to a bare Python's start, here {python * 1e3:.1f} ms."]
    return _table("", rows, labels)._replace(notes=[*notes, *_behind(rows, labels, _behind_by_ratio)])


def behaviour(figures: dict[str, Any], labels: dict[str, str]) -> Table:
    """Give what each tool does to the command."""

    def row(name: str, cell: Any) -> Row:
        return Row(name, {tool: cell(figures[tool]) for tool in labels}, {})

    rows = [
        row("command exits with 7: status", lambda of: str(of["exit_7"])),
        row("command dies by SIGTERM: status", lambda of: _status(of["died_by_term"])),
        row("own output on the command's stdout", lambda of: f"{of['bytes_on_stdout']} bytes"),
        row("its own option among the command's", lambda of: "arrives" if of["option_arrives"] else "is taken away"),
        row("SIGTERM: the command", lambda of: _fate(of["term"])),
        row("SIGTERM: a record", lambda of: _yes(of["term"]["record"])),
        row("SIGKILL: the command", lambda of: _fate(of["kill"])),
        row("SIGKILL: a record", lambda of: _yes(of["kill"]["record"])),
        row("nobody answers: command begins after", lambda of: f"{of['unanswered_begins_seconds']:.1f} s"),
    ]
    table = _table("", rows, labels)
    if "perf" not in labels:
        return table
    # The simulated machine is no PMU, so there is never an energy of perf's to see.
    for cells in table.rows:
        if cells[0].endswith("a record"):
            cells[table.columns.index(labels["perf"])] = _NONE
    return table


def _table(corner: str, rows: Sequence[Row], labels: dict[str, str]) -> Table:
    return Table([corner, *labels.values()], [[row.name, *(row.cells[tool] for tool in labels)] for row in rows], [])


def _error(one: dict[str, Any], kind: str) -> float | None:
    """Give by how many per cent what was told of a kind is off, None where nothing was told."""
    told = one["told"].get(kind)
    true = one["true"]["cpu and dram" if kind == "cpu" and _joins(one) else kind]
    return None if told is None else (told / true - 1) * 100


def _joins(one: dict[str, Any]) -> bool:
    """Whether a tool tells processors and memory in one figure."""
    return bool(one["told"].get("joined"))


def _error_cell(rounds: Sequence[dict[str, Any]], errors: Sequence[float | None], kind: str) -> str:
    known = [error for error in errors if error is not None]
    if not known:
        one = rounds[0]
        if not one["told"]:
            return f"no record, exits {one['status']}" + (
                ", command left alone" if one["left_the_command_alone"] else ""
            )
        return "not told"
    star = " *" if kind == "cpu" and any(map(_joins, rounds)) else ""
    least, most = min(known), max(known)
    if len(known) == 1 or f"{least:+,.1f}" == f"{most:+,.1f}":
        return f"{known[0]:+,.1f} %{star}"
    return f"{least:+,.1f} to {most:+,.1f} %{star}"


def _largest(errors: Sequence[float | None]) -> float | None:
    known = [abs(error) for error in errors if error is not None]
    return max(known) if known and len(known) == len(errors) else None


def _behind(rows: Sequence[Row], labels: dict[str, str], by: Any) -> Iterator[str]:
    """Say in which rows greenrun is not first; that it is first in all would be said, too."""
    behind = [sentence for row in rows if (sentence := _behind_in(row, labels, by))]
    if not behind:
        yield "Greenrun is first, or equal, in every row where there is a first."
    else:
        yield "Where greenrun is not first:"
        yield ""
        yield from (f"- {sentence}" for sentence in behind)


def _behind_in(row: Row, labels: dict[str, str], by: Any) -> str | None:
    ours = row.figures.get(_US)
    others = {
        tool: value for tool, value in row.figures.items() if tool in labels and tool != _US and value is not None
    }
    if not others:
        return None
    first = min(others, key=others.__getitem__)
    if ours is not None and ours <= others[first]:
        return None
    if ours is None:
        return f"{row.name}: {first} {row.cells[first]}, greenrun {row.cells[_US]}."
    difference = by(ours, others[first])
    return f"{row.name}: {first} {row.cells[first]}, greenrun {row.cells[_US]}{difference}." if difference else None


def _behind_by_points(ours: float, best: float) -> str | None:
    return f" ({ours - best:.1f} points more)" if ours - best > _NOISE_PERCENT else None


def _behind_by_ratio(ours: float, best: float) -> str | None:
    if best <= 0:
        return " (the other takes nothing that can be measured)"
    return f" ({ours / best:.1f} times as much)" if ours / best > _NOISE_RATIO else None


def _status(status: int) -> str:
    return "dies by SIGTERM, too" if status == -15 else str(status)


def _fate(of: dict[str, Any]) -> str:
    return "goes on" if of["command_goes_on"] else "ends"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
