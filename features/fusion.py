"""Words and picture in one vector; numpy only, so the service may fuse as training did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.vectors.rows import unit_rows


def fuse(
    text: NDArray[np.float32],
    image: NDArray[np.float32],
    *,
    image_share: float = 0.5,
    trust: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Concatenate two modalities so that their cosines mix in a known ratio.

    A row is [sqrt(1 - s) text, sqrt(s) image], so that two rows with the shares s and t have the cosine
    sqrt((1 - s)(1 - t)) cos_text + sqrt(s t) cos_image: with one share for all, (1 - s) cos_text + s cos_image.

    Args:
        text: text embeddings, float32 [n_items, d_text]; rows of length 1, a zero row means "no words", and the item
            is then matched on its picture alone.
        image: image embeddings, float32 [n_items, d_image]; likewise, a zero row means "no picture".
        image_share: weight of the image cosine, in [0, 1].
        trust: float32 [n_items] in [0, 1], how far to believe that the picture shows the item (its match score); the
            item's share is image_share * trust, so a picture of something else does not count. NaN is full trust:
            nothing speaks against the picture. None trusts all.

    Returns:
        float32 [n_items, d_text + d_image]; rows have length 1, or 0 where both are missing. With one modality a
        row is that modality, whatever the share.

    Raises:
        ValueError: a share or a trust lies outside [0, 1], or the row counts differ.
    """
    if not 0 <= image_share <= 1:
        raise ValueError(f"image_share must be in [0, 1], got {image_share}")
    if len(text) != len(image):
        raise ValueError(f"modalities must have a row an item, text has {len(text)}, image {len(image)}")
    share = np.full(len(text), image_share, dtype=np.float32)
    if trust is not None:
        share *= _checked(trust, len(text))
    share[~image.any(axis=1)] = 0
    share[~text.any(axis=1)] = 1
    weights = np.sqrt(np.stack([1 - share, share], axis=1))
    fused = np.concatenate([weights[:, :1] * text, weights[:, 1:] * image], axis=1, dtype=np.float32)
    return unit_rows(fused)


def _checked(trust: NDArray[np.float32], n_items: int) -> NDArray[np.float32]:
    if trust.shape != (n_items,):
        raise ValueError(f"trust must be [{n_items}], got {trust.shape}")
    wrong = np.flatnonzero((trust < 0) | (trust > 1))
    if len(wrong):
        raise ValueError(f"trust must be in [0, 1] or NaN, item {wrong[0]} has {trust[wrong[0]]}")
    return np.where(np.isnan(trust), np.float32(1), trust).astype(np.float32)
