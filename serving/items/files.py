"""What a worker writes to its state folder of the items that changed, and gives back from there: see `ItemKeeper`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import structlog

from features.errors import InputError
from serving.items.kept import KeptItems, Remembered
from serving.items.said import Said
from serving.items.shelf import ItemShelf
from serving.steady import apart
from serving.store import StoreDownError
from serving.telemetry import Telemetry

log = structlog.get_logger()

LEAST_PAUSE_S, PAUSE = 1.0, 20.0
"""Between two writes of the file: so many seconds at least, and so many times as long as the last one took."""


class ItemFiles:
    """The file of one worker's changed items, and the folder of their pictures.

    Args:
        kept: the file; None for none, and then no pictures are kept either.
        shelf: knows pictures, in Redis and in the folder.
        telemetry: counts pictures that were put back.
    """

    def __init__(self, kept: KeptItems | None, shelf: ItemShelf, telemetry: Telemetry) -> None:
        self._kept = kept
        self._shelf = shelf
        self._telemetry = telemetry
        self._written, self._write_at, self._pictured = "", 0.0, ""
        self._lost: Mapping[str, Said] = {}

    async def read(self) -> Remembered | None:
        """What the file says; None where there is none, or it cannot be read."""
        try:
            found = None if self._kept is None else await asyncio.to_thread(self._kept.read)
        except InputError as error:
            log.error("the last known changes of items cannot be read", error=str(error))
            return None
        self._written = "" if found is None else found.change
        return found

    def put_back(self, known: Mapping[str, Said]) -> None:
        """Redis has lost items: let the next `picture` give it their pictures."""
        self._lost = known

    async def write(self, known: Mapping[str, Said], change: str | None) -> None:
        """Keep what is known of items by a change, where that is news; what takes long is done seldom."""
        await self._write(known, change or "0-0", hurry=False)

    async def picture(self, known: Mapping[str, Said], change: str | None) -> None:
        """Give a Redis that has lost them the pictures of items, and keep those of what is known, where that is news.
        There may be many, so that it takes a while.
        """
        if self._kept is None or not self._shelf.up:
            return
        try:
            lost, self._lost = self._lost, {}
            self._telemetry.pictures_restored.inc(await self._shelf.put_pictures_back(lost))
            if change not in (None, "0-0", self._pictured):
                await self._shelf.keep_pictures(dict(known))
                self._pictured = change or ""
        except StoreDownError:  # tried again, as of the pictures only some may be back
            self._lost = {**lost, **self._lost}
        except OSError as error:
            self._pictured = change or ""
            log.error("uploaded pictures cannot be kept in files", error=str(error))

    async def close(self, known: Mapping[str, Said], change: str | None) -> None:
        """Keep what is known in the file, whenever it was written last."""
        self._write_at = 0.0
        await self._write(known, change or "0-0", hurry=True)

    async def _write(self, known: Mapping[str, Said], change: str, *, hurry: bool) -> None:
        began = time.monotonic()
        if self._kept is None or change in ("0-0", self._written) or began < self._write_at:
            return
        try:
            run = asyncio.to_thread if hurry else apart
            await run(self._kept.write, Remembered(dict(known), change))
        except OSError as error:
            log.error("changes of items cannot be kept in a file", path=str(self._kept.path), error=str(error))
        else:  # what could not be written is tried again after the pause
            self._written = change
        self._write_at = time.monotonic() + max(LEAST_PAUSE_S, PAUSE * (time.monotonic() - began))
