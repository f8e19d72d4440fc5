"""Uploaded pictures in a folder of the state folder, by what they hold, for a Redis that is away or has lost them.

A picture's name is the hash of its bytes, so a file is right or it is not used, and whoever writes one writes the same.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import structlog

from features.aside import replacing
from serving.items.said import UPLOADED, Said, uploaded_name

log = structlog.get_logger()

UNUSED_S = 3600.0
"""A picture that no item has is kept so long more: this worker may not have heard of its item yet."""
_NAME = re.compile(re.escape(UPLOADED) + "[0-9a-f]{24}")


class KeptPictures:
    """The folder.

    Args:
        path: where it lies; workers share it.
        most_bytes: pictures beyond so much are not kept.
    """

    def __init__(self, path: Path, *, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes

    def read(self, name: str) -> bytes | None:
        """A picture by the name that its item has for it; None where it is not here, or not what it was."""
        if _NAME.fullmatch(name) is None:
            return None
        try:
            data = self._file(name).read_bytes()
        except OSError:
            return None
        return data if uploaded_name(data) == name else None

    async def follow(self, known: Mapping[str, Said], ask: Callable[[str], Awaitable[bytes | None]]) -> None:
        """Keep the pictures that items have, as far as there is room, and others no longer.

        Args:
            known: all that was said of items.
            ask: for the picture that was sent for an item; what it raises is passed on.

        Raises:
            OSError: the folder cannot be written to.
        """
        named, unfit = names_of(known), 0
        here = await asyncio.to_thread(self._here)
        room = self._most_bytes - sum(here.get(name, 0) for name in set(named.values()))
        for item_id, name in named.items():
            data = None if name in here else await ask(item_id)
            if data is None or uploaded_name(data) != name:  # another one was sent meanwhile, and is told of next
                continue
            if len(data) > room:
                unfit += 1
                continue
            await asyncio.to_thread(self._write, name, data)
            here[name], room = len(data), room - len(data)
        await asyncio.to_thread(self._drop, here.keys() - set(named.values()))
        if unfit:
            log.error("uploaded pictures lie in redis alone", pictures=unfit, most_bytes=self._most_bytes)

    def _file(self, name: str) -> Path:
        return self._path / f"{name.removeprefix(UPLOADED)}.jpg"

    def _here(self) -> dict[str, int]:
        """Bytes of each picture that is here."""
        sizes = {UPLOADED + file.stem: _stat(file) for file in self._path.glob("*.jpg")}
        return {name: said.st_size for name, said in sizes.items() if said is not None}

    def _write(self, name: str, data: bytes) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        with replacing(self._file(name)) as unfinished:
            unfinished.write_bytes(data)

    def _drop(self, names: Iterable[str]) -> None:
        for file in map(self._file, names):
            said = _stat(file)
            if said is not None and time.time() - said.st_mtime > UNUSED_S:
                file.unlink(missing_ok=True)


def _stat(file: Path) -> os.stat_result | None:
    """What the disk says of a file; None where another worker has dropped it meanwhile."""
    try:
        return file.stat()
    except FileNotFoundError:
        return None


def names_of(known: Mapping[str, Said]) -> dict[str, str]:
    """The names of the pictures that were sent, by item."""
    images = {item_id: str(said.fields.get("image") or "") for item_id, said in known.items() if not said.deleted}
    return {item_id: image for item_id, image in images.items() if _NAME.fullmatch(image)}
