"""The version a worker answers from, and how it gets another without missing a request.

A request takes `Live` once and finishes with it; the watcher opens the next bundle in a thread and then replaces one
reference. The watcher is also the only one who asks Redis while it is down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from features.errors import InputError
from recsys.amended.bundle import AmendedBundle
from recsys.bundle import Bundle
from recsys.bundle_format import read_manifest
from recsys.recommender import BundleRecommender
from recsys.search.encoding import CannotSearch
from recsys.search.searcher import Searcher
from recsys.search.spaces import Spaces
from recsys.search.stored import StoredSearch
from serving.cursor import checksums
from serving.display import Grid
from serving.memory import WorkerMemory
from serving.settings import Settings
from serving.steady import apart
from serving.store import Store, StoreDownError
from serving.telemetry import Telemetry

log = structlog.get_logger()

REPLAY_BATCH = 200
RETRY_S = 15.0
"""A version whose bundle does not open is tried again after so long."""


@dataclass(frozen=True, eq=False)
class Live:
    """An open bundle with what answers from it."""

    bundle: Bundle
    recommender: BundleRecommender
    grid: Grid
    searcher: Searcher | None
    no_search: str
    """Why there is no searcher; "" where there is one."""

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.bundle.version

    @cached_property
    def checksums(self) -> NDArray[np.uint32]:
        """Of the items' ids, as cursors name them."""
        return checksums(self.bundle.items)

    @property
    def changes(self) -> AmendedBundle | None:
        """The bundle as an amended one; None where nothing was said of its items."""
        return self.bundle if isinstance(self.bundle, AmendedBundle) else None

    def lists_hold(self, item_idx: int) -> bool:
        """Whether the list of similar items that was published for an item still is what its bundle says."""
        return self.changes is None or item_idx not in self.changes.touched

    def feeds_hold(self) -> bool:
        """Whether published feeds still are what the bundle says: no item has joined since."""
        return self.changes is None or len(self.changes) == self.changes.n_trained

    def amended(self, bundle: AmendedBundle, search: StoredSearch | None, spaces: Spaces) -> Live:
        """The same with what was said of its items since."""
        searcher = self.searcher
        if searcher is not None and search is not None:
            searcher = Searcher(bundle, stored=search, encoding=searcher.encoding)
        return Live(bundle, self.recommender.amended(bundle, spaces), Grid(bundle), searcher, self.no_search)

    @classmethod
    def open(cls, path: Path, *, recommender: Callable[..., BundleRecommender] = BundleRecommender) -> Live:
        """Open and touch a bundle, so that the first request finds it warm.

        Args:
            path: the bundle.
            recommender: what answers from it.

        Raises:
            InputError: the bundle is broken.
        """
        bundle = Bundle.open(path)
        searcher, no_search = None, ""
        try:
            searcher = Searcher(bundle)
        except CannotSearch as error:
            no_search = str(error)
        spaces = None if searcher is None else searcher.stored.spaces
        live = cls(bundle, recommender(bundle, spaces=spaces), Grid(bundle), searcher, no_search)
        _ = bundle.attribute_counts, bundle.ranker, bundle.prices  # files may be replaced behind an open bundle
        _ = live.checksums, bundle.users.idxs([""])
        if bundle.ranker is not None:
            live.recommender.catalog.warm()
        if len(bundle.items):
            bundle.display(0)
            live.recommender.similar_items(bundle.items[0], 1)
        return live


async def passed(closing: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; whether it came.

    Background work ends by this and not by cancellation, which would tear a conversation with Redis in the middle.
    """
    try:
        await asyncio.wait_for(closing.wait(), seconds)
    except TimeoutError:
        return False
    return True


class Catalog(Protocol):
    """Where the bundle that answers is kept, with what was said of its items since it was made."""

    @property
    def live(self) -> Live | None:
        """What is answered from now."""
        ...


class Shelves(Catalog, Protocol):
    """A catalog that can be moved to another bundle."""

    async def move(
        self, base: Live, ahead: Callable[[Live], Awaitable[None]] | None = None, *, hurry: bool = False
    ) -> None:
        """Answer from another bundle, once it is ready.

        Args:
            base: the bundle.
            ahead: makes what will answer ready, while the one before still answers.
            hurry: nothing answers until then.
        """
        ...


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
        """Look again and again until `closing` is set."""
        warm: str | None = None
        while True:
            live = self.live
            if live is not None and live.version != warm:  # of a version that was followed it was done before
                await self._warm(live)
                warm = live.version
            if await passed(closing, self._settings.poll_s):
                return
            try:
                await self.look()
            except Exception:  # a worker that no longer looks would never recover
                log.exception("looking at redis failed")

    async def look(self) -> None:
        """Ask Redis once; bring it up to date, then follow it."""
        if not self._store.configured:
            return
        held_since = self._memory.held_since()
        if self._forgotten_after is None and held_since is not None:  # Redis was away when this worker began
            self._forgotten_after = f"{max(0, int(held_since * 1000) - 1)}-0"
        try:
            version, forgotten = await self._store.probe(self._forgotten_after)
        except StoreDownError:
            return
        for entry_id, user_id in forgotten:  # an entry's id begins with the milliseconds of Redis' clock
            self._memory.forget(user_id, at=(int(entry_id.partition("-")[0]) + 1) / 1000)
        self._forgotten_after = forgotten[-1][0] if forgotten else self._forgotten_after or "0-0"
        await self._replay()
        self._store.mark_up()
        if version is not None and (self.live is None or version != self.live.version):
            await self._follow(version)

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

    async def _follow(self, version: str) -> None:
        """Open the bundle of another version and answer from it; stay where that fails."""
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
            log.error("the current version does not open, staying", version=version, error=str(error))
            return
        left = None if self.live is None else self.live.version
        if left is not None:  # at the start they are opened once answers are given
            await self._warm(live)
        await self._catalog.move(live, None if left is None else self.ahead, hurry=left is None)
        self._failed = None
        self._telemetry.version_switches.inc()
        log.info("version switched", version=version, left=left)


def open_version(
    version: str,
    published: str | None,
    settings: Settings,
    recommender: Callable[..., BundleRecommender] = BundleRecommender,
) -> Live:
    """The bundle of a version: where it was published from, or the worker's own copy of it.

    Raises:
        InputError: neither is there, or opens.
    """
    said = []
    for path in (None if published is None else Path(published), settings.bundle):
        if path is None:
            continue
        try:
            if read_manifest(path).version == version:
                return Live.open(path, recommender=recommender)
            said.append(f"{path} holds another version")
        except InputError as error:
            said.append(str(error))
    raise InputError(f"no bundle of version {version} opens: {'; '.join(said) or 'no path is known'}")
