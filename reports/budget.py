"""Whether a run kept to its budget: what it was allowed, what it used, and when that was noticed. Pure.

The sampler writes a `budget` event when it sees the budget used up; whether it was exceeded is judged by the record's
own figures, which may be better by then: an hour's intensity is told when the hour is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.reports import units
from greenrun.reports.life import first

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greenrun.reports.life import Life
    from greenrun.reports.record import Budget, Event, Quantity, Record, RunStatus, Warned


def judged(
    events: Sequence[Event], life: Life | None, status: RunStatus, joules: float | None, grams: float | None
) -> Budget | None:
    """Give what came of the run's budget, None where it had none."""
    told = (events[0].get("config") or {}).get("budget")
    if not told:
        return None
    noticed = first(events, "budget") or {}
    spent = joules if told["quantity"] == "energy_joules" else grams
    if spent is not None and spent > told["limit"]:
        exceeded: bool | None = True
    else:  # what is in no figure may have been too much
        exceeded = None if spent is None or status == "partial" else False
    return {
        "quantity": told["quantity"],
        "limit": float(told["limit"]),
        "action": told["action"],
        "spent": spent,
        "exceeded": exceeded,
        "used_up_at": float(noticed["t"]) - life.begin if noticed and life else None,
        "stopped": bool(noticed.get("stopped")),
    }


def warnings(budget: Budget | None, status: RunStatus) -> Iterator[Warned]:
    """Say that a budget was exceeded, or that nobody knows."""
    if budget is None or status == "not-started":
        return
    stopped = "; the command was stopped for it" if budget["stopped"] else ""
    if budget["exceeded"]:
        yield {"code": "budget", "message": f"{_exceeded(budget)}{stopped}."}
    elif budget["spent"] is None:
        what = "energy" if budget["quantity"] == "energy_joules" else "CO2e"
        sentence = f"The {what} is unknown, so whether the budget of {limit(budget)} was kept is unknown too{stopped}."
        yield {"code": "budget", "message": sentence}
    elif stopped:
        sentence = f"The budget of {limit(budget)} seemed used up{stopped}; by better figures it was not."
        yield {"code": "budget", "message": sentence}


def verdict(record: Record) -> str:
    """Give the sentence for a run that went over a budget that is not only to warn, "" for any other."""
    budget = record["budget"]
    if budget is None or budget["action"] == "warn" or not budget["exceeded"]:
        return ""
    return _exceeded(budget).replace(units.NO_BREAK, " ")


def limit(budget: Budget) -> str:
    """Write what was allowed."""
    return amount(budget["limit"], budget["quantity"])


def amount(value: float, quantity: Quantity) -> str:
    """Write an amount of what a budget is of."""
    return units.energy(value) if quantity == "energy_joules" else f"{units.mass(value)} CO2e"


def _exceeded(budget: Budget) -> str:
    spent, allowed = budget["spent"] or 0.0, budget["limit"]
    at = "" if budget["used_up_at"] is None else f", which was used up after {units.duration(budget['used_up_at'])}"
    over = units.percent(100.0 * (spent - allowed) / allowed)
    return f"The run used {amount(spent, budget['quantity'])}, {over} more than its budget of {limit(budget)}{at}"
