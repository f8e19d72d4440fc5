"""Forgetting a user in Redis: what is known of them now, and a note for whoever holds more of them."""

from __future__ import annotations

import time
from typing import Any

import redis.asyncio

from serving.history.deletions import NOTED
from serving.keys import Keys

FORGOTTEN_CAP = 10_000
"""Deletions that are kept, roughly, for workers to learn of."""
FORGOTTEN_S = 86_400
"""A deletion is known so long to a near-line worker that is giving users' events back, and has not read of it."""
_HEARD_UNTIL = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return newest and math.max(ms, tonumber(string.match(newest[1], '^%d+'))) or ms
"""


async def heard_until(client: redis.asyncio.Redis, *, keys: Keys) -> tuple[int, bytes | None]:
    """A moment than which no event is later that was heard of, ms by Redis' clock; also of events that were archived
    while the clock of another machine was Redis', which ran ahead (`serving/history/mark.py`). And what Redis says of
    whether deletions are noted (`serving/history/deletions.py`).
    """
    pipeline: Any = client.pipeline(transaction=False)
    pipeline.eval(_HEARD_UNTIL, 1, keys.events)
    pipeline.hmget(keys.history, "mark", NOTED)
    heard_ms, (mark_us, noted) = await pipeline.execute()
    return max(int(heard_ms), -(-int(mark_us or 0) // 1000)), noted


async def forget(client: redis.asyncio.Redis, *, keys: Keys, user_id: str, until_ms: int) -> None:
    """Delete a user's live state, let every worker know, and note that the streams are to be cleared of them.

    Args:
        client: Redis.
        keys: of the tenant whose user it is.
        user_id: who is to be forgotten.
        until_ms: nothing that was heard of them up to here may be put back.
    """
    pipeline = client.pipeline(transaction=False)
    pipeline.set(keys.forgotten_until(user_id), until_ms, ex=FORGOTTEN_S)  # first, lest something comes back behind
    pipeline.delete(
        keys.recent(user_id), keys.seen(user_id), keys.bought(user_id), keys.profile(user_id), keys.stamp(user_id)
    )
    pipeline.zadd(keys.erasing, {user_id: int(time.time() * 1000)})
    pipeline.xadd(keys.forgotten, {"user_id": user_id}, maxlen=FORGOTTEN_CAP, approximate=True)
    await pipeline.execute()
