"""The lists a bundle publishes: items like an item, and items liked by the same users.

Two items are alike by behavior (cosine of their embeddings) and by content (cosine of their fused text and image
vectors); the published likeness mixes both cosines in a known ratio. A listing whose picture seems to belong to another
product makes a poor suggestion, so it is moved down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.vectors.rows import unit_rows
from recsys.index import EXACT_LIMIT
from recsys.index_choice import build_ivf

if TYPE_CHECKING:
    from scipy import sparse

DISTRUST_BELOW = 0.2
"""Match scores under this count against an item."""

DISTRUST_PENALTY = 0.2
"""What such an item loses of its likeness (a cosine)."""

_CHUNK = 1024
_COMPRESSED = 128
_PROBES = 32


def distrust(match_scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """What items lose of their likeness to others because of their match scores, float32 of the same shape."""
    return np.where(match_scores < DISTRUST_BELOW, np.float32(DISTRUST_PENALTY), np.float32(0))


def similar_lists(
    item_embeddings: NDArray[np.float32],
    content: NDArray[np.float32],
    match_scores: NDArray[np.float32],
    *,
    k: int = 50,
    behavior_share: float = 0.5,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The k most similar items of each item; itself left out, unavailable ones kept.

    Up to `EXACT_LIMIT` items every pair is scored. Above, inverted lists over the same likeness with its content part
    compressed name 4 k candidates an item, which are then scored exactly.

    Args:
        item_embeddings: float32 [n_items, dim]; a zero row has no behavior side.
        content: float32 [n_items, d]; fused text and image vectors, a zero row where both are missing.
        match_scores: float32 [n_items] in [0, 1], NaN where unknown (and then not held against the item).
        k: length of the lists.
        behavior_share: weight of the behavior cosine, in [0, 1].

    Returns:
        int32 [n_items, k] best first, and float32 [n_items, k]; -1 and 0 where the list ends early: the catalog has
        fewer items, or this one has neither embedding nor content (such an item is in no other's list either).

    Raises:
        ValueError: behavior_share is outside [0, 1].
    """
    if not 0 <= behavior_share <= 1:
        raise ValueError(f"behavior_share must be in [0, 1], it is {behavior_share}")
    n_items = len(item_embeddings)
    behavior = unit_rows(item_embeddings) * np.float32(np.sqrt(behavior_share))
    meaning = unit_rows(content) * np.float32(np.sqrt(1 - behavior_share))
    penalty = distrust(match_scores)
    empty: NDArray[np.bool_] = np.logical_not(np.any(behavior, axis=1) | np.any(meaning, axis=1))
    idx = np.full((n_items, k), -1, dtype=np.int32)
    score = np.zeros((n_items, k), dtype=np.float32)
    kept = min(k, n_items - 1)
    candidates = _candidates(behavior, meaning, 4 * k) if n_items > EXACT_LIMIT else None
    chunk = _CHUNK if candidates is None else 64
    for start in range(0, n_items if kept else 0, chunk):
        rows = np.arange(start, min(start + chunk, n_items))
        if candidates is None:
            likeness = behavior[rows] @ behavior.T + meaning[rows] @ meaning.T - penalty
            likeness[np.arange(len(rows)), rows] = -np.inf
            likeness[empty[rows]] = -np.inf
            likeness[:, empty] = -np.inf
            best = np.argpartition(-likeness, kept - 1, axis=1)[:, :kept]
        else:
            best = candidates[rows]
            likeness = np.einsum("nd,nkd->nk", behavior[rows], behavior[best])
            likeness += np.einsum("nd,nkd->nk", meaning[rows], meaning[best]) - penalty[best]
            likeness[(best == rows[:, None]) | (best < 0) | empty[best] | empty[rows][:, None]] = -np.inf
        found = likeness if candidates is not None else np.take_along_axis(likeness, best, axis=1)
        order = np.lexsort((best, -found), axis=1)[:, :kept]
        values = np.take_along_axis(found, order, axis=1)
        good = np.isfinite(values)
        idx[rows, :kept] = np.where(good, np.take_along_axis(best, order, axis=1), -1)
        score[rows, :kept] = np.where(good, values, 0)
    return idx, score


def co_liked(likes: sparse.csr_matrix, *, k: int = 50) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The items most often liked by the same users as each item, and by how many users.

    Args:
        likes: [n_users, n_items]; any stored non-zero is a like.
        k: length of the lists.

    Returns:
        int32 [n_items, k] most common first (ties by row), -1 where fewer, and int32 [n_items, k] users, 0 there.
    """
    binary = likes.tocsr().astype(bool).astype(np.int32)
    by_item = binary.T.tocsr()
    n_items = binary.shape[1]
    idx = np.full((n_items, k), -1, dtype=np.int32)
    count = np.zeros((n_items, k), dtype=np.int32)
    for start in range(0, n_items, _CHUNK):
        together = (by_item[start : start + _CHUNK] @ binary).tocsr()
        for offset in range(together.shape[0]):
            span = slice(together.indptr[offset], together.indptr[offset + 1])
            others, users = together.indices[span], together.data[span]
            keep = others != start + offset
            others, users = others[keep], users[keep]
            order = np.lexsort((others, -users))[:k]
            idx[start + offset, : len(order)] = others[order]
            count[start + offset, : len(order)] = users[order]
    return idx, count


def _candidates(behavior: NDArray[np.float32], meaning: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """The n items nearest to each by behavior and compressed content: int64 [n_items, n], -1 pads."""
    width = min(_COMPRESSED, meaning.shape[1])
    sample = meaning[:: max(1, len(meaning) // 20_000)]
    axes = np.linalg.eigh(sample.T @ sample)[1][:, meaning.shape[1] - width :]
    compressed = np.ascontiguousarray(np.concatenate([behavior, meaning @ axes], axis=1), dtype=np.float32)
    searcher = build_ivf(compressed)
    searcher.nprobe = _PROBES
    found: NDArray[np.int64] = searcher.search(compressed, n)[1]
    return found
