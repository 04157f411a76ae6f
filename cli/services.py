"""Which intensity services a configuration allows to ask, and with which token.

The token comes from the environment or from a file that only its owner may read; it goes to the service that it is for
and nowhere else.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from greenrun.cli import vault
from greenrun.intensity.model import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from greenrun.cli.config import Config
    from greenrun.intensity.http import Get
    from greenrun.intensity.model import Basis, Intensity, Place, Service

TOKEN_VARIABLE = "GREENRUN_ELECTRICITYMAPS_TOKEN"  # noqa: S105  the variable's name, not a token
_LONGEST_TOKEN = 1024
_KEPT = ""  # where only those who can ask have the token, the others still know what would be asked


def services(config: Config, environ: Mapping[str, str]) -> list[Service]:
    """Give the services in the order of the chain; one that lacks its token is there to say so."""
    from greenrun.intensity import electricitymaps, energidata, energycharts, neso
    from greenrun.intensity.http import Client

    get: Get = Client().get
    token = _KEPT if vault.is_used() else _token(config, environ)
    url = config.electricitymaps_url or electricitymaps.DEFAULT_URL
    return [
        _Closed("electricitymaps", url, token)
        if isinstance(token, Unavailable)
        else electricitymaps.ElectricityMaps(url, token, get),
        neso.Neso(config.neso_url or neso.DEFAULT_URL, get),
        energidata.EnergiData(config.energidata_url or energidata.DEFAULT_URL, get),
        energycharts.EnergyCharts(config.energycharts_url or energycharts.DEFAULT_URL, get),
    ]


class _Closed:
    """A service that cannot be asked, with the reason."""

    def __init__(self, link: str, address: str, reason: Unavailable) -> None:
        self.link = link
        self.address = address
        self._reason = reason

    def zone(self, place: Place, basis: Basis) -> str | Unavailable:  # noqa: ARG002  closed for every place
        """Give the reason."""
        return self._reason

    def history(self, zone: str, basis: Basis, from_utc: datetime, to_utc: datetime) -> list[Intensity] | Unavailable:  # noqa: ARG002  as above
        """Give the reason."""
        return self._reason

    def forecast(self, zone: str, basis: Basis, to_utc: datetime) -> list[Intensity] | Unavailable:  # noqa: ARG002  as above
        """Give the reason."""
        return self._reason


def _token(config: Config, environ: Mapping[str, str]) -> str | Unavailable:
    told, where = environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
    path = config.electricitymaps_token_file
    if not told and path is not None:
        read = _token_file(path)
        if isinstance(read, Unavailable):
            return read
        told, where = read, f"the token file {path}"
    if not told:
        return Unavailable(
            f"no token ({TOKEN_VARIABLE}, or electricitymaps-token-file in the configuration, tells one)"
        )
    if len(told) > _LONGEST_TOKEN or not told.isascii() or not told.isprintable() or " " in told:
        return Unavailable(f"{where} must hold a token: one word of printable ASCII", "forbidden")
    return told


def _token_file(path: str) -> str | Unavailable:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hold us up
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return Unavailable(f"the token file {path} must be a regular file", "forbidden")
            if status.st_uid not in (0, os.geteuid()):
                return Unavailable(f"the token file {path} must be your own, and it is another user's", "forbidden")
            if status.st_mode & 0o077:
                return Unavailable(
                    f"the token file {path} may be read by others than its owner; chmod 600 mends it", "forbidden"
                )
            return os.read(descriptor, _LONGEST_TOKEN + 1).decode("ascii", "replace").strip()
        finally:
            os.close(descriptor)
    except OSError as error:
        # Not with the path: somebody may have written the token itself there.
        return Unavailable(
            f"the file that electricitymaps-token-file names cannot be read: {error.strerror}", "forbidden"
        )
