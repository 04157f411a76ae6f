"""The verb `doctor`: what this machine can measure, what stands in the way, and what would help.

`examine` looks and gives a document; `render` turns it into text. Nothing is written, and nothing that hangs holds it
up for longer than ten seconds: a driver that is stuck and a file system that is gone are themselves what is asked for.
"""

from __future__ import annotations

import os
import platform
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import click

from greenrun import __version__
from greenrun.cli import config, output, parse, services
from greenrun.intensity import chain, cloud, location
from greenrun.intensity.model import TITLES, Unavailable
from greenrun.reports import units
from greenrun.sampler import sources
from greenrun.sampler.model import Finding, Kind, Machine, Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from greenrun.sampler.model import Source

LIMIT_SECONDS = 10.0  # NVML may need seconds for each GPU; more than this and nobody would wait for its answer
WIDTH = 80
_NO_BREAK = "\u00a0"  # a space where a line may not end

Result = TypeVar("Result")


def main(argv: list[str]) -> int:
    """Print what this machine offers; 0 if something can be measured, 1 if everything would be estimated."""
    return 1 if parse.invoke(command, argv, "greenrun doctor") == 1 else 0


@click.command(add_help_option=False, params=[parse.help_option()])
@click.option("--json", "as_json", is_flag=True, help="print the findings as one JSON document")
def command(as_json: bool) -> int:
    """Show what this machine can measure, what is absent, forbidden or broken, and what would help.

    The exit status is 0 if energy can be measured here, 1 if all of it would be estimated.
    """
    document = examine(config.load({}, os.environ, cwd=""), os.environ)
    if as_json:
        import json

        output.show(json.dumps(document, indent=2))
    else:
        output.show(render(document))
    return 0 if document["measuring"] else 1


def examine(settings: config.Config, environ: Mapping[str, str]) -> dict[str, Any]:
    """Look at the hardware, the place, the log directory and the kernel; the document is what --json prints."""
    devices, findings = _hardware(Machine(settings.sysfs_root, settings.procfs_root, agent=settings.agent))
    return {
        "greenrun": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "pidfd": _pidfd(),
        "measuring": any(device["measured"] for device in devices),
        "devices": devices,
        "findings": findings,
        "place": _place(settings, environ),
        "services": _services(settings, environ),
        "log_directory": _log_directory(settings.log_dir),
        "warnings": list(settings.warnings),
    }


def _hardware(machine: Machine) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    devices: list[dict[str, Any]] = []
    findings: list[Finding] = []

    def look(source: Source) -> None:
        opened = within(LIMIT_SECONDS, lambda: source.open(machine)) or _late(source.name)
        for device in opened.devices:
            measured = device.method != "estimate" and device.counted and device.trusted
            devices.append({**device._asdict(), "measured": measured})
        findings.extend(opened.findings)

    for source in sources.meters():
        look(source)
    missing = frozenset[Kind](("cpu", "dram")) - {device["kind"] for device in devices if device["counted"]}
    if missing:
        fast = {source.name for source in sources.fast()}
        forbidden = [finding for finding in findings if finding.status == "forbidden" and finding.source in fast]
        findings = [finding for finding in findings if finding not in forbidden]  # it gives them back if they matter
        beside = frozenset[Kind](("other",)) - {device["kind"] for device in devices}
        look(sources.stand_in(missing | beside, machine.agent, forbidden))
    return devices, [finding._asdict() for finding in findings]


def _late(source: str) -> Opened:
    return Opened(
        findings=(
            Finding(
                source,
                source,
                "broken",
                f"{source} has not answered within {LIMIT_SECONDS:g} seconds.",
                "See whether the vendor's own tool answers (nvidia-smi for NVIDIA), and what the kernel's log says.",
            ),
        )
    )


def within(seconds: float, act: Callable[[], Result]) -> Result | None:
    """Give what `act` gives or raises, None if it takes longer; its thread is then left behind."""
    results: list[Result] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            results.append(act())
        except Exception as error:  # noqa: BLE001  raised again where it was asked for
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    return results[0] if results else None


def _pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # before Linux 5.3, or a sandbox
        return False
    return True


def _place(settings: config.Config, environ: Mapping[str, str]) -> dict[str, Any]:
    place = location.find(settings.country, settings.zone, settings.place_from, environ)
    told = None
    if settings.intensity is not None:
        told = chain.Told(settings.intensity, settings.intensity_from or "the configuration")
    found = chain.known(told, place, settings.basis)
    intensity = None
    if found.spans:
        bounds = {"from_utc", "to_utc", "fetched_utc"}
        intensity = {key: value for key, value in found.spans[0]._asdict().items() if key not in bounds}
    passed = [one._asdict() for one in found.passed]
    return {**place._asdict(), "cloud": cloud.provider(settings.sysfs_root), "intensity": intensity, "passed": passed}


def _services(settings: config.Config, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tell which services a run here would ask; none is asked now."""
    place = location.find(settings.country, settings.zone, settings.place_from, environ)
    rows = []
    for service in services.services(settings, environ):
        zone: str | Unavailable = Unavailable("offline, so not asked")
        if settings.intensity is not None:
            zone = Unavailable("the intensity is told, so not asked")
        elif not settings.offline:
            zone = service.zone(place, settings.basis)
        reason = zone if isinstance(zone, Unavailable) else None
        rows.append(
            {
                "link": service.link,
                "title": TITLES[service.link],
                "address": service.address,
                "zone": None if isinstance(zone, Unavailable) else zone,
                "cause": reason and reason.cause,
                "reason": reason and reason.reason,
            }
        )
    return rows


def _log_directory(path: str) -> dict[str, Any]:
    trouble = within(LIMIT_SECONDS, lambda: _trouble(path))
    if trouble is None:
        trouble = f"it has not answered within {LIMIT_SECONDS:g} seconds"
    return {"path": path, "writable": not trouble, "trouble": trouble or None}


def _trouble(path: str) -> str:
    """Say why no run could be kept there, "" if it could: it need not exist yet."""
    place = os.path.abspath(path)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return f"{place} is no directory"
    if not os.access(place, os.W_OK | os.X_OK):
        return f"{place} may not be written"
    if os.statvfs(place).f_bavail == 0:
        return "the disk is full"
    return ""


def render(document: dict[str, Any]) -> str:
    """Tell the document in at most 80 columns."""
    lines = [_headline(document["devices"]), "", "What a run here would use:"]
    for device in document["devices"]:
        lines += _wrapped(
            f"  {device['kind']:5} ",
            f"{device['name']}: {_method(device)}, {_give_or_take(device)}"
            f"{'' if device['counted'] else ', beside the total'}{'. ' if device['note'] else ''}{device['note']}",
        )
    if not document["devices"]:
        lines.append("  nothing")
    told = [finding for finding in document["findings"] if finding["status"] != "ok"]
    if told:
        lines += ["", "What it would not use:"]
    for finding in told:
        lines += _wrapped(f"  {finding['status']:9} ", f"{finding['subject']}: {finding['sentence']}")
        if finding["remedy"]:
            lines += _wrapped("            ", finding["remedy"])
    lines += ["", "Around it:", *_around(document)]
    return "\n".join(lines)


def _headline(devices: list[dict[str, Any]]) -> str:
    measured = {device["kind"] for device in devices if device["measured"]}
    estimated = {device["kind"] for device in devices if device["counted"]} - measured
    return (
        f"greenrun measures {', '.join(sorted(measured)) or 'nothing'} on this machine"
        f"{' and estimates ' if estimated else ''}{', '.join(sorted(estimated))}."
    )


def _method(device: dict[str, Any]) -> str:
    if device["method"] == "estimate":
        return "estimated"
    words = {"counter": "energy counter", "power": "power, integrated"}[device["method"]]
    return f"{words if device['trusted'] else 'counter modelled by the hypervisor'} ({device['source']})"


def _give_or_take(figure: dict[str, Any]) -> str:
    return f"+-{figure['uncertainty_percent']:g}{_NO_BREAK}%"


def _around(document: dict[str, Any]) -> list[str]:
    place, logs = document["place"], document["log_directory"]
    where = place["zone"] or place["country"]
    rows = [
        ("place", f"{where} ({place['how']})" if where else f"{place['how']} (--country or --zone tells it)"),
        *((("cloud", f"{place['cloud']}: a run asks its metadata service for the region"),) if place["cloud"] else ()),
        *(("live", text) for text in _live(document["services"])),
        ("carbon", _carbon(place)),
        ("logs", f"{logs['path']}: {logs['trouble'] or 'can be written'}"),
        ("kernel", f"Linux {document['kernel']}, {'with' if document['pidfd'] else 'without'} pidfd"),
        ("version", f"greenrun {document['greenrun']} on Python {document['python']}"),
        *(("warning", warning) for warning in document["warnings"]),
    ]
    return [line for label, text in rows for line in _wrapped(f"  {label:9} ", text)]


def _live(services: list[dict[str, Any]]) -> list[str]:
    """Say what a run does with each service; those of which the same is to be said together."""
    titles: dict[str, list[str]] = {}
    others = ""
    for service in services:
        does = service["reason"]
        if service["zone"]:
            does, others = f"a run asks it for {service['zone']}{others}", ", if those above do not answer"
        titles.setdefault(does, []).append(service["title"])
    return [f"{', '.join(names)}: {does}" for does, names in titles.items()]


def _carbon(place: dict[str, Any]) -> str:
    intensity = place["intensity"]
    if intensity is None:
        return "unknown: " + "; ".join(one["reason"] for one in place["passed"])
    basis = intensity["basis"] and f"{intensity['basis']} emissions"
    year = intensity["year"] and str(intensity["year"])
    known = (intensity["note"], " of ".join(filter(None, (basis, year))), intensity["source"])
    grams = f"{units.digits(intensity['grams_per_kwh'], 3)} g CO2e per kWh"
    if intensity["link"] == "told":
        return f"{grams} ({intensity['source']}, {intensity['note']})"
    average = f"yearly average, {', '.join(filter(None, known))}"
    return f"{grams} {_give_or_take(intensity)}, where no service answers ({average})"


def _wrapped(label: str, text: str) -> list[str]:
    import textwrap

    lines = textwrap.wrap(text, WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]
