"""One GET of a JSON document, within five seconds or not at all; what goes wrong is told in a few words.

The library is imported when the first call is due. Each call runs in a thread that nobody waits for longer than the
limit: looking up a name, a proxy, or a server that sends a byte now and then have no limit of their own. Nothing that
was sent is ever repeated in what is told: a header may hold a token.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from greenrun.intensity.model import Unavailable

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 5.0
MAX_BODY_BYTES = 4 << 20
"""Ten days of hours are 60 kB; a week of five minutes for two areas is 400 kB."""

_MAX_WORDS = 200  # characters of what a service says of itself
_MAX_RETRY_SECONDS = 86_400.0


class Refused(NamedTuple):
    """The service answered with another status than 200: which, and its own words, cleaned, "" where there are none."""

    status: int
    words: str
    retry_after_seconds: float | None = None


Get = Callable[[str, Mapping[str, str], Mapping[str, str]], "object | Refused | Unavailable"]
"""GET a URL with a query and headers: what the JSON says, or why there is none."""


class Client:
    """Asks over HTTP. Proxies of the environment are honoured, redirects are not followed."""

    def __init__(self, *, connect_seconds: float = CONNECT_SECONDS, total_seconds: float = TOTAL_SECONDS) -> None:
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> object | Refused | Unavailable:
        """GET a JSON document, within `total_seconds`; never raises."""
        try:
            import httpx  # noqa: F401  paid for before the clock starts
        except ImportError as error:
            return Unavailable(f"the package {error.name or 'httpx'} is missing", "broken")
        answers: queue.SimpleQueue[object] = queue.SimpleQueue()
        deadline = time.monotonic() + self._total_seconds
        asking = threading.Thread(
            target=lambda: answers.put(self._ask(url, params, headers, deadline)), name="greenrun-http", daemon=True
        )
        try:
            asking.start()
            return answers.get(timeout=self._total_seconds)
        except queue.Empty:
            return self._late()
        except RuntimeError:
            return Unavailable("no thread could be started for the call", "broken")

    def _late(self) -> Unavailable:
        return Unavailable(f"no complete answer within {self._total_seconds:g} s", "broken")

    def _ask(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str], deadline: float
    ) -> object | Refused | Unavailable:
        import httpx

        from greenrun import __version__

        ours = {
            "User-Agent": f"greenrun/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # then the limit on the body is one on what it unpacks to
        }
        begun = False
        timeout = httpx.Timeout(self._total_seconds, connect=self._connect_seconds)
        try:
            with (
                httpx.Client(timeout=timeout, follow_redirects=False, mounts=_LOOPBACK) as client,
                client.stream("GET", url, params=dict(params), headers={**ours, **headers}) as response,
            ):
                begun, body = True, bytearray()
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        return Unavailable(f"answered with more than {MAX_BODY_BYTES >> 20} MiB", "broken")
                    if time.monotonic() > deadline:
                        return self._late()
                return _read(response.status_code, response.headers, bytes(body), headers)
        except httpx.ConnectTimeout:
            return Unavailable(f"no connection within {self._connect_seconds:g} s", "broken")
        except httpx.TimeoutException:
            return self._late()
        except httpx.RemoteProtocolError:
            return Unavailable("the answer was cut off" if begun else "answered with nothing that is HTTP", "broken")
        except Exception as error:  # noqa: BLE001  whatever it is, it is no figure; and its text may hold what was sent
            return Unavailable(_phrase(error), "broken")


def unavailable(refused: Refused) -> Unavailable:
    """Give what a status means wherever the service has no meaning of its own for it."""
    status, said = refused.status, f": {refused.words}" if refused.words else ""
    if status in (401, 403):
        return Unavailable(f"refused the request ({status}){said}", "forbidden")
    if status in (429, 503):
        why = "asked for fewer requests" if status == 429 else "out of service for the moment"
        return Unavailable(f"{why} ({status}){said}", "limited", refused.retry_after_seconds)
    if status == 404:
        return Unavailable(f"has nothing there (404){said}", "broken")
    if 300 <= status < 400:
        return Unavailable(f"answered with a redirect ({status}), which is not followed", "broken")
    return Unavailable(f"answered with status {status}{said}", "broken")


def retry_after_seconds(text: str | None, now: float | None = None) -> float | None:
    """Read a Retry-After header, seconds or an HTTP date, as seconds from `now` (Unix time); between 0 and a day."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _MAX_RETRY_SECONDS)
    from email.utils import parsedate_to_datetime

    try:
        seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_SECONDS)


def _read(status: int, headers: httpx.Headers, body: bytes, sent: Mapping[str, str]) -> object | Refused | Unavailable:
    import json

    encoding = headers.get("content-encoding", "identity").lower()
    document: object = None
    parsed = False
    if encoding == "identity":
        try:
            document, parsed = json.loads(body), True
        except (ValueError, RecursionError):  # no JSON, no UTF-8, a number of 5,000 digits, a tower of brackets
            parsed = False
    if status != 200:
        words = _words(document, sent) if parsed else ""
        return Refused(status, words, retry_after_seconds(headers.get("retry-after")))
    if parsed:
        return document
    if encoding != "identity":
        return Unavailable("answered with a compressed document, which was not asked for", "broken")
    what = "HTML" if b"<html" in body[:4096].lower() or b"<!doctype" in body[:4096].lower() else "something else"
    return Unavailable(f"answered with {what} instead of JSON", "broken")


def _words(document: object, sent: Mapping[str, str]) -> str:
    """Give what the service says of its refusal, on one line, without anything that was sent to it in a header."""
    found: list[str] = []
    for key in ("error", "message", "detail"):
        value = document.get(key) if isinstance(document, dict) else None
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value not in found:
            found.append(value)
    words = "; ".join(found)
    for value in sent.values():
        words = words.replace(value, "***") if value else words
    words = "".join(letter if letter.isprintable() else " " for letter in words)
    words = " ".join(words.split())
    return words if len(words) <= _MAX_WORDS else f"{words[: _MAX_WORDS - 3]}..."


def _phrase(error: BaseException) -> str:
    """Say what went wrong by the kind of the error and of what is behind it, never by its text."""
    import socket
    import ssl

    import httpx

    chain = [error]
    while len(chain) < 10 and (behind := chain[-1].__cause__ or chain[-1].__context__):
        chain.append(behind)
    if any(isinstance(one, httpx.ProxyError) for one in chain):
        return "the proxy did not let the request through"
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate was not accepted ({one.verify_message})"
        if isinstance(one, ssl.SSLError):
            return "no encrypted connection could be made (TLS)"
        if isinstance(one, socket.gaierror):
            return "its name could not be resolved"
        if isinstance(one, OSError) and one.errno in _ERRORS:
            return _ERRORS[one.errno]
    if isinstance(error, ImportError):
        return "the package socksio is missing, which a SOCKS proxy needs"
    if isinstance(error, FileNotFoundError):
        return "the certificates that SSL_CERT_FILE or SSL_CERT_DIR names are not there"
    if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        return "its address is no http or https URL, or that of the proxy is none"
    if isinstance(error, httpx.NetworkError):
        return "the connection broke"
    return f"the request failed ({type(error).__name__})"


_LOOPBACK: dict[str, None] = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}
"""This machine is not asked by way of a proxy, whatever the environment says."""

_ERRORS = {
    errno.ECONNREFUSED: "the connection was refused",
    errno.ECONNRESET: "the connection was reset",
    errno.EPIPE: "the connection was reset",
    errno.ENETUNREACH: "there is no network",
    errno.EHOSTUNREACH: "there is no way to it through the network",
    errno.EACCES: "connections are forbidden here",
    errno.EPERM: "connections are forbidden here",
    errno.ETIMEDOUT: "the connection timed out",
}
