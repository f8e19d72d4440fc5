"""Labeled relevance: `pairs.*` in a shop's folder, with item_id, text and relevance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.encoders.catalog import encode_texts
from features.encoders.config import EncoderConfig
from features.encoders.text import TextEncoder
from features.errors import InputError
from features.match.fine.views import Listings, token_ids
from features.quarantine import Quarantine
from features.shop.shop import Shop
from features.shop.tables import find_table, read_table

COLUMNS = ("item_id", "text", "relevance")


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Texts, such as search words, and how well an item answers each.

    Args:
        row_idx: int64 [n]; the item's row.
        texts: n texts.
        sentence: float32 [n, d_text].
        relevance: float32 [n] in [0, 1].
        ids: int64 [n, t]; numbers of tokens, -1 behind the last; None where they were not asked for.
    """

    row_idx: NDArray[np.int64]
    texts: list[str]
    sentence: NDArray[np.float32]
    relevance: NDArray[np.float32]
    ids: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def of(self, rows: NDArray[np.int64]) -> JudgedPairs:
        """Those of some items."""
        kept = np.flatnonzero(np.isin(self.row_idx, rows))
        texts = [self.texts[i] for i in kept]
        ids = None if self.ids is None else self.ids[kept]
        return JudgedPairs(self.row_idx[kept], texts, self.sentence[kept], self.relevance[kept], ids)

    def listings(self, shop: Listings, kept: JudgedPairs) -> Listings:
        """Listings of the kept pairs: the pair's words with the item's picture; without tokens."""
        rows = kept.row_idx
        pictures = replace(
            shop.pictures,
            scene=shop.pictures.scene[rows],
            patches=shop.pictures.patches[rows],
            mask=shop.pictures.mask[rows],
            pixels=None if shop.pictures.pixels is None else shop.pictures.pixels[rows],
            content=[shop.pictures.content[row] for row in rows],
        )
        return Listings(kept.texts, kept.sentence, pictures, None, kept.ids)


def read_pairs(
    shop: Shop, encoders: EncoderConfig, *, ids: bool = False, cache_dir: Path, quarantine: Quarantine
) -> JudgedPairs | None:
    """Read `pairs.*`; None where the shop has none. Relevance lies in [0, 1].

    Args:
        shop: the shop.
        encoders: which model reads the words.
        ids: whether the numbers of their tokens are wanted, too, which a tuned text network needs.
        cache_dir: folder of the caches.
        quarantine: takes the rows that cannot be used.

    Raises:
        InputError: a column is missing.
    """
    path = find_table(shop.path, "pairs")
    if path is None:
        return None
    frame = read_table(path, quarantine=quarantine)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(f"{path.name} must have the columns {', '.join(COLUMNS)}, it lacks {', '.join(missing)}")
    relevance = pd.to_numeric(frame["relevance"], errors="coerce").to_numpy(dtype=np.float32)
    rows = shop.catalog.items.idxs([str(item) for item in frame["item_id"]])
    texts = [str(text).strip() if isinstance(text, str) else "" for text in frame["text"]]
    kept = np.ones(len(frame), dtype=bool)
    for rule, wrong, values in (
        ("item_id is not in the item table", rows < 0, frame["item_id"]),
        ("relevance must be in [0, 1]", ~((relevance >= 0) & (relevance <= 1)), frame["relevance"]),
        ("text is missing", np.array([not text for text in texts], dtype=bool), frame["text"]),
    ):
        refused = np.flatnonzero(wrong & kept)
        quarantine.refuse_all(path.name, refused.tolist(), rule, [values.iloc[row] for row in refused])
        kept &= ~wrong
    chosen = [text for text, keep in zip(texts, kept, strict=True) if keep]
    encoder = TextEncoder.of(encoders)
    sentence = encode_texts(chosen, encoder, config=encoders, cache_dir=cache_dir).vectors
    numbers = token_ids(chosen, encoder) if ids else None
    return JudgedPairs(np.asarray(rows, dtype=np.int64)[kept], chosen, sentence, relevance[kept], numbers)
