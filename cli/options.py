"""The one table of greenrun's settings.

The command line, the environment, the TOML files, the help and completion are all made from it; nothing here knows
click. A setting called `log-dir` is the flag `--log-dir`, the variable `GREENRUN_LOG_DIR` and the TOML key `log-dir`
(or `log_dir`).
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, NamedTuple

from greenrun.cli.errors import UserError
from greenrun.cli.verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable

Value = str | float | bool

AUTO = "auto"  # as many epochs as the job itself says


class Option(NamedTuple):
    """One setting.

    `check` turns the text that the user gave into a value; its ValueError carries the end of a sentence that begins
    with the place: "must be ...". `type` is what a TOML file writes, or else `word`. A bool is a flag without a value.
    """

    name: str
    type: type[str] | type[float] | type[int] | type[bool]
    check: Callable[[str], Value]
    help: str
    metavar: str = ""
    short: str = ""
    flag: bool = True  # False: for tests and sites, not for the command line
    project: bool = True  # may a project's file set it? It may come from a repository that nobody has read
    lasting: bool = True  # False: for one command, hence a flag alone; a greenrun inside the job must not see it
    word: str = ""  # a text that may stand in the place of a number

    @property
    def key(self) -> str:
        """The name as an identifier: log_dir."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable: GREENRUN_LOG_DIR."""
        return "GREENRUN_" + self.key.upper()

    @property
    def flags(self) -> tuple[str, ...]:
        """The words on the command line: --quiet, -q."""
        return tuple(word for word in (f"--{self.name}", self.short) if word and self.flag)


def number(text: str, allowed: str, low: float, high: float = math.inf) -> float:
    """Read a finite number from low to high; `allowed` says in words what that is."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"must be {allowed}")
    return value


def _pue(text: str) -> float:
    return number(text, "a number of 1 or more (what the building draws over what its machines draw)", 1.0)


def _intensity(text: str) -> float:
    return number(text, "a number of grams of CO2e per kWh of 0 or more", 0.0)


def _interval(text: str) -> float:
    # 0.05 s: RAPL counters move every millisecond, GPU ones every 20 to 100; 60 s: a busy counter may wrap in 160
    return number(text, "a number of seconds from 0.05 to 60", 0.05, 60.0)


def _epochs(text: str) -> int | str:
    if text == AUTO:
        return text
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        raise ValueError("must be auto or a whole number from 1 to 999999999")
    return int(text)


def _epoch_pattern(text: str) -> str:
    from greenrun.sampler import epochs

    epochs.pattern(text, None)  # its ValueError says what is wrong with it
    return text


def _epoch_marks(text: str) -> str:
    if text not in {"start", "end"}:
        raise ValueError("must be start or end (of the epoch whose number it is)")
    return text


def _directory(text: str) -> str:
    if not text:
        raise ValueError("must be the path of a directory")
    return os.path.expanduser(text)  # a shell does it for words, nobody does it for a TOML file


def _name(text: str) -> str:
    if not text.isprintable() or not text.strip():  # invalid UTF-8 arrives as surrogates, which do not print
        raise ValueError("must be one line of printable text")
    return text


def _country(text: str) -> str:
    from greenrun.intensity.table import country_code

    code = country_code(text)
    if code is None:
        raise ValueError("must be a country: an ISO 3166-1 code of two or three letters, or an English name")
    return code


def _zone(text: str) -> str:
    from greenrun.intensity.location import zone_country

    zone = text.upper()
    if not (zone.isascii() and zone.replace("-", "").isalnum() and zone_country(zone)):
        raise ValueError(
            f"must be a grid zone that begins with its country's two letters, such as DK-DK1{near_zone(text)}"
        )
    return zone


def near_zone(text: str) -> str:
    """Give " (DK-DK1 is the nearest)" for dk1, "" where no zone of the tables is near."""
    from greenrun.intensity.table import zone_names

    zone = nearest(text.upper(), {name for name in zone_names() if "-" in name}, prefix="")
    return f" ({zone} is the nearest)" if zone else ""


def _basis(text: str) -> str:
    if text.lower() not in {"lifecycle", "direct"}:
        raise ValueError("must be lifecycle (with plants and fuel supply) or direct (what leaves the chimney)")
    return text.lower()


def _url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in {"http", "https"} or not rest or not text.isprintable() or set(text) & set("@?# "):
        raise ValueError("must be an address such as https://api.example.org, without a user or a query")
    return text.rstrip("/")


def _file(text: str) -> str:
    if not text:
        raise ValueError("must be the path of a file")
    return os.path.expanduser(text)


def _budget(text: str) -> str:
    from greenrun.cli import budget

    budget.read(text)
    return text.strip()


def _budget_action(text: str) -> str:
    if text not in {"warn", "fail", "stop"}:
        raise ValueError("must be warn, fail (exit status 3) or stop (the command is ended)")
    return text


def _socket(text: str) -> str:
    if not text.startswith("/") or len(os.fsencode(text)) > 107:  # what fits into the kernel's sockaddr_un
        raise ValueError("must be the absolute path of a socket, 107 bytes at most")
    return os.path.normpath(text)


def _cpu_source(text: str) -> str:
    if text not in {"auto", "rapl", "perf", "pyrapl"}:
        raise ValueError("must be auto, rapl (powercap), perf (perf_event) or pyrapl (which has to be installed)")
    return text


def _spool(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be the absolute path of a directory that only root writes")
    return os.path.normpath(text)


def _copy(text: str) -> str:
    if text not in {"never", "asked", "always"}:
        raise ValueError("must be never, asked (by the word greenrun in the job's comment) or always")
    return text


def _scope(text: str) -> str:
    if text not in {"auto", "node", "job"}:
        raise ValueError("must be auto, node (all that the machine uses meanwhile) or job (the job's part of it)")
    return text


def _start(text: str) -> str:
    if text not in {"now", "greenest"}:
        raise ValueError("must be now or greenest")
    return text


def _seconds(text: str) -> float:
    from greenrun.cli.durations import seconds

    return seconds(text)


def boolean(text: str) -> bool:
    """Read yes or no as variables tell it."""
    if text.lower() not in {"1", "true", "yes", "0", "false", "no"}:
        raise ValueError("must be one of 1, true, yes, 0, false, no")
    return text.lower() in {"1", "true", "yes"}


OPTIONS = (
    Option("log-dir", str, _directory, "where the runs are kept; default: greenrun-logs", "DIR"),
    Option("name", str, _name, "name of the run; default: the command's", "TEXT"),
    Option("pue", float, _pue, "power usage effectiveness of the building, 1 or more", "NUMBER"),
    Option("country", str, _country, "where the machine stands: DK, DNK or Denmark", "COUNTRY"),
    Option("zone", str, _zone, "its grid zone, such as DK-DK1", "ZONE"),
    Option("intensity", float, _intensity, "carbon intensity to use, in grams of CO2e per kWh", "G_PER_KWH"),
    Option("basis", str, _basis, "lifecycle emissions (default) or direct ones", "lifecycle|direct"),
    Option("scope", str, _scope, "whose energy: the machine's, or the job's part of it", "auto|node|job"),
    Option("interval", float, _interval, "time between samples, 0.05 to 60; default: 1", "SECONDS"),
    Option("epochs", int, _epochs, "watch for epochs and predict; auto: the job tells N", "N|auto", word=AUTO),
    Option("epoch-pattern", str, _epoch_pattern, "finds this job's epochs; its first group is the number", "REGEX"),
    Option("epoch-marks", str, _epoch_marks, "what such lines mark; default: known by the format", "start|end"),
    Option("quiet", bool, boolean, "no summary on stderr; the log directory has it", short="-q"),
    Option("offline", bool, boolean, "ask no service on the network"),
    Option("no-cloud-metadata", bool, boolean, "do not ask a cloud's own metadata service for the region"),
    Option("start", str, _start, "greenest: wait for the greenest time before the deadline", "WHEN", lasting=False),
    Option("deadline", str, _seconds, "when the command must be over, from now: 12h, 1h30m", "TIME", lasting=False),
    Option("duration", str, _seconds, "how long it will take, for --start; default: 1h", "TIME", lasting=False),
    Option("budget", str, _budget, "what the command may use: 50Wh, 0.2kWh, 90000J, 20g, 1kg of CO2e", "AMOUNT"),
    Option("budget-action", str, _budget_action, "when it uses more: warn (default), fail or stop", "warn|fail|stop"),
    Option("no-ci", bool, boolean, "write nothing for GitHub Actions or GitLab CI"),
    Option("metrics-file", str, _file, "write the figures there as metrics too", "FILE", project=False),
    Option("every-rank", bool, boolean, "measure in every rank of a node, not in the first for all of them"),
    Option("no-command", bool, boolean, "leave the command line out of the record"),
    Option("electricitymaps-token-file", str, _file, "file with the token, mode 0600", flag=False, project=False),
    Option("electricitymaps-url", str, _url, "address of Electricity Maps", flag=False, project=False),
    Option("neso-url", str, _url, "address of NESO's carbon intensity service", flag=False, project=False),
    Option("energidata-url", str, _url, "address of Energi Data Service", flag=False, project=False),
    Option("energycharts-url", str, _url, "address of Energy-Charts", flag=False, project=False),
    Option("cloud-metadata-url", str, _url, "address of the cloud's metadata service", flag=False, project=False),
    Option("sysfs-root", str, _directory, "where sysfs is mounted", flag=False, project=False),
    Option("procfs-root", str, _directory, "where procfs is mounted", flag=False, project=False),
    Option("cpu-source", str, _cpu_source, "how the CPU's counters are read", flag=False, project=False),
    Option("agent", str, _socket, "socket of the site's agent", flag=False, project=False),
    Option("floor", str, _file, "file with the machine's idle floor", flag=False, project=False),
    Option("spool", str, _spool, "where a site keeps the records of its jobs", flag=False, project=False),
    Option("copy", str, _copy, "whether jobs get a copy of their record", flag=False, project=False),
)

BY_KEY = {option.key: option for option in OPTIONS}
BY_VARIABLE = {option.variable: option for option in OPTIONS if option.lasting}

# Acted upon at once, and no settings.
IMMEDIATE = {"--help", "-h", "--version"}

# What greenrun itself puts into the environment of a job, so that a greenrun inside it finds them.
MARKERS = {"GREENRUN_MARKS", "GREENRUN_RUN_ID", "GREENRUN_RUN_DIR", "GREENRUN_MEASURED_BY"}

# Ours to read, but not to hand on to the job.
SECRETS = {"GREENRUN_ELECTRICITYMAPS_TOKEN"}

_WITH_VALUE = {flag for option in OPTIONS for flag in option.flags if option.type is not bool}
_WITHOUT_VALUE = IMMEDIATE | {flag for option in OPTIONS for flag in option.flags if option.type is bool}


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Find where the command begins: greenrun's own words (a verb, the options, a `--`) and the command's.

    It reads the words as click does, without click: a command must also run where click cannot be imported.
    The second list is empty where there is no command. Raises UserError for an option that does not exist.
    """
    if argv and argv[0] in VERBS and argv[0] != "run":
        return argv, []
    at = 1 if argv[:1] == ["run"] else 0
    while at < len(argv):
        word = argv[at]
        if not word.startswith("-") or word == "-":
            break
        at += 1
        if word == "--":
            break
        if word in _WITH_VALUE:
            at += 1
        elif not _stands_alone(word):
            raise UserError(no_such_option(word, _WITH_VALUE | _WITHOUT_VALUE, "greenrun"))
    return argv[:at], argv[at:]


def _stands_alone(word: str) -> bool:
    if word.startswith("--"):
        return word in _WITHOUT_VALUE or ("=" in word and word.partition("=")[0] in _WITH_VALUE)
    return all(f"-{letter}" in _WITHOUT_VALUE for letter in word[1:])  # -qh


def no_such_option(word: str, known: set[str], program: str) -> str:
    """Say what is wrong with a word that is no option, and which of the known ones may have been meant."""
    name, equals, _ = word.partition("=")
    if equals and name in known:
        return f"the option {name} takes no value"
    near = nearest(name, known, prefix="--")
    return f"there is no option {name}{f', {near} is the nearest' if near else ''} ({program} --help lists them all)"


def nearest(word: str, known: set[str], prefix: str) -> str | None:
    """Give the known word that the user may have meant; the prefix that all share makes no word near another."""
    from difflib import get_close_matches

    bare = {name.removeprefix(prefix): name for name in known}
    return next((bare[name] for name in get_close_matches(word.removeprefix(prefix), sorted(bare), n=1)), None)
