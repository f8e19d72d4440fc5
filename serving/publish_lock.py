"""The lock of a publish: two cannot run at once, and whose it is can be read, so that a dead one's can be let go.

Whoever was silent for too long has lost it, and another may have it. So what is to be written by its holder alone is
written in one step with a look at whose it is: a publisher that comes back to life finds out, however late.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import redis

from features.errors import InputError

LOCK_S = 120
"""A publisher that shows no life for so long has died, and another may begin."""
HOLD = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
"""Hold a lock for so many milliseconds more, or with 0 let go of it, unless it is another's: in one step, as between
two of them it may run out and be taken."""


WRITE = """
local whose = redis.call('GET', KEYS[1])
if whose ~= ARGV[1] then return -1 end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""
"""Write a key while a lock is one's own; in a cluster the two lie in one slot."""


class LockLostError(InputError):
    """A publisher was silent for so long that its lock ran out; what it has loaded stands, for whoever goes on."""


def holder(pid: int) -> str:
    """How the lock names a process of this machine; a token of its own follows."""
    return f"{socket.gethostname()}:{pid}:"


class PublishLock:
    """The lock, as one publisher has it.

    Args:
        client: Redis.
        key: of the lock.
    """

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._token = holder(os.getpid()) + secrets.token_hex(8)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            InputError: somebody holds it.
        """
        if not self._client.set(self._key, self._token, nx=True, ex=LOCK_S):
            who = self._holder() or "another"
            raise InputError(f"another publish is running on this Redis, {who} (or ended badly: wait {LOCK_S} s)")
        try:
            yield
        finally:
            self._hold(0)

    def keep(self) -> None:
        """Show life.

        Raises:
            LockLostError: the lock ran out, and may be another's.
        """
        if not self._hold(LOCK_S):
            raise self._lost()

    def write(self, name: str, value: str, *, if_none: bool = False) -> bool:
        """Write a key, if the lock is still held, in one step; whether that was done.

        Args:
            name: the key; in a cluster it lies in the lock's slot.
            value: what to write.
            if_none: not over another value.

        Raises:
            LockLostError: as `keep`; nothing is written.
        """
        done = self._client.eval(WRITE, 2, self._key, name, self._token, value, str(int(if_none)))
        if done == -1:
            raise self._lost()
        return bool(done)

    def _hold(self, seconds: int) -> bool:
        """Have the lock for so long, or with 0 let go; whether it was there to be had. Another's stays as it is."""
        return bool(self._client.eval(HOLD, 1, self._key, self._token, str(1000 * seconds)))

    def _holder(self) -> str:
        """Machine and process of who has the lock; "" where nobody has."""
        found = cast("bytes | None", self._client.get(self._key)) or b""
        whose = found.decode(errors="replace")
        return whose.rpartition(":")[0] or whose

    def _lost(self) -> LockLostError:
        who = self._holder()
        now = f"{who} publishes now" if who else "nobody publishes now"
        return LockLostError(
            f"this publish showed no life for {LOCK_S} s and has lost its lock: {now}. Nothing was switched; what is "
            "loaded stands, and the same command goes on from there"
        )
