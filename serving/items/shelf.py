"""Where changed items lie: in Redis, so that every worker has them, a restart keeps them, and a new model gets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis.asyncio

from serving.items.said import Said
from serving.store import Store

CHANGES_CAP = 100_000
"""Changes that are kept, roughly, for workers to learn of; one that missed more reads everything again."""
BATCH = 500


class ItemShelf:
    """Changed items in Redis.

    Args:
        store: Redis.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

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

    async def since(self, change: str) -> tuple[list[str], str]:
        """The items that changed after a change, each once, and the last change now.

        Raises:
            StoreDownError: Redis is away.
        """

        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            return cast(
                "list[Any]", await client.xrange(self._store.keys.item_changes, min=f"({change}", count=10 * BATCH)
            )

        entries = await self._store.asked(ask)
        item_ids = list(dict.fromkeys(fields[b"item_id"].decode() for _, fields in entries))
        return item_ids, entries[-1][0].decode() if entries else change

    async def picture(self, item_id: str) -> bytes | None:
        """The picture that was sent for an item.

        Raises:
            StoreDownError: Redis is away.
        """

        async def ask(client: redis.asyncio.Redis) -> bytes | None:
            return cast("bytes | None", await client.get(self._store.keys.item_picture(item_id)))

        return await self._store.asked(ask)
