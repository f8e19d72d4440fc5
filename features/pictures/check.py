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
        readable: number of items whose picture can be used.
        unreadable: item row -> why its picture cannot be used.
        same: groups of item rows, two or more, whose pictures are the same byte for byte; ordered by their first row.
    """

    readable: int
    unreadable: dict[int, str]
    same: tuple[tuple[int, ...], ...]

    @property
    def duplicates(self) -> int:
        """Number of items whose picture is that of an earlier item."""
        return sum(len(group) - 1 for group in self.same)


def check_pictures(shop: Shop, *, quarantine: Quarantine, threads: int = 2) -> PictureReport:
    """Read and decode the picture of every item, with a progress bar and a bounded number of pictures in memory.

    Args:
        shop: the shop.
        quarantine: takes each unreadable picture, with its item's row and the reason.
        threads: readers side by side.
    """
    if shop.images is None:
        return PictureReport(0, {}, ())
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(shop.catalog.image.tolist()):
        if name:
            rows_of.setdefault(name, []).append(row)
    unreadable: dict[int, str] = {}
    by_content: dict[str, list[int]] = {}
    with bar("opening pictures", total=len(rows_of)) as progress:
        for name, opened in _in_order(shop.images, list(rows_of), threads):
            progress.advance()
            try:
                by_content.setdefault(opened.result(), []).extend(rows_of[name])
            except UnreadableImage as error:
                unreadable |= dict.fromkeys(rows_of[name], str(error))
    for row in sorted(unreadable):
        quarantine.refuse(shop.catalog.image[row], row, "unreadable image", unreadable[row])
    return PictureReport(
        readable=sum(map(len, by_content.values())),
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
