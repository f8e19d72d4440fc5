"""Events into their users' live state in Redis, each once, in one atomic step."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from serving.events import Event
from serving.keys import Keys
from serving.settings import Settings

APPLY_EVENTS = """
local recent_cap, seen_cap = tonumber(ARGV[1]), tonumber(ARGV[2])
local user_ttl, event_ttl, stream_cap, logged, bought_ttl = ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1', ARGV[7]
local stamped = ARGV[8]
local applied = {}
local at = 9
for i = 1, (#KEYS - 1) / 5 do
  local marker, recent, seen, bought, stamp = unpack(KEYS, 5 * i - 3, 5 * i + 1)
  local entry, item, timestamp = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local tells_taste, buys = ARGV[at + 3] == '1', ARGV[at + 4] == '1'
  local n_fields, fields = tonumber(ARGV[at + 5]), {}
  for j = 1, n_fields do fields[j] = ARGV[at + 5 + j] end
  at = at + 6 + n_fields
  if redis.call('SET', marker, '1', 'NX', 'EX', event_ttl) then
    if tells_taste then
      redis.call('LPUSH', recent, entry)
      redis.call('LTRIM', recent, 0, recent_cap - 1)
      redis.call('ZADD', seen, 'GT', timestamp, item)
      redis.call('ZREMRANGEBYRANK', seen, 0, -seen_cap - 1)
      redis.call('EXPIRE', recent, user_ttl)
      redis.call('EXPIRE', seen, user_ttl)
    end
    if buys then
      redis.call('ZADD', bought, 'GT', timestamp, item)
      redis.call('ZREMRANGEBYRANK', bought, 0, -seen_cap - 1)
      redis.call('EXPIRE', bought, bought_ttl)
    end
    applied[i] = 1
    if tells_taste or buys then applied[i] = redis.call('SET', stamp, stamped .. i, 'EX', user_ttl, 'GET') or '' end
    if logged then redis.call('XADD', KEYS[1], 'MAXLEN', '~', stream_cap, '*', unpack(fields)) end
  else
    applied[i] = 0
  end
end
return applied
"""
"""Apply a batch in one step, skipping events applied before: a batch sent again changes nothing. It says of each event:
0, it was known; 1, it left its user's state as it was; else the stamp that the state had before. Each leaves a stamp of
its own: whoever learns of some of a batch, as a request among others was given up, must not take that for all."""


@dataclass(frozen=True)
class Applied:
    """What became of one event.

    Args:
        new: False: its id has been applied before, and nothing was done.
        before, after: the stamp of its user's state until then, None where it had none, and the stamp since; both None
            where the event changed nothing of the state.
    """

    new: bool
    before: bytes | None = None
    after: bytes | None = None


class Applying:
    """Applies events.

    Args:
        client: of the server, or of the cluster.
        keys: of the tenant whose users they are.
        settings: caps and times to live.
        clustered: whether the keys of one command must lie together.
    """

    def __init__(self, client: redis.asyncio.Redis, keys: Keys, settings: Settings, *, clustered: bool) -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._clustered = clustered
        self._script = client.register_script(APPLY_EVENTS)

    async def apply(self, events: Sequence[Event]) -> list[Applied]:
        """Apply events in one atomic step; in a cluster, in one for each user. What became of each."""
        if self._clustered:
            return await self._apart(events)
        return await self._together(events, stream=self._keys.events)

    async def _apart(self, events: Sequence[Event]) -> list[Applied]:
        """The event stream lies in another slot than a user's keys, so it is told first: a worker that dies in between
        leaves an event that is logged and not applied, and the sender, who got no answer, sends it again. The archive
        keeps an event of one id once (`serving/nearline/archive.py`).
        """
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            pipeline.exists(self._keys.event(event.user_id, event.event_id))
        known = await pipeline.execute()
        pipeline = self._client.pipeline(transaction=False)
        for event, old in zip(events, known, strict=True):
            if not old:
                fields: dict[Any, Any] = dict(event.fields())
                pipeline.xadd(self._keys.events, fields, maxlen=self._settings.stream_cap, approximate=True)
        if not all(known):
            await pipeline.execute()
        places: dict[str, list[int]] = {}
        for place, event in enumerate(events):
            places.setdefault(event.user_id, []).append(place)
        answers = await asyncio.gather(
            *(self._together([events[place] for place in of_user], stream=None) for of_user in places.values())
        )
        applied = {
            place: became
            for of_user, each in zip(places.values(), answers, strict=True)
            for place, became in zip(of_user, each, strict=True)
        }
        return [applied[place] for place in range(len(events))]

    async def _together(self, events: Sequence[Event], *, stream: str | None) -> list[Applied]:
        """Apply events in one script; without a stream, they must be of one user and are not logged."""
        settings = self._settings
        names: list[str] = [self._keys.recent(events[0].user_id) if stream is None else stream]
        caps = (settings.recent_cap, settings.seen_cap, settings.user_ttl_s, settings.event_id_ttl_s)
        values: list[bytes | str | int] = [*caps, settings.stream_cap, int(stream is not None), settings.bought_ttl_s]
        stamp = secrets.token_bytes(8)
        values.append(stamp)
        for event in events:
            names += [
                self._keys.event(event.user_id, event.event_id),
                self._keys.recent(event.user_id),
                self._keys.seen(event.user_id),
                self._keys.bought(event.user_id),
                self._keys.stamp(event.user_id),
            ]
            fields = [part for pair in event.fields().items() for part in pair]
            values += [
                event.entry(),
                event.item_id,
                repr(event.timestamp),
                int(event.tells_taste),
                int(event.event_type in settings.purchase_types),
                len(fields),
                *fields,
            ]
        said: list[bytes | int] = await self._script(keys=names, args=values)
        return [
            Applied(one == 1) if isinstance(one, int) else Applied(True, one or None, stamp + str(place).encode())
            for place, one in enumerate(said, 1)
        ]
