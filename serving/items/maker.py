"""Makes a worker's catalog of a bundle and what was said of its items since."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from features.errors import InputError
from recsys.amended.amendments import Amendments
from recsys.amended.placed import CannotPlace, Floats, Placed, Placer
from recsys.bundle import Bundle
from serving.items.said import UPLOADED, Said, source_of
from serving.items.shelf import ItemShelf
from serving.live import Live
from serving.steady import apart
from serving.store import StoreDownError
from serving.telemetry import Telemetry

if TYPE_CHECKING:
    from PIL.Image import Image

    from features.pictures.sources import ImageSource

log = structlog.get_logger()


class CatalogMaker:
    """Makes catalogs, in threads.

    Args:
        shelf: where pictures lie that were sent.
        pictures: the shop's own pictures, which an item may name; None where it has none.
        telemetry: counts items that could not be placed.
        prepare: called with each bundle in a thread, before anything is answered from it.
    """

    def __init__(
        self,
        shelf: ItemShelf,
        pictures: ImageSource | None,
        telemetry: Telemetry,
        prepare: Callable[[Bundle], None],
    ) -> None:
        self._shelf = shelf
        self._pictures = pictures
        self._telemetry = telemetry
        self.prepare = prepare

    def beside(self, telemetry: Telemetry) -> CatalogMaker:
        """The same for another bundle, which counts elsewhere."""
        return CatalogMaker(self._shelf, self._pictures, telemetry, self.prepare)

    async def made(
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
            name = "" if display is None else str(display["image"] or "")
            if display is None or not name.startswith(UPLOADED):
                continue
            if said.made_of.get("image") != source_of("image", display, placer.encoders):
                try:
                    data = await self._shelf.picture(item_id, name)
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
        self.prepare(bundle)
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


def as_jpeg(picture: Image, *, most: int = 1024) -> bytes:
    """A picture to be kept and shown: at most so many pixels a side, without what the file said beside its pixels."""
    kept = picture.copy()
    kept.thumbnail((most, most))
    buffer = io.BytesIO()
    kept.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()
