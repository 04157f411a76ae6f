"""Descriptors of greenrun itself that stand for something else while the command runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType


class Replaced:
    """Descriptors that stand for something else until the end of the `with` block.

    Raises OSError where there are not enough of them: then all are as they were.
    """

    def __init__(self, stand_in: int, numbers: Iterable[int]) -> None:
        self._saved: dict[int, int] = {}
        try:
            for number in numbers:
                self._saved[number] = os.dup(number)
                os.dup2(stand_in, number)
        except OSError:
            self.restore()
            raise

    def restore(self) -> None:
        """Put the descriptors back as they were."""
        while self._saved:
            number, saved = self._saved.popitem()
            os.dup2(saved, number)
            os.close(saved)

    def __enter__(self) -> Replaced:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.restore()
