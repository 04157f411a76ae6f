"""Runs as one page: a single HTML file that asks nothing of anybody, with plots to look into.

All scripts and styles are in the file, and its Content-Security-Policy allows just them, by their hashes: whatever a
command line or a name smuggles in could neither run nor load anything. The figures and tables are there without a
script too; the script draws the plots. `page/` has the parts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenrun.reports.page import plots, sections
from greenrun.reports.page.markup import Html, data, digest, element, join, verbatim
from greenrun.reports.series import MOST_POINTS, series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.reports.formats import Told

_FOLDER = os.path.join(os.path.dirname(__file__), "page")
_STYLES = ("uPlot.min.css", "page.css")
_SCRIPTS = ("uPlot.iife.min.js", "page.js")
_LICENCE = "uPlot-LICENSE.txt"


def render_runs(runs: Sequence[Told]) -> str:
    """Give the page of these runs, one at least, in the order in which they were told."""
    lines = sum(len(run.record["devices"]) + 2 for run in runs)  # the times and the CO2e are lines too
    most = min(MOST_POINTS, plots.points_for(lines))
    curves = [series(run.record, run.events, most) for run in runs]
    records = [run.record for run in runs]
    title = sections.short(sections.name_of(records[0])) if len(records) == 1 else f"{len(records)} runs"
    versions = ", ".join(dict.fromkeys(record["greenrun"] for record in records))
    body = element(
        "body",
        element("a", "To the figures", href="#run-1", class_="skip"),
        element(
            "header",
            element("h1", "Energy and carbon", element("span", f" of {title}") if len(records) > 1 else None),
            class_="top",
        ),
        element(
            "main",
            sections.overview(records) if len(records) > 1 else None,
            element(
                "noscript", element("p", "Plots are drawn by a script, which is off here; the tables hold the same.")
            ),
            *(
                sections.run(record, curve, number)
                for number, (record, curve) in enumerate(zip(records, curves, strict=True), 1)
            ),
        ),
        element(
            "footer",
            element(
                "p",
                f"Measured by greenrun {versions}. An interval is of 95 %, a prediction's range of 90 %; "
                "unknown is said to be unknown, and an estimate to be one. Plots by uPlot (MIT).",
            ),
        ),
        data("runs", [plots.plotted(record, curve) for record, curve in zip(records, curves, strict=True)]),
        verbatim("script", _read(_LICENCE), type="text/plain"),  # which asks to be in every copy
        *(verbatim("script", _read(name)) for name in _SCRIPTS),
    )
    return f"<!DOCTYPE html>\n{element('html', _head(title), body, lang='en')}\n"


def _head(title: str) -> Html:
    # Of a style or script nothing but its hash is allowed; the icon is empty so that no browser asks for one.
    policy = (
        f"default-src 'none'; script-src {' '.join(digest(_read(name)) for name in _SCRIPTS)}; "
        f"style-src {' '.join(digest(_read(name)) for name in _STYLES)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return join(
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=policy),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", name="referrer", content="no-referrer"),
            element("link", rel="icon", href="data:,"),
            element("title", f"{title}: energy and carbon"),
            *(verbatim("style", _read(name)) for name in _STYLES),
        )
    )


def _read(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8", newline="") as file:
        return file.read()
