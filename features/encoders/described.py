"""Pictures described by whatever describes them: each different file once, remembered on disk by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from features.cores import cores
from features.encoders.cache import VectorCache, content_key
from features.encoders.catalog import UNREADABLE
from features.encoders.pipeline import run_ahead, shelf
from features.pictures.sources import ImageSource, UnreadableImage, decode
from features.progress import bar
from features.quarantine import Quarantine

DONE_AT_ONCE = 32
"""Pictures or texts in a batch."""


class Describer(Protocol):
    """What turns pictures into one array a kind of description."""

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """One RGB picture at the size that is looked at."""

    def encode(self, batch: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], ...]:
        """Descriptions, a row a picture each."""


class NamedDescriber(Describer, Protocol):
    """One that gives a single kind of description."""

    @property
    def fingerprint(self) -> str:
        """Changes with every setting that changes the description."""


def describe_alone(
    names: list[str],
    source: ImageSource | None,
    encoder: NamedDescriber,
    kind: str,
    *,
    dim: int,
    cache_dir: Path,
    quarantine: Quarantine,
) -> NDArray[np.float16]:
    """The only description that an encoder gives, float16 [n_items, dim]; zero for none.

    Args:
        names: the picture's name of each item, "" for none.
        source: where the pictures are; None where the shop has none.
        encoder: whose fingerprint names the cache.
        kind: what the description is.
        dim: its numbers.
        cache_dir: folder of the caches.
        quarantine: takes what cannot be read, with the item's row.
    """
    kinds = {encoder.fingerprint: kind}
    rows, _ = describe(names, source, encoder, kinds, threads=cores(), cache_dir=cache_dir, quarantine=quarantine)
    return rows[0] if rows[0].shape[1] else np.zeros((len(names), dim), dtype=np.float16)


def describe(
    names: list[str],
    source: ImageSource | None,
    encoder: Describer,
    kinds: dict[str, str],
    *,
    threads: int,
    cache_dir: Path,
    quarantine: Quarantine,
) -> tuple[list[NDArray[np.float16]], Found]:
    """Describe each different file once; what is in the caches is not looked at again.

    Args:
        names: the picture's name of each item, "" for none.
        source: where the pictures are.
        encoder: whose first descriptions, as many as there are kinds, are kept.
        kinds: fingerprint -> what it is; a cache each.
        threads: that read and decode.
        cache_dir: folder of the caches.
        quarantine: takes what cannot be read, with the item's row.

    Returns:
        a row an item of each kind, zero where there is no picture, and what was found of each name.
    """
    found = Found()
    with ExitStack() as held:
        caches = [held.enter_context(VectorCache(cache_dir, name, about)) for name, about in kinds.items()]

        def read(name: str) -> tuple[bytes, str, NDArray[np.uint8] | None]:
            try:
                content = source.read(name) if source is not None else b""
            except KeyError as error:
                raise UnreadableImage(str(error.args[0])) from error
            key = content_key(content)
            prepared = None if all(key in cache for cache in caches) else encoder.prepare(decode(content))
            return key, short_hash(content), prepared

        with ExitStack() as shelves:
            puts = [shelves.enter_context(shelf(cache)) for cache in caches]
            for batch in _new_pictures(names if source is not None else [], read, found, threads=threads):
                keys = list(batch)
                for cache, put, made in zip(caches, puts, encoder.encode(list(batch.values())), strict=False):
                    new = [row for row, key in enumerate(keys) if key not in cache]
                    if new:
                        put([keys[row] for row in new], made.reshape(len(keys), -1)[new])
        for row, name in enumerate(names):
            if name in found.reason_of:
                quarantine.refuse(name, row, UNREADABLE, found.reason_of[name])
        mask = np.array([name in found.key_of for name in names], dtype=bool)
        keys = [found.key_of[name] for name in names if name in found.key_of]
        return [spread_out(cache, keys, mask) for cache in caches], found


@dataclass(frozen=True)
class Found:
    """By name: the content's key, its short hash, and why it could not be read."""

    key_of: dict[str, bytes] = field(default_factory=dict)
    digest_of: dict[str, str] = field(default_factory=dict)
    reason_of: dict[str, str] = field(default_factory=dict)


def _new_pictures(
    names: list[str],
    read: Callable[[str], tuple[bytes, str, NDArray[np.uint8] | None]],
    found: Found,
    *,
    threads: int,
) -> Iterator[dict[bytes, NDArray[np.uint8]]]:
    """Batches of the pictures that are not in the cache, each content once."""
    pending: dict[bytes, NDArray[np.uint8]] = {}
    claimed: set[bytes] = set()
    distinct = [name for name in dict.fromkeys(names) if name]
    with bar("looking at pictures", total=len(distinct)) as progress:
        for name, done in run_ahead(read, distinct, threads=threads, ahead=2 * DONE_AT_ONCE):
            progress.advance()
            try:
                found.key_of[name], found.digest_of[name], prepared = done.result()
            except UnreadableImage as error:
                found.reason_of[name] = str(error)
                continue
            key = found.key_of[name]
            if prepared is not None and key not in claimed:
                claimed.add(key)
                pending[key] = prepared
            if len(pending) == DONE_AT_ONCE:
                yield pending
                pending = {}
    if pending:
        yield pending


def resized_whole(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """A picture stretched to a size, nothing cut off, uint8 [3, height, width]."""
    resized = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def short_hash(content: bytes) -> str:
    """16 hex digits of the SHA-1 of a picture's bytes: a name for the picture, not a seal."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]


def spread_out(cache: VectorCache, keys: list[bytes], mask: NDArray[np.bool_]) -> NDArray[np.float16]:
    """Rows of the items that have one, zero rows for the others; a few thousand are read at once."""
    out = np.zeros((len(mask), cache.dim or 0), dtype=np.float16)
    rows = np.flatnonzero(mask)
    for first in range(0, len(rows), 2048):
        part = cache.take(keys[first : first + 2048])
        out[rows[first : first + 2048]] = np.clip(part, -6e4, 6e4)
    return out
