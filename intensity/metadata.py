"""In which region of its cloud this machine stands: the cloud's own metadata service says.

To be asked only where the firmware names that cloud. It answers on a link-local address, over plain HTTP and never
through a proxy, within half a second or not at all.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from greenrun.intensity.model import Unavailable

if TYPE_CHECKING:
    from greenrun.intensity.cloud import Provider

DEFAULT_URL = "http://169.254.169.254"
"""The same link-local address for all three, as each documents it."""

LIMIT_SECONDS = 0.5

_LONGEST_ANSWER_BYTES = 4096
_LONGEST_REGION = 64


class _Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


_AWS_TOKEN = _Request("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
_AWS_REGION = "/latest/meta-data/placement/region"
_AZURE_REGION = _Request(
    "GET", "/metadata/instance/compute/location?api-version=2021-02-01&format=text", {"Metadata": "true"}
)
_GCP_ZONE = _Request("GET", "/computeMetadata/v1/instance/zone", {"Metadata-Flavor": "Google"})


def region(provider: Provider, base_url: str = DEFAULT_URL, limit_seconds: float = LIMIT_SECONDS) -> str | Unavailable:
    """Ask the metadata service for the region ("eu-north-1", "westeurope", "europe-west1"), `limit_seconds` in all."""
    from http.client import HTTPException  # here: it takes 50 ms, and hardly any machine stands in a cloud

    deadline = time.monotonic() + limit_seconds
    try:
        text = _region(provider, base_url, deadline)
    except TimeoutError:
        return Unavailable(f"no answer within {limit_seconds:g} s", "broken")
    except OSError as error:
        return Unavailable(f"out of reach ({error.strerror or error})", "broken")
    except HTTPException as error:
        return Unavailable(f"no proper answer ({type(error).__name__})", "broken")
    except ValueError:
        return Unavailable(f"{base_url} is no address of the kind http://host:port", "broken")
    if isinstance(text, Unavailable):
        return text
    if provider == "gcp":  # projects/123456789012/zones/europe-west1-b
        text = text.rpartition("/")[2].rpartition("-")[0]
    if not 0 < len(text) <= _LONGEST_REGION or not text.replace("-", "").isalnum():
        return Unavailable("the answer names no region", "broken")
    return text.lower()


def _region(provider: Provider, base_url: str, deadline: float) -> str | Unavailable:
    if provider == "azure":
        return _ask(_AZURE_REGION, base_url, deadline)
    if provider == "gcp":
        return _ask(_GCP_ZONE, base_url, deadline)
    token = _ask(_AWS_TOKEN, base_url, deadline)
    if isinstance(token, Unavailable):
        return token
    if not token.isascii() or not token.isprintable():
        return Unavailable("no proper answer (a token that is none)", "broken")
    return _ask(_Request("GET", _AWS_REGION, {"X-aws-ec2-metadata-token": token}), base_url, deadline)


def _ask(request: _Request, base_url: str, deadline: float) -> str | Unavailable:
    """Ask once; redirects are not followed. Raises what sockets, http.client and a bad address raise."""
    from http.client import HTTPConnection

    url = urlsplit(base_url)
    host, port = url.hostname, url.port or 80
    if url.scheme != "http" or not host:
        raise ValueError(base_url)
    connection = HTTPConnection(host, port)
    connected = socket.create_connection((host, port), _left(deadline))
    connection.sock = _Hurried(connected, deadline)
    with contextlib.closing(connection):
        connection.request(request.method, url.path.rstrip("/") + request.path, headers=request.headers)
        response = connection.getresponse()
        if response.status != 200:
            return Unavailable(f"it answered with status {response.status}", "broken")
        text = response.read(_LONGEST_ANSWER_BYTES).decode("ascii", "replace").strip()
        return Unavailable("the answer is not whole", "broken") if response.length else text


class _Hurried(socket.socket):
    """A connected socket on which nothing takes longer than until a deadline, however slowly the bytes come."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        super().__init__(fileno=connected.detach())
        self._deadline = deadline

    def recv_into(self, *args: Any, **options: Any) -> int:
        """Receive what is there before the deadline, or raise TimeoutError."""
        self.settimeout(_left(self._deadline))
        return super().recv_into(*args, **options)

    def sendall(self, *args: Any, **options: Any) -> None:
        """Send everything before the deadline, or raise TimeoutError."""
        self.settimeout(_left(self._deadline))
        super().sendall(*args, **options)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left
