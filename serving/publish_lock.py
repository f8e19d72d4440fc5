"""The lock of a publish: two cannot run at once, and whose it is can be read, so that a dead one's can be let go."""

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
            whose = cast("bytes | None", self._client.get(self._key)) or b"?"
            who = whose.decode(errors="replace").rpartition(":")[0] or "another"
            raise InputError(f"another publish is running on this Redis, {who} (or ended badly: wait {LOCK_S} s)")
        try:
            yield
        finally:
            self.keep(0)

    def keep(self, seconds: int = LOCK_S) -> None:
        """Show life, or with 0 let go; a lock that ran out and is another's stays as it is."""
        self._client.eval(HOLD, 1, self._key, self._token, str(1000 * seconds))
