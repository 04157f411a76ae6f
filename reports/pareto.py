"""Which of several runs are worth their energy: the Pareto front, and the PePR score.

PePR is performance per resource unit, P / (1 + R), with R the resource scaled to 0..1 over the runs that are compared:
Selvan, Pepin, Igel, Samuel and Dam, "PePR: Performance Per Resource Unit as a Metric to Promote Small-Scale Deep
Learning in Medical Image Analysis", NLDL 2025.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Tell of each (cost, performance) whether none is as cheap and as good, and better in one of the two."""
    on_front = [False] * len(points)
    best: tuple[float, float] | None = None
    for at in sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1])):
        if best is None or points[at][1] > best[1] or points[at] == best:
            best, on_front[at] = points[at], True
    return on_front


def scaled(costs: Sequence[float]) -> list[float]:
    """Give the costs from 0, the least, to 1, the most; 0 where all are equal."""
    if not costs:
        return []
    low, high = min(costs), max(costs)
    return [(cost - low) / (high - low) if high > low else 0.0 for cost in costs]


def scores(points: Sequence[tuple[float, float]]) -> list[float | None]:
    """Give the PePR score of each (cost, performance); None for a performance below 0, which a cost would improve."""
    resources = scaled([cost for cost, _ in points])
    return [
        performance / (1.0 + resource) if performance >= 0.0 else None
        for (_, performance), resource in zip(points, resources, strict=True)
    ]
