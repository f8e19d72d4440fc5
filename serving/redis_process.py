"""A Redis server process on this machine: where it listens, whether it lives and answers, how it is asked to end."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Address:
    """Where a server listens, and who started it."""

    socket: str
    password: str
    pid: int
    owner_pid: int

    @property
    def url(self) -> str:
        """The URL a client connects to, password included."""
        return f"unix://:{quote(self.password, safe='')}@{self.socket}"


def alive(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def answers(address: Address) -> bool:
    """True once a server answers there with that password and has read its data."""
    try:
        with redis.Redis.from_url(address.url, socket_timeout=2.0, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def stop(address: Address) -> None:
    """End a server started by a process that is gone; it is known to be ours, as it knew the password."""
    if not answers(address):
        return
    os.kill(address.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while alive(address.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
