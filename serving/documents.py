"""Documents a shop writes for its running service (rules, experiments): numbered versions in Redis, one of them active.

Every change is one atomic script, so two people who put at once both find their version in the history, and one who
names the version they started from is refused when it is no longer the active one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

import orjson
import redis.asyncio

from serving.store import Store

KEPT = 200
"""Versions in the history; the oldest go first."""
_PUT = """
local active = redis.call('HGET', KEYS[1], 'active') or '0'
if ARGV[1] ~= '' and ARGV[1] ~= active then return {0, active} end
local version = redis.call('HINCRBY', KEYS[1], 'last', 1)
redis.call('HSET', KEYS[1], 'document:' .. version, ARGV[2], 'about:' .. version, ARGV[3],
           'previous:' .. version, active, 'active', version)
local old = version - tonumber(ARGV[4])
redis.call('HDEL', KEYS[1], 'document:' .. old, 'about:' .. old, 'previous:' .. old)
return {1, version}
"""
_ROLLBACK = """
local active = redis.call('HGET', KEYS[1], 'active')
if not active then return {0, 'nothing was put yet'} end
local to = ARGV[1]
if to == '' then to = redis.call('HGET', KEYS[1], 'previous:' .. active) or '0' end
if to == '0' then return {0, 'there is no version before ' .. active} end
if redis.call('HEXISTS', KEYS[1], 'document:' .. to) == 0 then return {0, 'there is no version ' .. to} end
redis.call('HSET', KEYS[1], 'active', to)
return {1, to}
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
        key: of the hash that holds them: "active" and "last" (numbers), and for each version n "document:n" (JSON),
            "about:n" (JSON) and "previous:n" (the version that was active before).
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

    async def active(self) -> int:
        """The version that holds, 0 for none."""
        found = await self._store.asked(lambda client: cast("Any", client.hget(self._key, "active")), probing=True)
        return int(found or 0)

    async def get(self, version: int) -> bytes | None:
        """A version's text; None where there is none, or it is too old."""
        field = f"document:{version}"
        found = await self._store.asked(lambda client: cast("Any", client.hget(self._key, field)), probing=True)
        return cast("bytes | None", found)

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

    async def _run(self, script: str, values: list[str | bytes | int]) -> tuple[int, Any]:
        async def ask(client: redis.asyncio.Redis) -> Any:
            return await cast("Any", client.eval(script, 1, self._key, *values))

        done, said = await self._store.asked(ask, probing=True)
        return done, said
