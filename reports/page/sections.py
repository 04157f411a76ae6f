"""What the page tells of one run: how it ended, what it cost, how sure that is, and where each figure came from."""

from __future__ import annotations

import shlex
import signal
from typing import TYPE_CHECKING

from greenrun.reports import equivalents, origin, scopes, units, words
from greenrun.reports.page import plots
from greenrun.reports.page.markup import Html, element, join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from greenrun.reports.record import Device, Prediction, Range, Record
    from greenrun.reports.series import Series

_CO2E = join("CO", element("sub", "2"), "e")
_AMOUNTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "energy_joules": ("Energy", units.energy),
    "co2e_grams": (_CO2E, units.mass),
    "duration_seconds": ("Time", units.duration),
}
_UNKNOWN = "unknown"
_NOTHING = "\N{EN DASH}"
_KEYS_HELP = "Arrow keys read it, plus and minus zoom, Escape shows all."
_LONGEST_NAME = 48
_MOST_FINDINGS = 40
_MOST_ROWS = 100


def name_of(record: Record) -> str:
    """Give what a run is called on the page: its name, else its program, else its id."""
    command = record["command"]
    return record["name"] or (command[0] if command else None) or record["run_id"]


def short(name: str) -> str:
    """Give a name that may be of any length in what a line has room for."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"


def run(record: Record, series: Series | None, number: int) -> Html:
    """Give the article of one run, the `number`th of the page."""
    return element(
        "article",
        _head(record, number),
        _cards(record),
        _compared(record),
        _warnings(record),
        _figures(record, series, number),
        _devices(record),
        _predictions(record["prediction"], number),
        _named_parts(record),
        _origin(record),
        id=f"run-{number}",
        aria_labelledby=f"name-{number}",
    )


def overview(records: list[Record]) -> Html:
    """Give the table of all runs of the page, each with a link to its part."""
    rows = [
        [
            element("a", short(name_of(record)), href=f"#run-{number}"),
            record["started_at"][:16].replace("T", " "),
            _status(record),
            _duration(record),
            _energy(record),
            _grams(record),
        ]
        for number, record in enumerate(records, 1)
    ]
    head = ["Run", "Started (UTC)", "Status", "Time", "Energy", _CO2E]
    return element("nav", table("The runs of this page", head, rows, numbers_from=3), aria_label="Runs")


def table(caption: str, head: list[str], rows: Sequence[Sequence[str | None]], *, numbers_from: int = 1) -> Html:
    """Give a table that may be wider than a telephone; its first column names the rows."""
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *(element("th", one, scope="col") for one in head))),
            element(
                "tbody",
                *(
                    element(
                        "tr",
                        element("th", first, scope="row"),
                        *(
                            element("td", one, class_="number" if column >= numbers_from else None)
                            for column, one in enumerate(rest, 1)
                        ),
                    )
                    for first, *rest in rows
                ),
            ),
        ),
        class_="wide",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def _head(record: Record, number: int) -> Html:
    """Say what ran, where, and how it ended."""
    facts = [
        record["host"],
        record["user"] and f"by {record['user']}",
        f"{record['started_at'][:19].replace('T', ' ')} UTC",
    ]
    command = record["command"]
    return element(
        "header",
        element("h2", element("bdi", name_of(record)), id=f"name-{number}"),
        element("p", element("code", _command(command), dir="ltr"), class_="command") if command else None,
        element(
            "p",
            element("span", _status(record), class_=f"chip {'good' if record['status'] == 'complete' else 'doubt'}"),
            " ",
            _ending(record),
            *(join(" · ", element("bdi", fact)) for fact in facts if fact),
            class_="facts",
        ),
    )


def _command(command: list[str]) -> str:
    return shlex.join(command)


def _status(record: Record) -> str:
    return {"complete": "complete", "partial": "partial", "not-started": "not started"}[record["status"]]


def _ending(record: Record) -> str:
    if record["signal"] is not None:
        return f"ended by {_signal(record['signal'])}"
    if record["exit_code"] is not None:
        return f"exit code {record['exit_code']}"
    return "how it ended is unknown" if record["kind"] == "command" else f"a {record['kind']}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name of their own
        return f"signal {number}"


def _cards(record: Record) -> Html:
    """Give the figures that matter most."""
    low, high = record["co2e_low_grams"], record["co2e_high_grams"]
    span = None if low is None or high is None else f"{units.interval(units.mass(low), units.mass(high))} at 95 %"
    percent = record["uncertainty_percent"]
    used = record["intensity"]
    intensity = used["grams_per_kwh"]
    cards = [
        (
            "Energy",
            _energy(record),
            join(*_commas(percent is not None and f"±{units.percent(percent or 0.0)}", _estimated(record))),
        ),
        (_CO2E, _grams(record), span),
        ("Time", _duration(record), _average_power(record)),
        (
            "Carbon intensity",
            _UNKNOWN if intensity is None else _per_kwh(intensity),
            join(*_commas(used["zone"] or used["country"], f"PUE {record['pue']:g}")),
        ),
    ]
    job = plots.job_joules(record)
    if job is not None:
        total = record["energy_joules"]["total"]
        part = f"{units.percent(100.0 * job / total)} of the node's" if total else "of the node's"
        cards.insert(1, ("The job's share", units.energy(job), part))
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", label),
                element("dd", value, class_="figure"),
                element("dd", more) if more else None,
            )
            for label, value, more in cards
        ),
        class_="cards",
    )


def _compared(record: Record) -> Html | None:
    """Say what the CO2e compares to."""
    found = [one.words for one in equivalents.of(record["co2e_grams"])]
    return (
        element("p", _grams(record), " of ", _CO2E, f" are about {', or '.join(found)}.", class_="facts")
        if found
        else None
    )


def _commas(*parts: str | bool | None) -> Iterator[str]:
    yield ", ".join(part for part in parts if isinstance(part, str) and part)


def _estimated(record: Record) -> str:
    estimated = [device["method"] == "estimate" for device in scopes.devices_in(record) if device["counted"]]
    return "" if not any(estimated) else "estimated" if all(estimated) else "partly estimated"


def _average_power(record: Record) -> str | None:
    joules, seconds = scopes.energy_of(record)["total"], record["duration_seconds"]
    return f"{units.power(joules / seconds)} on average" if joules is not None and seconds else None


def _warnings(record: Record) -> Html | None:
    if not record["warnings"]:
        return None
    told = [element("li", warned["message"]) for warned in record["warnings"]]
    return element("section", element("h3", "Warnings"), element("ul", *told), class_="warnings")


def _figures(record: Record, series: Series | None, number: int) -> Html:
    """Give the places of the plots, each with what it shows in words, and the table beside those over time."""
    total = scopes.energy_of(record)["total"]
    grams = record["co2e_grams"]
    out: list[Html] = []
    if series is not None:
        mean = _average_power(record)
        out.append(
            _figure(
                number,
                "power",
                "Power over time",
                f"The counted devices, one on the other{f': {mean}' if mean else ''}. {_marks(record)}",
            )
        )
        if any(step.grams_per_kwh is not None for step in series.intensity):
            out.append(_figure(number, "intensity", "Carbon intensity", _swing(series)))
        if series.grams[-1] is not None and grams is not None:
            out.append(
                _figure(number, "grams", join("Cumulative ", _CO2E), f"PUE included; {units.mass(grams)} in the end.")
            )
        out.append(_over_time(record, series))
    elif record["status"] != "not-started":
        out.append(element("p", "Nothing was measured over time, so that there is no curve to draw."))
    if total is not None:
        half = " Each line through an end is a 95 % interval."
        out.append(_figure(number, "devices", "Energy by device", f"{units.energy(total)} in all.{half}"))
    job = plots.job_joules(record)
    node = record["energy_joules"]["total"]
    if job is not None and node is not None:
        told = f"{units.energy(job, node)} of {units.energy(node)} are the job's; the rest is the node's."
        out.append(_figure(number, "share", "The node's share", told))
    return element("section", element("h3", "Over time and by device"), *out, class_="figures")


def _figure(number: int, plot: str, title: str, words: str) -> Html:
    """Give the place of one plot; the script draws into it, and its words stand there without a script too."""
    identifier = f"{plot}-{number}"
    return element(
        "figure",
        element(
            "figcaption",
            element("strong", title, id=f"{identifier}-title"),
            " ",
            element("span", words, id=f"{identifier}-words"),
        ),
        element(
            "div",
            class_="plot",
            data_plot=plot,
            data_run=str(number),
            role="group",
            aria_roledescription="plot",
            aria_labelledby=f"{identifier}-title",
            aria_describedby=f"{identifier}-words {identifier}-keys",
        ),
        element("p", _KEYS_HELP, id=f"{identifier}-keys", class_="unseen"),
        class_=f"of-{plot.partition('-')[0]}",
    )


def _marks(record: Record) -> str:
    count = len(record["epochs"])
    return f"Dashed lines: the ends of {count} epochs, of as many as there is room for." if count else ""


def _swing(series: Series) -> str:
    known = [step.grams_per_kwh for step in series.intensity if step.grams_per_kwh is not None]
    low, high = min(known), max(known)
    if low == high:
        return f"In g/kWh, {units.digits(low, 3)} all the time."
    return f"In g/kWh, between {units.digits(low, 3)} and {units.digits(high, 3)}."


def _over_time(record: Record, series: Series) -> Html:
    names = plots.labels(record)
    shown = [k for k, line in enumerate(series.lines) if any(value is not None for value in line.watts)]
    head = ["Until", *(names[series.lines[k].device] for k in shown), "Intensity", join(_CO2E, " so far")]
    rows = [
        [
            units.duration(row.to_t),
            *(_or_dash(row.watts[k], units.power) for k in shown),
            _or_dash(row.grams_per_kwh, _per_kwh),
            _or_dash(row.grams, units.mass),
        ]
        for row in plots.rows(series)
    ]
    return element(
        "details",
        element("summary", "The same as a table"),
        table("The run over time: mean power of each part", head, rows),
    )


def _devices(record: Record) -> Html | None:
    total = scopes.energy_of(record)["total"]
    names = plots.labels(record)
    if not scopes.devices_in(record):
        return None
    rows = [
        [
            names[device["id"]],
            words.KINDS[device["kind"]],
            _method(device),
            _or_dash(device["energy_joules"], lambda joules: units.energy(joules, total)),
            _or_dash(device["uncertainty_percent"], lambda percent: f"±{units.percent(percent)}"),
            _part(device, total),
        ]
        for device in scopes.devices_in(record)
    ]
    rows.append(
        [
            "Total",
            "",
            "devices of one method add their errors, different methods add them as squares",
            _or_dash(total, units.energy),
            _or_dash(record["uncertainty_percent"], lambda percent: f"±{units.percent(percent)}"),
            "",
        ]
    )
    head = ["Device", "Kind", "How it is known", "Energy", "95 % interval", "Part"]
    return element("section", element("h3", "Devices"), table("Energy by device", head, rows, numbers_from=3))


def _method(device: Device) -> str:
    trusted = words.METHODS[device["method"]] if device["trusted"] else words.MODELLED
    beside = "" if device["counted"] else "beside the total"
    return "; ".join(filter(None, (trusted, beside, device["note"])))


def _part(device: Device, total: float | None) -> str:
    joules = device["energy_joules"]
    if not device["counted"] or joules is None or not total:
        return _NOTHING
    return units.percent(100.0 * joules / total)


def _predictions(told: Prediction | None, number: int) -> Html | None:
    """Give each prediction beside what came of it."""
    if told is None:
        return None
    keys = [key for key in _AMOUNTS if any(dict(made).get(key) for made in told["made"])]
    made = told["made"]
    chosen = made if len(made) <= _MOST_ROWS else [*made[: _MOST_ROWS - 1], made[-1]]
    rows: list[Sequence[str | None]] = [
        [
            f"{one['after_epoch']} of {one['epochs']}",
            *(_range(key, dict(one).get(key), dict(one["error_percent"]).get(key)) for key in keys),  # type: ignore[arg-type]  # as Made has them
        ]
        for one in chosen
    ]
    actual = dict(told["actual"])
    rows.append(["actual", *(_or_dash(actual[key], _AMOUNTS[key][1]) for key in keys)])  # type: ignore[arg-type]  # as Amounts has them
    note = " The job stopped before its last epoch, so these were upper bounds." if told["stopped_early"] else ""
    left = f" {len(made) - len(chosen)} more are in the record." if len(made) > len(chosen) else ""
    return element(
        "section",
        element("h3", "Predicted against actual"),
        element("p", f"Told after an epoch, each with its 90 % range.{note}{left}"),
        element("div", *(_figure(number, f"predicted-{key}", _AMOUNTS[key][0], "") for key in keys), class_="three"),
        element(
            "details",
            element("summary", "The same as a table"),
            table("Predictions", ["After epoch", *(_AMOUNTS[key][0] for key in keys)], rows),
        ),
        class_="predictions",
    )


def _range(key: str, told: Range | None, error: float | None) -> str:
    if not told:
        return _NOTHING
    write = _AMOUNTS[key][1]
    off = "" if error is None else f", {error:+.1f}{units.NO_BREAK}%"
    return f"{write(told['value'])} ({units.interval(write(told['low']), write(told['high']))}{off})"


def _named_parts(record: Record) -> Html | None:
    """Give what the job has told of itself: metrics and phases."""
    metrics, phases = record["metrics"], record["phases"]
    if not metrics and not phases:
        return None
    out: list[Html] = []
    if metrics:
        told = sorted(metrics.items())[:_MOST_ROWS]
        rows: list[Sequence[str | None]] = [
            [name, _UNKNOWN if value is None else f"{value:.6g}"] for name, value in told
        ]
        out.append(table(_of(len(told), len(metrics), "Metrics, each with its last value"), ["Metric", "Value"], rows))
    if phases:
        parts = phases[:_MOST_ROWS]
        rows = [
            [
                part["name"],
                str(part["times"]),
                units.duration(part["duration_seconds"]),
                _or_dash(part["energy_joules"], units.energy),
            ]
            for part in parts
        ]
        out.append(table(_of(len(parts), len(phases), "Phases"), ["Phase", "Times", "Time", "Energy"], rows))
    return element("section", element("h3", "Told by the job"), *out)


def _of(told: int, count: int, caption: str) -> str:
    return caption if told == count else f"{caption} ({told} of {count}; the record has all)"


def _origin(record: Record) -> Html:
    """Give where the figures come from, and what else the record knows."""
    used = record["intensity"]
    job: dict[str, object] = dict(record["job"] or {})
    facts: list[tuple[str, str | None]] = [
        ("Epochs", _epochs(record)),
        ("Power usage effectiveness", f"{record['pue']:g}, {words.PUE_SOURCES[record['pue_source']]}"),
        ("Carbon intensity", origin.words(used).replace("+-", "±") or _UNKNOWN),
        ("Scope", _scope(record)),
        ("Suspended", _or_none(record["suspended_seconds"] or None, units.duration)),
        ("CPU time", _or_none(record["usage"]["cpu_seconds"], units.duration)),
        ("Largest process", _or_none(record["usage"]["max_rss_bytes"], lambda size: f"{size / 1e9:.3g} GB")),
        ("Scheduler", ", ".join(f"{key}={value}" for key, value in sorted(job.items()) if value is not None) or None),
        ("Tags", ", ".join(f"{key}={value}" for key, value in sorted(record["tags"].items())) or None),
        ("Run", record["run_id"]),
        ("Part of", record["parent_run_id"] and f"run {record['parent_run_id']}, which holds this energy too"),
    ]
    findings = [
        element("li", finding["sentence"]) for finding in record["findings"][:_MOST_FINDINGS] if finding["sentence"]
    ]
    return element(
        "section",
        element("h3", "Where the figures come from"),
        element(
            "dl", *(join(element("dt", label), element("dd", text)) for label, text in facts if text), class_="pairs"
        ),
        element("details", element("summary", "What was found on the machine"), element("ul", *findings))
        if findings
        else None,
    )


def _epochs(record: Record) -> str | None:
    epochs = record["epochs"]
    if not epochs:
        return None
    joules = [epoch["energy_joules"] for epoch in epochs if epoch["energy_joules"] is not None]
    energy = f" and {units.energy(sum(joules) / len(joules))}" if joules else ""
    seconds = sum(epoch["duration_seconds"] for epoch in epochs) / len(epochs)
    return f"{len(epochs)}, on average {units.duration(seconds)}{energy}"


def _scope(record: Record) -> str:
    """Say whose the figures are, and by what a job's part was told."""
    share = record["share"]
    if not scopes.is_of_job(record) or share is None:
        return "the whole machine while it ran"
    by = {"cpu": share["cpu"], "dram": share["dram"], "gpu": share["gpu"]}
    told = [f"{words.KINDS[kind]} by {words.SHARED_BY[way]}" for kind, way in by.items() if way is not None]
    split = "" if share["method"] == "split" else "; unsplit, for no idle floor is known"
    return f"the job's part of the machine while it ran: {', '.join(told)}{split}"


def _duration(record: Record) -> str:
    return _UNKNOWN if record["duration_seconds"] is None else units.duration(record["duration_seconds"])


def _energy(record: Record) -> str:
    joules = scopes.energy_of(record)["total"]
    return _UNKNOWN if joules is None else units.energy(joules)


def _grams(record: Record) -> str:
    return _UNKNOWN if record["co2e_grams"] is None else units.mass(record["co2e_grams"])


def _per_kwh(grams: float) -> str:
    return f"{units.digits(grams, 3)}{units.NO_BREAK}g/kWh"


def _or_dash(value: float | None, write: Callable[[float], str]) -> str:
    return _NOTHING if value is None else write(value)


def _or_none(value: float | None, write: Callable[[float], str]) -> str | None:
    return None if value is None else write(value)
