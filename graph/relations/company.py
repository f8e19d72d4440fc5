"""Who met the same: items by their users (co-view, co-purchase), users by their items."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graph.knowledge_graph import EdgeList

Measure = Literal["cosine", "pmi"]

MOST_MET = 1_000
"""Who met more joins everything with everything, says little about any pair, and costs the square of it: left out."""

BLOCK_PAIRS = 4_000_000
"""Pairs counted at once, about 50 MB."""


def company(
    met: sparse.csr_matrix,
    k: int,
    *,
    measure: Measure,
    shrinkage: float,
    rows: NDArray[np.int64] | None = None,
) -> EdgeList | None:
    """For each column of a matrix the k columns it shares most rows with; None where no two share any.

    With c_ij the rows that two columns share, c_i those of one, and n the rows that have any, a pair weighs

        cosine: c_ij / sqrt(c_i c_j)             times c_ij / (c_ij + shrinkage)
        pmi:    log(n c_ij / (c_i c_j)), if > 0  times c_ij / (c_ij + shrinkage)

    so that a pair met by few weighs little (the discount of Pantel and Lin 2002).

    Args:
        met: [n_who, n_what]; any entry that is not 0 says that one met the other. Transposed for users by their items.
        k: neighbors a column, at most.
        measure: how shared rows are weighed.
        shrinkage: see above; 0 discounts nothing.
        rows: columns to find neighbors of, rising; None for all.

    Returns:
        Edges ordered by source, and of one source by weight, the strongest first (ties: the lower column).
    """
    binary = sparse.csr_matrix(met, dtype=np.float32, copy=True)
    binary.eliminate_zeros()
    binary.data[:] = 1.0
    keep = np.diff(binary.indptr) <= MOST_MET
    binary = sparse.csr_matrix(sparse.diags(keep.astype(np.float32)) @ binary)
    binary.eliminate_zeros()
    what = sparse.csr_matrix(binary.T)
    count = np.diff(what.indptr).astype(np.float64)
    n = float((np.diff(binary.indptr) > 0).sum())
    asked = np.arange(what.shape[0], dtype=np.int64) if rows is None else rows
    cost = np.cumsum(np.asarray(what[asked] @ np.diff(binary.indptr).astype(np.float64)).ravel())
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    start = 0
    while start < len(asked):
        before = cost[start - 1] if start else 0.0
        stop = max(start + 1, int(np.searchsorted(cost, before + BLOCK_PAIRS, side="right")))
        shared = sparse.coo_matrix(what[asked[start:stop]] @ binary)
        src, dst, both = asked[start:stop][shared.row], shared.col.astype(np.int64), shared.data.astype(np.float64)
        weight = both / np.sqrt(count[src] * count[dst])
        if measure == "pmi":
            weight = np.log(n * both / (count[src] * count[dst]))
        weight *= both / (both + shrinkage)
        there = (src != dst) & (weight > 0)
        found.append(_strongest(src[there], dst[there], weight[there], k))
        start = stop
    if not sum(len(part[0]) for part in found):
        return None
    src, dst = (np.concatenate([part[side] for part in found]) for side in (0, 1))
    return EdgeList(src, dst, np.concatenate([part[2] for part in found]).astype(np.float32))


def _strongest(
    src: NDArray[np.int64], dst: NDArray[np.int64], weight: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The k edges of largest weight of each source."""
    order = np.lexsort((dst, -weight, src))
    src, dst, weight = src[order], dst[order], weight[order]
    first = np.searchsorted(src, src, side="left")
    near = np.arange(len(src)) - first < k
    return src[near], dst[near], weight[near]
