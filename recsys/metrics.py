"""Ranking metrics at k, vectorized over users.

Notation, for one user: H is the set of held-out items and |H| >= 1; rel(r) is 1 where the item at rank r = 1, 2, ...
is in H, else 0. Every function of `hits` returns one value a user, so that averages, segments and bootstrap intervals
are all taken from the same numbers. A user with |H| = 0 has no defined value: NaN, never 0.

    recall@k  = sum_{r<=k} rel(r) / |H|
    hit@k     = 1 if any rel(r), r <= k, else 0
    mrr@k     = 1 / (first r <= k with rel(r) = 1), 0 if there is none
    map@k     = sum_{r<=k} rel(r) * precision@r / min(k, |H|),   precision@r = sum_{s<=r} rel(s) / r
    ndcg@k    = sum_{r<=k} rel(r) / log2(r + 1)  /  sum_{r<=min(k, |H|)} 1 / log2(r + 1)   (Jarvelin & Kekalainen 2002)
    novelty@k = mean over the shown list of -log2 p(item),   p(item) = (users with it in training + 1) / (users + 1)
    coverage@k = share of the catalog that is in at least one user's list (one number for all users)

Lists may be shorter than k: a place without an item holds -1 in `top` and is no hit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _defined(values: ArrayLike, n_held: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(n_held > 0, values, np.nan)


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")


def recall(hits: NDArray[np.bool_], n_held: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Share of the held-out items that are in the first k.

    Args:
        hits: bool [n_users, width], width >= min(k, list length); hits[u, r] says whether rank r + 1 is held out.
        n_held: int64 [n_users], |H|.
        k: length of the list.

    Returns:
        float64 [n_users]; NaN where nothing is held out.
    """
    _check_k(k)
    return _defined(hits[:, :k].sum(axis=1) / np.maximum(n_held, 1), n_held)


def hit(hits: NDArray[np.bool_], n_held: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 where at least one of the first k is held out; shapes as in `recall`."""
    _check_k(k)
    return _defined(hits[:, :k].any(axis=1).astype(np.float64), n_held)


def reciprocal_rank(hits: NDArray[np.bool_], n_held: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / rank of the first hit, 0 where none is in the first k; averaged it is mrr. Shapes as in `recall`."""
    _check_k(k)
    shown = hits[:, :k]
    if shown.shape[1] == 0:
        return _defined(np.zeros(len(shown)), n_held)
    return _defined(np.where(shown.any(axis=1), 1.0 / (shown.argmax(axis=1) + 1), 0.0), n_held)


def average_precision(hits: NDArray[np.bool_], n_held: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Precision at each hit, summed, over min(k, |H|); averaged it is map. Shapes as in `recall`."""
    _check_k(k)
    shown = hits[:, :k]
    precision = shown.cumsum(axis=1) / np.arange(1, shown.shape[1] + 1)
    return _defined((precision * shown).sum(axis=1) / np.maximum(np.minimum(n_held, k), 1), n_held)


def ndcg(hits: NDArray[np.bool_], n_held: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Discounted gain over that of the best possible list of min(k, |H|) hits. Shapes as in `recall`."""
    _check_k(k)
    shown = hits[:, :k]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    gained = (shown * discount[: shown.shape[1]]).sum(axis=1)
    ideal = np.concatenate([[0.0], discount.cumsum()])[np.clip(n_held, 0, k)]
    return _defined(gained / np.where(ideal > 0, ideal, 1.0), n_held)


def surprise(n_users_with: NDArray[np.int64], n_users: int) -> NDArray[np.float64]:
    """-log2 p(item) in bits, float64 [n_items], p = (n_users_with + 1) / (n_users + 1): finite for unseen items too.

    Args:
        n_users_with: int64 [n_items]; users who have the item in training.
        n_users: users with any training item.
    """
    bits: NDArray[np.float64] = -np.log2((n_users_with + 1.0) / (n_users + 1.0))
    return bits


def novelty(top: NDArray[np.int64], bits: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Mean surprise of each shown list, in bits.

    Args:
        top: int64 [n_users, width]; item rows best first, -1 where the list has ended.
        bits: float64 [n_items] from `surprise`.
        k: length of the list.

    Returns:
        float64 [n_users]; NaN where the list is empty.
    """
    _check_k(k)
    shown = top[:, :k]
    there = shown >= 0
    total = np.where(there, np.append(bits, 0.0)[shown], 0.0).sum(axis=1)
    count = there.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def coverage(top: NDArray[np.int64], n_items: int, k: int) -> float:
    """Share of the catalog that is shown to at least one user; NaN without users or items. `top` as in `novelty`."""
    _check_k(k)
    if n_items == 0 or len(top) == 0:
        return float("nan")
    shown = top[:, :k]
    return int(np.bincount(shown[shown >= 0]).astype(bool).sum()) / n_items


def per_user(
    top: NDArray[np.int64], hits: NDArray[np.bool_], n_held: NDArray[np.int64], bits: NDArray[np.float64], k: int
) -> dict[str, NDArray[np.float64]]:
    """Every per-user metric at k under its reported name, such as "recall@20": float64 [n_users] each.

    Args:
        top: int64 [n_users, width].
        hits: bool [n_users, width].
        n_held: int64 [n_users].
        bits: float64 [n_items].
        k: length of the list.
    """
    return {
        f"recall@{k}": recall(hits, n_held, k),
        f"ndcg@{k}": ndcg(hits, n_held, k),
        f"map@{k}": average_precision(hits, n_held, k),
        f"mrr@{k}": reciprocal_rank(hits, n_held, k),
        f"hit@{k}": hit(hits, n_held, k),
        f"novelty@{k}": novelty(top, bits, k),
    }
