"""Every item's words and pictures as vectors: read, deduplicated by content, encoded once, remembered on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from features.cores import cores
from features.encoders import engine, models
from features.encoders.cache import VectorCache, content_key
from features.encoders.config import EncoderConfig, ItemPictures
from features.encoders.embeddings import Embeddings, ItemVectors
from features.encoders.image import image_encoder
from features.encoders.pipeline import run_ahead, shelf
from features.encoders.protocol import Arrays, Encoder, ImageEncoder, Prepared
from features.encoders.text import TextEncoder
from features.encoders.tokens import by_length
from features.pictures.sources import ImageSource, UnreadableImage, decode
from features.progress import bar
from features.quarantine import Quarantine
from features.shop.shop import Shop
from features.vectors.rows import unit_rows

UNREADABLE = "picture cannot be read"
"""The rule under which a picture is refused; the value says why."""
SAMPLE = 8
"""Contents on which a faster engine is compared with the plain one."""
WINDOW = 1024
"""Texts that are cut into tokens, and batched by length, at once."""
GATHERED_AT_ONCE = 8192
"""Rows read from the cache at once."""

_TOKENS = {"cpu": 1024, "cuda": 32_768}
_PICTURES = {"cpu": 4, "cuda": 128}
"""What suits a device: on a CPU, what a core holds in its own memory; on a GPU, what fills it."""

log = structlog.get_logger()


def encode_catalog(shop: Shop, config: EncoderConfig, *, cache_dir: Path, quarantine: Quarantine) -> ItemVectors:
    """Vectors of every item's text (title and description) and pictures.

    Content that is in the cache is not encoded again, and two items with the same words or the same picture file are
    encoded once. A run that is interrupted goes on where it was.

    Args:
        shop: the shop; an item without words or picture gets a zero row and a False mask in that modality.
        config: the encoders.
        cache_dir: folder of the caches, shared by all shops and encoders.
        quarantine: takes the pictures that cannot be read; an item whose pictures all are counts as having none.

    Raises:
        InputError: a model named by the configuration cannot be found or used.
    """
    texts = encode_texts(shop.catalog.texts(), TextEncoder.of(config), config=config, cache_dir=cache_dir)
    images = encode_images(
        shop.catalog.images(),
        shop.images,
        image_encoder(config),
        config=config,
        cache_dir=cache_dir,
        quarantine=quarantine,
    )
    return ItemVectors(texts, images)


def encode_texts(texts: list[str], encoder: TextEncoder, *, config: EncoderConfig, cache_dir: Path) -> Embeddings:
    """Vectors of the texts, one row a text; an empty or blank text is missing.

    Args:
        texts: of the items.
        encoder: the network.
        config: how it is run.
        cache_dir: folder of the caches.
    """
    return encode_text_lists([[text] for text in texts], encoder, config=config, cache_dir=cache_dir)


def encode_text_lists(
    texts: Sequence[Sequence[str]], encoder: TextEncoder, *, config: EncoderConfig, cache_dir: Path
) -> Embeddings:
    """Vectors of lists of texts, one row a list: the mean over its texts; a list without words is missing.

    Args:
        texts: of the items; empty and blank ones do not count.
        encoder: the network.
        config: how it is run.
        cache_dir: folder of the caches.
    """
    start = time.perf_counter()
    text_of: dict[bytes, str] = {}
    rows_of: list[list[bytes]] = []
    for listed in texts:
        stripped = [text.strip() for text in listed]
        keys = [(content_key(text.encode()), text) for text in stripped if text]
        text_of |= keys
        rows_of.append([key for key, _ in keys])
    with VectorCache(cache_dir, encoder.fingerprint, encoder.about) as cache:
        new = sorted(cache.absent(list(text_of)), key=lambda key: (-len(text_of[key]), text_of[key]))
        budget = config.text_tokens or _TOKENS[models.device_of(config.device).type]

        def batches() -> Iterator[tuple[list[bytes], list[list[int]]]]:
            for first in range(0, len(new), WINDOW):
                window = new[first : first + WINDOW]
                rows = encoder.tokens([text_of[key] for key in window])
                for part in by_length([len(row) for row in rows], budget=budget):
                    yield [window[at] for at in part], [rows[at] for at in part]

        if new:
            examples = [new[at] for at in np.linspace(0, len(new) - 1, SAMPLE).astype(int).tolist()]
            sample = encoder.inputs(encoder.tokens([text_of[key] for key in examples]))
            runner = engine.engine_for(encoder, sample, config, n=len(new), cache_dir=cache_dir)

            def run(batch: tuple[list[bytes], list[list[int]]]) -> NDArray[np.float32]:
                return encoder.finish(runner.run(encoder.inputs(batch[1])), batch[1])

            with engine.one_thread_each(runner), shelf(cache) as put, bar("encoding texts", total=len(new)) as progress:
                for (batch, _), done in run_ahead(run, batches(), threads=runner.parallel, ahead=2 * runner.parallel):
                    put(batch, done.result())
                    progress.advance(len(batch))
        return _gather(rows_of, cache, encoder, modality="text", encoded=len(new), start=start)


def encode_images(
    names: Sequence[Sequence[str]],
    source: ImageSource | None,
    encoder: ImageEncoder,
    *,
    config: EncoderConfig,
    cache_dir: Path,
    quarantine: Quarantine,
) -> Embeddings:
    """Vectors of the named pictures, one row an item: of its picture, or of its readable ones as `config.item_pictures`
    makes them one.

    Args:
        names: the pictures' names of each item; an item without any, or with none that can be read, is missing.
        source: where the pictures are; None where the shop has none.
        encoder: the network.
        config: how it is run.
        cache_dir: folder of the caches.
        quarantine: takes what cannot be read, with the item's row.
    """
    start = time.perf_counter()
    key_of: dict[str, bytes] = {}
    reason_of: dict[str, str] = {}
    distinct = list(dict.fromkeys(chain.from_iterable(names))) if source is not None else []
    size = config.image_batch or _PICTURES[models.device_of(config.device).type]
    threads = config.decode_threads or cores()
    claimed: set[bytes] = set()
    with VectorCache(cache_dir, encoder.fingerprint, encoder.about) as cache:

        def read(name: str) -> tuple[bytes, Prepared | None]:
            try:
                content = source.read(name) if source is not None else b""
            except KeyError as error:
                raise UnreadableImage(str(error.args[0])) from error
            key = content_key(content)
            return key, None if key in cache else encoder.prepare(decode(content))

        def batches() -> Iterator[dict[bytes, Prepared]]:
            pending: dict[bytes, Prepared] = {}
            with bar("encoding pictures", total=len(distinct)) as progress:
                for name, done in run_ahead(read, distinct, threads=threads, ahead=2 * size + threads):
                    progress.advance()
                    try:
                        key, prepared = done.result()
                    except UnreadableImage as error:
                        reason_of[name] = str(error)
                        continue
                    key_of[name] = key
                    if prepared is not None and key not in claimed:
                        claimed.add(key)
                        pending[key] = prepared
                    if len(pending) == size:
                        yield pending
                        pending = {}
            if pending:
                yield pending

        _encode_batches(batches(), encoder, cache, config=config, n=len(distinct), cache_dir=cache_dir)
        for row, listed in enumerate(names):
            for name in listed:
                if name in reason_of:
                    quarantine.refuse(name, row, UNREADABLE, reason_of[name])
        rows_of = [[key_of[name] for name in listed if name in key_of] for listed in names]
        how = config.item_pictures
        return _gather(rows_of, cache, encoder, modality="image", encoded=len(claimed), start=start, how=how)


def _encode_batches(
    batches: Iterator[dict[bytes, Prepared]],
    encoder: ImageEncoder,
    cache: VectorCache,
    *,
    config: EncoderConfig,
    n: int,
    cache_dir: Path,
) -> None:
    first = next(batches, None)
    if first is None:
        return
    # on a GPU every size of batch costs seconds, in which cuDNN plans the convolutions: there is but one, the first's
    filled = len(first) if models.device_of(config.device).type == "cuda" else 0
    shown = filled or SAMPLE
    sample: Arrays = encoder.inputs((list(first.values()) * shown)[:shown])
    runner = engine.engine_for(encoder, sample, config, n=n, cache_dir=cache_dir)

    def run(batch: dict[bytes, Prepared]) -> NDArray[np.float32]:
        rows = list(batch.values())
        return runner.run(encoder.inputs(rows + rows[:1] * (filled - len(rows))))[: len(rows)]

    with engine.one_thread_each(runner), shelf(cache) as put:
        todo = chain([first], batches)
        for batch, done in run_ahead(run, todo, threads=runner.parallel, ahead=2 * runner.parallel):
            put(list(batch), done.result())


def _gather(
    keys: list[list[bytes]],
    cache: VectorCache,
    encoder: Encoder,
    *,
    modality: str,
    encoded: int,
    start: float,
    how: ItemPictures = "mean",
) -> Embeddings:
    """Rows of the items, each made of its contents' vectors, scaled to length 1; a few thousand at once."""
    wanted = [(row, key) for row, listed in enumerate(keys) for key in (listed[:1] if how == "first" else listed)]
    log.info(
        "catalog encoded",
        modality=modality,
        items=len(keys),
        missing=sum(not listed for listed in keys),
        distinct=len({key for _, key in wanted}),
        encoded_now=encoded,
        seconds=round(time.perf_counter() - start, 1),
    )
    if not wanted:
        return Embeddings.missing(len(keys), cache.dim or encoder.dim, encoder.fingerprint, encoder.space)
    assert cache.dim is not None  # noqa: S101 - there is a vector of every content that is wanted
    join, nothing = (np.maximum, -np.inf) if how == "max" else (np.add, 0)
    vectors = np.full((len(keys), cache.dim), nothing, dtype=np.float32)
    vectors[[not listed for listed in keys]] = 0
    for first in range(0, len(wanted), GATHERED_AT_ONCE):
        part = wanted[first : first + GATHERED_AT_ONCE]
        join.at(vectors, [row for row, _ in part], unit_rows(cache.take([key for _, key in part])))
    for first in range(0, len(vectors), GATHERED_AT_ONCE):
        part_of = slice(first, first + GATHERED_AT_ONCE)
        vectors[part_of] = unit_rows(vectors[part_of])
    mask: NDArray[np.bool_] = np.any(vectors != 0, axis=1)
    return Embeddings(vectors, mask, encoder.fingerprint, encoder.space)
