"""The grams that a job under way will have caused: its past hours as they were, those to come by their forecast.

The forecast is asked for in the background, once an hour, as soon as a job that tells its epochs has lasted a minute
or is predicted to last beyond this hour. Where there is none, the grams rest on the figure of now and the yearly
average.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from greenrun.cli.asking import PATIENCE_SECONDS, Asking
from greenrun.intensity import outlook, series
from greenrun.sampler.prediction import Interval

if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from greenrun.cli.config import Config
    from greenrun.cli.hourly import Hourly
    from greenrun.intensity.model import Intensity
    from greenrun.sampler.livejoules import Scope
    from greenrun.sampler.progress import Point

_JOULES_PER_KWH = 3.6e6
_HOUR = timedelta(hours=1)
_WORTH_ASKING_SECONDS = 60.0
_LEAST_AHEAD = timedelta(hours=24)  # so much costs no more to ask for than less, and another job may need it
_MOST_AHEAD = timedelta(hours=72)  # nobody of whom greenrun asks looks farther
_POINT_SECONDS = 600.0  # energy is split at such moments: the intensity moves by the hour
_DAY = timedelta(hours=24)  # so long a figure is held on, and what is older is charged for good
_90_OF_95 = 1.645 / 1.96  # half-widths of normal 90 % and 95 % intervals


class Foreseen(NamedTuple):
    """The grams of the whole job, and what the time to come was charged with."""

    grams: Interval
    ahead: outlook.Outlook


class Foresight:
    """Knows what the hours ahead of one run stand for. What fails here costs the job nothing."""

    def __init__(
        self,
        config: Config,
        hourly: Hourly,
        poll: select.poll,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`now` gives the present moment in UTC; `patience_seconds`: how long a process that asks may take."""
        self._config = config
        self._hourly = hourly
        self._now = now
        self._asking = Asking(poll, patience_seconds)
        self._pue = config.pue or 1.0
        self._is_wanted = config.epochs is not None  # somebody counts on a prediction
        self._until: datetime | None = None  # the predicted end
        self._asked: datetime | None = None
        self._forecast: list[Intensity] = []
        self._past: dict[Scope, list[Point]] = {}  # of the last day
        self._settled_grams: dict[Scope, float] = {}  # until the first of them, before PUE

    # --- asking

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when there is an answer."""
        return self._asking.descriptor

    def expect(self) -> None:
        """Take note that the job tells its epochs: there will be a prediction."""
        self._is_wanted = True

    def tick(self, running_seconds: float) -> None:
        """Ask if it is time to; the command has been running for so long."""
        if self._asking.is_overdue:
            self._asking.stop()
        now = self._now()
        beyond = self._until is not None and self._until > now + _to_the_hour(now)
        long = self._is_wanted and running_seconds >= _WORTH_ASKING_SECONDS
        if self._asking.descriptor is not None or not (beyond or long) or self._is_fresh(now):
            return
        place = self._hourly.place
        if self._config.offline or self._config.intensity is not None or place is None:
            return
        until = max(self._until or now, now + _LEAST_AHEAD)
        self._asked = now
        try:
            self._asking.begin(self._config, "forecast", place=place, to_utc=min(until, now + _MOST_AHEAD), now_utc=now)
        except OSError:  # the one who asks for the past says so
            return

    def _is_fresh(self, now: datetime) -> bool:
        return self._asked is not None and self._asked <= now < self._asked + _to_the_hour(self._asked)

    def look(self) -> None:
        """Take the answer, if it is there. One that holds no forecast leaves the last one, as far as it reaches."""
        reply = self._asking.look()
        if reply is not None and reply.answer.spans:
            self._forecast = reply.answer.spans

    def finish(self) -> None:
        """Ask no more: the run is over."""
        self._asking.stop()

    # --- telling

    def foresee(
        self, start: Point, newest: Point, energy: Interval, duration_seconds: float, scope: Scope = "node"
    ) -> Foreseen | None:
        """Give the grams of a job whose energy is predicted, None where no intensity is known.

        `start` is the command's, `newest` the last moment of which the energy is known; `energy` and `duration_seconds`
        are those of the whole job. `scope` tells whose all joules are.
        """
        if newest.joules is None or start.joules is None:
            return None
        now = self._now()
        self._until = now + timedelta(seconds=min(max(start.t + duration_seconds - newest.t, 0.0), 1e8))
        until = max(self._until, now + timedelta(seconds=1))  # at its end it still wants a figure, for nothing
        ahead = outlook.over(self._forecast, self._hourly.present, self._hourly.table, now, until)
        so_far = self._so_far(start, newest, now, scope)
        if ahead is None or so_far is None:
            return None
        per_joule = ahead.grams_per_kwh / _JOULES_PER_KWH
        to_come = [max(joules - (newest.joules - start.joules), 0.0) * per_joule for joules in energy]
        # A forecast that is wrong makes the prediction wrong; a yearly average will be used in the end, too.
        doubt = to_come[0] * ahead.uncertainty_percent / 100.0 * _90_OF_95 * ahead.told_percent / 100.0
        low = max(to_come[0] - ((to_come[0] - to_come[1]) ** 2 + doubt**2) ** 0.5, 0.0)
        high = to_come[0] + ((to_come[2] - to_come[0]) ** 2 + doubt**2) ** 0.5
        return Foreseen(Interval(*(self._pue * (so_far + grams) for grams in (to_come[0], low, high))), ahead)

    def spent_grams(self, start: Point, newest: Point, scope: Scope = "node") -> float | None:
        """Give the grams until the newest moment, None where no intensity is known."""
        if newest.t <= start.t:
            return 0.0
        so_far = self._so_far(start, newest, self._now(), scope)
        return None if so_far is None else self._pue * so_far

    def _so_far(self, start: Point, newest: Point, now: datetime, scope: Scope) -> float | None:
        """Give the grams until the newest moment, before PUE; stretches of ten minutes have each their own figure.

        Older ones than a day are summed up once, so that a prediction costs no more after weeks than after a day.
        """
        past = self._past.setdefault(scope, [start])
        points = past + [newest] * (newest.t > past[-1].t)
        times = [now - timedelta(seconds=newest.t - point.t) for point in points]
        known = series.clip(series.hold(self._hourly.spans, now, _DAY), times[0], now)
        grams = settled_grams = self._settled_grams.get(scope, 0.0)
        settled = 0
        for (before, begun), (after, ended) in pairwise(zip(points, times, strict=True)):
            was = outlook.over(known, None, self._hourly.table, begun, ended)
            if was is None:
                return None
            grams += ((after.joules or 0.0) - (before.joules or 0.0)) * was.grams_per_kwh / _JOULES_PER_KWH
            if ended < now - _DAY:
                settled_grams, settled = grams, settled + 1
        if newest.t >= past[-1].t + _POINT_SECONDS:
            past.append(newest)
        del past[:settled]
        self._settled_grams[scope] = settled_grams
        return grams


def _to_the_hour(moment: datetime) -> timedelta:
    """Give the time from `moment` to the next full hour."""
    return _HOUR - timedelta(minutes=moment.minute, seconds=moment.second, microseconds=moment.microsecond)


def event_fields(foreseen: Foreseen | None) -> dict[str, Any]:
    """Give the fields of a `prediction` event that tell the grams and what they rest on."""
    if foreseen is None:
        return {"co2e_grams": None, "ahead": None}
    grams, ahead = foreseen
    return {
        "co2e_grams": grams._asdict(),
        "ahead": {
            "grams_per_kwh": round(ahead.grams_per_kwh, 3),
            "uncertainty_percent": round(ahead.uncertainty_percent, 1),
            "forecast_percent": round(ahead.told_percent, 1),
            "links": ahead.links,
        },
    }
