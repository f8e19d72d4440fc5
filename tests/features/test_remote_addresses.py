"""Which machines may be asked for pictures, and that no other one is ever connected to."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path

import httpcore
import pytest

from features.pictures.addresses import Refused, checked_url, is_public
from features.pictures.fetched import Failure, FetchedImages
from features.pictures.remote import FetchConfig, fetch_images
from tests.features.picture_server import NEARBY, PictureServer, gives, picture, redirects_to


def pretend(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> list[str]:
    """Name servers that answer as told, a list of addresses a question; returns the list of questions."""
    questions: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str | bytes | None, port: int | str | None, *rest: object, **more: object) -> list[object]:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in answers:
            return real(host, port, *rest, **more)  # type: ignore[arg-type, return-value]
        questions.append(name)
        found = answers[name].pop(0) if len(answers[name]) > 1 else answers[name][0]
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return questions


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.7", "192.168.1.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1"]
)
def test_a_name_at_a_private_address_is_never_connected_to(
    address: str, server: PictureServer, store: FetchedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/a"] = gives(picture())
    pretend(monkeypatch, {"shop.example": [[address]], "mixed.example": [["93.184.216.34", address]]})
    for host in ("shop.example", "mixed.example"):
        url = f"http://{host}:{server.port}/a"
        failure = fetch_images([url], store, FetchConfig(retries=0)).failed[url]
        assert failure == Failure(f"{host} is at {address}, which is no public address", True)
    assert server.asked == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:7f00:1]", "0.0.0.0", "127.1"],  # noqa: S104
)
def test_no_spelling_of_this_machine_is_asked(host: str, server: PictureServer, store: FetchedImages) -> None:
    url = f"http://{host}:{server.port}/a"
    failure = fetch_images([url], store, FetchConfig(retries=0)).failed[url]
    assert failure.final
    assert "no public address" in failure.reason
    assert server.asked == []


def test_a_redirect_to_a_private_address_is_refused(
    server: PictureServer, store: FetchedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = through_a_public_address(monkeypatch, server)
    pretend(monkeypatch, {"shop.example": [["93.184.216.34"]]})
    server.answers = {"/a": redirects_to("http://169.254.169.254/latest/meta-data"), "/latest": gives(picture())}
    url = f"http://shop.example:{server.port}/a"
    failure = fetch_images([url], store, FetchConfig(retries=0)).failed[url]
    assert failure == Failure("169.254.169.254 is at 169.254.169.254, which is no public address", True)
    assert reached == ["93.184.216.34"]


def through_a_public_address(monkeypatch: pytest.MonkeyPatch, server: PictureServer) -> list[str]:
    """Connections to 93.184.216.34 arrive at the local server; returns the list of addresses connected to."""
    reached: list[str] = []
    real = httpcore.AnyIOBackend.connect_tcp

    async def connect(self: httpcore.AnyIOBackend, host: str, port: int, *rest: object, **more: object) -> object:
        reached.append(host)
        return await real(self, "127.0.0.1" if host == "93.184.216.34" else host, port, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    return reached


def test_a_name_is_looked_up_once_and_the_checked_address_is_connected_to(
    server: PictureServer, store: FetchedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, private when it is asked again."""
    reached = through_a_public_address(monkeypatch, server)
    questions = pretend(monkeypatch, {"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]})
    server.answers["/a"] = gives(picture())
    url = f"http://rebind.example:{server.port}/a"
    assert fetch_images([url], store, FetchConfig(retries=0)).fetched == 1
    assert questions == ["rebind.example"]
    assert reached == ["93.184.216.34"]
    assert server.headers[0]["Host"] == f"rebind.example:{server.port}"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("0.0.0.0", False),  # noqa: S104
        ("100.64.0.1", False),
        ("172.16.0.1", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("::127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("shop.example", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (" //cdn.example/a b.jpg#top ", "https://cdn.example/a%20b.jpg"),
        ("HTTP://Cdn.Example:8080", "http://cdn.example:8080/"),
        ("https://bücher.example/ü?q=ä&x=%20", "https://xn--bcher-kva.example/%C3%BC?q=%C3%A4&x=%20"),
        ("http://[2606:4700::1]/a", "http://[2606:4700::1]/a"),
    ],
)
def test_an_address_is_asked_as_a_browser_would(given: str, asked: str) -> None:
    assert checked_url(given) == asked


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("ftp://host/a", "it has ftp"),
        ("gopher://host/a", "it has gopher"),
        ("javascript:alert(1)", "it has javascript"),
        ("/local/path", "it has neither"),
        ("http://me@host/a", "user name"),
        ("http://me:pw@host/a", "user name"),
        ("http:///a", "names no host"),
        ("http://host:99999/a", "cannot be read"),
        ("http://ho\nst/a", "control character"),
        ("http://good.example\\@evil.example/a", "backslash"),
        ("http://[::1/a", "cannot be read"),
        ("https://host/" + "a" * 5000, "at most 4,000"),
    ],
)
def test_what_is_no_address_of_a_picture_is_refused(given: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        checked_url(given)


def test_a_certificate_must_be_of_the_name_that_is_asked(
    store: FetchedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example",
         "-addext", "subjectAltName=DNS:shop.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = PictureServer()
    server.answers["/a"] = gives(picture())
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    pretend(monkeypatch, {"shop.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]})
    try:
        right, wrong = (f"https://{name}.example:{server.port}/a" for name in ("shop", "other"))
        report = fetch_images([right, wrong], store, NEARBY)
        assert store.read(right) == picture()
        assert "certificate verify failed" in report.failed[wrong].reason.lower()
    finally:
        server.close()
