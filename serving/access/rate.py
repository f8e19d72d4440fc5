"""Token buckets: a rate on average, and a burst at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Bucket:
    tokens: float
    at_s: float


class RateLimiter:
    """One bucket a name; each holds `burst` tokens at most and is filled with `rate_per_s` tokens a second.

    It lives in one worker: with n workers, a name may be let through up to n times its rate.

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
