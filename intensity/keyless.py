"""What the services that need no key share: an address, and a document that is asked for there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenrun.intensity.http import Refused, unavailable
from greenrun.intensity.model import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greenrun.intensity.http import Get


class Keyless:
    """A service at `base_url`."""

    def __init__(self, base_url: str, get: Get) -> None:
        self._address = base_url.rstrip("/")
        self._get = get

    @property
    def address(self) -> str:
        """The base URL."""
        return self._address

    def _document(self, path: str, params: Mapping[str, str]) -> object | Unavailable:
        """Ask for a JSON document at a path below the address."""
        document = self._get(f"{self._address}/{path}", params, {})
        return self._refused(document) if isinstance(document, Refused) else document

    def _refused(self, refused: Refused) -> Unavailable:
        """Give what a refusal means to this service."""
        return unavailable(refused)
