"""Documents a shop writes for its running service (rules, experiments): numbered versions in Redis, one of them active.

Every change is one atomic script, so two people who put at once both find their version in the history, and one who
names the version they started from is refused when it is no longer the active one.

Each change is marked with the moment it was made, by Redis' clock and later than the one before. So whoever remembers
how things stood can tell a Redis that somebody has changed since from one that has forgotten: only the latter stands
earlier. What it has forgotten is put back by the same marks, and never over a later change.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import orjson
import redis.asyncio

from serving.known import STANDING, Copy, Edition, Standing
from serving.store import Store

KEPT = 200
"""Versions in the history; the oldest go first."""
_MARK = """
local now = redis.call('TIME')
local marked = math.max(now[1] * 1000000 + now[2],
                        tonumber(redis.call('HGET', KEYS[1], 'changed') or 0) + 1)
redis.call('HSET', KEYS[1], 'changed', string.format('%.0f', marked))
"""
_PUT = (
    """
local active = redis.call('HGET', KEYS[1], 'active') or '0'
if ARGV[1] ~= '' and ARGV[1] ~= active then return {0, active} end
local version = redis.call('HINCRBY', KEYS[1], 'last', 1)
redis.call('HSET', KEYS[1], 'document:' .. version, ARGV[2], 'about:' .. version, ARGV[3],
           'previous:' .. version, active, 'active', version)
local old = version - tonumber(ARGV[4])
redis.call('HDEL', KEYS[1], 'document:' .. old, 'about:' .. old, 'previous:' .. old)
"""
    + _MARK
    + "return {1, version}"
)
_ROLLBACK = (
    """
local active = redis.call('HGET', KEYS[1], 'active')
if not active then return {0, 'nothing was put yet'} end
local to = ARGV[1]
if to == '' then to = redis.call('HGET', KEYS[1], 'previous:' .. active) or '0' end
if to == '0' then return {0, 'there is no version before ' .. active} end
if redis.call('HEXISTS', KEYS[1], 'document:' .. to) == 0 then return {0, 'there is no version ' .. to} end
redis.call('HSET', KEYS[1], 'active', to)
"""
    + _MARK
    + "return {1, to}"
)
_READ = """
local standing = redis.call('HMGET', KEYS[1], 'changed', 'active', 'last')
local texts = {redis.call('HMGET', KEYS[1], 'document:' .. (standing[2] or '0'), 'about:' .. (standing[2] or '0'))}
for _, version in ipairs(ARGV) do
  texts[#texts + 1] = redis.call('HMGET', KEYS[1], 'document:' .. version, 'about:' .. version)
end
return {standing, texts}
"""
_PUT_BACK = """
local changed, active, last = unpack(redis.call('HMGET', KEYS[1], 'changed', 'active', 'last'))
local lost = not active or tonumber(changed or 0) < tonumber(ARGV[1])
for i = 4, #ARGV, 3 do
  if lost or redis.call('HEXISTS', KEYS[1], 'document:' .. ARGV[i]) == 0 then
    redis.call('HSET', KEYS[1], 'document:' .. ARGV[i], ARGV[i + 1], 'about:' .. ARGV[i], ARGV[i + 2])
  end
end
if tonumber(last or 0) < tonumber(ARGV[3]) then redis.call('HSET', KEYS[1], 'last', ARGV[3]) end
if not lost then return 0 end
redis.call('HSET', KEYS[1], 'changed', ARGV[1], 'active', ARGV[2])
return 1
"""


class NotCurrentError(Exception):
    """The version a change was based on is no longer the active one.

    Args:
        active: the active version, 0 for none.
    """

    def __init__(self, active: int) -> None:
        super().__init__(f"the active version is {active}")
        self.active = active


class NoVersionError(Exception):
    """There is no such version to go back to; the message says which."""


@dataclass(frozen=True)
class About:
    """What is known of a version beside its text.

    Args:
        version: its number, from 1.
        note: what its author said of it.
        created_s: UTC seconds.
        active: whether it holds.
    """

    version: int
    note: str
    created_s: float
    active: bool


class Documents:
    """The versions of one document.

    Args:
        store: Redis; every method raises `StoreDownError` while it is away.
        key: of the hash that holds them: "changed", "active" and "last" (see `Standing`), and for each version n
            "document:n" (JSON), "about:n" (JSON) and "previous:n" (the version that was active before).
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key

    async def put(self, document: bytes, *, note: str = "", expected: int | None = None) -> int:
        """Store a document as the next version, and make it active.

        Args:
            document: JSON.
            note: what to remember of the change.
            expected: the version that must be active now, 0 for none; None: whichever.

        Returns:
            Its version.

        Raises:
            NotCurrentError: another version is active.
        """
        about = orjson.dumps({"note": note, "created_s": time.time()})
        values: list[str | bytes | int] = ["" if expected is None else str(expected), document, about, KEPT]
        done, version = await self._run(_PUT, values)
        if not done:
            raise NotCurrentError(int(version))
        return int(version)

    async def rollback(self, to: int | None = None) -> int:
        """Make an earlier version active again: the one that was active before, or the one named.

        Raises:
            NoVersionError: there is none.
        """
        done, said = await self._run(_ROLLBACK, ["" if to is None else str(to)])
        if not done:
            raise NoVersionError(said.decode())
        return int(said)

    async def standing(self) -> Standing:
        """How the versions stand."""
        found = await self._store.asked(lambda client: cast("Any", client.hmget(self._key, STANDING)), probing=True)
        return Standing.of(found)

    async def get(self, version: int) -> bytes | None:
        """A version's text; None where there is none, or it is too old."""
        field = f"document:{version}"
        found = await self._store.asked(lambda client: cast("Any", client.hget(self._key, field)), probing=True)
        return cast("bytes | None", found)

    async def copy(self, versions: Collection[int] = ()) -> Copy:
        """How the versions stand, with the text of the active one and of others, all of one moment.

        Args:
            versions: the others; those that are not there are left out.
        """
        standing, texts = await self._run(_READ, list(versions))
        stands = Standing.of(standing)
        numbers = (stands.active, *versions)
        editions = {n: Edition(*found) for n, found in zip(numbers, texts, strict=True) if None not in found}
        return Copy(stands, editions)

    async def put_back(self, known: Copy) -> bool:
        """Give a Redis that forgot them what was known, unless somebody has changed the document since.

        In any case versions that are not there are added, and new numbers go on after those that were given before. It
        is one atomic step: of several who do it, one does.

        Returns:
            Whether what was known holds by this.
        """
        stands = known.standing
        values: list[str | bytes | int] = [stands.changed, stands.active, stands.last]
        for version, edition in known.editions.items():
            values += [version, edition.text, edition.about]
        return bool(await self._asked(_PUT_BACK, values))

    async def history(self) -> list[About]:
        """All versions, newest first."""
        found: dict[bytes, bytes] = await self._store.asked(
            lambda client: cast("Any", client.hgetall(self._key)), probing=True
        )
        active = int(found.get(b"active", 0))
        versions = sorted((int(name[6:]) for name in found if name.startswith(b"about:")), reverse=True)
        return [
            About(version=version, active=version == active, **orjson.loads(found[b"about:%d" % version]))
            for version in versions
        ]

    async def _run(self, script: str, values: list[str | bytes | int]) -> tuple[Any, Any]:
        first, second = await self._asked(script, values)
        return first, second

    async def _asked(self, script: str, values: list[str | bytes | int]) -> Any:
        async def ask(client: redis.asyncio.Redis) -> Any:
            return await cast("Any", client.eval(script, 1, self._key, *values))

        return await self._store.asked(ask, probing=True)
