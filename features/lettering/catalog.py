"""The lettering of a shop's pictures: each read once, remembered on disk, put together an item."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import structlog

from features.cores import cores
from features.encoders.cache import content_key
from features.encoders.catalog import UNREADABLE
from features.encoders.pipeline import run_ahead
from features.lettering.config import LetteringConfig
from features.lettering.journal import LetteringJournal
from features.lettering.reader import LetteringReader, Line
from features.pictures.sources import UnreadableImage, decode
from features.progress import bar
from features.quarantine import Quarantine
from features.shop.shop import Shop

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Lettering:
    """What is spelled in the pictures of a shop.

    Args:
        lines: a row an item: the lines in its readable pictures that are sure enough, the main picture's first; ()
            where nothing is lettered and where there is no picture.
    """

    lines: Sequence[tuple[Line, ...]]

    def __len__(self) -> int:
        return len(self.lines)


def read_lettering(shop: Shop, config: LetteringConfig, *, cache_dir: Path, quarantine: Quarantine) -> Lettering:
    """Read every picture of a shop, with a progress bar.

    What was read before, by a run that was killed too, is not read again.

    Args:
        shop: the shop.
        config: how pictures are read.
        cache_dir: folder of the caches, shared by all shops.
        quarantine: takes the pictures that cannot be read.
    """
    start = time.perf_counter()
    reader = LetteringReader(config)
    pictures = shop.catalog.images() if shop.images is not None else [()] * len(shop.catalog)
    distinct = list(dict.fromkeys(chain.from_iterable(pictures)))
    lines_of: dict[str, tuple[Line, ...]] = {}
    reason_of: dict[str, str] = {}
    read_now = 0
    threads = config.threads or cores()
    with (
        LetteringJournal(cache_dir, reader.fingerprint) as journal,
        bar("reading lettering", total=len(distinct)) as progress,
    ):

        def read(name: str) -> tuple[bytes, tuple[Line, ...] | None]:
            try:
                content = shop.images.read(name) if shop.images is not None else b""
            except KeyError as error:
                raise UnreadableImage(str(error.args[0])) from error
            key = content_key(content)
            return key, None if key in journal else reader.read(decode(content))

        for name, done in run_ahead(read, distinct, threads=threads, ahead=4 * threads):
            progress.advance()
            try:
                key, lines = done.result()
            except UnreadableImage as error:
                reason_of[name] = str(error)
                continue
            if lines is not None and key not in journal:
                journal.add(key, lines)
                read_now += 1
            lines_of[name] = tuple(line for line in journal[key] if line.confidence >= config.least_confidence)
    for row, listed in enumerate(pictures):
        for name in listed:
            if name in reason_of:
                quarantine.refuse(name, row, UNREADABLE, reason_of[name])
    found = [tuple(chain.from_iterable(lines_of.get(name, ()) for name in listed)) for listed in pictures]
    log.info(
        "lettering read",
        pictures=len(distinct),
        unreadable=len(reason_of),
        read_now=read_now,
        lettered=sum(map(bool, found)),
        seconds=round(time.perf_counter() - start, 1),
    )
    return Lettering(found)
