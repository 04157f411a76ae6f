"""From what was seen in one stream to marks: which format tells the epochs, and whether it is their beginnings or ends.

One format, the first: a job may draw a bar within each epoch and print a table besides, and their ends differ by a
validation. But epochs go before rounds, and rounds before a bar that only happens to be as long as the job. One kind of
mark, because what lies between the end of an epoch and the beginning of the next one (validation, checkpoints) belongs
to the cost of an epoch: where beginnings are told, an end counts at the last epoch only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from greenrun.sampler.formats.sighting import Sighting

_Kind = Literal["start", "end"]
_RANKS = {"tqdm, unnamed": 0, "XGBoost": 1, "LightGBM": 1, "CatBoost": 1, "scikit-learn": 1}
_EPOCHS_RANK = 2


class Boundaries:
    """Takes the sightings of one stream in their order.

    `told` is what the marks are, where the user says it; `epochs` is how many there will be.
    """

    def __init__(self, told: _Kind | None = None, epochs: int | None = None) -> None:
        self._told: _Kind | None = told
        self._epochs = epochs
        self._rank = 0
        self._format: str | None = None  # the one that tells the epochs
        self._counts: _Kind | None = None
        self._total: int | None = None  # as any format of this rank has it
        self._first: dict[str, int] = {}
        self._established = False
        self._doubted: int | None = None
        self._awaited: int | None = None  # the epoch whose end is to be told by another line

    def take(self, seen: Sighting) -> tuple[int, int | None, _Kind] | None:
        """Give number (from 1), total and kind of the mark that this makes, None if it makes none."""
        rank = _RANKS.get(seen.format, _EPOCHS_RANK)
        if rank < self._rank:
            return None
        if seen.tells != "plans" and not self._believes(seen):
            return None
        if rank > self._rank:
            self._rank, self._format, self._counts, self._total, self._awaited = rank, None, None, None, None
        self._total = seen.of or self._total
        if seen.tells == "plans" or self._format not in (None, seen.format):
            return None
        # A job whose first number is 0 counts from 0.
        first = self._first.setdefault(seen.format, min(seen.n, 1)) if seen.first is None else seen.first
        n = seen.n - first + 1
        of = None if self._total is None else max(self._total, n)  # some count 0/24 to 24/24
        kind = self._kind(seen, n, of)
        if self._counts is not None:
            self._format = seen.format
        return None if kind is None or n < 1 else (n, of, kind)

    def _believes(self, seen: Sighting) -> bool:
        """Tell whether a sighting is sure, or its number begins a count or goes on with one."""
        if not seen.sure and not self._established and seen.n > 1 and seen.n - 1 != self._doubted:
            self._doubted = seen.n
            return False
        self._established = True
        return True

    def _kind(self, seen: Sighting, n: int, of: int | None) -> _Kind | None:
        tells = seen.tells
        if self._told is not None and tells in ("opens", "closes"):
            tells = "opens" if self._told == "start" else "closes"
        if tells == "begins":
            if self._counts == "start":
                return None
            self._counts = "end"
            return "start"
        if tells == "within":
            return self._within(seen, n)
        self._counts = self._counts or ("start" if tells == "opens" else "end")
        if self._counts == "start":
            is_last = n in (of, self._epochs)
            return "start" if tells == "opens" else ("end" if is_last else None)
        self._awaited = None
        return "end" if tells == "closes" else None

    def _within(self, seen: Sighting, n: int) -> _Kind | None:
        if self._told is not None:
            self._counts = self._told
        elif self._counts is None and seen.closing_comes:
            self._counts, self._awaited = "end", n
        elif self._awaited is not None and n > self._awaited:  # its end was not told
            self._counts, self._awaited = "start", None
        self._counts = self._counts or "start"
        return "start" if self._counts == "start" else None
