"""Which addresses on the network may be asked for a picture: public ones, checked where the connection is made.

A shop's table is input from outside. An address in it must not make this machine ask its own services, its cloud's
metadata or its neighbors (server-side request forgery), and no answer of a name server may change that between the
check and the connection (rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_CHARACTERS = 4000
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_KEPT_IN_PATH = "/%:@!$&'()*+,;=~-._"


class Refused(Exception):  # noqa: N818 - reads as what it is
    """An address that is not asked, now or later; the message says why."""


def checked_url(given: str, *, base: str | None = None) -> str:
    """An address as it is asked for: absolute, percent-encoded, without a fragment.

    Args:
        given: as the shop's table has it ("//host/path" counts as https), or as a redirect names it.
        base: the address that redirects.

    Raises:
        Refused: it is no address of http or https, holds a user name or characters that no address holds.
    """
    url = given.strip()
    if len(url) > MOST_CHARACTERS:
        raise Refused(f"the address has {len(url):,} characters, at most {MOST_CHARACTERS:,} are taken")
    if "\\" in url or any(ord(character) <= 32 or ord(character) == 127 for character in url.replace(" ", "")):
        raise Refused("the address holds a backslash or a control character")
    try:
        parts = urlsplit(urljoin(base, url) if base else f"https:{url}" if url.startswith("//") else url)
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        name = host if ":" in host else host.encode("idna").decode("ascii")
    except ValueError as error:
        raise Refused(f"the address cannot be read: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise Refused(f"the address must begin with http:// or https://, it has {parts.scheme or 'neither'}")
    if parts.username is not None or parts.password is not None:
        raise Refused("the address holds a user name or a password")
    if not name or " " in name:
        raise Refused("the address names no host")
    place = f"[{name}]" if ":" in name else name
    path = quote(parts.path or "/", safe=_KEPT_IN_PATH)
    query = quote(parts.query, safe=_KEPT_IN_PATH + "?")
    return urlunsplit((parts.scheme, place if port is None else f"{place}:{port}", path, query, ""))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, also when it is wrapped in an IPv6 address."""
    try:
        ip: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(
        one.is_global
        and not (one.is_multicast or one.is_private or one.is_loopback or one.is_link_local or one.is_reserved)
        and not (one.is_unspecified or (isinstance(one, ipaddress.IPv6Address) and one.is_site_local))
        for one in _wrapped(ip)
    )


def _wrapped(ip: Address) -> list[Address]:
    """The addresses that packets to this one may end at: those within (mapped, 6to4, Teredo, NAT64), else itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    if ip.ipv4_mapped is not None:
        return [ip.ipv4_mapped]
    if ip.sixtofour is not None:
        return [ip, ip.sixtofour]
    if ip.teredo is not None:
        return [ip, *ip.teredo]
    last = int(ip) & 0xFFFFFFFF
    if ip in _NAT64:
        return [ipaddress.IPv4Address(last)]
    return [ip, ipaddress.IPv4Address(last)] if int(ip) >> 32 == 0 else [ip]  # ::a.b.c.d, as of old


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only: a host is looked up once, and it is the checked address that is connected to.

    Certificates and the Host header go by the name, as they should, since only this step knows of numbers.

    Args:
        allow_private: connect to any address; for tests, and for a picture server in one's own network.
    """

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host by name or number.

        Raises:
            Refused: one of its addresses is not public.
            httpcore.ConnectError: it has no address, or none answers.
        """
        addresses = await _resolve(host, port)
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise Refused(f"{host} is at {address}, which is no public address")
        last: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Never: pictures do not lie behind sockets of this machine.

        Raises:
            Refused: always.
        """
        raise Refused(f"{path} is a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    """The IP addresses of a host, each once, in the order of the resolver."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME:
            raise Refused(f"{host} is unknown") from None
        raise httpcore.ConnectError(f"{host} cannot be looked up: {error.strerror}") from None
    except UnicodeError:
        raise Refused(f"{host} is no name of a host") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
