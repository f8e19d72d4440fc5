"""A worker's shadow: a sample of its list requests, answered once more by a version that is not current yet.

It happens behind the answers: a request is taken up when its answer is on its way, one at a time, ranked in a thread,
and what does not fit into a short queue is dropped and counted. Nothing of it is logged as shown, counted for arms, or
told by the metrics of answers. A shadow that fails or is slow costs the figures of the shadow, and no answer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, cast

import structlog

from features.errors import InputError
from serving.asked import FeedQuery, ListQuery, SimilarQuery
from serving.counters import Counters
from serving.engine import Engine
from serving.filtering import Filters
from serving.impressions import ImpressionLog
from serving.items.beside import Beside
from serving.items.keeper import ItemKeeper
from serving.lists import ListEngine
from serving.live import RETRY_S, Live, open_version, passed
from serving.memory import WorkerMemory
from serving.policing import Policing
from serving.settings import Settings
from serving.shadow.comparison import compared, shown
from serving.shadow.summing import Summing
from serving.shadow.tally import outcome, sums
from serving.steady import apart
from serving.steering import Steerer
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry
from serving.watcher import Watcher

log = structlog.get_logger()

WAITING = 64
"""Requests that wait to be answered again."""
BEHIND_S = 0.02
"""A request is taken up so long after its answer was made, when that has been sent."""
PATIENCE_S = 5.0
"""A shadow that takes longer for an answer has failed."""


@dataclass(frozen=True)
class Taken:
    """A request that was answered, to be answered again."""

    surface: str
    subject: str
    query: ListQuery
    answer: bytes
    live_s: float
    at: float


class Shadow:
    """One worker's shadow; without one that somebody casts (`recsys shadow start`), nothing happens.

    Args:
        store: Redis.
        current: the version that answers.
        keeper: of changed items, over the current version; the shadow's own reads from the same shelf.
        policing: the rules and experiments, which hold for the shadow, too.
        settings: of the worker.
        telemetry: of the worker.
    """

    def __init__(
        self,
        *,
        store: Store,
        current: Watcher,
        keeper: ItemKeeper,
        policing: Policing,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._current = current
        self._items = keeper
        self._policing = policing
        self._telemetry = telemetry
        self._settings = settings
        self._aside = settings.model_copy(update={"thread_above_items": -1, "kept_items_bytes": 16_000_000})
        self._version, self._share, self._started = "", 0.0, b""
        self._beside: Beside | None = None
        self.lists: ListEngine | None = None
        self._waiting: deque[Taken] = deque()
        self._sums = Summing(store)
        self._again_at = 0.0
        policing.others.watch(self)

    @property
    def live(self) -> Live | None:
        """What the shadow answers from."""
        return None if self._beside is None else self._beside.keeper.live

    def offer(self, surface: str, subject: str, query: ListQuery, answer: bytes, live_s: float) -> None:
        """A request that was answered; some are taken."""
        if self.lists is None or random.random() >= self._share:
            return
        if len(self._waiting) >= WAITING:
            self._count(surface, "dropped")
        else:
            self._waiting.append(Taken(surface, subject, query, answer, live_s, time.monotonic()))

    async def run(self, closing: asyncio.Event) -> None:
        """Follow what is cast, and answer what was taken, until `closing` is set."""
        async with asyncio.TaskGroup() as background:
            background.create_task(self._answer(closing))
            while not await passed(closing, self._settings.poll_s):
                try:
                    if self._store.up:
                        await self._look()
                        await self._sums.write()
                except StoreDownError:
                    continue
                except Exception:  # a worker that no longer looks would shadow for ever
                    self._telemetry.background_failures.inc()
                    log.exception("looking for a shadow failed")
            await self._close()

    async def _look(self) -> None:
        key = self._store.keys.shadow
        said = await self._store.asked(lambda client: cast("Any", client.hgetall(key)))
        version, started = said.get(b"version", b"").decode(), said.get(b"started", b"")
        if (version, started) != (self._version, self._started):
            await self._close()
        self._share = float(said.get(b"share", 0))
        if version and self._beside is None and time.monotonic() >= self._again_at:
            await self._open(version)
            self._started = started

    async def _open(self, version: str) -> None:
        meta = await self._store.meta(version)
        try:
            live = await apart(open_version, version, meta.get("bundle"), self._settings, self._current.recommender)
        except (InputError, OSError) as error:
            self._again_at = time.monotonic() + RETRY_S
            self._telemetry.version_failures.inc()
            log.error("the shadowed version does not open", version=version, error=str(error))
            return
        silent = Telemetry(f"{self._settings.tenant}~shadow")  # a label that nobody's metrics show
        beside = await Beside.open(self._items, live, silent)
        nowhere = Store(None, self._aside, silent)
        engine = Engine(
            watcher=beside.keeper,
            store=self._store,
            memory=WorkerMemory(users_cap=100, pending_cap=1, recent_cap=self._aside.recent_cap),
            impressions=ImpressionLog(nowhere, silent, cap=1),
            settings=self._aside,
            telemetry=silent,
            happened=lambda _: None,
        )
        steerer = Steerer(
            keeper=self._policing.keeper,
            others=self._policing.others,
            counters=Counters(nowhere),
            telemetry=silent,
            purchases=self._aside.purchase_types,
        )
        self._version, self._beside = version, beside
        self._sums.begin(version)
        self.lists = ListEngine(engine, steerer, Filters(self._policing.keeper))
        log.info("a version is shadowed", version=version)

    async def _close(self) -> None:
        beside = self._beside
        self._version, self._started, self._beside, self.lists = "", b"", None, None
        self._waiting.clear()
        self._sums.begin("")
        if beside is not None:
            await beside.close()

    async def _answer(self, closing: asyncio.Event) -> None:
        while not closing.is_set():
            if not self._waiting:
                await passed(closing, BEHIND_S)
                continue
            taken = self._waiting.popleft()
            await passed(closing, max(0.0, taken.at + BEHIND_S - time.monotonic()))
            try:
                await self._compare(taken)
            except Exception as error:  # whatever it is, it must not end the shadow, nor reach anybody else
                self._count(taken.surface, "failed")
                log.warning("the shadow failed", surface=taken.surface, error=f"{type(error).__name__}: {error}")

    async def _compare(self, taken: Taken) -> None:
        lists, current = self.lists, self._current.live
        if lists is None or current is None:
            return
        version, answer_id, live = shown(taken.answer)
        if version != current.version:
            self._count(taken.surface, "other")
            return
        began = time.perf_counter()
        async with asyncio.timeout(PATIENCE_S):
            if isinstance(taken.query, SimilarQuery):
                again = await lists.similar(taken.subject, taken.query, under=answer_id)
            elif isinstance(taken.query, FeedQuery):
                again = await lists.feed(taken.subject, taken.query, under=answer_id)
            else:
                raise TypeError(f"a list of similar items or a feed can be shadowed, not {taken.surface!r}")
        shadow_s = time.perf_counter() - began
        if self.lists is not lists:  # somebody has stopped it meanwhile
            return
        found = compared(live, shown(again)[2])
        self._sums.add(sums(taken.surface, found, live_s=taken.live_s, shadow_s=shadow_s))
        self._sums.show("live", found.live)
        self._sums.show("shadow", found.shadow)
        self._telemetry.shadow.labels(taken.surface, "compared").inc()
        if found.live or found.shadow:
            self._telemetry.shadow_overlap.labels(taken.surface).observe(found.overlap)
        self._telemetry.shadow_latency.labels(taken.surface).observe(shadow_s)

    def _count(self, surface: str, which: str) -> None:
        self._sums.add(outcome(surface, which))
        self._telemetry.shadow.labels(surface, which).inc()
