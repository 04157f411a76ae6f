"""The process that asks intensity services: one question on stdin, one answer on stdout; `fetching` starts it."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from greenrun.cli import fetching
from greenrun.cli.config import Config
from greenrun.cli.descriptors import bind_to_pipe
from greenrun.cli.services import services
from greenrun.intensity import chain, exchange, location, metadata
from greenrun.intensity.cache import LONGEST_WAIT_SECONDS, PATIENT_WAIT_SECONDS, Cache, default_directory

if TYPE_CHECKING:
    from greenrun.intensity.model import Answer, Basis, Place


def main(request: dict[str, Any]) -> NoReturn:
    """Answer the request that `fetching.Fetch` wrote, and be gone."""
    _die_with_the_parent()
    try:
        signal.setitimer(signal.ITIMER_REAL, request["limit_seconds"])
        place, answer = reply(request)
    except Exception as error:  # noqa: BLE001  whatever it is, the one who asked is to hear of it
        place, answer = fetching.failed(f"the process that asks failed ({type(error).__name__})")
    data = json.dumps({"place": place._asdict(), "answer": exchange.answer_to_json(answer)}).encode()
    while data:
        data = data[os.write(1, data) :]
    os._exit(0)


def reply(request: dict[str, Any]) -> fetching.Reply:
    """Find the place unless it is told, and ask the chain."""
    config = Config(**request["config"])
    basis: Basis = request["basis"]
    now = _moment(request["now_utc"]) or datetime.now(timezone.utc)
    place = exchange.place_from_json(request["place"]) if request["place"] else find_place(config)
    return fetching.Reply(place, _ask(request, config, place, basis, now))


def find_place(config: Config) -> Place:
    """Give the place as a run has it: told, else by the cloud's metadata, else by the time zone."""
    place = location.find(config.country, config.zone, config.place_from, os.environ)
    told = config.country is not None or config.zone is not None
    if told or config.offline or not config.cloud_metadata:
        return place
    return location.refine(place, config.sysfs_root, config.cloud_metadata_url or metadata.DEFAULT_URL)


def _ask(request: dict[str, Any], config: Config, place: Place, basis: Basis, now: datetime) -> Answer:
    told = None
    if config.intensity is not None:
        told = chain.Told(config.intensity, config.intensity_from or "the configuration")
    if request["what"] == "now" and told:
        return chain.known(told, place, basis)
    insist = bool(request["insist"])
    longest_wait_seconds = PATIENT_WAIT_SECONDS if request["patient"] else LONGEST_WAIT_SECONDS
    cache = Cache(default_directory(os.environ), longest_wait_seconds=longest_wait_seconds)
    from_utc, to_utc = _moment(request["from_utc"]) or now, _moment(request["to_utc"]) or now
    known = services(config, os.environ)
    asking = not config.offline
    if request["what"] == "forecast":
        return chain.forecast(known, cache, place, basis, to_utc, now, insist=insist, asking=asking)
    answer = chain.live(known, cache, place, basis, from_utc, to_utc, now, insist=insist, asking=asking)
    if request["what"] == "now" and not answer.spans:
        tables = chain.known(None, place, basis)
        return tables._replace(passed=[*answer.passed, *tables.passed])
    return answer


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _die_with_the_parent() -> None:
    """See to it that this process ends when the other end of stdin is closed."""
    if bind_to_pipe(0, os.getpid()):
        os._exit(1)
