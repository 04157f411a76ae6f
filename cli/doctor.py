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
from greenrun.cli import config, floor, output, parse, services
from greenrun.intensity import chain, cloud, location
from greenrun.intensity.model import TITLES, Unavailable
from greenrun.reports import units
from greenrun.sampler import cgroups, containers, hardware, overlap, sources
from greenrun.sampler.model import Device, Finding, Kind, Machine, Opened

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
    machine = Machine(settings.sysfs_root, settings.procfs_root, agent=settings.agent, cpu_source=settings.cpu_source)
    devices, findings = _hardware(machine)
    processor = hardware.read_processor(machine.procfs)
    return {
        "greenrun": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "pidfd": _pidfd(),
        "measuring": any(device["measured"] for device in devices),
        "devices": devices,
        "findings": findings,
        "machine": _machine(machine, processor),
        "floor": _floor(settings, environ, processor.brand, devices),
        "place": _place(settings, environ),
        "services": _services(settings, environ),
        "log_directory": _log_directory(settings.log_dir),
        "warnings": list(settings.warnings),
    }


def _hardware(machine: Machine) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    devices: list[Device] = []
    findings: list[Finding] = []

    def look(source: Source) -> None:
        opened = within(LIMIT_SECONDS, lambda: source.open(machine)) or _late(source.name)
        devices.extend(opened.devices)
        findings.extend(opened.findings)

    for source in sources.meters(machine):
        look(source)
    counted = overlap.settled(devices)
    missing = overlap.untold_apart(("cpu", "dram"), counted)
    if missing:
        forbidden = [
            finding for finding in findings if finding.status == "forbidden" and finding.source in sources.GUARDED
        ]
        findings = [finding for finding in findings if finding not in forbidden]  # it gives them back if they matter
        beside = frozenset[Kind](("other",)) - {device.kind for device in devices}
        inside = missing - overlap.untold(missing, counted)
        look(sources.stand_in(missing | beside, machine.agent, forbidden, inside))
    rows = [
        {
            **device._asdict(),
            "covers": list(device.covers),
            "measured": device.method != "estimate" and device.counted and device.trusted,
        }
        for device in overlap.settled(devices)
    ]
    return rows, [finding._asdict() for finding in findings]


def _machine(machine: Machine, processor: hardware.Processor) -> dict[str, Any]:
    """Tell what of it is the machine's, and what a container or a hypervisor shows in its place."""
    return {
        "virtual": processor.virtual,
        "own_process_ids": containers.has_own_process_ids(machine),
        "all_cpus": containers.all_cpus(machine, processor),
        "cpu_limit": cgroups.cpu_limit(machine),
        "memory_limit_bytes": cgroups.memory_limit_bytes(machine),
        "doubts": containers.doubts(machine),
    }


def _floor(
    settings: config.Config, environ: Mapping[str, str], brand: str, devices: list[dict[str, Any]]
) -> dict[str, Any]:
    known = [Device(**{name: device[name] for name in Device._fields}) for device in devices]
    found = floor.find(settings, environ, brand, known)
    return {**(found.field() or {}), "path": found.path or None, "trouble": found.trouble or None}


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
        *(("machine", text) for text in _about_machine(document["machine"])),
        ("floor", _about_floor(document["floor"], document["measuring"])),
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


def _about_machine(machine: dict[str, Any]) -> list[str]:
    """Say what is not as on a machine that one has to oneself; nothing where it is."""
    limits = []
    if machine["cpu_limit"] is not None and machine["cpu_limit"] < (machine["all_cpus"] or 0):
        limits.append(f"{machine['cpu_limit']:g} of {machine['all_cpus']} CPUs")
    if machine["memory_limit_bytes"] is not None:
        limits.append(f"{machine['memory_limit_bytes'] / 2**30:.1f} GiB of memory")
    told = [
        "virtual, so a counter here is modelled by the hypervisor" if machine["virtual"] else "",
        f"a control group gives this process {' and '.join(limits)}" if limits else "",
        "process ids are a container's own: what a GPU driver tells of processes is of the machine's"
        if machine["own_process_ids"]
        else "",
        *machine["doubts"],
    ]
    return [text for text in told if text]


def _about_floor(known_floor: dict[str, Any], measuring: bool) -> str:
    if known_floor["path"] is None:
        how = "greenrun calibrate measures what it draws while idle" if measuring else "nothing here has a meter"
        return known_floor["trouble"] or f"unknown: {how}"
    known = [(name, known_floor[f"{name}_watts"]) for name in ("cpu", "dram")] + [
        ("gpu", sum(known_floor["gpu_watts"].values()))
    ]
    watts = ", ".join(f"{name} {units.digits(value, 3)} W" for name, value in known if value)
    return f"idle at {watts or '0 W'}, measured {known_floor['measured_at'][:10]} ({known_floor['path']})"


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
