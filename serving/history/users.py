"""Events of the archive back into their users' live state, each once, as if they had never been lost.

What Redis has heard of a user since stays. All that goes back is laid under it in one atomic step a user, by the ids of
events and in the order in which they happened, so that doing it twice, or by two at once, changes nothing. Event ids go
back as well for the rest of their time: a client that sends an event again is told that it was known.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple, cast

from redis import Redis

from serving.events import Event
from serving.history.mark import NOW
from serving.keys import Keys
from serving.settings import Settings

MOST_EVENTS = 500
"""Events of one user that go back in one step."""
_PUT_BACK = (
    NOW
    + """
local recent, seen, bought, stamp = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local recent_cap, seen_cap = tonumber(ARGV[1]), tonumber(ARGV[2])
local user_ttl, bought_ttl, event_ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local forgotten_ms = tonumber(redis.call('GET', KEYS[5]) or -1)
local every, known = {}, {}
for place, entry in ipairs(redis.call('LRANGE', recent, 0, -1)) do
  local said = cjson.decode(entry)
  known[said[4] or ''] = true
  every[place] = {entry = entry, at = said[3], place = place}
end
local user_left, bought_left, changed = 0, 0, 0
for i = 1, #KEYS - 5 do
  local entry, event_id, item, at, arrived_ms, tells, buys = unpack(ARGV, 7 * i, 7 * i + 6)
  arrived_ms = tonumber(arrived_ms)
  local age = math.floor(math.max(0, now_us / 1000 - arrived_ms) / 1000)
  if arrived_ms > forgotten_ms then
    if age < event_ttl then redis.call('SET', KEYS[5 + i], '1', 'NX', 'EX', event_ttl - age) end
    if tells == '1' and age < user_ttl then
      if not known[event_id] then
        known[event_id] = true
        every[#every + 1] = {entry = entry, at = tonumber(at), place = #every + 1, back = true}
      end
      changed = changed + redis.call('ZADD', seen, 'GT', 'CH', at, item)
      user_left = math.max(user_left, user_ttl - age)
    end
    if buys == '1' and age < bought_ttl then
      changed = changed + redis.call('ZADD', bought, 'GT', 'CH', at, item)
      bought_left = math.max(bought_left, bought_ttl - age)
    end
  end
end
local function outlive(key, seconds)
  if seconds > 0 and redis.call('TTL', key) < seconds then redis.call('EXPIRE', key, seconds) end
end
table.sort(every, function(one, other)
  if one.at ~= other.at then return one.at > other.at end
  return one.place < other.place
end)
local back = 0
for place = 1, math.min(recent_cap, #every) do if every[place].back then back = back + 1 end end
if back > 0 then
  user_left = math.max(user_left, redis.call('TTL', recent))
  redis.call('DEL', recent)
  local kept = {}
  for place = 1, math.min(recent_cap, #every) do kept[place] = every[place].entry end
  for place = 1, #kept, 1000 do
    redis.call('RPUSH', recent, unpack(kept, place, math.min(place + 999, #kept)))
  end
end
outlive(recent, user_left)
redis.call('ZREMRANGEBYRANK', seen, 0, -seen_cap - 1)
redis.call('ZREMRANGEBYRANK', bought, 0, -seen_cap - 1)
outlive(seen, user_left)
outlive(bought, bought_left)
if back + changed > 0 then redis.call('SET', stamp, ARGV[6], 'EX', user_ttl) end
return back
"""
)


class Archived(NamedTuple):
    """An event, and when it was heard of, by Redis' clock."""

    arrived_ms: int
    event: Event


class UserStates:
    """Users' live state in Redis, to give back to.

    Args:
        client: of Redis, answers as bytes.
        keys: of the tenant.
        settings: caps and times to live, the same as the service's.
    """

    def __init__(self, client: Redis, keys: Keys, settings: Settings) -> None:
        self._client = client
        self._keys = keys
        self._settings = settings
        self._script = client.register_script(_PUT_BACK)

    def put_back(self, events: Sequence[Archived]) -> int:
        """Give a user's events back, the latest to arrive first; how many of them are among the recent ones by this."""
        return sum(self._put_back(events[start : start + MOST_EVENTS]) for start in range(0, len(events), MOST_EVENTS))

    def forget(self, user_id: str) -> None:
        """Take everything away again."""
        keys = self._keys
        self._client.delete(keys.recent(user_id), keys.seen(user_id), keys.bought(user_id), keys.stamp(user_id))

    def _put_back(self, events: Sequence[Archived]) -> int:
        user_id = events[0].event.user_id
        keys, settings = self._keys, self._settings
        names = [keys.recent(user_id), keys.seen(user_id), keys.bought(user_id), keys.stamp(user_id)]
        names += [keys.forgotten_until(user_id), *(keys.event(user_id, one.event.event_id) for one in events)]
        caps = (settings.recent_cap, settings.seen_cap)
        values: list[bytes | str | int] = [*caps, settings.user_ttl_s, settings.bought_ttl_s, settings.event_id_ttl_s]
        values.append(secrets.token_bytes(8))
        for arrived_ms, event in events:
            buys = event.event_type in settings.purchase_types
            values += [event.entry(), event.event_id, event.item_id, repr(event.timestamp)]
            values += [arrived_ms, int(event.tells_taste), int(buys)]
        return int(cast("int", self._script(keys=names, args=values)))
