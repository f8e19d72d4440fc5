"""Answers a request: Redis first, then the bundle, and always says which."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from serving.answers import Origin, list_json, page_json, past_json, user_state
from serving.codec import LIST_LENGTH, Slot, unpack
from serving.display import Page, item_json
from serving.entries import slots as by_row
from serving.events import Event
from serving.impressions import ImpressionLog
from serving.live import Live, Watcher
from serving.memory import LiveState, WorkerMemory
from serving.settings import Settings
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

T = TypeVar("T")


class NotReadyError(Exception):
    """No bundle is open yet."""


class UnknownItemError(Exception):
    """The catalog has no such item."""


@dataclass(frozen=True)
class Recorded:
    """What became of a batch of events."""

    accepted: int
    duplicates: int


class Engine:
    """One worker's answers.

    Args:
        watcher: holds the open bundle.
        store: Redis.
        memory: the worker's own memory, for when Redis is away.
        impressions: where answers are logged.
        settings: thresholds.
        telemetry: counts answers and where they came from.
    """

    def __init__(
        self,
        *,
        watcher: Watcher,
        store: Store,
        memory: WorkerMemory,
        impressions: ImpressionLog,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self._watcher = watcher
        self._store = store
        self._memory = memory
        self._impressions = impressions
        self._settings = settings
        self._telemetry = telemetry

    @property
    def live(self) -> Live:
        """What is answered from now.

        Raises:
            NotReadyError: no bundle is open yet.
        """
        if self._watcher.live is None:
            raise NotReadyError
        return self._watcher.live

    async def similar(self, item_id: str, k: int) -> bytes:
        """Items like this one, as JSON.

        Raises:
            UnknownItemError: the item is not in the catalog.
        """
        live = self.live
        self._known(live, item_id)
        why = "redis is down"
        slots: list[Slot] | None = None
        if self._store.up:
            try:
                packed = await self._store.similar(live.version, item_id)
                slots = None if packed is None else unpack(packed)[:k]
                why = "not published"
                if slots is not None and LIST_LENGTH <= len(slots) < k:
                    slots, why = None, "longer than published"
            except StoreDownError:
                pass
        origin: Origin = "redis"
        if slots is None:
            shown = await self._ranked(live, partial(live.recommender.similar_items, item_id, k))
            slots = by_row(live.bundle, shown)
            origin = "bundle"
            self._telemetry.bundle_fallbacks.labels("similar", why).inc()
        return await self._answer(live, slots, origin, surface="similar", subject=item_id)

    async def feed(self, user_id: str, k: int) -> bytes:
        """Items for this user, as JSON; live behavior first, then the published list, then the rest of the ladder."""
        live = self.live
        origin: Origin = "bundle"
        why = "redis is down"
        state, published = self._memory.state(user_id), None
        if self._store.up:
            try:
                state, published = await self._read(live, user_id)
                origin = "redis"
            except StoreDownError:
                pass
        if origin == "bundle":
            self._telemetry.bundle_fallbacks.labels("feed", why).inc()
        slots: list[Slot] = []
        if published is not None and not state.recent:
            items = live.bundle.items
            slots = [slot for slot in unpack(published) if items[slot.item_idx] not in state.seen][:k]
        if len(slots) < k:
            user = user_state(user_id, state)
            shown = await self._ranked(live, partial(live.recommender.recommend, user, k))
            slots = by_row(live.bundle, shown)
        return await self._answer(live, slots, origin, surface="feed", subject=user_id)

    async def item(self, item_id: str) -> bytes:
        """One item, as JSON.

        Raises:
            UnknownItemError: the item is not in the catalog.
        """
        live = self.live
        return (await self.items(live, [self._known(live, item_id)]))[0][0]

    async def browse(self, *, k: int, offset: int, category: str | None, q: str | None) -> bytes:
        """A part of the browse grid, as JSON."""
        live = self.live
        ask = partial(live.grid.page, k=k, offset=offset, category=category, q=q)
        page: Page = await (asyncio.to_thread(ask) if q else self._ranked(live, ask))
        items, _ = await self.items(live, page.item_idx)
        return page_json(page, items)

    async def record(self, events: Sequence[Event]) -> Recorded:
        """Let events change their users' feeds: in Redis, or in this worker until Redis is back."""
        if not events:
            return Recorded(0, 0)
        if self._store.up:
            try:
                new = await self._store.apply(events)
            except StoreDownError:
                pass
            else:
                self._memory.happened([event for event, is_new in zip(events, new, strict=True) if is_new])
                return Recorded(sum(new), len(new) - sum(new))
        duplicates, dropped = self._memory.hold(events)
        self._telemetry.pending_dropped.inc(dropped)
        self._telemetry.pending.set(self._memory.n_pending)
        return Recorded(len(events) - duplicates, duplicates)

    async def past(self, user_id: str, limit: int) -> bytes:
        """A user's recent events with their items, newest last, as JSON."""
        live = self.live
        state, origin = await self.state(live, user_id)
        recent = [past for past in state.recent if past.item_id in live.bundle.items][-limit:]
        items, _ = await self.items(live, [live.bundle.items.idx(past.item_id) for past in recent])
        return past_json(user_id, recent, items, store=origin)

    async def forget(self, user_id: str) -> None:
        """Delete a user's live state everywhere.

        Raises:
            StoreDownError: Redis is away, so the deletion cannot be promised.
        """
        if self._store.configured:
            await self._store.forget(user_id)
        self._memory.forget(user_id)

    def _known(self, live: Live, item_id: str) -> int:
        if item_id not in live.bundle.items:
            raise UnknownItemError(item_id)
        return live.bundle.items.idx(item_id)

    async def state(self, live: Live, user_id: str) -> tuple[LiveState, Origin]:
        """What a user did lately, and whether Redis knew it."""
        if self._store.up:
            with suppress(StoreDownError):
                return (await self._read(live, user_id))[0], "redis"
        return self._memory.state(user_id), "bundle"

    def whence(self, surface: str, *, whole: bool) -> Origin:
        """Where an answer came from, whose items Redis held as a whole or not; a fallback is counted."""
        if whole and self._store.up:
            return "redis"
        why = "not published" if self._store.up else "redis is down"
        self._telemetry.bundle_fallbacks.labels(surface, why).inc()
        return "bundle"

    async def _read(self, live: Live, user_id: str) -> tuple[LiveState, bytes | None]:
        """A user's state in Redis, with what this worker still holds for it."""
        read = await self._store.user(user_id, live.version)
        state = read.state.after(self._memory.held_of(user_id), recent_cap=self._settings.recent_cap)
        self._memory.remember(user_id, state)
        return state, read.published

    async def _ranked(self, live: Live, ask: Callable[[], T]) -> T:
        """Rank here, or in a thread where the catalog is large enough to hold up other requests."""
        if len(live.bundle.items) > self._settings.thread_above_items:
            return await asyncio.to_thread(ask)
        return ask()

    async def items(self, live: Live, rows: Sequence[int]) -> tuple[list[bytes], bool]:
        """Items as JSON; and whether Redis had them all."""
        found: list[bytes | None] = [None] * len(rows)
        if self._store.up:
            with suppress(StoreDownError):
                found = await self._store.items(live.version, [live.bundle.items[row] for row in rows])
        whole = all(item is not None for item in found)
        return [
            item if item is not None else item_json(live.bundle, row) for item, row in zip(found, rows, strict=True)
        ], whole

    async def _answer(self, live: Live, slots: Sequence[Slot], origin: Origin, *, surface: str, subject: str) -> bytes:
        items, whole = await self.items(live, [slot.item_idx for slot in slots])
        if not whole and origin == "redis":
            origin = self.whence(surface, whole=False)
        recommendation_id, propensities = self.log(
            live,
            [live.bundle.items[slot.item_idx] for slot in slots],
            [slot.source for slot in slots],
            origin,
            surface=surface,
            subject=subject,
        )
        return list_json(
            slots, items, propensities, recommendation_id=recommendation_id, version=live.version, store=origin
        )

    def log(
        self, live: Live, items: Sequence[str], sources: Sequence[str], origin: Origin, *, surface: str, subject: str
    ) -> tuple[str, list[float]]:
        """Log what is shown, and count it.

        Returns:
            The answer's id, and the probability with which each item is shown in its place.
        """
        recommendation_id = uuid.uuid4().hex
        propensities = [1.0] * len(items)  # the ranking is deterministic: what is shown is shown with certainty
        self._impressions.add(
            recommendation_id=recommendation_id,
            surface=surface,
            subject=subject,
            model_version=live.version,
            items=items,
            sources=sources,
            propensities=propensities,
        )
        self._telemetry.answers.labels(surface, sources[0] if sources else "none", origin).inc()
        return recommendation_id, propensities
