"""A run under way held against its budget: what it has used so far, and what is done when that is too much.

Energy is looked at whenever the sampler has read something. Grams are worked out over all hours so far, which costs
more the longer the run: they are looked at each thousandth of it, so that nothing is noticed later than that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from greenrun.cli import budget as budgets
from greenrun.reports import budget as words
from greenrun.reports import units
from greenrun.sampler.progress import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greenrun.cli.config import Config
    from greenrun.cli.foresight import Foresight
    from greenrun.sampler.events import Event
    from greenrun.sampler.loop import Sampler

_GRAMS_SECONDS, _GRAMS_SPARING = 1.0, 1000.0


class Spending:
    """Looks at what one command uses; `stop` ends it, where that is what the budget is for.

    `spawned` is the command's start on the run log's clock, with the joules of all counted devices until then.
    """

    def __init__(
        self,
        config: Config,
        sampler: Sampler,
        foresight: Foresight,
        spawned: Point,
        tell: Callable[[str], None],
        stop: Callable[[], bool] | None,
    ) -> None:
        assert config.budget is not None  # noqa: S101  nobody looks where there is none
        self._budget = budgets.read(config.budget)
        self._action = config.budget_action
        self._sampler = sampler
        self._foresight = foresight
        self._spawned = spawned
        self._tell = tell
        self._stop = stop
        self._grams_due = 0.0
        self.is_used_up = False

    def restore(self, earlier: Sequence[Event]) -> None:
        """Take over from a sampler that died, whose log this is: what it has told is not told again."""
        self.is_used_up = any(event["event"] == "budget" for event in earlier)
        if earlier and not self.is_used_up and self._sampler.job_joules is not None:
            from greenrun.reports.account import account

            known = account(earlier)["job_energy_joules"]
            if known is not None and known["total"] is not None:
                self._sampler.job_joules.add(known["total"])

    def look(self) -> None:
        """See what has been used, and do once what is to be done when that is all."""
        if self.is_used_up:
            return
        spent = self._spent()
        if spent is None or spent < self._budget.limit:
            return
        self.is_used_up = True
        stopped = self._action == "stop" and self._stop is not None and self._stop()
        self._sampler.write(
            "budget",
            quantity=self._budget.quantity,
            limit=self._budget.limit,
            spent=round(spent, 6),
            action=self._action,
            scope=self._sampler.scope,
            stopped=stopped,
        )
        self._tell(self._sentence(stopped))

    def _spent(self) -> float | None:
        now = time.monotonic() - self._sampler.started
        scope = self._sampler.scope
        newest = Point(now, self._sampler.joules(scope))
        spawned = self._spawned if scope == "node" else Point(self._spawned.t, 0.0)
        if self._budget.quantity == "energy_joules":
            return (newest.joules or 0.0) - (spawned.joules or 0.0)
        if now < self._grams_due:
            return None
        self._grams_due = now + max(_GRAMS_SECONDS, (now - self._spawned.t) / _GRAMS_SPARING)
        return self._foresight.spent_grams(spawned, newest, scope)

    def _sentence(self, stopped: bool) -> str:
        after = units.duration(time.monotonic() - self._sampler.started - self._spawned.t)
        estimated = any(meter.device.counted and meter.device.method == "estimate" for meter in self._sampler.meters)
        limit = words.amount(self._budget.limit, self._budget.quantity)
        sentence = (
            f"greenrun: the budget of {limit} is used up after {after}"
            f"{', by an estimate' if estimated else ''}{'; the command is being stopped' if stopped else ''}"
        )
        return sentence.replace(units.NO_BREAK, " ")


def joules_at_spawn(events: Sequence[Event]) -> float:
    """Give the joules of all counted devices when the command was spawned, from the log of a sampler that died."""
    from greenrun.reports.energy import device_entries

    counted = [device["counted"] for device in device_entries(events)]
    spawned = next((event["t"] for event in events if event["event"] == "spawned"), 0.0)
    for event in events:
        if event["event"] == "sample" and event["t"] >= spawned:
            return sum(joules or 0.0 for joules, counts in zip(event["j"], counted, strict=False) if counts)
    return 0.0
