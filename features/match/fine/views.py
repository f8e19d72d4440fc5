"""What the fine match model sees of listings: words, sentence, tokens, scene and patches, row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.encoders.catalog import encode_texts
from features.encoders.config import EncoderConfig
from features.encoders.local import LocalConfig, Pictures, read_pictures, read_pixels
from features.encoders.shades import read_shades
from features.encoders.text import TextEncoder
from features.encoders.token_states import Tokens, read_tokens
from features.encoders.tokens import rectangle
from features.quarantine import Quarantine
from features.shop.shop import Shop


@dataclass(frozen=True, eq=False)
class Listings:
    """All of a shop, as read from it; row i belongs to item i.

    Args:
        texts: title and description, "" where both are absent.
        sentence: float32 [n, d_text]; zero where there are no words.
        pictures: described part by part.
        tokens: hidden states of the words; None where they were not asked for.
        ids: int64 [n, t]; numbers of the sentence encoder's tokens, -1 behind the last; None where they were not asked
            for.
    """

    texts: list[str]
    sentence: NDArray[np.float32]
    pictures: Pictures
    tokens: Tokens | None
    ids: NDArray[np.int64] | None = None

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Mask, bool [n]; True where an item has both words and a picture."""
        return np.asarray(self.pictures.mask & np.array([bool(text.strip()) for text in self.texts]), dtype=bool)

    def __len__(self) -> int:
        return len(self.texts)


def read_listings(
    shop: Shop,
    encoders: EncoderConfig,
    local: LocalConfig,
    *,
    parts: bool,
    pixels: bool = False,
    shades: bool = False,
    ids: bool = False,
    cache_dir: Path,
    quarantine: Quarantine,
    texts: list[str] | None = None,
) -> Listings:
    """Read a shop's words and pictures as closely as asked; what was read before comes from the cache.

    Args:
        shop: the shop.
        encoders: which models read words and pictures.
        local: how closely.
        parts: whether tokens and patches are wanted, which co-attention needs.
        pixels: whether pictures are wanted as they are, too, which a tuned network needs.
        shades: whether the shades of what pictures show are wanted, too, by which attributes are told.
        ids: whether words are wanted as the sentence encoder takes them, too, likewise.
        cache_dir: folder of the caches.
        quarantine: takes the pictures that cannot be read.
        texts: words a listing, in place of the shop's own.
    """
    texts = shop.catalog.texts() if texts is None else texts
    encoder = TextEncoder.of(encoders)
    sentence = encode_texts(texts, encoder, config=encoders, cache_dir=cache_dir).vectors
    tokens = read_tokens(texts, encoder, local, cache_dir=cache_dir) if parts else None
    names = [str(name) for name in shop.catalog.image]
    pictures = read_pictures(
        names, shop.images, local, patches=parts, cache_dir=cache_dir, quarantine=quarantine, encoders=encoders
    )
    if pixels and shop.images is not None:
        pictures = replace(pictures, pixels=read_pixels(names, shop.images, local))
    if shades:  # what cannot be read has been refused above
        found = read_shades(names, shop.images, cache_dir=cache_dir, quarantine=Quarantine())
        pictures = replace(pictures, shades=found)
    return Listings(texts, sentence, pictures, tokens, token_ids(texts, encoder) if ids else None)


def token_ids(texts: list[str], encoder: TextEncoder) -> NDArray[np.int64]:
    """Numbers of each text's tokens, int64 [n, t], -1 behind the last; none of a blank text."""
    spoken = [row for row, text in enumerate(texts) if text.strip()]
    rows: list[list[int]] = [[] for _ in texts]
    for row, found in zip(spoken, encoder.tokens([texts[row].strip() for row in spoken]), strict=True):
        rows[row] = found
    return rectangle(rows, fill=-1)[0]


@dataclass(frozen=True, eq=False)
class Views:
    """Listings as tensors, ready for the networks.

    Args:
        words: int64 [n, w], filled up with the number of known words.
        sentence: float32 [n, d_text].
        scene: float16 or float32 [n, d_scene].
        tokens: [n, t, d_token]; t may be 0.
        token_mask: bool [n, t].
        patches: [n, p, d_patch]; p may be 0.
        pixels: uint8 [n, 3, height, width], or [n, 0] where they are not read.
        shades: float16 [n, d_shades]; d_shades may be 0.
        ids: int64 [n, t], numbers of tokens and -1 behind them; [n, 0] where they are not read.
        same_text: int64 [n]; equal numbers mark identical texts.
        same_image: int64 [n]; equal numbers mark identical pictures.
    """

    words: Tensor
    sentence: Tensor
    scene: Tensor
    tokens: Tensor
    token_mask: Tensor
    patches: Tensor
    pixels: Tensor
    shades: Tensor
    ids: Tensor
    same_text: Tensor
    same_image: Tensor

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def of(cls, listings: Listings, words: NDArray[np.int64], rows: NDArray[np.int64], device: torch.device) -> Views:
        """Views of some rows; `words` holds their numbers, one row a listing of `rows`."""
        tokens, pictures = listings.tokens, listings.pictures
        states = np.zeros((len(rows), 0, 0), np.float16) if tokens is None else tokens.states[rows]
        mask = np.zeros((len(rows), 0), bool) if tokens is None else tokens.mask[rows]
        same_text = _numbered([listings.texts[row].strip() for row in rows])
        same_image = _numbered([pictures.content[row] for row in rows])
        pixels = np.zeros((len(rows), 0), np.uint8) if pictures.pixels is None else pictures.pixels[rows]
        shades = np.zeros((len(rows), 0), np.float16) if pictures.shades is None else pictures.shades[rows]
        ids = np.zeros((len(rows), 0), np.int64) if listings.ids is None else listings.ids[rows]
        seen = (pictures.scene[rows], states, mask, pictures.patches[rows], pixels, shades, ids)
        arrays = (words, listings.sentence[rows], *seen)
        return cls(*(torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in (*arrays, same_text, same_image)))

    def at(self, rows: Tensor) -> Views:
        """Some rows, in the order given."""
        return Views(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def twins(self) -> Tensor:
        """Bool [n, n]; listings that share the words or the picture and so are no negatives of each other; False on
        the diagonal.
        """
        twins = (self.same_text[:, None] == self.same_text) | (self.same_image[:, None] == self.same_image)
        return twins.fill_diagonal_(False)


def _numbered(names: list[str]) -> NDArray[np.int64]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.int64)
