"""One GET: what comes back, what is said of everything that does not, and that nothing sent is ever told."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate

import httpx
import pytest
from machine.services import Services

from greenrun import __version__
from greenrun.intensity import http
from greenrun.intensity.http import Client, Refused
from greenrun.intensity.model import Unavailable

PATH = "/v4/carbon-intensity/latest"
QUERY = {"zone": "DE"}
SECRET = "s3cret-t0ken"


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of whoever runs the tests out of the way."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def services() -> Iterator[Services]:
    """Give the services."""
    with Services() as running:
        yield running


def get(services: Services, **limits: float) -> object:
    """GET what Electricity Maps says of the present hour."""
    return Client(**limits).get(services.url + PATH, QUERY, {"auth-token": services.token})


def reason(answer: object) -> str:
    """Give the reason of a call that failed, and see that it is a phrase: one line, lower case, no full stop."""
    assert isinstance(answer, Unavailable)
    assert answer.cause == "broken"
    assert answer.reason[0].islower()
    assert answer.reason[-1] != "."
    assert answer.reason.isprintable()
    return answer.reason


def test_what_is_asked_and_what_comes_back(services: Services) -> None:
    """The query and the headers arrive, we say who we are, and the JSON comes back as it is."""
    answer = get(services)
    (request,) = services.requests
    assert isinstance(answer, dict)
    assert answer["zone"] == "DE"
    assert (request.path, request.query) == (PATH, QUERY)
    assert request.headers["user-agent"] == f"greenrun/{__version__}"
    assert request.headers["auth-token"] == services.token


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("reset", "the connection was reset"),
        ("truncated", "the answer was cut off"),
        ("html", "answered with HTML instead of JSON"),
        ("garbage", "answered with something else instead of JSON"),
    ],
)
def test_a_broken_answer(services: Services, kind: str, words: str) -> None:
    """Each kind has its own plain phrase."""
    services.misbehave("", kind)
    assert reason(get(services)) == words


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000, b"{} {}"],
)
def test_what_is_no_json(services: Services, body: bytes) -> None:
    """Nor does a tower of brackets, or a number of ten thousand digits, raise."""
    services.misbehave("", "body", body=body)
    assert reason(get(services)).endswith("instead of JSON")


@pytest.mark.parametrize("kind", ["hang", "dribble"])
def test_no_server_takes_longer_than_the_limit(services: Services, kind: str) -> None:
    """Also one that sends a byte now and then, each well within any timeout of a single read."""
    services.misbehave("", kind)
    started = time.monotonic()
    assert reason(get(services, total_seconds=0.7)) == "no complete answer within 0.7 s"
    assert 0.6 < time.monotonic() - started < 4.0


def test_a_call_that_was_given_up_ends_by_itself(services: Services) -> None:
    """Although the server goes on and on: nothing of it is left behind."""
    services.misbehave("", "dribble")
    reason(get(services, total_seconds=0.3))
    until = time.monotonic() + 10.0
    while any(thread.name == "greenrun-http" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def raw_server(*answers: bytes, pause_seconds: float = 0.0) -> Iterator[str]:
    """Give the address of a server that sends these bytes to the first who connects, pausing after each."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                for answer in answers:
                    try:
                        connection.sendall(answer)
                    except OSError:
                        return
                    if stop.wait(pause_seconds):
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop.set()


def test_headers_that_come_byte_by_byte_are_bound_by_the_limit_too() -> None:
    """The library's own timeouts count from byte to byte."""
    slowly = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{}"]
    started = time.monotonic()
    with raw_server(*slowly, pause_seconds=0.2) as url:
        assert "no complete answer within 0.7 s" in reason(Client(total_seconds=0.7).get(url, {}, {}))
        assert time.monotonic() - started < 4.0


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_a_server_that_speaks_no_http(sent: bytes) -> None:
    """Whatever stands at the address."""
    with raw_server(sent) as url:
        assert reason(Client().get(url, {}, {})) == "answered with nothing that is HTTP"


def test_a_port_that_nobody_listens_at() -> None:
    """Refused is refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert reason(Client().get(f"http://127.0.0.1:{port}", {}, {})) == "the connection was refused"


def test_a_machine_that_does_not_take_the_connection() -> None:
    """The connection has its own, shorter limit."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]  # the queue is full, further ones are not answered
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        assert reason(Client(connect_seconds=0.3).get(url, {}, {})) == "no connection within 0.3 s"
        for one in waiting:
            one.close()


def test_a_plain_server_at_an_encrypted_address(services: Services) -> None:
    """TLS that fails says so."""
    answer = Client().get(services.url.replace("http:", "https:"), {}, {})
    assert reason(answer) == "no encrypted connection could be made (TLS)"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1/x", "http://[", "http://127.0.0.1:99999999/", ""])
def test_an_address_that_is_none(url: str) -> None:
    """A mistake in a setting costs nobody anything but the figure."""
    reason(Client().get(url, {}, {}))


def test_what_lies_behind_an_error_is_told() -> None:
    """The library's errors have the system's behind them; theirs are the words that help."""

    def phrase(behind: Exception) -> str:
        error = httpx.ConnectError(SECRET)
        error.__cause__ = behind
        return http._phrase(error)

    untrusted = ssl.SSLCertVerificationError(1, SECRET)
    untrusted.verify_message = "self-signed certificate"
    assert phrase(socket.gaierror(-2, SECRET)) == "its name could not be resolved"
    assert phrase(untrusted) == "its certificate was not accepted (self-signed certificate)"
    assert phrase(OSError(101, SECRET)) == "there is no network"
    assert phrase(OSError(9999, SECRET)) == "the connection broke"
    assert phrase(httpx.ProxyError(SECRET)) == "the proxy did not let the request through"
    assert SECRET not in http._phrase(RuntimeError(SECRET))


def test_an_answer_without_end_is_cut(services: Services) -> None:
    """4 MiB pass, one byte more does not."""
    services.misbehave("", "body", body=json.dumps("x" * (http.MAX_BODY_BYTES - 2)).encode())
    assert isinstance(get(services), str)
    services.misbehave("", "body", body=json.dumps("x" * (http.MAX_BODY_BYTES - 1)).encode())
    assert reason(get(services)) == "answered with more than 4 MiB"


def test_a_redirect_is_not_followed(services: Services) -> None:
    """The token goes where it is meant to go and nowhere else."""
    services.misbehave(PATH, "redirect")
    answer = get(services)
    assert isinstance(answer, Refused)
    assert http.unavailable(answer) == Unavailable("answered with a redirect (302), which is not followed", "broken")
    assert services.asked("/elsewhere") == []


@pytest.mark.parametrize(
    ("kind", "status", "cause", "words"),
    [
        ("400", 400, "broken", "answered with status 400: Something about the request is wrong"),
        ("401 token", 401, "forbidden", "refused the request (401): Invalid auth-token; The auth-token provided is"),
        ("404", 404, "broken", 'has nothing there (404): No recent data for zone "DE"'),
        ("429", 429, "limited", "asked for fewer requests (429): Too many requests"),
        ("503", 503, "limited", "out of service for the moment (503): Service unavailable"),
    ],
)
def test_what_a_status_means(services: Services, kind: str, status: int, cause: str, words: str) -> None:
    """With the service's own words."""
    services.misbehave("", kind)
    answer = get(services)
    assert isinstance(answer, Refused)
    assert answer.status == status
    told = http.unavailable(answer)
    assert told.cause == cause
    assert told.reason.startswith(words)
    assert told.retry_after_seconds is None


@pytest.mark.parametrize("kind", ["429", "503"])
def test_how_long_the_service_wants_to_be_left_alone(services: Services, kind: str) -> None:
    """It is handed on with the cause."""
    services.misbehave("", kind, retry_after="120")
    answer = get(services)
    assert isinstance(answer, Refused)
    assert http.unavailable(answer).retry_after_seconds == 120.0


NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 30 ", 30.0),
        ("99999999999999999999", 86_400.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 1e6, usegmt=True), 86_400.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Fri, 99 Foo 2026 25:00:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_has_two_forms(text: str | None, seconds: float | None) -> None:
    """Seconds or an HTTP date, between now and a day; anything else says nothing."""
    assert http.retry_after_seconds(text, NOW) == seconds


def test_the_words_of_a_service_are_cleaned(services: Services) -> None:
    """One line, no control characters, 200 characters at most; of a page for people nothing."""
    services.misbehave("", "body", status=500, body=json.dumps({"message": "a\x1b[31m\n\tb" + "x" * 400}).encode())
    answer = get(services)
    assert isinstance(answer, Refused)
    assert answer.words.startswith("a [31m bxxx")
    assert answer.words.endswith("...")
    assert len(answer.words) == 200
    services.misbehave("", "body", status=500, body=b"<html>No</html>", content_type="text/html")
    assert get(services) == Refused(500, "")
    services.misbehave("", "body", status=400, body=b'{"error": {"code": "x", "message": "Please"}, "detail": 5}')
    assert get(services) == Refused(400, "Please")


def test_a_service_that_repeats_the_token(services: Services) -> None:
    """Its words reach logs and records; what was sent does not."""
    body = json.dumps({"error": f"The token {SECRET} is unknown"}).encode()
    services.misbehave("", "body", status=401, body=body)
    answer = Client().get(services.url + PATH, {}, {"auth-token": SECRET})
    assert answer == Refused(401, "The token *** is unknown")


@pytest.mark.parametrize("token", [f"{SECRET}\r\nHost: x", f"{SECRET}\x00", f"{SECRET}é☃"])
def test_a_token_that_no_header_can_hold(services: Services, token: str) -> None:
    """The library's error repeats the header; ours does not."""
    answer = Client().get(services.url + PATH, {}, {"auth-token": token})
    assert SECRET not in reason(answer)


def test_a_compressed_answer_was_not_asked_for(services: Services) -> None:
    """The limit on the body is one on what is read into memory, whatever it unpacks to."""
    get(services)
    assert services.requests[0].headers["accept-encoding"] == "identity"
    with raw_server(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}") as url:
        assert reason(Client().get(url, {}, {})) == "answered with a compressed document, which was not asked for"


def test_a_proxy_of_the_environment_is_used(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everything else on the machine does it; but what is on this machine is asked directly."""
    monkeypatch.setenv("HTTP_PROXY", services.url)
    monkeypatch.setenv("http_proxy", services.url)
    answer = Client().get("http://intensity.example/intensity", {}, {})
    assert isinstance(answer, dict)
    assert services.requests[0].host == "intensity.example"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert isinstance(get(services), dict)
    assert reason(Client().get("http://intensity.example/", {}, {})) == "the connection was refused"
    monkeypatch.setenv("http_proxy", "nonsense://")
    monkeypatch.setenv("HTTP_PROXY", "nonsense://")
    reason(Client().get("http://intensity.example/", {}, {}))


def test_the_library_is_loaded_when_the_first_call_is_due() -> None:
    """Knowing the services costs no start of greenrun the third of a second that httpx takes."""
    program = (
        "import sys; from greenrun.intensity import electricitymaps, neso, energidata, energycharts, http\n"
        "http.Client(); print(*sorted({'httpx', 'ssl', 'json', 'email'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
