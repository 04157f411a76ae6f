"""What one line tells of an epoch."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Sighting(NamedTuple):
    """Something about epoch `n` of `of` (None if not told), both as printed.

    `tells`: it `opens`, it `closes`, it is `within` the epoch; or the job `begins` epoch `n`, but it will be the ends
    that count. `first` is what the format calls the first epoch, None where jobs differ. A line that is not `sure`
    counts where its number fits. `closing_comes`: another line will tell when what it is `within` is over.
    """

    format: str
    n: int
    of: int | None
    tells: Literal["begins", "opens", "closes", "within", "plans"]
    first: Literal[0, 1] | None = None
    sure: bool = True
    closing_comes: bool = False
