"""Item neighbors: items that the same users have (Sarwar et al. 2001; Deshpande & Karypis 2004).

With X the user-item matrix of training pairs and W its weighted transpose [n_items, n_users],

    S = W W^T without its diagonal, each row cut to its K largest entries,      score(u, i) = sum_{j in X_u} S[j, i].

cosine: w(i, u) = x(i, u) / sqrt(sum_u x(i, u)^2).
bm25 (Robertson & Zaragoza 2009): items are the documents, users the terms,
    w(i, u) = x (k1 + 1) / (x + k1 (1 - b + b len_i / mean len)) * ln(n_items / (1 + df_u)),
    with len_i the item's total, df_u the user's number of items, k1 = 1.2, b = 0.75. A user with nearly all items has
    a weight below 0, which is cut to 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.baselines.config import BaselinesConfig
from recsys.baselines.tuning import Search
from recsys.held_out import Split
from recsys.linear.scorer import ItemWeightsScorer

_BLOCK_NONZERO = 2**24


def fit_item_knn(split: Split, config: BaselinesConfig, *, seed: int) -> ItemWeightsScorer:
    """Choose weighting and number of neighbors on validation."""
    user_items = split.train.matrix(binary=True)
    search = Search[ItemWeightsScorer]("item_knn", split, config, seed=seed)
    for weighting in config.knn_weightings:
        widest: sparse.csr_matrix | None = None
        for k in config.knn_neighbors:
            if not search.may_try():
                continue
            if widest is None:
                weigh = cosine_weights if weighting == "cosine" else bm25_weights
                widest = neighbors(weigh(user_items.T.tocsr()), max(config.knn_neighbors))
            search.offer(
                {"weighting": weighting, "neighbors": k}, ItemWeightsScorer("item_knn", user_items, _largest(widest, k))
            )
    return replace(search.chosen, params=search.report(), fit_s=search.seconds)


def cosine_weights(item_users: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows of length 1; [n_items, n_users] in and out. An item without users stays zero."""
    length = np.sqrt(np.asarray(item_users.multiply(item_users).sum(axis=1)).ravel())
    return _scaled_rows(item_users, np.divide(1.0, length, out=np.zeros_like(length), where=length > 0))


def bm25_weights(item_users: sparse.csr_matrix, *, k1: float = 1.2, b: float = 0.75) -> sparse.csr_matrix:
    """BM25 of [n_items, n_users]; see the head of this file."""
    n_items = item_users.shape[0]
    weighted = item_users.tocoo()
    total = np.asarray(item_users.sum(axis=1)).ravel()
    mean = total.mean() if n_items and total.any() else 1.0
    rarity = np.maximum(np.log(max(n_items, 1) / (1.0 + np.bincount(weighted.col, minlength=item_users.shape[1]))), 0)
    damped = weighted.data + k1 * (1 - b + b * total[weighted.row] / mean)
    data = weighted.data * (k1 + 1) / damped * rarity[weighted.col]
    return sparse.csr_matrix((data.astype(np.float32), (weighted.row, weighted.col)), shape=item_users.shape)


def neighbors(weights: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """The k largest entries of each row of W W^T off its diagonal: [n_items, n_items], computed in blocks of rows."""
    n_items = weights.shape[0]
    transposed = weights.T.tocsr()
    work = np.asarray((abs(weights) > 0).astype(np.int64) @ np.diff(transposed.indptr)).ravel()
    block = np.cumsum(work) // _BLOCK_NONZERO
    parts = [_largest(weights[:0] @ transposed, k)]
    for number in np.unique(block).tolist():
        rows = np.flatnonzero(block == number)
        similar = (weights[rows] @ transposed).tocoo()
        keep = (rows[similar.row] != similar.col) & (similar.data > 0)
        shape = (len(rows), n_items)
        kept = sparse.csr_matrix((similar.data[keep], (similar.row[keep], similar.col[keep])), shape=shape)
        parts.append(_largest(kept, k))
    stacked: sparse.csr_matrix = sparse.vstack(parts, format="csr", dtype=np.float32)
    return stacked


def _largest(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """Each row's k largest entries; of equal ones those with the lowest column."""
    rows = matrix.tocoo()
    order = np.lexsort((rows.col, -rows.data, rows.row))
    count = np.bincount(rows.row, minlength=matrix.shape[0])
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    kept = order[place < k]
    return sparse.csr_matrix((rows.data[kept], (rows.row[kept], rows.col[kept])), shape=matrix.shape, dtype=np.float32)


def _scaled_rows(matrix: sparse.csr_matrix, by: NDArray[np.float64]) -> sparse.csr_matrix:
    scaled = matrix.astype(np.float32)
    scaled.data = scaled.data * np.repeat(by, np.diff(scaled.indptr)).astype(np.float32)
    return scaled
