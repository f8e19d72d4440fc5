"""Reads of many requests in one round trip.

A worker under load handles several requests in one turn of its event loop. Each needs a few values of Redis; asked one
by one, they cost more than all else in an answer. Here the keys of one turn are asked for together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

MOST_KEYS = 1000
"""Keys of one round trip; a long one would make short requests wait."""

Fetch = Callable[[list[str]], Awaitable[Sequence[bytes | None]]]
Values = asyncio.Future[list[bytes | None]]


class Coalesced:
    """Values of string keys.

    Args:
        fetch: gets the values of different keys, in their order, None where absent; what it raises is raised to
            everyone who waits for one of the keys.
        count: told how many keys were asked for, and how many of them were fetched once for all who asked.
    """

    def __init__(self, fetch: Fetch, count: Callable[[int, int], None] | None = None) -> None:
        self._fetch = fetch
        self._count = count
        self._asked: list[tuple[Sequence[str], Values]] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of some keys."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._start)
        future: Values = loop.create_future()
        self._asked.append((keys, future))
        return await future

    def _start(self) -> None:
        asked, self._asked = self._asked, []
        part: list[tuple[Sequence[str], Values]] = []
        n_keys = 0
        for one in asked:
            if part and n_keys + len(one[0]) > MOST_KEYS:
                self._send(part)
                part, n_keys = [], 0
            part.append(one)
            n_keys += len(one[0])
        self._send(part)

    def _send(self, asked: Sequence[tuple[Sequence[str], Values]]) -> None:
        task = asyncio.get_running_loop().create_task(self._fill(asked))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _fill(self, asked: Sequence[tuple[Sequence[str], Values]]) -> None:
        names = list(dict.fromkeys(key for keys, _ in asked for key in keys))
        if self._count is not None:
            self._count(sum(len(keys) for keys, _ in asked), len(names))
        try:
            values = dict(zip(names, await self._fetch(names), strict=True))
        except Exception as error:
            for _, future in asked:
                if not future.done():  # its request may have been given up
                    future.set_exception(error)
            return
        for keys, future in asked:
            if not future.done():
                future.set_result([values[key] for key in keys])
