"""What a worker looks at now and then to tell how it does: the recall of its index, and how far streams are behind."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, cast

import redis.asyncio

from recsys.index import ApproximateIndex
from serving.again import again
from serving.live import Catalog
from serving.settings import Settings
from serving.store import Store
from serving.telemetry import Telemetry

BEST = 100
"""Items of a query that the index is held against."""


class Probes:
    """One worker's probes.

    Args:
        catalog: knows the open bundle.
        store: Redis.
        settings: how often to look.
        telemetry: where it is told.
    """

    def __init__(self, catalog: Catalog, store: Store, settings: Settings, telemetry: Telemetry) -> None:
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._telemetry = telemetry

    async def run(self, closing: asyncio.Event) -> None:
        """Look again and again until `closing` is set."""
        await again(closing, self._settings.probe_every_s, self._probe)

    async def _probe(self) -> None:
        await self.index()
        await self.streams()

    async def index(self) -> None:
        """Ask the index the latest query of a shopper again, and hold what it finds against the exact search.

        An exact index misses nothing, and is not probed.
        """
        index = None if self._catalog.live is None else self._catalog.live.recommender.index
        if not isinstance(index, ApproximateIndex) or index.asked is None:
            return
        query, index.asked = index.asked, None
        best = min(BEST, len(index.vectors))
        missed = await asyncio.to_thread(index.missed, query, best)
        index.asked = None  # that was the probe's own
        self._telemetry.index_wanted.inc(best)
        self._telemetry.index_found.inc(best - missed)

    async def streams(self) -> None:
        """How far each consumer group is behind.

        Raises:
            StoreDownError: Redis is away.
        """
        keys = self._store.keys
        for stream, name in ((keys.events, "events"), (keys.impressions, "impressions")):
            for group, (waiting, pending, lag_s) in (await self._groups(stream)).items():
                self._telemetry.stream_waiting.labels(name, group).set(waiting)
                self._telemetry.stream_pending.labels(name, group).set(pending)
                self._telemetry.stream_lag.labels(name, group).set(lag_s)

    async def _groups(self, stream: str) -> dict[str, tuple[float, int, float]]:
        """Of each group: entries not handed out (NaN where the server cannot tell), entries handed out and not dealt
        with, and the age of the oldest of both, seconds.
        """

        async def ask(client: redis.asyncio.Redis) -> dict[str, tuple[float, int, float]]:
            if not await client.exists(stream):
                return {}
            found: dict[str, tuple[float, int, float]] = {}
            for group in await client.xinfo_groups(stream):
                name, pending = group["name"].decode(), int(group["pending"])
                last = group["last-delivered-id"].decode()
                following = cast("list[Any]", await client.xrange(stream, min=f"({last}", count=1))
                oldest = [entry_id for entry_id, _ in following]
                if pending:
                    oldest.append((await client.xpending(stream, name))["min"])
                lag_s = max((time.time() - int(one.split(b"-")[0]) / 1000 for one in oldest if one), default=0.0)
                waiting = math.nan if group.get("lag") is None else float(group["lag"])
                found[name] = (waiting, pending, max(0.0, lag_s))
            return found

        return await self._store.asked(ask)
