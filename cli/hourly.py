"""The carbon intensity of a run, hour by hour: the tables at once, then what services tell, in the background.

The tables' figure is written first and holds for all time; what comes later counts for its own stretch. So a run that
is killed has a figure, and an hour that a service revises has the newest.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

from greenrun.cli import fetching
from greenrun.cli.asking import PATIENCE_SECONDS, Asking
from greenrun.cli.services import services
from greenrun.intensity import chain, cloud, location, series
from greenrun.intensity.cache import Cache, default_directory
from greenrun.intensity.model import TITLES, Answer, Intensity, Passed, Place, Unavailable

if TYPE_CHECKING:
    import select
    from collections.abc import Callable, Iterable

    from greenrun.cli.config import Config
    from greenrun.intensity.model import Cause, Service

_HOUR = timedelta(hours=1)
_LOOK_BACK = timedelta(hours=23)  # services keep 24 h at hand, and the first of them may be cut
_HOLD = timedelta(hours=24)
_AFTER_THE_HOUR_SECONDS = (60, 300)  # an hour's figure takes a moment to appear, and not all machines ask at once
_FIRST_RETRY = timedelta(minutes=5)
_NOWHERE = Place(None, None, "unknown")


class Log(Protocol):
    """What of the sampler is needed here."""

    def write(self, event: str, at: float | None = None, /, **fields: object) -> None:
        """Log an event."""
        ...

    def warn(self, code: str, message: str) -> None:
        """Log a warning."""
        ...


def _now() -> datetime:
    return datetime.now(timezone.utc)


class Hourly:
    """Looks up and logs what a kilowatt-hour stood for while one run lasted. What fails here costs the job nothing."""

    def __init__(
        self,
        log: Log,
        config: Config,
        started_utc: float,
        now: Callable[[], datetime] = _now,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`started_utc` is in Unix seconds; `now` gives the present moment in UTC.

        `patience_seconds`: how long a process that asks may take.
        """
        self._patience_seconds = patience_seconds
        self._log_to = log
        self._now = now
        self._config = config
        self._started = datetime.fromtimestamp(started_utc, timezone.utc)
        self._told = None
        if config.intensity is not None:
            self._told = chain.Told(config.intensity, config.intensity_from or "the configuration")
        self._place = _NOWHERE
        self._tables = Answer([], [])
        self._asked: dict[str, Passed | None] = {}  # by link: why a service need not be asked, None where it is
        self._passed: list[Passed] = []  # the services that gave no figure, and why, as of now
        self._services: list[Service] = []
        self._first: Answer | None = None  # what other runs have left in the cache
        self._has_looked = False  # whether that is known, and which services there are
        self._has_told = False  # of them
        self._find_place = False  # the cloud's metadata is to be asked, too
        self._due: datetime | None = None  # None: there is nobody to ask
        self._failures = 0  # in a row
        self._asking: Asking | None = None
        self._spans: list[Intensity] = []
        self._logged: dict[tuple[datetime | None, datetime | None], tuple[Any, ...]] = {}  # by stretch, the last word
        self._warned = False

    # --- at the start

    def prepare(self) -> None:
        """Look at what is shipped: the tables."""
        config = self._config
        self._place = location.find(config.country, config.zone, config.place_from, os.environ)
        self._tables = chain.known(self._told, self._place, config.basis)

    def _choose(self) -> None:
        """See which services have figures for the place."""
        for service in self._services:
            zone = service.zone(self._place, self._config.basis)
            closed = Passed(service.link, zone.cause, zone.reason) if isinstance(zone, Unavailable) else None
            self._asked[service.link] = closed
        self._passed = self._without_answer("absent", "has not answered yet")

    def look_around(self) -> None:
        """Look which services there are to ask, and what other runs have left in the cache.

        On a home that hangs this hangs, so nobody waits for it.
        """
        config = self._config
        if not self._told:
            self._services = services(config, os.environ)
            self._choose()
            if not config.offline and config.cloud_metadata and not (config.country or config.zone):
                self._find_place = cloud.provider(config.sysfs_root) is not None
        if not config.offline and (self._find_place or None in self._asked.values()):
            self._due = self._now()
        if None in self._asked.values() and not self._find_place:
            cache, now = Cache(default_directory(os.environ)), self._now()
            answer = chain.live(
                self._services, cache, self._place, config.basis, self._started, now, now, insist=False, asking=False
            )
            failing = {one.link for one in answer.passed if one.cause != "absent"}
            left_alone = all(closed or link in failing for link, closed in self._asked.items())
            if config.offline or left_alone or _is_fresh(answer):  # no process need be started to learn more
                self._first = answer
        self._has_looked = True

    def begin(self, poll: select.poll, earlier: Iterable[dict[str, Any]] = ()) -> None:
        """Log the tables' figure; from here on `poll` hears of answers. `earlier`: the log of a sampler that died."""
        self._asking = Asking(poll, self._patience_seconds)
        spans = []
        for event in earlier:
            self._warned |= event["event"] == "warning" and event["code"] == "intensity"
            if event["event"] == "intensity" and event.get("from_utc"):
                spans.append(chain.from_event(event))
        self._spans = series.merge((), spans)
        self._log_tables()

    # --- while the command runs

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when there is an answer."""
        return None if self._asking is None else self._asking.descriptor

    def tick(self) -> None:
        """Take what the cache had; ask if it is time to."""
        asking = self._asking
        if not self._has_looked or asking is None:
            return
        if not self._has_told:
            self._has_told = True
            if self._first is not None:
                self._take(fetching.Reply(self._place, self._first))
            elif self._asked:
                self._log_tables()  # again, now with the services that may do better
                if self._due is None:
                    self._complain()
        if asking.is_overdue:
            self._give_up("the process that asks hangs")
        now = self._now()
        if self._due is not None and self._due > now + _HOUR + timedelta(seconds=max(_AFTER_THE_HOUR_SECONDS)):
            self._due = now  # the clock was set back
        if self._due is None or asking.descriptor is not None or now < self._due:
            return
        try:
            asking.begin(
                self._config,
                "history",
                place=None if self._find_place else self._place,
                from_utc=min(max(self._started, now - _LOOK_BACK), now),
                to_utc=now,
                now_utc=now,
            )
        except OSError as error:
            self._take(fetching.failed(f"no process could be started ({error.strerror or error})"))

    def look(self) -> None:
        """Take the answer, if it is there."""
        if self._asking is not None and (reply := self._asking.look()) is not None:
            self._take(reply)

    def _give_up(self, reason: str) -> None:
        if self._asking is not None and self._asking.stop():
            self._take(fetching.Reply(_NOWHERE, Answer([], self._without_answer("broken", reason))))

    def _take(self, reply: fetching.Reply) -> None:
        answer, now, moved = reply.answer, self._now(), False
        if self._find_place and reply.place.how != "unknown":
            self._find_place = False
            moved = reply.place != self._place
            if moved:
                self._place = reply.place
                self._tables = chain.known(None, self._place, self._config.basis)
                self._choose()
        self._failures = 0 if _is_fresh(answer) else self._failures + 1
        if None not in self._asked.values() and not self._find_place:
            self._due = None  # the place is known now, and no service has figures for it
        if self._due is not None:
            low, high = _AFTER_THE_HOUR_SECONDS
            next_hour = _start_of_hour(now) + _HOUR + timedelta(seconds=low + os.getpid() % (high - low))
            self._due = now + min(_FIRST_RETRY * 2 ** (self._failures - 1), _HOUR) if self._failures else next_hour
        self._passed = answer.passed
        if moved or not answer.spans:
            self._log_tables()  # again, now with the reason
        self._log(answer.spans)
        self._complain()

    # --- what is known

    @property
    def place(self) -> Place | None:
        """Where the machine stands; None as long as that is to be asked."""
        return None if self._find_place else self._place

    @property
    def table(self) -> Intensity | None:
        """What counts where no service tells better: the figure for all time."""
        return next(iter(self._tables.spans), None)

    @property
    def spans(self) -> list[Intensity]:
        """What services have told of the run so far, in order of time."""
        return self._spans

    @property
    def present(self) -> Intensity | None:
        """What counts now, as far as is known: what services have told counts no longer than it is held on."""
        now = self._now()
        known = series.clip(series.hold(self._spans, now, _HOLD), now - _HOUR, now)
        return known[-1] if known else self.table

    # --- at the end

    def finish(self, deadline: float) -> None:
        """See to it that the run's last stretch has its figure: wait for an answer, at most until `deadline`.

        `deadline` is on time.monotonic(). What nobody told is held on from the hour before.
        """
        if not self._has_looked and not self._told:
            self._passed = [Passed("services", "broken", "the token file or the cache could not be read in time")]
            self._log_tables()
            self._complain()
        self.tick()
        if self._due is None and not self._spans:
            return
        now = self._now()
        if self._due is not None and not self._failures and self._known_until() <= _start_of_hour(now):
            self._due = now  # without the minutes that are left for an hour's figure to appear
            self.tick()
        if self._asking is not None and (reply := self._asking.wait(deadline)) is not None:
            self._take(reply)
        self._give_up("gave no answer before the run was over")
        if self._spans and self._known_until() < now:
            self._log(series.hold(self._spans, now, _HOLD))

    def _without_answer(self, cause: Cause, reason: str) -> list[Passed]:
        return [closed or Passed(link, cause, reason) for link, closed in self._asked.items()]

    def _known_until(self) -> datetime:
        """Give the end of what services have told so far."""
        return (self._spans[-1].to_utc if self._spans else None) or self._started

    # --- into the log

    def _log_tables(self) -> None:
        """Log the tables' figure, for all time: it gives way to every one that is not, whenever that came."""
        passed = [*self._passed, *self._tables.passed]
        for intensity in self._tables.spans:
            self._write(intensity, passed)
        if not self._tables.spans:  # then it is all the more of interest why
            reasons = [one._asdict() for one in passed]
            self._log_to.write("intensity", grams_per_kwh=None, how=self._place.how, passed=reasons)

    def _log(self, spans: list[Intensity]) -> None:
        """Log what is new or has changed."""
        for span in spans:
            stretch, said = (span.from_utc, span.to_utc), (span.grams_per_kwh, span.estimated, span.link)
            if self._logged.get(stretch) != said:
                self._logged[stretch] = said
                self._write(span, self._passed)
        self._spans = series.merge(self._spans, spans)

    def _write(self, intensity: Intensity, passed: list[Passed]) -> None:
        self._log_to.write("intensity", **chain.event_fields(intensity, self._place, passed))

    def _complain(self) -> None:
        """Say once a run, and with the cause, that a service which should have answered did not."""
        failures = [one for one in self._passed if one.cause != "absent"]
        if not failures or self._warned or self._config.offline:
            return
        self._warned = True
        why = "; ".join(f"{TITLES.get(one.link, one.link)}: {one.reason}" for one in failures)
        self._log_to.warn("intensity", f"Not every service gave a carbon intensity ({why}); {self._instead()}.")

    def _instead(self) -> str:
        used = self._spans[-1] if self._spans else next(iter(self._tables.spans), None)
        if used is None:
            return "no other figure is at hand"
        return f"the figure of {TITLES.get(used.link, 'the ' + used.link)} is used"


def _start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _is_fresh(answer: Answer) -> bool:
    return bool(answer.spans) and answer.spans[-1].link != "stale cache"
