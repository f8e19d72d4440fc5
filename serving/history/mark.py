"""A mark in Redis that tells one which remembers from one which has forgotten.

It is a moment by Redis' clock, and is moved on before entries are archived: so of all that is in the archive nothing is
later than the mark of a Redis that remembers. One that has no mark, or an earlier one (a backup, a replica that was
behind), has lost something.
"""

from __future__ import annotations

from typing import cast

from redis import Redis

from serving.keys import Keys

NOW = """
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
"""
_HOLD = (
    NOW
    + """
local mark = tonumber(redis.call('HGET', KEYS[1], 'mark') or -1)
if mark < tonumber(ARGV[1]) then return false end
mark = string.format('%.0f', math.max(now_us, mark, ARGV[2] * 1000 + 999))
redis.call('HSET', KEYS[1], 'mark', mark)
return mark
"""
)
_SET = (
    NOW
    + """
local mark = string.format('%.0f', math.max(now_us, tonumber(ARGV[1])))
redis.call('HSET', KEYS[1], 'mark', mark, unpack(ARGV, 2))
if #ARGV > 1 then redis.call('HDEL', KEYS[1], 'told') end
return mark
"""
)


class Mark:
    """The mark, as one process knows it.

    Args:
        client: of Redis, answers as bytes.
        keys: of the tenant.
        known_ms: of the latest entry that was archived, 0 for none.
    """

    def __init__(self, client: Redis, keys: Keys, known_ms: int) -> None:
        self._key = keys.history
        self._hold, self._set = client.register_script(_HOLD), client.register_script(_SET)
        self._known = known_ms * 1000

    def hold(self, upto_ms: int = 0) -> bool:
        """Move the mark on to now, or to an entry that is later; whether Redis has lost nothing until then.

        Where it has, the mark stays, and so does this answer until somebody calls `set`.
        """
        said = cast("bytes | None", self._hold(keys=[self._key], args=[self._known, upto_ms]))
        if said is not None:
            self._known = int(said)
        return said is not None

    def set(self, **told: str | int) -> None:
        """Mark that what was lost is back, as far as it can be.

        Args:
            told: what is to be told of that, once (`serving/history/watch.py`).
        """
        pairs = [part for pair in told.items() for part in pair]
        self._known = int(cast("bytes", self._set(keys=[self._key], args=[self._known, *pairs])))
