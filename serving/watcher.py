"""How a worker gets to another version without missing a request.

The watcher opens the next bundle in a thread and then replaces one reference. Should yet another version become current
meanwhile, as by a rollback, that one is followed at once: an opening in a thread runs to its end, and nothing comes of
it. The watcher is also the only one who asks Redis while that is down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from features.errors import InputError
from recsys.recommender import BundleRecommender
from serving.live import RETRY_S, Live, Shelves, open_version, passed
from serving.memory import WorkerMemory
from serving.settings import Settings
from serving.steady import apart
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

log = structlog.get_logger()

REPLAY_BATCH = 200


@dataclass(frozen=True, eq=False)
class Coming:
    """A version that is being made ready to answer from; the same one asked for again is another."""

    version: str


class Watcher:
    """Keeps a worker on the current version, and its memory in step with Redis.

    Args:
        store: Redis.
        memory: the worker's own memory.
        catalog: where the open bundle is kept.
        settings: the bundle to begin with, and how often to look.
        telemetry: counts switches and replays.
        recommender: what answers from a bundle.
    """

    def __init__(
        self,
        store: Store,
        memory: WorkerMemory,
        catalog: Shelves,
        settings: Settings,
        telemetry: Telemetry,
        *,
        recommender: Callable[..., BundleRecommender] = BundleRecommender,
    ) -> None:
        self.recommender = recommender
        self._store = store
        self._memory = memory
        self._catalog = catalog
        self._settings = settings
        self._telemetry = telemetry
        self._forgotten_after: str | None = None
        self._failed: tuple[str, float] | None = None
        self._coming: Coming | None = None
        self.ahead: Callable[[Live], Awaitable[None]] | None = None
        """Makes another version ready while the one before it still answers."""

    @property
    def live(self) -> Live | None:
        """What is answered from now."""
        return self._catalog.live

    async def start(self) -> None:
        """Open the current version, or the configured bundle where Redis names none.

        Raises:
            InputError: neither Redis nor the settings lead to a bundle that opens, and one was configured.
        """
        await self.look()
        if self.live is None and self._settings.bundle is not None:
            live = await asyncio.to_thread(Live.open, self._settings.bundle, recommender=self.recommender)
            await self._catalog.move(live, hurry=True)
            log.info("bundle open", version=live.version, path=str(self._settings.bundle))

    async def run(self, closing: asyncio.Event) -> None:
        """Look again and again until `closing` is set, also while another version is being opened."""
        warm: str | None = None
        following: set[asyncio.Task[None]] = set()
        while True:
            live = self.live
            if live is not None and live.version != warm:  # of a version that was followed it was done before
                await self._warm(live)
                warm = live.version
            if await passed(closing, self._settings.poll_s):
                break
            try:
                version = await self._hear()
            except Exception:  # a worker that no longer looks would never recover
                self._telemetry.background_failures.inc()
                log.exception("looking at redis failed")
                continue
            if version is None or (self._coming is not None and version == self._coming.version):
                continue
            self._coming = None  # what was being made ready is not wanted any more
            if not self._answers_from(version):
                self._coming = Coming(version)
                following.add(task := asyncio.create_task(self._followed(self._coming)))
                task.add_done_callback(following.discard)
        await asyncio.gather(*following)

    async def look(self) -> None:
        """Ask Redis once; bring it up to date, then follow it."""
        version = await self._hear()
        if version is not None and not self._answers_from(version):
            self._coming = Coming(version)
            await self._follow(self._coming)

    def _answers_from(self, version: str) -> bool:
        return self.live is not None and self.live.version == version

    async def _hear(self) -> str | None:
        """Ask Redis once, and bring it up to date; the current version, None where Redis is away or knows none."""
        if not self._store.configured:
            return None
        held_since = self._memory.held_since()
        if self._forgotten_after is None and held_since is not None:  # Redis was away when this worker began
            self._forgotten_after = f"{max(0, int(held_since * 1000) - 1)}-0"
        try:
            version, forgotten = await self._store.probe(self._forgotten_after)
        except StoreDownError:
            return None
        for entry_id, user_id in forgotten:  # an entry's id begins with the milliseconds of Redis' clock
            self._memory.forget(user_id, at=(int(entry_id.partition("-")[0]) + 1) / 1000)
        self._forgotten_after = forgotten[-1][0] if forgotten else self._forgotten_after or "0-0"
        await self._replay()
        self._store.mark_up()
        return version

    async def _replay(self) -> None:
        """Apply the events held while Redis was away."""
        while events := self._memory.held(REPLAY_BATCH):
            try:
                await self._store.apply(events, probing=True)
            except StoreDownError as error:
                log.warning("held events stay held", events=self._memory.n_pending, error=str(error))
                break
            self._memory.applied(events)
            self._telemetry.pending_replayed.inc(len(events))
            log.info("held events applied", events=len(events))
        self._telemetry.pending.set(self._memory.n_pending)

    async def _warm(self, live: Live) -> None:
        """Open the encoders, beside requests, so that neither the first query nor the first new item waits for them."""
        if live.searcher is None or not self._settings.search_warm:
            return
        try:
            await apart(live.searcher.encoding.warm)
        except Exception:  # who asks for them is told why; a worker that no longer looks would never recover
            log.exception("the encoders of queries do not open", version=live.version)

    async def _followed(self, coming: Coming) -> None:
        try:
            await self._follow(coming)
        except Exception:  # likewise; the next look tries again
            self._telemetry.background_failures.inc()
            log.exception("another version could not be followed", version=coming.version)

    async def _follow(self, coming: Coming) -> None:
        """Open the bundle of another version and answer from it; stay where that fails, or is no longer wanted."""
        try:
            await self._move(coming.version, lambda: self._coming is coming)
        finally:
            if self._coming is coming:
                self._coming = None

    async def _move(self, version: str, wanted: Callable[[], bool]) -> None:
        if self._failed is not None and self._failed[0] == version and time.monotonic() < self._failed[1]:
            return
        try:
            meta = await self._store.meta(version)
            run = asyncio.to_thread if self.live is None else apart
            live = await run(open_version, version, meta.get("bundle"), self._settings, self.recommender)
        except StoreDownError:
            return
        except (InputError, OSError) as error:
            self._telemetry.version_failures.inc()
            self._failed = (version, time.monotonic() + RETRY_S)
            log.error("a version does not open, staying", version=version, error=str(error))
            return
        left = None if self.live is None else self.live.version
        if left is not None and wanted():  # at the start they are opened once answers are given
            await self._warm(live)
        ahead = None if left is None else self.ahead
        if not await self._catalog.move(live, ahead, hurry=left is None, wanted=wanted):
            log.info("another version became current while this one was opened", version=version)
            return
        self._failed = None
        self._telemetry.version_switches.inc()
        log.info("version switched", version=version, left=left)
