"""Keeps a worker's ranker in step with how items do where they are shown, at no cost to a request.

The near-line worker counts in Redis (`serving/nearline/attribution.py`); this one reads every few seconds what changed,
and replaces the columns of the recommender that answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import numpy as np
import redis.asyncio

from recsys.appeal.shrinkage import Counts, standing_by
from recsys.recommender import BundleRecommender
from serving.again import again
from serving.nearline.appeal import PACKED, LiveCounting, named
from serving.store import Store

AT_ONCE = 5_000
"""Items read in one call."""


class AppealKeeper:
    """One worker's view of the live counts.

    Args:
        store: Redis.
        recommenders: those that are answered from now.
        every_s: seconds between two looks.
    """

    def __init__(
        self, store: Store, recommenders: Callable[[], Iterable[BundleRecommender]], *, every_s: float = 5.0
    ) -> None:
        self._every_s = every_s
        self._store = store
        self._recommenders = recommenders
        self._begin(b"")
        self._told: list[BundleRecommender] = []

    async def run(self, closing: asyncio.Event) -> None:
        """Look again and again until `closing` is set."""
        await again(closing, self._every_s, self.look)

    def _begin(self, about: bytes) -> None:
        self._about, self._after = about, 0.0
        self._last: set[bytes] = set()  # fields that changed at that moment
        self._rows: dict[bytes, int] = {}
        self._items: dict[str, int] = {}
        self._cells: list[tuple[str, int]] = []  # scenario and item of each row
        self._counts = np.zeros(0, dtype=PACKED)

    async def look(self) -> None:
        """Read what changed, and let the recommenders go by it; nothing where nobody counts.

        Raises:
            StoreDownError: Redis is away.
        """
        keys = self._store.keys
        about = await self._store.asked(lambda client: cast("Awaitable[bytes | None]", client.get(keys.appeal_about)))
        if about is None:
            return
        if about != self._about:  # counting began, or began anew
            self._begin(about)
        changed = await self._changed()
        if not self._last <= {field for field, _ in changed}:  # Redis stands where it stood earlier, or did
            self._begin(about)
            changed = await self._changed()
        for start in range(0, len(changed), AT_ONCE):
            await self._read([field for field, _ in changed[start : start + AT_ONCE]])
        if changed:  # what changed in the same millisecond is read again
            self._after = changed[-1][1]
            self._last = {field for field, at in changed if at == self._after}
        recommenders = list(self._recommenders())
        if changed or recommenders != self._told:
            await asyncio.to_thread(self._tell, recommenders, LiveCounting.read(about))
            self._told = recommenders

    async def _changed(self) -> list[tuple[bytes, float]]:
        return await self._store.asked(
            lambda client: cast(
                "Awaitable[list[tuple[bytes, float]]]",
                client.zrangebyscore(self._store.keys.appeal_changed, self._after, "+inf", withscores=True),
            )
        )

    async def _read(self, fields: list[bytes]) -> None:
        async def ask(client: redis.asyncio.Redis) -> list[Any]:
            return await cast("Awaitable[list[Any]]", client.hmget(self._store.keys.appeal, cast("Any", fields)))

        packed = await self._store.asked(ask)
        there = [(field, raw) for field, raw in zip(fields, packed, strict=True) if raw is not None]
        for field, _ in there:
            if field not in self._rows:
                self._rows[field] = len(self._rows)
                scenario, item = named(field)
                self._cells.append((scenario, self._items.setdefault(item, len(self._items))))
        if len(self._rows) > len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros(len(self._rows), dtype=PACKED)])
        if there:
            rows = [self._rows[field] for field, _ in there]
            self._counts[rows] = np.frombuffer(b"".join(raw for _, raw in there), dtype=PACKED)

    def _tell(self, recommenders: list[BundleRecommender], counting: LiveCounting) -> None:
        counts, places = self._counts[: len(self._rows)], {name: place for place, name in enumerate(counting.scenarios)}
        cell = np.array([(places.get(scenario, 0), item) for scenario, item in self._cells], dtype=np.int64)
        fading = 0.5 ** ((time.time() - counts["at"]) / counting.half_life_s)
        sums = np.zeros((3, len(places), len(self._items)))
        for place, (name, by) in enumerate((("clicks", fading), ("looks", fading), ("looks_squared", fading**2))):
            np.add.at(sums[place], tuple(cell.reshape(-1, 2).T), counts[name] * by)
        for recommender in recommenders:
            bundle = recommender.bundle
            counted = bundle.items.idxs(self._items)  # they may be few of the catalog
            rows = np.full(len(bundle), -1, dtype=np.int64)
            rows[counted[counted >= 0]] = np.flatnonzero(counted >= 0)
            told = standing_by(Counts(*sums), counting.scenarios, rows)
            recommender.standing = recommender.standing.counting(*told)
