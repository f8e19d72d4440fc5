"""Keeps a worker's catalog in step with what was said of items: over the bundle it answers from, whichever that is.

The worker that was told takes a change in at once; the others learn of it from Redis within a fifth of a second. A
catalog is made anew beside the one that answers, in a thread, and then takes its place.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from features.errors import InputError
from recsys.amended.amendments import Amendments
from recsys.amended.placed import CannotPlace, Floats, Placed, Placer
from recsys.bundle import Bundle
from recsys.search.encoding import Encoding
from serving.items.said import UPLOADED, Said, source_of
from serving.items.shelf import ItemShelf
from serving.live import Live, passed
from serving.steady import apart
from serving.store import StoreDownError
from serving.telemetry import Telemetry

if TYPE_CHECKING:
    from PIL.Image import Image

    from features.pictures.sources import ImageSource

log = structlog.get_logger()


class ItemKeeper:
    """One worker's changed items.

    Args:
        shelf: where they lie.
        pictures: the shop's own pictures, which an item may name; None where it has none.
        telemetry: counts changes, and items that could not be placed.
        prepare: called with each bundle in a thread, before anything is answered from it.
        every_s: seconds between two looks at what changed.
    """

    def __init__(
        self,
        shelf: ItemShelf,
        pictures: ImageSource | None,
        telemetry: Telemetry,
        *,
        prepare: Callable[[Bundle], None],
        every_s: float = 0.2,
    ) -> None:
        self._shelf = shelf
        self._pictures = pictures
        self._telemetry = telemetry
        self._prepare = prepare
        self._every_s = every_s
        self._base: Live | None = None
        self._live: Live | None = None
        self._placer: Placer | None = None
        self._amendments: Amendments | None = None
        self._known: dict[str, Said] = {}
        self._after: str | None = None
        self._meanwhile: dict[str, Said] = {}
        self._lock = asyncio.Lock()

    def beside(self, telemetry: Telemetry) -> ItemKeeper:
        """Another keeper of the same changes, over another bundle."""
        return ItemKeeper(self._shelf, self._pictures, telemetry, prepare=self._prepare, every_s=self._every_s)

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
        self, base: Live, ahead: Callable[[Live], Awaitable[None]] | None = None, *, hurry: bool = False
    ) -> None:
        """As `Shelves.move`, with everything that was said of the bundle's items over it."""
        async with self._lock:
            known, self._meanwhile = dict(self._known), {}
        # not under the lock, for the long part: what is said meanwhile takes effect on the bundle that answers
        placer, amendments = await asyncio.to_thread(_tools, base)
        live = base
        if known:
            live = await self._made(base, placer, amendments, known, hurry=hurry)
        else:
            await (asyncio.to_thread if hurry else apart)(self._prepare, base.bundle)
        if ahead is not None:
            try:
                await ahead(live)
            except Exception:  # a version that is not as ready as it could be is still the one to answer from
                log.exception("a version could not be made ready ahead", version=base.version)
        async with self._lock:
            if self._meanwhile:
                live = await self._made(base, placer, amendments, self._meanwhile, hurry=True)
            self._base, self._placer, self._amendments, self._live = base, placer, amendments, live

    async def take(self, changes: Mapping[str, Said]) -> None:
        """Let changes take effect here; they are kept already."""
        async with self._lock:
            self._known.update(changes)
            self._meanwhile.update(changes)
            await self._apply(changes)

    async def run(self, closing: asyncio.Event) -> None:
        """Look for changes again and again until `closing` is set."""
        was_up = False
        while not await passed(closing, self._every_s):
            try:
                up = self._shelf.up
                if up:
                    await (self._look() if was_up and self._after is not None else self.load())
                was_up = up
            except StoreDownError:
                was_up = False
            except Exception:  # a worker that no longer looks would answer from yesterday's shop
                log.exception("looking for changed items failed")

    async def load(self) -> None:
        """Read all that was said, as after a start or when Redis was away; put back what it has lost meanwhile.

        Raises:
            StoreDownError: it is away.
        """
        lost = self._after is not None and await self._shelf.since(self._after) is None
        if lost and self._known:
            n_back = await self._shelf.put_back(dict(self._known), self._after or "0-0")
            if n_back:
                self._telemetry.items_restored.inc(n_back)
                log.warning("redis had lost changes of items, they are put back", items=n_back)
        every, after = await self._shelf.every()
        async with self._lock:
            changed = {item_id: said for item_id, said in every.items() if not _same(self._known.get(item_id), said)}
            self._after = after
            if not lost:
                self._forget(self._known.keys() - every.keys())
            self._known.update(changed)
            self._meanwhile.update(changed)
            await self._apply(changed)

    async def _look(self) -> None:
        before = self._after or "0-0"
        news = await self._shelf.since(before)
        if news is None:
            await self.load()
            return
        item_ids, after = news
        if item_ids:
            found = await self._shelf.read(item_ids)
            await self.take({one: said for one, said in found.items() if not _same(self._known.get(one), said)})
            dropped = set(item_ids) - found.keys()
            if dropped and await self._shelf.since(before) is not None:  # else they are not dropped, but lost
                self._forget(dropped)
        self._after = after

    def _forget(self, item_ids: Iterable[str]) -> None:
        """No longer lay over the next bundle what is said no more, as the models say it by themselves."""
        for item_id in list(item_ids):
            self._known.pop(item_id, None)

    async def _apply(self, changes: Mapping[str, Said]) -> None:
        if not changes or self._base is None or self._amendments is None:
            return
        self._live = await self._made(self._base, self.placer, self._amendments, changes, hurry=True)
        self._telemetry.items_changed.inc(len(changes))

    async def _made(
        self, base: Live, placer: Placer, amendments: Amendments, changes: Mapping[str, Said], *, hurry: bool
    ) -> Live:
        """A catalog with further changes."""
        pictures = await self._uploaded(base, placer, changes)
        run = asyncio.to_thread if hurry else apart
        return await run(self._amended, base, placer, amendments, changes, pictures)

    async def _uploaded(self, base: Live, placer: Placer, changes: Mapping[str, Said]) -> dict[str, bytes]:
        """Pictures that must be looked at again, as no vector of this bundle's encoder came with them."""
        found: dict[str, bytes] = {}
        for item_id, said in changes.items():
            display = said.display(item_id, base.bundle)
            if display is None or not str(display["image"] or "").startswith(UPLOADED):
                continue
            if said.made_of.get("image") != source_of("image", display, placer.encoders):
                try:
                    data = await self._shelf.picture(item_id)
                except StoreDownError:
                    data = None
                found |= {} if data is None else {item_id: data}
        return found

    def _amended(
        self,
        base: Live,
        placer: Placer,
        amendments: Amendments,
        changes: Mapping[str, Said],
        pictures: Mapping[str, bytes],
    ) -> Live:
        placed: dict[str, Placed | None] = {}
        for item_id, said in changes.items():
            display = said.display(item_id, base.bundle)
            if display is None:
                placed[item_id] = None
                continue
            try:
                vectors = self._vectors(base.bundle, placer, said, display, pictures.get(item_id))
                placed[item_id] = placer.placed(item_id, display, vectors)
            except CannotPlace as error:
                self._telemetry.items_unplaced.inc()
                log.warning("a new item has no place in this bundle", item_id=item_id, why=str(error))
        bundle, search, spaces = amendments.apply(placed)
        self._prepare(bundle)
        return base.amended(bundle, search, spaces)

    def _vectors(
        self, base: Bundle, placer: Placer, said: Said, display: Mapping[str, Any], data: bytes | None
    ) -> dict[str, Floats]:
        """Vectors of an item's words and picture that the bundle does not have."""
        item_id = display["item_id"]
        before = base.display(base.items.idx(item_id)) if item_id in base.items else None
        vectors: dict[str, Floats] = {}
        for kind in ("text", "image"):
            source = source_of(kind, display, placer.encoders)
            if before is not None and source == source_of(kind, before, placer.encoders):
                continue  # the bundle's own vector is of this content
            if said.made_of.get(kind) == source and kind in said.vectors:
                vectors[kind] = said.vectors[kind]
            elif kind == "text":
                vectors[kind] = placer.words([display])[0]
            else:
                vectors[kind] = placer.picture(self.picture(display["image"], data))
        return vectors

    def picture(self, name: str | None, data: bytes | None) -> Image | None:
        """The picture of an item, where it can be had: sent, or a file among the shop's."""
        from features.pictures.decoding import UnreadableImage, decode

        if data is None and name and self._pictures is not None and not name.startswith(UPLOADED):
            try:
                data = self._pictures.read(name)
            except (OSError, KeyError, ValueError, InputError):
                return None
        try:
            return None if data is None else decode(data)
        except UnreadableImage:
            return None


def _tools(base: Live) -> tuple[Placer, Amendments]:
    """What places items in a bundle, and what lays them over it."""
    encoding = base.searcher.encoding if base.searcher is not None else Encoding(base.bundle)
    search = None if base.searcher is None else base.searcher.stored
    return Placer(base.bundle, encoding), Amendments(base.bundle, search)


def _same(one: Said | None, other: Said) -> bool:
    return one is not None and one.packed() == other.packed()


def as_jpeg(picture: Image, *, most: int = 1024) -> bytes:
    """A picture to be kept and shown: at most so many pixels a side, without what the file said beside its pixels."""
    kept = picture.copy()
    kept.thumbnail((most, most))
    buffer = io.BytesIO()
    kept.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()
