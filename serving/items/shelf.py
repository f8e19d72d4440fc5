"""Where changed items lie: in Redis, so that every worker has them, a restart keeps them, and a new model gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import redis.asyncio

from serving.items.kept_pictures import KeptPictures, names_of
from serving.items.said import Said
from serving.store import Store

CHANGES_CAP = 100_000
"""Changes that are kept, roughly, for workers to learn of; one that missed more reads everything again."""
BATCH = 500
_PUT_BACK = """
local function moment(id) local ms, n = string.match(id, '(%d+)-(%d+)') return tonumber(ms), tonumber(n) end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local others = false
if newest then
  local ms, n = moment(newest[1])
  local known_ms, known_n = moment(ARGV[1])
  others = ms > known_ms or (ms == known_ms and n > known_n)
end
if not others then redis.call('DEL', KEYS[3])
elseif ARGV[2] == 'alone' then return 0
elseif redis.call('HEXISTS', KEYS[3], 'whole') == 1 or redis.call('HEXISTS', KEYS[3], 'deleted') == 1 then return 0 end
local new = redis.call('SADD', KEYS[2], ARGV[3])
for i = 4, #ARGV, 2 do new = new + redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1]) end
return math.min(new, 1)
"""


class ItemShelf:
    """Changed items in Redis.

    Args:
        store: Redis.
        restore: whether what Redis has lost is put back.
        pictures: the folder that keeps those that were sent; None for none.
    """

    def __init__(self, store: Store, *, restore: bool = True, pictures: KeptPictures | None = None) -> None:
        self._store = store
        self._restore = restore
        self._pictures = pictures

    @property
    def up(self) -> bool:
        """Whether Redis is to be asked."""
        return self._store.up

    async def write(self, changes: Mapping[str, Said], pictures: Mapping[str, bytes]) -> None:
        """Keep what was said, field by field: two patches of different fields do not undo one another.

        Args:
            changes: by item; one that is whole, or a deletion, replaces what is there.
            pictures: pictures that came with them, by item.

        Raises:
            StoreDownError: Redis is away; nothing may be taken for kept.
        """

        async def ask(client: redis.asyncio.Redis) -> None:
            pipeline = client.pipeline(transaction=True)
            for item_id, said in changes.items():
                key = self._store.keys.item_now(item_id)
                if said.whole or said.deleted:
                    pipeline.delete(key)
                    if item_id not in pictures:
                        pipeline.delete(self._store.keys.item_picture(item_id))
                pipeline.hset(key, mapping=said.packed())  # type: ignore[arg-type]
                pipeline.sadd(self._store.keys.items, item_id)
                if item_id in pictures:
                    pipeline.set(self._store.keys.item_picture(item_id), pictures[item_id])
                pipeline.xadd(self._store.keys.item_changes, {"item_id": item_id}, maxlen=CHANGES_CAP, approximate=True)
            await pipeline.execute()

        await self._store.asked(ask)

    async def read(self, item_ids: Sequence[str]) -> dict[str, Said]:
        """What is known of some items; those of which nothing was said are left out.

        Raises:
            StoreDownError: Redis is away.
        """

        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for item_id in asked:
                pipeline.hgetall(self._store.keys.item_now(item_id))
            return await pipeline.execute()

        found: dict[str, Said] = {}
        for start in range(0, len(item_ids), BATCH):
            asked = item_ids[start : start + BATCH]
            for item_id, packed in zip(asked, await self._store.asked(ask), strict=True):
                if packed:
                    found[item_id] = Said.unpacked(packed)
        return found

    async def every(self) -> tuple[dict[str, Said], str]:
        """All that is known, and the last change it holds for certain.

        Raises:
            StoreDownError: Redis is away.
        """

        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            pipeline.xrevrange(self._store.keys.item_changes, count=1)
            pipeline.smembers(self._store.keys.items)
            return await pipeline.execute()

        newest, members = await self._store.asked(ask)
        found = await self.read(sorted(member.decode() for member in members))
        return found, newest[0][0].decode() if newest else "0-0"

    async def since(self, change: str) -> tuple[list[str], str] | None:
        """The items that changed after a change, each once, and the last change now.

        Args:
            change: the last one known, "0-0" where none was there.

        Returns:
            None where Redis does not have that change any more: so many came after it (`outrun`), or it has lost it.

        Raises:
            StoreDownError: Redis is away.
        """

        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            return cast("list[Any]", await client.xrange(self._store.keys.item_changes, min=change, count=10 * BATCH))

        entries = await self._store.asked(ask)
        if change != "0-0":
            if not entries or entries[0][0].decode() != change:
                return None
            entries = entries[1:]
        item_ids = list(dict.fromkeys(fields[b"item_id"].decode() for _, fields in entries))
        return item_ids, entries[-1][0].decode() if entries else change

    async def outrun(self, change: str) -> bool:
        """Whether Redis has let go of a change only as more than `CHANGES_CAP` came after it, and has lost nothing.

        Where it lost it there are fewer, or older ones are still there (a backup); unless so many changes have come
        since the loss, and then those who made them knew what was lost, and have put it back.

        Raises:
            StoreDownError: Redis is away.
        """

        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=True)
            pipeline.xlen(self._store.keys.item_changes)
            pipeline.xrange(self._store.keys.item_changes, count=1)
            return await pipeline.execute()

        n_changes, oldest = await self._store.asked(ask)
        return n_changes >= CHANGES_CAP and _moment(oldest[0][0].decode()) > _moment(change)

    async def put_back(self, known: Mapping[str, Said], change: str, *, alone: bool) -> int:
        """Give a Redis that lost them what was known of items; what was said of one since stands, and lies over it.

        Args:
            known: all that was known.
            change: the last one it holds for.
            alone: only where no change has come since, as it may be long ago that this was all.

        Returns:
            How many items were not there, or not whole.

        Raises:
            StoreDownError: Redis is away.
        """
        if not self._restore:
            return 0
        keys, how = self._store.keys, "alone" if alone else "beside others"

        async def put(client: redis.asyncio.Redis, item_ids: Sequence[str]) -> list[int]:
            pipeline: Any = client.pipeline(transaction=False)
            for item_id in item_ids:
                fields = [part for pair in known[item_id].packed().items() for part in pair]
                names = (keys.item_changes, keys.items, keys.item_now(item_id))
                pipeline.eval(_PUT_BACK, len(names), *names, change, how, item_id, *fields)
            return cast("list[int]", await pipeline.execute())

        async def tell(client: redis.asyncio.Redis, item_ids: Sequence[str]) -> None:
            pipeline: Any = client.pipeline(transaction=False)
            for item_id in item_ids:
                pipeline.xadd(keys.item_changes, {"item_id": item_id}, maxlen=CHANGES_CAP, approximate=True)
            await pipeline.execute()

        every, back = list(known), list[str]()
        for start in range(0, len(every), BATCH):
            batch = every[start : start + BATCH]
            were_lost = await self._store.asked(partial(put, item_ids=batch))
            back += [item_id for item_id, was_lost in zip(batch, were_lost, strict=True) if was_lost]
        # last, as a change that is told is taken for one that somebody has made; and of no others, as workers that know
        # more than the stream holds would for ever push out of it what the others have read last
        for start in range(0, len(back), BATCH):
            await self._store.asked(partial(tell, item_ids=back[start : start + BATCH]))
        return len(back)

    async def put_pictures_back(self, known: Mapping[str, Said]) -> int:
        """Give a Redis that lost them the pictures that are kept, of items that still have them; how many it lacked.

        Raises:
            StoreDownError: Redis is away.
        """
        if not self._restore or self._pictures is None:
            return 0
        back = 0
        for item_id, name in names_of(known).items():
            data = await asyncio.to_thread(self._pictures.read, name)
            if data is not None and names_of(await self.read([item_id])).get(item_id) == name:
                key, picture = self._store.keys.item_picture(item_id), data
                back += bool(await self._store.asked(lambda client: client.set(key, picture, nx=True)))  # noqa: B023
        return back

    async def keep_pictures(self, known: Mapping[str, Said]) -> None:
        """Keep the pictures of items in the folder, where there is one.

        Raises:
            StoreDownError: Redis is away.
            OSError: the folder cannot be written to.
        """
        if self._pictures is not None:
            await self._pictures.follow(known, self._sent)

    async def picture(self, item_id: str, name: str) -> bytes | None:
        """The picture that was sent for an item, kept or in Redis.

        Args:
            item_id: whose it is.
            name: that the item has for it.

        Raises:
            StoreDownError: it is not kept, and Redis is away.
        """
        kept = None if self._pictures is None else await asyncio.to_thread(self._pictures.read, name)
        return await self._sent(item_id) if kept is None else kept

    async def _sent(self, item_id: str) -> bytes | None:
        key = self._store.keys.item_picture(item_id)
        return await self._store.asked(lambda client: cast("Awaitable[bytes | None]", client.get(key)))


def _moment(change: str) -> tuple[int, int]:
    ms, _, number = change.partition("-")
    return int(ms), int(number)
