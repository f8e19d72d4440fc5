"""What the shop says of users, into Redis: each user in one atomic step, many users in one round trip."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import redis.asyncio

from serving.keys import Keys

Attributes = Mapping[str, Sequence[str]]
"""Name to values; one without values is not known any more."""

MOST_DESCRIBED = 50
"""Users in one round trip: more would take much of the time that Redis is given."""
DESCRIBE = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
if ARGV[3] == '1' then redis.call('DEL', KEYS[2]) end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
"""
"""Describe one user. The stamp comes first: where Redis is full, it refuses that, before anything is taken away."""


async def describe(
    client: redis.asyncio.Redis, *, keys: Keys, said: Mapping[str, Attributes], whole: bool, ttl_s: int
) -> None:
    """Keep what the shop says of some users, wherever in a cluster their keys lie.

    Args:
        client: Redis.
        keys: of the tenant whose users they are.
        said: by user id.
        whole: whether that is all there is to say of each; otherwise other attributes stay.
        ttl_s: how long the stamp of a user's state is kept.
    """
    pipeline: Any = client.pipeline(transaction=False)
    for user_id, attributes in said.items():
        told = [
            part
            for name, values in attributes.items()
            for part in (name, orjson.dumps(list(values)) if values else b"")
        ]
        names = (keys.stamp(user_id), keys.profile(user_id))
        pipeline.eval(DESCRIBE, len(names), *names, secrets.token_bytes(8), ttl_s, int(whole), *told)
    await pipeline.execute()
