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


def holder(pid: int) -> str:
    """How the lock names a process of this machine; a token of its own follows."""
    return f"{socket.gethostname()}:{pid}:"


@contextmanager
def locked(client: redis.Redis, key: str) -> Iterator[None]:
    """Hold the lock.

    Args:
        client: Redis.
        key: of the lock.

    Raises:
        InputError: somebody holds it.
    """
    token = holder(os.getpid()) + secrets.token_hex(8)
    if not client.set(key, token, nx=True, ex=LOCK_S):
        whose = cast("bytes | None", client.get(key)) or b"?"
        who = whose.decode(errors="replace").rpartition(":")[0] or "another"
        raise InputError(f"another publish is running on this Redis, {who} (or ended badly: wait {LOCK_S} s)")
    try:
        yield
    finally:
        if client.get(key) == token.encode():
            client.delete(key)
