"""One frozen Config, from defaults < site < user < project < environment < flags.

A mistake in a value or a key is the user's and is raised. A file that cannot be read or is no TOML costs nobody a
job: it becomes a warning.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from greenrun.cli import options
from greenrun.cli.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greenrun.intensity.model import Basis
    from greenrun.sampler.model import CpuSource

SITE_FILE = "/etc/greenrun.toml"
_MAX_FILE_BYTES = 256 << 10  # far above any settings; a file without end must not hold up a job
# Python's parser takes the square of a key's parts: 40 kB of a.a.a.a are half a minute in front of a job.
_MOST_KEY_PARTS = 16
_LONGEST_SHOWN = 200  # of what somebody has written into a file, in a sentence


class Config(NamedTuple):
    """What is in force for one run. Every value has been checked; None means "not told"."""

    log_dir: str = "greenrun-logs"  # as given; relative to the working directory
    name: str | None = None
    pue: float | None = None  # None: nobody told; 1.0 is assumed and said so
    country: str | None = None  # ISO 3166-1 alpha-2, upper case
    zone: str | None = None
    place_from: str | None = None  # where country or zone came from: "--country", "GREENRUN_COUNTRY", a file's path
    intensity: float | None = None  # grams of CO2e per kWh
    intensity_from: str | None = None
    basis: Basis = "lifecycle"
    scope: Literal["auto", "node", "job"] = "auto"  # auto: the job's where it was given a part of the machine
    interval: float = 1.0  # seconds between samples
    epochs: int | Literal["auto"] | None = None  # None: watch only what nothing has to be put in between for
    epoch_pattern: str | None = None
    epoch_marks: Literal["start", "end"] | None = None
    quiet: bool = False
    offline: bool = False
    cloud_metadata: bool = True  # ask the cloud's own metadata service where the firmware names that cloud
    start: str | None = None  # "greenest" waits, "now" does not
    deadline: float | None = None  # seconds from now
    duration: float | None = None  # seconds
    budget: str | None = None  # "50Wh"
    budget_action: Literal["warn", "fail", "stop"] = "warn"
    ci: bool = True  # write what GitHub Actions and GitLab CI look for, where they run this
    metrics_file: str | None = None  # as given; relative to the working directory
    every_rank: bool = False  # False: the first rank of a node measures for all of them
    record_command: bool = True
    electricitymaps_token_file: str | None = None
    electricitymaps_url: str | None = None  # None, also below: the service's own address
    neso_url: str | None = None
    energidata_url: str | None = None
    energycharts_url: str | None = None
    cloud_metadata_url: str | None = None
    sysfs_root: str = "/sys"
    procfs_root: str = "/proc"
    cpu_source: CpuSource = "auto"
    agent: str = "/run/greenrun/agent.sock"
    floor: str | None = None  # None: the site's, else the user's own
    spool: str = "/var/spool/greenrun"  # of a scheduler's jobs; root's alone
    copy: Literal["never", "asked", "always"] = "asked"  # of its record for a job's user
    warnings: tuple[str, ...] = ()  # an unknown GREENRUN_ variable, an unreadable file: one sentence each

    @property
    def planned_epochs(self) -> int | None:
        """How many epochs the job will run, as far as the user said."""
        return None if self.epochs == "auto" else self.epochs


_NEGATED = (("no_command", "record_command"), ("no_cloud_metadata", "cloud_metadata"), ("no_ci", "ci"))


class _Setting(NamedTuple):
    place: str  # where it was told, as the user knows that place
    value: options.Value


_Layer = dict[str, _Setting]  # by the option's key


def load(flags: Mapping[str, str | bool], environ: Mapping[str, str], cwd: str, site_file: str = SITE_FILE) -> Config:
    """Put the layers together.

    `flags` holds what the command line told, by the option's key; `cwd` is where the project's file is looked for,
    "" the working directory whatever its name. Raises UserError for an unknown key and for a value that is not allowed.
    """
    warnings: list[str] = []
    cluster = environ.get("SLURM_CLUSTER_NAME", "")
    layers = [
        *_with_cluster(site_file, cluster, warnings),
        *_user(environ, cluster, warnings),
    ]
    layers += [
        _without_leading_root(_without_switching_off(_project(cwd, warnings), layers, warnings), warnings),
        _environment(environ, warnings),
        _flags(flags),
    ]
    if "budget_action" in flags and not any("budget" in layer for layer in layers):
        raise UserError("--budget-action must come with --budget, such as --budget 50Wh")
    return _together(layers, warnings)


def load_site(environ: Mapping[str, str], site_file: str = SITE_FILE) -> Config:
    """Give what the site has set, and the spool's variable: all that counts for what root runs around users' jobs.

    Raises UserError as `load` does, and for a file that cannot be read: root is not to write where nobody told it to.
    """
    warnings: list[str] = []
    layers = _with_cluster(site_file, environ.get("SLURM_CLUSTER_NAME", ""), warnings)
    if warnings:
        raise UserError(warnings[0])
    spool = {name: environ[name] for name in ("GREENRUN_SPOOL",) if name in environ}
    return _together([*layers, _environment(spool, warnings)], warnings)


def _together(layers: list[_Layer], warnings: list[str]) -> Config:
    """Lay each layer over those before it."""
    settings: _Layer = {}
    for layer in layers:
        if "country" in layer or "zone" in layer:
            # The place is told as a whole: a nearer layer's country must not meet a farther one's zone or intensity.
            for key in ("country", "zone", "intensity"):
                settings.pop(key, None)
            _agree(layer)
        settings.update(layer)
    fields: dict[str, Any] = {key: setting.value for key, setting in settings.items()}
    for told, field in _NEGATED:
        if told in fields:
            fields[field] = not fields.pop(told)
    place = settings.get("zone") or settings.get("country")
    return Config(
        **fields,
        place_from=place.place if place else None,
        intensity_from=settings["intensity"].place if "intensity" in settings else None,
        warnings=tuple(warnings),
    )


def _without_switching_off(project: _Layer, farther: list[_Layer], warnings: list[str]) -> _Layer:
    """Leave out what would lift a rule of the user's or the site's: to ask no service, to record no command line."""
    rules = {key: setting.value for layer in farther for key, setting in layer.items()}
    kept = {}
    for key, setting in project.items():
        if setting.value is False and rules.get(key) is True:
            name = options.BY_KEY[key].name
            warnings.append(f"{setting.place}: {name} is ignored, because a project's file may not switch it off")
        else:
            kept[key] = setting
    return kept


def _without_leading_root(project: _Layer, warnings: list[str]) -> _Layer:
    """Leave out where to write what root writes, if another user's file tells it and it is not below that file."""
    told = project.get("log_dir")
    if told is None or os.geteuid() != 0 or os.stat(told.place).st_uid == 0:
        return project
    path = str(told.value)
    if not path.startswith("/") and ".." not in path.split("/"):
        return project
    warnings.append(f"{told.place}: log-dir is ignored, for to root another user's file may name one below it alone")
    return {key: setting for key, setting in project.items() if key != "log_dir"}


def _agree(layer: _Layer) -> None:
    if not ("country" in layer and "zone" in layer):
        return
    from greenrun.intensity.location import zone_country

    country, zone = layer["country"], layer["zone"]
    if zone_country(str(zone.value)) != country.value:
        raise UserError(f"{zone.place}: the zone {zone.value} must lie in the country {country.value}")


def _flags(flags: Mapping[str, str | bool]) -> _Layer:
    layer = {}
    for key, told in flags.items():
        option = options.BY_KEY[key]
        place = f"--{option.name}"
        layer[key] = _Setting(place, told if isinstance(told, bool) else _checked(option, told, place))
    return layer


def _environment(environ: Mapping[str, str], warnings: list[str]) -> _Layer:
    layer = {}
    for variable, text in environ.items():
        if not variable.startswith("GREENRUN_") or variable in options.MARKERS | options.SECRETS:
            continue
        option = options.BY_VARIABLE.get(variable)
        if option is None:
            near = options.nearest(variable, set(options.BY_VARIABLE), prefix="GREENRUN_")
            warnings.append(f"{variable} is no variable of greenrun's{f', {near} is the nearest' if near else ''}")
        elif text:  # an empty variable is how many systems say "not set"
            layer[option.key] = _Setting(variable, _checked(option, text, variable))
    return layer


def _user(environ: Mapping[str, str], cluster: str, warnings: list[str]) -> list[_Layer]:
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):  # the XDG specification: a relative path counts as not set
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            return []
        base = f"{home}/.config"
    return _with_cluster(f"{base}/greenrun/config.toml", cluster, warnings)


def _with_cluster(path: str, cluster: str, warnings: list[str]) -> list[_Layer]:
    """Give a file's settings, and over them those of its table for this cluster: many share one /etc or one home."""
    document = _document(path, warnings)
    clusters = document.pop("clusters", {})
    if not isinstance(clusters, dict) or not all(isinstance(table, dict) for table in clusters.values()):
        raise UserError(f"{path}: clusters must hold a table for each cluster, such as [clusters.alpha]")
    layers = [dict(_settings(document, path, False, warnings))]
    if cluster and cluster in clusters:
        place = f"{path}, clusters.{cluster}"
        layers.append(dict(_settings(clusters[cluster], place, False, warnings)))
    return layers


def _project(cwd: str, warnings: list[str]) -> _Layer:
    own = os.path.join(cwd, "greenrun.toml")
    if os.path.lexists(own):
        return _project_file(own, warnings)
    return _project_file(os.path.join(cwd, "pyproject.toml"), warnings, table=("tool", "greenrun"))


def _project_file(path: str, warnings: list[str], table: tuple[str, ...] = ()) -> _Layer:
    document = _document(path, warnings, needle=table[-1].encode() if table else b"")
    for name in table:
        document = document.get(name, {})
        if not isinstance(document, dict):
            raise UserError(f"{path}: {'.'.join(table)} must be a table, not {_short(repr(document))}")
    return dict(_settings(document, path, True, warnings))


def _document(path: str, warnings: list[str], needle: bytes = b"") -> dict[str, Any]:
    try:
        return _toml(path, needle)
    except OSError as error:
        warnings.append(f"{path} cannot be read and is ignored: {error.strerror}")
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML (which names the line), nested without end
        warnings.append(f"{path} is no TOML file and is ignored: {error}")
    return {}


def _settings(
    document: dict[str, Any], path: str, project: bool, warnings: list[str]
) -> Iterator[tuple[str, _Setting]]:
    seen = set()
    for name, told in document.items():
        key = name.replace("-", "_")
        option = options.BY_KEY.get(key)
        if option is None or not option.lasting:
            allowed = ", ".join(
                option.name for option in options.OPTIONS if option.lasting and (option.project or not project)
            )
            raise UserError(f"{path}: {_short(name)} is no setting of greenrun's; the settings are {allowed}")
        if key in seen:
            raise UserError(f"{path}: {option.name} must be told once, not with - and with _")
        seen.add(key)
        if project and not option.project:
            warnings.append(f"{path}: {option.name} is ignored, because a project's file may not set it")
            continue
        yield key, _Setting(path, _from_toml(option, told, f"{path}: {name}"))


def _from_toml(option: options.Option, told: object, place: str) -> options.Value:
    if option.type is bool:
        if not isinstance(told, bool):
            raise UserError(f"{place} must be true or false, not {_short(repr(told))}")
        return told
    right = (int, float) if option.type is float else option.type
    if option.word and told == option.word:
        return _checked(option, option.word, place)
    if isinstance(told, bool) or not isinstance(told, right):
        kind = {str: "text in quotes", float: "a number", int: "a whole number"}[option.type]
        word = f' or "{option.word}"' if option.word else ""
        raise UserError(f"{place} must be {kind}{word}, not {_short(repr(told))}")
    return _checked(option, str(told), place)


def _checked(option: options.Option, text: str, place: str) -> options.Value:
    try:
        return option.check(text)
    except ValueError as error:
        from greenrun.cli.identity import mask_secrets

        (shown,) = mask_secrets((text,))  # an address may have come with a password
        raise UserError(f"{place} {error}, not {_short(repr(shown))}") from None


def _short(text: str) -> str:
    """Give text for a sentence: what stands in a file may be long."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _toml(path: str, needle: bytes) -> dict[str, Any]:
    """Read a TOML file; empty where there is none, or where it does not hold the needle."""
    data = _read(path)
    if len(data) > _MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {_MAX_FILE_BYTES} bytes")
    if not data.strip() or needle not in data:
        return {}
    if data.count(b".") > _MOST_KEY_PARTS:
        _refuse_long_keys(data)
    # Only now: most runs have no file, and the parser costs as much as a third of Python's start.
    parser = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    document: dict[str, Any] = parser.loads(data.decode())
    return document


def _refuse_long_keys(data: bytes) -> None:
    import re

    part = rb"""(?:[\w-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*"""
    long_key = re.search(rb"(?<![\w-])" + part + rb"(?:\.[ \t]*" + part + rb"){%d}" % _MOST_KEY_PARTS, data)
    if long_key is not None:
        line = data.count(b"\n", 0, long_key.start()) + 1
        raise ValueError(f"a key has more than {_MOST_KEY_PARTS} parts (at line {line})")


def _read(path: str) -> bytes:
    try:
        # A FIFO must not hold up a job.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):  # it leads nowhere, and what somebody has set would be ignored in silence
            raise
        return b""
    try:
        return os.read(descriptor, _MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
