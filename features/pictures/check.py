"""Every picture of a shop opened once: which cannot be used, and which are the same."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from features.pictures.sources import ImageSource, UnreadableImage, decode
from features.progress import bar
from features.quarantine import Quarantine
from features.shop.shop import Shop

AHEAD = 8
"""Pictures in work at once for each thread: what bounds the memory."""


@dataclass(frozen=True)
class PictureReport:
    """What opening every picture brought to light.

    Args:
        readable: number of items of which a picture can be used.
        unreadable: item row -> why none of its pictures can be used (said of the first).
        same: groups of item rows, two or more, whose main pictures are the same byte for byte; ordered by their first
            row.
    """

    readable: int
    unreadable: dict[int, str]
    same: tuple[tuple[int, ...], ...]

    @property
    def duplicates(self) -> int:
        """Number of items whose picture is that of an earlier item."""
        return sum(len(group) - 1 for group in self.same)


def check_pictures(shop: Shop, *, quarantine: Quarantine, threads: int = 2) -> PictureReport:
    """Read and decode all pictures of every item, with a progress bar and a bounded number of pictures in memory.

    Args:
        shop: the shop.
        quarantine: takes each unreadable picture, with its item's row and the reason.
        threads: readers side by side.
    """
    if shop.images is None:
        return PictureReport(0, {}, ())
    pictures = shop.catalog.images()
    wanted = list(dict.fromkeys(name for names in pictures for name in names))
    content: dict[str, str] = {}
    reason: dict[str, str] = {}
    with bar("opening pictures", total=len(wanted)) as progress:
        for name, opened in _in_order(shop.images, wanted, threads):
            progress.advance()
            try:
                content[name] = opened.result()
            except UnreadableImage as error:
                reason[name] = str(error)
    unreadable: dict[int, str] = {}
    by_content: dict[str, list[int]] = {}
    for row, names in enumerate(pictures):
        for name in names:
            if name in reason:
                quarantine.refuse(name, row, "unreadable image", reason[name])
        if names and names[0] in content:
            by_content.setdefault(content[names[0]], []).append(row)
        if names and not any(name in content for name in names):
            unreadable[row] = reason[names[0]]
    return PictureReport(
        readable=sum(1 for names in pictures if names) - len(unreadable),
        unreadable=unreadable,
        same=tuple(sorted(tuple(sorted(rows)) for rows in by_content.values() if len(rows) > 1)),
    )


def _in_order(source: ImageSource, names: list[str], threads: int) -> Iterator[tuple[str, Future[str]]]:
    """Open the pictures in threads and hand back the results in order, never far ahead of who takes them."""

    def open_one(name: str) -> str:
        try:
            data = source.read(name)
        except (KeyError, OSError) as error:  # removed since the shop was read
            raise UnreadableImage(f"cannot be read: {error}") from error
        decode(data)
        return hashlib.sha256(data).hexdigest()

    waiting: deque[tuple[str, Future[str]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="open") as pool:
        try:
            for name in names:
                waiting.append((name, pool.submit(open_one, name)))
                if len(waiting) >= threads * AHEAD:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
