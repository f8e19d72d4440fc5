"""How long a worker's event loop did not listen, so that what it missed itself is not put down to Redis.

A timer rings by the worker's own clock, whoever is late: a loop that computes for longer than the time given to Redis
finds the timer rung and the answer there, both at once. So while something is awaited a second timer beats, and each
beat that comes after it was due says for how long nobody listened.
"""

from __future__ import annotations

import asyncio

BEAT_S = 0.01
"""Up to so much of each pause goes unnoticed."""


class Lateness:
    """Of the loop that asks; beats only between `begin` and `end`, however many wait."""

    def __init__(self) -> None:
        self._lost_s, self._due = 0.0, 0.0
        self._waiting = 0
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> tuple[float, float]:
        """Somebody waits from now, until `end`; what `heard` is to be given."""
        now = asyncio.get_running_loop().time()
        if not self._waiting:
            self._ring_at(now + BEAT_S)
        self._waiting += 1
        return now, self._lost(now)

    def heard(self, begun: tuple[float, float]) -> float:
        """The share of a wait, so far, in which the loop listened, in [0, 1]."""
        now = asyncio.get_running_loop().time()
        since, lost_before = begun
        return max(0.0, 1 - (self._lost(now) - lost_before) / max(now - since, 1e-9))

    def end(self) -> None:
        """Somebody waits no longer."""
        self._waiting -= 1
        if not self._waiting and self._next is not None:
            self._next.cancel()

    def _lost(self, now: float) -> float:
        """Seconds lost so far, also by the beat that is due and could not come yet."""
        return self._lost_s + max(0.0, now - self._due)

    def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        self._lost_s = self._lost(now)
        self._ring_at(now + BEAT_S)

    def _ring_at(self, due: float) -> None:
        self._due = due
        self._next = asyncio.get_running_loop().call_at(due, self._beat)
