"""What an item's own words and picture say, as the one vector that enters the GNN and the look-alike search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.encoders.embeddings import Embeddings, ItemVectors
from features.fusion import fuse
from features.match.scores import MatchScores


def center(embeddings: Embeddings) -> NDArray[np.float32]:
    """What all vectors share: their mean, float32 [dim]; 0 where no item has any."""
    if not embeddings.mask.any():
        return np.zeros(embeddings.dim, dtype=np.float32)
    mean: NDArray[np.float32] = embeddings.vectors[embeddings.mask].mean(axis=0)
    return mean


def centered(embeddings: Embeddings) -> NDArray[np.float32]:
    """Vectors without what all of them share, so that their cosines tell items apart.

    Pretrained encoders put all vectors into a narrow cone: unrelated items then have a high cosine.

    Returns:
        float32 [n_items, dim]; rows of length 1, or 0 where missing (or where nothing but the shared part is there).
    """
    present = embeddings.mask
    moved = np.zeros_like(embeddings.vectors)
    moved[present] = embeddings.vectors[present] - center(embeddings)
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.divide(moved, length, out=np.zeros_like(moved), where=length > 1e-6)
    return scaled


def item_content(vectors: ItemVectors, match: MatchScores, *, image_share: float) -> NDArray[np.float32]:
    """Fused content of each item, the picture gated by the match score.

    Args:
        vectors: text and image vectors.
        match: how well picture and words belong together; where they do not, the picture counts less.
        image_share: share of a fully trusted picture.

    Returns:
        float32 [n_items, d_text + d_image]; rows of length 1, or 0 where nothing is known.
    """
    fused: NDArray[np.float32] = fuse(
        centered(vectors.text), centered(vectors.image), image_share=image_share, trust=match.score
    )
    return fused
