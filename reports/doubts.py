"""What makes a record less than complete: stretches that were not measured, and the sentences that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.reports.energy import MISSING_SHARE, Measured, missing_seconds
from greenrun.reports.life import first, is_number, kind, was_cut_short
from greenrun.reports.origin import YEARLY, is_sure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.life import Life
    from greenrun.reports.record import Event, Gap, IntensityUsed, RunStatus, Warned

LONG_SECONDS = 600.0
"""From this length on a job would have been worth a prediction: ten minutes are longer than one waits for it."""

_CUT_SHORT = {
    "gone": "No epilog told the end of the job; the figures reach to when its processes were last seen.",
    "epilog": "The sampler was killed before the job's end; the figures reach to its last reading.",
    "unknown": "The process ended before the block that was to be measured did; the figures reach to its end.",
}
"""By how the end was seen."""

_UNMEASURED = ("gap", "reset")  # the log's warnings whose stretch is in no total


def gaps(events: Sequence[Event], life: Life, devices: Sequence[Measured]) -> list[Gap]:
    """Give the stretches of the command's life in which a device, or where it is None everything, was not measured."""
    found: list[Gap] = []
    for event in events:
        if event["event"] == "warning" and event["code"] in _UNMEASURED and is_number(event.get("from_t")):
            to_t = event["to_t"] if is_number(event.get("to_t")) else life.end
            from_t = max(event["from_t"], life.begin)
            if min(to_t, life.end) > from_t:
                found.append(_gap(event.get("device"), from_t, min(to_t, life.end), event["code"], life))
    told = [(gap["from"], gap["from"] + gap["duration_seconds"]) for gap in found if gap["device"] is None]
    for device in devices:
        if device.energy_joules is None:
            continue
        if device.from_t is not None and not device.filled_joules:
            found.append(_gap(device.entry["id"], life.begin, device.from_t, "late", life))
        if device.until_t is not None and not any(a <= device.until_t - life.begin < b for a, b in told):
            found.append(_gap(device.entry["id"], device.until_t, life.end, "ended", life))
    return found


def _gap(device: str | None, from_t: float, to_t: float, code: str, life: Life) -> Gap:
    return {"device": device, "from": from_t - life.begin, "duration_seconds": to_t - from_t, "code": code}


def status(events: Sequence[Event], life: Life | None, devices: Sequence[Measured], found: Sequence[Gap]) -> RunStatus:
    """Tell whether the figures hold the whole run, a part of it, or nothing since it was never started.

    A log that ends before it says either is of a sampler that was killed early: the command may well have run.
    """
    if life is None:
        return "not-started" if first(events, "not-started") else "partial"
    counted = [device for device in devices if device.entry["counted"]]
    beside = {device.entry["id"] for device in devices} - {device.entry["id"] for device in counted}
    unread = any(device.energy_joules is None for device in counted)
    missing = any(gap["duration_seconds"] > missing_seconds(life) for gap in found if gap["device"] not in beside)
    lost = any(device.until_t is not None for device in counted)
    ended = life.ended and not was_cut_short(events)
    return "partial" if unread or missing or lost or not ended or not devices else "complete"


def warnings(
    events: Sequence[Event],
    life: Life | None,
    devices: Sequence[Measured],
    found: Sequence[Gap],
    used: IntensityUsed,
) -> list[Warned]:
    """Give the log's warnings and those that the account has to add, one sentence each."""
    out: list[Warned] = [
        {"code": event["code"], "message": event["message"]}
        for event in events
        if event["event"] == "warning" and not (event["code"] == "intensity" and _is_made_good(used))
    ]
    if life is None:
        not_started = first(events, "not-started")
        if not_started:
            return [*out, {"code": "not-started", "message": not_started["reason"]}]
        sentence = "The log ends before the command was started: the sampler was killed, and nothing more is known."
        return [*out, {"code": "killed", "message": sentence}]
    lost = {event.get("device") for event in events if event["event"] == "warning" and event["code"] == "lost"}
    out += _of_life(life, devices)
    out += _of_end(events)
    for device in devices:
        out += _of_device(device, life)
    for gap in found:
        if gap["code"] == "ended" and gap["device"] not in lost:
            sentence = f"{gap['device']} was not read after {gap['from']:.1f} s; its energy from there on is missing."
            out.append({"code": "gap", "message": sentence})
    if not any(warned["code"] == "output" for warned in out):  # else that warning has said it
        out += _of_epochs(events, life)
    return [*out, *_of_intensity(used)]


def _of_life(life: Life, devices: Sequence[Measured]) -> Iterator[Warned]:
    if not life.ended:
        sentence = (
            "The end of the command was not seen: it still runs, or the sampler was killed; "
            f"the figures reach to {life.duration_seconds:.1f} s."
        )
        yield {"code": "killed", "message": sentence}
    if not devices:
        yield {"code": "unread", "message": "No device was measured or estimated, so the energy is unknown."}


def _of_end(events: Sequence[Event]) -> Iterator[Warned]:
    """Tell what is to be known of the end of a block, which has no exit code."""
    if was_cut_short(events):
        how = str((first(events, "exited") or {}).get("how"))
        yield {"code": "cut-short", "message": _CUT_SHORT.get(how, _CUT_SHORT["unknown"])}
    elif (first(events, "exited") or {}).get("exception"):
        yield {"code": "exception", "message": "The block ended with an exception; the figures reach to it."}


def _of_epochs(events: Sequence[Event], life: Life) -> Iterator[Warned]:
    """Say why nothing was predicted, to whoever asked for it or may have wanted it: a job that took long."""
    config = events[0].get("config") or {}
    asked, told_how = config.get("epochs"), config.get("epoch_pattern") is not None
    long = life.duration_seconds >= LONG_SECONDS
    epoch = first(events, "epoch")
    if epoch is not None:
        known = any(event.get("of") for event in events if event["event"] == "epoch")
        if (asked == "auto" or long) and not known and first(events, "prediction") is None and not is_number(asked):
            sentence = "Nothing was predicted, because the job does not tell how many epochs it has; --epochs N does."
            yield {"code": "epochs", "message": sentence}
        return
    output = events[0].get("output") or {}
    unwatched = [name for name in ("stdout", "stderr") if output.get(name) in ("terminal", "pipe")]
    if asked is None and unwatched and (long or told_how) and kind(events) == "command":
        where = ", ".join(f"{name} went to a {output[name]}" for name in unwatched)
        sentence = (
            f"The output was not searched for epochs ({where}), so nothing was predicted: --epochs auto has it "
            "searched, --epochs N tells their number too."
        )
        yield {"code": "unwatched", "message": sentence}
    elif is_number(asked) or (asked is not None and (long or told_how)):
        sentence = (
            "No epoch was seen, so nothing was predicted: they are looked for on stdout and stderr where these are a "
            "terminal, a pipe or a file, in lines such as Epoch 3/10 (--epoch-pattern tells of others), or the job "
            "tells them by markers."
        )
        yield {"code": "epochs", "message": sentence}


def _is_made_good(used: IntensityUsed) -> bool:
    """Tell whether a service that failed has answered after all, for the whole run, and with what was measured."""
    failing = any(passed["cause"] != "absent" for passed in used["passed_over"])
    return bool(used["spans"]) and not failing and all(map(is_sure, used["spans"]))


def _of_intensity(used: IntensityUsed) -> Iterator[Warned]:
    if used["grams_per_kwh"] is None:
        known = any(span["grams_per_kwh"] is not None for span in used["spans"])
        why = [passed["reason"] for passed in used["passed_over"] if passed["link"] in YEARLY]
        sentence = (
            f"No carbon intensity is known for {'a part of the run' if known else 'the run'}, so its CO2e is unknown"
            f"{': ' if why else ''}{'; '.join(why)}; --intensity tells one."
        )
        yield {"code": "intensity", "message": sentence}
    if len({span["basis"] for span in used["spans"]} - {None}) > 1:
        sentence = (
            "A part of the run is charged with lifecycle emissions and a part with direct ones, which are less: "
            "its CO2e is a mixture of both."
        )
        yield {"code": "basis", "message": sentence}


def _of_device(device: Measured, life: Life) -> Iterator[Warned]:
    name = device.entry["id"]
    if device.energy_joules is None:
        sentence = f"{name} gave no reading while the command ran; its energy is not in the figures."
        yield {"code": "unread", "message": sentence}
    elif device.from_t is not None:
        late_seconds = device.from_t - life.begin
        if not device.filled_joules:
            sentence = f"{name} was first read after {late_seconds:.1f} s; its energy before that is missing."
            yield {"code": "late", "message": sentence}
        elif late_seconds > MISSING_SHARE * life.duration_seconds:
            sentence = (
                f"{name} was first read after {late_seconds:.1f} s; its power in the first seconds after that fills "
                "the stretch before."
            )
            yield {"code": "late", "message": sentence}
