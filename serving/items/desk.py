"""Takes in what is said of items: judged, encoded, kept in Redis, and in effect here before the answer is sent."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.event_rules import id_read
from recsys.amended.placed import CannotPlace, Floats
from recsys.bundle import Bundle
from serving.engine import Engine, UnknownItemError
from serving.items.keeper import ItemKeeper
from serving.items.maker import as_jpeg
from serving.items.said import Said, source_of, uploaded_name
from serving.items.shapes import BulkItemIn, ItemIn
from serving.items.shelf import ItemShelf
from serving.problems import ProblemError

if TYPE_CHECKING:
    from PIL.Image import Image


class RefusedItem(ValueError):  # noqa: N818 - reads as what it is
    """What was said of an item cannot be taken; the message names the rule.

    Args:
        status: of the problem.
        kind: of the problem.
        rule: what it breaks.
        place: where it was said.
        value: what is there.
    """

    def __init__(self, status: int, kind: str, rule: str, place: str = "body", value: str = "") -> None:
        super().__init__(rule)
        self.status, self.kind, self.place, self.value = status, kind, place, value[:80]


@dataclass(frozen=True)
class _Asked:
    """A change that is wanted: of which item, what is known of it, what is said now, and its picture."""

    item_id: str
    known: Said
    change: Said
    picture: Image | None
    jpeg: bytes | None


class ItemDesk:
    """One worker's changes of items.

    Args:
        engine: knows the open bundle.
        shelf: where changes are kept.
        keeper: where they take effect.
        max_pixels: a picture with more is refused.
    """

    def __init__(self, engine: Engine, shelf: ItemShelf, keeper: ItemKeeper, *, max_pixels: int) -> None:
        self._engine = engine
        self._shelf = shelf
        self._keeper = keeper
        self._max_pixels = max_pixels
        self._turn = asyncio.Semaphore(1)  # encoding is heavy: one change at a time, so that lists keep their core

    async def write(self, item_id: str, said: ItemIn, *, whole: bool) -> tuple[bytes, bool]:
        """Put or patch an item.

        Args:
            item_id: outside id.
            said: what is said of it.
            whole: whether that replaces all that was known (put), or changes it (patch).

        Returns:
            The item as JSON, as it is shown from now on; and whether it is one that training does not know.

        Raises:
            UnknownItemError: there is no such item to be patched.
            ProblemError: 422, the picture is none; 409, a new item cannot be placed by this bundle.
            StoreDownError: Redis is away, so nothing can be kept.
        """
        _ = self._engine.live
        refused = await self._written([(item_id, said)], whole=whole)
        if refused:
            raise refused[0][1] if isinstance(refused[0][1], UnknownItemError) else _problem(refused[0][1])
        live = self._engine.live
        is_new = live.changes is not None and live.bundle.items.idx(item_id) >= live.changes.n_trained
        return await self._engine.item(item_id), is_new

    async def delete(self, item_id: str) -> None:
        """Remove an item: it is unknown from now on.

        Raises:
            UnknownItemError: there is none.
            StoreDownError: Redis is away.
        """
        if item_id not in self._engine.live.bundle.items:
            raise UnknownItemError(item_id)
        changes = {item_id: Said(deleted=True)}
        await self._shelf.write(changes, {})
        await self._keeper.take(changes)

    async def bulk(self, rows: Mapping[int, BulkItemIn], *, whole: bool) -> dict[int, dict[str, object]]:
        """Put or patch many items; those that cannot be taken are named, the others are.

        Args:
            rows: the items by their place in the import.
            whole: as of `write`.

        Returns:
            Of each that was refused, by its place: index, item_id, rule, place, value.

        Raises:
            StoreDownError: Redis is away, so nothing can be kept.
        """
        _ = self._engine.live
        indices = list(rows)
        refused = await self._written([(one.item_id, one) for one in rows.values()], whole=whole)
        return {indices[n]: _told(indices[n], rows[indices[n]].item_id, why) for n, why in refused}

    async def _written(
        self, wanted: Sequence[tuple[str, ItemIn]], *, whole: bool
    ) -> list[tuple[int, RefusedItem | UnknownItemError]]:
        """Write all that can be; the others by index, with the reason."""
        async with self._turn:
            known: dict[str, Said] = {}
            if not whole:
                await self._keeper.look()  # what Redis has lost comes back before it is changed
                known = await self._shelf.read([item_id for item_id, _ in wanted])
            asked: list[_Asked] = []
            refused: list[tuple[int, RefusedItem | UnknownItemError]] = []
            taken: set[str] = set()
            for index, (item_id, said) in enumerate(wanted):
                try:
                    if item_id in taken:
                        rule = "an item may be named once in a batch"
                        raise RefusedItem(422, "invalid-request", rule, "body.item_id", item_id)
                    asked.append(self._asked(item_id, said, known.get(item_id, Said()), whole=whole))
                    taken.add(item_id)
                except (RefusedItem, UnknownItemError) as error:
                    refused.append((index, error))
            if asked:
                changes = await asyncio.to_thread(self._encoded, asked)
                await self._shelf.write(changes, {one.item_id: one.jpeg for one in asked if one.jpeg is not None})
                await self._keeper.take({one.item_id: one.known.then(changes[one.item_id]) for one in asked})
            return refused

    def _asked(self, item_id: str, said: ItemIn, known: Said, *, whole: bool) -> _Asked:
        bundle = self._engine.live.bundle
        if not whole and item_id not in bundle.items:
            raise UnknownItemError(item_id)
        if not item_id.isprintable() or item_id != id_read(item_id):
            rule = "item_id must hold printable characters, no blanks around them"
            raise RefusedItem(422, "invalid-request", rule, "path.item_id", item_id)
        if item_id not in bundle.items:
            try:
                self._keeper.placer.require()
            except CannotPlace as error:
                raise RefusedItem(409, "cannot-place", str(error)) from error
        fields = said.said()
        picture, jpeg = None, None
        if said.picture is not None:
            picture = self._decoded(said.picture)
            jpeg = as_jpeg(picture)
            fields["image"] = uploaded_name(jpeg)
        return _Asked(item_id, known, Said(whole=whole, fields=fields), picture, jpeg)

    def _decoded(self, text: str) -> Image:
        from features.pictures.decoding import UnreadableImage, decode  # brings Pillow: only where a picture comes

        try:
            return decode(base64.b64decode(text, validate=True), max_pixels=self._max_pixels)
        except (binascii.Error, UnicodeEncodeError):
            raise RefusedItem(422, "not-a-picture", "picture must be base64", "body.picture", text) from None
        except UnreadableImage as error:
            rule = f"picture must be a picture, this one {error}"
            raise RefusedItem(422, "not-a-picture", rule, "body.picture", text) from error

    def _encoded(self, asked: Sequence[_Asked]) -> dict[str, Said]:
        """The changes with the vectors of new words and pictures, all words at once."""
        placer, base = self._keeper.placer, self._keeper.trained
        displays = [_shown(one, base) for one in asked]
        vectors: list[dict[str, Floats]] = [{} for _ in asked]
        made_of: list[dict[str, str]] = [{} for _ in asked]
        worded: list[int] = []
        for place, (one, display) in enumerate(zip(asked, displays, strict=True)):
            before = _known(one.item_id, base)
            for kind in ("text", "image"):
                source = source_of(kind, display, placer.encoders)
                if before is not None and source == source_of(kind, before, placer.encoders):
                    continue
                if one.known.made_of.get(kind) == source and not one.change.whole:
                    continue
                made_of[place][kind] = source
                if kind == "text":
                    worded.append(place)
                else:
                    picture = one.picture or self._keeper.picture(display["image"], None)
                    vectors[place][kind] = placer.picture(picture)
        for place, vector in zip(worded, placer.words([displays[place] for place in worded]), strict=True):
            vectors[place]["text"] = vector
        return {
            one.item_id: Said(whole=one.change.whole, fields=one.change.fields, vectors=of, made_of=by)
            for one, of, by in zip(asked, vectors, made_of, strict=True)
        }


def _known(item_id: str, base: Bundle) -> Mapping[str, Any] | None:
    """What the bundle itself shows of an item."""
    return base.display(base.items.idx(item_id)) if item_id in base.items else None


def _shown(one: _Asked, base: Bundle) -> dict[str, Any]:
    display = one.known.then(one.change).display(one.item_id, base)
    assert display is not None  # noqa: S101 - a put always shows something, and what is patched is there
    return display


def _problem(refused: RefusedItem | UnknownItemError) -> ProblemError:
    assert isinstance(refused, RefusedItem)  # noqa: S101 - the caller has looked
    errors = [{"place": refused.place, "rule": str(refused), "value": refused.value}]
    return ProblemError(refused.status, refused.kind, str(refused), errors=errors)


def _told(index: int, item_id: str, refused: RefusedItem | UnknownItemError) -> dict[str, object]:
    """A refused row of an import; in it, an item's id is told in the body."""
    if isinstance(refused, UnknownItemError):
        refused = RefusedItem(404, "unknown-item", "must be in the catalog", "body.item_id", item_id)
    place = ".".join((f"body.items.{index}", *refused.place.split(".")[1:]))
    return {"index": index, "item_id": item_id, "rule": str(refused), "place": place, "value": refused.value}
