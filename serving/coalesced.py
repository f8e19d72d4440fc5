"""Reads of many requests in one round trip.

A worker under load handles several requests in one turn of its event loop. Each needs a few values of Redis; asked one
by one, they cost more than all else in an answer. Here the keys of one turn are asked for together, and while some
round trips are under way, those of later turns gather for the next one: so what piles up behind a pause goes in few
long reads, not in many short ones over connections that must be opened first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

MOST_KEYS = 1000
"""Keys of one round trip; a long one would make short requests wait."""
AT_ONCE = 4
"""Round trips under way; Redis itself takes one after the other."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Coalesced(Generic[K, V]):
    """Values by key.

    Args:
        fetch: gets the values of different keys, in their order; what it raises is raised to everyone who waits for one
            of the keys.
        count: told how many keys were asked for, and how many of them were fetched once for all who asked.
        most_keys: of one round trip.
    """

    def __init__(
        self,
        fetch: Callable[[list[K]], Awaitable[Sequence[V]]],
        count: Callable[[int, int], None] | None = None,
        *,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._fetch = fetch
        self._count = count
        self._most_keys = most_keys
        self._asked: deque[tuple[Sequence[K], asyncio.Future[list[V]]]] = deque()
        self._begins = False
        self._under_way: set[asyncio.Task[None]] = set()

    async def get(self, keys: Sequence[K]) -> list[V]:
        """The values of some keys."""
        loop = asyncio.get_running_loop()
        if not self._begins and len(self._under_way) < AT_ONCE:
            self._begins = True
            loop.call_soon(self._begin)
        future: asyncio.Future[list[V]] = loop.create_future()
        self._asked.append((keys, future))
        return await future

    def _begin(self) -> None:
        """Send what is asked, as far as round trips are free."""
        self._begins = False
        while self._asked and len(self._under_way) < AT_ONCE:
            part = [self._asked.popleft()]
            n_keys = len(part[0][0])
            while self._asked and n_keys + len(self._asked[0][0]) <= self._most_keys:
                n_keys += len(self._asked[0][0])
                part.append(self._asked.popleft())
            task = asyncio.get_running_loop().create_task(self._fill(part))
            self._under_way.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._begin()

    async def _fill(self, asked: Sequence[tuple[Sequence[K], asyncio.Future[list[V]]]]) -> None:
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
