"""Every item's words and picture as vectors: read, deduplicated by content, encoded once, remembered on disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog

from features.encoders.cache import VectorCache, content_key
from features.encoders.config import EncoderConfig
from features.encoders.embeddings import Embeddings, ItemVectors
from features.encoders.image import ImageEncoder, Prepared, image_encoder
from features.encoders.text import TextEncoder
from features.pictures.sources import ImageSource, UnreadableImage, decode
from features.progress import bar
from features.quarantine import Quarantine
from features.shop.shop import Shop

In = TypeVar("In")
Out = TypeVar("Out")

UNREADABLE = "picture cannot be read"
"""The rule under which a picture is refused; the value says why."""

log = structlog.get_logger()


def encode_catalog(shop: Shop, config: EncoderConfig, *, cache_dir: Path, quarantine: Quarantine) -> ItemVectors:
    """Vectors of every item's text (title and description) and picture.

    Content that is in the cache is not encoded again, and two items with the same words or the same picture file are
    encoded once. A run that is interrupted goes on where it was.

    Args:
        shop: the shop; an item without words or picture gets a zero row and a False mask in that modality.
        config: the encoders.
        cache_dir: folder of the caches, shared by all shops and encoders.
        quarantine: takes the pictures that cannot be read; their items count as having none.

    Raises:
        InputError: a model named by the configuration cannot be found or used.
    """
    texts = encode_texts(shop.catalog.texts(), TextEncoder.of(config), batch=config.text_batch, cache_dir=cache_dir)
    images = encode_images(
        shop.catalog.image.tolist(),
        shop.images,
        image_encoder(config),
        config=config,
        cache_dir=cache_dir,
        quarantine=quarantine,
    )
    return ItemVectors(texts, images)


def encode_texts(texts: list[str], encoder: TextEncoder, *, batch: int, cache_dir: Path) -> Embeddings:
    """Vectors of the texts, one row a text; an empty or blank text is missing."""
    start = time.perf_counter()
    stripped = [text.strip() for text in texts]
    keys = [content_key(text.encode()) if text else None for text in stripped]
    with VectorCache(cache_dir, encoder.fingerprint, encoder.about) as cache:
        new = {key: text for key, text in zip(keys, stripped, strict=True) if key is not None and key not in cache}
        by_length = sorted(new.items(), key=lambda item: (-len(item[1]), item[1]))
        with bar("encoding texts", total=len(new)) as progress:
            for first in range(0, len(by_length), batch):
                part = by_length[first : first + batch]
                cache.append([key for key, _ in part], encoder.encode([text for _, text in part]))
                progress.advance(len(part))
        return _gather(keys, cache, encoder, modality="text", encoded=len(new), start=start)


def encode_images(
    names: list[str],
    source: ImageSource | None,
    encoder: ImageEncoder,
    *,
    config: EncoderConfig,
    cache_dir: Path,
    quarantine: Quarantine,
) -> Embeddings:
    """Vectors of the named pictures, one row a name; "" or an unreadable picture is missing.

    Args:
        names: the picture's name of each item, "" for none.
        source: where the pictures are; None where the shop has none.
        encoder: the network.
        config: batch size and threads.
        cache_dir: folder of the caches.
        quarantine: takes what cannot be read, with the item's row.
    """
    start = time.perf_counter()
    key_of: dict[str, bytes] = {}
    reason_of: dict[str, str] = {}
    distinct = [name for name in dict.fromkeys(names) if name] if source is not None else []
    encoded = 0
    with VectorCache(cache_dir, encoder.fingerprint, encoder.about) as cache:

        def read(name: str) -> tuple[bytes, Prepared | None]:
            try:
                content = source.read(name) if source is not None else b""
            except KeyError as error:
                raise UnreadableImage(str(error.args[0])) from error
            key = content_key(content)
            return key, None if key in cache else encoder.prepare(decode(content))

        pending: dict[bytes, Prepared] = {}

        def flush() -> None:
            cache.append(list(pending), encoder.encode(list(pending.values())))
            pending.clear()

        with bar("encoding pictures", total=len(distinct)) as progress:
            ahead = 2 * config.image_batch
            for name, future in _ahead(read, distinct, threads=config.decode_threads, ahead=ahead):
                progress.advance()
                try:
                    key, prepared = future.result()
                except UnreadableImage as error:
                    reason_of[name] = str(error)
                    continue
                key_of[name] = key
                if prepared is not None and key not in cache and key not in pending:
                    pending[key] = prepared
                    encoded += 1
                if len(pending) == config.image_batch:
                    flush()
            if pending:
                flush()
        for row, name in enumerate(names):
            if name in reason_of:
                quarantine.refuse(name, row, UNREADABLE, reason_of[name])
        keys = [key_of.get(name) for name in names]
        return _gather(keys, cache, encoder, modality="image", encoded=encoded, start=start)


def _ahead(work: Callable[[In], Out], items: list[In], *, threads: int, ahead: int) -> Iterator[tuple[In, Future[Out]]]:
    """Run `work` in threads, at most `ahead` items before the consumer, and hand back the futures in order."""
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        waiting: deque[tuple[In, Future[Out]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _gather(
    keys: list[bytes | None],
    cache: VectorCache,
    encoder: TextEncoder | ImageEncoder,
    *,
    modality: str,
    encoded: int,
    start: float,
) -> Embeddings:
    mask = np.array([key is not None for key in keys], dtype=bool)
    present = [key for key in keys if key is not None]
    log.info(
        "catalog encoded",
        modality=modality,
        items=len(keys),
        missing=len(keys) - len(present),
        distinct=len(set(present)),
        encoded_now=encoded,
        seconds=round(time.perf_counter() - start, 1),
    )
    if not present:
        return Embeddings.missing(len(keys), cache.dim or encoder.dim, encoder.fingerprint)
    vectors = cache.take(present)
    raw = np.zeros((len(keys), vectors.shape[1]), dtype=np.float32)
    raw[mask] = vectors
    return Embeddings.of(raw, mask, encoder.fingerprint)
