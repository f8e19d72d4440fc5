"""Pictures part by part, for models that look closer than one vector a listing.

Cached like the vectors: what was read once, by its content, is not read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveInt

from features.encoders import bundled, models
from features.encoders.cache import VectorCache, content_key
from features.encoders.catalog import UNREADABLE
from features.encoders.pipeline import run_ahead, shelf
from features.encoders.scenes import STRIDE, SceneNetwork
from features.pictures.sources import ImageSource, UnreadableImage, decode
from features.progress import bar
from features.quarantine import Quarantine
from features.section import Section

DONE_AT_ONCE = 32
"""Pictures or texts in a batch."""


class LocalConfig(Section):
    """How closely pictures and words are looked at."""

    height: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 224
    """Pixels from top to bottom that the network sees; pictures are resized to it whole, not cropped."""

    width: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 160
    """Pixels from left to right."""

    tokens: PositiveInt = 32
    """Tokens of a text that are kept one by one; longer texts are cut."""

    threads: PositiveInt = 2
    """Threads that read and decode pictures."""

    @property
    def grid(self) -> tuple[int, int]:
        """Patches from top to bottom and from left to right."""
        return self.height // STRIDE, self.width // STRIDE


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of a shop, part by part.

    Args:
        scene: float16 [n_items, d_scene], zero where there is no picture.
        patches: float16 [n_items, n_patches, d_patch]; [n_items, 0, 0] where they were not asked for.
        mask: bool [n_items]; False where there is no readable picture.
        content: per item 16 hex digits of the SHA-1 of the picture's bytes, "" for none.
        pixels: uint8 [n_items, 3, height, width], black where there is no picture; None where they were not asked for.
    """

    scene: NDArray[np.float16]
    patches: NDArray[np.float16]
    mask: NDArray[np.bool_]
    content: list[str]
    pixels: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class SceneEncoder:
    """The bundled network, read at every depth.

    Args:
        config: size of the pictures.
        device: where it runs.
    """

    config: LocalConfig
    device: torch.device

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the weights and with every setting that changes the descriptions."""
        return models.fingerprint([bundled.image_file()], "scene", 1, self.config.height, self.config.width)

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize one RGB picture whole, uint8 [3, height, width]."""
        resized = image.resize((self.config.width, self.config.height), Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))

    @torch.inference_mode()
    def encode(self, batch: list[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scenes float32 [n, d_scene] and patches float32 [n, n_patches, d_patch]."""
        pixels = torch.from_numpy(np.stack(batch)).to(self.device, memory_format=torch.channels_last)
        scene, patches = self.network(pixels.float() / 255)
        return scene.cpu().numpy(), patches.cpu().numpy()

    @cached_property
    def network(self) -> SceneNetwork:
        """Pixels to scenes and patches."""
        network = SceneNetwork(bundled.image_network())
        return network.to(device=self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def read_pictures(
    names: list[str],
    source: ImageSource | None,
    config: LocalConfig,
    *,
    patches: bool,
    cache_dir: Path,
    quarantine: Quarantine,
) -> Pictures:
    """Describe the named pictures part by part; each different file is described once.

    Args:
        names: the picture's name of each item, "" for none.
        source: where the pictures are; None where the shop has none.
        config: how closely.
        patches: whether patches are wanted too; they take about as much room as the scenes again.
        cache_dir: folder of the caches.
        quarantine: takes what cannot be read, with the item's row.
    """
    encoder = SceneEncoder(config, models.device_of("auto"))
    found = _Found()
    with ExitStack() as held:
        scenes = held.enter_context(VectorCache(cache_dir, encoder.fingerprint, "scenes"))
        caches = [scenes]
        if patches:
            caches.append(held.enter_context(VectorCache(cache_dir, f"{encoder.fingerprint}-patches", "patches")))

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
            for batch in _new_pictures(names if source is not None else [], read, found, threads=config.threads):
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
        rows = [spread_out(cache, keys, mask) for cache in caches]
    n_patches = config.grid[0] * config.grid[1]
    cells = rows[1].reshape(len(names), n_patches, -1) if patches else np.zeros((len(names), 0, 0), dtype=np.float16)
    return Pictures(rows[0], cells, mask, [found.digest_of.get(name, "") for name in names])


@dataclass(frozen=True)
class _Found:
    """By name: the content's key, its short hash, and why it could not be read."""

    key_of: dict[str, bytes] = field(default_factory=dict)
    digest_of: dict[str, str] = field(default_factory=dict)
    reason_of: dict[str, str] = field(default_factory=dict)


def _new_pictures(
    names: list[str],
    read: Callable[[str], tuple[bytes, str, NDArray[np.uint8] | None]],
    found: _Found,
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


def read_pixels(names: list[str], source: ImageSource, config: LocalConfig) -> NDArray[np.uint8]:
    """The named pictures at the configured size, uint8 [n, 3, height, width]; black for "" and the unreadable."""
    encoder = SceneEncoder(config, models.device_of("auto"))
    out = np.zeros((len(names), 3, config.height, config.width), dtype=np.uint8)
    rows = [row for row, name in enumerate(names) if name]

    def read(row: int) -> NDArray[np.uint8]:
        return encoder.prepare(decode(source.read(names[row])))

    for row, done in run_ahead(read, rows, threads=config.threads, ahead=2 * DONE_AT_ONCE):
        with suppress(KeyError, UnreadableImage):  # whoever described the pictures has told
            out[row] = done.result()
    return out


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
