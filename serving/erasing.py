"""Clears the streams of those who asked to be forgotten: their events, and the answers they were given.

Whoever is forgotten is noted in Redis with the moment of asking. One worker at a time takes them up, walks through both
streams up to that moment, and strikes the note off once nothing of them is left there; a worker that dies in between
leaves the note for another. What came later is a new beginning, and stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import redis.asyncio
import structlog

from serving.again import again
from serving.store import Store

log = structlog.get_logger()

CHUNK = 1_000
LOCK_S = 60
STRIKE_OFF = """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('ZREM', KEYS[1], ARGV[1]) end
"""
"""Unless the user has asked again meanwhile."""


class Eraser:
    """One worker's share of the forgetting.

    Args:
        store: Redis.
        every_s: seconds between two looks for work.
    """

    def __init__(self, store: Store, *, every_s: float) -> None:
        self._store = store
        self._every_s = every_s

    async def run(self, closing: asyncio.Event) -> None:
        """Look for work again and again until `closing` is set."""
        await again(closing, self._every_s, self.work)

    async def work(self) -> int:
        """Clear the streams of all who are noted, unless another worker does; how many entries were deleted.

        Raises:
            StoreDownError: Redis went away; the notes stay.
        """
        noted = await self._store.asked(lambda client: client.zrange(self._store.keys.erasing, 0, -1, withscores=True))
        if not noted or not await self._store.asked(
            lambda client: client.set(self._store.keys.erasing_lock, b"1", nx=True, ex=LOCK_S)
        ):
            return 0
        until = {user_id: int(at) for user_id, at in cast("list[tuple[bytes, float]]", noted)}
        deleted = 0
        for stream in (self._store.keys.events, self._store.keys.impressions):
            deleted += await self._clear(stream, until)

        async def strike_off(client: redis.asyncio.Redis) -> None:
            for user_id, at in until.items():
                await client.eval(STRIKE_OFF, 1, self._store.keys.erasing, user_id, str(at))
            await client.delete(self._store.keys.erasing_lock)

        await self._store.asked(strike_off)
        log.info("streams cleared of the forgotten", users=len(until), entries=deleted)
        return deleted

    async def _clear(self, stream: str, until: dict[bytes, int]) -> int:
        last, deleted = "-", 0
        newest = max(until.values())
        while True:

            async def read(client: redis.asyncio.Redis, start: str = last) -> list[Any]:
                return cast("list[Any]", await client.xrange(stream, min=start, max=str(newest), count=CHUNK))

            entries = await self._store.asked(read)
            theirs = [
                entry_id
                for entry_id, fields in entries
                if int(entry_id.split(b"-")[0]) <= until.get(_user_of(fields), -1)
            ]
            if theirs:

                async def delete(client: redis.asyncio.Redis, entry_ids: list[bytes] = theirs) -> int:
                    return int(await client.xdel(stream, *entry_ids))

                deleted += await self._store.asked(delete)
            if len(entries) < CHUNK:
                return deleted
            last = f"({entries[-1][0].decode()}"
            await self._store.asked(lambda client: client.expire(self._store.keys.erasing_lock, LOCK_S))


def _user_of(fields: Mapping[bytes, bytes]) -> bytes:
    """The user of an entry: who did it, or whom an answer was for; of similar items the subject is an item."""
    if fields.get(b"surface") == b"similar":
        return b""
    return fields.get(b"user_id") or fields.get(b"subject") or b""
