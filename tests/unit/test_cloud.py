"""Which cloud the firmware names, and in which region its metadata service says the machine is."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine.services import Services

from greenrun.intensity import cloud, metadata
from greenrun.intensity.model import Unavailable

AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"
PROVIDERS: list[cloud.Provider] = ["aws", "azure", "gcp"]


def firmware(tmp_path: Path, says: dict[str, str]) -> str:
    """Give a sysfs whose firmware says this."""
    directory = tmp_path / "sys" / "class" / "dmi" / "id"
    directory.mkdir(parents=True)
    for name, text in says.items():
        (directory / name).write_text(text + "\n")
    return str(tmp_path / "sys")


@pytest.mark.parametrize(
    ("says", "provider"),
    [
        ({"sys_vendor": "Amazon EC2", "product_name": "m7g.large", "bios_vendor": "Amazon EC2"}, "aws"),
        ({"bios_vendor": "Amazon EC2"}, "aws"),
        ({"sys_vendor": "Xen", "product_name": "HVM domU", "product_version": "4.11.amazon"}, "aws"),
        ({"sys_vendor": "Xen", "product_name": "HVM domU", "product_version": "4.11"}, None),
        ({"sys_vendor": "QEMU", "product_version": "4.11.amazon"}, None),
        ({"sys_vendor": "Google", "product_name": "Google Compute Engine"}, "gcp"),
        ({"sys_vendor": "Google", "product_name": "Google"}, "gcp"),
        ({"sys_vendor": "Google", "product_name": "Eve"}, None),  # a Pixelbook
        (
            {
                "sys_vendor": "Microsoft Corporation",
                "product_name": "Virtual Machine",
                "chassis_asset_tag": AZURE_TAG,
            },
            "azure",
        ),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, None),  # Hyper-V anywhere
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Surface Laptop"}, None),
        ({"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)"}, None),
        ({"sys_vendor": "OpenStack Foundation", "product_name": "OpenStack Nova"}, None),
        (
            {"sys_vendor": "e24cloud", "product_name": "VPS"},
            None,
        ),  # it has the EC2 metadata service, but not its regions
        ({}, None),
    ],
)
def test_the_firmware_names_a_cloud_or_none(tmp_path: Path, says: dict[str, str], provider: str | None) -> None:
    """Only what is the cloud's alone counts: others have the same vendor, or the same hypervisor."""
    assert cloud.provider(firmware(tmp_path, says)) == provider


def test_firmware_that_cannot_be_read_names_none(tmp_path: Path) -> None:
    """Not there, as in a container; directories; bytes that are no text."""
    assert cloud.provider(str(tmp_path / "nowhere")) is None
    sysfs = firmware(tmp_path, {})
    identity = tmp_path / "sys" / "class" / "dmi" / "id"
    (identity / "sys_vendor").mkdir()
    (identity / "product_name").write_bytes(b"\xff\xfe\0" * 1000)
    os.symlink("nowhere", identity / "bios_vendor")
    assert cloud.provider(sysfs) is None


@pytest.mark.parametrize(
    ("provider", "region"), [("aws", "eu-central-1"), ("azure", "westeurope"), ("gcp", "europe-west1")]
)
def test_each_cloud_tells_its_region(provider: cloud.Provider, region: str) -> None:
    """At the documented paths with the documented headers; without them the stand-in refuses."""
    with Services() as services:
        assert metadata.region(provider, services.url) == region
        methods = [request.method for request in services.requests]
    assert methods == (["PUT", "GET"] if provider == "aws" else ["GET"])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_proxy_comes_between(provider: cloud.Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would tell where it stands itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Services() as services:
        assert isinstance(metadata.region(provider, services.url), str)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("hang", "no answer within 0.3 s"),
        ("dribble", "no answer within 0.3 s"),
        ("reset", "out of reach (Connection reset by peer)"),
        ("truncated", "the answer is not whole"),
        ("404", "it answered with status 404"),
        ("503", "it answered with status 503"),
        ("redirect", "it answered with status 302"),
        ("html", ""),
    ],
)
def test_what_goes_wrong_is_told_in_time(provider: cloud.Provider, kind: str, reason: str) -> None:
    """Whatever the service does, it costs no more than the limit, and its words are not taken for a region."""
    with Services() as services:
        services.misbehave("", kind, interval_seconds=0.05)
        begun = time.monotonic()
        found = metadata.region(provider, services.url, 0.3)
        lasted_seconds = time.monotonic() - begun
        paths = [request.path for request in services.requests]
    assert isinstance(found, Unavailable)
    assert found.cause == "broken"
    assert reason in found.reason
    assert lasted_seconds < 2.0
    assert "/elsewhere" not in paths


def test_two_requests_share_one_limit() -> None:
    """AWS is asked for a token first: what that takes is gone."""
    with Services() as services:
        services.misbehave("/latest/meta-data", "hang")
        begun = time.monotonic()
        found = metadata.region("aws", services.url, 0.3)
        assert time.monotonic() - begun < 2.0
    assert found == Unavailable("no answer within 0.3 s", "broken")


@contextlib.contextmanager
def raw_server(said: bytes, interval_seconds: float = 0.0) -> Iterator[str]:
    """Give the address of a server that says this to one client, byte by byte if there is an interval."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                if not interval_seconds:
                    connection.sendall(said)
                    return
                for byte in said:
                    if over.wait(interval_seconds):
                        return
                    connection.send(bytes([byte]))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()


def test_a_status_line_without_end_is_cut_off() -> None:
    """A server that sends a byte of it now and then is no faster than one that sends nothing."""
    with raw_server(b"HTTP/1.1 200 OK" * 100, 0.05) as url:
        begun = time.monotonic()
        found = metadata.region("azure", url, 0.3)
        assert time.monotonic() - begun < 2.0
    assert found == Unavailable("no answer within 0.3 s", "broken")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no proper answer (BadStatusLine)"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "no proper answer (HTTPException)"),
        (b"HTTP/1.1 200 " + b"O" * 100_000, "no proper answer (LineTooLong)"),
        (b"", "out of reach (Remote end closed connection without response)"),
    ],
)
def test_what_is_no_http(said: bytes, reason: str) -> None:
    """Another server at that address."""
    with raw_server(said) as url:
        assert metadata.region("azure", url) == Unavailable(reason, "broken")


def test_a_token_that_is_none_is_not_sent_on() -> None:
    """What comes in its place could end the header that it would be sent in."""
    with Services() as services:
        services.misbehave("/latest/api/token", "body", body=b"v1\r\nX-Header: 1", content_type="text/plain")
        found = metadata.region("aws", services.url)
        assert len(services.requests) == 1
    assert found == Unavailable("no proper answer (a token that is none)", "broken")


def test_a_connection_that_does_not_come_about() -> None:
    """An address that drops what is sent to it, as a link-local one mostly does: here a queue that is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        begun = time.monotonic()
        found = metadata.region("gcp", f"http://127.0.0.1:{listener.getsockname()[1]}", 0.3)
        assert time.monotonic() - begun < 2.0
    assert found == Unavailable("no answer within 0.3 s", "broken")


def test_nobody_is_there() -> None:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert metadata.region("gcp", f"http://127.0.0.1:{port}") == Unavailable(
        "out of reach (Connection refused)", "broken"
    )


@pytest.mark.parametrize(
    "body", [b"", b"two words", b"../../etc", b"<html>", b"x" * 100, b"r\xc3\xa9gion", b"eu\r\nX-Header: 1", b"-"]
)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_is_no_region_s_name(provider: cloud.Provider, body: bytes) -> None:
    """Whatever comes with status 200: a region is letters, digits and hyphens."""
    with Services() as services:
        services.misbehave("", "body", body=body, content_type="text/plain")
        found = metadata.region(provider, services.url)
    assert isinstance(found, Unavailable)
    assert found.cause == "broken"


@pytest.mark.parametrize("url", ["https://127.0.0.1", "127.0.0.1", "http://", "http://127.0.0.1:port", "ftp://x", ""])
def test_an_address_that_is_none(url: str) -> None:
    """It is said, and nothing raised."""
    found = metadata.region("aws", url)
    assert isinstance(found, Unavailable)
    assert "http://host:port" in found.reason
