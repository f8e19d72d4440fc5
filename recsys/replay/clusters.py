"""Items that are alike as one action: clusters of embeddings, for marginalized weights."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from features.vocabulary import Vocabulary
from recsys.bundle import Bundle

_ROUNDS = 25


def cluster(vectors: NDArray[np.floating], n_clusters: int, *, seed: int = 0) -> NDArray[np.int64]:
    """k-means (Lloyd 1982) from a k-means++ start (Arthur, Vassilvitskii 2007).

    Args:
        vectors: float [items, dim].
        n_clusters: at most; fewer where vectors coincide.
        seed: of the start.

    Returns:
        int64 [items], cluster numbers from 0 without gaps.
    """
    rng = np.random.default_rng(seed)
    x = np.asarray(vectors, dtype=np.float64)
    centers = x[[int(rng.integers(len(x)))]]
    while len(centers) < min(n_clusters, len(x)):
        gap = _squares(x, centers).min(axis=1)
        if gap.sum() <= 0:
            break
        centers = np.vstack([centers, x[rng.choice(len(x), p=gap / gap.sum())]])
    nearest = _squares(x, centers).argmin(axis=1)
    for _ in range(_ROUNDS):
        used, nearest = np.unique(nearest, return_inverse=True)
        sums = np.zeros((len(used), x.shape[1]))
        np.add.at(sums, nearest, x)
        moved = _squares(x, sums / np.bincount(nearest)[:, None]).argmin(axis=1)
        if np.array_equal(moved, nearest):
            break
        nearest = moved
    return np.unique(nearest, return_inverse=True)[1].astype(np.int64)


def clusters_of(items: Vocabulary, bundle: Bundle, *, n_clusters: int | None = None) -> NDArray[np.int64]:
    """Clusters of a log's items by a bundle's item embeddings; those that the bundle does not know are one more.

    Args:
        items: of the log.
        bundle: gives the embeddings.
        n_clusters: at most; left out, the square root of the number of items.

    Returns:
        int64 [items].
    """
    row = bundle.items.idxs(items.ids)
    known = row >= 0
    found = np.zeros(len(items), dtype=np.int64)
    if known.any():
        most = n_clusters if n_clusters is not None else max(2, round(math.sqrt(known.sum())))
        found[known] = cluster(np.asarray(bundle.item_embeddings)[row[known]], most)
        found[~known] = found[known].max() + 1
    return found


def _squares(x: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = (x**2).sum(axis=1)[:, None] - 2 * x @ centers.T + (centers**2).sum(axis=1)[None, :]
    return np.maximum(squares, 0.0)
