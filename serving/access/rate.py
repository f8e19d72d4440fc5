"""Token buckets: a rate on average, and a burst at once; one bucket for all workers, which lies in Redis.

A worker takes a few tokens at a time and hands them out for a second, so that a busy key does not ask Redis for each
request. Without Redis a worker goes by a bucket of its own, and counts that it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import redis.asyncio

from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

HELD_S = 1.0
"""What a worker took and did not hand out is let go after so long."""

TAKE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(burst, (tonumber(kept[1]) or burst) + math.max(0, now - (tonumber(kept[2]) or now)) * rate)
local taken = math.floor(math.min(tokens, wanted))
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens - taken), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * burst / rate) + 1000)
return {taken, math.ceil(1000 * math.max(0, 1 - tokens) / rate)}
"""
"""Takes up to `wanted` tokens; returns how many, and in how many ms there is one. A full bucket need not be kept."""


@dataclass
class _Bucket:
    tokens: float
    at_s: float


class RateLimiter:
    """One bucket a name; each holds `burst` tokens at most and is filled with `rate_per_s` tokens a second.

    It lives in one worker.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def wait_s(self, name: str, *, rate_per_s: float, burst: int) -> float:
        """Take a token: 0.0 where there was one, else the seconds until there is one (none is taken then)."""
        now = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(float(burst), now))
        bucket.tokens = min(float(burst), bucket.tokens + (now - bucket.at_s) * rate_per_s)
        bucket.at_s = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / rate_per_s
        bucket.tokens -= 1
        return 0.0


@dataclass
class _Share:
    """Tokens that a worker has taken, or when there is one again; seconds of the worker's clock."""

    tokens: int
    until_s: float
    none_before_s: float


class SharedRateLimiter:
    """The same bucket for every worker of a tenant.

    Args:
        store: Redis, where the buckets lie.
        telemetry: counts the requests that were let through, or not, by this worker's own bucket.
        clock: seconds that only go forward.
    """

    def __init__(self, store: Store, telemetry: Telemetry, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._telemetry = telemetry
        self._clock = clock
        self._alone = RateLimiter(clock)
        self._shares: dict[str, _Share] = {}

    async def wait_s(self, name: str, *, rate_per_s: float, burst: int) -> float:
        """As `RateLimiter.wait_s`."""
        now = self._clock()
        share = self._shares.setdefault(name, _Share(0, now, now))
        if share.tokens and now < share.until_s:
            share.tokens -= 1
            return 0.0
        if now < share.none_before_s:
            return share.none_before_s - now
        wanted = max(1, min(burst // 4, int(rate_per_s / 10)))
        try:
            taken, wait_ms = await self._store.asked(lambda client: self._take(client, name, rate_per_s, burst, wanted))
        except StoreDownError:
            self._telemetry.rates_alone.inc()
            return self._alone.wait_s(name, rate_per_s=rate_per_s, burst=burst)
        if not taken:
            share.none_before_s = now + wait_ms / 1000
            return max(wait_ms / 1000, 0.001)
        share.tokens = taken - 1 + (share.tokens if now < share.until_s else 0)
        share.until_s = now + HELD_S
        return 0.0

    async def _take(
        self, client: redis.asyncio.Redis, name: str, rate_per_s: float, burst: int, wanted: int
    ) -> tuple[int, int]:
        key = self._store.keys.rate(name)
        taken, wait_ms = await cast("Any", client.eval(TAKE, 1, key, str(rate_per_s), str(burst), str(wanted)))
        return int(taken), int(wait_ms)
