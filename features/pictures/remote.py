"""Fetch the pictures that a shop names by address: only when asked, politely, and trusting no answer."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import defaultdict
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated
from urllib.parse import urlsplit

import httpcore
import structlog
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from features.pictures.addresses import PublicNetwork, Refused, checked_url
from features.pictures.decoding import MAX_BYTES, UnreadableImage, decode
from features.pictures.fetched import Failure, FetchedImages
from features.progress import Bar, bar
from features.section import Section

log = structlog.get_logger()

REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be other ones a little later."""
LONGEST_WAIT_S = 60.0
"""Between two attempts, whatever a server asks for."""


class FetchConfig(Section):
    """How pictures are fetched."""

    timeout_s: PositiveFloat = 20.0
    """Most seconds from asking an address to the last byte of its answer."""

    max_bytes: PositiveInt = MAX_BYTES
    """Larger pictures are refused, at the latest when so many bytes have come."""

    retries: NonNegativeInt = 3
    """Further attempts after a failure that may pass."""

    backoff_s: NonNegativeFloat = 1.0
    """Seconds before the first of them, about; each later one waits twice as long."""

    max_redirects: NonNegativeInt = 5
    """Redirects followed, each checked as the first address was."""

    at_once: Annotated[int, Field(ge=1, le=256)] = 32
    """Pictures in work at once."""

    per_host: Annotated[int, Field(ge=1, le=64)] = 4
    """Of these, from one host."""

    give_up_after: PositiveInt = 20
    """Pictures of one host that fail in a row, after all attempts, before its others are left for another run."""

    allow_private: bool = False
    """Also ask addresses of this machine and its own network."""


@dataclass(frozen=True)
class FetchReport:
    """What fetching came to.

    Args:
        there: addresses whose picture was there before.
        fetched: addresses whose picture is there now.
        failed: address -> why there is none.
    """

    there: int
    fetched: int
    failed: dict[str, Failure]


class _Passing(Exception):  # noqa: N818
    """A failure that may pass; the server may say after how many seconds."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def fetch_images(
    addresses: list[str], store: FetchedImages, config: FetchConfig | None = None, *, again: bool = False
) -> FetchReport:
    """Fetch pictures into a store, with a progress bar; interrupted, the next call goes on.

    What is there is not fetched again. Addresses that failed for good are not asked again, those whose failure may
    have passed are. An answer is a picture if it can be decoded, whatever its Content-Type says. No proxy, cookie or
    password is used.

    Args:
        addresses: as the shop names them.
        store: takes pictures and failures.
        config: limits.
        again: ask also those that failed for good.
    """
    config = config or FetchConfig()
    with store.held():
        wanted = list(dict.fromkeys(addresses))
        there = store.names()
        missing = [one for one in wanted if one not in there]
        failed = {one: failure for one in missing if (failure := store.failure(one)) and failure.final and not again}
        asked = _by_turns([one for one in missing if one not in failed])
        with bar("fetching pictures", total=len(asked)) as progress:
            asyncio.run(_Fetcher(store, config, progress).run(asked))
    failed |= {one: failure for one in asked if (failure := store.failure(one))}
    report = FetchReport(len(wanted) - len(missing), len(missing) - len(failed), failed)
    log.info("pictures fetched", there=report.there, fetched=report.fetched, failed=len(report.failed))
    return report


def _by_turns(addresses: list[str]) -> list[str]:
    """Hosts in turn, so that a slow one does not hold up the others."""
    of_host: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        of_host[address.split("/")[2] if address.count("/") >= 2 else ""].append(address)
    return [one for turn in zip_longest(*of_host.values()) for one in turn if one is not None]


class _Fetcher:
    def __init__(self, store: FetchedImages, config: FetchConfig, progress: Bar) -> None:
        self._store, self._config, self._progress = store, config, progress
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(config.per_host))
        self._in_a_row: dict[str, int] = defaultdict(int)

    async def run(self, addresses: list[str]) -> None:
        left = iter(addresses)
        async with httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=self._config.at_once,
            keepalive_expiry=5,
            network_backend=PublicNetwork(allow_private=self._config.allow_private),
        ) as pool:

            async def work() -> None:
                for address in left:
                    await self._settle(pool, address)
                    self._progress.advance()

            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._config.at_once, len(addresses))):
                    group.create_task(work())

    async def _settle(self, pool: httpcore.AsyncConnectionPool, address: str) -> None:
        """Fetch one picture and note what came of it."""
        try:
            url = checked_url(address)
            host = urlsplit(url).netloc
            if self._in_a_row[host] >= self._config.give_up_after:
                raise _Passing(f"{host} failed {self._in_a_row[host]} times in a row and was not asked any more")
            digest = await self._with_retries(pool, url)
        except (Refused, UnreadableImage) as error:
            self._store.failed(address, Failure(str(error), final=True))
        except _Passing as error:
            self._in_a_row[host] += 1
            self._store.failed(address, Failure(str(error), final=False))
        else:
            self._in_a_row[host] = 0
            self._store.found(address, digest)

    async def _with_retries(self, pool: httpcore.AsyncConnectionPool, url: str) -> str:
        for attempt in range(self._config.retries + 1):
            try:
                data = await self._follow(pool, url)
                return await asyncio.to_thread(self._keep, data)
            except _Passing as error:
                if attempt == self._config.retries:
                    raise
                wait = self._config.backoff_s * 2**attempt * random.uniform(0.5, 1.5)
                await asyncio.sleep(min(max(wait, error.wait_s), LONGEST_WAIT_S))
        raise AssertionError  # the last attempt returns or raises

    def _keep(self, data: bytes) -> str:
        decode(data, max_bytes=self._config.max_bytes)
        return self._store.store(data)

    async def _follow(self, pool: httpcore.AsyncConnectionPool, url: str) -> bytes:
        for _ in range(self._config.max_redirects + 1):
            async with self._slots[urlsplit(url).netloc]:
                answer = await self._ask(pool, url)
            if isinstance(answer, bytes):
                return answer
            url = checked_url(answer, base=url)
        raise Refused(f"redirects more than {self._config.max_redirects} times")

    async def _ask(self, pool: httpcore.AsyncConnectionPool, url: str) -> bytes | str:
        """One request: the content, or where it redirects to."""
        headers: dict[bytes | str, bytes | str] = {
            "Host": urlsplit(url).netloc,
            "Accept": "image/*",
            "Accept-Encoding": "identity",
            "User-Agent": "recsys",
        }
        try:
            # the whole exchange has the time, so that a server cannot drag it out byte by byte
            async with asyncio.timeout(self._config.timeout_s), pool.stream("GET", url, headers=headers) as response:
                about = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in REDIRECTS and about.get(b"location"):
                    return about[b"location"]
                if response.status in PASSING:
                    after = about.get(b"retry-after", "")
                    raise _Passing(f"answers {response.status}", float(after) if after.isdigit() else 0.0)
                if response.status != 200:
                    raise Refused(f"answers {response.status}")
                if about.get(b"content-encoding", "identity").lower() != "identity":
                    raise Refused(f"is packed by {about[b'content-encoding']}, which was not asked for")
                length = about.get(b"content-length", "")
                self._check_length(int(length) if length.isdigit() else 0)
                data = bytearray()
                async for part in response.aiter_stream():
                    data += part
                    self._check_length(len(data))
                return bytes(data)
        except TimeoutError:
            raise _Passing(f"did not answer within {self._config.timeout_s:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise _Passing(f"cannot be reached: {error or type(error).__name__}") from None

    def _check_length(self, n_bytes: int) -> None:
        if n_bytes > self._config.max_bytes:
            raise Refused(f"has more than the {self._config.max_bytes:,} bytes that are taken")
