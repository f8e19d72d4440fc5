"""Live counts of how items do where they are shown: what they are, and how they lie in Redis.

An item has four numbers, packed: clicks, looks, looks with the fading squared, and the moment they are faded to. A slot
or a click that comes is faded to that moment, or moves it, so that the order of coming changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import orjson
from redis import Redis

from recsys.appeal.examination import Examination
from recsys.appeal.history import CounterHistory
from serving.keys import Keys

PACKED = np.dtype([("clicks", "<f8"), ("looks", "<f8"), ("looks_squared", "<f8"), ("at", "<f8")])
ADD = """
local function add(items, changed, item, clicks, looks, t, half_life)
  local raw, c, e, s, at = redis.call('HGET', items, item), 0, 0, 0, t
  if raw then c, e, s, at = struct.unpack('<dddd', raw) end
  local weight = 1
  if t > at then
    local fading = 0.5 ^ ((t - at) / half_life)
    c, e, s, at = c * fading, e * fading, s * fading * fading, t
  else
    weight = 0.5 ^ ((at - t) / half_life)
  end
  local packed = struct.pack('<dddd', c + clicks * weight, e + looks * weight, s + looks * weight * weight, at)
  redis.call('HSET', items, item, packed)
  local now = redis.call('TIME')
  redis.call('ZADD', changed, now[1] * 1000 + math.floor(now[2] / 1000), item)
end
"""
"""Lua: adds to an item's counts, and notes that they changed."""
BEGIN = (
    ADD
    + """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
for _, one in ipairs(cjson.decode(ARGV[2])) do
  redis.call('HSET', KEYS[2], one[1], struct.pack('<dddd', one[2], one[3], one[4], one[5]))
  redis.call('ZADD', KEYS[3], 0, one[1])
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""
)


@dataclass(frozen=True)
class LiveCounting:
    """How live counts are made.

    Args:
        examination: how places are looked at.
        half_life_s: counts are worth half after so long.
        until_s: answers up to here were counted before, from the log.
    """

    examination: Examination
    half_life_s: float
    until_s: float

    def dump(self) -> bytes:
        """As JSON."""
        said = {"examination": self.examination.curves, "half_life_s": self.half_life_s, "until_s": self.until_s}
        return orjson.dumps(said)

    @classmethod
    def read(cls, raw: bytes) -> LiveCounting:
        """From `dump`."""
        said = orjson.loads(raw)
        curves = {surface: tuple(curve) for surface, curve in said["examination"].items()}
        return cls(Examination(curves), said["half_life_s"], said["until_s"])

    def looks(self, surface: str, items: Sequence[str]) -> list[tuple[str, float]]:
        """The items of an answer, each with how far its slot is looked at."""
        return [(item, self.examination.of(surface, position)) for position, item in enumerate(items)]


def begin(client: Redis, keys: Keys, history: CounterHistory) -> LiveCounting:
    """Begin to count where a log's counters end; where counting goes on already, it goes on as it was begun.

    Args:
        client: of Redis, answers as bytes.
        keys: of the tenant.
        history: the log's counters.
    """
    counting = LiveCounting(history.examination, history.half_life_s, history.until_s)
    counts = history.counts(np.inf) if not len(history) else history.counts(float(history.moments[-1]))
    at = float(history.moments[-1]) if len(history) else 0.0
    columns = (counts.clicks.tolist(), counts.looks.tolist(), counts.looks_squared.tolist())
    seeds = [[item, *of, at] for item, *of in zip(history.items, *columns, strict=True)]
    script = client.register_script(BEGIN)
    script(keys=[keys.appeal_about, keys.appeal, keys.appeal_changed], args=[counting.dump(), orjson.dumps(seeds)])
    return LiveCounting.read(cast("bytes", client.get(keys.appeal_about)))
