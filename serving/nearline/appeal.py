"""Live counts of how items do where they are shown: what they are, and how they lie in Redis.

An item has four numbers in each scenario that is counted by itself, and four for all others, packed: clicks, looks,
looks with the fading squared, and the moment they are faded to. A slot or a click that comes is faded to that moment,
or moves it, so that the order of coming changes nothing. Which scenarios are counted, the log's counters say: whoever
asks names them, and must not fill Redis.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import numpy as np
import orjson
from redis import Redis

from features.errors import InputError
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
  local last = redis.call('ZREVRANGE', changed, 0, 0, 'WITHSCORES')[2] or 0
  redis.call('ZADD', changed, math.max(now[1] * 1000 + math.floor(now[2] / 1000), last), item)
end
"""
"""Lua: adds to an item's counts, and notes that they changed: never earlier than another, though the clock be put back,
as whoever reads what changed goes on from the latest."""
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


_BETWEEN = b"\x1f"


def field(scenario: str, item: str) -> bytes:
    """What an item's counts in a scenario are kept under; "" for everywhere else.

    The id of an item may be anything; a scenario holds no unit separator (`begin` refuses it, and so does a request).
    """
    return scenario.encode() + _BETWEEN + item.encode()


def named(field: bytes) -> tuple[str, str]:
    """Scenario and item of a `field`; one that was written before there were scenarios is an item's, everywhere."""
    scenario, between, item = field.partition(_BETWEEN)
    return (scenario.decode(), item.decode()) if between else ("", scenario.decode())


@dataclass(frozen=True)
class LiveCounting:
    """How live counts are made.

    Args:
        examination: how places are looked at.
        scenarios: those that are counted by themselves, after "" for all others.
        half_life_s: counts are worth half after so long.
        until_s: answers up to here were counted before, from the log.
        begun_s: when counting began, UTC seconds; another number where it began anew, as after all was lost.
    """

    examination: Examination
    scenarios: tuple[str, ...]
    half_life_s: float
    until_s: float
    begun_s: float = 0.0

    def dump(self) -> bytes:
        """As JSON."""
        return orjson.dumps({**asdict(self), "examination": self.examination.curves})

    @classmethod
    def read(cls, raw: bytes) -> LiveCounting:
        """From `dump`, also as it was before there were scenarios: then all counts are of everywhere.

        Raises:
            InputError: it cannot be read.
        """
        try:
            said = orjson.loads(raw)
            curves = {str(surface): tuple(map(float, curve)) for surface, curve in said["examination"].items()}
            scenarios = tuple(map(str, said.get("scenarios", ("",))))
            numbers = (float(said["half_life_s"]), float(said["until_s"]), float(said.get("begun_s", 0.0)))
            return cls(Examination(curves), scenarios, *numbers)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"how live counts are made must be JSON as it was written, it is {raw[:80]!r}") from error

    def field(self, scenario: str, item: str) -> bytes:
        """Where an item is counted in an answer for a scenario."""
        return field(scenario if scenario in self.scenarios else "", item)

    def looks(self, surface: str, scenario: str, items: Sequence[str]) -> list[tuple[bytes, float]]:
        """The fields of an answer's items, each with how far its slot is looked at."""
        of = self.examination.of
        return [(self.field(scenario, item), of(surface, position)) for position, item in enumerate(items)]


@dataclass(frozen=True)
class Beginning:
    """Where counting begins.

    Args:
        counting: how it is done.
        reaches_s: what was shown later is not in here, UTC seconds.
        cells: `field`, as text, and the four numbers of each item in each scenario.
    """

    counting: LiveCounting
    reaches_s: float
    cells: Sequence[Sequence[str | float]]

    @classmethod
    def of_log(cls, history: CounterHistory) -> Beginning:
        """Where a log's counters end."""
        at, examination = history.end_s, history.examination(history.end_s)
        counting = LiveCounting(examination, history.scenarios, history.half_life_s, history.until_s)
        counts = history.counts(at, examination)
        cells = [
            [field(scenario, item).decode(), clicks, looks, squared, at]
            for scenario, *rows in zip(
                history.scenarios, counts.clicks, counts.looks, counts.looks_squared, strict=True
            )
            for item, clicks, looks, squared in zip(history.items, *(row.tolist() for row in rows), strict=True)
            if looks
        ]
        return cls(counting, history.until_s, cells)


def begin(
    client: Redis, keys: Keys, history: CounterHistory, kept: Callable[[], Beginning | None] = lambda: None
) -> LiveCounting:
    """Begin to count where a log's counters end; where counting goes on already, it goes on as it was begun.

    Args:
        client: of Redis, answers as bytes.
        keys: of the tenant.
        history: the log's counters.
        kept: what was counted live before Redis lost it; begun with where that reaches further than the log.

    Raises:
        InputError: the name of a scenario cannot be told from an item's id.
    """
    about = going_on(client, keys)
    if about is not None:
        return about
    for scenario in history.scenarios:
        if _BETWEEN.decode() in scenario:
            raise InputError(f"a scenario that is counted must hold no unit separator (U+001F), {scenario!r} does")
    found = kept()
    start = found if found is not None and found.reaches_s > history.until_s else Beginning.of_log(history)
    counting = replace(start.counting, begun_s=time.time())
    script, args = client.register_script(BEGIN), [counting.dump(), orjson.dumps(start.cells)]
    while (about := going_on(client, keys)) is None:  # not once, as Redis may lose it again before it is read
        script(keys=[keys.appeal_about, keys.appeal, keys.appeal_changed], args=args)
    return about


def going_on(client: Redis, keys: Keys) -> LiveCounting | None:
    """How items are counted now, whoever began it; None where nobody counts."""
    raw = cast("bytes | None", client.get(keys.appeal_about))
    return None if raw is None else LiveCounting.read(raw)
