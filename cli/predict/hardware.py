"""Hours on hardware of which the design power is known: `predict --hours`."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from greenrun.cli import options
from greenrun.cli.errors import UserError
from greenrun.cli.predict.source import Source, share_of, told_intensity, told_pue
from greenrun.reports import ahead, units
from greenrun.sampler.accelerators import Parts, Unknown, accelerators, processors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenrun.cli.config import Config

_LONGEST_HOURS = 8760.0

_SCOPE = ahead.Assumed("scope", "counted: CPU, memory and accelerators; not fans, disks, network and power supplies")


def from_hardware(hours: str, gpu: Sequence[str], cpu: Sequence[str], settings: Config) -> Source:
    """Tell a job of `hours` on what `gpu` and `cpu` name, as the user wrote them. Raises UserError."""
    seconds = 3600.0 * _hours(hours)
    if not gpu and not cpu:
        raise UserError("--hours needs the hardware that the job keeps busy: --gpu NAME xN, or --cpu NAME xN")
    gpus = [_parts("--gpu", text, accelerators(text)) for text in gpu]
    cpus = [_parts("--cpu", text, processors(text)) for text in cpu]
    assumed = [_named(parts) for parts in (*gpus, *cpus)]
    if gpus:
        assumed.append(
            ahead.Assumed("drawn", f"the accelerators draw {share_of(ahead.DRAWN)} of that while the job runs")
        )
    if cpus:
        share = ahead.CPU_BESIDE if gpus else ahead.CPU_ALONE
        assumed.append(
            ahead.Assumed("drawn", f"the CPU draws {share_of(share)} of that, memory {share_of(ahead.MEMORY)}")
        )
    else:
        assumed.append(
            ahead.Assumed("host", f"CPU and memory draw {share_of(ahead.HOST)} of that beside it (--cpu tells)")
        )
    assumed.append(_SCOPE)
    what = " and ".join(f"{parts.number} x {_name(parts)}" for parts in (*gpus, *cpus))
    pue, source = told_pue(settings.pue)
    costs = ahead.from_hardware(seconds, gpus, cpus)
    headline = f"{seconds / 3600.0:g}{units.NO_BREAK}h on {what}, estimated from design power: nothing was measured"
    return Source(
        "hardware", headline, None, costs, pue, source, None, settings.basis, told_intensity(settings), assumed
    )


def _hours(text: str) -> float:
    try:
        hours = options.number(text, f"a number of hours above 0, at most {_LONGEST_HOURS:g}", 0.0, _LONGEST_HOURS)
    except ValueError as error:
        raise UserError(f"--hours {error}, not {text!r}") from None
    if hours == 0.0:
        raise UserError(f"--hours must be a number of hours above 0, at most {_LONGEST_HOURS:g}, not {text!r}")
    return hours


def _parts(option: str, text: str, found: Parts | Unknown) -> Parts:
    if isinstance(found, Parts):
        return found
    near = f"; near it are {', '.join(found.nearest)}" if found.nearest else ""
    raise UserError(f"{option} must be a model that greenrun's table holds, and how many (NAME xN), not {text!r}{near}")


def _named(parts: Parts) -> ahead.Assumed:
    """Say which model, or which of several, a name was taken for, and what it draws by whom."""
    low, high = ahead.watts_range(parts.models)
    first, common = parts.models[0], _name(parts)
    if len(parts.models) == 1:
        phrase = f"{first.name}: {first.watts:g}{units.NO_BREAK}W each ({first.figure}, {first.source})"
    else:
        several = ", ".join(
            f"{model.name.removeprefix(common).strip()} {model.watts:g}{units.NO_BREAK}W" for model in parts.models
        )
        width = f"the range is over all, {low:g} to {high:g}{units.NO_BREAK}W" if low < high else "all the same"
        phrase = f"{common} may be {several}: {width} each"
    return ahead.Assumed("power", phrase)


def _name(parts: Parts) -> str:
    """Give the model's name, or the words with which the names of several begin; the first where there are none."""
    if len(parts.models) == 1:
        return parts.models[0].name
    columns = zip(*(model.name.split() for model in parts.models), strict=False)
    common = takewhile(lambda words: len(set(words)) == 1, columns)
    return " ".join(next(iter(words)) for words in common) or parts.models[0].name
