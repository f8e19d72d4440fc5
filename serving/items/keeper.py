"""Keeps a worker's catalog in step with what was said of items: over the bundle it answers from, whichever that is.

The worker that was told takes a change in at once; the others learn of it from Redis within a fifth of a second. A
catalog is made anew beside the one that answers, in a thread, and then takes its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog

from recsys.amended.amendments import Amendments
from recsys.amended.placed import Placer
from recsys.bundle import Bundle
from recsys.search.encoding import Encoding
from serving.again import lasting
from serving.items.files import ItemFiles
from serving.items.kept import KeptItems
from serving.items.maker import CatalogMaker
from serving.items.said import Said
from serving.items.shelf import ItemShelf
from serving.live import Live, always, passed
from serving.steady import apart, one_thread
from serving.store import StoreDownError
from serving.telemetry import Telemetry

if TYPE_CHECKING:
    from PIL.Image import Image

log = structlog.get_logger()


class ItemKeeper:
    """One worker's changed items.

    Args:
        shelf: where they lie.
        maker: of catalogs.
        telemetry: counts changes, and those that were put back.
        kept: the file that remembers them while Redis does not; None for none.
        every_s: seconds between two looks at what changed.
    """

    def __init__(
        self,
        shelf: ItemShelf,
        maker: CatalogMaker,
        telemetry: Telemetry,
        *,
        kept: KeptItems | None = None,
        every_s: float = 0.2,
    ) -> None:
        self._shelf = shelf
        self._maker = maker
        self._telemetry = telemetry
        self._files = ItemFiles(kept, shelf, telemetry)
        self._of_file = False
        self._every_s = every_s
        self._base: Live | None = None
        self._live: Live | None = None
        self._placer: Placer | None = None
        self._amendments: Amendments | None = None
        self._known: dict[str, Said] = {}
        self._after: str | None = None
        self._meanwhile: dict[str, Said] = {}
        self._left: list[Live] = []
        self._lock = asyncio.Lock()

    def beside(self, telemetry: Telemetry) -> ItemKeeper:
        """Another keeper of the same changes, over another bundle."""
        return ItemKeeper(self._shelf, self._maker.beside(telemetry), telemetry, every_s=self._every_s)

    def picture(self, name: str | None, data: bytes | None) -> Image | None:
        """As `CatalogMaker.picture`."""
        return self._maker.picture(name, data)

    @property
    def live(self) -> Live | None:
        """What is answered from now; None before a bundle is open."""
        return self._live

    @property
    def open(self) -> list[Live]:
        """What is answered from now, and what the next amended one is made of."""
        return list(dict.fromkeys(live for live in (self._base, self._live) if live is not None))

    @property
    def placer(self) -> Placer:
        """What places items among those of the bundle.

        Raises:
            RuntimeError: no bundle is open.
        """
        if self._placer is None:
            raise RuntimeError("no bundle is open")
        return self._placer

    @property
    def trained(self) -> Bundle:
        """The bundle itself, without what was said since.

        Raises:
            RuntimeError: no bundle is open.
        """
        if self._base is None:
            raise RuntimeError("no bundle is open")
        return self._base.bundle

    async def move(
        self,
        base: Live,
        ahead: Callable[[Live], Awaitable[None]] | None = None,
        *,
        hurry: bool = False,
        wanted: Callable[[], bool] = always,
    ) -> bool:
        """As `Shelves.move`, with everything that was said of the bundle's items over it. Of two at once only the one
        that began last may still be wanted.
        """
        if not wanted():
            return False
        async with self._lock:
            known, self._meanwhile = dict(self._known), {}
        # not under the lock, for the long part: what is said meanwhile takes effect on the bundle that answers
        placer, amendments = await asyncio.to_thread(_tools, base)
        if not wanted():
            return False
        live = base
        if known:
            live = await self._maker.made(base, placer, amendments, known, hurry=hurry)
        else:
            await (asyncio.to_thread if hurry else apart)(self._maker.prepare, base.bundle)
        if ahead is not None and wanted():
            try:
                await ahead(live)
            except Exception:  # a version that is not as ready as it could be is still the one to answer from
                log.exception("a version could not be made ready ahead", version=base.version)
        async with self._lock:
            if self._meanwhile and wanted():
                live = await self._maker.made(base, placer, amendments, self._meanwhile, hurry=True)
            await one_thread()
            if not wanted():
                return False
            self._left += self.open
            self._base, self._placer, self._amendments, self._live = base, placer, amendments, live
        return True

    async def take(self, changes: Mapping[str, Said]) -> None:
        """Let changes take effect here; they are kept already."""
        async with self._lock:
            self._known.update(changes)
            self._meanwhile.update(changes)
            await self._apply(changes)

    async def run(self, closing: asyncio.Event) -> None:
        """Look for changes again and again until `closing` is set."""
        was_up = False
        jobs = (self._write, self._picture, self._let_go)  # none of them waits for another
        begun = partial(lasting, closing, telemetry=self._telemetry)
        beside = [asyncio.create_task(begun(job)) for job in jobs]
        while not await passed(closing, self._every_s):
            try:
                up = self._shelf.up
                if up:
                    await (self.look() if was_up else self.load())
                was_up = up
            except StoreDownError:
                was_up = False
            except Exception:  # a worker that no longer looks would answer from yesterday's shop
                self._telemetry.background_failures.inc()
                log.exception("looking for changed items failed")
            beside = [
                asyncio.create_task(begun(job)) if task.done() else task for job, task in zip(jobs, beside, strict=True)
            ]
        await beside[0]
        await self._files.close(self._known, self._after)
        await asyncio.gather(*beside)

    async def _write(self, _: asyncio.Event) -> None:
        """Keep what is known in the file; also while Redis is away, as what was said just before may be in none yet."""
        await self._files.write(self._known, self._after)

    async def _picture(self, _: asyncio.Event) -> None:
        await self._files.picture(self._known, self._after)

    async def _let_go(self, _: asyncio.Event) -> None:
        """Have what no longer answers give back what it keeps, beside requests; its last holder would do it at once."""
        while self._left:
            left = self._left.pop(0)  # others may come meanwhile; one that fails holds none of them up
            await apart(left.recommender.let_go)

    async def start(self) -> None:
        """Go by what Redis says of items, or while it is away by the file."""
        if self._shelf.up:
            with suppress(StoreDownError):
                await self.load()
                return
        found = await self._files.read()
        if found is not None:
            log.warning("redis is away, going by the last known changes of items", items=len(found.items))
            self._after, self._of_file = found.change, True
            await self.take(found.items)

    async def load(self) -> None:
        """Read all that was said, as after a start or when Redis was away; put back what it has lost meanwhile.

        Raises:
            StoreDownError: it is away.
        """
        known, change, of_file = dict(self._known), self._after, self._of_file
        if change is None and (found := await self._files.read()) is not None:
            known, change, of_file = dict(found.items), found.change, True
        lost = change is not None and not await self._stands(change)
        if lost and known:
            n_back = await self._shelf.put_back(known, change or "0-0", alone=of_file)
            if n_back:
                self._telemetry.items_restored.inc(n_back)
                log.warning("redis had lost changes of items, they are put back", items=n_back)
            self._files.put_back(known)
        every, after = await self._shelf.every()
        whole = change is not None and not lost and await self._stands(change)
        async with self._lock:
            changed = {item_id: said for item_id, said in every.items() if not _same(self._known.get(item_id), said)}
            self._after, self._of_file = after, False
            if whole:
                self._forget(self._known.keys() - every.keys())
            self._known.update(changed)
            self._meanwhile.update(changed)
            await self._apply(changed)

    async def _stands(self, change: str) -> bool:
        """Whether Redis has lost nothing of what was known by a change."""
        return await self._shelf.since(change) is not None or await self._shelf.outrun(change)

    async def look(self) -> None:
        """Take in what was said elsewhere since, and put back what Redis has lost.

        Raises:
            StoreDownError: it is away.
        """
        before = self._after
        news = None if before is None else await self._shelf.since(before)
        if before is None or news is None:
            await self.load()
            return
        item_ids, after = news
        if item_ids:
            found = await self._shelf.read(item_ids)
            await self.take({one: said for one, said in found.items() if not _same(self._known.get(one), said)})
            dropped = set(item_ids) - found.keys()
            if dropped and await self._stands(before):  # else they are not dropped, but lost
                self._forget(dropped)
        self._after = after

    def _forget(self, item_ids: Iterable[str]) -> None:
        """No longer lay over the next bundle what is said no more, as the models say it by themselves."""
        for item_id in list(item_ids):
            self._known.pop(item_id, None)

    async def _apply(self, changes: Mapping[str, Said]) -> None:
        if not changes or self._base is None or self._amendments is None:
            return
        live = await self._maker.made(self._base, self.placer, self._amendments, changes, hurry=True)
        self._left += [] if self._live is None else [self._live]
        self._live = live
        self._telemetry.items_changed.inc(len(changes))


def _tools(base: Live) -> tuple[Placer, Amendments]:
    """What places items in a bundle, and what lays them over it."""
    encoding = base.searcher.encoding if base.searcher is not None else Encoding(base.bundle)
    search = None if base.searcher is None else base.searcher.stored
    return Placer(base.bundle, encoding), Amendments(base.bundle, search)


def _same(one: Said | None, other: Said) -> bool:
    return one is not None and one.packed() == other.packed()
