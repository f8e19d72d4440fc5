"""Answers a request: Redis first, then the bundle, and always says which."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from serving.answers import Origin, page_json, past_json
from serving.describing import Attributes
from serving.display import Page
from serving.events import Event
from serving.impressions import ImpressionLog, Shown
from serving.live import Catalog, Live
from serving.memory import LiveState, WorkerMemory
from serving.settings import Settings
from serving.shown_items import ShownItems
from serving.store import Store, StoreDownError
from serving.telemetry import TIER, Telemetry
from serving.user_reads import UserRead

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
        happened: told of every new event, once.
    """

    def __init__(
        self,
        *,
        watcher: Catalog,
        store: Store,
        memory: WorkerMemory,
        impressions: ImpressionLog,
        settings: Settings,
        telemetry: Telemetry,
        happened: Callable[[Sequence[Event]], None],
    ) -> None:
        self._watcher = watcher
        self._store = store
        self._memory = memory
        self._impressions = impressions
        self.items = ShownItems(store, telemetry, cap=settings.kept_items_bytes)
        """As answers show them."""
        self._settings = settings
        self._telemetry = telemetry
        self._happened = happened
        self._kept_answers = tuple(telemetry.cache.labels("answers", outcome) for outcome in ("miss", "hit"))

    @property
    def live(self) -> Live:
        """What is answered from now.

        Raises:
            NotReadyError: no bundle is open yet.
        """
        if self._watcher.live is None:
            raise NotReadyError
        return self._watcher.live

    @property
    def settings(self) -> Settings:
        """Thresholds."""
        return self._settings

    def kept_answer(self, known: bool) -> None:
        """Count whether this worker still knew a list that it could have kept."""
        self._kept_answers[known].inc()

    @property
    def store(self) -> Store:
        """Redis."""
        return self._store

    @property
    def origin(self) -> Origin:
        """Who holds what is asked for now."""
        return "redis" if self._store.up else "bundle"

    async def item(self, item_id: str) -> bytes:
        """One item, as JSON.

        Raises:
            UnknownItemError: the item is not in the catalog.
        """
        live = self.live
        return (await self.items.published(live, [self._known(live, item_id)]))[0][0]

    async def browse(self, *, k: int, offset: int, category: str | None, q: str | None) -> bytes:
        """A part of the browse grid, as JSON."""
        live = self.live
        ask = partial(live.grid.page, k=k, offset=offset, category=category, q=q)
        page: Page = await (asyncio.to_thread(ask) if q else self.ranked(live, ask))
        items, _ = await self.items.published(live, page.item_idx)
        return page_json(page, items)

    async def record(self, events: Sequence[Event]) -> Recorded:
        """Let events change their users' feeds: in Redis, or in this worker until Redis is back."""
        if not events:
            return Recorded(0, 0)
        if self._store.up:
            try:
                became = await self._store.apply(events)
            except StoreDownError:
                pass
            else:
                applied = [event for event, one in zip(events, became, strict=True) if one.new]
                now_s = time.time()
                for event in applied:
                    self._telemetry.event_lag.observe(max(0.0, now_s - event.timestamp))
                for event, one in zip(events, became, strict=True):
                    if one.after is not None:
                        self._memory.applied_to(event, one.before, one.after)
                self._happened(applied)
                return Recorded(len(applied), len(events) - len(applied))
        held, dropped = self._memory.hold(events)
        self._telemetry.pending_dropped.inc(dropped)
        self._telemetry.pending.set(self._memory.n_pending)
        self._happened(held)
        return Recorded(len(held), len(events) - len(held))

    async def past(self, user_id: str, limit: int) -> bytes:
        """A user's recent events with their items, newest last, as JSON."""
        live = self.live
        state, origin = await self.state(live, user_id)
        by_time = sorted(state.recent, key=lambda past: past.timestamp)  # an event may arrive late
        recent = [past for past in by_time if past.item_id in live.bundle.items][-limit:]
        items, _ = await self.items.published(live, [live.bundle.items.idx(past.item_id) for past in recent])
        return past_json(user_id, recent, items, attributes=state.attributes, store=origin)

    async def describe(self, said: Mapping[str, Attributes], *, whole: bool) -> None:
        """Keep what the shop says of users.

        Args:
            said: attributes by user id; one without values is not known any more.
            whole: whether that is all there is to say of each; otherwise other attributes stay.

        Raises:
            StoreDownError: Redis is away, so nothing more can be kept.
        """
        await self._store.describe(said, whole=whole)

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
                return (await self._read(live, user_id)).state, "redis"
        return self._memory.state(user_id), "bundle"

    async def user(
        self, live: Live, user_id: str, *, stamp: bytes | None = None, reachable: bool = True
    ) -> tuple[UserRead, Origin]:
        """What a user did lately, the list published for them unless they did anything, and whether Redis knew.

        Args:
            live: whose published list.
            user_id: who it is.
            stamp: of the user's state, where it was just asked for.
            reachable: False where Redis did not answer this request before, so that it waits no second time.
        """
        if self._store.up and reachable:
            with suppress(StoreDownError):
                return await self._read(live, user_id, stamp), "redis"
        self.fell_back("feed", "redis is down")
        return UserRead(self._memory.state(user_id), None, None), "bundle"

    def holds_events_of(self, user_id: str) -> bool:
        """Whether this worker holds events of a user that Redis does not know yet."""
        return bool(self._memory.held_of(user_id))

    def whence(self, surface: str, *, whole: bool) -> Origin:
        """Where an answer came from, whose items Redis held as a whole or not; a fallback is counted."""
        if whole and self._store.up:
            return "redis"
        self.fell_back(surface, "not published" if self._store.up else "redis is down")
        return "bundle"

    def fell_back(self, surface: str, why: str) -> None:
        """Count an answer that came from the bundle."""
        self._telemetry.bundle_fallbacks.labels(surface, why).inc()

    async def _read(self, live: Live, user_id: str, stamp: bytes | None = None) -> UserRead:
        """A user's state in Redis, with what this worker still holds for it."""
        held = self._memory.held_of(user_id)
        if self._memory.stamped(user_id) and not held:
            stamp = stamp or await self._store.stamp(user_id)
            known = self._memory.known(user_id, stamp)
            if known is not None and known.recent:
                return UserRead(known, stamp, None)
        read = await self._store.user(user_id, live.version)
        if held:
            read = replace(read, state=self._memory.after(read.state, held))
        self._memory.remember(user_id, read.state, None if held else read.stamp)
        return read

    async def ranked(self, live: Live, ask: Callable[[], T]) -> T:
        """Rank here, or in a thread where the catalog is large enough to hold up other requests."""
        if len(live.bundle.items) > self._settings.thread_above_items:
            return await asyncio.to_thread(ask)
        return ask()

    def log(
        self,
        version: str,
        shown: Shown,
        origin: Origin,
        *,
        surface: str,
        subject: str,
        recommendation_id: str,
        scenario: str = "",
        arms: Mapping[str, str] | None = None,
        rules_version: int = 0,
    ) -> None:
        """Log what is shown, and count it.

        Args:
            version: of the bundle that ranked it.
            shown: its slots.
            origin: who held it.
            surface: "similar", "feed", "recommend" or "search".
            subject: the item or the user it was for, "" for a visitor without an id.
            recommendation_id: the answer's id.
            scenario: the place it was for, as the request named it.
            arms: experiment → arm.
            rules_version: of the rules that were applied, 0 for none stored.
        """
        self._impressions.add(
            shown,
            recommendation_id=recommendation_id,
            surface=surface,
            subject=subject,
            model_version=version,
            scenario=scenario,
            arms=arms or {},
            rules_version=rules_version,
        )
        tier = shown.sources[0] if shown.sources else "none"
        TIER.set(tier)
        self._telemetry.answers.labels(surface, tier, origin).inc()
