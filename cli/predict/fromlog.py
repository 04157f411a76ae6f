"""As a run that carbontracker has measured: `predict --from-log`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenrun.cli.errors import UserError
from greenrun.cli.predict.source import Source, count, plus_minus, told_intensity, told_pue
from greenrun.reports import ahead, carbontracker
from greenrun.sampler.prediction import Cost

if TYPE_CHECKING:
    from greenrun.cli.config import Config

_LARGEST_LOG_BYTES = 64 << 20


def from_log(path: str, epochs: int | None, settings: Config) -> Source:
    """Tell a second run of the job in a carbontracker log, with so many epochs (None: as many). Raises UserError."""
    log, path = _read_log(path)
    number = epochs or len(log.epochs)
    costs = ahead.again(Cost(0.0, 0.0), log.epochs, number, None)
    version = f"carbontracker {log.version}" if log.version else "carbontracker"
    assumed = [
        ahead.Assumed("log", f"the epochs of {os.path.basename(path)}, the same machine, data and settings"),
        ahead.Assumed("once", "set-up and what lies between epochs are not in such a log, and are missing here"),
        ahead.Assumed("variation", f"two runs of one job differ by {plus_minus(ahead.ANOTHER_RUN_PERCENT)}"),
        ahead.Assumed(
            "measurement",
            f"the energy is {version}'s, not greenrun's, and without its PUE; it states no uncertainty, so the range "
            "is of the prediction alone",
        ),
        ahead.Assumed("faults", carbontracker.FAULTS),
    ]
    if log.unread:
        names = " and ".join(name.upper() for name in log.unread)
        assumed.append(ahead.Assumed("unread", f"it could not read the {names}: that energy is missing"))
    headline = f"{count(number)}, as predicted from the {count(len(log.epochs))} in a log of {version}"
    pue, source = told_pue(settings.pue)
    return Source(
        "carbontracker", headline, number, costs, pue, source, None, settings.basis, told_intensity(settings), assumed
    )


def _read_log(path: str) -> tuple[carbontracker.Log, str]:
    """Read the log, or the one beside it that has the epochs."""
    log = carbontracker.parse(_text(path))
    if log.totals and not log.epochs and path.endswith(carbontracker.OUTPUT_SUFFIX):
        beside = path.removesuffix(carbontracker.OUTPUT_SUFFIX) + carbontracker.STANDARD_SUFFIX
        if os.path.isfile(beside):
            path, log = beside, carbontracker.parse(_text(beside))
    if log.epochs:
        return log, path
    if log.totals:
        raise UserError(
            f"{path} holds carbontracker's sums alone; its epochs are in the log beside it that ends in "
            f"{carbontracker.STANDARD_SUFFIX}"
        )
    raise UserError(f"{path} must be a log of carbontracker's ({carbontracker.STANDARD_SUFFIX}) with a finished epoch")


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST_LOG_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None
    if len(data) > _LARGEST_LOG_BYTES:
        raise UserError(f"{path} must be a log of carbontracker's: it is larger than {_LARGEST_LOG_BYTES >> 20} MB")
    return data.decode("utf-8", "replace")
