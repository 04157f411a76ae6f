"""The idle floor of this machine: what it draws while nobody uses it, as `greenrun calibrate` has measured it once.

It is kept in a file, the site's for all users or one's own, and is of one machine and its meters: on another one, or
after a processor was changed, it is not used. Such a file is believed by whose it is.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greenrun.cli.config import Config
    from greenrun.sampler.model import Device

SCHEMA = 1
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
SITE_FILE = "/etc/greenrun/floor.json"
_LARGEST_BYTES = 64 << 10
_MOST_WATTS = 1e6  # no machine has a meter for more
_LONGEST_TEXT = 500
_KINDS = ("cpu", "dram", "gpu", "other")
AGENT = "agent:"  # how the ids begin of what a site's agent tells; the meter is the same
_HOST_SALT = b"greenrun idle floor\0"  # machine-id(5): it is not to be shown, but a keyed hash of it may be
_HOST_DIGITS = 32
_MACHINE_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")


class Unusable(Exception):  # noqa: N818  it says what the file is
    """A file that holds no floor, or none to be believed: one sentence that says which and why."""


class Part(NamedTuple):
    """The idle power of one device.

    `spread_watts` is its standard deviation from stretch to stretch of the measuring, None where there was only one.
    """

    id: str
    kind: str
    name: str
    counted: bool
    watts: float
    spread_watts: float | None


class Floor(NamedTuple):
    """A measured floor: `host` is a hash of the machine's id, None where it has none; `cpu` its processors' brand.

    `busy_percent` is how busy the processors were meanwhile, None where the kernel does not tell.
    """

    measured_at: str
    seconds: float
    host: str | None
    cpu: str
    busy_percent: float | None
    devices: tuple[Part, ...]

    def watts(self, kind: str) -> float | None:
        """Give the idle power of all counted devices of a kind; None if there was none."""
        found = [part.watts for part in self.devices if part.kind == kind and part.counted]
        return math.fsum(found) if found else None


class Found(NamedTuple):
    """What `find` gives: the floor and where it stands, and a sentence on what stands there and cannot be used."""

    floor: Floor | None = None
    path: str = ""
    trouble: str = ""

    def field(self) -> dict[str, Any] | None:
        """Give the field of the `start` event."""
        if self.floor is None:
            return None
        ids = [part.id for part in self.floor.devices]
        return {
            "cpu_watts": self.floor.watts("cpu"),
            "dram_watts": self.floor.watts("dram"),
            "gpu_watts": {part.id: part.watts for part in self.floor.devices if part.kind == "gpu"},
            "measured_at": self.floor.measured_at,
            "seconds": self.floor.seconds,
            # The same meters as the site's agent names them.
            "devices": ids + [f"{AGENT}{name}" for name in ids],
        }


def find(settings: Config, environ: Mapping[str, str], cpu: str, devices: Iterable[Device]) -> Found:
    """Find the floor of this machine: the site's, else the user's own.

    `cpu` is the processors' brand. `devices` are those that are known to be there; more may come later.
    """
    trouble = ""
    for path in places(settings, environ):
        try:
            floor = read(path)
            if floor is None:
                continue
            _check(floor, path, cpu, devices)
        except Unusable as reason:
            trouble = trouble or str(reason)
            continue
        return Found(_counting(floor, devices), path)
    return Found(trouble=trouble)


def places(settings: Config, environ: Mapping[str, str]) -> list[str]:
    """Give where a floor may be kept, the first that is right counts."""
    if settings.floor is not None:
        return [os.path.abspath(settings.floor)]
    own = _own_file(environ)
    return [SITE_FILE, own] if own else [SITE_FILE]


def place_to_keep(settings: Config, environ: Mapping[str, str]) -> str:
    """Give where this user keeps a floor: root for all, anybody else for himself. Unusable without a home."""
    if settings.floor is not None:
        return os.path.abspath(settings.floor)
    if os.geteuid() == 0:
        return SITE_FILE
    own = _own_file(environ)
    if own is None:
        raise Unusable("neither XDG_STATE_HOME nor HOME is set, so --to FILE must tell where to keep the floor")
    return own


def _own_file(environ: Mapping[str, str]) -> str | None:
    base = environ.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):  # the XDG specification: a relative path counts as not set
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            return None
        base = f"{home}/.local/state"
    return f"{base}/greenrun/floor.json"


def host() -> str | None:
    """Give what tells this machine from others and stays over a restart; None where it has no id."""
    import hashlib

    for path in _MACHINE_ID_FILES:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            told = file.read(128).strip()
            if len(told) == 32:
                return hashlib.sha256(_HOST_SALT + told).hexdigest()[:_HOST_DIGITS]
    return None


def _check(floor: Floor, path: str, cpu: str, devices: Iterable[Device]) -> None:
    """Raise Unusable for a floor that is not of this machine and its meters."""
    again = "greenrun calibrate measures it anew"
    here = host()
    if floor.host is not None and here is not None and floor.host != here:
        raise Unusable(f"The idle floor in {path} is not used, because it is another machine's; {again}.")
    if floor.cpu != cpu:
        raise Unusable(f"The idle floor in {path} is not used, because it is of other processors; {again}.")
    known = {part.id for part in floor.devices}
    missing = sorted(_plain(device.id) for device in _metered(devices) if _plain(device.id) not in known)
    if missing:
        raise Unusable(f"The idle floor in {path} is not used, because {', '.join(missing)} is not in it; {again}.")


def _counting(floor: Floor, devices: Iterable[Device]) -> Floor:
    """Give the floor with those devices counted that count now: what overlaps another may have been chosen anew."""
    now = {_plain(device.id): device.counted for device in devices}
    return floor._replace(
        devices=tuple(part._replace(counted=now.get(part.id, part.counted)) for part in floor.devices)
    )


def _metered(devices: Iterable[Device]) -> list[Device]:
    """Give the processors and memory that are read by a meter; GPUs come and go."""
    return [
        device
        for device in devices
        if device.kind in ("cpu", "dram") and device.counted and device.trusted and device.method != "estimate"
    ]


def _plain(device_id: str) -> str:
    return device_id.removeprefix(AGENT)


# --- the file


def read(path: str) -> Floor | None:
    """Read a floor; None where there is no file. Raises Unusable for one that cannot be believed or makes no sense."""
    try:
        data = _data(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unusable(f"The idle floor in {path} cannot be read: {error.strerror or error}.") from None
    try:
        floor = _parse(json.loads(data))
    except (ValueError, RecursionError):  # no UTF-8, no JSON, nested without end
        floor = None
    if floor is None:
        raise Unusable(f"{path} is no idle floor that greenrun has written; greenrun calibrate writes one anew.")
    return floor


def _data(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)  # a FIFO must not hold up a run
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise Unusable(f"The idle floor in {path} is not used, because it is no regular file.")
        if status.st_uid not in (0, os.geteuid()):
            raise Unusable(f"The idle floor in {path} is not used, because the file is another user's.")
        if status.st_mode & 0o022:
            raise Unusable(f"The idle floor in {path} is not used, because others may write it; chmod 644 mends that.")
        if status.st_size > _LARGEST_BYTES:
            raise Unusable(f"The idle floor in {path} is not used, because it has more than {_LARGEST_BYTES} bytes.")
        return os.read(file, _LARGEST_BYTES)
    finally:
        os.close(file)


def _parse(told: object) -> Floor | None:
    """Give the floor of a document; None for what is none."""
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        return None
    entries = told.get("devices")
    if not isinstance(entries, list) or not entries:
        return None
    parts = [_part(entry) for entry in entries]
    busy = told.get("busy_percent")
    right = (
        None not in parts
        and _is_moment(told.get("measured_at"))
        and _is_amount(told.get("seconds"))
        and (told.get("host") is None or _is_text(told["host"]))
        and _is_text(told.get("cpu"))
        and (busy is None or _is_amount(busy))
    )
    if not right or len({part.id for part in parts if part}) != len(parts):
        return None
    return Floor(
        told["measured_at"],
        float(told["seconds"]),
        told.get("host"),
        told["cpu"],
        busy,
        tuple(part for part in parts if part),
    )


def _part(told: object) -> Part | None:
    if not isinstance(told, dict):
        return None
    spread = told.get("spread_watts")
    right = (
        all(_is_text(told.get(name)) for name in ("id", "name"))
        and told.get("kind") in _KINDS
        and isinstance(told.get("counted"), bool)
        and _is_amount(told.get("watts"))
        and (spread is None or _is_amount(spread))
    )
    if not right:
        return None
    return Part(told["id"], told["kind"], told["name"], told["counted"], float(told["watts"]), spread)


def _is_text(told: object) -> bool:
    return isinstance(told, str) and len(told) <= _LONGEST_TEXT and (told == "" or told.isprintable())


def _is_moment(told: object) -> bool:
    try:
        return isinstance(told, str) and time.strptime(told, MOMENT).tm_year >= 1970
    except ValueError:
        return False


def _is_amount(told: object) -> bool:
    return isinstance(told, (int, float)) and not isinstance(told, bool) and 0 <= told <= _MOST_WATTS


def write(floor: Floor, path: str, version: str) -> None:
    """Keep a floor at `path`, all of it or nothing, for everybody to read. Raises OSError."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)  # whatever the umask: nobody else is to put a file there
    document = {"schema": SCHEMA, "greenrun": version, **floor._asdict()}
    document["devices"] = [part._asdict() for part in floor.devices]
    temporary = os.path.join(folder, f".floor.{os.getpid()}.tmp")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        try:
            os.fchmod(file, 0o644)  # whatever the umask: what others may write is not believed
            _write_all(file, (json.dumps(document, indent=2) + "\n").encode())
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def describe(parts: Sequence[Part]) -> list[str]:
    """Tell the power of each device on a line of its own."""
    lines = []
    for part in parts:
        spread = "" if part.spread_watts is None else f" +- {part.spread_watts:.2f}"
        beside = "" if part.counted else ", beside the total"
        lines.append(f"  {part.kind:5} {part.watts:9.2f}{spread} W  {part.name}{beside}")
    return lines
