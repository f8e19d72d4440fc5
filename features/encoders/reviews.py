"""A third modality: what buyers wrote about an item as one vector, and how they rated it as a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.encoders.catalog import encode_text_lists
from features.encoders.config import EncoderConfig, ReviewConfig
from features.encoders.embeddings import Embeddings
from features.encoders.text import TextEncoder
from features.quarantine import Quarantine
from features.shop.review_statistics import STATISTICS, statistics
from features.shop.reviews import Reviews, read_reviews
from features.shop.shop import Shop


@dataclass(frozen=True, eq=False)
class ReviewVectors:
    """What is known of each item from its reviews.

    Args:
        text: mean of the encoded reviews, one row an item.
        stats: float32 [n_items, len(names)]; counts are 0 and everything else is NaN where there is nothing to count.
        names: of the columns of `stats`.
    """

    text: Embeddings
    stats: NDArray[np.float32]
    names: tuple[str, ...] = STATISTICS


def encode_reviews(
    shop: Shop,
    config: EncoderConfig,
    *,
    cache_dir: Path,
    quarantine: Quarantine,
    before_s: float | None = None,
    visible: NDArray[np.bool_] | None = None,
) -> ReviewVectors:
    """Vectors and statistics of every item's reviews; a shop without reviews has all items missing.

    Args:
        shop: the shop.
        config: the text encoder, and in `config.reviews` which of an item's reviews are read.
        cache_dir: folder of the caches.
        quarantine: takes the rows of `reviews.*` that are refused.
        before_s: reviews from this time on, UTC seconds, are not looked at.
        visible: bool [n_reviews], rows of `read_reviews(shop)` that may be looked at. One of the two hides from a model
            what was written after the time that it is judged on.

    Raises:
        InputError: the table or the model cannot be used.
        ValueError: the reviews have no times, or the mask has not a row a review.
    """
    reviews = read_reviews(shop, quarantine=quarantine)
    if reviews is not None:
        if visible is not None:
            if visible.shape != (len(reviews),):
                raise ValueError(f"visible must have a row a review ({len(reviews)}), it has {visible.shape}")
            reviews = reviews.only(visible) if before_s is None else reviews.only(visible).before(before_s)
        elif before_s is not None:
            reviews = reviews.before(before_s)
    return review_vectors(reviews, len(shop.catalog), config, cache_dir=cache_dir)


def review_vectors(reviews: Reviews | None, n_items: int, config: EncoderConfig, *, cache_dir: Path) -> ReviewVectors:
    """Vectors and statistics of reviews that were read before, all of which may be looked at; None has none.

    Args:
        reviews: those that may be looked at.
        n_items: of the shop.
        config: as for `encode_reviews`.
        cache_dir: folder of the caches.
    """
    encoder = TextEncoder.of(config)
    chosen: list[list[str]] = [[] for _ in range(n_items)] if reviews is None else choose(reviews, config.reviews)
    nothing = np.array([0, 0, np.nan, np.nan, np.nan, np.nan], dtype=np.float32)
    stats = np.tile(nothing, (n_items, 1)) if reviews is None else statistics(reviews)
    vectors = encode_text_lists(chosen, encoder, config=config, cache_dir=cache_dir)
    name = f"{encoder.fingerprint}-reviews-{config.reviews.first}-{config.reviews.most}"
    return ReviewVectors(Embeddings(vectors.vectors, vectors.mask, name, vectors.space), stats)


def choose(reviews: Reviews, config: ReviewConfig) -> list[list[str]]:
    """Texts of each item's reviews, at most `config.most`, the newest or the longest first.

    Where reviews have no times, one further down in the file is newer; of two that are equal, the one further down
    comes first.
    """
    rows = np.flatnonzero(reviews.text != "")
    length = np.array([len(text) for text in reviews.text[rows]], dtype=np.int64)
    if config.first == "longest":
        worth: NDArray[np.float64] = length.astype(np.float64)
    else:
        worth = rows.astype(np.float64) if reviews.timestamp is None else reviews.timestamp[rows]
    chosen: list[list[str]] = [[] for _ in range(len(reviews.items))]
    for at in np.lexsort((rows, worth))[::-1].tolist():
        texts = chosen[reviews.item_idx[rows[at]]]
        if len(texts) < config.most:
            texts.append(reviews.text[rows[at]])
    return chosen
