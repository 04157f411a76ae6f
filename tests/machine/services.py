"""The services on the network, stood in for by one server on the loopback: each documented API at its real paths.

Electricity Maps (`/v3`, `/v4`), NESO (`/intensity`), Energi Data Service (`/dataset`), Energy-Charts (`/co2eq`), and
what the clouds tell their own machines (`/latest`, `/metadata`, `/computeMetadata`). The figures follow one function
of the hour, so that a test knows the truth; what a request lacks is refused as the service would; and any path can be
told to misbehave.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

Grams = Callable[[datetime], "float | None"]

TOKEN = "not-a-secret-5f1c2d"  # looks like one, so that a test can look for it everywhere
ENDPOINTS = ("latest", "history", "past", "past-range", "forecast")
REGIONS = {"aws": "eu-central-1", "azure": "westeurope", "gcp": "europe-west1-b"}
MISBEHAVIOURS = (
    "hang",  # takes the request and never answers
    "reset",  # drops the connection with a TCP reset
    "truncated",  # promises more bytes than it sends
    "dribble",  # sends a byte now and then, without end
    "400",
    "401 token",  # the token is none
    "401 plan",  # the token is good, its plan has not this
    "401 too many",  # what too many calls reportedly give
    "404",
    "429",
    "503",
    "html",  # status 200, and a page for people
    "other zone",  # status 200, and another zone's figures
    "other basis",  # status 200, and figures on the other basis
    "garbage",  # status 200, application/json, and no JSON
    "redirect",  # to /elsewhere on this server
    "body",  # what the test says: `body`, `status`, `content_type`
)

_HOUR = timedelta(hours=1)


class Request(NamedTuple):
    """What a client asked: `headers` by lower-case name, `host` as it wrote it, `time` CLOCK_MONOTONIC seconds."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    host: str
    time: float


class Misbehaviour(NamedTuple):
    """What a path does instead of answering: one of MISBEHAVIOURS, and its details."""

    kind: str
    retry_after: str | None = None  # seconds, or an HTTP date
    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    interval_seconds: float = 0.2  # between the bytes of a dribble


class _RefusalError(Exception):
    """The request is not as the service wants it: status, what it says, further headers."""

    def __init__(self, status: int, said: Any) -> None:
        self.status = status
        self.said = said


class Services:
    """The server, running while the context lasts; `url` is its address, `environment` what greenrun needs to find it.

    `grams` gives g/kWh for the UTC hour that begins with its argument, None for a gap; `expected` the same for
    forecasts (`grams` where there is none); `estimated` says of an hour whether it is marked so. `version` is the one
    of Electricity Maps that `environment` leads to, None for a base without one; `plan` are the endpoints of
    Electricity Maps that the token may use (`tells_plan`: whether `/zones` says so). `zones` are those that it knows,
    `countries` those of Energy-Charts, in its own codes. `regions` are what the clouds'
    metadata services answer; a cloud that is not there gives 404. `now` stands for the server's clock: set it to a
    time, or leave it None for the real one. All may be changed while the server runs.
    """

    def __init__(
        self,
        grams: Grams = lambda hour: 100.0 + 10.0 * hour.hour,
        *,
        expected: Grams | None = None,
        estimated: Callable[[datetime], bool] = lambda hour: False,
        version: str | None = None,
        token: str = TOKEN,
        plan: Collection[str] = ENDPOINTS,
        tells_plan: bool = True,
        zones: Collection[str] = ("DE", "DK-DK1", "DK-DK2", "FR", "GB", "US-CAL-CISO"),
        countries: Collection[str] = ("ch", "de", "dk", "fr", "no", "uk"),
        regions: Mapping[str, str] = REGIONS,
        now: datetime | None = None,
    ) -> None:
        self.grams = grams
        self.expected = expected
        self.estimated = estimated
        self.version = version
        self.token = token
        self.plan = plan
        self.tells_plan = tells_plan
        self.zones = zones
        self.countries = countries
        self.regions = regions
        self.now = now
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._misbehaviours: dict[str, tuple[Misbehaviour, int]] = {}
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def electricitymaps_url(self) -> str:
        """The base URL of Electricity Maps, with the version if one was chosen."""
        return f"{self.url}/{self.version}" if self.version else self.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which greenrun asks this server instead of the real ones, with a good token."""
        return {
            "GREENRUN_ELECTRICITYMAPS_URL": self.electricitymaps_url,
            "GREENRUN_ELECTRICITYMAPS_TOKEN": self.token,
            "GREENRUN_NESO_URL": self.url,
            "GREENRUN_ENERGIDATA_URL": self.url,
            "GREENRUN_ENERGYCHARTS_URL": self.url,
            "GREENRUN_CLOUD_METADATA_URL": self.url,
            "NO_PROXY": "127.0.0.1",  # a proxy that whoever runs the tests goes through must not see them
            "no_proxy": "127.0.0.1",
        }

    def __enter__(self) -> Services:
        self._server = _Server(self)
        # A short poll: the server's end waits for it.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def misbehave(self, path: str, kind: str, *, times: int = 1_000_000, **details: Any) -> None:
        """Let every path that contains `path` ("" for all) misbehave, the next `times` times.

        `details` are fields of Misbehaviour. The latest word on the same `path` counts; of several that fit, the
        longest does.
        """
        assert kind in MISBEHAVIOURS, kind
        with self._lock:
            self._misbehaviours[path] = (Misbehaviour(kind, **details), times)

    def behave(self) -> None:
        """Let all paths answer again as they should."""
        with self._lock:
            self._misbehaviours.clear()

    def asked(self, path: str) -> list[Request]:
        """Give the requests whose path contains `path`, in the order in which they came."""
        return [request for request in list(self.requests) if path in request.path]

    def clock(self) -> datetime:
        """Give the server's time."""
        return self.now or datetime.now(timezone.utc)

    def misbehaviour(self, path: str) -> Misbehaviour | None:
        """Give what this request is to suffer, and count it."""
        with self._lock:
            for key in sorted(self._misbehaviours, key=len, reverse=True):
                misbehaviour, left = self._misbehaviours[key]
                if key in path and left > 0:
                    self._misbehaviours[key] = (misbehaviour, left - 1)
                    return misbehaviour
        return None

    def answer(self, request: Request, twist: str) -> Any:
        """Give what the service says to `request`; `twist` may be "other zone" or "other basis".

        A text or an object of JSON's own types; raises _RefusalError.
        """
        if match := re.fullmatch(r"/(v3|v4)/carbon-intensity/([a-z-]+)", request.path):
            return self._electricitymaps(match[1], match[2], request, twist)
        if re.fullmatch(r"/(v3|v4)/zones", request.path):
            return self._zones(request)
        if match := re.fullmatch(r"/intensity(?:/([^/]+)(?:/([^/]+))?)?", request.path):
            return self._neso(match[1], match[2])
        if match := re.fullmatch(r"/dataset/(CO2Emis|CO2EmisProg)", request.path):
            return self._energidata(match[1], request)
        if request.path == "/co2eq":
            return self._energycharts(request)
        return self._cloud(request)

    def _value(self, moment: datetime, *, forecast: bool = False) -> float | None:
        grams = self.expected if forecast and self.expected else self.grams
        return grams(_floor(moment, _HOUR))

    # Electricity Maps

    def _electricitymaps(self, version: str, endpoint: str, request: Request, twist: str) -> Any:
        if request.headers.get("auth-token") != self.token:
            raise _RefusalError(401, _INVALID_TOKEN)
        query = request.query
        basis = query.get("emissionFactorType", "lifecycle")
        zone = query.get("zone")
        if zone is None and query.get("disableCallerLookup") != "true":
            zone = "FR"  # where the caller seems to be: the trap
        if endpoint not in ENDPOINTS:
            raise _RefusalError(404, {"status": 404, "message": f"Not found: {request.path}"})
        if zone not in self.zones or basis not in ("lifecycle", "direct"):
            raise _RefusalError(400, {"status": 400, "message": f"Invalid zone {zone} or emissionFactorType {basis}"})
        if endpoint not in self.plan:
            raise _RefusalError(
                401, {"error": f"Request unauthorized for zoneKey={zone},requestType={endpoint},plan=free"}
            )
        if twist == "other zone":
            zone = "DE" if zone != "DE" else "FR"
        if twist == "other basis":
            basis = "direct" if basis == "lifecycle" else "lifecycle"
        head: dict[str, Any] = {"zone": zone}
        if version == "v4":
            head["temporalGranularity"] = "hourly"
        if endpoint == "forecast":
            return {**head, **self._forecast(version, query.get("horizonHours", "24"))}
        hours = self._hours(endpoint, query)
        rows = [self._row(hour, zone, basis, version) for hour in hours]
        if endpoint in ("latest", "past"):
            return {**rows[0], **head}
        return {**head, "history" if (version, endpoint) == ("v3", "history") else "data": rows}

    def _hours(self, endpoint: str, query: Mapping[str, str]) -> list[datetime]:
        this_hour = _floor(self.clock(), _HOUR)
        if endpoint == "latest":
            return [this_hour]
        if endpoint == "past":
            return [_floor(_moment(query.get("datetime")), _HOUR)]
        if endpoint == "history":
            return [this_hour - back * _HOUR for back in range(23, -1, -1)]
        start, end = _moment(query.get("start")), _moment(query.get("end"))
        if not start < end <= start + timedelta(days=10):
            raise _RefusalError(400, {"status": 400, "message": "The range must be of 10 days at most"})
        hours = [start + i * _HOUR for i in range(int((end - start) / _HOUR))]
        return [hour for hour in hours if hour <= this_hour]

    def _forecast(self, version: str, horizon_hours: str) -> dict[str, Any]:
        if horizon_hours not in ("6", "24", "48", "72"):
            raise _RefusalError(400, {"status": 400, "message": f"Invalid horizonHours {horizon_hours}"})
        this_hour = _floor(self.clock(), _HOUR)
        hours = [this_hour + i * _HOUR for i in range(int(horizon_hours) + 1)]
        rows = [{"carbonIntensity": self._value(hour, forecast=True), "datetime": _iso(hour)} for hour in hours]
        return {"updatedAt": _iso(self.clock()), "forecast" if version == "v3" else "data": rows}

    def _row(self, hour: datetime, zone: str, basis: str, version: str) -> dict[str, Any]:
        estimated = self.estimated(hour)
        row = {
            "zone": zone,
            "carbonIntensity": self._value(hour),
            "datetime": _iso(hour),
            "updatedAt": _iso(self.clock()),
            "createdAt": _iso(hour - timedelta(days=3)),
            "emissionFactorType": basis,
            "isEstimated": estimated,
            "estimationMethod": "TIME_SLICER_AVERAGE" if estimated else None,
        }
        return {**row, "flowTraced": True} if version == "v4" else row

    def _zones(self, request: Request) -> Any:
        token = request.headers.get("auth-token")
        if token not in (None, self.token):
            raise _RefusalError(401, _INVALID_TOKEN)
        zones: dict[str, Any] = {zone: {"zoneName": f"The zone {zone}", "countryCode": zone[:2]} for zone in self.zones}
        if token and self.tells_plan:
            for zone in zones.values():
                zone["access"] = [f"carbon-intensity/{endpoint}" for endpoint in self.plan]
        return zones

    # Great Britain: NESO

    def _neso(self, start: str | None, end: str | None) -> Any:
        half_hour = timedelta(minutes=30)
        now = _floor(self.clock(), half_hour)
        begin = now if start is None else _neso_moment(start)
        if end is None:
            stop = begin + half_hour
        elif end in ("fw24h", "fw48h"):
            stop = begin + timedelta(hours=int(end[2:4]))
        else:
            stop = _neso_moment(end)
        if not begin <= stop <= begin + timedelta(days=14):
            raise _RefusalError(400, _neso_error("The date range must be of 14 days at most"))
        first = _floor(begin, half_hour) - half_hour  # the half-hour that ends with `from` comes along
        rows = []
        for i in range(int((stop - first) / half_hour)):
            moment = first + i * half_hour
            rows.append(
                {
                    "from": _neso_text(moment),
                    "to": _neso_text(moment + half_hour),
                    "intensity": {
                        "forecast": self._value(moment, forecast=True),
                        "actual": None if moment >= now or self.estimated(moment) else self._value(moment),
                        "index": "moderate",
                    },
                }
            )
        return {"data": rows}

    # Denmark: Energi Data Service

    def _energidata(self, dataset: str, request: Request) -> Any:
        query = request.query
        step = timedelta(minutes=5)
        now = _floor(self.clock(), step)
        start, end = _danish_moment(query.get("start")), _danish_moment(query.get("end"))
        if query.get("timezone", "dk").upper() != "UTC":
            start, end = start - _HOUR, end - _HOUR  # it takes the times for Danish ones
        areas = ["DK1", "DK2"]
        if "filter" in query:
            try:
                areas = json.loads(query["filter"])["PriceArea"]
            except (ValueError, KeyError, TypeError):
                raise _RefusalError(400, {"statusCode": 400, "message": "Invalid filter"}) from None
        last = now - step if dataset == "CO2Emis" else _floor(now, timedelta(days=1)) + timedelta(days=2)
        records = []
        moment = start + (step - (start - _floor(start, step))) % step
        while moment < end and moment <= last:
            for area in areas:
                grams = self._value(moment, forecast=dataset == "CO2EmisProg")
                record = {
                    "Minutes5UTC": moment.strftime("%Y-%m-%dT%H:%M:%S"),
                    "Minutes5DK": (moment + _HOUR).strftime("%Y-%m-%dT%H:%M:%S"),
                    "PriceArea": area,
                    "CO2Emission": grams,
                }
                if grams is not None:
                    records.append(record)
            moment += step
        records.reverse()
        limit = int(query.get("limit", "100"))
        shown = records[:limit] if limit else records
        return {"total": len(records), "limit": limit, "dataset": dataset, "records": shown}

    # Germany and others: Energy-Charts

    def _energycharts(self, request: Request) -> Any:
        query = request.query
        country = query.get("country", "de")
        if country not in self.countries:
            raise _RefusalError(404, {"detail": "no content available"})
        step = timedelta(minutes=15)
        now = _floor(self.clock(), step)
        today = _floor(now, timedelta(days=1))
        start = _moment(query["start"]) if "start" in query else today
        end = _moment(query["end"]) if "end" in query else start + timedelta(days=1)
        moments = [_floor(start, step) + i * step for i in range(int((end - _floor(start, step)) / step) + 1)]
        moments = [moment for moment in moments if moment < today + timedelta(days=2)]
        if not moments:
            raise _RefusalError(404, {"detail": "no content available"})
        return {
            "unix_seconds": [int(moment.timestamp()) for moment in moments],
            "co2eq": [None if moment >= now or self.estimated(moment) else self._value(moment) for moment in moments],
            "co2eq_forecast": [self._value(moment, forecast=True) for moment in moments],
            "deprecated": False,
        }

    # What the clouds tell their own machines

    def _cloud(self, request: Request) -> Any:
        path = request.path
        if path.startswith("/latest/") and "aws" in self.regions:
            return self._aws(request, self.regions["aws"])
        if path.startswith("/metadata/instance") and "azure" in self.regions:
            return self._azure(request, self.regions["azure"])
        if path.startswith("/computeMetadata/v1/instance/") and "gcp" in self.regions:
            if request.headers.get("metadata-flavor") != "Google":
                raise _RefusalError(403, "")
            zone = self.regions["gcp"]
            told = {"zone": f"zones/{zone}", "region": f"regions/{zone.rpartition('-')[0]}"}
            if (what := path.rpartition("/")[2]) in told:
                return f"projects/123456789012/{told[what]}"
        raise _RefusalError(404, {"error": "not found"})

    def _aws(self, request: Request, region: str) -> str:
        session = f"session-{self.token[::-1]}"
        if request.path == "/latest/api/token":
            if request.method != "PUT":
                raise _RefusalError(405, "")
            if not request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "").isdigit():
                raise _RefusalError(400, "")
            return session
        if request.headers.get("x-aws-ec2-metadata-token") != session:
            raise _RefusalError(401, "")
        told = {"region": region, "availability-zone": f"{region}a"}
        place = "/latest/meta-data/placement/"
        if not request.path.startswith(place) or request.path[len(place) :] not in told:
            raise _RefusalError(404, "")
        return told[request.path[len(place) :]]

    def _azure(self, request: Request, region: str) -> Any:
        if request.headers.get("metadata", "").lower() != "true" or "api-version" not in request.query:
            raise _RefusalError(400, {"error": "Bad request. Required metadata header not specified"})
        if request.path.endswith("/compute/location"):
            return region if request.query.get("format") == "text" else json.dumps(region)
        return {"compute": {"location": region, "azEnvironment": "AzurePublicCloud"}}


_PAGE = b"<!DOCTYPE html><html><body><h1>Sign in to the guest network</h1></body></html>"
_INVALID_TOKEN = {"error": "Invalid auth-token", "message": "The auth-token provided is not valid"}


class _Server(ThreadingHTTPServer):
    """A thread a connection; those that hang are left to end by themselves, which they do as soon as it stops."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256  # a hundred runs may come at once

    def __init__(self, services: Services) -> None:
        self.services = services
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that give up are what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._respond()

    def do_PUT(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        """Stay silent."""

    def _respond(self) -> None:
        services = self.server.services
        url = urlsplit(self.path)  # absolute where we are asked as a proxy
        request = Request(
            self.command,
            url.path,
            dict(parse_qsl(url.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            url.netloc or self.headers.get("Host", ""),
            time.monotonic(),
        )
        services.requests.append(request)
        misbehaviour = services.misbehaviour(request.path)
        twist = ""
        if misbehaviour:
            if misbehaviour.kind not in ("other zone", "other basis"):
                self._misbehave(misbehaviour, request)
                return
            twist = misbehaviour.kind
        try:
            self._say(200, services.answer(request, twist))
        except _RefusalError as refused:
            self._say(refused.status, refused.said)

    def _misbehave(self, misbehaviour: Misbehaviour, request: Request) -> None:
        kind = misbehaviour.kind
        retry = {"Retry-After": misbehaviour.retry_after} if misbehaviour.retry_after else {}
        zone = request.query.get("zone", "DE")
        plan = {"error": f"Request unauthorized for zoneKey={zone},requestType={request.path.rpartition('/')[2]}"}
        said: dict[str, tuple[int, Any, dict[str, str]]] = {
            "400": (400, {"status": 400, "message": "Something about the request is wrong"}, {}),
            "401 token": (401, _INVALID_TOKEN, {}),
            "401 plan": (401, plan, {}),
            "401 too many": (401, {"error": "Too many requests, the rate limit of this token is exceeded"}, {}),
            "404": (404, {"error": f'No recent data for zone "{zone}"'}, {}),
            "429": (429, {"error": "Too many requests"}, retry),
            "503": (503, {"error": "Service unavailable"}, retry),
            "redirect": (302, "", {"Location": f"{self.server.services.url}/elsewhere"}),
        }
        if kind in said:
            self._say(*said[kind])
        elif kind == "html":
            self._send(200, _PAGE, "text/html")
        elif kind == "garbage":
            self._send(200, b'{"zone": "DE", "data": [{"carbonIntensity": ', "application/json")
        elif kind == "body":
            self._send(misbehaviour.status, misbehaviour.body, misbehaviour.content_type, retry)
        elif kind == "truncated":
            self._send(200, b'{"zone": "DE", "data": [', "application/json", promised_bytes=4096)
        elif kind == "reset":
            # Without lingering, closing is a reset; detached, since the base class would close more politely.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        elif kind == "dribble":
            self._send(200, b"[", "application/json", promised_bytes=100_000)
            with contextlib.suppress(OSError):
                while not self.server.services.stopping.wait(misbehaviour.interval_seconds):
                    self.wfile.write(b" ")
        else:
            self.server.services.stopping.wait()

    def _say(self, status: int, said: Any, headers: Mapping[str, str] | None = None) -> None:
        if isinstance(said, str):
            self._send(status, said.encode(), "text/plain", headers)
        else:
            self._send(status, json.dumps(said).encode(), "application/json; charset=utf-8", headers)

    def _send(
        self,
        status: int,
        body: bytes,
        content_type: str,
        headers: Mapping[str, str] | None = None,
        promised_bytes: int | None = None,
    ) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client may have gone
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(promised_bytes or len(body)))
            self.send_header("Connection", "close")
            if self.path.startswith("/computeMetadata/"):
                self.send_header("Metadata-Flavor", "Google")
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)


def _floor(moment: datetime, step: timedelta) -> datetime:
    midnight = moment.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _moment(text: str | None) -> datetime:
    """Read a time as Electricity Maps and Energy-Charts take it: ISO 8601, a date, or Unix seconds."""
    try:
        if text and text.isdigit():
            return datetime.fromtimestamp(int(text), timezone.utc)
        moment = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        raise _RefusalError(400, {"status": 400, "message": f"Invalid datetime {text}"}) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _neso_moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%MZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise _RefusalError(400, _neso_error(f"Please enter a valid date {text}")) from None


def _neso_text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def _neso_error(message: str) -> dict[str, Any]:
    return {"error": {"code": "400 Bad Request", "message": message}}


def _danish_moment(text: str | None) -> datetime:
    try:
        return datetime.strptime(text or "", "%Y-%m-%dT%H:%M").replace(tzinfo=timezone.utc)
    except ValueError:
        raise _RefusalError(400, {"statusCode": 400, "message": f"Invalid date {text}"}) from None
